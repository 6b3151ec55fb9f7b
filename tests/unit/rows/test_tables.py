from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from msgspec.structs import asdict

from tap_prolific_export.archive.export_archive import Upload
from tap_prolific_export.model import DataCollectionRef, ExportFilter, Kind
from tap_prolific_export.rows.collection import parse
from tap_prolific_export.rows.labels import AnswerNames
from tap_prolific_export.rows.responses import responses
from tap_prolific_export.rows.schema import (
    COLLECTIONS,
    INSTRUCTIONS,
    RESPONSES,
    STREAMS,
    StreamColumns,
    answers_schema,
)
from tap_prolific_export.rows.tables import (
    ExportFacts,
    ResponseTable,
    answer_columns,
    collection_row,
    instruction_rows,
)
from tests.support.json_texts import escaped
from tests.support.questions import scalars

if TYPE_CHECKING:
    from tap_prolific_export.rows.tables import Row
    from tap_prolific_export.settings import AnswerKeys

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
DIARY = DataCollectionRef(Kind.COLLECTION, "diary")
FACTS = ExportFacts("diary", "export-1", NOON)
SHARED = {
    "data_collection_id": "diary",
    "export_id": "export-1",
    "exported_at": "2026-11-23T12:00:00+00:00",
}
QUESTIONS: list[dict[str, Any]] = [
    {"id": "drink", "type": "multiple_choice", "answer_limit": 1, "description": "A drink?"},
    {"id": "minutes", "type": "free_text", "validation": {"type": "number"}},
    {"id": "photo", "type": "file_upload"},
    {"id": "stars", "type": "star_rating"},
    {"id": "sketch", "type": "drawing"},
]


def of_collection(metadata: Row, ref: DataCollectionRef = DIARY) -> Row:
    return collection_row(
        FACTS, parse(ref, metadata), file_count=2, archive_bytes=99, export_filter=None
    )


def of_instructions(*items: Any) -> list[Row]:
    return instruction_rows(
        FACTS, parse(DIARY, {"instructions": [*items]}), AnswerNames("instruction_id")
    )


def of_response(line: Row, keys: AnswerKeys = "instruction_id") -> tuple[Row, int]:
    [response] = responses({"submission_id": "s", **line})
    columns = answer_columns(parse(DIARY, {"instructions": QUESTIONS}), AnswerNames(keys))
    table = ResponseTable(FACTS, columns, {"files/s_a.png": Upload(7, 0, None)})
    [row] = table.rows([response])
    return asdict(row), table.misfits


def told(row: Row) -> Row:
    """Return what a row tells beyond what every row does."""
    own = {"layout", "instruction_count", "exported_response_count", "exported_file_count"}
    own |= {"archive_bytes", "export_filter", "data_collection_method", "position", "page"}
    own |= {"answer_key", "instruction_id", *SHARED}
    return {name: value for name, value in row.items() if value is not None and name not in own}


def beside(row: Row) -> Any:
    """Return what stands in a row's additional fields."""
    return row["additional_fields"] and json.loads(row["additional_fields"])


@pytest.mark.parametrize(
    ("stream", "rows"),
    [
        (COLLECTIONS, [of_collection({}), of_collection({"name": "Diary", "answers": 7})]),
        (INSTRUCTIONS, of_instructions(*QUESTIONS, {"id": "x", "answers": 7})),
        (RESPONSES, [of_response({})[0], of_response({"responses": {"x": 7}, "name": "x"})[0]]),
    ],
    ids=["collections", "instructions", "responses"],
)
def test_a_row_has_exactly_its_streams_columns(stream: StreamColumns, rows: list[Row]) -> None:
    for row in rows:
        assert row.keys() == {column.name for column in stream.columns}
        assert SHARED.items() <= row.items()


def test_the_row_of_a_collection_tells_of_its_layout_and_its_export() -> None:
    batch = DataCollectionRef(Kind.BATCH, "diary")
    layout = [{"rows": [{"columns": [{"items": [QUESTIONS[0]]}]}]}]
    found = collection_row(
        FACTS,
        parse(batch, {"name": "Captions", "batch_items": layout, "instructions": QUESTIONS}),
        file_count=2,
        archive_bytes=99,
        export_filter=ExportFilter("study", NOON),
    )
    assert json.loads(found.pop("layout")) == layout
    assert json.loads(found.pop("export_filter")) == {
        "study_id": "study",
        "from": "2026-11-23T12:00:00+00:00",
    }
    assert {name: value for name, value in found.items() if value is not None} == {
        **SHARED,
        "name": "Captions",
        "data_collection_method": "AI_TASK_BUILDER_BATCH",
        "instruction_count": 5,
        "exported_file_count": 2,
        "archive_bytes": 99,
    }


