"""The ways in which `chiasm eval` measures, a file each: what was typed for it, and what is printed."""

from __future__ import annotations
