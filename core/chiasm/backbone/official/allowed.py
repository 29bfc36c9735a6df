"""What an official `config.json` may say: known keys with their ranges, keys that mean nothing here, and no others.

Keys that load code refuse the folder; `auto_map` is left aside when it names the publishers' own files, as every
released folder does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chiasm_registry.errors import CheckpointError, shown

from .ranges import Every, Flag, Off, Part, Real, Rule, Several, Text, Whole, Word

SIDE, LAYERS, HEADS = Whole(1, 2**16), Whole(1, 512), Whole(1, 1024)
RATE, EPS, TOKEN = Real(0, 1), Real(1e-12, 1), Whole(0, 2**22, none=True)
THETA = Real(1, 1e12)
ACTS = Word(("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish"))

TOP: Mapping[str, Rule] = {
    "downsample_ratio": Real(0.125, 1),
    "force_image_size": Whole(1, 2**14, none=True),
    "llm_config": Part(),
    "vision_config": Part(),
    "max_dynamic_patch": Whole(1, 256),
    "min_dynamic_patch": Whole(1, 256),
    "ps_version": Word(("v1", "v2")),
    "select_layer": Whole(-512, 512),
    "system_message": Text(),
    "template": Text(),
    "tie_word_embeddings": Flag(),
    "use_thumbnail": Flag(),
    "dynamic_image_size": Flag(),
}
VISION: Mapping[str, Rule] = {
    "hidden_size": SIDE,
    "intermediate_size": Whole(1, 2**20),
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_channels": Whole(3, 3),
    "image_size": Whole(1, 2**14),
    "patch_size": Whole(1, 1024),
    "hidden_act": ACTS,
    "layer_norm_eps": EPS,
    "norm_type": Word(("layer_norm", "rms_norm")),
    "qk_normalization": Flag(),
    "qkv_bias": Flag(),
    "use_moe": Off(),
    "attention_dropout": RATE,
    "dropout": RATE,
    "drop_path_rate": RATE,
    "initializer_factor": Real(0, 1e3),
    "initializer_range": RATE,
}
TEXT: Mapping[str, Rule] = {
    "vocab_size": Whole(1, 2**22),
    "hidden_size": SIDE,
    "intermediate_size": Whole(1, 2**20),
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": Whole(1, 1024, none=True),
    "head_dim": Whole(1, 2**14, none=True),
    "max_position_embeddings": Whole(1, 2**24),
    "original_max_position_embeddings": Whole(1, 2**24),
    "hidden_act": ACTS,
    "rms_norm_eps": EPS,
    "rope_theta": THETA,
    "rope_scaling": Part(),
    "rope_parameters": Part(),  # what newer transformers writes instead of the two before
    "layer_types": Every(Word(("full_attention",))),
    "rope_pos_id_version": Word(("default",)),
    "sliding_window": Whole(1, 2**24, none=True),
    "use_sliding_window": Flag(),
    "max_window_layers": Whole(0, 512),
    "attention_bias": Flag(),
    "bias": Flag(),
    "mlp_bias": Flag(),
    "tie_word_embeddings": Flag(),
    "attention_dropout": RATE,
    "embd_pdrop": RATE,
    "resid_pdrop": RATE,
    "initializer_range": RATE,
    "bos_token_id": TOKEN,
    "eos_token_id": Several(TOKEN),
    "pad_token_id": TOKEN,
}

_CODE = ("custom_generate", "custom_pipelines", "quantization_config", "trust_remote_code", "compression_config")
_OFFICIAL_MODULES = (
    "configuration_intern_vit",
    "configuration_internlm2",
    "configuration_internvl_chat",
    "configuration_phi3",
    "conversation",
    "modeling_intern_vit",
    "modeling_internlm2",
    "modeling_internvl_chat",
    "modeling_phi3",
    "tokenization_internlm2",
    "tokenization_internlm2_fast",
)
OFFICIAL_CODE = frozenset(f"{name}.py" for name in _OFFICIAL_MODULES)
_ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3")
# what `PretrainedConfig` wrote into every configuration from 4.37 to 4.45, whether it means anything there or not
_GENERIC = """
    _commit_hash _name_or_path add_cross_attention architectures bad_words_ids begin_suppress_tokens bos_token_id
    chunk_size_feed_forward cross_attention_hidden_size decoder_start_token_id diversity_penalty do_sample dtype
    early_stopping encoder_no_repeat_ngram_size eos_token_id exponential_decay_length_penalty finetuning_task
    forced_bos_token_id forced_eos_token_id id2label is_composition is_decoder is_encoder_decoder label2id
    length_penalty max_length min_length model_type no_repeat_ngram_size num_beam_groups num_beams
    num_return_sequences output_attentions output_hidden_states output_scores pad_token_id prefix problem_type
    pruned_heads remove_invalid_values repetition_penalty return_dict return_dict_in_generate sep_token_id
    suppress_tokens task_specific_params temperature tf_legacy_loss tie_encoder_decoder tie_word_embeddings
    tokenizer_class top_k top_p torch_dtype torchscript transformers_version typical_p use_bfloat16