# Metadata, and what its row must tell: columns first, then what stands beside them.
METADATA: dict[str, tuple[Row, Row, Any]] = {
    "texts": ({"name": "Diary", "status": ""}, {"name": "Diary", "status": ""}, None),
    "number-in-a-text-column": ({"schema_version": 3}, {"schema_version": "3"}, None),
    "json": ({"datasets": [{"id": 1}]}, {"datasets": '[{"id":1}]'}, None),
    "time": ({"created_at": "2026-11-10"}, {"created_at": "2026-11-10T00:00:00+00:00"}, None),
    "no-time": ({"created_at": "soon"}, {}, {"created_at": "soon"}),
    "list-in-a-text-column": ({"name": ["Diary"]}, {}, {"name": ["Diary"]}),
    "no-column": ({"seen": {"by": [1]}, "name": "x"}, {"name": "x"}, {"seen": {"by": [1]}}),
    "null": ({"name": None, "seen": None}, {}, None),
    "own-id": ({"id": "diary"}, {}, None),
    "another-id": ({"id": "other"}, {}, {"id": "other"}),
    "own-method": ({"data_collection_method": "AI_TASK_BUILDER_COLLECTION"}, {}, None),
    "another-method": ({"data_collection_method": "X"}, {}, {"data_collection_method": "X"}),
    "names-of-ours": (
        {"export_id": "x", "layout": 1, "archive_bytes": 2, "additional_fields": "y"},
        {},
        {"export_id": "x", "layout": 1, "archive_bytes": 2, "additional_fields": "y"},
    ),
}


@pytest.mark.parametrize(("metadata", "columns", "kept"), METADATA.values(), ids=METADATA)
def test_metadata_stands_in_its_columns_or_beside_them(
    metadata: Row, columns: Row, kept: Any
) -> None:
    row = of_collection(metadata)
    assert beside(row) == kept
    assert told({**row, "additional_fields": None}) == columns


FIELDS: dict[str, tuple[Row, Row, Any]] = {
    "known": (
        {"type": "free_text", "description": "What?", "max_stars": 5, "max_file_size_mb": 2.5},
        {"type": "free_text", "description": "What?", "max_stars": 5, "max_file_size_mb": 2.5},
        None,
    ),
    "json": ({"options": [{"value": 1}]}, {"options": '[{"value":1}]'}, None),
    "order": ({"order": 2}, {}, {"order": 2}),
    "unheard-of": ({"tags": ["x"]}, {}, {"tags": ["x"]}),
    "text-for-integer": ({"max_stars": "5"}, {}, {"max_stars": "5"}),
    "float-for-integer": ({"answer_limit": 1.5}, {}, {"answer_limit": 1.5}),
    "boolean-for-number": ({"max_file_size_mb": True}, {}, {"max_file_size_mb": True}),
    "integer-that-no-float-holds": (
        {"max_file_size_mb": (1 << 53) + 1},
        {},
        {"max_file_size_mb": (1 << 53) + 1},
    ),
    "names-of-ours": ({"page": 9, "position": 9}, {}, {"page": 9, "position": 9}),
}


def test_the_text_of_a_question_stays_as_it_came() -> None:
    text = "<p>3&nbsp;<b>things</b></p>"
    items = [{"id": "q", "type": "free_text", "description": text}]
    [row] = instruction_rows(FACTS, parse(DIARY, {"instructions": items}), AnswerNames("label"))
    assert row["description"] == text
    assert row["answer_key"].startswith("q_3_things_")


@pytest.mark.parametrize(("fields", "columns", "kept"), FIELDS.values(), ids=FIELDS)
def test_a_question_stands_in_its_columns_or_beside_them(
    fields: Row, columns: Row, kept: Any
) -> None:
    _, row = of_instructions({"id": "first"}, {"id": "q", **fields})
    assert (row["instruction_id"], row["answer_key"]) == ("q", "q")
    assert (row["position"], row["page"]) == (2, None)
    assert beside(row) == kept
    assert told({**row, "additional_fields": None}) == columns


