"""Compare tables with what the stand-in holds, row for row and value for value.

It reads the stand-in's own content and imports nothing of the tap: what is expected is written
down beside the samples.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import duckdb

    from tests.support.stand_in import Hosted, World

Rows = dict[tuple[Any, ...], dict[str, Any]]

KEYS = {
    "collections": ("data_collection_id",),
    "instructions": ("data_collection_id", "instruction_id"),
    "tasks": ("data_collection_id", "task_id"),
    "responses": ("data_collection_id", "response_id"),
    "answers": ("data_collection_id", "response_id", "instruction_id", "answer_index"),
    "files": ("data_collection_id", "path"),
}
# The streams whose rows are made of the lines and uploads of an archive.
OF_RESPONSES = ("tasks", "responses", "answers", "files")
# Columns that hold JSON text, or JSON itself: compared as what they say.
JSON = {"answers", "additional_fields", "datasets", "layout", "options", "task_details"}
JSON |= {"unit_options", "validation", "accepted_file_types", "datapoint"}
TIMES = {"created_at", "submitted_at"}


def differences(
    rows_of: Callable[[str], Iterable[dict[str, Any]]], world: World, store: Path | None = None
) -> list[str]:
    """Return a sentence for everything that differs; none if all is as it must be.

    Properties of answers may be named by the ids of the questions or by labels.

    Args:
        rows_of: Returns the rows of a table, as a target or as Singer has them.
        world: What they must equal.
        store: Where the uploaded files must lie; None where they are not stored.
    """
    questions = [each["id"] for hosted in world.hosted.values() for each in hosted.instructions]
    ids = {hashlib.sha256(id_.encode()).hexdigest()[:8]: id_ for id_ in questions}
    return [
        difference
        for table in KEYS
        for difference in _compare(table, _expected(table, world, store), list(rows_of(table)), ids)
    ] + [
        f"{path.relative_to(store)} is not what was uploaded"
        for hosted in world.hosted.values()
        for submission in hosted.submissions.values()
        for name, content in submission.uploads.items()
        if store and ((path := store / hosted.id / name).read_bytes() != content)
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


def _compare(
    table: str, expected: Rows, rows: list[dict[str, Any]], ids: dict[str, str]
) -> Iterator[str]:
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
                elif value is ...:  # a number's text, however it is spelt
                    if float(found[key][name]) != expected[key]["value_number"]:
                        yield f"{table}: row {key}: {name} is {found[key][name]!r}"
                elif (got := _with_ids(name, _plain(name, found[key][name]), ids)) != value:
                    yield f"{table}: row {key}: {name} is {got!r}, not {value!r}"


def _with_ids(name: str, value: Any, ids: dict[str, str]) -> Any:
    """Return a value with the ids of questions, where it may have their labels.

    Args:
        name: The value's column.
        value: The value.
        ids: The ids of all questions, by the digest at the end of their labels.
    """
    if name == "answer_key":
        return ids.get(value.rpartition("_")[2], value)
    if name == "answers" and isinstance(value, dict):
        named = {_with_ids("answer_key", key, ids): each for key, each in value.items()}
        return named if len(named) == len(value) else value
    return value


def _plain(name: str, value: Any) -> Any:
    if name in JSON and isinstance(value, str):
        return json.loads(value)
    if name in TIMES and isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=timezone.utc)
    return value


def _expected(table: str, world: World, store: Path | None) -> Rows:
    make: dict[str, Callable[[Hosted], Iterator[dict[str, Any]]]] = {
        "collections": _collections,
        "instructions": _instructions,
        "tasks": _tasks,
        "responses": _responses,
        "answers": _answers,
        "files": partial(_files, store=store),
    }
    rows = (row for hosted in world.hosted.values() for row in make[table](hosted))
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
            yield {
                "data_collection_id": hosted.id,
                "response_id": line["submission_id"] + (f":{task_id}" if task_id else ""),
                "submission_id": line["submission_id"],
                "participant_id": line["participant_id"],
                "study_id": line["study_id"],
                "task_id": task_id,
                "submitted_at": submission.submitted_at,
                "answers": answers,
                "additional_fields": None,
            }


def _tasks(hosted: Hosted) -> Iterator[dict[str, Any]]:
    tasks = {
        task["task_id"]: task
        for submission in hosted.submissions.values()
        for task in submission.line.get("tasks", ())
    }
    for task_id, task in tasks.items():
        yield {
            "data_collection_id": hosted.id,
            "task_id": task_id,
            "datapoint": task["datapoint"],
            "additional_fields": None,
        }


def _answers(hosted: Hosted) -> Iterator[dict[str, Any]]:
    """Yield the long form of what `answers` must be: one row for each value in it."""
    questions = {instruction["id"]: instruction for instruction in hosted.instructions}
    for row in _responses(hosted):
        for instruction_id, typed in row["answers"].items():
            question = questions[instruction_id]
            values = typed if isinstance(typed, list) else [typed]
            for index, value in enumerate(values, 1):
                yield {
                    "data_collection_id": hosted.id,
                    "response_id": row["response_id"],
                    "instruction_id": instruction_id,
                    "answer_index": index,
                    "submission_id": row["submission_id"],
                    "participant_id": row["participant_id"],
                    "task_id": row["task_id"],
                    "instruction_type": question["type"],
                    "question": question["description"],
                    **_value(value, question),
                }


def _value(given: Any, question: dict[str, Any]) -> dict[str, Any]:
    fields = given if isinstance(given, dict) else {"value": given}
    value = fields.get("value")
    columns: dict[str, Any] = {
        "value": value,
        "value_number": None,
        "value_boolean": None,
        "value_label": None,
        "unit": fields.get("unit"),
        "explanation": fields.get("explanation"),
        "file_path": fields.get("path"),
        "raw": None,
    }
    if question["type"] == "drawing":  # a shape that nobody foresaw
        return columns | {"value": None, "raw": value}
    for option in question.get("options", ()):
        if option["value"] == value and type(option["value"]) is type(value):
            columns["value_label"] = option["label"]
    if isinstance(value, bool):
        return columns | {"value": str(value).lower(), "value_boolean": value}
    if isinstance(value, (int, float)):
        return columns | {"value_number": value, "value": ...}
    return columns


def _files(hosted: Hosted, store: Path | None) -> Iterator[dict[str, Any]]:
    for submission in hosted.submissions.values():
        for name, content in submission.uploads.items():
            [described] = submission.expected[None]["q-photo"]
            yield {
                "data_collection_id": hosted.id,
                "path": f"files/{name}",
                "submission_id": submission.line["submission_id"],
                "participant_id": submission.line["participant_id"],
                "instruction_id": "q-photo",
                "task_id": None,
                "file_name": described["file_name"],
                "content_type": described["content_type"],
                "size_bytes": len(content),
                "crc32": f"{zlib.crc32(content):08x}",
                "sha256": hashlib.sha256(content).hexdigest() if store else None,
                "uri": (store / hosted.id / name).as_uri() if store else None,
            }
