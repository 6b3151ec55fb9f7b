"""The example loader, as Meltano has installed it, keeps every row and every value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.meltano import needs_loaders
from tests.support.targets import DuckDB

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_loaders

TYPES: dict[str, dict[str, Any]] = {
    "id": {"type": "string"},
    "part": {"type": "string"},
    "text": {"type": ["string", "null"]},
    "other": {"type": ["string", "null"]},
    "number": {"type": ["number", "null"]},
    "flag": {"type": ["boolean", "null"]},
    "integer": {"type": ["integer", "null"]},
    "json": {"type": ["object", "null"], "properties": {}},
    "list": {"type": ["array", "null"]},
    "Cased": {"type": ["string", "null"]},
    "cased": {"type": ["string", "null"]},
}

Row = dict[str, Any]


def load(
    folder: Path, columns: list[str], rows: list[Row], key: tuple[str, ...] = ("id",), **config: Any
) -> list[Row]:
    schema = {"type": "object", "properties": {name: TYPES[name] for name in columns}}
    messages: list[dict[str, Any]] = [
        {"type": "SCHEMA", "stream": "t", "schema": schema, "key_properties": key},
        *({"type": "RECORD", "stream": "t", "record": row} for row in rows),
        {"type": "STATE", "value": {}},
    ]
    target = DuckDB(folder)
    target.load("".join(json.dumps(message) + "\n" for message in messages), **config)
    found = target.sql("SELECT * FROM t ORDER BY id")
    return [{name: row[name.lower()] for name in columns} for row in found]


def test_a_batch_of_text_alone_keeps_its_first_row(tmp_path: Path) -> None:
    rows = [{"id": f"{n}", "text": f"row {n}", "other": "x"} for n in range(5)]
    assert load(tmp_path, ["id", "text", "other"], rows) == rows


def test_every_kind_of_value_arrives_as_it_is(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"id": "1", "text": "", "number": 0, "flag": False},
        {"id": "2", "text": None, "number": None, "flag": None},
        {"id": "3", "text": 'a,"b"\r\nc\té', "number": 1.5, "flag": True},
        {"id": "4", "text": "NULL", "number": -1e300, "flag": True},
        {"id": "5", "text": "\\N", "number": 2**53, "flag": None},
        {"id": "6", "text": "a\0b", "number": 0.1, "flag": False},
        {"id": "7", "text": "true", "number": 1e-300, "flag": True},
    ]
    assert load(tmp_path, ["id", "text", "number", "flag"], rows) == rows


def test_integers_keep_every_digit(tmp_path: Path) -> None:
    numbers = [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 10**30, None]
    rows: list[Row] = [{"id": f"{n}", "integer": number} for n, number in enumerate(numbers)]
    assert load(tmp_path, ["id", "integer"], rows) == rows


NESTED: list[Row] = [
    {"json": {}, "list": []},
    {"json": None, "list": None},
    {"json": {"A": [1, ""], "a": {"a": None}}, "list": [None, True, {"b": [0.1]}]},
    {"json": {"a": "NULL", "n": 2**53 + 1}, "list": ["", '"', "é\u2028", "null"]},
    {"json": {"\0": "a\0b"}, "list": ["\0"]},
]


@pytest.mark.parametrize("level", [0, 2])
def test_objects_and_lists_arrive_as_json(level: int, tmp_path: Path) -> None:
    rows = [{"id": f"{n}", **row} for n, row in enumerate(NESTED)]
    # An object without properties has no columns when the target flattens.
    columns = ["id", "list"] if level else ["id", "json", "list"]
    found = load(tmp_path, columns, rows, data_flattening_max_level=level)
    for row in found:
        for name in columns[1:]:
            row[name] = None if row[name] is None else json.loads(row[name])
    assert found == [{name: row[name] for name in columns} for row in rows]


def test_a_record_without_a_column_leaves_it_null_and_more_than_its_columns_is_ignored(
    tmp_path: Path,
) -> None:
    rows: list[Row] = [{"id": "1", "text": "x"}, {"id": "2", "flag": False, "more": {"a": 1}}]
    assert load(tmp_path, ["id", "text", "flag"], rows) == [
        {"id": "1", "text": "x", "flag": None},
        {"id": "2", "text": None, "flag": False},
    ]


def test_names_are_lower_case_and_those_that_are_then_alike_are_refused(tmp_path: Path) -> None:
    assert load(tmp_path, ["id", "Cased"], [{"id": "1", "Cased": "x"}]) == [
        {"id": "1", "Cased": "x"}
    ]
    (tmp_path / "both").mkdir()
    row = {"id": "1", "Cased": "x", "cased": "y"}
    with pytest.raises(AssertionError, match='Column with name "cased" already exists'):
        load(tmp_path / "both", ["id", "Cased", "cased"], [row])


def test_a_key_of_several_columns_is_not_taken_for_another(tmp_path: Path) -> None:
    rows = [{"id": "a", "part": "b,c"}, {"id": "a,b", "part": "c"}]
    assert load(tmp_path, ["id", "part"], rows, key=("id", "part")) == rows


def test_of_a_key_that_comes_twice_in_a_run_the_last_row_stays(tmp_path: Path) -> None:
    rows = [{"id": "1", "text": "old"}, {"id": "2", "text": "x"}, {"id": "1", "text": ""}]
    assert load(tmp_path, ["id", "text"], rows) == [rows[2], rows[1]]


def test_a_stream_without_a_key_keeps_all_rows(tmp_path: Path) -> None:
    rows = [{"id": "1", "text": "x"}, {"id": "1", "text": "x"}]
    assert load(tmp_path, ["id", "text"], rows, key=(), primary_key_required=False) == rows


def test_a_second_run_updates_rows_in_place(tmp_path: Path) -> None:
    load(tmp_path, ["id", "text"], [{"id": "1", "text": "old"}, {"id": "2", "text": "stays"}])
    found = load(tmp_path, ["id", "text"], [{"id": "1", "text": ""}, {"id": "3", "text": "new"}])
    assert [tuple(row.values()) for row in found] == [("1", ""), ("2", "stays"), ("3", "new")]
