"""The house keeps its rules, and each rule turns red on a planted fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from house import (
    LARGER_WITH_A_REASON,
    READS_ENVIRONMENT,
    ROOT,
    RULES,
    Rule,
    broken,
    directions,
    docstring,
    habits,
    libraries,
    loaded_by,
    parses,
    reading_order,
    sizes,
    words,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_the_rule(rule: Rule) -> None:
    faults = broken(rule, ROOT)
    assert not faults, "\n".join(faults)


def test_exceptions_are_of_this_house() -> None:
    for path in (*LARGER_WITH_A_REASON, *READS_ENVIRONMENT):
        assert (ROOT / path.partition(":")[0]).is_file(), path


@pytest.mark.parametrize(
    "code",
    [
        "import chiasm, chiasm_registry",
        "sys.argv[1:] = ['--help']; import chiasm.cli; chiasm.cli.main()",
        "sys.argv[1:] = ['--version']; import chiasm.cli; chiasm.cli.main()",
        "sys.argv[1:] = ['predict', '--help']; import chiasm.cli; chiasm.cli.main()",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code: str) -> None:
    assert loaded_by(code) == set()


def test_listing_plugins_loads_their_declarations_only() -> None:
    code = "sys.argv[1:] = ['plugins', 'list']; import chiasm.cli; chiasm.cli.main()"
    assert loaded_by(code) <= {"chiasm_plugins"}


def test_the_loading_test_can_go_red() -> None:
    assert loaded_by("import numpy") == {"numpy"}


DOC = '"""What it is."""\n'
FAULTS: tuple[tuple[Rule, str, str], ...] = (
    (parses, "core/chiasm/model.py", DOC + "def first[T](items: list[T]) -> T: ...\n"),
    (directions, "registry/chiasm_registry/spec.py", DOC + "from chiasm.limits import LIMITS\n"),
    (directions, "registry/chiasm_registry/spec.py", DOC + "def f():\n    import chiasm\n"),
    (directions, "core/chiasm/model.py", DOC + "from chiasm_plugins.one import task\n"),
    (directions, "core/chiasm/model.py", DOC + "NAME = 'chiasm_plugins.one'\n"),
    (directions, "plugins/chiasm_plugins/one/task.py", DOC + "from chiasm.limits import LIMITS\n"),
    (directions, "plugins/chiasm_plugins/one/task.py", DOC + "from ..two import decoder\n"),
    (directions, "plugins/chiasm_plugins/one/task.py", DOC + "from chiasm_plugins.two.decoder import D\n"),
    (reading_order, "core/chiasm/images/open.py", DOC + "from ..model import load\n"),
    (reading_order, "core/chiasm/images/open.py", DOC + "from chiasm.text.gate import check_text\n"),
    (reading_order, "core/chiasm/images/__init__.py", DOC + "def f():\n    from ..routing import rows\n"),
    (reading_order, "core/chiasm/model.py", DOC + "from . import cli\n"),
    (reading_order, "core/chiasm/result.py", DOC + "from .export import result_to_coco\n"),
    (reading_order, "core/chiasm/stray.py", DOC),
    (sizes, "core/chiasm/model.py", DOC + "x = 1\n" * 250),
    (sizes, "core/chiasm/model.py", DOC + "class A:\n    def f(self):\n" + "        x = 1\n" * 45),
    (docstring, "core/chiasm/model.py", "x = 1\n"),
    (words, "core/chiasm/model.py", DOC + "x = 1  # TO" + "DO later\n"),
    (words, "core/chiasm/model.py", DOC + "# ------ part one\n"),
    (words, "core/chiasm/text/utils.py", DOC),
    (words, "core/chiasm/model.py", DOC + "class ModelManager: ...\n"),
    (words, "core/chiasm/model.py", DOC + "class BaseModel: ...\n"),
    (habits, "core/chiasm/model.py", DOC + "print(1)\n"),
    (habits, "core/chiasm/model.py", DOC + "import torch\ntorch.load('x')\n"),
    (habits, "core/chiasm/model.py", DOC + "import torch\ntorch.load('x', weights_only=False)\n"),
    (habits, "core/chiasm/model.py", DOC + "import os\nos.environ['x'] = 'y'\n"),
    (habits, "core/chiasm/model.py", DOC + "def f():\n    global x\n"),
    (habits, "core/chiasm/model.py", DOC + "try:\n    x = 1\nexcept:\n    pass\n"),
    (libraries, "plugins/chiasm_plugins/one/task.py", DOC + "def f():\n    import torchvision\n"),
    (libraries, "registry/chiasm_registry/spec.py", DOC + "import numpy as np\n"),
    (libraries, "core/chiasm/cli/predict.py", DOC + "from torch import nn\n"),
)
SOUND = {
    "registry/chiasm_registry/spec.py": DOC + "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n",
    "core/chiasm/__init__.py": DOC,
    "core/chiasm/images/open.py": DOC + "from chiasm_registry.errors import E\n\nfrom ..limits import LIMITS\n",
    "core/chiasm/model.py": DOC + "import torch\n\nfrom .images.open import f\ntorch.load('x', weights_only=True)\n",
    "core/chiasm/cli/predict.py": DOC + "def f():\n    import torch\n    print(1)\n",
    "plugins/chiasm_plugins/one/task.py": DOC + "from chiasm_registry import Task\n\nfrom .decoder import D\n",
}


def _house(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_sound_house_breaks_no_rule(rule: Rule, tmp_path: Path) -> None:
    assert broken(rule, _house(tmp_path, SOUND)) == []


@pytest.mark.parametrize(("rule", "path", "text"), FAULTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_planted_fault_turns_its_rule_red(rule: Rule, path: str, text: str, tmp_path: Path) -> None:
    faults = broken(rule, _house(tmp_path, {**SOUND, path: text}))
    assert [fault for fault in faults if fault.startswith(f"{path}: ")]
