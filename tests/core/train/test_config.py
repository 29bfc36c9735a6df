"""A config is read whole or refused by the name of the key."""

from __future__ import annotations

from pathlib import Path

import pytest
from chiasm.train.config import load_config, parse_config
from chiasm_registry.errors import TrainingError

SMALL = "run: {steps: 3, batch_size: 2}\n"
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "train" / "tiny.yaml"


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, "utf-8")
    return path


def test_the_example_is_a_config() -> None:
    """The example in the repository is read, its `1e-3` as a number."""
    config = load_config(EXAMPLE)
    assert config.optimizer.lr == 1e-3
    assert config.data[0].images == Path("data/images")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run: {steps: 3}\n", "key run.batch_size is missing"),
        (SMALL + "optimiser: {lr: 1}\n", "key optimiser is unknown"),
        ("run: {steps: 0, batch_size: 2}\n", "key run.steps is 0; it must be > 0"),
        ("run: {steps: 3, batch_size: 2, precision: fp16}\n", "key run.precision is 'fp16'; it must be one of"),
        ("run: {steps: many, batch_size: 2}\n", "key run.steps is 'many'; it must be int"),
        ("run: {steps: 3, batch_size: 2, ema: .nan}\n", "key run.ema is nan"),
        (SMALL + "data: [{annotations: a.json}]\n", "key data.0.images is missing"),
        ("run: {steps: 3, steps: 4, batch_size: 2}\n", "key steps stands twice"),
        (SMALL + "optimizer: {betas: [0.9, 1.0]}\n", "key optimizer.betas.1 is 1.0; it must be < 1"),
        (SMALL + "optimizer: {groups: {a: -1}}\n", "key optimizer.groups.a is -1"),
        (SMALL + "data: [{annotations: a.json, images: i, weight: 1.5}]\n", "key data.0.weight is 1.5"),
        ("run: [\n", "is not valid YAML at line 2"),
        ("run: !!python/object/apply:os.system [true]\n", "is not valid YAML"),
        ("- 1\n", "is not a mapping of sections"),
        ("", "is not a mapping of sections"),
    ],
)
def test_a_bad_key_is_named(tmp_path: Path, text: str, message: str) -> None:
    """What does not fit is refused in one line of at most 200 characters that names the key."""
    with pytest.raises(TrainingError) as refused:
        load_config(written(tmp_path, text))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) <= 200


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A config that is not there is bad input."""
    with pytest.raises(TrainingError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_values_can_be_set_from_outside(tmp_path: Path) -> None:
    """Overrides reach nested keys, list entries and keys with dots, and are values in YAML."""
    path = written(tmp_path, SMALL + "data: [{annotations: a.json, images: a}]\n")
    changes = ["run.steps=7", "optimizer.lr=3e-4", "data.0.weight=2", "optimizer.groups={backbone.stem: 0.05}"]
    config = load_config(path, changes)
    assert (config.run.steps, config.optimizer.lr, config.data[0].weight) == (7, 3e-4, 2.0)
    assert config.optimizer.groups == {"backbone.stem": 0.05}


@pytest.mark.parametrize("change", ["run.steps", "=1", "run.steps.more=1", "data.5.weight=2", "run.stepz=3"])
def test_a_bad_override_is_named(tmp_path: Path, change: str) -> None:
    """An override without a place or a value is refused."""
    with pytest.raises(TrainingError):
        load_config(written(tmp_path, SMALL + "data: []\n"), [change])


def test_a_resumed_run_may_differ_in_length_and_pace_only() -> None:
    """`fixed` leaves out what does not change a step, and nothing else."""
    base = {"run": {"steps": 3, "batch_size": 2}}
    longer = {"run": {"steps": 9, "batch_size": 2, "save_every": 1, "workers": 0}}
    assert parse_config(base).fixed() == parse_config(longer).fixed()
    assert parse_config(base).fixed() != parse_config({"run": {"steps": 3, "batch_size": 3}}).fixed()
