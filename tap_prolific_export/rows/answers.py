"""Convert one answer, in any documented or plausible shape, to a typed value; pure functions.

Prolific documents that the shape of an answer depends on the instruction type, but publishes no
complete list. `read` therefore reads an entry of any known shape into `Value` objects, and `fit`
converts these to the type of the instruction's column. If the column cannot hold the whole entry,
`fit` reports it, so that the caller can keep the original entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from tap_prolific_export.archive.export_archive import UPLOADS
from tap_prolific_export.archive.safe_json import json_text
from tap_prolific_export.rows.scalars import (
    Scalar,
    as_boolean,
    as_integer,
    as_number,
    by_text,
    scalar_text,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from tap_prolific_export.archive.export_archive import Upload
    from tap_prolific_export.rows.collection import Instruction

_EXPLANATIONS = ("explanation", "free_text", "text")
_PATHS = ("path", "file_key")
# What an entry may hold besides its answer: these only describe it, or its question.
_ABOUT = frozenset({"id", "created_at", "created_by", "description", "order", "type"})
_ABOUT_FILE = _ABOUT | {"file_size_mb", "file_key"}
_NO_FIELDS: Mapping[str, Any] = {}


class ScalarType(str, Enum):
    """The type of a column's scalars, named as in JSON Schema."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"


class ColumnKind(Enum):
    """What a column holds."""

    SCALAR = "one scalar"
    SCALARS = "an array of scalars"
    EXPLAINED = "an array of {value, explanation}"
    WITH_UNIT = "{value, unit}"
    FILES = "an array of {path, file_name, content_type, size_bytes}"
    RATING = "an integer"
    JSON = "a string holding JSON"


@dataclass(frozen=True)
class ColumnType:
    """The type of the column that an instruction's answers go into.

    Attributes:
        kind: What the column holds.
        scalar: Type of its values.
        mixed: Whether the instruction's options have several types. A value that is not a string
            is then stored as its JSON text.
        options: The options of a choice by their texts; see `scalars.by_text`.
        as_text: Whether the column is text because the same question has another type in another
            data collection. A text is then stored as it is, any other value as its JSON text.
    """

    kind: ColumnKind
    scalar: ScalarType = ScalarType.STRING
    mixed: bool = False
    options: Mapping[str, Scalar] = field(default_factory=dict, compare=False)
    as_text: bool = False


class Value(msgspec.Struct, frozen=True, gc=False):
    """One value of an answer: a chosen option, a text, a number or an upload.

    Attributes:
        value: The value itself; None for an upload.
        unit: Unit of the value.
        explanation: What the participant wrote to explain a choice.
        file: An upload: those of ``path``, ``file_name`` and ``content_type`` that are given.
        has_extra: Whether the answer holds more than the fields above.
    """

    value: Scalar = None
    unit: str | None = None
    explanation: str | None = None
    file: Mapping[str, str] | None = None
    has_extra: bool = False


class Fitted(msgspec.Struct, frozen=True, gc=False):
    """A typed value, and whether it holds everything that the entry held.

    If it does not, the caller must keep the original entry, too.
    """

    value: Any
    lossless: bool


NO_ANSWER = Fitted(None, lossless=True)
MISFIT = Fitted(None, lossless=False)


class _DoesNotFit(Exception):  # noqa: N818  # it never leaves this module
    """The column cannot hold this value."""


