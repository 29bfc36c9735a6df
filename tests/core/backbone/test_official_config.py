"""A `config.json` as the publishers' classes write it on transformers 4.37 to 4.45, every key of it, is understood."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from chiasm.backbone.build import blank_internvl
from chiasm.backbone.official.config import official_config
from chiasm_registry.errors import CheckpointError

# All that `PretrainedConfig` writes, as it writes it for whoever said nothing.
GENERIC: dict[str, Any] = {
    "_name_or_path": "", "add_cross_attention": False, "architectures": None, "bad_words_ids": None,
    "begin_suppress_tokens": None, "bos_token_id": None, "chunk_size_feed_forward": 0,
    "cross_attention_hidden_size": None, "decoder_start_token_id": None, "diversity_penalty": 0.0, "do_sample": False,
    "early_stopping": False, "encoder_no_repeat_ngram_size": 0, "eos_token_id": None,
    "exponential_decay_length_penalty": None, "finetuning_task": None, "forced_bos_token_id": None,
    "forced_eos_token_id": None, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "is_decoder": False,
    "is_encoder_decoder": False, "label2id": {"LABEL_0": 0, "LABEL_1": 1}, "length_penalty": 1.0, "max_length": 20,
    "min_length": 0, "no_repeat_ngram_size": 0, "num_beam_groups": 1, "num_beams": 1, "num_return_sequences": 1,
    "output_attentions": False, "output_hidden_states": False, "output_scores": False, "pad_token_id": None,
    "prefix": None, "problem_type": None, "pruned_heads": {}, "remove_invalid_values": False,
    "repetition_penalty": 1.0, "return_dict": True, "return_dict_in_generate": False, "sep_token_id": None,
    "suppress_tokens": None, "task_specific_params": None, "temperature": 1.0, "tf_legacy_loss": False,
    "tie_encoder_decoder": False, "tie_word_embeddings": True, "tokenizer_class": None, "top_k": 50, "top_p": 1.0,
    "torch_dtype": "bfloat16", "torchscript": False, "transformers_version": "4.44.2", "typical_p": 1.0,
    "use_bfloat16": False,
}  # fmt: skip
# The same keys with what those have who did say something: no null hides a key that nobody knows.
SAID: dict[str, Any] = {
    "_commit_hash": "0123abc", "bad_words_ids": [[5]], "begin_suppress_tokens": [220], "bos_token_id": 1,
    "cross_attention_hidden_size": 64, "decoder_start_token_id": 1, "eos_token_id": 2,
    "exponential_decay_length_penalty": [5, 1.1], "finetuning_task": "vqa", "forced_bos_token_id": 1,
    "forced_eos_token_id": 2, "pad_token_id": 2, "prefix": "a", "problem_type": "regression", "sep_token_id": 3,
    "suppress_tokens": [7], "task_specific_params": {"length_penalty": 2.0}, "tokenizer_class": "LlamaTokenizer",
    "pruned_heads": {"1": [0, 2]},
}  # fmt: skip
SIZES = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
EYE: dict[str, Any] = {
    **SIZES, "num_channels": 3, "image_size": 448, "patch_size": 14, "hidden_act": "gelu", "layer_norm_eps": 1e-6,
    "norm_type": "layer_norm", "qk_normalization": False, "qkv_bias": True, "initializer_range": 0.02,
}  # fmt: skip
EYE_OWN: dict[str, Any] = {
    "architectures": ["InternVisionModel"], "model_type": "intern_vit_6b", "attention_dropout": 0.0, "dropout": 0.0,
    "drop_path_rate": 0.1, "initializer_factor": 0.1, "use_flash_attn": True,
    "auto_map": {"AutoModel": "modeling_intern_vit.InternVisionModel"},
}  # fmt: skip
EXPERTS: dict[str, Any] = {  # of later models in the same layout, whose eye may have some
    "capacity_factor": 1.2, "eval_capacity_factor": 1.4, "laux_allreduce": "all_nodes", "moe_coeff_ratio": 0.5,
    "moe_intermediate_size": 768, "moe_output_scale": 4.0, "noisy_gate_policy": "RSample_before", "num_experts": 8,
    "num_routed_experts": 4, "num_shared_experts": 4, "shared_expert_intermediate_size": 3072, "use_moe": False,
    "use_residual": True, "use_rts": False, "use_weighted_residual": False,
}  # fmt: skip
TOP: dict[str, Any] = {
    "downsample_ratio": 0.5, "force_image_size": 448, "max_dynamic_patch": 12, "min_dynamic_patch": 1,
    "ps_version": "v2", "select_layer": -1, "use_thumbnail": True, "template": "internlm2-chat",
}  # fmt: skip
TOP_OWN: dict[str, Any] = {
    "architectures": ["InternVLChatModel"], "model_type": "internvl_chat", "dynamic_image_size": True,
    "pad2square": False, "use_backbone_lora": 0, "use_llm_lora": 16, "hidden_size": 2048,
    "auto_map": {"AutoConfig": "configuration_internvl_chat.InternVLChatConfig"},
}  # fmt: skip
HALF_PHI = [1.0 + k / 48 for k in range(48)]

# A language model by its class: the keys that mean something, and those that its class writes beside.
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Qwen2ForCausalLM": (
        {
            "vocab_size": 151655, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
            "num_attention_heads": 14, "num_key_value_heads": 2, "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "sliding_window": 32768, "use_sliding_window": False,
            "max_window_layers": 24, "hidden_act": "silu", "initializer_range": 0.02, "tie_word_embeddings": False,
            "bos_token_id": 151643, "eos_token_id": 151645,
        },
        {"model_type": "qwen2", "attention_dropout": 0.0, "rope_scaling": None, "use_cache": True},
    ),
    "InternLM2ForCausalLM": (
        {
            "vocab_size": 92553, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24,
            "num_attention_heads": 16, "num_key_value_heads": 8, "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-5, "rope_theta": 1000000, "rope_scaling": {"factor": 2.0, "type": "dynamic"},
            "bias": False, "hidden_act": "silu", "initializer_range": 0.02, "tie_word_embeddings": False,
            "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
        },
        {
            "model_type": "internlm2", "attn_implementation": "flash_attention_2", "use_cache": True,
            "rope_pos_id_version": "default", "rope_pos_id_stride": 64,
            "auto_map": {
                "AutoConfig": "configuration_internlm2.InternLM2Config",
                "AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None],
            },
        },
    ),
    "Phi3ForCausalLM": (
        {
            "vocab_size": 32020, "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 131072,
            "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "rope_scaling": {"type": "su", "short_factor": HALF_PHI, "long_factor": HALF_PHI},
            "sliding_window": 262144, "hidden_act": "silu", "initializer_range": 0.02, "tie_word_embeddings": False,
            "bos_token_id": 1, "eos_token_id": 32000, "pad_token_id": 32000,
        },
        {
            "model_type": "phi3", "attention_bias": False, "attention_dropout": 0.0, "embd_pdrop": 0.0,
            "resid_pdrop": 0.0, "use_cache": True,
            "auto_map": {"AutoConfig": "microsoft/Phi-3-mini-128k-instruct--configuration_phi3.Phi3Config"},
        },
    ),
    "LlamaForCausalLM": (
        {
            "vocab_size": 128265, "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
            "num_attention_heads": 64, "num_key_value_heads": 8, "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "hidden_act": "silu", "initializer_range": 0.02,
            "tie_word_embeddings": False, "bos_token_id": 128000, "eos_token_id": [128001, 128009],
        },
        {
            "model_type": "llama", "attention_bias": False, "attention_dropout": 0.0, "head_dim": 128,
            "mlp_bias": False, "pretraining_tp": 1, "rope_scaling": None, "use_cache": True,
        },
    ),
}  # fmt: skip


def plain(family: str) -> dict[str, Any]:
    """A configuration of the keys alone that mean something."""
    return {**TOP, "vision_config": EYE, "llm_config": {"architectures": [family], **FAMILIES[family][0]}}


def dumped(family: str, generic: dict[str, Any]) -> dict[str, Any]:
    """The same as the publishers' classes write it, sections in full."""
    words, own = FAMILIES[family]
    return deepcopy({
        **generic, **TOP_OWN, **TOP,
        "vision_config": {**generic, **EYE_OWN, **EYE},
        "llm_config": {**generic, **own, "architectures": [family], **words},
    })  # fmt: skip


