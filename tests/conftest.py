"""Fixtures for the whole suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# also where the distribution was installed before it had this entry point
pytest_plugins = ("chiasm_registry.testing.fixtures",)

# before any test loads torch: several workers on few cores are slower with several threads each
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of photographs and golden outputs that may stand beside the repository; without it the test skips."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the data folder `shared` beside the repository")
    return folder
