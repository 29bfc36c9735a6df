"""The official InternVL2 layout: its configuration, its names of tensors, and the network that computes as it does."""

from __future__ import annotations
