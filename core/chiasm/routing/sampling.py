"""How the next token is chosen: transformers' processors on what the grammar allows, each row by its own chance."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from .grammar import AnswerState
from .network import Network

# What a token costs that would name again what was routed already: more than doubt between two names, less than the
# certainty of a copy, so that a list goes on with something new and "a cup and a cup holder" is still said back.
AGAIN = 5.0
# What a token costs that begins like it: behind "baseball" there is nearly always the same word again, and a cost there
# would come too late. A list's habit is weaker than this, a request's second "red" much stronger.
RESUMED = 2.0
MOST_BANS = 32  # that are kept; an answer's grammar has a handful of places


@dataclass(frozen=True)
class Sampling:
    """How an answer is written; greedy unless `do_sample`. Names and meanings are transformers'.

    An answer ends in front of the first of `stop_strings` that comes up in its text.
    """

    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    max_new_tokens: int = 256
    seed: int = 0
    stop_strings: tuple[str, ...] = ()

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


class Chooser:
    """The next id of each row: forced in slots, else chosen among what the grammar allows.

    Waiting for a GPU costs time: a step reads one tensor, and what a place in the grammar forbids is made there once.
    """

    def __init__(
        self,
        network: Network,
        sampling: Sampling,
        controls: Collection[int],
        rows: int,
        openings: Sequence[tuple[tuple[int, ...], float]] = (),
        echoes: Sequence[tuple[int, ...]] = (),
    ) -> None:
        """`openings` are ids that an answer may begin with; the last of them has to lead by so many logits.

        The phrases of an answer that begins with one of `echoes` are words of the question.
        """
        device = next(network.parameters()).device
        self.processors, self.sampling = sampling.processors(), sampling
        # A row's randomness is its own, so that a batch equals single calls.
        self.generators = [torch.Generator(device=device).manual_seed(sampling.seed) for _ in range(rows)]
        banned = torch.zeros(network.rows.base + len(network.rows.names), device=device)
        banned[list(controls)] = float("-inf")
        banned[network.rows.base :] = float("-inf")
        self.banned = banned
        self.bans: dict[frozenset[int], Tensor] = {}
        self.openings, self.echoes = openings, echoes

    def __call__(self, logits: Tensor, states: Sequence[AnswerState], said: Sequence[list[int]]) -> list[int]:
        """One id a row from logits (B, V + tasks); `said` are the ids of each answer so far."""
        scores = logits.float()
        picked = [
            self._pick(self._masked(scores[row], state, said[row]), said[row], self.generators[row])
            for row, state in enumerate(states)
            if not state.pending
        ]
        chosen = iter(torch.stack(picked).tolist() if picked else ())
        return [state.pending[0] if state.pending else next(chosen) for state in states]

    def _masked(self, scores: Tensor, state: AnswerState, said: list[int]) -> Tensor:
        """Scores (V + tasks,) of what may come; what was routed before costs, and some ways to begin."""
        masked = scores + self._bans(frozenset(state.allowed()))
        if state.in_phrase and any(tuple(said[: len(ids)]) == ids for ids in self.echoes):
            return self._said_back(masked, state)
        for places, cost in ((state.repeating(), AGAIN), (state.resuming(), RESUMED)):
            if places:
                masked[places] -= cost
        if state.circling():
            closed = torch.full_like(masked, float("-inf"))
            closed[state.markers.unref] = 0.0
            return closed
        for ids, lead in self.openings:
            if len(said) == len(ids) - 1 and tuple(said) == ids[:-1]:
                masked[ids[-1]] -= lead
        return masked

    def _said_back(self, masked: Tensor, state: AnswerState) -> Tensor:
        """Only what goes on with words of the question, if it has any.

        To begin with words that were said back already costs; a phrase that began elsewhere cannot turn into them.
        """
        after = state.echo.after(state.phrase)
        if not after:
            return masked
        if state.phrase and any(after.values()):
            after = {token: new for token, new in after.items() if new}
        ids = [state.markers.unref if token is None else token for token in after]
        places = torch.tensor(ids, device=masked.device)
        costs = torch.tensor([0.0 if new else AGAIN for new in after.values()], device=masked.device)
        return torch.full_like(masked, float("-inf")).index_copy(0, places, masked[places] - costs)

    def _bans(self, legal: frozenset[int]) -> Tensor:
        """(V + tasks,): minus infinity for control and routing tokens but the `legal` ones, 0 for all others."""
        if legal not in self.bans:
            if len(self.bans) == MOST_BANS:
                self.bans.clear()
            places = torch.tensor(sorted(legal), dtype=torch.long, device=self.banned.device)
            self.bans[legal] = self.banned.index_fill(0, places, 0.0)
        return self.bans[legal]

    def _pick(self, logits: Tensor, said: list[int], generator: torch.Generator) -> Tensor:
        """The id of one row, still on the device."""
        scores = logits
        if self.processors:
            emitted = torch.tensor([[i for i in said if i < len(logits)]], dtype=torch.long, device=logits.device)
            scores = self.processors(emitted, logits[None])[0]
        if not self.sampling.do_sample:
            return scores.argmax()
        return torch.multinomial(scores.softmax(-1), 1, generator=generator)[0]
