"""Several processes under a launcher give the figures of one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from chiasm.evaluate.ranks import gather, read_ranks
ranks = read_ranks()
whole = gather({ranks.rank: {"rows": [0.1]}, 10 + ranks.rank: {}}, ranks)
print(json.dumps(None if whole is None else sorted(whole)))
"""


@pytest.mark.slow
def test_the_first_process_gets_all_answers() -> None:
    """Two processes meet; the first has everybody's answers, the other none."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(sys.path)],
            env={**env, "RANK": str(rank)}, stdout=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]
    answers: list[Any] = [json.loads(run.communicate(timeout=120)[0]) for run in runs]
    assert answers == [[0, 1, 10, 11], None]
