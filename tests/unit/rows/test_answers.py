from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timezone
from decimal import Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from msgspec.structs import asdict

from tap_prolific_export.archive.export_archive import Upload
from tap_prolific_export.model import DataCollectionRef, Kind
from tap_prolific_export.rows.answers import MISFIT, NO_ANSWER, Fitted, column_type_of, fit
from tap_prolific_export.rows.collection import DataCollection, Instruction
from tap_prolific_export.rows.labels import AnswerNames
from tap_prolific_export.rows.responses import responses
from tap_prolific_export.rows.schema import ANSWERS, answer_schema
from tap_prolific_export.rows.tables import AnswerTable, ExportFacts, answer_columns
from tests.support.json_texts import escaped
from tests.support.questions import options, question

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


AS_NUMBER = {"validation": {"type": "number"}}
UNITS = [{"value": "g", **AS_NUMBER}, {"value": "oz", **AS_NUMBER}]

TEXT = question("free_text")
NUMBER = question("free_text", **AS_NUMBER)
ONE = question("multiple_choice", answer_limit=1, options=options(["tea", "milk"]))
ONE_NUMBER = question("multiple_choice", answer_limit=1, options=options([1, 2.5]))
ONE_BOOLEAN = question("multiple_choice", answer_limit=1, options=options([True, False]))
ONE_MIXED = question("multiple_choice", answer_limit=1, options=options(["tea", 2, True]))
MANY = question("multiple_choice", answer_limit=-1, options=options(["tea", "milk"]))
MANY_NUMBERS = question("multiple_choice", answer_limit=3, options=options([1, 2.5]))
MANY_MIXED = question("multiple_choice", options=options(["tea", 2, True]))
EXPLAINED = question("multiple_choice_with_free_text", answer_limit=1, options=options(["a", "b"]))
EXPLAINED_NUMBER = question("multiple_choice_with_free_text", options=options([1, -1]))
WEIGHT = question("free_text_with_unit", unit_options=UNITS)
AMOUNT = question("free_text_with_unit", unit_options=[*UNITS, {"value": "cups"}])
UPLOAD = question("file_upload")
VIDEO = question("video_narration")
CHOICE_WITH_UNIT = question(
    "multiple_choice_with_unit",
    options=options(["one", "two"]),
    unit_options=[{"value": "cups"}, {"value": "g"}],
    default_unit="g",
)
NUMBER_WITH_UNIT = question("multiple_choice_with_unit", options=options([1, 2]))
DIGITS = options(["1", "2", "2.5", "true", "null"])
ONE_DIGIT = question("multiple_choice", answer_limit=1, options=DIGITS)
MANY_DIGITS = question("multiple_choice", answer_limit=-1, options=DIGITS)
EXPLAINED_DIGIT = question("multiple_choice_with_free_text", options=DIGITS)
DIGIT_WITH_UNIT = question("multiple_choice_with_unit", options=DIGITS, unit_options=UNITS)
STARS = question("star_rating", max_stars=5)
UNKNOWN = question("drawing")
UNTYPED = question(None)

QUESTIONS = {name: made for name, made in dict(globals()).items() if isinstance(made, Instruction)}
UPLOADS = {"files/s_a.png": Upload(1024, 0, None), "files/s_b.mp4": Upload(2048, 0, None)}


def known(instruction: Instruction) -> dict[str, Any]:
    return {"type": instruction.type, "instruction_id": instruction.id}


def fitted(instruction: Instruction, entry: Any) -> Fitted:
    return fit(entry, column_type_of(instruction), UPLOADS, known(instruction))


def same(found: Fitted, expected: Fitted) -> bool:
    """Whether both are the same to the type: 1, 1.0 and True are not."""
    return repr(found) == repr(expected)


def file(path: str, name: str, type_: str | None = None, size: int | None = None) -> dict[str, Any]:
    return {"path": path, "file_name": name, "content_type": type_, "size_bytes": size}


def lossless(value: Any) -> Fitted:
    return Fitted(value, lossless=True)


def partly(value: Any) -> Fitted:
    return Fitted(value, lossless=False, is_misfit=True)


def described(value: Any) -> Fitted:
    """The column holds the answer, but not what describes it."""
    return Fitted(value, lossless=False)


