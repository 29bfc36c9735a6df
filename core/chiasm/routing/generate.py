"""Free speech: the model writes token by token; behind a routing token its task's embeddings are fed instead.

One loop over a batch with one cache. A row is either in text (its next input is the token it chose) or in slots (its
next input is the next task embedding); the hidden states of slots are kept as they come, from the live cache.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from .grammar import AnswerState
from .network import Network
from .sequence import Markers, branch_mask

# What a token costs that would name again what was routed already: more than doubt between two names, less than the
# certainty of a copy, so that a list goes on with something new and "a cup and a cup holder" is still said back.
AGAIN = 5.0
MASK_CELLS = 2**25  # of one batch's attention mask: rows times the square of the longest prompt


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; greedy unless `do_sample`. Names and meanings are transformers'."""

    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    max_new_tokens: int = 256
    seed: int = 0

    def processors(self) -> LogitsProcessorList:
        """transformers' processors for these options, in its own order."""
        chain = LogitsProcessorList()
        if self.repetition_penalty != 1.0:
            chain.append(RepetitionPenaltyLogitsProcessor(self.repetition_penalty))
        if self.do_sample:
            chain.append(TemperatureLogitsWarper(self.temperature))
            if self.top_k > 0:
                chain.append(TopKLogitsWarper(self.top_k))
            if self.top_p < 1.0:
                chain.append(TopPLogitsWarper(self.top_p))
        return chain


@dataclass(frozen=True, eq=False)
class Spoken:
    """One row's answer: every id behind the prompt, slot ids included, and the hidden state at each."""

    ids: list[int]
    hidden: Tensor  # (len(ids), D), after the final norm; rows of text ids are zero


class _Chooser:
    """The next id of each row: forced in slots, else chosen among what the grammar allows."""

    def __init__(self, network: Network, sampling: Sampling, controls: Collection[int], rows: int) -> None:
        device = next(network.parameters()).device
        self.processors, self.sampling = sampling.processors(), sampling
        # A row's randomness is its own, so that a batch equals single calls.
        self.generators = [torch.Generator(device=device).manual_seed(sampling.seed) for _ in range(rows)]
        banned = torch.zeros(network.rows.base + len(network.rows.names), device=device)
        banned[list(controls)] = float("-inf")
        banned[network.rows.base :] = float("-inf")
        self.banned = banned

    def __call__(self, logits: Tensor, states: Sequence[AnswerState], said: Sequence[list[int]]) -> list[int]:
        masked = logits.float() + self.banned
        for row, state in enumerate(states):
            legal = [] if state.pending else list(state.allowed())
            masked[row, legal] = logits[row, legal].float()
            masked[row, state.repeating()] -= AGAIN
        return [
            state.pending[0] if state.pending else self._pick(masked[row], said[row], self.generators[row])
            for row, state in enumerate(states)
        ]

    def _pick(self, logits: Tensor, said: list[int], generator: torch.Generator) -> int:
        emitted = torch.tensor([[i for i in said if i < len(logits)]], dtype=torch.long, device=logits.device)
        scores = self.processors(emitted, logits[None])[0] if self.processors else logits
        if not self.sampling.do_sample:
            return int(scores.argmax())
        return int(torch.multinomial(scores.softmax(-1), 1, generator=generator))


def speak_free(
    network: Network,
    markers: Markers,
    prompts: Sequence[Sequence[int]],
    image_tokens: Tensor | None,
    *,
    tasks: Sequence[Collection[str]],
    controls: Collection[int],
    sampling: Sampling,
    max_routes: int,
) -> list[Spoken]:
    """Continue each prompt to its end token or to the limit (slots that were begun are finished).

    `image_tokens` (M, D) fill the prompts' image places in order; `controls` are ids that are never plain text;
    `tasks` are those whose tokens each answer may emit.
    """
    device = next(network.parameters()).device
    spoken: list[Spoken] = []
    rest = image_tokens
    for part in _parts(prompts):
        places = sum(prompt.count(markers.image) for prompt in part)
        own, rest = (None, None) if rest is None else (rest[:places], rest[places:])
        ids, branch = _padded(part, markers.end, device)
        allowed = tasks[len(spoken) : len(spoken) + len(part)]
        spoken += _Answers(network, markers, branch, allowed, controls, sampling, max_routes).run(ids, own)
    return spoken


