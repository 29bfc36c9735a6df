"""Training requests: names to the letter, truthful answers, endless wordings, quick."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from importlib.resources import files
from itertools import chain
from pathlib import Path

import pytest
from chiasm.routing.echo import Echo
from chiasm.train.data import Record
from chiasm.train.language import lines, phrasings, table
from chiasm.train.mix import Mix
from chiasm.train.plain import clean
from chiasm.train.requests import ECHOES, Composer, Request, Routed
from chiasm.train.texts import language_texts
from chiasm.train.words import Words, article, pluralise, pseudo_word
from chiasm_registry import Output, TaskSpec, TrainingError
from chiasm_registry.contract import SampleObject
from pace import fastest

NAMES = tuple(table("names.yaml")["same"])
FIND = TaskSpec(name="spot", token="[SPOT]", embeddings=1, output=Output, summary="finds", phrasings=("Find {names}.",))
OUTLINE = TaskSpec(
    name="outline", token="[EDGE]", embeddings=1, output=Output, summary="outlines", after=("spot",),
    phrasings=("Outline {names}.", "What is the (shape|edge) of {names}?"),
)  # fmt: skip
PAINT = TaskSpec(
    name="paint", token="[PAINT]", embeddings=1, output=Output, summary="paints", needs_image=False,
    phrasings=("Paint {names}.",),
)  # fmt: skip
KINDS = ("guided", "find", "everything", "caption", "count", "yes_no", "question")


def record(*names: str, captions: tuple[str, ...] = (), labelled: frozenset[str] | None = None) -> Record:
    """A photograph with one object a name, each smaller than the one before."""
    objects = tuple(SampleObject(name, (0.0, 0.0, 90.0 - at, 90.0 - at)) for at, name in enumerate(names))
    return Record("1", Path("1.png"), (100, 100), objects, captions, labelled)


STREET = record("bus", "person", "person", "dog", captions=("A red bus on a street at night.", "A dog on the street."))
KITCHEN = record("oven", "sink", "cup", "bottle", captions=("A man cooking in a kitchen.", "A kitchen with an oven"))
RECORDS = [STREET, KITCHEN, record("car", "truck", "traffic light"), record("cat", "couch", "tv"), record()]


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer(NAMES, RECORDS, tasks=[FIND])


def routed(request: Request) -> list[Routed]:
    return [part for part in request.answer if isinstance(part, Routed)]


def text(request: Request) -> str:
    return "".join(part if isinstance(part, str) else part.phrase for part in request.answer)


def many(composer: Composer, kind: str | None, count: int = 400, photo: Record | None = None) -> list[Request]:
    rng = random.Random(7)
    photos = [photo] if photo else RECORDS
    return [composer.compose(shot, shot.objects, rng, kind) for _ in range(count // len(photos)) for shot in photos]


def test_every_found_name_stands_in_the_prompt_to_the_letter_and_in_order(composer: Composer) -> None:
    for request in many(composer, "find", 2000):
        assert request.prompt is not None
        at = 0
        for item in routed(request):
            at = request.prompt.index(item.phrase, at) + len(item.phrase)
        assert 1 <= len(routed(request)) <= 6


@pytest.mark.parametrize("kind", ["find", "task", "refer"])
def test_what_an_answer_says_back_is_what_decoding_lets_it_say(kind: str) -> None:
    """Every phrase behind one of `ECHOES` is a row of words of its request, as `Echo` reads them."""
    for request in many(Composer(NAMES, RECORDS, tasks=[FIND, OUTLINE, PAINT]), kind, 1000):
        if request.prompt is not None:
            assert str(request.answer[0]).strip() in ECHOES
            spans = Echo((request.prompt,), lambda words: tuple(map(ord, words))).spans
            assert all(tuple(map(ord, item.phrase)) in spans for item in routed(request))


def test_a_request_to_find_has_one_answer_style(composer: Composer) -> None:
    for request in many(composer, "find"):
        assert re.fullmatch(r"I looked for .+\.", text(request), re.DOTALL)
        gaps = [part for part in request.answer[1:-1] if isinstance(part, str)]
        assert set(gaps[:-1]) <= {", "}
        assert gaps[-1:] in ([], [" and "])


def test_routes_mean_exactly_the_objects_of_their_categories(composer: Composer) -> None:
    for request in many(composer, "find", 1000, STREET) + many(composer, "guided", 300, STREET):
        for item in routed(request):
            assert item.matches == tuple(at for at, thing in enumerate(STREET.objects) if thing.name in item.meaning)


def test_synonyms_plurals_and_unions_mean_their_categories(composer: Composer) -> None:
    seen = {
        item.phrase.lower(): item.matches
        for item in chain.from_iterable(map(routed, many(composer, "guided", 3000, STREET)))
    }
    assert seen["dogs"] == seen["doggy"] == (3,)
    assert seen["people"] == (1, 2)
    assert seen["animal"] == (3,)
    assert seen["vehicle"] == (0,)
    assert seen["sofa"] == ()


def test_what_is_not_labelled_is_never_asked(composer: Composer) -> None:
    partial = record("bus", "dog", labelled=frozenset({"bus", "cat"}))
    for kind in ("guided", "find", "count", "yes_no"):
        for request in many(composer, kind, 150, partial):
            assert all(set(item.meaning) <= {"bus", "cat"} for item in routed(request))
    assert {r.kind for r in many(composer, None, 300, partial)}.isdisjoint({"everything"})


def test_a_noun_of_the_captions_is_not_asked_as_absent(composer: Composer) -> None:
    shot = record("person", captions=("A man plays a violin beside a dragon.",))
    asked = {item.phrase.lower() for request in many(composer, "find", 3000, shot) for item in routed(request)}
    assert not asked & {"violin", "violins", "dragon", "dragons"}
    assert asked & {"banjo", "cello", "harp", "lute"}


def test_open_unions_never_count_as_absent(composer: Composer) -> None:
    asked = {item.phrase.lower() for request in many(composer, "find", 2000, STREET) for item in routed(request)}
    assert not asked & {"fruit", "fruits", "food", "bag", "bags", "cutlery"}


def test_anything_may_be_asked_for_and_is_not_judged() -> None:
    """Words that nobody labels are said back and routed like all others; what is known of the others stays known."""
    some = Composer(NAMES, RECORDS, Mix(unlabelled=0.5), tasks=[FIND, OUTLINE])
    things = {text for word in some.words.things for text in (word.text, word.plural)}
    for kind in ("find", "task"):
        asked = [item for request in many(some, kind, 1500, STREET) for item in routed(request)]
        unjudged = [item for item in asked if not item.judged]
        assert 0.4 < len(unjudged) / len(asked) < 0.6
        assert all(item.matches == item.meaning == () and item.tasks for item in unjudged)
        phrases = {item.phrase.lower() for item in unjudged}
        assert len(phrases & things) > 300
        assert len(phrases - things) > 100  # two words that nobody has put together, and words that are no things
        assert not phrases & some.words.meant
        assert any(item.matches for item in asked)
    for kind in ("guided", "count", "yes_no", "everything"):
        assert all(item.judged for request in many(some, kind, 300, STREET) for item in routed(request))


def test_what_may_be_there_unlabelled_is_never_said_to_be_absent(composer: Composer) -> None:
    for request in many(composer, "find", 1000, STREET):
        assert all(item.judged for item in routed(request))


def test_plain_questions_are_about_anything_too() -> None:
    some = Composer(NAMES, RECORDS, Mix(unlabelled=1.0, question=1.0), tasks=[FIND])
    prompts = " ".join(str(request.prompt).lower() for request in many(some, "question", 3000, STREET))
    assert len([word for word in some.words.things if re.search(rf"\b{re.escape(word.text)}\b", prompts)]) > 300


def test_everything_may_propose_more_than_there_is() -> None:
    """Behind what is there stand likely names that are not, without objects, always as many: a list that has an end."""
    composer = Composer(NAMES, RECORDS, Mix(everything_more=2), tasks=[FIND])
    extra = []
    for request in many(composer, "everything", 300, STREET):
        names = [item.phrase for item in routed(request)]
        assert names[:3] == ["bus", "person", "dog"]
        assert len(set(names)) == len(names)
        assert not any(item.matches for item in routed(request)[3:])
        extra.append(len(names) - 3)
    assert set(extra) <= {1, 2}
    assert sum(extra) > 1.9 * len(extra)


def test_everything_names_each_category_once_the_largest_first(composer: Composer) -> None:
    request = composer.compose(STREET, STREET.objects, random.Random(0), "everything")
    assert [item.phrase for item in routed(request)] == ["bus", "person", "dog"]
    assert text(request) == "I see bus, person and dog."
    empty = composer.compose(record(), (), random.Random(0), "everything")
    assert empty.answer == ("I see nothing that I know.",)


def test_guided_gives_different_phrases_as_many_as_branches() -> None:
    composer = Composer(NAMES, RECORDS, Mix(), branches=9, tasks=[FIND])
    for request in many(composer, "guided", 100):
        phrases = [item.phrase for item in routed(request)]
        assert request.prompt is None
        assert len(phrases) == len(set(phrases)) == 9 == len(request.answer)


@pytest.mark.parametrize("kind", ["caption", "count", "yes_no", "question"])
def test_plain_requests_route_nothing_and_leave_no_slot_open(composer: Composer, kind: str) -> None:
    for request in many(composer, kind, 1500, STREET):
        assert request.kind == kind
        assert not routed(request)
        assert request.prompt
        assert not re.search(r"[{}]|\(\w+\|", request.prompt), request.prompt
        assert text(request).endswith(".")


def test_counts_are_true(composer: Composer) -> None:
    answers = {text(request).lower() for request in many(composer, "count", 2000, STREET)}
    assert {"there are 2 persons.", "there is one bus.", "there are no cats."} <= answers
    assert not {"there are 2 buses.", "there is one cat.", "there is one person."} & answers


def test_a_crowd_is_not_counted(composer: Composer) -> None:
    shot = record("person", "dog")
    crowd = (replace(shot.objects[0], crowd=True), shot.objects[1])
    rng = random.Random(0)
    prompts = [composer.compose(shot, crowd, rng, "count").prompt or "" for _ in range(500)]
    assert not any(re.search(r"\b(persons?|people|humans?)\b", prompt.lower()) for prompt in prompts)


def test_yes_and_no_are_true(composer: Composer) -> None:
    answers = {text(request).lower() for request in many(composer, "yes_no", 2000, STREET)}
    assert {"yes, there is a dog.", "yes, there are dogs.", "no, there is no car."} <= answers
    assert not {"no, there is no dog.", "no, there are no buses.", "yes, there is a car."} & answers


def test_questions_about_the_picture_are_answered_from_the_captions(composer: Composer) -> None:
    answers = {text(request) for request in many(composer, "question", 4000, STREET)}
    assert {"The bus is red.", "It is night.", "It is outdoors."} <= answers


def test_control_strings_are_asked_about_as_plain_text(composer: Composer) -> None:
    prompts = " ".join(request.prompt or "" for request in many(composer, "question", 3000))
    assert all(mark in prompts for mark in ("[DET]", "<IMG_CONTEXT>", "<|im_end|>", "<ref>"))


def test_held_out_words_are_in_no_request(composer: Composer) -> None:
    held = re.compile(r"\b(" + "|".join(map(re.escape, lines("heldout.txt"))) + r")s?\b", re.IGNORECASE)
    shots = [record(*shot_names) for shot_names in (("bus", "dog"), ("cat",))]  # captions are the user's own
    anything = Composer(NAMES, RECORDS, Mix(unlabelled=0.5), tasks=[FIND])
    for shot, some in zip(shots * 2, (composer, composer, anything, anything), strict=True):
        for request in many(some, None, 4000, shot):
            parts = [part if isinstance(part, str) else part.phrase for part in request.answer]
            assert not held.search("\n".join([request.prompt or "", *parts]))
    assert not any(held.search(example) for example in language_texts())


def test_there_are_many_phrasings_of_each_kind() -> None:
    groups = table("find.yaml").keys() - {"verbs", "here", "before", "after", "after_find"}
    assert sum(len(phrasings("find.yaml", group)) for group in groups) >= 200
    assert len(table("find.yaml")["verbs"]) >= 80
    assert len(phrasings("everything.yaml", "ask")) >= 60
    assert len(phrasings("caption.yaml", "ask")) >= 40
    assert len(phrasings("count.yaml", "ask")) >= 30
    assert len(lines("nouns.txt")) >= 600
    assert len(lines("heldout.txt")) >= 60


def test_requests_hardly_ever_repeat(composer: Composer) -> None:
    prompts = [request.prompt for request in many(composer, "find", 2000)]
    assert len(set(prompts)) > 0.97 * len(prompts)
    assert len({request.prompt for request in many(composer, "question", 2000)}) > 1200


def test_the_same_seed_gives_the_same_requests(composer: Composer) -> None:
    assert many(composer, None, 100) == many(composer, None, 100)


def test_every_kind_is_drawn(composer: Composer) -> None:
    assert {request.kind for request in many(composer, None, 600, STREET)} == set(KINDS)


def test_a_task_is_asked_in_its_own_words_and_routed_behind_those_it_comes_after() -> None:
    composer = Composer(NAMES, RECORDS, Mix(task=1.0, task_guided=0.0), tasks=[FIND, OUTLINE, PAINT])
    requests = many(composer, "task", 300)
    assert {request.image for request in requests} == {True, False}
    for request in requests:
        assert request.prompt is not None
        chain = ("spot", "outline") if request.image else ("paint",)
        assert {item.tasks for item in routed(request)} == {chain}
        assert all(item.phrase in request.prompt for item in routed(request))
        assert request.image or len(routed(request)) == 1
    assert {item.tasks for request in many(composer, "find") for item in routed(request)} == {("spot",)}
    chains = {item.tasks for request in many(composer, "guided") for item in routed(request)}
    assert chains == {("spot",), ("outline",), ("spot", "outline")}


def test_a_task_without_an_image_is_also_asked_by_the_phrase_alone() -> None:
    """As `Model.run` asks it: "a red bus", and no sentence round it."""
    requests = many(Composer(NAMES, RECORDS, Mix(task_guided=1.0), tasks=[FIND, PAINT]), "task", 100)
    assert {(request.prompt, request.image, len(request.answer)) for request in requests} == {(None, False, 1)}
    phrases = {item.phrase for request in requests for item in routed(request)}
    assert {phrase.startswith(("a ", "an ")) for phrase in phrases} == {True, False}
    red = [
        item
        for request in many(Composer(NAMES, RECORDS, Mix(dressed=1.0), tasks=[PAINT]), "task", 600)
        for item in routed(request)
        if item.phrase.lower().startswith(("red ", "a red "))
    ]
    assert red
    assert all(item.meaning for item in red if item.phrase.lower().endswith(("dog", "bus")))


def test_what_is_asked_without_an_image_mentions_none() -> None:
    """No "paint a dog in this photo", no "boxes only"."""
    requests = many(Composer(NAMES, RECORDS, Mix(task_guided=0.0), tasks=[FIND, PAINT]), "task", 600)
    said = " ".join((request.prompt or "").lower() for request in requests)
    assert not [word for word in ("in the picture", "in this", "boxes", "do not miss") if f" {word} " in said]


def test_what_needs_no_image_is_also_asked_beside_one() -> None:
    """As people do in the middle of a conversation about a picture."""
    composer = Composer(NAMES, RECORDS, Mix(task_guided=0.0, task_beside=0.5), tasks=[FIND, PAINT])
    requests = many(composer, "task", 200)
    assert {request.image for request in requests} == {True, False}
    assert {item.tasks for request in requests for item in routed(request)} == {("paint",)}


def test_without_a_task_that_finds_requests_are_in_the_words_of_the_others() -> None:
    composer = Composer(NAMES, RECORDS, tasks=[OUTLINE])
    for kind in ("find", "everything", "task"):
        assert {item.tasks for request in many(composer, kind, 60) for item in routed(request)} == {("outline",)}


def test_a_phrasing_without_a_place_for_names_is_refused() -> None:
    spec = OUTLINE.model_copy(update={"phrasings": ("Outline it.",)})
    composer = Composer(NAMES, RECORDS, tasks=[spec])
    with pytest.raises(TrainingError, match=r"task outline: phrasing Outline it\. needs one \{names\}"):
        many(composer, "task", 5)


def test_some_plain_questions_are_asked_without_the_image(composer: Composer) -> None:
    blind = [request.image for request in many(composer, "question", 1000)]
    assert 0.05 < blind.count(False) / len(blind) < 0.16


def test_without_captions_nothing_is_captioned(composer: Composer) -> None:
    assert composer.compose(record("dog"), (), random.Random(0), "caption").kind == "find"


def test_categories_of_other_data_sets_need_no_entry() -> None:
    composer = Composer(("left shoe", "violin", "fuse box"), [record("violin")], tasks=[FIND])
    asked = {item.phrase for request in many(composer, "guided", 200, record("violin")) for item in routed(request)}
    assert {"left shoe", "left shoes", "violins", "fuse boxes"} <= asked
    assert "violin" in asked


def test_a_request_is_composed_in_far_less_than_a_millisecond(composer: Composer) -> None:
    assert fastest(lambda: many(composer, None, 500)) / 500 < 1e-3


PAIRS = [
    ("knife", "knives"),
    ("person", "persons"),
    ("wine glass", "wine glasses"),
    ("baseball mitt", "baseball mitts"),
    ("sheep", "sheep"),
    ("couch", "couches"),
    ("teddy", "teddies"),
    ("toy", "toys"),
    ("computer mouse", "computer mice"),
]
ARTICLES = {"an": ("apple", "umbrella", "X-wing", "hourglass", "MP3 player"), "a": ("dog", "UFO", "unicycle", "TV")}


@pytest.mark.parametrize(("one", "several"), PAIRS)
def test_plurals(one: str, several: str) -> None:
    assert pluralise(one) == several


@pytest.mark.parametrize(("expected", "word"), [(one, word) for one, words in ARTICLES.items() for word in words])
def test_articles_follow_the_sound(expected: str, word: str) -> None:
    assert article(word) == expected


def test_captions_become_one_clean_sentence() -> None:
    assert clean("  a dog  on a\nbench . ") == "A dog on a bench."
    assert clean("A man runs. The dog sleeps") == "A man runs."


def test_inventions_are_none_of_the_known_words() -> None:
    words, rng = Words(NAMES), random.Random(0)
    assert all(len(pseudo_word(rng)) >= 3 for _ in range(500))
    assert not {words.invented(rng).text.lower() for _ in range(3000)} & words.taken


YAML_FILES = sorted(entry.name for entry in files("chiasm.train.language").iterdir() if entry.name.endswith(".yaml"))


@pytest.mark.parametrize("name", YAML_FILES)
def test_packaged_words_are_text(name: str) -> None:
    def leaves(value: object) -> list[object]:
        if isinstance(value, dict):
            return [leaf for pair in value.items() for part in pair for leaf in leaves(part)]
        return [leaf for part in value for leaf in leaves(part)] if isinstance(value, list) else [value]

    wrong = [leaf for leaf in leaves(table(name)) if type(leaf) not in (str, int) and leaf is not True]
    assert wrong == []
