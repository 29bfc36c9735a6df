"""Free speech: the model writes token by token; behind a routing token its task's embeddings are fed instead.

One loop over a batch with one cache. A row is either in text (its next input is the token it chose) or in slots (its
next input is the next task embedding); the hidden states of slots are kept as they come, from the live cache. A row
may go on from what its conversation remembers: only what is new is fed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..text import Tokenizer
from .echo import Echo
from .grammar import AnswerState
from .memory import Memory, cached, cut, joined, taken
from .network import Network
from .reading import Heard, Reader, Written
from .sampling import Chooser, Sampling
from .sequence import Markers, branch_mask, prompt_positions

MASK_CELLS = 2**25  # of one batch's attention mask: rows, times the most new positions, times all they see


@dataclass(frozen=True, eq=False)
class Voice:
    """What speaks, and what it may say."""

    network: Network
    tokenizer: Tokenizer
    markers: Markers
    controls: Collection[int]  # ids that are never plain text
    max_routes: int  # of one answer
    openings: Sequence[tuple[tuple[int, ...], float]] = ()  # ids that an answer may begin with, and what the last costs
    echoes: Sequence[tuple[int, ...]] = ()  # ids that an answer begins with whose phrases are words of the question


@dataclass(frozen=True, eq=False)
class Speaker:
    """One row: what it remembers, the new ids it is to answer, and the tasks whose tokens its answer may emit."""

    memory: Memory
    ids: Sequence[int]
    image_tokens: Tensor | None  # (M, D), for the image places among the new ids in their order
    tasks: Collection[str]
    places: Sequence[Tensor | None] = ()  # (A, M) of each image, where its positions are not simply counted
    texts: Sequence[str] = ()  # the question and what was said before, the newest first


@dataclass(frozen=True, eq=False)
class Spoken:
    """One row's answer: every id behind the prompt, slot ids included, the hidden state at each, and what they say."""

    ids: list[int]
    hidden: Tensor  # (len(ids), D), after the final norm; rows of text ids are zero
    text: str  # without control tokens
    heard: list[Heard]
    written: list[Written]  # boxes in words, which the text leaves out
    stopped: bool = False  # by a stop string: nothing is to follow the text


def speak_free(voice: Voice, speakers: Sequence[Speaker], sampling: Sampling, *, keep: bool = False) -> list[Spoken]:
    """Answer for each speaker, to its end token or to the limit (slots that were begun are finished).

    With `keep` the speakers' memories hold the answers afterwards; without it they are spent.
    """
    spoken: list[Spoken] = []
    for part in parts(speakers, voice.network.backbone.steady - sampling.max_new_tokens):
        answers = Answers(voice, part, sampling)
        for _ in answers.steps():
            pass
        spoken += [answers.spoken(row) for row in range(len(part))]
        if keep:
            answers.keep()
    return spoken


def parts(speakers: Sequence[Speaker], steady: int) -> Iterator[list[Speaker]]:
    """Neighbours that are spoken together, as many as the mask of a batch may have room for.

    One that is longer than `steady` already, or soon, is spoken alone.
    """
    part: list[Speaker] = []
    for speaker in speakers:
        new = max(len(one.ids) for one in [*part, speaker])
        seen = new + max(len(one.memory.ids) for one in [*part, speaker])
        if part and ((len(part) + 1) * new * seen > MASK_CELLS or seen > steady):
            yield part
            part = []
        part.append(speaker)
    if part:
        yield part