def _parts(prompts: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """Neighbouring prompts that are spoken together, as many as the mask of a batch may have room for."""
    part: list[Sequence[int]] = []
    for prompt in prompts:
        longest = max(map(len, [*part, prompt]))
        if part and (len(part) + 1) * longest**2 > MASK_CELLS:
            yield part
            part = []
        part.append(prompt)
    yield part


def _padded(prompts: Sequence[Sequence[int]], fill: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids (B, P), padded on the left, and their branch numbers, -1 where padding stands."""
    longest = max(map(len, prompts))
    ids = torch.full((len(prompts), longest), fill, device=device)
    branch = torch.full_like(ids, -1)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(list(prompt), device=device)
        branch[row, longest - len(prompt) :] = 0
    return ids, branch


class _Answers:
    """The answers of one batch while they grow."""

    def __init__(
        self,
        network: Network,
        markers: Markers,
        branch: Tensor,
        tasks: Sequence[Collection[str]],
        controls: Collection[int],
        sampling: Sampling,
        max_routes: int,
    ) -> None:
        rows = len(branch)
        self.network, self.markers, self.sampling, self.cache = network, markers, sampling, DynamicCache()
        self.padded = branch  # (B, P): -1 where a row is padding
        self.lengths = (branch == 0).sum(1, keepdim=True)
        self.states = [AnswerState(network.rows, markers, allowed, max_routes) for allowed in tasks]
        self.choose = _Chooser(network, sampling, controls, rows)
        self.said: list[list[int]] = [[] for _ in range(rows)]
        self.slots: list[list[tuple[int, Tensor]]] = [[] for _ in range(rows)]
        self.open = [True] * rows

    def run(self, ids: Tensor, image_tokens: Tensor | None) -> list[Spoken]:
        embeds = self.network.embed(ids, self.markers.image, image_tokens)
        positions = ((self.padded == 0).cumsum(1) - 1).clamp(min=0)
        hidden = self._speak(embeds, positions)
        for step in range(self.sampling.max_new_tokens + max(self.network.rows.sizes, default=0)):
            chosen = self.choose(self.network.logits(hidden[:, -1]), self.states, self.said)
            self._take(chosen, step)
            if not any(self.open):
                break
            fed = torch.tensor(chosen, device=ids.device)[:, None]
            hidden = self._speak(self.network.embed(fed, self.markers.image), self.lengths + step)
            self._keep(chosen, hidden)
        return [self._spoken(row, hidden.shape[-1], embeds) for row in range(len(self.said))]

    def _speak(self, embeds: Tensor, positions: Tensor) -> Tensor:
        """One pass on the cache; without padding plain causal attention needs no mask."""
        past = self.cache.get_seq_length()
        mask = None
        if bool((self.padded < 0).any()):
            mask = self._mask(past, embeds)
        return self.network.backbone.speak(embeds, mask, positions, self.cache)

    def _mask(self, past: int, embeds: Tensor) -> Tensor:
        if past == 0:
            return branch_mask(self.padded, None, embeds.dtype)
        answered = torch.zeros(len(embeds), past - self.padded.shape[1], dtype=torch.long, device=embeds.device)
        new = torch.zeros(embeds.shape[:2], dtype=torch.long, device=embeds.device)
        return branch_mask(new, torch.cat([self.padded, answered], 1), embeds.dtype)

    def _take(self, chosen: list[int], step: int) -> None:
        """Enter the chosen ids; a row closes at its end token, or at the limit once its slots are complete."""
        for row, token in enumerate(chosen):
            if not self.open[row]:
                continue
            forced = bool(self.states[row].pending)
            if not forced and (token == self.markers.end or step >= self.sampling.max_new_tokens):
                self.open[row] = False
                continue
            self.states[row].feed(token)
            self.said[row].append(token)

    def _keep(self, chosen: list[int], hidden: Tensor) -> None:
        """Remember the hidden states of the slots just fed."""
        for row, token in enumerate(chosen):
            if self.open[row] and token >= self.network.rows.starts[0]:
                self.slots[row].append((len(self.said[row]) - 1, hidden[row, -1]))

    def _spoken(self, row: int, width: int, like: Tensor) -> Spoken:
        hidden = like.new_zeros(len(self.said[row]), width)
        for index, state in self.slots[row]:
            hidden[index] = state
        return Spoken(self.said[row], hidden)
