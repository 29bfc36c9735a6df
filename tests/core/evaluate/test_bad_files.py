"""Every way in which a COCO file can be bad, each in a process of its own: one line and exit 2, or the stated result.

The numbers are those of the list of bad COCO files in the project's threat model.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

HEIGHT, WIDTH = 48, 64
EMPTY_RLE = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}
CHILD = Path(__file__).with_name("fork_score.py")


class Case(NamedTuple):
    """One bad file: what is changed, and what must be said (None: accepted)."""

    name: str
    side: str  # "gt", "dt", "segm" (a result with masks)
    change: Callable[[Any], Any] | str | bytes  # of the file's value, or its whole text
    says: str | None
    iou_type: str = "bbox"


def truth() -> dict[str, Any]:
    box = [4.0, 4.0, 20.0, 16.0]
    row = {"image_id": 1, "category_id": 1, "iscrowd": 0, "area": 320.0, "bbox": box}
    return {
        "images": [
            {"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT},
            {"id": 2, "file_name": "b.jpg", "width": WIDTH, "height": HEIGHT},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {**row, "id": 1, "segmentation": [[4, 4, 24, 4, 24, 20, 4, 20]]},
            {**row, "id": 2, "image_id": 2, "category_id": 2, "segmentation": [[4, 4, 24, 4, 24, 20, 4, 20]]},
            {**row, "id": 3, "iscrowd": 1, "segmentation": {"size": [HEIGHT, WIDTH], "counts": [100, 50, 2922]}},
        ],
    }


def boxes() -> list[dict[str, Any]]:
    return [
        {"image_id": 1, "category_id": 1, "bbox": [4.0, 4.0, 20.0, 16.0], "score": 0.9},
        {"image_id": 2, "category_id": 2, "bbox": [5.0, 5.0, 20.0, 16.0], "score": 0.8},
    ]


def masks() -> list[dict[str, Any]]:
    from chiasm_registry.rle import check_rle

    mask = dict(check_rle({"size": [HEIGHT, WIDTH], "counts": [196, 16, 32, 16, 2812]}))
    return [{"image_id": i, "category_id": i, "segmentation": mask, "score": 0.9} for i in (1, 2)]


def put(*path: Any) -> Callable[[Any], Any]:
    """Sets the last of `path` at the place that the others name."""

    def change(value: Any) -> Any:
        *way, key, new = path
        place = value
        for step in way:
            place = place[step]
        place[key] = new
        return value

    return change


def drop(*path: Any) -> Callable[[Any], Any]:
    def change(value: Any) -> Any:
        *way, key = path
        place = value
        for step in way:
            place = place[step]
        del place[key]
        return value

    return change


def annotation(key: str, new: Any) -> Callable[[Any], Any]:
    return put("annotations", 0, key, new)


def mask(counts: Any, size: Any = (HEIGHT, WIDTH)) -> dict[str, Any]:
    return {"size": list(size), "counts": counts}


def literal(old: str, new: str) -> Callable[[Any], str]:
    """Text in the file's JSON replaced by what a JSON writer would not write."""

    def change(value: Any) -> str:
        text = json.dumps(value)
        assert old in text
        return text.replace(old, new, 1)

    return change


def polygon(*corners: Any) -> Callable[[Any], Any]:
    return annotation("segmentation", [list(corners)])


def many(value: list[Any]) -> list[Any]:
    return [{**value[0], "score": i / 1e5} for i in range(100_000)]


GOOD = json.dumps(truth())
IDS = [("null", None), ("a float", 1.0), ("true", True), ("2^63", 2**63), ("negative", -1), ("text", "1")]

