"""Compare tables with what the stand-in holds, row for row and value for value.

It reads the stand-in's own content and imports nothing of the tap: what is expected is written
down beside the samples.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import duckdb

    from tests.stand_in import Hosted, World

Rows = dict[tuple[str, ...], dict[str, Any]]

KEYS = {
    "collections": ("data_collection_id",),
    "instructions": ("data_collection_id", "instruction_id"),
    "responses": ("data_collection_id", "response_id"),
}
# Columns that hold JSON text, or JSON itself: compared as what they say.
JSON = {"answers", "additional_fields", "datasets", "layout", "options", "task_details"}
JSON |= {"unit_options", "validation", "accepted_file_types"}
TIMES = {"created_at", "submitted_at"}


def differences(rows_of: Callable[[str], Iterable[dict[str, Any]]], world: World) -> list[str]:
    """Return a sentence for everything that differs; none if all is as it must be.

    Args:
        rows_of: Returns the rows of a table, as a target or as Singer has them.
        world: What they must equal.
    """
    return [
        difference
        for table in KEYS
        for difference in _compare(table, _expected(table, world), list(rows_of(table)))
    ]


def tables_of(
    connection: duckdb.DuckDBPyConnection,
) -> Callable[[str], Iterable[dict[str, Any]]]:
    """Return what reads the rows of a warehouse's tables."""

    def rows_of(table: str) -> Iterator[dict[str, Any]]:
        cursor = connection.execute(f"SELECT * FROM {table}")  # noqa: S608
        names = [column[0] for column in cursor.description or ()]
        for values in cursor.fetchall():
            yield dict(zip(names, values, strict=True))

    return rows_of


def _compare(table: str, expected: Rows, rows: list[dict[str, Any]]) -> Iterator[str]:
    found = {tuple(row[name] for name in KEYS[table]): row for row in rows}
    if len(expected) != len(rows):
        yield f"{table}: {len(rows)} rows, not {len(expected)}"
    for key in expected.keys() | found.keys():
        if key not in found:
            yield f"{table}: row {key} is missing"
        elif key not in expected:
            yield f"{table}: row {key} should not be there"
        else:
            for name, value in expected[key].items():
                if name not in found[key]:
                    yield f"{table}: there is no column {name}"
                elif (got := _plain(name, found[key][name])) != value:
                    yield f"{table}: row {key}: {name} is {got!r}, not {value!r}"


def _plain(name: str, value: Any) -> Any:
    if name in JSON and isinstance(value, str):
        return json.loads(value)
    if name in TIMES and isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=timezone.utc)
    return value


def _expected(table: str, world: World) -> Rows:
    make = {
        "collections": _collections,
        "instructions": _instructions,
        "responses": _responses,
    }[table]
    rows = (row for hosted in world.hosted.values() for row in make(hosted))
    return {tuple(row[name] for name in KEYS[table]): row for row in rows}


def _collections(hosted: Hosted) -> Iterator[dict[str, Any]]:
    yield {
        "data_collection_id": hosted.id,
        "data_collection_method": {
            "collections": "AI_TASK_BUILDER_COLLECTION",
            "batches": "AI_TASK_BUILDER_BATCH",
        }[hosted.kind],
        "name": hosted.metadata["name"],
        "workspace_id": hosted.workspace_id,
        "status": hosted.metadata["status"],
        "schema_version": str(hosted.metadata["schema_version"]),
        "created_at": datetime.fromisoformat(hosted.metadata["created_at"].replace("Z", "+00:00")),
        "created_by": hosted.metadata.get("created_by"),
        "task_details": hosted.metadata.get("task_details"),
        "datasets": hosted.metadata.get("datasets"),
        "layout": hosted.layout or None,
        "instruction_count": len(hosted.instructions),
        "exported_response_count": sum(len(s.expected) for s in hosted.submissions.values()),
        "exported_file_count": sum(len(s.uploads) for s in hosted.submissions.values()),
        "export_filter": None,
        "additional_fields": None,
    }


def _instructions(hosted: Hosted) -> Iterator[dict[str, Any]]:
    pages = {
        item["id"]: number
        for number, page in enumerate(hosted.layout, 1)
        for item in _items_of(page)
    }
    for position, instruction in enumerate(hosted.instructions, 1):
        named = ["type", "description", "options", "answer_limit", "unit_options", "default_unit"]
        named += ["unit_position", "validation", "accepted_file_types", "max_stars"]
        yield {
            "data_collection_id": hosted.id,
            "instruction_id": instruction["id"],
            "answer_key": instruction["id"],
            "position": position,
            "page": pages.get(instruction["id"]),
            **{name: instruction.get(name) for name in named},
            "additional_fields": {"order": instruction["order"]},
        }


def _items_of(page: dict[str, Any]) -> list[dict[str, Any]]:
    if "page_items" in page:
        return list(page["page_items"])
    return [i for row in page["rows"] for column in row["columns"] for i in column["items"]]


def _responses(hosted: Hosted) -> Iterator[dict[str, Any]]:
    for submission in hosted.submissions.values():
        line = submission.line
        for task_id, answers in submission.expected.items():
            rest = {"datapoint": task["datapoint"]} if (task := _task(line, task_id)) else None
            yield {
                "data_collection_id": hosted.id,
                "response_id": line["submission_id"] + (f":{task_id}" if task_id else ""),
                "submission_id": line["submission_id"],
                "participant_id": line["participant_id"],
                "study_id": line["study_id"],
                "task_id": task_id,
                "submitted_at": submission.submitted_at,
                "answers": answers,
                "additional_fields": rest,
            }


def _task(line: dict[str, Any], task_id: str | None) -> dict[str, Any] | None:
    return next((task for task in line.get("tasks", ()) if task["task_id"] == task_id), None)
