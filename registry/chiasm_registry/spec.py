"""What a task declares before torch is loaded. Pure data: it can be listed, compared and stored with a checkpoint."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from .errors import shown
from .outputs import Output

API_VERSION = "1.0"


def _is_name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        raise ValueError(f"{shown(repr(name), 40)} names no task; take small letters, digits and _, like 'depth'")
    if name == "text":
        raise ValueError("'text' is what objects that an answer writes in words are called; take another name")
    return name


def _is_token(token: str) -> str:
    if not re.fullmatch(r"\[[A-Z][A-Z0-9_]{0,62}\]", token):
        raise ValueError(f"{shown(repr(token), 40)} is no routing token; write capitals in brackets, like '[DEPTH]'")
    return token


TaskName = Annotated[str, AfterValidator(_is_name)]
TaskToken = Annotated[str, AfterValidator(_is_token)]

TAKEN = frozenset({"task", "image", "phrases"})  # what `Model.run` calls its own


class NoOptions(BaseModel):
    """The options schema of a task that takes none."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TaskSpec(BaseModel):
    """A task's declaration.

    `token` is emitted by the model behind `<ref>phrase</ref>`; `embeddings` is K, the number of learned vectors fed
    behind it; `output` is the schema each answer is checked against; `options` is what `Model.run` may carry to the
    decoder; `after` names tasks whose outputs for the same phrase the decoder wants to see first (it orders them, it
    never triggers them); `phrasings` are how people ask for the task, {names} standing for what they name, with (one|an
other) choice; `weights_of` says which versions of its distribution wrote weights that this one can read, as ">=1.2".
    A task that does not `learns` reads no slots: it is complete without weights, and the model never says its token by
    itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: TaskName
    token: TaskToken
    embeddings: Annotated[int, Field(ge=1, le=1024)]
    output: type[Output]
    summary: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    options: type[BaseModel] = NoOptions
    after: tuple[TaskName, ...] = ()
    needs_image: bool = True
    api: str = ">=1,<2"
    phrasings: tuple[str, ...] = ()
    weights_of: str = ""
    learns: bool = True

    @field_validator("weights_of")
    @classmethod
    def _specifier(cls, weights_of: str) -> str:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        try:
            SpecifierSet(weights_of)
        except InvalidSpecifier:
            raise ValueError("weights_of must say versions, like '>=1.2,<2'") from None
        return weights_of

    @field_validator("options")
    @classmethod
    def _names_of_options(cls, options: type[BaseModel]) -> type[BaseModel]:
        if taken := sorted(TAKEN & options.model_fields.keys()):
            raise ValueError(f"an option cannot be called {taken[0]!r}, which run() has already; rename it")
        return options

    @field_validator("phrasings")
    @classmethod
    def _with_a_place(cls, phrasings: tuple[str, ...]) -> tuple[str, ...]:
        for phrasing in phrasings:
            if "{names}" not in phrasing:
                raise ValueError(f"the phrasing {shown(repr(phrasing), 60)} has no {{names}}; say where they stand")
        return phrasings

    @model_validator(mode="after")
    def _not_after_itself(self) -> TaskSpec:
        if self.name in self.after:
            raise ValueError("a task cannot come `after` itself; take its name out")
        return self

    @field_validator("output")
    @classmethod
    def _strict_schema(cls, output: type[Output]) -> type[Output]:
        config = output.model_config
        kept = {"extra": "forbid", "allow_inf_nan": False, "frozen": True, "strict": True}
        if any(config.get(key) != value for key, value in kept.items()) or config.get("arbitrary_types_allowed"):
            cure = "keep extra='forbid', allow_inf_nan=False, frozen=True and strict=True, and no arbitrary types"
            raise ValueError(f"{output.__name__} loosens Output's configuration; {cure}")
        return output