def test_a_response_has_the_columns_of_its_line() -> None:
    ids = {"submission_id": "s", "participant_id": "p", "study_id": "y", "task_id": "t"}
    row, misfits = of_response({**ids, "submitted_at": "2026-11-20", "seen": 1})
    assert misfits == 0
    assert row == {
        **SHARED,
        **ids,
        "response_id": "s:t",
        "submitted_at": "2026-11-20T00:00:00+00:00",
        "answers": {},
        "additional_fields": '{"seen":1}',
    }


PHOTO = {"path": "files/s_a.png", "file_name": "s_a.png", "content_type": None, "size_bytes": 7}

# Answers by instruction, what becomes of them, and what is kept as it came.
ANSWERS: dict[str, tuple[Row, Row, Row]] = {
    "fitting": ({"drink": "tea", "minutes": "4"}, {"drink": "tea", "minutes": 4}, {}),
    "sized": (
        {"photo": {"path": "files/s_a.png", "type": "file_upload", "instruction_id": "photo"}},
        {"photo": [PHOTO]},
        {},
    ),
    "misfit": ({"minutes": {"value": "a lot"}}, {"minutes": None}, {"minutes": {"value": "a lot"}}),
    "more-said": ({"stars": {"value": 4, "x": 1}}, {"stars": 4}, {"stars": {"value": 4, "x": 1}}),
    "type-unheard-of": ({"sketch": [1, 2]}, {"sketch": "[1,2]"}, {}),
    "unknown-question": ({"other": {"value": 1}}, {}, {"other": {"value": 1}}),
    "unanswered": ({"drink": None}, {"drink": None}, {}),
}


