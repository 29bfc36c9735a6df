"""The one object a plugin hands over: its spec, and the functions that are called only when they are needed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from .contract import Canvas, CoreInfo, Decoder, Metric, Sample
from .outputs import Output
from .spec import TaskSpec


class Task:
    """Subclass it, set `spec`, write `decoder`. Import torch inside the functions, never at the top of the file."""

    spec: ClassVar[TaskSpec]

    def decoder(self, core: CoreInfo) -> Decoder:
        """A freshly initialised decoder for a core of this shape."""
        raise NotImplementedError(f"task {self.spec.name!r} has no decoder(); return an nn.Module with decode()")

    def targets(self, sample: Sample) -> Sequence[Any]:
        """One training target for each of `sample.phrases`, in order, in any form the decoder's `loss` understands."""
        raise NotImplementedError(f"task {self.spec.name!r} cannot be trained: it has no targets()")

    def metric(self) -> Metric | None:
        """How the task is scored over a data set, or None."""
        return None

    def weights(self) -> Sequence[Path]:
        """Task files that come with the plugin, one for each core it was trained on; `chiasm train --task` writes them.

        By default those beside the task's own module whose names begin with the task's. The one of the core
        that is loaded is used where neither the model's folder nor the caller has another.
        """
        home = getattr(sys.modules.get(type(self).__module__), "__file__", None)
        return sorted(Path(home).parent.glob(f"{self.spec.name}*.safetensors")) if home else ()

    def draw(self, canvas: Canvas, output: Output) -> bool:
        """Draw one output; False leaves it to core, which draws boxes, masks and points by itself."""
        return False
