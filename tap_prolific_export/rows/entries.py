"""Read one answer, in any documented or plausible shape, as values; pure functions.

Prolific documents that the shape of an answer depends on the type of its question, but publishes no
complete list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from tap_prolific_export.rows.scalars import Scalar

_EXPLANATIONS = ("explanation", "free_text", "text")
_PATHS = ("path", "file_key")
# What describes an entry, or its question: it is kept, but is no part of the answer.
ABOUT = frozenset({"id", "created_at", "created_by", "description", "order", "type"})
_ABOUT_FILE = ABOUT | {"file_size_mb", "file_key"}
NO_FIELDS: Mapping[str, Any] = {}


class Value(msgspec.Struct, frozen=True, gc=False):
    """One value of an answer: a chosen option, a text, a number or an upload.

    Attributes:
        value: The value itself; None for an upload.
        unit: Unit of the value.
        explanation: What the participant wrote to explain a choice.
        file: An upload: those of ``path``, ``file_name`` and ``content_type`` that are given.
        has_extra: Whether the answer holds more than the fields above.
        has_about: Whether it holds what only describes it.
    """

    value: Scalar = None
    unit: str | None = None
    explanation: str | None = None
    file: Mapping[str, str] | None = None
    has_extra: bool = False
    has_about: bool = False


def read(entry: Any, repeated: Mapping[str, Any] = NO_FIELDS) -> tuple[Value, ...] | None:
    """Return the values of an entry; None if its shape is unknown.

    Known shapes: a scalar; an object with ``value``, with ``answer`` (as in the JSON API) or, if it
    has neither, ``text``; a path; an object with a path; and lists of these.
    """
    return _read(entry, repeated, 4)


def _read(entry: Any, repeated: Mapping[str, Any], depth: int) -> tuple[Value, ...] | None:
    if isinstance(entry, dict):
        return _read_object(entry, repeated, depth - 1) if depth else None
    if entry is None:
        return ()
    if isinstance(entry, (str, int, float)):  # bool is an int
        return (Value(entry),)
    if depth == 0:
        return None
    parts = [_read(item, repeated, depth - 1) for item in entry if item is not None]
    if len(parts) < len(entry) or None in parts:
        return None
    return tuple(value for part in parts if part for value in part)


def _read_object(
    entry: dict[str, Any], repeated: Mapping[str, Any], depth: int
) -> tuple[Value, ...] | None:
    fields = entry.copy()
    for name in repeated:
        if name in fields and fields[name] == repeated[name]:
            del fields[name]
    inner = "value" if "value" in fields else "answer"
    if inner not in fields:
        if any(isinstance(fields.get(name), str) for name in _PATHS):
            return _read_file(fields)
        inner = "text"
        if not isinstance(fields.get(inner), str):
            return None
    values = _read(fields.pop(inner), repeated, depth)
    if values is None or not fields:
        return values
    unit = fields.pop("unit") if isinstance(fields.get("unit"), str) else None
    explanation, has_extra, has_about = None, False, False
    if fields:
        explanation = _pop_text(fields, _EXPLANATIONS)
        has_extra, has_about = _rest(fields, ABOUT)
    if unit is None and explanation is None and not has_extra:
        return tuple(replace(value, has_about=True) for value in values) if has_about else values
    if len(values) > 1:  # a unit or explanation of several values belongs to none in particular
        return tuple(replace(value, has_extra=True) for value in values)
    value = values[0] if values else Value()
    # Compare with None: an empty text counts as a unit or explanation, too.
    clash = (unit is not None and value.unit is not None) or (
        explanation is not None and value.explanation is not None
    )
    return (
        Value(
            value.value,
            unit if value.unit is None else value.unit,
            explanation if value.explanation is None else value.explanation,
            value.file,
            has_extra=value.has_extra or clash or has_extra,
            has_about=value.has_about or has_about,
        ),
    )


def _read_file(fields: dict[str, Any]) -> tuple[Value, ...]:
    file = {"path": _pop_text(fields, _PATHS) or ""}
    for name in ("file_name", "content_type"):
        if isinstance(fields.get(name), str):
            file[name] = fields.pop(name)
    has_extra, has_about = _rest(fields, _ABOUT_FILE)
    return (Value(file=file, has_extra=has_extra, has_about=has_about),)


def _pop_text(fields: dict[str, Any], names: Iterable[str]) -> str | None:
    for name in names:
        if isinstance(fields.get(name), str):
            text: str = fields.pop(name)
            return text
    return None


def _rest(fields: Mapping[str, Any], about: Collection[str]) -> tuple[bool, bool]:
    """Whether any of the fields that are left is part of the answer, and whether any describes it.

    What describes it is a text or a number.
    """
    has_extra = has_about = False
    for name, value in fields.items():
        is_about = name in about and value.__class__ in {str, int, float}
        has_about |= is_about
        has_extra |= value is not None and not is_about
    return has_extra, has_about


def _is_set(value: Any) -> bool:
    return value is not None


def is_absent(entry: Any, repeated: Mapping[str, Any], known: Collection[str] = ()) -> bool:
    """Whether an entry without values is a missing answer, as opposed to an empty list."""
    if isinstance(entry, dict):
        return all(
            name in known or repeated.get(name, ...) == value or is_absent(value, repeated, known)
            for name, value in entry.items()
        )
    return entry is None


def is_described(entry: Any, values: tuple[Value, ...], repeated: Mapping[str, Any]) -> bool:
    """Whether an entry holds anything that only describes it."""
    for value in values:
        if value.has_about:
            return True
    if values:
        return False
    if isinstance(entry, dict):
        fields = ((n, value) for n, value in entry.items() if repeated.get(n, ...) != value)
        return any(is_described(value, (), {}) for _, value in fields)
    return any(map(_is_set, entry)) if isinstance(entry, list) else _is_set(entry)
