"""The corpus of bad packages against two loaders: chiasm's, and pluggy's own as most programs use it.

python benchmarks/loaders.py [--packages TEXT] [--json]
Each package of `tests/core/bad_plugins/packages.py` is installed from a wheel beside a sound neighbour; in a process of
its own the host loads the plugins, asks their hook, builds the decoders and calls each on one scene, the bad one first.
`host` is whether that process came to its end, `neighbour` whether its answers are there and the same to the bit as
alone, `said` whether anything told of the fault. pluggy's host is `load_setuptools_entrypoints`, the hook, and a loop.
What lies before the decoders (a bad import, a bad hook) and what lies in them is counted alike.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pluggy
import torch
from chiasm_registry import CoreInfo, MapInfo, Output, Route, Scene, TaskTable, discover, dispatch
from chiasm_registry.child import Tell, told_by
from chiasm_registry.hooks import ENTRY_POINT_GROUP, PROJECT, HookSpecs
from chiasm_registry.settings import Settings, applied

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from core.bad_plugins.packages import PACKAGES, Package
from core.bad_plugins.road import lay_down
from registry.installing import site_of

LIMIT_S = 1.0
INFO = CoreInfo(8, (MapInfo(3, 4),), torch.float32)
LOADERS = ("pluggy", "chiasm")


def scene() -> Scene:
    """The same small scene each time."""
    generator = torch.Generator().manual_seed(0)
    return Scene((40, 60), (torch.rand(3, 8, 8, generator=generator),), lambda size: torch.full((3, size, size), 0.5))


def routes(task: Any) -> list[Route]:
    """One phrase for a task."""
    slots = torch.rand(2, INFO.width, generator=torch.Generator().manual_seed(1))
    return [Route(task.spec.name, "cat", slots, slots + 1, options=task.spec.options())]


def by_pluggy(tell: Tell) -> None:
    """What a program does that trusts its plugins; the last to be registered is asked first."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(HookSpecs)
    manager.load_setuptools_entrypoints(ENTRY_POINT_GROUP)
    tasks = [task for found in manager.hook.chiasm_tasks() for task in found]
    decoders = {task.spec.name: (task, task.decoder(INFO)) for task in tasks if task.spec.name in ("good", "bad")}
    here, answers = scene(), {}
    with torch.no_grad():
        for name, (task, decoder) in sorted(decoders.items()):
            answers[name] = [output.model_dump_json() for output in decoder.decode(here, routes(task))]
    tell({"good": answers.get("good"), "said": ""})


def by_chiasm(tell: Tell) -> None:
    """The same on the platform's road."""
    catalog = discover()
    decoders, said = {}, [info.reason for info in catalog.plugins if info.name == "bad"]
    for name, task in catalog.tasks.items():
        decoders[name] = task.decoder(INFO)
    notices: list[Any] = []
    asked = [route for name in sorted(catalog.tasks) for route in routes(catalog.tasks[name])]
    table = TaskTable.build(catalog.tasks.values())
    answers = dispatch(table, decoders, scene(), asked, max_items=10_000, time_limit_s=0.3, notices=notices)
    pairs = zip(asked, answers, strict=True)
    good = [answer.model_dump_json() for route, answer in pairs if route.task == "good" and isinstance(answer, Output)]
    said += [answer.text for answer in (*answers, *notices) if not isinstance(answer, Output)]
    tell({"good": good or None, "said": " ".join(said)})


def tried(package: Package | None, loader: str, good: Sequence[str] | None) -> dict[str, Any]:
    """One package, one loader; without a package the neighbour alone."""
    work = {"pluggy": by_pluggy, "chiasm": by_chiasm}[loader]
    with TemporaryDirectory() as folder:
        wheels = [] if package is None else package.wheels(Path(folder))
        with site_of(lay_down(Path(folder), wheels), "acme_"), applied(Settings(only=("good", "bad"))):
            told, death = told_by(_quiet(work), LIMIT_S)
            if loader == "chiasm" and death is not None:  # what the command line says, and the cure it names
                from chiasm_registry.survey import survey

                reasons = [info.reason for info in survey(limit_s=LIMIT_S).plugins if info.name == "bad"]
                with applied(Settings(block=("bad",))):
                    told, after = told_by(_quiet(work), LIMIT_S)
                told = [{**one, "said": " ".join(reasons)} for one in told]
                return _row(told, death, after, good)
    return _row(told, death, death, good)


def _row(told: Sequence[Any], death: str | None, after: str | None, good: Sequence[str] | None) -> dict[str, Any]:
    answers = told[0] if told and after is None else {"good": None, "said": ""}
    neighbour = answers["good"] if good is None else answers["good"] == good
    return {"host": death is None, "neighbour": neighbour, "said": bool(answers["said"])}


def _quiet(work: Callable[[Tell], None]) -> Callable[[Tell], None]:
    def run(tell: Tell) -> None:
        with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            work(tell)

    return run


def compare(packages: Sequence[Package]) -> dict[str, Mapping[str, Any]]:
    """Every package by both loaders: how often each held."""
    table: dict[str, Mapping[str, Any]] = {}
    for loader in LOADERS:
        alone = tried(None, loader, None)["neighbour"]
        rows = {package.id: tried(package, loader, alone) for package in packages}
        sums = {key: sum(row[key] for row in rows.values()) for key in ("host", "neighbour", "said")}
        table[loader] = {"packages": len(rows), **sums, "rows": rows}
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--packages", default="", help="only those whose name holds this")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    found = compare([package for package in PACKAGES if asked.packages in package.id])
    if asked.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{'':10}{'packages':>10}{'host':>8}{'neighbour':>12}{'said':>8}")
    for loader, sums in found.items():
        print(f"{loader:10}{sums['packages']:>10}{sums['host']:>8}{sums['neighbour']:>12}{sums['said']:>8}")


if __name__ == "__main__":
    main()