PHOTO = file("files/s_a.png", "s_a.png", size=1024)

SHAPES: dict[str, Callable[[Any], Any]] = {
    "bare": lambda value: value,
    "object": lambda value: {"value": value},
    "object-with-nulls": lambda value: {"value": value, "unit": None, "explanation": None},
    "list": lambda value: [value],
    "list-of-objects": lambda value: [{"value": value}],
    "object-of-list": lambda value: {"value": [value]},
    "object-of-list-of-objects": lambda value: {"value": [{"value": value}]},
    "answer-objects": lambda value: {"answer": [{"value": value}]},
    "answer-object": lambda value: {"answer": {"value": value}},
    "answer-bare": lambda value: {"answer": value},
}
# One given value of each kind of column, and what the column must then hold.
GIVEN: dict[str, tuple[Instruction, Any, Any]] = {
    "text": (TEXT, "Toast & jam", "Toast & jam"),
    "text-empty": (TEXT, "", ""),
    "text-that-looks-like-a-number": (TEXT, "007", "007"),
    "number": (NUMBER, 12.5, 12.5),
    "number-as-text": (NUMBER, "42", 42),
    "number-as-text-with-spaces": (NUMBER, " -3 ", -3),
    "number-as-text-with-exponent": (NUMBER, "1.5e2", 150.0),
    "number-as-text-with-a-zero-more": (NUMBER, "0.10", 0.1),
    "number-as-text-without-a-zero": (NUMBER, ".5", 0.5),
    "number-as-text-that-ends-with-its-point": (NUMBER, "-3.", -3.0),
    "number-as-text-with-leading-zeros": (NUMBER, "05", 5),
    "number-as-text-with-a-plus": (NUMBER, "+3", 3),
    "number-as-text-with-17-digits": (NUMBER, "0.30000000000000004", 0.30000000000000004),
    "number-as-large-as-floats-hold": (NUMBER, "9007199254740992", 1 << 53),
    "with-unit-with-leading-zeros": (WEIGHT, "007.5", {"value": 7.5, "unit": None}),
    "choice": (ONE, "tea", "tea"),
    "choice-that-is-no-option": (ONE, "beer", "beer"),
    "choice-of-number": (ONE_NUMBER, 1, 1),
    "choice-of-number-as-text": (ONE_NUMBER, "2.5", 2.5),
    "choice-of-boolean": (ONE_BOOLEAN, False, False),
    "mixed-choice-of-text": (ONE_MIXED, "tea", "tea"),
    "mixed-choice-of-number": (ONE_MIXED, 2, "2"),
    "mixed-choice-of-boolean": (ONE_MIXED, True, "true"),
    "choices": (MANY, "tea", ["tea"]),
    "choices-of-number": (MANY_NUMBERS, "1", [1]),
    "mixed-choices": (MANY_MIXED, True, ["true"]),
    "option-of-text-as-number": (ONE_DIGIT, 2, "2"),
    "option-of-text-as-fraction": (ONE_DIGIT, 2.5, "2.5"),
    "option-of-text-as-boolean": (ONE_DIGIT, True, "true"),
    "option-of-number-as-text-with-a-zero-more": (ONE_NUMBER, "2.50", 2.5),
    "option-of-boolean-as-text": (ONE_BOOLEAN, "true", True),
    "mixed-option-of-number-as-text": (ONE_MIXED, "2", "2"),
    "options-of-text-as-number": (MANY_DIGITS, 1, ["1"]),
    "explained-option-of-text-as-number": (
        EXPLAINED_DIGIT,
        1,
        [{"value": "1", "explanation": None}],
    ),
    "option-of-text-with-unit-as-number": (DIGIT_WITH_UNIT, 2, {"value": "2", "unit": None}),
    "explained": (EXPLAINED, "a", [{"value": "a", "explanation": None}]),
    "explained-number": (EXPLAINED_NUMBER, -1, [{"value": -1, "explanation": None}]),
    "with-unit": (WEIGHT, "80", {"value": 80, "unit": None}),
    "with-unit-as-text": (AMOUNT, "two", {"value": "two", "unit": None}),
    "upload": (UPLOAD, "files/s_a.png", [PHOTO]),
    "upload-unpacked": (UPLOAD, {"path": "files/s_a.png"}, [PHOTO]),
    "narration": (VIDEO, "files/s_b.mp4", [file("files/s_b.mp4", "s_b.mp4", size=2048)]),
    "stars": (STARS, 4, 4),
    "stars-as-text": (STARS, "4", 4),
    "stars-as-float": (STARS, 4.0, 4),
    "stars-beyond-what-floats-hold": (STARS, (1 << 53) + 1, (1 << 53) + 1),
}


