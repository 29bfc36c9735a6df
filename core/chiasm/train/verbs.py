"""What the trained tasks answer to: which tasks a phrase is routed to, and how people ask a task by its own words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from chiasm_registry import TaskSpec, TrainingError
from chiasm_registry.errors import shown

from .language import Phrasing, phrasing

FINDS = "Find {names}."  # a task with this among its phrasings answers every way to ask for things to be found
Chain = tuple[str, ...]  # tasks whose tokens stand behind one phrase, in order


@dataclass(frozen=True)
class Verb:
    """One task as people ask for it."""

    spec: TaskSpec
    chain: Chain  # the trained tasks it comes after, then itself

    @cached_property
    def phrasings(self) -> tuple[Phrasing, ...]:
        """The task's own templates; a TrainingError if one has no place for names."""
        for template in self.spec.phrasings:
            if template.count("{names}") != 1:
                raise TrainingError(f"task {self.spec.name}: phrasing {shown(template)} needs one {{names}}")
        return tuple(phrasing(template.rstrip(".?!")) for template in self.spec.phrasings)


class Verbs:
    """The verbs of some tasks; without any, phrases are routed to nothing."""

    def __init__(self, specs: Sequence[TaskSpec] = ()) -> None:
        trained = [spec.name for spec in specs]
        every = [Verb(spec, (*(name for name in spec.after if name in trained), spec.name)) for spec in specs]
        self.finder: Chain = next((verb.chain for verb in every if FINDS in verb.spec.phrasings), ())
        self.others = tuple(verb for verb in every if FINDS not in verb.spec.phrasings and verb.spec.phrasings)
        # A caller may ask for a task alone or behind those it comes after.
        seeing = [verb for verb in every if verb.spec.needs_image and verb.chain != self.finder]
        self.guided: tuple[Chain, ...] = tuple(
            dict.fromkeys(chain for verb in seeing for chain in (verb.chain, (verb.spec.name,)))
        )
