"""A new task's project, written from the templates in this folder: `any/` goes into each, one folder a kind besides.

A template's path is the file's own with `.txt` behind it, `package` for the package's folder and `dot_` for a leading
dot; in its text `$name`, `$Class` and the like are filled in.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from string import Template

from ..errors import InputError, shown, shown_path
from ..hooks import PROJECT

HERE = Path(__file__).parent
KINDS = {
    "boxes": "boxes",
    "masks": "a mask",
    "points": "points",
    "image": "a picture",
    "custom": "a number of its own",
}
# what a project's own code imports by these names, beside what Python keeps for itself
RESERVED = frozenset(
    {"Task", "Output", "Scene", "Route", "Decoder", "Sample", "Metric", "Box", "Boxes", "Mask", "Masks", "Point",
     "Points", "Picture", "Tensor", "Sequence", "Any"}
)  # fmt: skip


@dataclass(frozen=True)
class Project:
    """What a task's project is called."""

    name: str  # of the task
    kind: str

    @property
    def distribution(self) -> str:
        return f"{PROJECT}-{self.name.replace('_', '-')}"

    @property
    def package(self) -> str:
        return f"{PROJECT}_{self.name}"

    def words(self) -> dict[str, str]:
        """What the templates' words stand for."""
        what = KINDS[self.kind]
        return {
            "name": self.name,
            "distribution": self.distribution,
            "package": self.package,
            "Class": "".join(part.capitalize() for part in self.name.split("_")),
            "token": f"[{self.name.upper()}]",
            "what": what,
            "What": what.capitalize(),
            "platform": ".".join(version(PROJECT).split(".")[:2]),
        }


def new_project(name: str, kind: str = "custom", out: Path | None = None) -> Path:
    """Write the project of a new task into the folder `out` (None: one called after it); the folder is returned."""
    if kind not in KINDS:
        raise InputError(f"no kind {shown(repr(kind), 40)} of task; there are {', '.join(KINDS)}")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        rule = "write up to 40 small letters, digits and _, a letter first"
        raise InputError(f"a task cannot be called {shown(repr(name), 60)}; {rule}")
    project = Project(name, kind)
    if any(word in RESERVED or keyword.iskeyword(word) for word in (name, project.words()["Class"])):
        raise InputError(f"a task cannot be called {name!r}, a word that its code needs; take another")
    folder = out if out is not None else Path(project.distribution)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"'{shown_path(folder)}' is there already and not empty; name another with --out")
    try:
        for path, text in _files(project):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    except OSError as error:
        fact = shown(error.strerror or type(error).__name__, 60)
        raise InputError(f"'{shown_path(folder)}' cannot be written: {fact}; name another with --out") from error
    return folder


def _files(project: Project) -> Iterator[tuple[Path, str]]:
    words = project.words()
    for source, into in ((HERE / "any", Path()), (HERE / project.kind, Path(project.package))):
        for file in sorted(source.rglob("*.txt")):
            parts = [part.replace("dot_", ".") for part in file.relative_to(source).with_suffix("").parts]
            path = into.joinpath(*(project.package if part == "package" else part for part in parts))
            # `${{ ... }}` in the CI's file is not ours
            yield path, Template(file.read_text(encoding="utf-8")).safe_substitute(words)
