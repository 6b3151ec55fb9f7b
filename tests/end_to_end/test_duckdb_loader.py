"""The example loader, as Meltano has installed it, keeps every row and every value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support.meltano import needs_loaders
from tests.support.targets import DuckDB

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_loaders

TYPES: dict[str, dict[str, Any]] = {
    "id": {"type": "string"},
    "text": {"type": ["string", "null"]},
    "other": {"type": ["string", "null"]},
    "number": {"type": ["number", "null"]},
    "flag": {"type": ["boolean", "null"]},
    "json": {"type": ["object", "null"], "properties": {}},
}


Row = dict[str, Any]


def load(folder: Path, columns: list[str], rows: list[Row]) -> list[tuple[Any, ...]]:
    schema = {"type": "object", "properties": {name: TYPES[name] for name in columns}}
    messages: list[dict[str, Any]] = [
        {"type": "SCHEMA", "stream": "t", "schema": schema, "key_properties": ["id"]},
        *({"type": "RECORD", "stream": "t", "record": row} for row in rows),
        {"type": "STATE", "value": {}},
    ]
    target = DuckDB(folder)
    target.load("".join(json.dumps(message) + "\n" for message in messages))
    found = target.sql("SELECT * FROM t ORDER BY id")
    return [tuple(row[name] for name in columns) for row in found]


def test_a_batch_of_text_alone_keeps_its_first_row(tmp_path: Path) -> None:
    rows = [{"id": f"{n}", "text": f"row {n}", "other": "x"} for n in range(5)]
    found = load(tmp_path, ["id", "text", "other"], rows)
    assert found == [(f"{n}", f"row {n}", "x") for n in range(5)]


def test_every_kind_of_value_arrives_as_it_is(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"id": "1", "text": "", "number": 0, "flag": False, "json": {}},
        {"id": "2", "text": None, "number": None, "flag": None, "json": None},
        {"id": "3", "text": 'a,"b"\r\nc\té', "number": 1.5, "flag": True, "json": {"A": [1, ""]}},
        {"id": "4", "text": "NULL", "number": -1e300, "flag": True, "json": {"a": "NULL"}},
    ]
    found = load(tmp_path, ["id", "text", "number", "flag", "json"], rows)
    plain = [(*row[:-1], None if row[-1] is None else json.loads(row[-1])) for row in found]
    assert plain == [tuple(row.values()) for row in rows]


def test_a_second_run_updates_rows_in_place(tmp_path: Path) -> None:
    load(tmp_path, ["id", "text"], [{"id": "1", "text": "old"}, {"id": "2", "text": "stays"}])
    found = load(tmp_path, ["id", "text"], [{"id": "1", "text": ""}, {"id": "3", "text": "new"}])
    assert found == [("1", ""), ("2", "stays"), ("3", "new")]
