"""What free evaluation asks: seeded by image, some names absent, phrasings that no training file holds."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
from chiasm.evaluate.coco import CocoSet, read_coco
from chiasm.evaluate.names import NameMatcher
from chiasm.evaluate.phrasings import PACKAGED, joined, read_phrasings
from chiasm.evaluate.requests import Asker, names_in_images
from chiasm_registry.errors import InputError


@pytest.fixture
def truth(drawn: Any, written: Any) -> CocoSet:
    return read_coco(written("gt.json", drawn(seed=5, images=40)[0]))


def test_requests_hang_on_the_image_alone(truth: CocoSet) -> None:
    """The same image gets the same questions in any order and in a smaller set."""
    phrasings = read_phrasings()
    one, two = Asker(truth, phrasings), Asker(truth, phrasings)
    ids = [image.id for image in truth.images]
    forwards = {i: (one.names(i), one.everything(i)) for i in ids}
    backwards = {i: (two.names(i), two.everything(i)) for i in reversed(ids)}
    assert forwards == backwards


def test_some_names_are_there_and_some_are_not(truth: CocoSet) -> None:
    """Two to five names, at least one absent, at least one present where the image has any, crowds never."""
    asker, inside = Asker(truth, read_phrasings()), names_in_images(truth)
    asks = {image.id: asker.names(image.id) for image in truth.images}
    for image_id, ask in asks.items():
        names = set(ask.names)
        assert 2 <= len(ask.names) == len(names) <= 5
        assert names <= inside[image_id].present | inside[image_id].absent
        assert names & inside[image_id].absent
        assert names & inside[image_id].present or not inside[image_id].present
        assert all(name in ask.prompt for name in names)
    assert 5 < sum(ask.likely for ask in asks.values()) < 35


def test_likely_names_stand_with_what_is_there(written: Any) -> None:
    """A co-occurring name is drawn before one that never stands with what is present."""
    names = ["fork", "knife", *(f"other {i}" for i in range(30))]
    images = [{"id": i, "width": 9, "height": 9} for i in range(40)]
    row = {"bbox": [0, 0, 5, 5], "area": 25, "iscrowd": 0}
    rows = [{**row, "id": i, "image_id": i, "category_id": 0} for i in range(40)]
    rows += [{**row, "id": 100 + i, "image_id": i, "category_id": 1} for i in range(20)]
    value = {"images": images, "annotations": rows, "categories": [{"id": i, "name": n} for i, n in enumerate(names)]}
    asker = Asker(read_coco(written("gt.json", value)), read_phrasings())
    likely = [ask for ask in map(asker.names, range(20, 40)) if ask.likely]
    assert likely
    assert all("knife" in ask.names for ask in likely)


def test_every_packaged_phrasing_can_be_asked() -> None:
    """The packaged file has forty questions for names and fifteen for everything, none twice, no slot left open."""
    phrasings = read_phrasings()
    assert len(phrasings.find) >= 40
    assert len(phrasings.everything) >= 15
    assert len({text for _, text in phrasings.find}) == len(phrasings.find)
    assert not any("{" in phrasings.asking(("cat", "dog"), Random(seed)) for seed in range(200))


def test_the_packaged_phrasings_are_held_out() -> None:
    """No training file has one of them, whatever its slots are called."""
    folder = PACKAGED.parent.parent / "train"
    trained = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.yaml")))

    def bare(text: str) -> str:
        return " ".join(re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " slot ", text.casefold())))

    lines = {bare(line.strip().lstrip("-").strip(" \"'")) for line in trained.splitlines()}
    phrasings = read_phrasings()
    for text in [text for _, text in phrasings.find] + list(phrasings.everything):
        assert bare(text) not in lines, text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "needs at least one line"),
        ("find: Where?", "exactly once"),
        ("find: {names} and {names}", "exactly once"),
        ("all: {names}", "nowhere"),
        ("count: How many {names}?", ":1: must begin with"),
        ("find: {names}\nhello", ":2: must begin with"),
        ("find: {names}", "needs at least one line"),
    ],
)
def test_a_bad_file_of_phrasings_names_its_line(tmp_path: Path, text: str, says: str) -> None:
    """Own phrasings are checked before any work."""
    (tmp_path / "prompts.txt").write_text(text)
    with pytest.raises(InputError, match=re.escape(says)):
        read_phrasings(tmp_path / "prompts.txt")


def test_own_phrasings_are_used(tmp_path: Path) -> None:
    """A file given by the caller replaces the packaged one."""
    (tmp_path / "prompts.txt").write_text("# mine\nfind: seek {names}!\nall: list it\n")
    phrasings = read_phrasings(tmp_path / "prompts.txt")
    assert phrasings.asking(("cat",), Random(0)) == "seek cat!"
    assert phrasings.everything == ("list it",)


def test_names_are_joined_as_people_do() -> None:
    """Commas, "and", both; "or" where the question wants it."""
    said = {joined(("a", "b", "c"), "and", Random(seed)) for seed in range(50)}
    assert said == {"a, b and c", "a, b, c", "a and b and c"}
    assert joined(("a", "b"), "or", Random(0)) == "a or b"


@pytest.mark.parametrize(
    ("phrase", "name"),
    [
        ("Dogs", "dog"), ("a cat", "cat"), ("skis", "skis"), ("ski", "skis"), ("knives", "knife"), ("people", "person"),
        ("Potted Plants", "potted plant"), ("buses", "bus"), ("sofa", "couch"), ("sofas", "couch"), ("unicorn", None),
        ("", None), ("s", None), ("mice", "mouse"), ("TV", "tv"), ("cat.", "cat"),
    ],
)
def test_a_phrase_finds_its_category(phrase: str, name: str | None) -> None:
    """Case, articles, plurals and synonyms lead to the category; other words lead nowhere."""
    names = ["person", "cat", "dog", "skis", "knife", "potted plant", "bus", "couch", "mouse", "tv"]
    assert NameMatcher(names, {"couch": ["sofa"]})(phrase) == name


def test_a_name_of_its_own_wins_over_rules() -> None:
    """A file that has both "glass" and "glasses" keeps them apart."""
    match = NameMatcher(["glass", "glasses"])
    assert match("glasses") == "glasses"
    assert match("glass") == "glass"


def test_a_category_s_own_spelling_wins() -> None:
    match = NameMatcher(["Orange", "orange"])
    assert (match("orange"), match("Orange"), match("ORANGE")) == ("orange", "Orange", "Orange")
