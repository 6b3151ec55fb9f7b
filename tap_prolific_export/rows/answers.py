"""Convert one answer, in any documented or plausible shape, to a typed value; pure functions.

`entries.read` reads an entry of any known shape into `Value` objects, and `fit` converts these to
the type of the instruction's column. If the column cannot hold the whole entry,
`fit` reports it, so that the caller can keep the original entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from tap_prolific_export.archive.export_archive import UPLOADS
from tap_prolific_export.archive.safe_json import json_text
from tap_prolific_export.rows.entries import (
    ABOUT,
    NO_FIELDS,
    Value,
    is_absent,
    is_described,
    read,
)
from tap_prolific_export.rows.scalars import (
    Scalar,
    as_boolean,
    as_integer,
    as_number,
    by_text,
    scalar_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from tap_prolific_export.archive.export_archive import Upload
    from tap_prolific_export.rows.collection import Instruction


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

    @cached_property
    def convert(self) -> Callable[[Scalar], Scalar]:
        """A function that converts a value; it returns None for one that does not fit."""
        if self.mixed:
            return scalar_text
        return as_integer if self.kind is ColumnKind.RATING else _CONVERTERS[self.scalar]


_CONVERTERS: Mapping[ScalarType, Callable[[Scalar], Scalar]] = {
    ScalarType.STRING: lambda value: value if isinstance(value, str) else None,
    ScalarType.NUMBER: as_number,
    ScalarType.BOOLEAN: as_boolean,
}


@dataclass(frozen=True)
class AnswerColumn:
    """One property of ``responses.answers``.

    Attributes:
        key: Name of the property.
        column_type: Type of the property.
        instruction: The question.
        repeated: Fields of an entry that only repeat the question, with their values.
        labels: The options' labels, by the JSON text of their values.
        is_foreign: Whether the property has another type than the question would give it.
    """

    key: str
    column_type: ColumnType
    instruction: Instruction
    repeated: Mapping[str, Any]
    labels: Mapping[str, str]
    is_foreign: bool = False


class Fitted(msgspec.Struct, frozen=True, gc=False):
    """A typed value, and whether it holds everything that the entry held.

    If it does not, the caller must keep the original entry, too. It is a misfit if it does not hold
    all of the answer.
    """

    value: Any
    lossless: bool
    is_misfit: bool = False


NO_ANSWER = Fitted(None, lossless=True)
MISFIT = Fitted(None, lossless=False, is_misfit=True)


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
    repeated: Mapping[str, Any] = NO_FIELDS,
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
    fitter = _FITTERS.get(column_type.kind)
    if fitter is None:
        return Fitted(json_text(entry), lossless=True)
    if values is None:
        return MISFIT
    if not values and is_absent(entry, repeated):
        return NO_ANSWER
    if not values and is_absent(entry, repeated, ABOUT):
        return Fitted(None, lossless=False)
    try:
        value = fitter(values, column_type, uploads)
    except _DoesNotFit:
        return MISFIT
    if column_type.as_text and not isinstance(value, (str, type(None))):
        value = json_text(value)
    if not _holds_all(values, column_type.kind, uploads):
        return Fitted(value, lossless=False, is_misfit=True)
    return Fitted(value, lossless=not is_described(entry, values, repeated))


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


def _fit_one(values: Sequence[Value], column_type: ColumnType, _: Mapping[str, Upload]) -> Scalar:
    return _scalar(_only(values), column_type)


def _fit_with_unit(
    values: Sequence[Value], column_type: ColumnType, _: Mapping[str, Upload]
) -> dict[str, Any]:
    value = _only(values)
    return {"value": _scalar(value, column_type), "unit": value.unit}


def _fit_many(
    values: Sequence[Value], column_type: ColumnType, _: Mapping[str, Upload]
) -> list[Scalar]:
    if any(value.value is None for value in values):
        raise _DoesNotFit
    return [_scalar(value, column_type) for value in values]


def _fit_explained(
    values: Sequence[Value], column_type: ColumnType, _: Mapping[str, Upload]
) -> list[dict[str, Any]]:
    return [
        {"value": _scalar(value, column_type), "explanation": value.explanation} for value in values
    ]


def _fit_files(
    values: Sequence[Value], _: ColumnType, uploads: Mapping[str, Upload]
) -> list[dict[str, Any]]:
    typed = []
    for value in values:
        path = upload_path(value, uploads)
        if path is None:
            raise _DoesNotFit
        file = value.file or {}
        typed.append(
            {
                "path": path,
                "file_name": file.get("file_name") or path.rpartition("/")[2],
                "content_type": file.get("content_type"),
                "size_bytes": uploads[path].size if path in uploads else None,
            }
        )
    return typed


# Of JSON, there is none: it holds any answer.
_FITTERS: Mapping[ColumnKind, Callable[[Sequence[Value], ColumnType, Mapping[str, Upload]], Any]]
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


def _holds_all(values: Sequence[Value], kind: ColumnKind, uploads: Mapping[str, Upload]) -> bool:
    """Whether a column of a kind holds all that values say."""
    for value in values:
        if (
            value.has_extra
            or (value.unit is not None and kind is not ColumnKind.WITH_UNIT)
            or (value.explanation is not None and kind is not ColumnKind.EXPLAINED)
            or (kind is ColumnKind.FILES and is_elsewhere(value, uploads))
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
    value = column_type.convert(value)
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
