"""A law: answers that are typed as they are decoded give the rows that all others give."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from tap_prolific_export.archive.export_archive import Upload
from tap_prolific_export.archive.safe_json import json_text
from tap_prolific_export.model import DataCollectionRef, Kind
from tap_prolific_export.rows.answer_values import VALUE_COLUMNS, value_rows
from tap_prolific_export.rows.answers import fit, upload_path
from tap_prolific_export.rows.catalog_answers import as_written
from tap_prolific_export.rows.collection import parse
from tap_prolific_export.rows.entries import read
from tap_prolific_export.rows.files import FileFinder, may_name_file
from tap_prolific_export.rows.labels import AnswerNames
from tap_prolific_export.rows.line_decoder import LineDecoder
from tap_prolific_export.rows.responses import responses
from tap_prolific_export.rows.scalars import LARGE
from tap_prolific_export.rows.schema import TYPES
from tap_prolific_export.rows.structs import as_dict
from tap_prolific_export.rows.tables import (
    AnswerTable,
    ExportFacts,
    ResponseTable,
    answer_columns,
)
from tests.support.json_texts import escaped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tap_prolific_export.rows.answers import AnswerColumn
    from tap_prolific_export.rows.responses import Response

Row = dict[str, Any]

FACTS = ExportFacts("c", None, datetime(2026, 2, 1, tzinfo=timezone.utc))
UPLOADED = "files/s1_a.png"
UPLOADS = {UPLOADED: Upload(7, 0, None), "files/7": Upload(1, 0, None)}

# Questions of every type.

AS_NUMBER: Row = {"validation": {"type": "number"}}
LABELLED: Row = {
    "options": [
        {"value": value, "label": value and f"as {value}"} for value in ("7", "tea", "", "null")
    ],
}
NUMBERED: Row = {
    "options": [
        {"value": value, "label": f"as {value}"} for value in (7, 7.5, 1e16, -1, 2**63, 0.0)
    ],
}
YES_OR_NO: Row = {
    "options": [{"value": value, "label": f"as {value}"} for value in (True, False)],
}
BOTH_KINDS: Row = {"options": [*NUMBERED["options"], *LABELLED["options"], {"value": True}]}
NO_LABELS: Row = {"options": [{"value": "tea"}, {"value": "milk"}]}
SPELLED: Row = {
    "options": [{"value": v, "label": f"as {v}"} for v in ("7", "7.5", "true", "1e16", "-1")],
}
KINDS = {
    "texts": LABELLED,
    "numbers": NUMBERED,
    "booleans": YES_OR_NO,
    "both": BOTH_KINDS,
    "bare": NO_LABELS,
    "spelled": SPELLED,
    "ambiguous": {"options": [{"value": value} for value in (1, "1", 2, True, "x")]},
    "none": {"options": []},
}
QUESTIONS: dict[str, Row] = {
    "text": {"type": "free_text"},
    "number": {"type": "free_text", **AS_NUMBER},
    **{f"one-{n}": {"type": "multiple_choice", "answer_limit": 1, **k} for n, k in KINDS.items()},
    **{f"many-{n}": {"type": "multiple_choice", "answer_limit": -1, **k} for n, k in KINDS.items()},
    **{f"why-{n}": {"type": "multiple_choice_with_free_text", **k} for n, k in KINDS.items()},
    "unit": {"type": "free_text_with_unit", "unit_options": [{"value": "g", **AS_NUMBER}]},
    "unit-text": {
        "type": "free_text_with_unit",
        "unit_options": [{"value": "g", **AS_NUMBER}, {"value": "cups"}],
    },
    "stars": {"type": "star_rating", "max_stars": 5},
    "labelled-stars": {"type": "star_rating", **NUMBERED},
    "file": {"type": "file_upload"},
    "labelled-file": {"type": "file_upload", **LABELLED},
    "narration": {"type": "video_narration"},
    "future": {"type": "of the future", **LABELLED},
    "untyped": {"type": None},
}
COLUMNS = answer_columns(
    parse(
        DataCollectionRef(Kind.COLLECTION, "c"),
        {"id": "c", "instructions": [{"id": id_, **fields} for id_, fields in QUESTIONS.items()]},
    ),
    AnswerNames("instruction_id"),
)
# The same for all entries: what a table remembers of one may change no other's rows.
RESPONSES = ResponseTable(FACTS, COLUMNS, UPLOADS)
ANSWERS = AnswerTable(FACTS, COLUMNS, UPLOADS)
OTHER = replace(COLUMNS["text"], key="other")
PAIRS = {id_: {id_: column, "other": OTHER} for id_, column in COLUMNS.items()}
DECODERS = {id_: LineDecoder(columns, UPLOADS) for id_, columns in PAIRS.items()}
ANSWER_TABLES = {id_: AnswerTable(FACTS, columns, UPLOADS) for id_, columns in PAIRS.items()}
TABLES = {id_: ResponseTable(FACTS, columns, UPLOADS) for id_, columns in PAIRS.items()}


def test_there_is_a_column_for_each_question() -> None:
    assert COLUMNS.keys() == QUESTIONS.keys()


# Entries of any shape.

VALUES: list[Any] = [None, "", "x", "7", " 7 ", "1e3", "1e400", 7, 7.5, True, -1, "tea", "g"]
VALUES += [[], [None], ["a"], ["a", 1], [1, "1"], [[]], {}, 2**63, -(2**63), ["tea", "tea"]]
VALUES += [7.0, 0, 0.0, -0.0, False, 1e16, "1e16", "null", [7, 7.0, True], [True, False]]
VALUES += [
    sign * number + more for number in (LARGE, 2**63) for sign in (1, -1) for more in (-1, 0, 1)
]
VALUES += [[LARGE], [LARGE + 1], [1, -LARGE - 1]]
FILE = {"path": UPLOADED, "file_name": "x", "content_type": "image/png"}
FILES: list[Any] = [
    FILE,
    {"path": f"/{UPLOADED}"},
    {"path": f"./{UPLOADED}", "file_name": "", "content_type": None},
    {"path": UPLOADED.removeprefix("files/")},
    {"path": f"elsewhere/{UPLOADED}", "size_mb": 1},
    {"path": "files/x.png"},
    {"path": "files/x.png", "file_name": "x"},
    {"path": f"elsewhere/{UPLOADED}", "file_name": "x", "content_type": "image/png"},
    {"path": UPLOADED, "file_name": "x", "size_bytes": None},
    {"path": UPLOADED, "file_name": "x", "size_bytes": 8},
    {"path": UPLOADED, "file_name": "é", "content_type": ""},
    {"file_key": UPLOADED},
    UPLOADED,
    f"https://elsewhere.example/{UPLOADED}",
]
SOME: tuple[Any, ...] = (None, "", "a", 7, 7.5, True, LARGE + 1, [], [1], ["a"], {})
NOTES = (None, "", "x", 7)
ENTRIES: list[Any] = [
    None,
    {},
    [],
    "",
    "x",
    "7",
    7,
    7.0,
    2**63,
    True,
    *({"value": value} for value in VALUES),
    *({"value": [value]} for value in VALUES),
    *VALUES,
    *({"value": value, "unit": unit} for value in SOME for unit in NOTES),
    *({"value": value, "seconds": more} for value in SOME for more in (None, 9)),
    *({"value": value, "type": "another"} for value in SOME),
    {"value": "a", "instruction_id": "q-name"},
    {"answer": "a"},
    {"value": "a", "answer": "b"},
    {"value": 7, "unit": "g", "explanation": "x"},
    {"value": 7, "unit": "g", "seconds": 9},
    *({"value": [{"value": v, "explanation": e}]} for v in SOME for e in NOTES),
    *([{"value": v, "explanation": e}] for v in (None, 1, "a") for e in NOTES),
    *({"value": v, "explanation": e} for v in SOME for e in NOTES),
    *({"value": "a", name: "x"} for name in ("free_text", "text")),
    {"value": [{"value": 1}], "explanation": ""},
    {"value": [{"value": 1}, {"value": None}]},
    {"value": [{"value": 1, "text": "x"}]},
    {"value": [{"value": "a", "explanation": None}, {"value": "b", "unit": "g"}]},
    {"value": [{"value": "a", "explanation": "x"}], "seconds": 9},
    *FILES,
    *([file] for file in FILES),
    *({"value": file} for file in FILES),
    *({"value": [file, FILE]} for file in FILES),
]


def with_repeated(column: AnswerColumn, entry: Any) -> list[Any]:
    """Return an entry, and as it is if it repeats its question or says that of another one."""
    if not isinstance(entry, dict):
        return [entry]
    mine = column.repeated
    other = {"type": "of another", "instruction_id": "of another"}
    more = [mine, {"type": mine["type"]}, {**mine, "seconds": 9}, other]
    items = entry.get("value")
    found = [entry, *({**entry, **fields} for fields in more)]
    if isinstance(items, list):  # only the entry itself repeats its question
        inner = [{**item, **mine} if isinstance(item, dict) else item for item in items]
        found.append({**entry, "value": inner})
    return found


def text_of(value: Any) -> str:
    """Return a text that tells values apart, and their types: 1, 1.0 and True are not one."""
    return json.dumps(value, sort_keys=True)


def check(column: AnswerColumn, entry: Any) -> None:
    """Check all that is made of an entry against what `fit` and `value_rows` say."""
    came = text_of(entry)
    fitted = fit(entry, column.column_type, UPLOADS, column.repeated)
    told = value_rows(entry, column, UPLOADS)
    kept = {"lossless": fitted.lossless, "is_misfit": fitted.is_misfit}
    check_rows(column, entry, fitted.value, **kept)
    assert {len(each) for each in told} <= {len(VALUE_COLUMNS)}
    assert text_of(entry) == came


def check_rows(
    column: AnswerColumn, entry: Any, value: Any, *, lossless: bool, is_misfit: bool
) -> None:
    id_ = column.instruction.id
    [response] = responses({"submission_id": "s", "responses": {id_: entry}})
    before = RESPONSES.misfits
    [row] = RESPONSES.rows([response])
    assert text_of(row.answers) == text_of({column.key: value})
    kept = None if lossless else {"answers": {id_: entry}}
    told = row.additional_fields and json.loads(row.additional_fields)
    assert text_of(told) == text_of(escaped(kept))
    assert RESPONSES.misfits - before == is_misfit
    found = map(asdict, ANSWERS.rows([response]))
    values = [tuple(each[name] for name in VALUE_COLUMNS) for each in found]
    assert all_of(values) == all_of(value_rows(entry, column, UPLOADS))
    check_typed(response)


def check_typed(response: Response) -> None:
    """Check that nothing changes where answers are typed as they are decoded."""
    [id_] = response.answers
    columns, table = PAIRS[id_], TABLES[id_]
    if (found := typed_line(id_, response.answers)) is None:
        return
    [typed] = found
    assert typed.typed
    before = table.misfits
    rows = [[*map(as_dict, table.rows([each]))] for each in (response, typed)]
    assert text_of(rows[0]) == text_of(rows[1])
    assert (table.misfits - before) % 2 == 0
    answers = ANSWER_TABLES[id_]
    rows = [[*map(as_dict, answers.rows([each]))] for each in (response, typed)]
    assert text_of(rows[0]) == text_of(rows[1])
    finders = [FileFinder(columns, UPLOADS, lambda _: True) for _ in range(2)]
    for finder, each in zip(finders, (response, typed), strict=True):
        finder.add([each])
    files = [[*finder.rows(FACTS, include_unmatched=False)] for finder in finders]
    assert files[0] == files[1]


def typed_line(id_: str, answers: Mapping[str, Any]) -> list[Response] | None:
    """Decode a line with an answer to one question; nothing else was ever decoded before."""
    text = json.dumps({"submission_id": "s", "responses": answers}).encode()
    return copy(DECODERS[id_]).decode(text)


def all_of(told: Sequence[Sequence[Any]]) -> list[str]:
    """Return `VALUE_COLUMNS` of each value, also those that may be left out."""
    return [text_of([*each, *[None] * (len(VALUE_COLUMNS) - len(each))]) for each in told]


@pytest.mark.parametrize("id_", QUESTIONS)
def test_rows_are_what_fits(id_: str) -> None:
    column = COLUMNS[id_]
    for entry in ENTRIES:
        for each in with_repeated(column, entry):
            check(column, each)


number = (
    st.integers(LARGE - 2, LARGE + 2)
    | st.integers(2**63 - 2, 2**63 + 2)
    | st.integers(-2, 9)
    | st.integers()
)
scalar: st.SearchStrategy[Any] = st.none() | st.booleans() | number | number.map(lambda n: -n)
scalar |= st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 7.0, 1e16])
scalar |= st.sampled_from(["", "7", "tea", "null", UPLOADED, "x", "1e3"]) | st.text(max_size=3)
FIELDS = ["unit", "explanation", "free_text", "text", "answer", "type", "instruction_id", "seconds"]
FIELDS += ["path", "file_key", "file_name", "content_type"]
more_fields = st.dictionaries(st.sampled_from(FIELDS), scalar, max_size=2)
inner = scalar | st.builds(lambda value, more: {"value": value, **more}, scalar, more_fields)
values = inner | st.lists(inner, max_size=3)
any_entry = values | st.builds(lambda value, more: {"value": value, **more}, values, more_fields)
any_column = st.sampled_from([*COLUMNS.values()])


@st.composite
def entries(draw: st.DrawFn) -> tuple[AnswerColumn, Any]:
    """Return a question and an answer, which may repeat the question."""
    column, entry = draw(any_column), draw(any_entry)
    if isinstance(entry, dict):
        names = draw(st.sets(st.sampled_from([*column.repeated])))
        entry = {**entry, **{name: column.repeated[name] for name in names}}
    return column, entry


@settings(deadline=None, max_examples=1000)
@given(entries())
def test_whatever_comes_rows_are_what_fits(drawn: tuple[AnswerColumn, Any]) -> None:
    check(*drawn)


@settings(deadline=None, max_examples=300)
@given(any_column, st.lists(any_entry, max_size=8))
@example(COLUMNS["one-numbers"], [{"value": 0.0}, {"value": -0.0}])
@example(COLUMNS["one-numbers"], [{"value": 7.0}, {"value": 7}])
@example(COLUMNS["many-numbers"], [{"value": [1, 1.0, True]}])
def test_what_a_table_remembers_changes_nothing(column: AnswerColumn, given_: list[Any]) -> None:
    id_ = column.instruction.id
    table = AnswerTable(FACTS, PAIRS[id_], UPLOADS)
    for entry in given_:
        if found := typed_line(id_, {id_: entry}):
            rows = [[getattr(each, name) for name in VALUE_COLUMNS] for each in table.rows(found)]
            assert all_of(rows) == all_of(value_rows(entry, column, UPLOADS))


# What is usual, by the kind of question.
USUAL: dict[str, list[Any]] = {
    "text": [{"value": "Toast"}, {"value": ""}, {"value": "7"}],
    "number": [{"value": 7}, {"value": 7.5}, {"value": LARGE}, {"value": -LARGE}],
    "one-texts": [{"value": "tea"}],
    "one-numbers": [{"value": 7}, {"value": 7.5}],
    "one-booleans": [{"value": True}],
    "one-both": [{"value": "tea"}],
    "many-texts": [{"value": ["tea", "7"]}, {"value": []}],
    "many-numbers": [{"value": [7, 7.5]}],
    "many-booleans": [{"value": [True, False]}],
    "many-both": [{"value": ["tea"]}],
    "why-texts": [
        {"value": [{"value": "tea", "explanation": "warm"}, {"value": "7", "explanation": None}]},
        {"value": "tea", "explanation": "warm"},
        {"value": []},
    ],
    "why-numbers": [{"value": [{"value": 7, "explanation": "x"}]}],
    "unit": [{"value": 80, "unit": "g"}, {"value": 80.5, "unit": None}],
    "unit-text": [{"value": "two", "unit": "cups"}],
    "stars": [{"value": 4}],
    "file": [{"value": FILE}, {"value": [FILE, {**FILE, "content_type": None}]}, {"value": []}],
    "narration": [{"value": {"path": UPLOADED, "file_name": "x"}}],
}


@pytest.mark.parametrize("id_", USUAL)
def test_the_usual_answers_are_typed(id_: str) -> None:
    column = COLUMNS[id_]
    type_, own_id = column.repeated.items()
    for entry in USUAL[id_]:
        for again in ({}, dict([type_]), dict([own_id]), dict([type_, own_id])):
            check(column, {**entry, **again})
        # Of a choice with an explanation that is in no list, neither is typed.
        is_typed = isinstance(entry["value"], list) or len(entry) == 1 or "unit" in entry
        found = typed_line(id_, {id_: entry})
        assert found
        assert (not found[0].answers) == is_typed


LINE: Row = {"submission_id": "s", "responses": {"text": {"value": "x"}}}
DEEP = json.loads("[" * 250 + "]" * 250)


def decoded_after(first: Row, line: Row) -> list[Response] | None:
    """Decode a line after another one."""
    decoder = LineDecoder(COLUMNS)
    assert decoder.decode(json.dumps(first).encode())
    return decoder.decode(json.dumps(line).encode())


@pytest.mark.parametrize(
    "fields",
    [
        {"submission_id": None},
        {"submission_id": ""},
        {"submission_id": 7},
        {"responses": [{"instruction_id": "text", "value": "x"}]},
        {"responses": {"text": {"value": "x"}, "untyped": DEEP}},
        {"responses": {"text": DEEP}},
        {"responses": {'"': {"value": "x"}}},
        {'"': 1},
        {"x": DEEP},
        {"submissions": [{"submission_id": "s2"}]},
        {"tasks": [{"task_id": "t"}]},  # and answers beside them
        {"tasks": []},
        {"tasks": {"t": {}}},
        {"responses": {"instruction_id": "text", "value": "x"}},
    ],
    ids=str,
)
def test_a_line_with_anything_else_in_it_is_not_typed(fields: Row) -> None:
    assert decoded_after(LINE, LINE | fields) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"study_id": "x"},
        {"x": {"y": [1]}},
        {"x": None},
        {"responses": {"nobody asked": {"value": "x"}}},
        {"responses": {"text": {"strokes": 9}, "number": {"value": 7}}},
        {"responses": {"text": None, "untyped": [[1]]}},
        {"responses": {}},
    ],
    ids=str,
)
def test_what_comes_later_is_typed_too(fields: Row) -> None:
    decoder = LineDecoder(COLUMNS)
    for line in (LINE, LINE | fields, LINE, LINE | {"x": 1}, LINE | fields):
        decoded = decoder.decode(json.dumps(line).encode())
        assert decoded
        same_rows(responses(line), decoded)


def same_rows(plain: Sequence[Response], typed: Sequence[Response]) -> None:
    assert [each.id for each in typed] == [each.id for each in plain]
    for table in (RESPONSES, ANSWERS):
        rows = [[*map(as_dict, table.rows(each))] for each in (plain, typed)]
        for row in (*rows[0], *rows[1]):
            if row.get("additional_fields"):
                row["additional_fields"] = json.loads(row["additional_fields"])
        assert sorted(map(text_of, rows[0])) == sorted(map(text_of, rows[1]))


def test_the_lines_of_batches_are_typed_too() -> None:
    task: Row = {"task_id": "t", "datapoint": {"a": 1}, "responses": LINE["responses"]}
    nested: Row = {"submission_id": "s", "id": "l", "tasks": [task, {**task, "task_id": "u"}]}
    for line in (nested, {"submission_id": "s", **task, "x": {"y": 1}}):
        typed = decoded_after(LINE, line)
        assert typed
        assert all(each.typed for each in typed)
        same_rows(responses(line), typed)
    odd: Row
    for odd in ({"submission_id": "o"}, {"responses": []}, {"datapoint": DEEP}, {"tasks": 1}):
        assert decoded_after(nested, {**nested, "tasks": [task | odd]}) is None


def test_types_are_not_made_anew_for_ever() -> None:
    decoder = LineDecoder(COLUMNS)
    lines = [json.dumps(LINE | {f"field {number}": 1}).encode() for number in range(1000)]
    assert 0 < sum(decoder.decode(line) is not None for line in lines) < 100
    assert decoder.decode(lines[0])


def test_two_questions_of_one_key_share_a_column() -> None:
    questions = [{"id": id_, "type": "free_text"} for id_ in ("q47044", "q53798")]
    columns = answer_columns(
        parse(DataCollectionRef(Kind.COLLECTION, "c"), {"instructions": questions}),
        AnswerNames("label"),
    )
    [key] = {column.key for column in columns.values()}
    given_ = {"q47044": {"value": "one"}, "q53798": {"value": "other"}}
    [response] = responses({"submission_id": "s", "responses": given_})
    [row] = ResponseTable(FACTS, columns, {}).rows([response])
    assert row.answers == {key: "other"}
    found = AnswerTable(FACTS, columns, {}).rows([response])
    assert [each.value for each in found] == ["one", "other"]


# A property that is text because the same question has another type elsewhere.
WIDENED = as_written(COLUMNS, dict.fromkeys(COLUMNS, TYPES["text"]))


@pytest.mark.parametrize("id_", QUESTIONS)
def test_a_widened_column_holds_the_texts_of_what_its_own_would_hold(id_: str) -> None:
    own, column = COLUMNS[id_], WIDENED[id_]
    for each in ENTRIES:
        fitted = fit(each, own.column_type, UPLOADS, own.repeated)
        value = fitted.value
        text = value if value is None or isinstance(value, str) else json_text(value)
        found = fit(each, column.column_type, UPLOADS, column.repeated)
        assert (found.value, found.lossless) == (text, fitted.lossless)


FOREIGN = {
    "text": WIDENED,
    "number": as_written(COLUMNS, dict.fromkeys(COLUMNS, TYPES["number"])),
}


@pytest.mark.parametrize("type_", FOREIGN)
@pytest.mark.parametrize("id_", USUAL)
def test_what_is_typed_as_it_is_decoded_has_the_types_that_the_tables_need(
    id_: str, type_: str
) -> None:
    own, column = COLUMNS[id_], FOREIGN[type_][id_]
    columns = {id_: column, "other": OTHER}
    table = ResponseTable(FACTS, columns, UPLOADS)
    answers = AnswerTable(FACTS, {id_: own, "other": OTHER}, UPLOADS)
    for entry in USUAL[id_]:
        fitted = fit(entry, column.column_type, UPLOADS, own.repeated)
        given_ = {id_: entry, "other": {"value": "x"}}
        typed = LineDecoder(columns, UPLOADS).decode(
            json.dumps({"submission_id": "s", "responses": given_}).encode()
        )
        assert typed
        plain = responses({"submission_id": "s", "responses": given_})
        assert typed[0].typed
        for row in map(as_dict, table.rows([*plain, *typed])):
            assert text_of(row["answers"]) == text_of({column.key: fitted.value, "other": "x"})
            assert (row["additional_fields"] is None) == fitted.lossless
        rows = [{*map(text_of, map(as_dict, answers.rows(each)))} for each in (plain, typed)]
        assert rows[0] == rows[1]


# Files.

NAMES = frozenset(path.rpartition("/")[2] for path in UPLOADS)


def check_names(column: AnswerColumn, entry: Any) -> bool:
    """Return whether an answer names an upload, having checked that it may."""
    paths = [upload_path(value, UPLOADS) for value in read(entry, column.repeated) or ()]
    is_named = any(path in UPLOADS for path in paths)
    assert may_name_file(entry, NAMES) or not is_named
    return is_named


@pytest.mark.parametrize("id_", QUESTIONS)
def test_an_answer_that_names_a_file_may_name_one(id_: str) -> None:
    column = COLUMNS[id_]
    made = [each for entry in ENTRIES for each in with_repeated(column, entry)]
    assert sum(check_names(column, each) for each in made) > 20


@settings(deadline=None)
@given(entries())
def test_whatever_names_a_file_may_name_one(drawn: tuple[AnswerColumn, Any]) -> None:
    check_names(*drawn)


def test_most_answers_name_no_file() -> None:
    for entry in ({"value": "Toast"}, {"value": 7}, ["x"], None, {"value": "a/b"}):
        assert not may_name_file(entry, NAMES)
