"""The tokenizer: two mouths, stable ids, exact round trips."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from chiasm.text import CONTROL_TOKENS, Tokenizer, build_prompt, load_tokenizer, place_images, train_tokenizer
from chiasm_registry.errors import CheckpointError, ChiasmError, InputError
from hypothesis import given, settings
from hypothesis import strategies as st

TEXTS = ["a brown dog and a black cat sit on the sofa", "what is in the picture?", "find the dog, the cat and the cup."]
SAYABLE = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
BASE = train_tokenizer(TEXTS * 3, 340)
TOKENIZER = BASE.with_tasks(["[DET]", "[SEG]"])


def test_control_tokens_have_the_first_ids_and_routing_tokens_the_ones_behind_the_vocabulary() -> None:
    assert [BASE.id_of(token) for token in CONTROL_TOKENS] == list(range(len(CONTROL_TOKENS)))
    assert (TOKENIZER.id_of("[DET]"), TOKENIZER.id_of("[SEG]")) == (BASE.size, BASE.size + 1)
    assert TOKENIZER.size == BASE.size
    assert TOKENIZER.token_of(BASE.size) == "[DET]"
    assert dict(TOKENIZER.control_ids) == {
        **dict(BASE.control_ids),
        "[DET]": BASE.size,
        "[SEG]": BASE.size + 1,
    }


def test_the_same_texts_train_the_same_vocabulary() -> None:
    assert train_tokenizer(TEXTS * 3, 340).json() == BASE.json()


def test_a_template_piece_becomes_control_ids() -> None:
    ids = TOKENIZER.encode_template("<ref>dog</ref>[DET][SEG]")
    dog = TOKENIZER.encode_user("dog")
    assert ids == [BASE.id_of("<ref>"), *dog, BASE.id_of("</ref>"), BASE.size, BASE.size + 1]


@pytest.mark.parametrize("before", ["", "a ", "(", "… ", "2 "])
def test_a_name_has_the_same_ids_wherever_it_stands(before: str) -> None:
    name = TOKENIZER.encode_user("brown dog")
    in_sentence = TOKENIZER.encode_user(f"{before}brown dog, please")
    start = len(TOKENIZER.encode_user(before))
    assert in_sentence[start : start + len(name)] == name


@settings(max_examples=150, deadline=None)
@given(SAYABLE)
def test_any_unicode_text_comes_back_to_the_letter(text: str) -> None:
    ids = TOKENIZER.encode_user(text)
    assert TOKENIZER.decode(ids) == text
    assert not set(ids) & set(TOKENIZER.control_ids.values())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(sorted(TOKENIZER.control_ids)) | SAYABLE, max_size=6))
def test_no_mixture_of_control_strings_and_words_becomes_a_control_id(parts: list[str]) -> None:
    text = "".join(parts)
    ids = TOKENIZER.encode_user(text)
    assert TOKENIZER.decode(ids) == text
    assert not set(ids) & set(TOKENIZER.control_ids.values())


def test_with_tasks_starts_from_the_base_and_leaves_the_old_tokenizer_alone() -> None:
    other = TOKENIZER.with_tasks(["[GEN]"])
    assert other.id_of("[GEN]") == BASE.size
    assert "[DET]" not in other.control_ids
    assert "[GEN]" not in TOKENIZER.control_ids
    assert TOKENIZER.json() == BASE.json()


@pytest.mark.parametrize("tokens", [["<ref>"], ["a"], ["[DET]", "[DET]"], [""]])
def test_a_routing_token_that_clashes_is_refused(tokens: list[str]) -> None:
    with pytest.raises(ChiasmError, match="the routing token"):
        BASE.with_tasks(tokens)


def test_unknown_tokens_and_ids_are_refused_by_name() -> None:
    with pytest.raises(ChiasmError, match=r"no token '\[GEN\]'"):
        TOKENIZER.id_of("[GEN]")
    with pytest.raises(ChiasmError, match="no id 99999"):
        TOKENIZER.token_of(99_999)
    with pytest.raises(ChiasmError, match="no id -1"):
        TOKENIZER.token_of(-1)


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "a\udfffb"])
def test_what_cannot_be_encoded_is_refused_before_the_library_sees_it(text: str) -> None:
    with pytest.raises(InputError):
        TOKENIZER.encode_user(text)


def test_a_vocabulary_without_room_for_the_bytes_is_refused() -> None:
    with pytest.raises(InputError, match="need 268"):
        train_tokenizer(TEXTS, 267)


def _changed(**change: object) -> str:
    data = json.loads(BASE.json())
    data["added_tokens"][1].update(change)
    return json.dumps(data)


def _quirky(said: object) -> str:
    return json.dumps({**json.loads(BASE.json()), "chiasm": said})


def _split(pattern: object) -> str:
    return json.dumps({**json.loads(BASE.json()), "normalizer": {"type": "Replace", "pattern": {"Regex": pattern}}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no readable list"),
        ("[]", "no readable list"),
        ("{}", "no readable list"),
        ("[" * 100_000, "no readable list"),
        ('{"added_tokens": []}', "damaged"),
        (_changed(special=False), "must be special"),
        (_changed(normalized=True), "must be special"),
        (_changed(id=0), "share one id"),
        (_changed(content="<|endoftext|>"), "share one id"),
        (_changed(id=[]), r"added token '<\|im_start\|>' with the id \[\]; it must be a text with a whole number"),
        (_changed(id="1"), "must be a text with a whole number"),
        (_changed(id=True), "must be a text with a whole number"),
        (_changed(content=[]), r"added token \[\] with the id 1"),
        (_changed(content=5), "must be a text with a whole number"),
        (_quirky(5), "chiasm is 5; it must be an object"),
        (_quirky([]), "chiasm is .*; it must be an object"),
        (_quirky(None), "chiasm is None; it must be an object"),
        (_quirky("x"), "chiasm is 'x'; it must be an object"),
        (_quirky({"plain": 5}), "plain of chiasm is 5; it must be a list of whole numbers"),
        (_quirky({"plain": [[1]]}), "plain of chiasm"),
        (_quirky({"plain": "x"}), "plain of chiasm"),
        (_quirky({"lead": 5}), "lead of chiasm is 5; it must be a text"),
        (_quirky({"no_lead_before": 5}), "no_lead_before of chiasm"),
        (_quirky({"no_lead_before": [5]}), "no_lead_before of chiasm is .*; it must be a list of texts"),
        (_quirky({"aliases": 5}), "aliases of chiasm is 5; it must be an object of texts"),
        (_quirky({"aliases": {"a": 5}}), "aliases of chiasm"),
        (_quirky({"aliases": {"": "a"}}), "aliases of chiasm"),
        (_quirky({"fallback": 5}), "fallback of chiasm is 5; it must be true or false"),
        (_split(["x"]), "unknown pattern"),
    ],
)
def test_a_damaged_or_leaking_tokenizer_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        Tokenizer.from_json(text)
    assert len(str(caught.value)) <= 200
    assert "\n" not in str(caught.value)


def test_truncation_and_padding_of_a_file_never_touch_a_text() -> None:
    from tokenizers import Tokenizer as Engine

    engine = Engine.from_str(BASE.json())
    engine.enable_truncation(2)
    engine.enable_padding(length=50)
    assert Tokenizer.from_json(engine.to_str()).encode_user("a brown dog") == BASE.encode_user("a brown dog")


def test_load_tokenizer_reads_a_folder_and_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no tokenizer\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text(BASE.json(), encoding="utf-8")
    assert load_tokenizer(tmp_path).control_ids == BASE.control_ids
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match="UTF-8"):
        load_tokenizer(tmp_path)
    with pytest.raises(InputError, match="must be a path, not of type int"):
        load_tokenizer(5)  # type: ignore[arg-type]


# the tiny and the real tokenizers whose ids the official code gave; two of them as large as released
SHIPPED = ("internvl2-1b", "internvl2-2b", "internvl2-4b", "internvl2-40b", "internvl2-76b")
REAL = ("tokenizers/internvl2-1b", "tokenizers/internvl2-2b")


@pytest.mark.parametrize("folder", [*SHIPPED, *REAL])
def test_a_shipped_tokenizer_gives_the_official_ids(shared: Path, folder: str) -> None:
    name = folder.replace("tokenizers/", "REAL-")
    golden = json.loads((shared / "golden" / "tokenization.json").read_text(encoding="utf-8"))[name]
    tokenizer = load_tokenizer(shared / "golden" / folder)
    assert tokenizer.size == golden["len"]
    assert len(golden["rows"]) == 45
    for row in golden["rows"]:
        assert tokenizer.encode_template(row["text"]) == row["ids"], row["case"]
    for token, place in golden["special_ids"].items():
        if token in tokenizer.control_ids:
            assert tokenizer.control_ids[token] == place
    with_tasks = tokenizer.with_tasks(["[DET]", "[SEG]"])
    for text in ("[UNUSED_TOKEN_145]", "<|im_end|>", "<IMG_CONTEXT>" * 3, "a</s><s><unk>", "<|end|><|user|>", "[DET]"):
        assert not set(with_tasks.encode_user(text)) & set(with_tasks.control_ids.values()), text
        assert with_tasks.decode(with_tasks.encode_user("x" + text)).strip() == "x" + text
    assert [with_tasks.id_of("[DET]"), with_tasks.id_of("[SEG]")] == [tokenizer.size, tokenizer.size + 1]


@pytest.mark.parametrize("folder", SHIPPED)
def test_prompts_joined_of_pieces_are_the_official_ids(shared: Path, folder: str) -> None:
    """Words of the user are encoded apart from control tokens, and yet become what the whole prompt becomes."""
    tokenizer = load_tokenizer(shared / "golden" / folder)
    prompts = json.loads((shared / "golden" / "prompts.json").read_text(encoding="utf-8"))
    golden = json.loads((shared / "golden" / "tokenization.json").read_text(encoding="utf-8"))[folder]
    ids = {row["text"]: row["ids"] for row in golden["rows"]}
    rows = [row for row in prompts["rows"] if row["template"] == prompts["families"][folder]]
    compared = 0
    for row in rows:
        images = [tiles * row["num_image_token"] for tiles in row["num_patches_list"] or []]
        if row["history"] or row["case"] in ("empty_question", "question_with_specials") or "more_" in row["case"]:
            continue
        system = "You are a test." if row["case"] == "system_override" else None
        turns = [(place_images(row["question"], images), None)]
        assert list(build_prompt(tokenizer, row["template"], turns, [], system=system).ids) == ids[row["expanded"]]
        compared += 1
    assert compared == 11


@pytest.mark.parametrize("folder", [*SHIPPED, *REAL])
def test_what_a_shipped_tokenizer_encodes_comes_back_to_the_letter(shared: Path, folder: str) -> None:
    """Also what stands between two control tokens, where a blank is one of the user's."""
    tokenizer = load_tokenizer(shared / "golden" / folder)
    for text in ("dog", " sits", "a  b", "\n", " a dog on a ", "<ref>dog</ref>"):
        assert tokenizer.decode(tokenizer.encode_user(text)) == text


def test_importing_text_loads_no_tokenizer_library() -> None:
    heavy = "{'tokenizers', 'transformers', 'torch', 'numpy'}"
    code = f"import sys, chiasm.text; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
