"""One training request for one image: what is asked, and the answer. Nothing that may be there counts as absent."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from .asking import Asker, Facts
from .language import phrasings, pick
from .mix import Mix
from .plain import caption_of, count_of, everything_of, question_of, yes_no_of
from .referring import Referred, Referrer
from .verbs import Chain, Verb, Verbs
from .wording import FindPrompt, noun_phrase
from .words import Word, Words

if TYPE_CHECKING:
    from chiasm_registry import TaskSpec
    from chiasm_registry.contract import SampleObject

    from .data import Record

TRIES = 20
LOOKED, HERE = "I looked for ", "Here is "
ECHOES = (LOOKED.strip(), HERE.strip())  # answers that name things in the words of the request, to the letter
Kind = Literal["guided", "find", "task", "everything", "caption", "count", "yes_no", "question", "refer", "chained"]


@dataclass(frozen=True)
class Routed:
    """A phrase that is routed, the indices of the objects it means (crowds included), the names it stands for."""

    phrase: str
    matches: tuple[int, ...]
    tasks: Chain
    meaning: tuple[str, ...] = ()  # () for a word that is none of the categories
    singled: bool = False  # it points to one thing by more than its name
    judged: bool = True  # False: nobody knows what of it is there, so it is said and routed, and no decoder is told


@dataclass(frozen=True)
class Request:
    """A prompt with its answer; `guided` has no prompt, each of its phrases is a branch of its own."""

    kind: str
    prompt: str | None
    answer: tuple[str | Routed, ...]
    image: bool = True  # False: it is asked without the image
    own: bool = False  # it is in the words of a task that learns
    follows: bool = False  # it is a next turn of the conversation that is written before it


class Composer:
    """Writes requests for records of one category list; the records given tell which names stand together."""

    def __init__(
        self,
        names: Sequence[str],
        records: Sequence[Record],
        mix: Mix | None = None,
        branches: int = 14,
        tasks: Sequence[TaskSpec] = (),
        learning: Collection[str] | None = None,
    ) -> None:
        """`tasks` are those that phrases may be routed to, `learning` names those that are trained (None: all)."""
        self.mix = mix or Mix()
        self.branches = branches
        self.verbs = Verbs(tasks, learning)
        self.words = Words(names, _said(records))
        self.asker = Asker(self.words, records, self.mix)
        self.referrer = Referrer(self.asker, self.verbs)
        kinds = ("guided", "find", "task", "everything", "caption", "count", "yes_no", "question", "refer", "chained")
        self._kinds = [(kind, float(getattr(self.mix, kind))) for kind in kinds]

    def facts(self, record: Record, objects: Sequence[SampleObject]) -> Facts:
        """What is true of a view that shows these objects."""
        return Facts(record, objects, self.words.names)

    def compose(
        self, record: Record, objects: Sequence[SampleObject], rng: random.Random, kind: str | None = None
    ) -> Request:
        """One request of `kind` (drawn from the mix if None) about the objects that remain in view."""
        facts = self.facts(record, objects)
        kind = kind or self._drawn(facts, rng)
        request = self._composed(facts, rng, kind)
        for _ in range(TRIES):
            if request.prompt is None or request.own or not self.verbs.claims(request.prompt):
                break
            request = self._composed(facts, rng, kind)  # it was another task's, in words that are a trained one's
        goes_on = request.prompt is not None and bool(self.mix.turns) and rng.random() < self.mix.turns
        return replace(request, follows=goes_on)

    def _composed(self, facts: Facts, rng: random.Random, kind: str) -> Request:
        if kind in ("find", "everything") and not self.verbs.finder:
            kind = "task"
        if kind == "guided" and not self.verbs.guided and not self.verbs.finder_learns and self.verbs.others:
            kind = "task"  # it needs no image
        match kind:
            case "guided":
                return self._guided(facts, rng)
            case "everything":
                return self._everything(facts, rng)
            case "caption" if facts.captions:
                return Request("caption", *caption_of(facts, rng))
            case "count":
                return Request("count", *count_of(facts, self.asker, rng))
            case "yes_no":
                return Request("yes_no", *yes_no_of(facts, self.asker, rng))
            case "question":
                blind = rng.random() < self.mix.blind
                return Request("question", *question_of(facts, self.asker, rng), image=not blind)
            case "refer" if referred := self.referrer.phrases(facts, 1, rng):
                return self._refer(referred[0], rng)
            case "chained" if chained := self.referrer.chained(facts, rng):
                routed = Routed(chained.phrase, chained.matches, chained.chain, chained.names)
                return Request("chained", chained.prompt, (chained.before, routed, chained.behind))
            case "task" if verbs := self._asked(rng):
                return self._task(facts, pick(verbs, rng), rng)
        return self._find(facts, rng)

    def _asked(self, rng: random.Random) -> tuple[Verb, ...]:
        """Verbs to ask in the words of: those of trained tasks, at times those of others."""
        own, foreign = self.verbs.others, self.verbs.foreign
        return foreign if foreign and (not own or rng.random() < self.mix.task_foreign) else own

    def _drawn(self, facts: Facts, rng: random.Random) -> str:
        kind: str = rng.choices(*zip(*self._kinds, strict=True))[0]
        if kind == "everything" and not facts.complete:
            return "guided"  # unlabelled things would be taught as not worth naming
        return kind

    def _guided(self, facts: Facts, rng: random.Random) -> Request:
        referred = self.referrer.phrases(facts, self.mix.guided_refer, rng)
        words = self.asker.guided(facts, self.branches - len(referred), rng)
        routed = [_routed(facts, word, text, self._chain(rng)) for word, text in words]
        chains = [chain for chain in (*self.verbs.guided, self.verbs.finder) if chain] or [()]
        routed += [Routed(one.text, (one.match,), pick(chains, rng), (one.name,), singled=True) for one in referred]
        return Request("guided", None, tuple(routed))

    def _refer(self, referred: Referred, rng: random.Random) -> Request:
        """One thing among others, asked for in the words of any task that looks at pictures."""
        verbs = [verb for verb in self.verbs.others if verb.spec.needs_image]
        verb = pick(verbs, rng) if verbs and (not self.verbs.finder or rng.random() < 0.6) else None
        templates = verb.phrasings if verb else phrasings("find.yaml", "command")
        prompt, phrase = self.referrer.prompt(referred, pick(templates, rng), rng)
        chain = verb.chain if verb else self.verbs.finder
        routed = Routed(phrase, (referred.match,), chain, (referred.name,), singled=True)
        return Request("refer", prompt, listed(LOOKED, [routed]), own=verb is not None)

    def _chain(self, rng: random.Random) -> Chain:
        """The tasks of a guided phrase."""
        others = self.verbs.guided
        if others and (not self.verbs.finder_learns or rng.random() < self.mix.guided_other):
            return pick(others, rng)
        return self.verbs.finder

    def _find(self, facts: Facts, rng: random.Random) -> Request:
        words = self.asker.find(facts, rng)
        prompt, names = FindPrompt(words, rng).write()
        pairs = zip(words, names, strict=True)
        return Request("find", prompt, listed(LOOKED, [_routed(facts, *pair, self.verbs.finder) for pair in pairs]))

    def _task(self, facts: Facts, verb: Verb, rng: random.Random) -> Request:
        """A request in a task's own words; a task that needs no image is asked without it, for one thing."""
        seeing = verb.spec.needs_image
        if not seeing and rng.random() < self.mix.task_guided:
            return self._blind(facts, verb, rng)
        words = self.asker.find(facts, rng) if seeing else [self._dreamt(facts, rng)]
        prompt, names = FindPrompt(words, rng, seen=seeing).write(pick(verb.phrasings, rng))
        pairs = zip(words, names, strict=True)
        answer = listed(LOOKED if seeing else HERE, [_routed(facts, *pair, verb.chain) for pair in pairs])
        image = seeing or rng.random() < self.mix.task_beside
        return Request("task", prompt, answer, image=image, own=verb.learns)

    def _blind(self, facts: Facts, verb: Verb, rng: random.Random) -> Request:
        """One phrase for a task that needs no image, guided, as `Model.run` asks it: "a red bus", "red buses"."""
        word = self._dreamt(facts, rng)
        before, name = noun_phrase(word, "a" if rng.random() < 0.6 else "bare", rng.random() < 0.2, rng)
        routed = _routed(facts, word, before + name, verb.chain)
        return Request("task", None, (routed,), image=False)

    def _dreamt(self, facts: Facts, rng: random.Random) -> Word:
        """A word for what need not be there; at times with an adjective, which no image can belie."""
        word = self.asker.any_word(facts, rng)
        plain = word.number == "count" and word.text in self.words.by_text
        return self.words.with_quality(word, rng) if plain and rng.random() < self.mix.dressed else word

    def _everything(self, facts: Facts, rng: random.Random) -> Request:
        prompt, names = everything_of(facts, self.mix.everything_max, rng)
        names += self.asker.more(facts, self.mix.everything_more, rng)
        routed = [Routed(name, facts.by_name.get(name, ()), self.verbs.finder, (name,)) for name in names]
        return Request("everything", prompt, listed("I see ", routed) if routed else ("I see nothing that I know.",))


def _routed(facts: Facts, word: Word, name: str, chain: Chain) -> Routed:
    return Routed(name, facts.matches(word), chain, word.names, judged=word.judged)


def _said(records: Sequence[Record]) -> frozenset[str]:
    texts = (caption.lower() for record in records for caption in record.captions)
    return frozenset(word for text in texts for word in re.findall(r"[a-z]+", text))


def listed(opening: str, routed: Sequence[Routed]) -> tuple[str | Routed, ...]:
    """An answer that names things: "A", "A and B", "A, B and C"."""
    answer: list[str | Routed] = [opening]
    for at, item in enumerate(routed):
        if at:
            answer.append(" and " if at == len(routed) - 1 else ", ")
        answer.append(item)
    return (*answer, ".")
