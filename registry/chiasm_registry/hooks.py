"""The one hook. A plugin is a module (or object) with `@hookimpl def chiasm_tasks()`."""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from .task import Task

PROJECT = "chiasm"
ENTRY_POINT_GROUP = "chiasm.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class HookSpecs:
    """The hooks that a plugin may implement."""

    @hookspec
    def chiasm_tasks(self) -> Sequence[Task]:
        """The tasks that this plugin brings."""
        raise NotImplementedError
