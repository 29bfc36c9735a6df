"""The speaking half of a backbone: any causal language model of transformers, driven by embeddings."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn


class Mouth(NamedTuple):
    """Where a design keeps what speaks."""

    model: nn.Module  # embeddings to hidden states after the final norm
    head: nn.Module  # hidden states to logits
    words: nn.Module  # ids to embeddings


def longest_text(text: Any) -> int:
    """Positions that a language model has, from transformers' configuration.

    With a sliding window it is that: further back it would see less in one kind of pass than in another.
    """
    longest, window = int(text.max_position_embeddings), getattr(text, "sliding_window", None)
    slides = "sliding_attention" in (getattr(text, "layer_types", None) or ["sliding_attention"])
    return min(longest, window) if window and slides else longest


def steady_length(text: Any) -> int:
    """Positions up to which a language model's rotary scale is one and the same, from transformers' configuration.

    Beyond it the scale follows the longest text of a pass (dynamic NTK, longrope), so that neighbours would change it.
    """
    rope, longest = getattr(text, "rope_parameters", None) or {}, int(text.max_position_embeddings)
    if rope.get("rope_type") == "longrope":
        return int(rope.get("original_max_position_embeddings") or longest)
    return longest if rope.get("rope_type") == "dynamic" else 2**62


class Language:
    """For a design whose `mouth` says where its language model is."""

    def mouth(self) -> Mouth:
        """The language model, its head, its input embedding."""
        raise NotImplementedError

    def embed(self, ids: Tensor) -> Tensor:
        """(B, L) to (B, L, D)."""
        embedded: Tensor = self.mouth().words(ids)
        return embedded

    def speak(self, embeds: Tensor, mask: Tensor | None, positions: Tensor, cache: Any | None) -> Tensor:
        """(B, L, D) to (B, L, D) after the final norm; see `Backbone.speak`."""
        hidden: Tensor = (
            self.mouth()
            .model(
                inputs_embeds=embeds,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=cache is not None,
            )
            .last_hidden_state
        )
        return hidden

    def head(self, hidden: Tensor) -> Tensor:
        """(..., D) to (..., V)."""
        logits: Tensor = self.mouth().head(hidden)
        return logits

    def matrices(self) -> tuple[Tensor, Tensor]:
        """The input embedding and the head, (V, D) each."""
        _, head, words = self.mouth()
        assert isinstance(words.weight, Tensor)
        assert isinstance(head.weight, Tensor)
        return words.weight.detach(), head.weight.detach()
