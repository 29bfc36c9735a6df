"""`chiasm chat` on a tiny model, by a script on stdin and by a keyboard that is made up."""

from __future__ import annotations

import builtins
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chiasm
import pytest
from chiasm.cli.app import run
from chiasm.cli.conversing import _spelled
from chiasm.cli.report import found_lines
from chiasm.model import Model
from chiasm.result import Result
from core.tiny import picture, talkative, tiny_model
from PIL import Image

Talk = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model() -> Model:
    return talkative(tiny_model())


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    paths = [str(tmp_path / name) for name in ("a.png", "b c.png")]
    for k, path in enumerate(paths):
        picture(60 + 30 * k, 40, k).save(path)
    return paths


@pytest.fixture
def talk(model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Talk:
    monkeypatch.setitem(vars(chiasm), "load", lambda name, **_: model)

    def said(script: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(script))
        code = run(["chat", *arguments, "--max-new-tokens", "24"])
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    return said


def test_questions_are_answered_as_a_session_answers_them(talk: Talk, model: Model, images: list[str]) -> None:
    session = model.chat()
    wanted = [session.ask("Find the dog.", images[0], max_new_tokens=24), session.ask("And?", max_new_tokens=24)]
    code, out, err = talk("Find the dog.\n\n  And?  \n", images[0])
    assert (code, err) == (0, "")
    assert out == "".join("\n".join([_spelled(one.text), *found_lines(one), ""]) for one in wanted)
    assert len(out) > 20


def test_alone_each_question_is_asked_as_if_nothing_had_been_said(talk: Talk, model: Model, images: list[str]) -> None:
    """About the pictures shown last."""
    asked = ((0, "Find the dog."), (0, "And?"), (1, "?"))
    wanted = [model.ask(images[k], text, max_new_tokens=24) for k, text in asked]
    code, out, err = talk(f"Find the dog.\nAnd?\n/image '{images[1]}'\n?\n", images[0], "--alone")
    assert (code, err) == (0, "")
    assert out == "".join("\n".join([_spelled(one.text), *found_lines(one), ""]) for one in wanted)


def test_commands_between_questions(talk: Talk, images: list[str], tmp_path: Path) -> None:
    """Pictures are added and looked through; answers, pictures and the conversation are kept in files."""
    script = f"""Hi
/image '{images[1]}'
/find dog, cat, dog
Find the dog.
/save {tmp_path}/answer.json
/save {tmp_path}/answer.png
/save {tmp_path}/talk.txt
/history
/new
/history
/quit
never asked
"""
    code, out, err = talk(script, images[0], "--threshold", "0")
    assert (code, err) == (0, "")
    result = Result.from_json((tmp_path / "answer.json").read_text())
    assert result.size_hw == (40, 90)
    with Image.open(tmp_path / "answer.png") as drawn:
        assert drawn.size[0] >= 90
    text = (tmp_path / "talk.txt").read_text()
    assert text.startswith("> Hi\n")
    assert "> Find the dog.\n" in text
    assert text.strip() in out
    assert "nothing was said yet" in out
    assert "dog" in out
    assert "never asked" not in out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/beam", "no command /beam"),
        ("/image", "/image wants files"),
        ("/image nowhere.png", "nowhere.png"),
        ("/image 'open", "quotation mark"),
        ("/find", "/find wants names"),
        ("/find cat,,dog", "/find wants names"),
        ("/find cat", "no picture was shown"),
        ("/save x.png", "no answer to save"),
        ("a\0b", "NUL"),
    ],
)
def test_a_line_that_cannot_be_done_is_named_and_the_next_is_done(talk: Talk, line: str, message: str) -> None:
    code, out, err = talk(f"{line}\n/history\n")
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert out == "nothing was said yet\n"


def test_a_picture_that_was_shown_is_not_written_over(talk: Talk, images: list[str]) -> None:
    before = Path(images[0]).read_bytes()
    code, _, err = talk(f"Hi\n/save {images[0]}\n/save nothing.txt extra\n", images[0])
    assert code == 2
    assert "save under another name" in err
    assert "wants one file" in err
    assert Path(images[0]).read_bytes() == before