@pytest.mark.parametrize("column_type", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(("instruction", "given_", "value"), GIVEN.values(), ids=GIVEN)
def test_one_value_is_typed_alike_in_every_shape(
    instruction: Instruction, given_: Any, value: Any, column_type: Callable[[Any], Any]
) -> None:
    assert same(fitted(instruction, column_type(given_)), lossless(value))


def both(value: str, **more: str) -> list[dict[str, str]]:
    return [{"value": value, **more}, {"value": "b"}]


A_BUT_SALTY = [{"value": "a", "explanation": "salty"}, {"value": "b", "explanation": None}]
EIGHTY_GRAMS = {"value": 80, "unit": "g"}
STORED = {"file_key": "files/s_b.mp4", "file_name": "me.mp4", "content_type": "video/mp4"}

CASES: dict[str, tuple[Instruction, Any, Fitted]] = {
    # Several values.
    "list": (MANY, ["tea", "milk"], lossless(["tea", "milk"])),
    "list-in-value": (MANY, {"value": ["tea", "milk"]}, lossless(["tea", "milk"])),
    "list-of-objects": (MANY, [{"value": "tea"}, {"value": "milk"}], lossless(["tea", "milk"])),
    "list-of-numbers": (MANY_NUMBERS, [1, "2.5"], lossless([1, 2.5])),
    "list-of-mixed": (MANY_MIXED, ["tea", 2, True], lossless(["tea", "2", "true"])),
    "answer-list": (MANY, {"answer": [{"value": "tea"}, {"value": "b"}]}, lossless(["tea", "b"])),
    "same-twice": (MANY, ["tea", "tea"], lossless(["tea", "tea"])),
    "none-chosen": (MANY, [], lossless([])),
    "none-chosen-in-value": (MANY, {"value": []}, lossless([])),
    "none-chosen-in-answer": (EXPLAINED, {"answer": []}, lossless([])),
    "no-upload": (UPLOAD, [], lossless([])),
    # What stands beside a value.
    "explanation": (EXPLAINED, both("a", explanation="salty"), lossless(A_BUT_SALTY)),
    "free_text": (EXPLAINED, {"value": both("a", free_text="salty")}, lossless(A_BUT_SALTY)),
    "text": (EXPLAINED, {"answer": both("a", text="salty")}, lossless(A_BUT_SALTY)),
    "explanation-of-one": (
        EXPLAINED,
        {"value": ["a"], "explanation": "salty"},
        lossless([{"value": "a", "explanation": "salty"}]),
    ),
    "unit": (WEIGHT, {"value": "80", "unit": "g"}, lossless(EIGHTY_GRAMS)),
    "unit-in-list": (WEIGHT, [{"value": 80, "unit": "g"}], lossless(EIGHTY_GRAMS)),
    "unit-in-answer": (WEIGHT, {"answer": [{"value": 80, "unit": "g"}]}, lossless(EIGHTY_GRAMS)),
    "unit-in-value": (WEIGHT, {"value": {"value": 80, "unit": "g"}}, lossless(EIGHTY_GRAMS)),
    "unit-of-text": (AMOUNT, {"value": "8", "unit": "g"}, lossless({"value": "8", "unit": "g"})),
    "unit-alone": (WEIGHT, {"value": None, "unit": "g"}, lossless({"value": None, "unit": "g"})),
    "what-is-known": (ONE, {"value": "tea", **known(ONE)}, lossless("tea")),
    "what-is-known-of-many": (MANY, {"value": ["a", "b"], **known(MANY)}, lossless(["a", "b"])),
    # Uploads.
    "paths": (VIDEO, ["files/s_a.png", {"path": "x"}], lossless([PHOTO, file("x", "x")])),
    "path-from-root": (UPLOAD, "/files/s_a.png", lossless([PHOTO])),
    "path-from-here": (UPLOAD, {"path": "./files/s_a.png"}, lossless([PHOTO])),
    "file-key": (
        VIDEO,
        {"answer": [STORED]},
        lossless([file("files/s_b.mp4", "me.mp4", "video/mp4", 2048)]),
    ),
    "file-key-with-size": (
        VIDEO,
        {"answer": [{**STORED, "file_size_mb": 0.002}]},
        described([file("files/s_b.mp4", "me.mp4", "video/mp4", 2048)]),
    ),
    "true-as-text": (ONE_BOOLEAN, "true", lossless(True)),
    "false-as-text": (ONE_BOOLEAN, {"value": " false "}, lossless(False)),
    "only-text": (TEXT, {"text": "hi"}, lossless("hi")),
    "text-in-a-list": (TEXT, {"answer": [{"text": "hi"}]}, lossless("hi")),
    "text-with-unit": (WEIGHT, {"text": "75", "unit": "g"}, lossless({"value": 75, "unit": "g"})),
    "text-is-an-explanation-beside-a-value": (
        EXPLAINED,
        {"value": "a", "text": "why"},
        lossless([{"value": "a", "explanation": "why"}]),
    ),
    "text-of-an-upload": (UPLOAD, {"path": "files/s_a.png", "text": "mine"}, partly([PHOTO])),
    "choice-with-unit": (
        CHOICE_WITH_UNIT,
        {"type": "multiple_choice_with_unit", "answer": [{"value": "two", "unit": "cups"}]},
        lossless({"value": "two", "unit": "cups"}),
    ),
    "choice-of-number-with-unit": (
        NUMBER_WITH_UNIT,
        {"value": "2", "unit": None},
        lossless({"value": 2, "unit": None}),
    ),
    "choices-with-units": (
        CHOICE_WITH_UNIT,
        [{"value": "one", "unit": "cups"}, {"value": "two", "unit": "cups"}],
        MISFIT,
    ),
    "about-the-answer": (
        TEXT,
        {
            "value": "Toast",
            "id": "a1",
            "created_at": "2026-01-01",
            "created_by": "p",
            "description": "What?",
            "order": 3,
            "type": "another",
        },
        described("Toast"),
    ),
    "about-no-answer": (TEXT, {"value": None, "id": "a1"}, described(None)),
    "about-no-choices": (MANY, {"value": [], "id": "a1"}, described([])),
    "about-one-of-several": (
        MANY,
        [{"value": "tea", "order": 1}, "milk"],
        described(["tea", "milk"]),
    ),
    "about-beside-more": (TEXT, {"value": "Toast", "id": "a1", "seconds": 9}, partly("Toast")),
    "about-that-is-no-text": (TEXT, {"value": "Toast", "id": {"x": 1}}, partly("Toast")),
    # More was said than the column can hold.
    "unit-without-place": (NUMBER, {"value": 80, "unit": "g"}, partly(80)),
    "explanation-without-place": (ONE, {"value": "tea", "explanation": "warm"}, partly("tea")),
    "two-units": (
        WEIGHT,
        {"value": {"value": 80, "unit": "g"}, "unit": "oz"},
        partly(EIGHTY_GRAMS),
    ),
    "two-notes": (
        EXPLAINED,
        {"value": "a", "explanation": "salty", "text": "sweet"},
        partly([{"value": "a", "explanation": "salty"}]),
    ),
    "field-unheard-of": (TEXT, {"value": "Toast", "seconds": 9}, partly("Toast")),
    "other-question": (TEXT, {"value": "Toast", "instruction_id": "another"}, partly("Toast")),
    "field-beside-several": (MANY, {"value": ["tea", "b"], "seconds": 9}, partly(["tea", "b"])),
    "unit-beside-several": (MANY_NUMBERS, {"value": [1, 2], "unit": "g"}, partly([1, 2])),
    "note-beside-several": (
        EXPLAINED,
        {"value": ["a", "b"], "explanation": "both"},
        partly([{"value": "a", "explanation": None}, {"value": "b", "explanation": None}]),
    ),
    "file-elsewhere": (UPLOAD, "https://elsewhere.example/s_a.png", partly([PHOTO])),
    "file-elsewhere-in-object": (UPLOAD, {"path": "/x/s_a.png"}, partly([PHOTO])),
    "value-and-answer": (TEXT, {"value": "Toast", "answer": "Jam"}, partly("Toast")),
    # No place for it at all.
    "text-for-number": (NUMBER, "a lot", MISFIT),
    "comma-for-number": (NUMBER, "1,5", MISFIT),
    "hex-for-number": (NUMBER, "0x10", MISFIT),
    "other-digits-for-number": (NUMBER, "4\u0662", MISFIT),
    "nan-for-number": (NUMBER, "NaN", MISFIT),
    "number-past-all-bounds": (NUMBER, "1e999", MISFIT),
    "number-past-the-bounds-of-decimals": (NUMBER, "1e99999999999999999999", MISFIT),
    "more-digits-than-a-float-has": (NUMBER, "12345678901234567.89", MISFIT),
    "more-decimals-than-a-float-has": (NUMBER, "0.1000000000000000055", MISFIT),
    "more-digits-than-a-float-has-with-unit": (
        WEIGHT,
        {"value": "3.14159265358979323846", "unit": "g"},
        MISFIT,
    ),
    "next-to-nothing-is-not-nothing": (NUMBER, "1e-400", MISFIT),
    "integer-that-no-float-holds": (NUMBER, (1 << 53) + 1, MISFIT),
    "integer-that-no-float-holds-as-text": (NUMBER, "-9007199254740993", MISFIT),
    "one-of-many-is-too-large": (MANY_NUMBERS, [1, 1 << 62], MISFIT),
    "only-a-sign": (NUMBER, "+", MISFIT),
    "only-a-point": (NUMBER, ".", MISFIT),
    "two-points": (NUMBER, "1.2.3", MISFIT),
    "digits-with-lines-between": (NUMBER, "1_000", MISFIT),
    "boolean-for-number": (NUMBER, True, MISFIT),
    "boolean-for-stars": (STARS, True, MISFIT),
    "half-a-star": (STARS, 3.5, MISFIT),
    "text-with-unit-for-number": (WEIGHT, {"value": "some", "unit": "g"}, MISFIT),
    "number-for-text": (TEXT, 5, MISFIT),
    "number-that-is-no-option": (ONE_DIGIT, 7, MISFIT),
    "boolean-that-is-no-option": (ONE_DIGIT, False, MISFIT),
    "one-of-many-is-no-option": (MANY_DIGITS, [1, 7], MISFIT),
    "null-is-no-option": (ONE_DIGIT, {"value": None}, NO_ANSWER),
    "number-for-boolean": (ONE_BOOLEAN, 1, MISFIT),
    "text-for-boolean": (ONE_BOOLEAN, "yes", MISFIT),
    "capital-text-for-boolean": (ONE_BOOLEAN, "True", MISFIT),
    "empty-text-for-boolean": (ONE_BOOLEAN, "", MISFIT),
    "one-of-many-does-not-fit": (MANY_NUMBERS, [1, "two"], MISFIT),
    "two-for-one": (ONE, ["tea", "milk"], MISFIT),
    "none-for-one": (ONE, [], MISFIT),
    "file-for-text": (TEXT, {"path": "files/s_a.png"}, MISFIT),
    "number-for-upload": (UPLOAD, 7, MISFIT),
    "null-among-values": (MANY, ["tea", None], MISFIT),
    "empty-object": (TEXT, {}, MISFIT),
    "object-unheard-of": (TEXT, {"words": ["Toast"]}, MISFIT),
    "object-of-booleans": (MANY, {"tea": True, "milk": False}, MISFIT),
    "nested-too-deep": (TEXT, [[[[["Toast"]]]]], MISFIT),
    # Nothing was said.
    "null": (NUMBER, None, NO_ANSWER),
    "null-for-many": (MANY, None, NO_ANSWER),
    "null-value": (WEIGHT, {"value": None, "unit": None}, NO_ANSWER),
    "null-answer": (UPLOAD, {"answer": None, "type": "file_upload"}, NO_ANSWER),
    "null-for-unknown": (UNKNOWN, None, NO_ANSWER),
    # A type that nobody has heard of: JSON, whatever it is.
    "unknown-text": (UNKNOWN, "line", lossless('"line"')),
    "unknown-number": (UNKNOWN, 1.5, lossless("1.5")),
    "unknown-object": (UNKNOWN, {"value": [1, None]}, lossless('{"value":[1,null]}')),
    "untyped-list": (UNTYPED, [True, "\u671d"], lossless('[true,"\u671d"]')),
}


@pytest.mark.parametrize(("instruction", "entry", "expected"), CASES.values(), ids=CASES)
def test_an_entry_becomes_what_its_column_can_hold(
    instruction: Instruction, entry: Any, expected: Fitted
) -> None:
    assert same(fitted(instruction, entry), expected)


@pytest.mark.parametrize("entry", ["9" * 350, 10**350], ids=["text", "number"])
@pytest.mark.parametrize("instruction", [NUMBER, WEIGHT, STARS], ids=["text", "unit", "stars"])
def test_a_number_that_no_float_can_hold_fits_nowhere(instruction: Instruction, entry: Any) -> None:
    assert same(fitted(instruction, entry), MISFIT)


@pytest.mark.parametrize("entry", [1e300, 2**63, "9223372036854775808", 3.5, "3.5"], ids=repr)
def test_stars_that_no_column_of_integers_can_hold_are_kept_as_they_came(entry: Any) -> None:
    assert same(fitted(STARS, entry), MISFIT)


NAMES = ["value", "answer", "unit", "explanation", "free_text", "text", "type", "instruction_id"]
NAMES += ["path", "file_key", "file_name", "content_type", "file_size_mb"]
WORDS = [
    "",
    "tea",
    "5",
    " 5.50 ",
    "+.5",
    "05",
    "0.1000000000000000055",
    "1e3",
    "true",
    "g",
    "q",
    "free_text",
    "files/s_a.png",
    "./x",
]
scalar: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.sampled_from(WORDS) | st.text()
)
scalar |= st.floats(allow_nan=False, allow_infinity=False)
entries = st.recursive(
    scalar,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=8,
)
any_question = st.sampled_from(list(QUESTIONS.values()))