@pytest.mark.parametrize(("given_", "answers", "kept"), ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("more", [{}, {"seen": 1}, {"answers": [7]}], ids=["", "seen", "answers"])
def test_an_answer_stands_in_its_column_or_is_kept(
    given_: Row, answers: Row, kept: Row, more: Row
) -> None:
    row, misfits = of_response({"responses": given_, **more})
    assert row["answers"] == answers
    assert misfits == len(kept)
    if kept and "answers" in more:  # the line's own field of that name must not be hidden
        more = {"answers_": [7]}
    assert beside(row) == ({**more, **({"answers": kept} if kept else {})} or None)


def test_a_lines_own_fields_survive_whatever_their_names() -> None:
    row, _ = of_response({"responses": {"other": 1}, "answers": "mine", "answers_": "mine too"})
    assert {"mine", "mine too"} <= {*leaves(beside(row))}


@pytest.mark.parametrize(
    "line",
    [
        {"responses": {"drink": "SECRET", "minutes": 4}},
        {"responses": {"drink": "a\0SECRET"}},
        {"responses": [{"instruction_id": "drink", "value": "SECRET"}, {}, None]},
        {"responses": [{"instruction_id": "drink", "value": "SECRET"}] * 2},
        {"responses": {"drink": "SECRET"}, "tasks": [{"task_id": "t", "responses": {"stars": 3}}]},
        {"responses": "SECRET"},
        {"answers": {"drink": "SECRET"}},
        {"submission": {"responses": {"drink": "SECRET"}}},
    ],
)
def test_a_hidden_answer_appears_nowhere_however_it_came(line: Row) -> None:
    columns = answer_columns(
        parse(DIARY, {"instructions": QUESTIONS}), AnswerNames("instruction_id")
    )
    line = {"submission_id": "s", "seen": 1, **line}
    came = json.loads(json.dumps(line))
    clean = json.loads(json.dumps(line).replace("\\u0000", "\\ufffd"))
    for response in responses(clean, None if clean == came else came):
        [shown] = ResponseTable(FACTS, columns, {}).rows([response])
        [hidden] = ResponseTable(FACTS, columns, {}, hidden={"drink"}).rows([response])
        assert "SECRET" in str(shown)
        assert "SECRET" not in str(hidden)
        assert beside(asdict(hidden))["seen"] == 1
        [frozen] = ResponseTable(FACTS, {}, {}, hide_unknown=True).rows([response])
        assert "SECRET" not in str(frozen)


def test_answers_may_stand_under_their_questions() -> None:
    row, _ = of_response({"responses": {"drink": "tea", "minutes": "long"}}, "label")
    assert row["answers"] == {"a_drink_218ae6b4": "tea", "question_90e63d85": None}
    assert beside(row) == {"answers": {"minutes": "long"}}


def leaves(node: Any) -> list[str]:
    """Return all that a JSON value says, as text; nulls say nothing."""
    found = [each for each in scalars(node) if each is not None]
    return [escaped(each) if isinstance(each, str) else json.dumps(each) for each in found]


def lost(raw: Any, *told: tuple[StreamColumns, Row]) -> Counter[str]:
    """Return what the rows do not say of what came."""
    missing = Counter(leaves(raw))
    for stream, row in told:
        json_columns = {column.name for column in stream.columns if column.type == "json"}
        for name, value in row.items():
            missing -= Counter(
                leaves(json.loads(value) if name in json_columns and value else value)
            )
    return missing


# Metadata as it might come one day; each must stand in some row with all that it says.
UNFORESEEN: dict[str, Row] = {
    "questions-by-id": {"instructions": {"q": {"type": "lost"}}},
    "question-without-id": {"instructions": [{"type": "lost"}]},
    "content-in-the-list": {"instructions": [{"id": "q", "type": "image", "src": "lost"}]},
    "question-twice": {"instructions": [{"id": "q", "type": "lost"}, {"id": "q", "type": "x"}]},
    "two-layouts": {"collection_items": [{"id": "a"}], "batch_items": [{"id": "lost"}]},
}


@pytest.mark.parametrize("raw", UNFORESEEN.values(), ids=UNFORESEEN)
def test_metadata_that_nobody_foresaw_is_kept(raw: Row) -> None:
    rows = instruction_rows(FACTS, parse(DIARY, raw), AnswerNames("instruction_id"))
    assert "lost" in json.dumps([of_collection(raw), *rows])


# Each has but one spelling: no text that a number column, or a path, would write anew.
TIME = st.datetimes(timezones=st.just(timezone.utc)).map(datetime.isoformat)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Nd"], exclude_characters="./"))
NUMBER = st.integers() | st.integers(-999, 999).map(lambda number: number / 2 + 0.25)
scalar: st.SearchStrategy[Any] = st.none() | st.booleans() | NUMBER | TEXT | TIME
COLUMNS = [column.name for stream in STREAMS for column in stream.columns]
names = st.sampled_from([name for name in COLUMNS if name != "answers"] + ["id", "order"]) | TEXT
anything = st.recursive(
    scalar,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(names, anything, max_size=6)


questions = st.builds(
    lambda fields, id_, type_: {**fields, "id": id_, "type": type_},
    objects,
    st.sampled_from("abc") | anything,
    st.sampled_from(["free_text", "image"]) | anything,
)
items = anything | questions | st.lists(questions | anything, max_size=3)
LAYOUT = st.sampled_from(["collection_items", "batch_items", "instructions"])


@settings(max_examples=200)
@given(objects, st.dictionaries(LAYOUT, items))
@example({}, {"instructions": {"id": "a", "type": "free_text", "max_file_size_mb": [9]}})
def test_whatever_the_metadata_is_its_rows_are_valid_and_say_it(fields: Row, more: Row) -> None:
    collection = parse(DIARY, {**fields, **more})
    rows = [(COLLECTIONS, of_collection({**fields, **more}))]
    rows += [
        (INSTRUCTIONS, row) for row in instruction_rows(FACTS, collection, AnswerNames("label"))
    ]
    for stream, row in rows:
        Draft7Validator(stream.json_schema()).validate(row)
    assert not lost({**fields, **more}, *rows)


ids = st.sampled_from([each["id"] for each in QUESTIONS])
entries = anything | st.dictionaries(st.sampled_from(["value", "unit", "answer"]), anything)
RESPONSE = RESPONSES.json_schema()
RESPONSE["properties"]["answers"] = {
    "properties": answers_schema(
        [parse(DIARY, {"instructions": QUESTIONS})], AnswerNames("instruction_id")
    )
}


@settings(max_examples=200)
@given(objects, st.dictionaries(ids | TEXT, entries, max_size=4))
@example({"task_id": "t", "datapoint": False}, {})  # the row of the task holds it
def test_whatever_a_line_is_its_row_is_valid_and_says_it(line: Row, given_: Row) -> None:
    line = {"submission_id": "s", **line, "responses": given_}
    row, _ = of_response(line)
    Draft7Validator(RESPONSE).validate(row)
    if sketch := row["answers"].get("sketch"):  # a type unheard of: JSON
        row["answers"]["sketch"] = json.loads(sketch)
    [response] = responses(line)
    in_tasks = Counter(leaves(response.datapoint))
    assert not lost(line, (RESPONSES, row)) - in_tasks
