"""Rules on what a task declares: they hold before a decoder is built."""

from __future__ import annotations

import json
import subprocess
import sys

from pydantic import ValidationError

from ..errors import shown
from ..outputs import Output
from ..plugin import tasks_of
from ..spec import TaskSpec
from .bench import Bench
from .rule import BrokenRuleError, NotApplicableError

HEAVY = ("torch", "transformers", "diffusers", "torchvision", "tensorflow", "jax")
IMPORT_LIMIT_S = 60.0
RESERVED = ("<ref>", "</ref>", "<img>", "</img>", "<IMG_CONTEXT>", "<box>", "</box>", "<|im_start|>", "<|im_end|>")
USUAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[BOS]", "[EOS]", "[INST]", "[UNUSED_TOKEN_1]")


def check_spec(bench: Bench) -> None:
    """The spec passes discovery, its schemas can be written down, and options have defaults."""
    (task,) = tasks_of(bench.task)
    spec = task.spec
    try:
        spec.options()
    except ValidationError as error:
        option = error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]
        raise BrokenRuleError(f"the option {'.'.join(map(str, option))} has no default") from None
    data = spec.model_dump_json(exclude={"output", "options"})
    if TaskSpec(**json.loads(data), output=spec.output, options=spec.options) != spec:
        raise BrokenRuleError("the spec read back from JSON is another one")
    spec.output.model_json_schema(mode="serialization")


def check_light(bench: Bench) -> None:
    """A fresh interpreter that reads the spec holds no torch."""
    if not bench.module or bench.module == "__main__":
        raise NotApplicableError("it was handed over as an object: there is no module to import anew")
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; from chiasm_registry.onefile import import_file; "
        f"from chiasm_registry.plugin import import_plugin; path, home = {bench.path!r}, {bench.module!r}; "
        f"plugin = import_file(path, home) if path else import_plugin(home, {bench.attribute!r}, ''); "
        f"getattr(plugin, 'chiasm_tasks', list)(); "
        f"sys.stderr.write('LOADED ' + ' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=IMPORT_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise BrokenRuleError(f"its import takes more than {IMPORT_LIMIT_S:g} s") from None
    _, said, loaded = done.stderr.rpartition("LOADED ")
    if done.returncode or not said:
        raise BrokenRuleError(f"{shown(bench.module)} cannot be imported in a fresh interpreter")
    if loaded.strip():
        raise BrokenRuleError(f"reading the spec imports {loaded.split()[0]}")


def check_token(bench: Bench) -> None:
    """The token is one id in a vocabulary of bytes and the usual control tokens, also after saving and loading."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    token = bench.task.spec.token
    if token in (*RESERVED, *USUAL):
        raise BrokenRuleError(f"the token {token} is one that language models have already")
    letters = {letter: k for k, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    engine = Tokenizer(models.BPE(vocab=letters, merges=[]))
    engine.pre_tokenizer, engine.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    engine.add_tokens([AddedToken(word, special=True, normalized=False) for word in (*RESERVED, *USUAL)])
    size = engine.get_vocab_size()
    engine.add_tokens([AddedToken(token, special=True, normalized=False)])
    again = Tokenizer.from_str(engine.to_str())
    for one in (engine, again):
        ids = one.encode(f"a <ref>cat</ref>{token}{token} and", add_special_tokens=False).ids
        if one.token_to_id(token) != size or ids.count(size) != 2:
            raise BrokenRuleError(f"the token {token} is not one id of its own")


def check_empty(bench: Bench) -> None:
    """Where an output can say that nothing is there, the empty one is valid, stays empty in JSON, and finds nothing."""
    schema: type[Output] = bench.task.spec.output
    if schema.is_empty is Output.is_empty:
        raise NotApplicableError(f"{schema.__name__} never says that nothing is there")
    try:
        empty = schema()
        again = schema.model_validate_json(empty.model_dump_json())
    except ValidationError:
        raise BrokenRuleError(f"{schema.__name__}() without a field is not valid") from None
    if not empty.is_empty() or not again.is_empty() or list(empty.found()):
        raise BrokenRuleError(f"{schema.__name__}() without a field does not say that nothing is there")
