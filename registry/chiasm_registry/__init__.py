"""The contract between chiasm's core and its tasks: pydantic and pluggy only, no torch and no numpy at import."""

from .contract import CoreInfo, Decoder, MapInfo, Route, Sample, SampleObject, Scene
from .errors import CheckpointError, ChiasmError, InputError, PluginError, TrainingError
from .geometry import Box, Mask, Point
from .hooks import hookimpl
from .outputs import Boxes, Found, Masks, Output, Points, ScoredBox, ScoredMask, ScoredPoint
from .spec import API_VERSION, NoOptions, TaskSpec
from .task import Task

__all__ = [
    "API_VERSION",
    "Box",
    "Boxes",
    "CheckpointError",
    "ChiasmError",
    "CoreInfo",
    "Decoder",
    "Found",
    "InputError",
    "MapInfo",
    "Mask",
    "Masks",
    "NoOptions",
    "Output",
    "PluginError",
    "Point",
    "Points",
    "Route",
    "Sample",
    "SampleObject",
    "Scene",
    "ScoredBox",
    "ScoredMask",
    "ScoredPoint",
    "Task",
    "TaskSpec",
    "TrainingError",
    "hookimpl",
]
