"""`chiasm.json`: what a model folder is, which tasks it knows, and the size and sha256 of every file in it."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any

from chiasm_registry.errors import CheckpointError, shown
from chiasm_registry.spec import TaskName, TaskToken
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ..strict_json import parse_object

FORMAT = 1
MANIFEST = "chiasm.json"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
CORE = re.compile(r"core(-\d{5}-of-\d{5})?\.safetensors")
# Files of the official folder that the model came from, as they were: for the way back.
KEPT = re.compile(
    r"official-((config|generation_config|preprocessor_config|tokenizer_config|special_tokens_map|added_tokens|vocab|"
    r"tokenizer)\.json|merges\.txt|tokenizer\.model)"
)
CORE_ID = re.compile(r"[0-9a-f]{16}")
# What may lie beside the listed files: words for people, and what tools for versions leave.
BESIDE = frozenset({"README.md", "LICENSE", "MODEL_CARD.md", ".gitattributes", ".git", ".cache"})

Text = Annotated[str, StringConstraints(max_length=4096)]
Opening = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Lead = Annotated[float, Field(ge=0, le=100)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class FileEntry(_Strict):
    """One file as it was written."""

    size: Annotated[int, Field(ge=0)]
    sha256: Sha256


class TaskEntry(_Strict):
    """A task's place in the table; it keeps it when its weights are left out."""

    name: TaskName
    token: TaskToken
    embeddings: Annotated[int, Field(ge=1, le=1024)]
    distribution: Text
    version: Text
    order: Annotated[int, Field(ge=0)]


class Manifest(_Strict):
    """The whole of `chiasm.json`."""

    format: Annotated[int, Field(ge=1)] = FORMAT
    design: Text  # which backbone file builds the core
    template: Text  # name of the prompt template
    guided_instruction: Text
    # What free answers may begin with, and by how many logits its last token must lead: with {"I looked": 2.0} a model
    # looks for things only where it is surer than that of having been asked to.
    openings: Annotated[dict[Opening, Lead], Field(max_length=16)] = {}
    # What free answers begin with that name things in the words of the question, to the letter.
    echoes: Annotated[tuple[Opening, ...], Field(max_length=16)] = ()
    tasks: tuple[TaskEntry, ...] = ()
    files: dict[str, FileEntry]
    extra: dict[str, Any] = {}

    @property
    def core_files(self) -> tuple[str, ...]:
        """The file or the shards of the core, in order."""
        return tuple(sorted(name for name in self.files if CORE.fullmatch(name)))

    @property
    def core_id(self) -> str:
        """Tells one core's weights from all others: a task learns on one core, and fits that one alone.

        "" where the files of the core are not listed, as in folders of others.
        """
        if not self.core_files:
            return ""
        return hashlib.sha256("".join(self.files[name].sha256 for name in self.core_files).encode()).hexdigest()[:16]

    def json_bytes(self) -> bytes:
        """As it stands in the folder."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def kept_name(file: str) -> str:
    """Where a file of the official folder stands in ours."""
    return f"official-{file}"


def task_file_name(task: str) -> str:
    """Where a task's weights stand in the folder."""
    return f"{task}.safetensors"


def parse_manifest(data: bytes, name: str) -> Manifest:
    """A checked manifest, or a `CheckpointError` that says what is wrong with it."""
    value = parse_object(data, name, error=CheckpointError)
    version = value.get("format")
    if type(version) is not int:
        raise CheckpointError(f"{name} names no format; it is not a manifest of chiasm")
    if version > FORMAT:
        raise CheckpointError(
            f"{name} has format {shown(version, 20)}; this chiasm reads up to {FORMAT}; update chiasm"
        )
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_url=False)[0]["loc"])
        raise CheckpointError(f"{name} is not a valid manifest: look at '{shown(where, 60)}'") from error
    _check(manifest, name)
    return manifest


def _check(manifest: Manifest, name: str) -> None:
    """Every listed file is one that we know how to read, and the task table holds nothing twice."""
    known = {CONFIG, TOKENIZER, *(task_file_name(task.name) for task in manifest.tasks)}
    for file in manifest.files:
        if file not in known and not CORE.fullmatch(file) and not KEPT.fullmatch(file):
            raise CheckpointError(f"{name} lists '{shown(file, 60)}', which does not belong in a model folder")
    for needed in (CONFIG, TOKENIZER):
        if needed not in manifest.files:
            raise CheckpointError(f"{name} does not list {needed}")
    if not manifest.core_files or manifest.core_files != shard_names(len(manifest.core_files)):
        raise CheckpointError(f"{name} does not list one core.safetensors or a complete set of its shards")
    for column in ("name", "token", "order"):
        values = [getattr(task, column) for task in manifest.tasks]
        if len(set(values)) != len(values):
            raise CheckpointError(f"{name} has two tasks with the same {column}")
    if any(task.name == "core" for task in manifest.tasks):
        raise CheckpointError(f"{name} has a task named 'core', which is the name of the core's own file")


def shard_names(count: int) -> tuple[str, ...]:
    """`core.safetensors`, or `core-00001-of-0000N.safetensors` and so on."""
    if count == 1:
        return ("core.safetensors",)
    return tuple(f"core-{index:05}-of-{count:05}.safetensors" for index in range(1, count + 1))