# These fields of an answer only describe it.
ABOUT = frozenset({"id", "created_at", "created_by", "description", "order", "type"})


def leaves(node: Any, repeated: dict[str, Any]) -> Iterator[str]:
    """Yield all that a JSON value says; nulls and empty texts beside others say nothing."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name not in ABOUT and repeated.get(name, ...) != value:
                yield from leaves(value, repeated)
    elif isinstance(node, list):
        for value in node:
            yield from leaves(value, repeated)
    elif node is not None and (text := spelled(node)):
        yield text


WIDE = Context(prec=1000)


def spelled(leaf: Any) -> str:
    """Return a leaf in the one spelling that a number, or a path, has of many."""
    text = (escaped(leaf) if isinstance(leaf, str) else json.dumps(leaf)).lstrip("./")
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return text
    return str(number.normalize(WIDE) + 0) if number.is_finite() else text


@settings(max_examples=400)
@given(any_question, entries)
@example(STARS, 2.362547946551701e16)
def test_whatever_comes_is_said_again_or_said_to_be_kept(
    instruction: Instruction, entry: Any
) -> None:
    found = fitted(instruction, entry)
    if not found.lossless:
        return
    value = found.value
    if instruction in (UNKNOWN, UNTYPED) and entry is not None:
        assert json.loads(value) == escaped(entry)
        return
    lost = Counter(leaves(entry, known(instruction))) - Counter(leaves(value, {}))
    assert not lost


@settings(max_examples=400)
@given(any_question, entries)
def test_whatever_comes_a_column_holds_only_what_its_schema_allows(
    instruction: Instruction, entry: Any
) -> None:
    Draft7Validator(answer_schema(instruction)).validate(fitted(instruction, entry).value)


# What describes an upload stands in the row of the file.
DESCRIBES = ("file_name", "content_type")


def without(node: Any, names: tuple[str, ...]) -> Any:
    if isinstance(node, dict):
        return {name: without(value, names) for name, value in node.items() if name not in names}
    return [without(value, names) for value in node] if isinstance(node, list) else node


@settings(max_examples=400)
@given(any_question, entries)
def test_whatever_comes_is_found_again_in_the_long_form(
    instruction: Instruction, entry: Any
) -> None:
    ref = DataCollectionRef(Kind.COLLECTION, "c")
    columns = answer_columns(
        DataCollection(ref, {}, None, (instruction,)), AnswerNames("instruction_id")
    )
    [response] = responses({"submission_id": "s", "responses": {instruction.id: entry}})
    facts = ExportFacts("c", None, datetime(2026, 1, 1, tzinfo=timezone.utc))
    rows = [*map(asdict, AnswerTable(facts, columns, UPLOADS).rows([response]))]
    told = [
        [row["value"], row["unit"], row["explanation"], row["file_path"]]
        if row["raw"] is None
        else json.loads(row["raw"])
        for row in rows
    ]
    said = without(entry, DESCRIBES)
    assert not Counter(leaves(said, known(instruction))) - Counter(leaves(told, {}))
    assert [row["answer_index"] for row in rows] == [*range(1, len(rows) + 1)]
    for row in rows:
        Draft7Validator(ANSWERS.json_schema()).validate(row)
        assert row["value_number"] is None or Decimal(row["value"]) == Decimal(
            repr(row["value_number"])
        )


def row_of(instruction: Instruction, entry: Any) -> dict[str, Any]:
    """Return the only row of `answers` that an answer makes."""
    ref = DataCollectionRef(Kind.COLLECTION, "c")
    columns = answer_columns(
        DataCollection(ref, {}, None, (instruction,)), AnswerNames("instruction_id")
    )
    [response] = responses({"submission_id": "s", "responses": {instruction.id: entry}})
    facts = ExportFacts("c", None, datetime(2026, 1, 1, tzinfo=timezone.utc))
    [row] = AnswerTable(facts, columns, UPLOADS).rows([response])
    return asdict(row)


TRUE_OR_TEXT = question("multiple_choice", answer_limit=1, options=options([1, "1", "2", True]))
NO_LABELS = question("multiple_choice", answer_limit=1, options=[{"value": "tea"}, {"value": 2}])
OPTIONS: dict[str, tuple[Instruction, Any, tuple[Any, ...]]] = {
    "text-for-number": (ONE_NUMBER, "1", ("1", 1, None, "Option 1")),
    "text-with-a-zero-more": (ONE_NUMBER, "2.50", ("2.50", 2.5, None, "Option 2.5")),
    "float-for-integer": (ONE_NUMBER, 1.0, ("1.0", 1.0, None, "Option 1")),
    "number-for-text": (ONE_DIGIT, 2, ("2", None, None, "Option 2")),
    "fraction-for-text": (ONE_DIGIT, 2.5, ("2.5", None, None, "Option 2.5")),
    "boolean-for-text": (ONE_DIGIT, True, ("true", None, None, "Option true")),
    "text-for-boolean": (ONE_BOOLEAN, "false", ("false", None, False, "Option False")),
    "text-for-mixed-number": (ONE_MIXED, "2", ("2", 2, None, "Option 2")),
    "text-for-mixed-boolean": (ONE_MIXED, "true", ("true", None, True, "Option True")),
    "number-where-a-text-is-the-same": (TRUE_OR_TEXT, 1, ("1", 1, None, "Option 1")),
    "text-where-a-number-is-the-same": (TRUE_OR_TEXT, "1", ("1", None, None, "Option 1")),
    "number-for-mixed-text": (TRUE_OR_TEXT, 2, ("2", None, None, "Option 2")),
    "text-for-mixed-number-without-label": (NO_LABELS, "2", ("2", 2, None, None)),
    "no-option": (ONE_DIGIT, "7", ("7", None, None, None)),
}


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize(("instruction", "value", "told"), OPTIONS.values(), ids=OPTIONS)
def test_a_value_whose_text_is_that_of_one_option_is_that_option(
    instruction: Instruction, value: Any, told: tuple[Any, ...], *, bare: bool
) -> None:
    row = row_of(instruction, value if bare else {"value": value})
    columns = ("value", "value_number", "value_boolean", "value_label")
    assert repr(tuple(row[name] for name in columns)) == repr(told)
    assert row["raw"] is None
