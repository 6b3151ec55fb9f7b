"""Rows as structs, which are made and encoded faster than dictionaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tap_prolific_export.rows.answers import AnswerColumn


def row_type(
    names: Iterable[str], constant: Mapping[str, Any], optional: Iterable[str] = ()
) -> Any:
    """Return a class of rows, which are made and encoded faster than dictionaries.

    Args:
        names: The columns whose values it is called with.
        constant: The columns that are the same in all rows.
        optional: Further columns whose values it may be called with; else they are None.
    """
    fields: list[Any] = [
        *((name, Any) for name in names),
        *((name, Any, None) for name in optional),
        *((name, Any, value) for name, value in constant.items()),
    ]
    return msgspec.defstruct("Row", fields, gc=False)


def as_dict(row: Any) -> dict[str, Any]:
    """Return a row, or a part of one, as a dictionary."""
    if isinstance(row, dict):
        return row
    fields = msgspec.structs.asdict(row).items()
    return {
        # There may be structs in the answers.
        name: msgspec.to_builtins(value) if name == "answers" else value
        for name, value in fields
        if value is not UNSET
    }


def typed_answers(columns: Mapping[str, AnswerColumn]) -> Any:
    """Return a class of ``answers`` whose fields, ``a0`` and so on, are named by their keys."""
    fields = [
        (f"a{number}", Any, msgspec.field(name=column.key, default=UNSET))
        for number, column in enumerate(columns.values())
    ]
    return msgspec.defstruct("Answers", fields, gc=False)
