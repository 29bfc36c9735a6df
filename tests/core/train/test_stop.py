"""A run is asked to stop as launchers and schedulers do it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def test_a_signal_to_the_whole_group_passed_on_by_a_launcher_saves(tmp_path: Path) -> None:
    """Workers get it too and still finish the step; the second one, of the launcher, is not taken for a second wish."""
    script = Path(__file__).with_name("group_run.py")
    paths = os.pathsep.join(str(folder) for folder in (script.parents[2], os.environ.get("PYTHONPATH", "")))
    run = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        stdout=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    try:
        log, waited = tmp_path / "log.jsonl", time.monotonic()
        while not (log.is_file() and log.read_text().count('"losses"') > 2):
            assert run.poll() is None
            assert time.monotonic() - waited < 60
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGTERM)
        os.kill(run.pid, signal.SIGTERM)
        said, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert (run.returncode, said) == (0, "True True\n")