def test_what_is_wrong_before_the_first_line_ends_it(talk: Talk, tmp_path: Path) -> None:
    for arguments in ([str(tmp_path / "no.png")], ["--temperature", "-1"], ["--system", "Be brief."]):
        code, out, err = talk("Hi\n" if arguments[0] == "--temperature" else "", *arguments)
        assert code == 2
        assert err.startswith("chiasm: ")
        assert out == ""


def test_control_characters_of_an_answer_are_shown_and_not_obeyed(
    talk: Talk, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = model.tokenizer.decode
    monkeypatch.setattr(model.tokenizer, "decode", lambda ids: "\x1b[2J" * len(ids) if ids else decode(ids))
    _, out, _ = talk("Hi\n/history\n")
    assert "\x1b" not in out
    assert "\\x1b[2J" in out


def _at_a_keyboard(monkeypatch: pytest.MonkeyPatch, typing: list[Any]) -> None:
    lines = iter(typing)

    def typed(prompt: str) -> str:
        assert prompt == "> "
        line = next(lines)
        if not isinstance(line, str):
            raise line
        return line

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(io, "StringIO", Terminal)
    monkeypatch.setattr(builtins, "input", typed)


def test_a_keyboard_is_asked_until_it_has_no_more(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C at the prompt throws the line away, Ctrl-D leaves; faults do not change the exit code."""
    _at_a_keyboard(monkeypatch, ["/bad", KeyboardInterrupt, "/history", EOFError])
    code, out, err = talk("")
    assert code == 0
    assert "no command /bad" in err
    assert "nothing was said yet" in out


def test_an_interrupt_stops_a_command_on_a_terminal_and_ends_a_script(
    talk: Talk, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Model, "detect", interrupted)
    assert talk("/find dog\n/history\n", images[0])[:2] == (130, "")
    _at_a_keyboard(monkeypatch, ["Hi", "/find dog", "/history", EOFError])
    code, out, err = talk("", images[0])
    assert (code, err) == (0, "chiasm: stopped; the conversation goes on\n")
    assert "\n> Hi\n" in out


def test_an_interrupt_stops_the_answer_and_keeps_the_conversation(
    talk: Talk, model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    speak, calls = model.network.backbone.speak, iter(range(1000))

    def interrupted(*args: Any) -> Any:
        if next(calls) == 6:
            raise KeyboardInterrupt
        return speak(*args)

    model.network.backbone.speak = interrupted  # type: ignore[method-assign]
    try:
        code, _, err = talk(f"Tell me everything\nAnd?\n/save {tmp_path}/talk.txt\n")
    finally:
        del model.network.backbone.speak  # type: ignore[attr-defined]
    assert code == 0
    assert err == "chiasm: stopped; the conversation goes on\n"
    text = (tmp_path / "talk.txt").read_text()
    assert text.startswith("> Tell me everything\n")
    assert "\n> And?\n" in text


_SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
from chiasm.cli.app import run
from chiasm.cli.conversing import Conversing
def loaded(*_, **__):
    from core.tiny import talkative, tiny_model
    model = talkative(tiny_model(), end=-90.0)
    speak = model.network.backbone.speak
    def slow(*args):
        time.sleep(0.05)
        return speak(*args)
    model.network.backbone.speak = slow
    return model
import chiasm
vars(chiasm)["load"] = loaded
raise SystemExit(run(["chat", "--max-new-tokens", "400"]))
"""


def test_a_signal_stops_the_answer_of_a_process(tmp_path: Path) -> None:
    """SIGINT while it speaks: one line on stderr, the next line of stdin is done, the exit code is 0."""
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    child = subprocess.Popen(
        [sys.executable, "-c", _SLOW], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=where
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(f"Tell me everything\n/save {tmp_path}/answer.json\n".encode())
    child.stdin.flush()
    assert child.stdout.read(1)  # it speaks
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert b"stopped; the conversation goes on" in err
    assert str(tmp_path / "answer.json").encode() in out.splitlines()[-1]
    assert json.loads((tmp_path / "answer.json").read_text())["text"]


def test_a_picture_that_was_made_is_told(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be printed, so the command that keeps it is."""
    made = property(lambda self: ("a picture",))
    monkeypatch.setattr(Result, "pictures", made)
    _, out, _ = talk("Draw a bus\n")
    assert out.endswith("  a picture was made; /save FILE.png keeps it\n")