@pytest.mark.parametrize("generic", [GENERIC, GENERIC | SAID], ids=["as it comes", "all said"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_every_configuration_has_changes_nothing(family: str, generic: dict[str, Any]) -> None:
    full = dumped(family, generic)
    if "pad_token_id" not in FAMILIES[family][0]:
        full["llm_config"]["pad_token_id"] = None  # there it means something
    assert official_config(full, "config.json") == official_config(plain(family), "config.json")


def test_keys_of_experts_are_known_where_there_are_none() -> None:
    full = dumped("Qwen2ForCausalLM", GENERIC)
    full["vision_config"] |= EXPERTS
    assert official_config(full, "config.json") == official_config(plain("Qwen2ForCausalLM"), "config.json")
    full["vision_config"]["use_moe"] = True
    with pytest.raises(CheckpointError, match="use_moe is True; it must be false"):
        official_config(full, "config.json")


@pytest.mark.parametrize("family", FAMILIES)
def test_keys_of_newer_transformers_say_the_same(family: str) -> None:
    newer = dumped(family, GENERIC)
    llm = newer["llm_config"]
    scaling = llm.pop("rope_scaling", None) or {"rope_type": "default", "partial_rotary_factor": 1.0}
    llm["rope_parameters"] = {**scaling, "rope_theta": llm.pop("rope_theta")}
    llm["layer_types"] = ["full_attention"] * llm["num_hidden_layers"]
    assert official_config(newer, "config.json") == official_config(dumped(family, GENERIC), "config.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("layer_types", ["full_attention", "sliding_attention"]),
        ("layer_types", "full_attention"),
        ("rope_parameters", [10000.0]),
        ("rope_parameters", {"rope_type": "default", "rope_theta": "10000"}),
        ("rope_parameters", {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}),
        ("rope_parameters", {"rope_type": "nobody", "rope_theta": 1e4}),
    ],
)
def test_newer_keys_that_mean_another_network_are_refused(key: str, value: Any) -> None:
    full = dumped("Qwen2ForCausalLM", GENERIC)
    full["llm_config"][key] = value
    with pytest.raises(CheckpointError, match=r"config.json: llm_config: .* (must be|known:)"):
        official_config(full, "config.json")


@pytest.mark.parametrize("section", ["top", "vision_config", "llm_config"])
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("nobody_knows", 1, "unknown here"),
        ("quantization_config", {"quant_method": "awq"}, "may load code"),
        ("custom_generate", "evil", "may load code"),
        ("auto_map", {"AutoModel": "evil.Model"}, "may load code"),
        ("_attn_implementation_internal", "evil/kernel", "may load code"),
        ("attn_implementation", "evil/kernel", "take it out"),
        ("id2label", {"0": {"_target_": "os.system"}}, "take it out"),
    ],
)
def test_other_keys_are_refused_wherever_they_stand(section: str, key: str, value: Any, said: str) -> None:
    full = dumped("InternLM2ForCausalLM", GENERIC)
    (full if section == "top" else full[section])[key] = value
    with pytest.raises(CheckpointError, match=f"'{key}'.*{said}"):
        official_config(full, "config.json")


@pytest.mark.parametrize(
    ("key", "value"), [("eos_token_id", [2, None]), ("eos_token_id", ["2"]), ("rope_pos_id_version", "v2pe_fix")]
)
def test_what_would_be_another_model_is_refused(key: str, value: Any) -> None:
    full = dumped("InternLM2ForCausalLM", GENERIC)
    full["llm_config"][key] = value
    with pytest.raises(CheckpointError, match=f"llm_config: {key} is"):
        official_config(full, "config.json")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_can_be_built_from_it(family: str) -> None:
    described = official_config(dumped(family, GENERIC), "config.json").described(5, tied=False)
    network = blank_internvl(described)
    assert len(network.state_dict()) > 24 * 10
