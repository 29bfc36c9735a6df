"""What a short command loads is not searched for rubbish, and the collector runs on afterwards."""

from __future__ import annotations

import gc

import pytest
from chiasm.cli.start import kept_for_good


@pytest.fixture(autouse=True)
def thawed() -> object:
    """Nothing of this test stays frozen."""
    yield
    gc.unfreeze()
    gc.enable()


def test_the_collector_is_off_inside_and_on_again_behind() -> None:
    with kept_for_good():
        assert not gc.isenabled()
        loaded = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(loaded)


def test_it_is_on_again_when_loading_fails() -> None:
    with pytest.raises(ValueError, match="no such model"), kept_for_good():
        raise ValueError("no such model")
    assert gc.isenabled()