def column_type_of(instruction: Instruction) -> ColumnType:
    """Return the type of the column for an instruction's answers."""
    type_ = instruction.type
    if type_ == "free_text":
        return ColumnType(ColumnKind.SCALAR, _validated_as(instruction.fields.get("validation")))
    if type_ in {"multiple_choice", "multiple_choice_with_free_text"}:
        if type_ == "multiple_choice_with_free_text":
            return _choice(ColumnKind.EXPLAINED, instruction)
        single = instruction.fields.get("answer_limit") == 1
        return _choice(ColumnKind.SCALAR if single else ColumnKind.SCALARS, instruction)
    if type_ == "free_text_with_unit":
        units = instruction.list_of("unit_options")
        kinds = {_validated_as(unit.get("validation")) for unit in units}
        number = kinds == {ScalarType.NUMBER}
        return ColumnType(ColumnKind.WITH_UNIT, ScalarType.NUMBER if number else ScalarType.STRING)
    if type_ == "multiple_choice_with_unit":
        return _choice(ColumnKind.WITH_UNIT, instruction)
    if type_ in {"file_upload", "video_narration"}:
        return ColumnType(ColumnKind.FILES)
    if type_ == "star_rating":
        return ColumnType(ColumnKind.RATING, ScalarType.NUMBER)
    return ColumnType(ColumnKind.JSON)


def fit(
    entry: Any,
    column_type: ColumnType,
    uploads: Mapping[str, Upload],
    repeated: Mapping[str, Any] = _NO_FIELDS,
) -> Fitted:
    """Fit an entry to a column.

    Args:
        entry: The answer from the line, unchanged.
        column_type: The column's type.
        uploads: The uploaded files in the archive, by path.
        repeated: Fields that only repeat the instruction (its type, its id), with their values.
    """
    return fit_values(entry, read(entry, repeated), column_type, uploads, repeated)


def fit_values(
    entry: Any,
    values: tuple[Value, ...] | None,
    column_type: ColumnType,
    uploads: Mapping[str, Upload],
    repeated: Mapping[str, Any],
) -> Fitted:
    """Fit an entry whose values have been `read` already; see `fit`."""
    if entry is None:
        return NO_ANSWER
    if column_type.kind is ColumnKind.JSON:
        return Fitted(json_text(entry), lossless=True)
    if values is None:
        return MISFIT
    if not values and _is_absent(entry, repeated):
        return NO_ANSWER
    try:
        fitted = _FITTERS[column_type.kind](values, column_type, uploads)
    except _DoesNotFit:
        return MISFIT
    if column_type.as_text and not isinstance(fitted.value, (str, type(None))):
        return replace(fitted, value=json_text(fitted.value))
    return fitted


def read(entry: Any, repeated: Mapping[str, Any] = _NO_FIELDS) -> tuple[Value, ...] | None:
    """Return the values of an entry; None if its shape is unknown.

    Known shapes: a scalar; an object with ``value``, with ``answer`` (as in the JSON API) or, if it
    has neither, ``text``; a path; an object with a path; and lists of these.
    """
    return _read(entry, repeated, 4)


def _read(entry: Any, repeated: Mapping[str, Any], depth: int) -> tuple[Value, ...] | None:
    if entry is None:
        return ()
    if isinstance(entry, (str, int, float)):  # bool is an int
        return (Value(entry),)
    if depth == 0:
        return None
    if isinstance(entry, list):
        parts = [_read(item, repeated, depth - 1) for item in entry if item is not None]
        if len(parts) < len(entry) or None in parts:
            return None
        return tuple(value for part in parts if part for value in part)
    return _read_object(entry, repeated, depth)


def _read_object(
    entry: dict[str, Any], repeated: Mapping[str, Any], depth: int
) -> tuple[Value, ...] | None:
    fields = {name: value for name, value in entry.items() if repeated.get(name, ...) != value}
    inner = "value" if "value" in fields else "answer"
    if inner not in fields:
        if any(isinstance(fields.get(name), str) for name in _PATHS):
            return _read_file(fields)
        inner = "text"
        if not isinstance(fields.get(inner), str):
            return None
    content = fields.pop(inner)
    unit = _pop_text(fields, ("unit",))
    explanation = _pop_text(fields, _EXPLANATIONS)
    values = _read(content, repeated, depth - 1)
    if values is None or (unit is None and explanation is None and not _any_set(fields)):
        return values
    if len(values) > 1:  # a unit or explanation of several values belongs to none in particular
        return tuple(replace(value, has_extra=True) for value in values)
    value = values[0] if values else Value()
    # Compare with None: an empty text counts as a unit or explanation, too.
    clash = None not in {unit, value.unit} or None not in {explanation, value.explanation}
    return (
        Value(
            value.value,
            unit if value.unit is None else value.unit,
            explanation if value.explanation is None else value.explanation,
            value.file,
            has_extra=value.has_extra or clash or _any_set(fields),
        ),
    )


