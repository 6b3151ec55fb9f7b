from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_prolific_export.rows.collection import instructions
from tap_prolific_export.rows.labels import AnswerNames, answer_key
from tests.support.questions import question

if TYPE_CHECKING:
    from tap_prolific_export.settings import AnswerKeys


LABELS: dict[str, tuple[str | None, str]] = {
    "question": ("What did you have?", "what_did_you_have"),
    "accents": ("Où est  le café (à Genève)?", "ou_est_le_cafe_a_geneve"),
    "digits-first": ("2nd thing: 100%", "q_2nd_thing_100"),
    "only-digits": ("42", "q_42"),
    "digits-of-another-script": ("٣ أشياء", "q_3_shy"),
    "digits-behind-markup": ("<p>3 things</p>", "q_3_things"),
    "digits-behind-punctuation": ("_ 1) Why?", "q_1_why"),
    "german": ("Größe in Metern", "grosse_in_metern"),
    "polish": ("Gdzie łódź?", "gdzie_lodz"),
    "russian": ("Сколько вам лет?", "skolko_vam_let"),
    "chinese": ("你好", "nihao"),
    "apostrophes": ("What's yours? Don\u2019t know", "whats_yours_dont_know"),
    "markup": ('<p><strong style="color: red">What</strong> now?</p>', "what_now"),
    "markup-inside-a-word": ("H<sub>2</sub>O", "h2o"),
    "markup-between-words": ("Tea<br/>or<BR>milk<li>?</li>", "tea_or_milk"),
    "entities": ("Tea&nbsp;&amp; milk&#33;", "tea_milk"),
    "nothing-but-markup": ("<p><br></p>", "question"),
    "not-told": (None, "question"),
    "only-punctuation": ("?!…", "question"),
    "only-other-scripts": ("朝ごはん", "chaogohan"),
    "too-long-with-a-digit-first": ("1" * 200, "q_" + "1" * 36),
    "too-long": ("x" * 200, "x" * 38),
    "too-long-with-a-gap-at-the-end": ("y" * 37 + " and more", "y" * 37),
}


@pytest.mark.parametrize(("description", "slug"), LABELS.values(), ids=LABELS)
def test_a_label_is_the_question_and_a_digest_of_the_id(description: str | None, slug: str) -> None:
    made = question(id="4f0c9a52-93d1-4c0e-9d5e-1f6b2a7c8d90", description=description)
    assert answer_key(made, "label") == f"{slug}_9aafdfa0"  # the id's sha256, by sha256sum


@pytest.mark.parametrize("id_", ["q", "Q-1", "x" * 100, "é"])
def test_an_instruction_id_is_a_key_as_it_is(id_: str) -> None:
    assert answer_key(question(id=id_, description="What?"), "instruction_id") == id_


ids = st.text(min_size=1)
descriptions = st.none() | st.text() | st.text("aé ?_朝1<p>&;", max_size=200)


@given(ids, descriptions)
def test_a_label_is_a_name_that_every_database_takes(id_: str, description: str | None) -> None:
    key = answer_key(question(id=id_, description=description), "label")
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*_[0-9a-f]{8}", key)
    assert len(f"answers__{key}__value".encode()) <= 63


@given(st.lists(ids, min_size=2, unique=True), descriptions)
def test_different_ids_have_different_keys(names: list[str], description: str | None) -> None:
    made = {answer_key(question(id=id_, description=description), "label") for id_ in names}
    assert len(made) == len(names)


@given(ids, descriptions, st.integers(), st.lists(ids))
def test_a_label_depends_on_nothing_but_the_instruction(
    id_: str, description: str | None, order: int, others: list[str]
) -> None:
    told = {"id": id_, "description": description}
    moved = [*instructions([{"order": 1, "items": [{**told, "type": "x", "order": order}]}], None)]
    crowded = [*instructions(None, [*({"id": other} for other in others), told])]
    [key] = {answer_key(each, "label") for each in [*moved, *crowded] if each.id == id_}
    assert key == answer_key(question(id=id_, description=description), "label")


