"""What the trained tasks answer to: which tasks a phrase is routed to, and how people ask a task by its own words."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from chiasm_registry import TaskSpec, TrainingError
from chiasm_registry.errors import shown

from .language import Phrasing, phrasing

FINDS = "Find {names}."  # a task with this among its phrasings answers every way to ask for things to be found
CHOICE = re.compile(r"\(([^()]*)\)")
Chain = tuple[str, ...]  # tasks whose tokens stand behind one phrase, in order


@dataclass(frozen=True)
class Verb:
    """One task as people ask for it."""

    spec: TaskSpec
    chain: Chain  # the known tasks it comes after, then itself
    learns: bool = True

    @cached_property
    def phrasings(self) -> tuple[Phrasing, ...]:
        """The task's own templates; a TrainingError if one has no place for names."""
        for template in self.spec.phrasings:
            if template.count("{names}") != 1:
                raise TrainingError(f"task {self.spec.name}: phrasing {shown(template)} needs one {{names}}")
        return tuple(phrasing(template.rstrip(".?!")) for template in self.spec.phrasings)

    @cached_property
    def openings(self) -> tuple[str, ...]:
        """What its templates begin with, small letters, each choice written out: "point at", "point to"."""
        heads = (template.partition("{names}")[0].lower() for template in self.spec.phrasings)
        written = {text.strip() for head in heads for text in _written_out(head)}
        return tuple(sorted(text for text in written if len(text) > 3))


class Verbs:
    """The verbs of some tasks; without any, phrases are routed to nothing.

    `learning` names those that are trained (None: all). The others are asked too, in words alone: a new token has to
    stay away from what belongs to them.
    """

    def __init__(self, specs: Sequence[TaskSpec] = (), learning: Collection[str] | None = None) -> None:
        known = [spec.name for spec in specs]
        every = [
            Verb(
                spec,
                (*(name for name in spec.after if name in known), spec.name),
                learning is None or spec.name in learning,
            )
            for spec in specs
        ]
        self.finder: Chain = next((verb.chain for verb in every if FINDS in verb.spec.phrasings), ())
        own = [verb for verb in every if FINDS not in verb.spec.phrasings and verb.spec.phrasings]
        self.others = tuple(verb for verb in own if verb.learns)
        self.foreign = tuple(verb for verb in own if not verb.learns)
        self._claimed = tuple(opening for verb in self.others for opening in verb.openings) if self.foreign else ()
        # A caller may ask for a task alone or behind those it comes after.
        seeing = [verb for verb in every if verb.learns and verb.spec.needs_image and verb.chain != self.finder]
        self.guided: tuple[Chain, ...] = tuple(
            dict.fromkeys(chain for verb in seeing for chain in (verb.chain, (verb.spec.name,)))
        )
        self.finder_learns = any(verb.learns for verb in every if verb.chain == self.finder)

    def claims(self, prompt: str) -> bool:
        """Whether a prompt that is meant for a task that stays as it is belongs to one that learns by its own words."""
        said = prompt.lower()
        return any(re.search(rf"\b{re.escape(opening)}\b", said) for opening in self._claimed)


def _written_out(text: str) -> list[str]:
    """Every form of a template's (a|b|) choices, up to a few dozen."""
    forms = [text]
    while len(forms) < 64 and (found := CHOICE.search(forms[0])):
        forms = [form.replace(found[0], option, 1) for form in forms for option in found[1].split("|")]
    return [" ".join(form.split()) for form in forms if "(" not in form]
