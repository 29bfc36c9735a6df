"""`chiasm plugins` lists, shows, checks, writes and looks after plugins, quickly and whatever one of them does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from chiasm.cli.app import run
from chiasm.cli.plugin_flags import in_front
from chiasm.cli.plugins.listing import COLUMNS, as_text
from chiasm.cli.plugins.new import Kind
from chiasm_registry.scaffold import KINDS
from pace import start_seconds
from registry.installing import install, wheel

SOUND = """
    from chiasm_registry import CoreInfo, Decoder, Output, Task, TaskSpec, hookimpl

    class Tilt(Output):
        degrees: float

    class TiltTask(Task):
        spec = TaskSpec(name="{name}", token="[{token}]", embeddings=2, output=Tilt, summary="how far a thing leans")

        def decoder(self, core: CoreInfo) -> Decoder:
            from torch import nn

            class TiltDecoder(nn.Module):
                def __init__(self) -> None:
                    super().__init__()
                    self.angle = nn.Linear(core.width, 1)

                def decode(self, scene, routes):
                    return [Tilt(degrees=self.angle(route.slots).mean().item()) for route in routes]

            return TiltDecoder()

    @hookimpl
    def chiasm_tasks():
        return [TiltTask()]
    """


def sound(name: str) -> str:
    return dedent(SOUND).replace("{name}", name).replace("{token}", name.upper())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tilt.py"
    path.write_text(sound("tilt"))
    return path


def out(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert run(["plugins", *arguments]) == code
    return capsys.readouterr().out


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    return {row["name"]: row for row in json.loads(out(capsys, "list", "--json", *arguments))}


def test_json_is_one_array_with_a_row_for_each_plugin(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = rows(capsys, "--plugin", str(file))["tilt"]
    assert tuple(row) == COLUMNS
    assert row == {"name": "tilt", "status": "ok", "reason": "", "distribution": str(file), "version": ""}


def test_text_is_a_line_for_each_plugin_under_a_head(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = out(capsys, "list", "--plugin", str(file), "--plugins-only", "tilt").splitlines()
    assert lines[0].split() == ["name", "status", "distribution", "version", "reason"]
    assert [line.split()[:2] for line in lines[1:] if "disabled" not in line] == [["tilt", "ok"]]


def test_where_it_is_to_be_strict_a_plugin_that_is_not_ok_is_listed_and_an_error(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "nofile.py")
    listed = json.loads(out(capsys, "list", "--json", "--plugins-strict", "--plugin", missing, code=2))
    assert {row["name"]: row["status"] for row in listed}["nofile"] not in ("ok", "disabled")
    out(capsys, "list", "--plugins-strict", "--plugins-only", "tilt", "--plugin", str(file))
    out(capsys, "list", "--plugin", missing)


def test_no_plugins_is_a_head_alone() -> None:
    assert as_text([]) == "name  status  distribution  version  reason"


def test_a_plugin_that_ends_the_process_has_a_row_and_the_others_theirs(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bye.py").write_text("import os; os._exit(0)")
    found = rows(capsys, "--plugin", str(tmp_path / "bye.py"), "--plugin", str(file))
    assert found["bye"]["status"] == "failed"
    assert found["bye"]["reason"] == "it ended the process itself, with exit code 0"
    assert found["tilt"]["status"] == "ok"


def test_settings_end_with_the_command(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "tilt" in rows(capsys, "--plugin", str(file))
    assert "tilt" not in rows(capsys)


def test_show_tells_who_made_it_what_its_files_are_and_what_it_declares(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = json.loads(out(capsys, "show", "tilt", "--json", "--plugin", str(file)))
    (task,) = shown["tasks"]
    assert (task["token"], task["embeddings"]) == ("[TILT]", 2)
    assert task["output"]["properties"]["degrees"]["type"] == "number"
    assert [len(digest) for digest in shown["files"].values()] == [64]
    text = out(capsys, "show", "tilt", "--plugin", str(file))
    assert "token [TILT], 2 embeddings" in text
    assert "answers Tilt: degrees (number)" in text


def test_show_tells_the_type_of_every_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = sound("tilt").replace("degrees: float", "degrees: float; side: Side | None = None; why: str | None = None")
    (tmp_path / "tilt.py").write_text("import enum\nclass Side(enum.Enum):\n    LEFT = 'left'\n" + typed)
    text = out(capsys, "show", "tilt", "--plugin", str(tmp_path / "tilt.py"))
    assert "answers Tilt: degrees (number), side (Side or null), why (string or null)" in text


def test_a_token_or_a_name_that_cannot_be_is_told_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.py").write_text(sound("tilt").replace('"[TILT]"', '"TILT"'))
    (tmp_path / "worse.py").write_text(sound("tilt").replace('name="tilt"', 'name="Tilt it"'))
    found = rows(capsys, "--plugin", str(tmp_path / "bad.py"), "--plugin", str(tmp_path / "worse.py"))
    fact = "TaskSpec does not fit its schema at"
    token = "token: 'TILT' is no routing token; write capitals in brackets, like '[DEPTH]'"
    name = "name: 'Tilt it' names no task; take small letters, digits and _, like 'depth'"
    assert [found[key]["reason"] for key in ("bad", "worse")] == [f"{fact} {token}", f"{fact} {name}"]


def test_show_of_a_broken_plugin_has_its_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.py").write_text("def deep():\n    raise ValueError('here')\ndeep()\n")
    text = out(capsys, "show", "bad", "--plugin", str(tmp_path / "bad.py"))
    assert "ValueError at bad.py:2" in text
    assert "line 2, in deep" in text


def test_show_and_check_of_what_is_not_there_are_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("show", "check"):
        assert run(["plugins", verb, "nobody"]) == 2
        assert capsys.readouterr().err == (
            "chiasm: no plugin 'nobody' is installed; `chiasm plugins list` shows what is\n"
        )


def test_check_tries_the_rules_and_says_whether_they_are_kept(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(out(capsys, "check", str(file), "--json"))
    assert report["sound"] is True
    assert report["plugin"]["name"] == "tilt"
    verdicts = {finding["rule"]: finding["verdict"] for finding in report["findings"]}
    assert verdicts["loads"] == verdicts["answers"] == verdicts["light"] == "ok"
    assert verdicts["losses"] == "skipped"


@pytest.mark.parametrize(
    ("deed", "why"),
    [
        ("os._exit(0)", "it ended the process itself, with exit code 0"),
        ("os.kill(os.getpid(), 11)", "it was ended by the signal SIGSEGV"),
        ("time.sleep(99)", "it did not come back within 3 s, and was stopped"),
        ("sys.exit(0)", "SystemExit at dies.py:1"),
    ],
)
def test_check_of_a_plugin_that_dies_is_a_line(
    deed: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dies.py").write_text(f"import os, sys, time; {deed}")
    limit = "3" if "sleep" in deed else "60"
    report = json.loads(out(capsys, "check", str(tmp_path / "dies.py"), "--json", "--limit", limit, code=2))
    assert [(f["rule"], f["verdict"], f["reason"]) for f in report["findings"]] == [("loads", "failed", why)]


def test_check_names_the_rule_at_which_a_plugin_dies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = sound("dies").replace("return [Tilt(", "__import__('os')._exit(3)  # return [Tilt(")
    (tmp_path / "dies.py").write_text(code)
    last = out(capsys, "check", str(tmp_path / "dies.py"), code=2).splitlines()[-2]
    assert last.split(maxsplit=3) == ["FAILED", "dies", "beside", "it ended the process itself, with exit code 3"]


def test_new_writes_a_project_and_names_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(out(capsys, "new", "depth", "--kind", "points", "--out", str(tmp_path / "p"), "--json"))
    assert told["folder"] == str(tmp_path / "p")
    assert all((tmp_path / "p" / name).is_file() for name in told["files"])
    assert {"pyproject.toml", "chiasm_depth/decoder.py", "tests/test_conformance.py"} <= set(told["files"])
    assert [kind.value for kind in Kind] == list(KINDS)


def test_doctor_is_content_here_and_names_what_is_sick(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "SICK" not in out(capsys, "doctor")
    (tmp_path / "bad.py").write_text("raise SystemExit")
    checks = json.loads(out(capsys, "doctor", "--json", "--plugin", str(tmp_path / "bad.py"), code=2))
    (sick,) = [check for check in checks if not check["well"]]
    assert sick["name"] == "plugin bad"
    assert sick["says"].endswith("or leave it out: CHIASM_PLUGINS_BLOCK=bad")


def test_flags_about_plugins_stand_anywhere_in_the_line() -> None:
    line = ["plugins", "list", "--plugin", "a.py", "--plugins-block=x", "--plugins-trace", "--", "--plugin", "b.py"]
    flags = ["--plugin", "a.py", "--plugins-block=x", "--plugins-trace"]
    assert in_front(line) == [*flags, "plugins", "list", "--", "--plugin", "b.py"]


def test_a_trace_tells_of_each_plugin_on_stderr(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["plugins", "list", "--plugins-trace", "--plugin", str(file), "--plugins-only", "tilt"]) == 0
    assert "plugin 'tilt': ok" in capfd.readouterr().err


def test_ten_more_plugins_of_which_two_are_broken_are_listed_in_half_a_second_without_torch(tmp_path: Path) -> None:
    for k in range(10):
        code = {3: "raise SystemExit", 7: "import nothing_of_the_kind"}.get(k, sound(f"task{k}"))
        entries = f"[chiasm.plugins]\np{k} = acme_more_{k}\n"
        install(wheel(tmp_path, f"acme-more-{k}", {f"acme_more_{k}.py": code}, entries), tmp_path / "site")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); sys.argv[1:] = ['plugins', 'list', '--json']\n"
        "from chiasm.cli import main\n"
        "try: main()\nfinally: print([m for m in ('torch', 'numpy') if m in sys.modules], file=sys.stderr)"
    )

    def listed(environment: Mapping[str, str]) -> None:
        line = [sys.executable, "-c", code]
        done = subprocess.run(line, capture_output=True, text=True, check=True, env=environment)
        statuses = [row["status"] for row in json.loads(done.stdout) if row["distribution"].startswith("acme")]
        assert sorted(statuses) == ["failed", "missing", *["ok"] * 8]
        assert done.stderr == "[]\n"

    assert start_seconds(listed, str(tmp_path / "bytecode")) < 0.5
