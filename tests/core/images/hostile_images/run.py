"""Opens bad and odd images, each in a process of its own, and prints one JSON object that says how each ended.

Run as `python run.py FOLDER`; the folder is empty and will be filled.
"""

from __future__ import annotations

import json
import os
import pathlib
import resource
import signal
import sys
import time
import traceback
from typing import Any

from making import CASES

SECONDS = 30.0


def run_in_child(name: str) -> dict[str, Any]:
    """How the case ended: `wrong` is "" if as promised, else why not; `signal`, `seconds` and memory in MB."""
    folder = pathlib.Path(name)
    folder.mkdir()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        read, _ = os.pipe()
        os.dup2(read, 0)
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            wrong = CASES[name]()
        except BaseException:
            wrong = traceback.format_exc()
        pathlib.Path("wrong").write_text(wrong, encoding="utf-8", errors="backslashreplace")
        os._exit(0)
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        seconds = time.monotonic() - start
        if done:
            break
        if seconds > SECONDS:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    said = folder / "wrong"
    wrong = said.read_text(encoding="utf-8") if said.exists() else "died"
    return {"wrong": wrong, "signal": status & 127, "seconds": seconds, "megabytes": usage.ru_maxrss / 1024}


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    # Loaded once, so that a fork has it: the cases then cost little more than their own work.
    import chiasm.images  # noqa: F401
    import files  # noqa: F401
    import numpy as np  # noqa: F401
    import objects  # noqa: F401
    import pixels  # noqa: F401
    from PIL import Image  # noqa: F401

    print(json.dumps({name: run_in_child(name) for name in CASES}))
