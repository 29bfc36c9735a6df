"""The contract between chiasm's core and its tasks: pydantic and pluggy only, no torch and no numpy at import."""

from .contract import Canvas, CoreInfo, Decoder, MapInfo, Metric, Route, Sample, SampleObject, Scene, TrainableDecoder
from .discovery import Catalog, PluginInfo, discover
from .dispatch import dispatch
from .errors import CheckpointError, ChiasmError, InputError, PluginError, TrainingError
from .geometry import Box, Mask, Point
from .hooks import hookimpl
from .outputs import (
    Boxes,
    Found,
    Masks,
    Notice,
    Output,
    Picture,
    Points,
    ScoredBox,
    ScoredMask,
    ScoredPoint,
    UnknownOutput,
)
from .spec import API_VERSION, NoOptions, TaskSpec
from .table import TableEntry, TaskTable
from .task import Task

__all__ = [
    "API_VERSION",
    "Box",
    "Boxes",
    "Canvas",
    "Catalog",
    "CheckpointError",
    "ChiasmError",
    "CoreInfo",
    "Decoder",
    "Found",
    "InputError",
    "MapInfo",
    "Mask",
    "Masks",
    "Metric",
    "NoOptions",
    "Notice",
    "Output",
    "Picture",
    "PluginError",
    "PluginInfo",
    "Point",
    "Points",
    "Route",
    "Sample",
    "SampleObject",
    "Scene",
    "ScoredBox",
    "ScoredMask",
    "ScoredPoint",
    "TableEntry",
    "Task",
    "TaskSpec",
    "TaskTable",
    "TrainableDecoder",
    "TrainingError",
    "UnknownOutput",
    "discover",
    "dispatch",
    "hookimpl",
]
