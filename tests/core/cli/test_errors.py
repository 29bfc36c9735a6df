"""Exit codes and the one line on stderr."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
from chiasm.cli.errors import guarded
from chiasm_registry.errors import InputError


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("no\nsuch thing"), 2, "chiasm: no\\nsuch thing\n"),
        (KeyboardInterrupt(), 130, "chiasm: interrupted\n"),
    ],
)
def test_what_is_raised_becomes_one_line(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(lambda: _raise(error)) == code
    assert capsys.readouterr().err == line


def test_our_own_fault_hides_its_message_unless_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHIASM_TRACEBACK", raising=False)
    assert guarded(lambda: _raise(ZeroDivisionError("at 0x7f00"))) == 1
    quiet = capsys.readouterr().err
    assert quiet.count("\n") == 1
    assert "0x7f00" not in quiet
    monkeypatch.setenv("CHIASM_TRACEBACK", "1")
    assert guarded(lambda: _raise(ZeroDivisionError("at 0x7f00"))) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_who_leaves_is_no_error() -> None:
    code = (
        "import sys; from chiasm.cli.errors import guarded\n"
        "sys.exit(guarded(lambda: [print('x' * 999) for _ in range(9999)] and None))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(20) == 141


@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        (">/dev/full", 2, "chiasm: cannot write to stdout: No space left on device; "),
        (">/dev/full 2>/dev/full", 2, ""),
        ("--nothing 2>/dev/full", 2, ""),
    ],
)
def test_streams_that_are_closed_or_full_cost_a_line_at_most(streams: str, code: int, said: str) -> None:
    line = f"exec {shlex.quote(sys.executable)} -m chiasm.cli --version {streams}"
    if "--nothing" in streams:
        line = line.replace("--version ", "")
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == bool(said)


def test_a_stream_that_was_closed_is_the_null_device() -> None:
    """A command asks stdin for lines and stderr whether it is a terminal."""
    code = (
        "import sys; from chiasm.cli.streams import ready_streams\nready_streams()\n"
        "assert (sys.stdin.readline(), sys.stderr.isatty(), sys.stderr.fileno()) == ('', False, 2)"
    )
    line = f"exec {shlex.quote(sys.executable)} -c {shlex.quote(code)} <&- 2>&-"
    assert subprocess.run(["/bin/sh", "-c", line], timeout=60, check=False).returncode == 0


def test_help_and_version_load_neither_torch_nor_numpy_nor_a_plugin() -> None:
    code = (
        "import sys; from chiasm.cli.app import run\n"
        "codes = [run(['--help']), run(['--version']), run(['predict', '--help'])]\n"
        "heavy = {'torch', 'numpy', 'transformers', 'PIL', 'chiasm_plugins'} & set(sys.modules)\n"
        "print(codes, heavy, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "[0, 0, 0] set()\n"
    assert "predict" in done.stdout