def _read_file(fields: dict[str, Any]) -> tuple[Value, ...]:
    file = {"path": _pop_text(fields, _PATHS) or ""}
    for name in ("file_name", "content_type"):
        if isinstance(fields.get(name), str):
            file[name] = fields.pop(name)
    return (Value(file=file, has_extra=_any_set(fields, _ABOUT_FILE)),)


def _pop_text(fields: dict[str, Any], names: Iterable[str]) -> str | None:
    for name in names:
        if isinstance(fields.get(name), str):
            text: str = fields.pop(name)
            return text
    return None


def _any_set(fields: Mapping[str, Any], known: Collection[str] = _ABOUT) -> bool:
    """Whether any field but some that are known is set."""
    return any(value is not None and name not in known for name, value in fields.items())


def _is_absent(entry: Any, repeated: Mapping[str, Any]) -> bool:
    """Whether an entry without values is a missing answer, as opposed to an empty list."""
    if isinstance(entry, dict):
        return all(
            repeated.get(name, ...) == value or _is_absent(value, repeated)
            for name, value in entry.items()
        )
    return entry is None


def upload_path(value: Value, uploads: Mapping[str, Upload]) -> str | None:
    """Return the path of an upload in the archive; None if the value names no file.

    A path or key elsewhere stands for the file of the same name in the archive, if there is one.
    """
    path = value.file["path"] if value.file else value.value
    return path_in(path, uploads) if isinstance(path, str) else None


def is_elsewhere(value: Value, uploads: Mapping[str, Upload]) -> bool:
    """Whether the upload's path in the archive differs from the path in the answer."""
    return upload_path(value, uploads) != upload_path(value, {})


def path_in(path: str, uploads: Collection[str]) -> str:
    """Return the path of an upload in the archive; see `upload_path`."""
    path = path.removeprefix("/").removeprefix("./")
    by_name = f"{UPLOADS}{path.rpartition('/')[2]}"
    return by_name if path not in uploads and by_name in uploads else path


def number_of(value: Value, column_type: ColumnType) -> float | int | None:
    """Return a value as a number, if it is one or is numeric text in a column of numbers."""
    if isinstance(value.value, str) and column_type.scalar is not ScalarType.NUMBER:
        return None
    return as_number(value.value)


def boolean_of(value: Value, column_type: ColumnType) -> bool | None:
    """Return a value as a boolean, if it is one or is the text of one in a column of booleans."""
    if isinstance(value.value, str) and column_type.scalar is not ScalarType.BOOLEAN:
        return None
    return as_boolean(value.value)


def text_of(value: Value) -> str | None:
    """Return a value as text: a string itself, anything else as JSON; None for an upload."""
    return None if value.value is None else scalar_text(value.value)


def _fit_one(values: Sequence[Value], column_type: ColumnType, _: Mapping[str, Upload]) -> Fitted:
    value = _only(values)
    return Fitted(_scalar(value, column_type), lossless=_holds_all(values))


def _fit_with_unit(
    values: Sequence[Value], column_type: ColumnType, _: Mapping[str, Upload]
) -> Fitted:
    value = _only(values)
    typed = {"value": _scalar(value, column_type), "unit": value.unit}
    return Fitted(typed, lossless=_holds_all(values, unit=True))