"""
# what the publishers' own classes add, and only training, a faster kernel or a network of experts looks at
_OWN = """
    attn_implementation fix_vit_pos_embed force_image_size_range hidden_size img_context_token_id
    max_window_layers pad2square pretraining_tp rope_pos_id_stride use_backbone_lora use_cache use_fa3
    use_flash_attn use_llm_lora capacity_factor eval_capacity_factor laux_allreduce moe_coeff_ratio
    moe_intermediate_size moe_output_scale noisy_gate_policy num_experts num_routed_experts num_shared_experts
    shared_expert_intermediate_size use_residual use_rts use_weighted_residual
"""
_INERT = frozenset(f"{_GENERIC} {_OWN}".split())


def checked(section: Mapping[str, Any], rules: Mapping[str, Rule], where: str) -> dict[str, Any]:
    """The keys of `section` that mean something, each within its range; an unknown key is refused by name."""
    kept: dict[str, Any] = {}
    for key, value in section.items():
        if key in rules:
            if not rules[key].fits(value):
                raise CheckpointError(f"{where}: {key} is {shown(repr(value), 40)}; it must be {rules[key]}")
            kept[key] = value
        elif not _harmless(key, value):
            _refuse(key, value, where)
    return kept


def _harmless(key: str, value: Any) -> bool:
    if value is None:
        return True
    if key == "auto_map":
        return _official_map(value)
    if key == "_attn_implementation_autoset":
        return type(value) is bool
    if key == "attn_implementation":
        return value in _ATTENTION
    return key in _INERT and not _nested(value)


def _nested(value: Any) -> bool:
    """Whether there is an object in a list or an object in it: those of transformers' own keys have none."""
    inner: Iterable[Any] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(isinstance(item, dict) for item in inner)


def _official_map(value: Any) -> bool:
    """Whether `auto_map` names the publishers' files alone."""
    names = value.values() if isinstance(value, dict) else [None]
    plain = (part for name in names for part in (name if isinstance(name, list) else [name]) if part is not None)
    return isinstance(value, dict) and all(
        isinstance(name, str) and name.rpartition("--")[2].partition(".")[0] in _OFFICIAL_MODULES for name in plain
    )


def _refuse(key: str, value: Any, where: str) -> None:
    code = key in _CODE or key == "auto_map" or key.startswith(("_attn_implementation", "_target_", "custom_"))
    said = f"{where} has the key '{shown(key, 60)}'"
    if code:
        raise CheckpointError(f"{said}, which may load code; it is not allowed here")
    known = key in _INERT or key == "attn_implementation"
    raise CheckpointError(f"{said} with {shown(repr(value), 40)}; take it out" if known else f"{said}, unknown here")