class Answers:
    """The answers of one batch while they grow; `keep` puts them into the speakers' memories, else those are spent."""

    def __init__(self, voice: Voice, speakers: Sequence[Speaker], sampling: Sampling) -> None:
        self.voice, self.speakers, self.sampling = voice, speakers, sampling
        network, rows, spell = voice.network, range(len(speakers)), voice.tokenizer.encode_user
        device = next(network.parameters()).device
        self.cache, past = joined([speaker.memory for speaker in speakers])
        self.ids, new = _padded([speaker.ids for speaker in speakers], voice.markers.end, device)
        self.real = torch.cat([past.to(device), new], 1)  # (B, P + Q); what is not real is padding
        self.whole = bool(self.real.all())
        laid = [prompt_positions(one.ids, voice.markers.image, one.places, one.memory.position) for one in speakers]
        self.positions = _aligned([axes for axes, _ in laid], self.ids.shape[1]).to(device)
        self.behind = [behind for _, behind in laid]  # the position of each answer's first id
        self.states = [
            AnswerState(network.rows, voice.markers, one.tasks, voice.max_routes, echo=Echo(one.texts, spell))
            for one in speakers
        ]
        self.readers = [Reader(voice.tokenizer, network.rows, voice.markers, sampling.stop_strings) for _ in speakers]
        self.choose = Chooser(network, sampling, voice.controls, len(speakers), voice.openings, voice.echoes)
        self.said: list[list[int]] = [[] for _ in rows]
        self.slots: list[list[tuple[int, Tensor]]] = [[] for _ in rows]
        self.open = [True] * len(speakers)
        room = network.backbone.positions - max(network.rows.sizes, default=0)
        self.most = [max(1, min(sampling.max_new_tokens, room - behind)) for behind in self.behind]

    def steps(self) -> Iterator[None]:
        """Write all answers; control comes back whenever there may be something new to read."""
        network, image = self.voice.network, self.voice.markers.image
        given = [one.image_tokens for one in self.speakers if one.image_tokens is not None]
        embeds = network.embed(self.ids, image, torch.cat(given) if given else None)
        hidden = self._speak(embeds, self.positions)
        begin = torch.tensor(self.behind, device=self.ids.device)[:, None]
        heard = network.heard([one.ids for one in self.speakers], image)
        for step in range(max(self.most) + max(network.rows.sizes, default=0) + 1):
            chosen = self.choose(network.logits(hidden[:, -1], heard), self.states, self.said)
            self._take(chosen, step)
            yield
            if not any(self.open):
                return
            fed = torch.tensor(chosen, device=self.ids.device)[:, None]
            hidden = self._speak(network.embed(fed, image), begin + step)
            if self._keep_slots(chosen, hidden):
                yield

    def spoken(self, row: int) -> Spoken:
        """A row's answer so far; what it routed may have slots to come."""
        width = self.voice.network.backbone.info.width
        like = next(self.voice.network.parameters())
        hidden = like.new_zeros(len(self.said[row]), width)
        for index, state in self.slots[row]:
            hidden[index] = state
        reader = self.readers[row]
        return Spoken(self.said[row], hidden, reader.text, reader.heard, [*reader.written], reader.stopped)

    def complete(self, row: int) -> bool:
        """Whether the slots of all that a row has routed so far are known."""
        slots = self.voice.network.rows.starts[0]
        return not self.states[row].pending and len(self.slots[row]) == sum(token >= slots for token in self.said[row])

    def keep(self) -> bool:
        """Each conversation remembers its answer, also one that was broken off: begun slots are taken back then.

        False, and the memories are spent, if not even the questions were heard.
        """
        answered = cached(self.cache) - self.real.shape[1]
        if answered < 0:
            return False
        for row, speaker in enumerate(self.speakers):
            said, memory, state = self.said[row], speaker.memory, self.states[row]
            if state.pending:
                del said[len(said) - self._begun(row) :]
                self.slots[row] = [one for one in self.slots[row] if one[0] < len(said)]
            fed = min(len(said), answered)
            if len(self.speakers) == 1:
                cut(self.cache, self.real.shape[1] + fed)
            else:
                answer = self.real.shape[1] + torch.arange(fed)
                places = torch.cat([self.real[row].nonzero()[:, 0].cpu(), answer])
                memory.cache = taken(self.cache, row, places)
            memory.ids += [*speaker.ids, *said[:fed]]
            memory.unfed = said[fed:]
            memory.position = self.behind[row] + fed
        return True

    def _begun(self, row: int) -> int:
        """How many ids at the end of a row are a routing token and those of its slots that were said."""
        task = self.voice.network.rows.task_of
        said = self.said[row]
        return next(n for n in range(1, len(said) + 1) if task(said[-n]) is not None)

    def _speak(self, embeds: Tensor, positions: Tensor) -> Tensor:
        """One pass on the cache; without padding plain causal attention needs no mask."""
        mask = None
        if not self.whole:
            past = cached(self.cache)
            seen = torch.where(self.real, 0, -1)
            answered = seen.new_zeros(len(embeds), max(0, past + embeds.shape[1] - seen.shape[1]))
            keys = torch.cat([seen, answered], 1)
            mask = branch_mask(keys[:, past:], keys[:, :past], embeds.dtype)
        tasks = [task for one in self.speakers for task in one.tasks]
        with self.voice.network.speaking_for(tasks):
            return self.voice.network.backbone.speak(embeds, mask, positions, self.cache)

    def _take(self, chosen: list[int], step: int) -> None:
        """Enter the chosen ids; a row closes at its end, or at the limit once its slots are complete."""
        for row, token in enumerate(chosen):
            if not self.open[row]:
                continue
            forced = bool(self.states[row].pending)
            if not forced and (token == self.voice.markers.end or step >= self.most[row]):
                self._close(row)
                continue
            self.states[row].feed(token)
            self.said[row].append(token)
            self.readers[row].read(token)
            last = step + 1 >= self.most[row] and not forced and not self.states[row].pending
            if last or self.readers[row].stopped:  # the id itself is fed when the conversation goes on
                self._close(row)

    def _close(self, row: int) -> None:
        self.open[row] = False
        self.readers[row].finish()

    def _keep_slots(self, chosen: list[int], hidden: Tensor) -> bool:
        """Remember the hidden states of the slots just fed; whether there were any."""
        kept = False
        for row, token in enumerate(chosen):
            if self.open[row] and token >= self.voice.network.rows.starts[0]:
                self.slots[row].append((len(self.said[row]) - 1, hidden[row, -1]))
                kept = True
        return kept


def _padded(prompts: Sequence[Sequence[int]], fill: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids (B, Q), padded on the left, and which of them are real."""
    longest = max(map(len, prompts))
    ids = torch.full((len(prompts), longest), fill, device=device)
    real = torch.zeros_like(ids, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(list(prompt), device=device)
        real[row, longest - len(prompt) :] = True
    return ids, real


def _aligned(rows: Sequence[Tensor], length: int) -> Tensor:
    """Positions (A, L) of each row, padded on the left: (B, length), or (A, B, length) where one has several axes."""
    axes = max(len(row) for row in rows)
    padded = torch.stack([F.pad(row.expand(axes, -1), (length - row.shape[1], 0)) for row in rows], 1)
    return padded[0] if axes == 1 else padded
