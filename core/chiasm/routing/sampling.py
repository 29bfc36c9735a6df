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
        """One id a row from logits (B, V + tasks); `said` are the ids of each answer so far."""
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
        scores = logits
        if self.processors:
            emitted = torch.tensor([[i for i in said if i < len(logits)]], dtype=torch.long, device=logits.device)
            scores = self.processors(emitted, logits[None])[0]
        if not self.sampling.do_sample:
            return int(scores.argmax())
        return int(torch.multinomial(scores.softmax(-1), 1, generator=generator))
