"""A run with workers that is to be stopped from outside: prints how it ended. Started by test_stop.py."""

from __future__ import annotations

import sys
from pathlib import Path

from core.train.test_trainer import config, tiny

if __name__ == "__main__":
    finished = tiny(Path(sys.argv[1]), config(steps=1_000_000, workers=2, log_every=1, save_every=1_000_000))
    print(finished.interrupted, (Path(sys.argv[1]) / "model").is_dir(), flush=True)
