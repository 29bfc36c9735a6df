"""Detection keeps every rule of the kit."""

from chiasm_registry.testing import TaskSuite


class TestDetection(TaskSuite):
    task = "detection"
    options = {"threshold": 0.0}  # noqa: RUF012  # an untrained head is sure of nothing