def _fit_many(values: Sequence[Value], column_type: ColumnType, _: Mapping[str, Upload]) -> Fitted:
    if any(value.value is None for value in values):
        raise _DoesNotFit
    return Fitted([_scalar(value, column_type) for value in values], lossless=_holds_all(values))


def _fit_explained(
    values: Sequence[Value], column_type: ColumnType, _: Mapping[str, Upload]
) -> Fitted:
    typed = [
        {"value": _scalar(value, column_type), "explanation": value.explanation} for value in values
    ]
    return Fitted(typed, lossless=_holds_all(values, explanation=True))


def _fit_files(values: Sequence[Value], _: ColumnType, uploads: Mapping[str, Upload]) -> Fitted:
    typed = []
    moved = False
    for value in values:
        path = upload_path(value, uploads)
        if path is None:
            raise _DoesNotFit
        moved |= is_elsewhere(value, uploads)
        file = value.file or {}
        typed.append(
            {
                "path": path,
                "file_name": file.get("file_name") or path.rpartition("/")[2],
                "content_type": file.get("content_type"),
                "size_bytes": uploads[path].size if path in uploads else None,
            }
        )
    return Fitted(typed, lossless=_holds_all(values) and not moved)


_FITTERS = {
    ColumnKind.SCALAR: _fit_one,
    ColumnKind.SCALARS: _fit_many,
    ColumnKind.EXPLAINED: _fit_explained,
    ColumnKind.WITH_UNIT: _fit_with_unit,
    ColumnKind.FILES: _fit_files,
    ColumnKind.RATING: _fit_one,
}


def _only(values: Sequence[Value]) -> Value:
    if len(values) != 1:
        raise _DoesNotFit
    return values[0]


def _holds_all(values: Sequence[Value], *, unit: bool = False, explanation: bool = False) -> bool:
    """Whether a column with (or without) unit and explanation holds all of the values."""
    for value in values:
        if (
            value.has_extra
            or (value.unit is not None and not unit)
            or (value.explanation is not None and not explanation)
        ):
            return False
    return True


def chosen(value: Scalar, column_type: ColumnType) -> Scalar:
    """Return the option whose text is that of the value, if there is exactly one, else the value.

    An option is never null: null is no answer.
    """
    if value is None or not column_type.options:
        return value
    return column_type.options.get(scalar_text(value), value)


def _scalar(source: Value, column_type: ColumnType) -> Scalar:
    """Return the scalar of a value, converted to the column's type."""
    value = chosen(source.value, column_type)
    if source.file:
        raise _DoesNotFit
    if value is None:
        return None
    if column_type.mixed:
        return value if isinstance(value, str) else json_text(value)
    if column_type.kind is ColumnKind.RATING:
        value = as_integer(value)
    elif column_type.scalar is ScalarType.NUMBER:
        value = as_number(value)
    elif column_type.scalar is ScalarType.BOOLEAN:
        value = as_boolean(value)
    elif not isinstance(value, str):
        value = None
    if value is None:
        raise _DoesNotFit
    return value


def _validated_as(validation: Any) -> ScalarType:
    number = isinstance(validation, dict) and validation.get("type") == "number"
    return ScalarType.NUMBER if number else ScalarType.STRING


def _choice(kind: ColumnKind, instruction: Instruction) -> ColumnType:
    """Return the type of a choice's column: that of its options' values, or text if they differ."""
    values = [option.get("value") for option in instruction.list_of("options")]
    kinds = {*map(_kind, values)}
    options = by_text(value for value in values if _kind(value))
    if len(kinds) == 1 and (scalar := kinds.pop()):
        return ColumnType(kind, scalar, options=options)
    return ColumnType(kind, mixed=bool(values), options=options)


def _kind(value: Any) -> ScalarType | None:
    if isinstance(value, str):
        return ScalarType.STRING
    if isinstance(value, bool):
        return ScalarType.BOOLEAN
    return ScalarType.NUMBER if isinstance(value, (int, float)) else None
