"""Parsed things -> the rows of each stream; pure.

A row has exactly the columns of `schema`; what it cannot place goes to ``additional_fields``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tap_prolific_export.answers import Shape, fit, json_text, shape_of
from tap_prolific_export.lines import beside
from tap_prolific_export.schema import COLLECTIONS, INSTRUCTIONS, StreamColumns, answer_key
from tap_prolific_export.times import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tap_prolific_export.api import ExportFilter
    from tap_prolific_export.collection import DataCollection
    from tap_prolific_export.lines import Response
    from tap_prolific_export.settings import AnswerKeys

Row = dict[str, Any]


@dataclass(frozen=True)
class ExportFacts:
    """What every row says about the export it came with."""

    data_collection_id: str
    export_id: str | None
    exported_at: datetime

    def as_row(self) -> Row:
        """Return the columns that all streams share."""
        return {
            "data_collection_id": self.data_collection_id,
            "export_id": self.export_id,
            "exported_at": self.exported_at.isoformat(),
        }


@dataclass(frozen=True)
class AnswerColumn:
    """One property of ``responses.answers``."""

    key: str
    shape: Shape
    repeated: Mapping[str, Any]


def answer_columns(collection: DataCollection, keys: AnswerKeys) -> dict[str, AnswerColumn]:
    """Return the properties of a data collection's answers, by instruction id."""
    return {
        instruction.id: AnswerColumn(
            answer_key(instruction, keys),
            shape_of(instruction),
            {"type": instruction.type, "instruction_id": instruction.id},
        )
        for instruction in collection.instructions
    }


def collection_row(
    facts: ExportFacts,
    collection: DataCollection,
    *,
    file_count: int | None,
    archive_bytes: int | None,
    export_filter: ExportFilter | None,
) -> Row:
    """Return the row of a collection or batch.

    ``exported_response_count`` is None: the responses have yet to be read.
    """
    fields = dict(collection.metadata)
    query = export_filter.as_query() if export_filter else {}
    own = {
        **facts.as_row(),
        "data_collection_method": collection.ref.kind.method,
        "layout": _json(collection.layout),
        "instruction_count": len(collection.instructions),
        "exported_response_count": None,
        "exported_file_count": file_count,
        "archive_bytes": archive_bytes,
        "export_filter": _json(query or None),
    }
    if fields.get("data_collection_method") == own["data_collection_method"]:
        del fields["data_collection_method"]
    if fields.get("id") == facts.data_collection_id:
        del fields["id"]
    return _placed(COLLECTIONS, own, fields)


def instruction_rows(facts: ExportFacts, collection: DataCollection, keys: AnswerKeys) -> list[Row]:
    """Return the rows of a data collection's questions."""
    rows = []
    for instruction in collection.instructions:
        fields = {**instruction.rest, **instruction.fields}
        del fields["id"]
        own = {
            **facts.as_row(),
            "instruction_id": instruction.id,
            "position": instruction.position,
            "page": instruction.page,
            "answer_key": answer_key(instruction, keys),
        }
        rows.append(_placed(INSTRUCTIONS, own, fields))
    return rows


def response_row(
    facts: ExportFacts,
    response: Response,
    columns: Mapping[str, AnswerColumn],
    sizes: Mapping[str, int],
) -> tuple[Row, int]:
    """Return the row of a response, and how many of its answers did not fit their columns.

    Args:
        facts: Of the export.
        response: As read from its line.
        columns: The properties of ``answers``, by instruction id.
        sizes: Bytes of each upload in the archive, by path.
    """
    answers: Row = {}
    kept: Row = {}
    for instruction_id, entry in response.answers.items():
        column = columns.get(instruction_id)
        if column is None:
            kept[instruction_id] = entry
            continue
        fitted = fit(entry, column.shape, sizes, column.repeated)
        answers[column.key] = fitted.value
        if not fitted.whole:
            kept[instruction_id] = entry
    rest = dict(response.rest)
    if kept:
        own = rest.pop("answers", None)
        rest["answers"] = kept
        if own is not None:  # a field of the line itself: neither may hide the other
            beside(rest, "answers", own)
    row = {
        **facts.as_row(),
        "response_id": response.id,
        "submission_id": response.submission_id,
        "participant_id": response.participant_id,
        "study_id": response.study_id,
        "task_id": response.task_id,
        "submitted_at": response.submitted_at and response.submitted_at.isoformat(),
        "answers": answers,
        "additional_fields": _json(rest or None),
    }
    return row, len(kept)


def _placed(stream: StreamColumns, own: Row, fields: Row) -> Row:
    """Return a row: its own columns, the fields that fit theirs, and the rest as JSON text."""
    row = dict(own)
    for column in stream.columns:
        if column.name in row or column.name == "additional_fields":
            continue
        value = _FITTERS[column.type](fields.get(column.name))
        row[column.name] = value
        if value is not None:
            del fields[column.name]
    rest = {name: value for name, value in fields.items() if value is not None}
    row["additional_fields"] = _json(rest or None)
    return row


def _json(value: Any) -> str | None:
    return None if value is None else json_text(value)


def _time(value: Any) -> str | None:
    moment = parse_timestamp(value)
    return moment.isoformat() if moment else None


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return json_text(value) if isinstance(value, (bool, int, float)) else None


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Any) -> float | int | None:
    return value if isinstance(value, float) else _integer(value)


_FITTERS = {"text": _text, "number": _number, "integer": _integer, "time": _time, "json": _json}
