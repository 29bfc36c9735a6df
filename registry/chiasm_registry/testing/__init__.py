"""The conformance kit: what every task should keep, as a test class, as fixtures and as a list to be walked.

    from chiasm_registry.testing import TaskSuite

    class TestPointing(TaskSuite):
        task = "pointing"

Torch and transformers load when the first rule needs a core, and nothing of chiasm's core is imported at all.
"""

from .bench import Bench
from .core import TinyCore, tiny_core
from .find import bench_of
from .practise import practise
from .rule import BrokenRuleError, Finding, NotApplicableError, Rule
from .rules import RULES, check_bench
from .shapes import Drawn, draw_shapes, write_coco
from .suite import TaskSuite

__all__ = [
    "RULES",
    "Bench",
    "BrokenRuleError",
    "Drawn",
    "Finding",
    "NotApplicableError",
    "Rule",
    "TaskSuite",
    "TinyCore",
    "bench_of",
    "check_bench",
    "draw_shapes",
    "practise",
    "tiny_core",
    "write_coco",
]
