"""Promises of the declaration: nothing heavy at discovery, and phrasings that training can use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from chiasm.train.verbs import Verb, Verbs
from chiasm_plugins.segmentation.task import Segmentation
from chiasm_registry import Boxes, TaskSpec

HELD_OUT = Path(__file__).with_name("heldout_phrasings.txt")


def held_out() -> list[str]:
    return [line for line in HELD_OUT.read_text("utf-8").splitlines() if line and not line.startswith("#")]


def test_discovery_loads_neither_torch_nor_yaml() -> None:
    code = "import sys; from chiasm_registry.discovery import discover; discover().task('segmentation'); " \
        "print([m for m in ('torch', 'yaml', 'numpy', 'segment_anything') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_phrasing_has_one_place_for_names_and_choices_without_nesting() -> None:
    verb = Verb(Segmentation.spec, ("segmentation",))
    assert len(verb.phrasings) >= 250
    for template in [*Segmentation.spec.phrasings, *held_out()]:
        depth = 0
        for letter in template:
            depth += (letter == "(") - (letter == ")")
            assert depth in (0, 1), template


def test_no_held_out_phrasing_is_trained() -> None:
    assert len(held_out()) >= 40
    trained = {line.lower().rstrip(".?!") for line in Segmentation.spec.phrasings}
    assert not trained & {line.lower().rstrip(".?!") for line in held_out()}


def test_segmentation_comes_behind_detection_where_both_are_trained() -> None:
    finds = TaskSpec(
        name="detection", token="[DET]", embeddings=4, output=Boxes, summary="boxes", phrasings=("Find {names}.",)
    )
    (verb,) = Verbs([finds, Segmentation.spec]).others
    assert verb.chain == ("detection", "segmentation")
