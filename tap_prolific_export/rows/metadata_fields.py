"""Fields of metadata as the columns of a row; pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_prolific_export.archive.safe_json import INT64, json_text
from tap_prolific_export.rows.scalars import as_number
from tap_prolific_export.times import parse_timestamp

if TYPE_CHECKING:
    from tap_prolific_export.rows.schema import StreamColumns

    Row = dict[str, Any]


def with_columns(stream: StreamColumns, own: Row, fields: Row) -> Row:
    """Return a complete row: `own`, the fields that fit a column, and the others as JSON text."""
    row = dict(own)
    for column in stream.columns:
        if column.name in row or column.name == "additional_fields":
            continue
        value = _FITTERS[column.type](fields.get(column.name))
        row[column.name] = value
        if value is not None:
            del fields[column.name]
    extra = {name: value for name, value in fields.items() if value is not None}
    row["additional_fields"] = json_or_none(extra or None)
    return row


def json_or_none(value: Any) -> str | None:
    """Return a value as JSON text; None stays None."""
    return None if value is None else json_text(value)


def _time(value: Any) -> str | None:
    moment = parse_timestamp(value)
    return moment.isoformat() if moment else None


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return json_text(value) if isinstance(value, (bool, int, float)) else None


def _integer(value: Any) -> int | None:
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return value if is_integer and value in INT64 else None


def _number(value: Any) -> float | int | None:
    return as_number(value) if isinstance(value, (int, float)) else None


_FITTERS = {
    "text": _text,
    "number": _number,
    "integer": _integer,
    "time": _time,
    "json": json_or_none,
}
