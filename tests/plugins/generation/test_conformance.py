"""Generation keeps every rule of the kit, in one step and without a guide."""

from chiasm_registry.testing import TaskSuite


class TestGeneration(TaskSuite):
    task = "generation"
    names = ("cat", "cup", "bus")  # it draws things of certain kinds
    options = {"steps": 1, "guidance": 1.0, "size": 32}  # noqa: RUF012
    training = {"smallest_px": 8, "bank": 16, "draws": 2}  # noqa: RUF012  # drawn things are small