CASES = [
    Case("0 the honest files", "gt", lambda v: v, None),
    Case("0 the honest masks", "segm", lambda v: v, None, "segm"),
    Case("1 not JSON", "gt", "hello", ":1:1: not JSON"),
    Case("1 empty", "gt", b"", ":1:1: empty"),
    Case("1 only blanks", "gt", " \n ", ":1:1: empty"),
    Case("1 BOM", "gt", b"\xef\xbb\xbf" + GOOD.encode(), ":1:1: begins with a byte order mark"),
    Case("1 UTF-16", "gt", GOOD.encode("utf-16"), "byte order mark"),
    Case("1 not UTF-8", "gt", GOOD.replace("cat", "c\n\u00e4t").encode("latin-1"), "not UTF-8"),
    Case("1 trailing text", "gt", GOOD + "\nx", ":2:1: not JSON"),
    Case("1 truncated", "gt", GOOD[:-20], "not JSON here"),
    Case("1 truncated result", "dt", json.dumps(boxes())[:-3], "not JSON here"),
    Case("1 endless escapes", "gt", '"' + '\\"' * 200_000, "not JSON here"),
    Case("2 list", "gt", "[]", "must be an object"),
    Case("2 empty object", "gt", "{}", "has no 'images'"),
    Case("2 null", "gt", "null", "must be an object"),
    Case("2 nested lists", "gt", "[" * 100_000 + "]" * 100_000, "nested 100,000 deep"),
    Case("2 nested objects", "gt", '{"a":' * 100_000 + "1" + "}" * 100_000, "nested 100,000 deep"),
    Case("2 nested result", "dt", "[" * 100_000, "nested 100,000 deep"),
    *(Case(f"3 no {key}", "gt", drop(key), f"has no '{key}'") for key in ("images", "categories", "annotations")),
    Case("3 images is an object", "gt", put("images", {}), "images must be a list"),
    Case("3 an image is text", "gt", put("images", 0, "a"), "images[0]: must be an object"),
    *(
        Case(f"4 {word} {side}", side, literal("4.0", word), word)
        for word in ("NaN", "Infinity", "-Infinity", "1e999")
        for side in ("gt", "dt")
    ),
    Case("5 duplicate key", "gt", literal('"id": 1', '"id": 1, "id": 1'), "'id' stands twice"),
    Case("5 duplicate list", "gt", GOOD[:-1] + ', "images": []}', "'images' stands twice"),
    Case("6 huge integer", "gt", literal("320.0", "9" * 5000), "whole number of 5,000 characters"),
    Case("6 huge integer in an unknown field", "gt", literal('"id": 1', '"x": 1' + "0" * 5000 + ', "id": 1'), "5,001"),
    Case("7 lone surrogate", "gt", literal("\"cat\"", "\"\\ud800\""), "surrogate"),
    Case("7 lone surrogate as a key", "gt", literal('"iscrowd"', '"\\udc00"'), "surrogate"),
    Case("7 whole pair", "gt", literal("\"cat\"", "\"\\ud83d\\udc08\""), None),
    Case("9 duplicate annotation id", "gt", put("annotations", 1, "id", 1), "annotation id 1 stands twice"),
    Case("10 annotation id 0", "gt", annotation("id", 0), None),
    Case("11 duplicate image id", "gt", put("images", 1, "id", 1), "image id 1 stands twice"),
    Case("11 duplicate category id", "gt", put("categories", 1, "id", 1), "category id 1 stands twice"),
    Case("11 duplicate file name", "gt", put("images", 1, "file_name", "a.jpg"), "file_name 'a.jpg' stands twice"),
    Case("11 same file, spelt otherwise", "gt", put("images", 1, "file_name", "./a.jpg"), "stands twice"),
    Case("12 unknown image", "gt", annotation("image_id", 9), "annotations[0]: image_id 9 is not in images"),
    Case("12 unknown category", "gt", annotation("category_id", 9), "category_id 9 is not in categories"),
    Case("13 result of unknown category", "dt", put(1, "category_id", 9), "results[1]: category_id 9"),
    Case("13 result of unknown image", "dt", put(1, "image_id", 9), "results[1]: image_id 9"),
    Case("13 result image as text", "dt", put(1, "image_id", "1"), "results[1]: image_id"),
    *(Case(f"15 annotation id {n}", "gt", annotation("id", v), "annotations[0]: id must be") for n, v in IDS),
    *(Case(f"14, 15 image id {n}", "gt", put("images", 0, "id", v), "images[0]: id must be") for n, v in IDS),
    *(Case(f"15 category id {n}", "gt", put("categories", 0, "id", v), "categories[0]: id") for n, v in IDS),
    Case("15 2^53 - 1 is an id", "gt", annotation("id", 2**53 - 1), None),
    *(Case(f"16 no {k}", "gt", drop("annotations", 0, k), f"has no '{k}'") for k in ("id", "bbox", "image_id")),
    *(Case(f"16 no {k}: taken as documented", "gt", drop("annotations", 0, k), None) for k in ("area", "iscrowd")),
    Case("17 area negative", "gt", annotation("area", -1), "area is negative"),
    Case("17 area text", "gt", annotation("area", "1"), "area must be a number"),
    Case("17 area null", "gt", annotation("area", None), "area must be a number"),
    *(Case(f"18 iscrowd {v!r}", "gt", annotation("iscrowd", v), "must be 0 or 1") for v in ("0", 2, True, 0.0, -1)),
    *(
        Case(f"19 bbox {v} {side}", side, put(*way, v), says)
        for side, way in (("gt", ("annotations", 0, "bbox")), ("dt", (0, "bbox")))
        for v, says in (
            ([1, 2, 3], "bbox must be"), ([1, 2, 3, 4, 5], "bbox must be"), (["1", 2, 3, 4], "must be a number"),
            ([], "bbox must be"), (None, "bbox must be"), ([1, 2, -3, 4], "negative"), ([1, 2, 3, -4], "negative"),
            ([1, 2, 1e300, 1], "far outside"), ([-1e300, 2, 3, 4], "far outside"), ({"x": 1}, "bbox must be"),
            ([1, 2, True, 4], "must be a number"), ([1, 2, 10**19, 4], "far outside"),
        )
    ),
    Case("20 bbox over the edge", "gt", annotation("bbox", [50, 40, 30, 30]), None),
    Case("20 result box outside", "dt", put(0, "bbox", [70, 50, 5, 5]), None),
    *(
        Case(f"21 score {v!r}", "dt", put(0, "score", v), "results[0]: score")
        for v in (None, "0.9", -0.1, 1.1, True, [], 10**19)
    ),
    Case("21 score missing", "dt", drop(0, "score"), "has no 'score'"),
    Case("21 score NaN", "dt", literal("0.9", "NaN"), "NaN is not JSON"),
    Case("22 empty result", "dt", lambda v: [], None),
    Case("23 result is an object", "dt", lambda v: {"results": v}, "results must be a list"),
    Case("24 boxes and masks mixed", "dt", lambda v: [v[0], masks()[1]], "results[1]: has other fields"),
    Case("24 neither box nor mask", "dt", drop(0, "bbox"), "neither 'bbox' nor"),
    Case("24 boxes as masks", "dt", lambda v: boxes(), "has no 'segmentation'", "segm"),
    Case("25 100,000 results of an image", "dt", many, None),
    *(Case(f"26 image without {k}", "gt", drop("images", 0, k), f"has no '{k}'") for k in ("width", "height")),
    *(Case(f"26 width {v!r}", "gt", put("images", 0, "width", v), "width must be") for v in (0, -1, 1.5, "64", None)),
    *(
        Case(f"{name} {side}", side, put(*way, value), says, "segm")
        for side, way in (("gt", ("annotations", 0, "segmentation")), ("segm", (0, "segmentation")))
        for name, value, says in (
            ("27 runs too short", mask("d01"), "sum to"),
            ("28 no counts", mask(""), "counts"),
            ("28 no counts key", {"size": [HEIGHT, WIDTH]}, "counts"),
            ("29 size 0", mask("d01", (0, 0)), "size"),
            ("29 size of text", mask("d01", ("48", "64")), "size"),
            ("29 size of one", mask("d01", (48,)), "size"),
            ("30 not ASCII", mask("d0\u00e91"), "ASCII"),
            ("30 outside the alphabet", mask("d0\u007f1"), "outside"),
            ("30 ends in a run", mask("d0o"), "middle of a run"),
            ("34 size of another image", mask([HEIGHT * WIDTH], (WIDTH, HEIGHT)), "e"),
            ("35 overlong runs", mask("d0" + "oooooooooo0"), "run"),
            ("35 run over the image", mask("PPPPPPP0"), "run"),
            ("36 counts of floats", mask([100.0, HEIGHT * WIDTH - 100.0]), "e"),
            ("36 counts of text", mask(["100", "2972"]), "e"),
            ("37 over 2^32 pixels", mask("d01", (70_000, 70_000)), "e"),
            ("33 true", True, "segmentation"),
            ("33 text", "abc", "segmentation"),
        )
    ),
    Case("27 short runs, boxes scored", "gt", annotation("segmentation", mask("d01")), "sum to"),
    Case("31 crowd counts short", "gt", put("annotations", 2, "segmentation", mask([100, 50])), "sum to", "segm"),
    Case("31 crowd counts negative", "gt", put("annotations", 2, "segmentation", mask([-1, 3073])), "run", "segm"),
    *(Case(f"32 corner {v}", "gt", polygon(v, 4, 24, 4, 24, 20), "far", "segm") for v in (1e9, 1e300, -1e9, 10**19)),
    Case("32 corner inf", "gt", literal("[[4, 4, 24", "[[Infinity, 4, 24"), "Infinity", "segm"),
    Case("32 corner 1e999", "gt", literal("[[4, 4, 24", "[[1e999, 4, 24"), "too large", "segm"),
    Case("32 boxes scored", "gt", polygon(1e9, 4, 24, 4, 24, 20), "far outside"),
    *(Case(f"33 polygon of {n}", "gt", polygon(*range(n)), "at least 3 corners", "segm") for n in (0, 2, 4, 7)),
    Case("33 polygon of text", "gt", polygon("4", 4, 24, 4, 24, 20), "must be a number", "segm"),
    Case("33 polygon of true", "gt", polygon(True, 4, 24, 4, 24, 20), "must be a number", "segm"),
    Case("33 flat polygon", "gt", annotation("segmentation", [4, 4, 24, 4, 24, 20]), "at least 3 corners", "segm"),
    Case("33 no polygons, masks scored", "gt", annotation("segmentation", []), "annotations[0] has no mask", "segm"),
    Case("33 no polygons, boxes scored", "gt", annotation("segmentation", []), None),
    Case("33 null, masks scored", "gt", annotation("segmentation", None), "annotations[0] has no mask", "segm"),
    Case("33 null, boxes scored", "gt", annotation("segmentation", None), None),
    *(Case(f"33 a result's {v}", "dt", put(0, "segmentation", v), None) for v in (None, [])),
    *(Case(f"33 {v}, masks scored", "segm", put(0, "segmentation", v), "neither", "segm") for v in (None, [])),
    Case("36 uncompressed result", "segm", put(0, "segmentation", EMPTY_RLE), "compressed counts", "segm"),
    Case("36 polygon as a result", "segm", put(0, "segmentation", [[4, 4, 24, 4, 24, 20]]), "compressed", "segm"),
    Case("37 image over 2^31 pixels", "gt", put("images", 0, {"id": 1, "width": 70_000, "height": 70_000}), "pixels"),
    *(
        Case(f"39 file_name {v!r}", "gt", put("images", 0, "file_name", v), "images[0]: file_name")
        for v in ("../a.jpg", "/etc/passwd", "a\0.jpg", "a\nb.jpg", "", " ", "x/../../a", "..", ".", "c:\\a", 3, None)
    ),
    Case("40 duplicate name", "gt", put("categories", 1, "name", "cat"), "category name 'cat' stands twice"),
    *(Case(f"40 name {v!r}", "gt", put("categories", 0, "name", v), "[0]: name") for v in ("", "  ", None, 3, "a\nb")),
    Case("40 name with a comma", "gt", put("categories", 0, "name", "cat, small"), None),
    Case("41 no truth", "gt", put("annotations", []), "nothing to score"),
    Case("41 only crowds", "gt", lambda v: {**v, "annotations": v["annotations"][2:]}, "nothing to score"),
    Case("41 no images", "gt", lambda v: {**v, "images": [], "annotations": []}, "image_id 1 is not in the truth"),
    Case("41 other images", "dt", lambda v: [{**row, "image_id": 7} for row in v], "image_id 7 is not in the truth"),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Each case run in a process of its own, forked from one that has the imports done."""
    folder = tmp_path_factory.mktemp("bad")
    jobs = []
    for number, case in enumerate(CASES):
        files = {"gt": truth(), "dt": masks() if "segm" in (case.side, case.iou_type) else boxes()}
        side = "gt" if case.side == "gt" else "dt"
        files[side] = case.change(copy.deepcopy(files[side])) if callable(case.change) else case.change
        paths = []
        for name, content in files.items():
            path = folder / f"{number}-{name}.json"
            text = content if isinstance(content, (str, bytes)) else json.dumps(content)
            path.write_bytes(text.encode() if isinstance(text, str) else text)
            paths.append(str(path))
        jobs.append([case.name, *paths, case.iou_type])
    program = [sys.executable, str(CHILD), str(folder)]
    answer = subprocess.run(program, input=json.dumps([sys.path, jobs]), capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_file_costs_one_line(outcomes: dict[str, dict[str, Any]], case: Case) -> None:
    """No traceback, no signal, no hang; a refusal is one line that names the file, a report never says -1."""
    outcome = outcomes[case.name]
    assert outcome["status"] == (0 if case.says is None else 2), outcome
    assert "Traceback" not in outcome["stderr"]
    if case.says is None:
        assert "-1" not in outcome["stdout"]
        return
    assert outcome["stdout"] == ""
    message = outcome["stderr"].strip()
    assert case.says in message
    assert ".json" in message
    assert "\n" not in message
    assert " 0x" not in message
    assert len(message) <= 240


def test_names_of_cases_are_unique() -> None:
    """No case hides another one's outcome."""
    assert len({case.name for case in CASES}) == len(CASES)


def test_too_large_a_file_is_refused_at_once(tmp_path: Path) -> None:
    """8: a file over the limit is refused by its size, before a byte is read."""
    from chiasm.strict_json import read_json
    from chiasm_registry.errors import InputError

    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(2 * 2**30)
    started = time.perf_counter()
    with pytest.raises(InputError, match=r"large\.json.*the limit is"):
        read_json(path)
    assert time.perf_counter() - started < 1.0


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A missing file, a folder and a pipe are refused, and the pipe does not hold us."""
    import os

    from chiasm.strict_json import read_json
    from chiasm_registry.errors import InputError

    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "pipe", Path("a\0b")):
        with pytest.raises(InputError, match="file"):
            read_json(path)


def test_no_mutant_of_a_mask_gets_through_wrong() -> None:
    """Of 300 mutants of one valid code each is refused, or is a mask that our coder writes anew."""
    import random

    import numpy as np
    from chiasm.evaluate.segments import own_rle
    from chiasm_registry.errors import InputError
    from chiasm_registry.rle import mask_to_rle, rle_to_mask

    rng = random.Random(0)
    honest = dict(mask_to_rle(np.random.default_rng(0).random((16, 16)) > 0.5))
    for _ in range(300):
        counts = list(honest["counts"])
        counts[rng.randrange(len(counts))] = chr(rng.randrange(128))
        counts = counts[: rng.randint(1, len(counts))] + [chr(rng.randrange(128))] * rng.randint(0, 3)
        try:
            own = own_rle({"size": [16, 16], "counts": "".join(counts)}, (16, 16))
        except InputError:
            continue
        assert own == mask_to_rle(rle_to_mask(own))