# Of the question `q`; the digits are those of sha256sum.
WHAT, WHICH, WHY = (f"{text}_8e35c2cd" for text in ("what", "which", "why"))
# Settings, the names in the catalog, and the name of the question "Why?".
NAMES: dict[str, tuple[AnswerKeys, bool, list[str], str]] = {
    "no catalog": ("label", False, [], WHY),
    "its label": ("label", False, [WHY], WHY),
    "the label of an earlier text": ("label", False, [WHAT], WHAT),
    "both": ("label", False, [WHAT, WHY], WHY),
    "two of earlier texts": ("label", False, [WHICH, WHAT], WHAT),
    "two of earlier texts, in another order": ("label", False, [WHAT, WHICH], WHAT),
    "labels of other questions": ("label", False, ["why_8e35c2ce", "8e35c2cd", "x8e35c2cd"], WHY),
    "its id": ("label", False, ["q"], WHY),
    "its id and the label of an earlier text": ("label", False, ["q", WHAT], WHAT),
    "frozen, no name": ("label", True, ["r"], WHY),
    "frozen, the label of an earlier text": ("label", True, [WHAT], WHAT),
    "frozen, its id": ("label", True, ["q"], "q"),
    "frozen, its id and the label of an earlier text": ("label", True, ["q", WHAT], WHAT),
    "ids, no catalog": ("instruction_id", False, [], "q"),
    "ids, a label": ("instruction_id", False, [WHY], "q"),
    "ids, frozen, a label": ("instruction_id", True, [WHAT], WHAT),
    "ids, frozen, its id and a label": ("instruction_id", True, [WHAT, "q"], "q"),
}


@pytest.mark.parametrize(("keys", "frozen", "catalog", "name"), NAMES.values(), ids=NAMES)
def test_a_question_keeps_the_name_that_the_catalog_has(
    keys: AnswerKeys, catalog: list[str], name: str, *, frozen: bool
) -> None:
    names, asked = AnswerNames(keys, catalog, is_frozen=frozen), question(description="Why?")
    assert names.of([asked]) == {"q": name}
    own = "q" if keys == "instruction_id" else WHY
    assert names.kept([asked]) == ({} if name == own else {"q": name})


@pytest.mark.parametrize("texts", [("What?", "Which?"), ("Why?", "What?"), ("Why?", "Which?")])
def test_of_two_ids_with_the_same_digits_only_one_has_the_catalogs_property(
    texts: tuple[str, str],
) -> None:
    ids = ("q47044", "q53798")
    asked = [question(id=id_, description=text) for id_, text in zip(ids, texts, strict=True)]
    own = [answer_key(each, "label") for each in asked]
    assert {name[-8:] for name in own} == {own[0][-8:]}
    kept = f"what_{own[0][-8:]}"
    expected = own if kept in own else [kept, own[1]]
    assert [*AnswerNames("label", [kept]).of(asked).values()] == expected


questions = st.dictionaries(ids, st.tuples(descriptions, descriptions), max_size=5)


@given(questions, st.lists(ids), st.sampled_from(["label", "instruction_id"]), st.booleans())
def test_edited_texts_change_no_name(
    told: dict[str, tuple[str | None, str | None]],
    more: list[str],
    keys: AnswerKeys,
    frozen: bool,  # noqa: FBT001
) -> None:
    before, after = (
        [question(id=id_, description=texts[n]) for id_, texts in told.items()] for n in (0, 1)
    )
    names = AnswerNames(keys).of(before)
    for catalog in ([*names.values(), *more], [*more[::-1], *reversed(names.values())]):
        again = AnswerNames(keys, catalog, is_frozen=frozen)
        assert again.of(before) == again.of(after) == names
        assert again.of(after[::-1]) == names
