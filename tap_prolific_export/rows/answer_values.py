"""What the rows of ``answers`` say of an answer to a question; pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from tap_prolific_export.archive.safe_json import json_text
from tap_prolific_export.rows.answers import (
    AnswerColumn,
    ColumnKind,
    ColumnType,
    ScalarType,
    chosen,
    fit_values,
    is_elsewhere,
    upload_path,
)
from tap_prolific_export.rows.entries import Value, is_described, read
from tap_prolific_export.rows.scalars import as_boolean, as_number, scalar_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tap_prolific_export.archive.export_archive import Upload

    Uploads = Mapping[str, Upload]
    # What `answers` says of one value: the columns of `VALUE_COLUMNS`.
    Told = tuple[Any, ...]

# The columns of `answers` that describe one value.
VALUE_COLUMNS = (
    *("value", "value_number", "value_boolean", "value_label"),
    *("unit", "explanation", "file_path", "raw"),
)
NOT_REPLACED = object()
# What an upload has before its path.
_NOTHING = (None,) * VALUE_COLUMNS.index("file_path")
# So many different values of a question's options are remembered.
_REMEMBERED = 1000


def value_rows(
    entry: Any, column: AnswerColumn | None, uploads: Uploads, as_it_came: Any = NOT_REPLACED
) -> list[Told]:
    """Return `VALUE_COLUMNS` for each value of an answer.

    Args:
        entry: The answer.
        column: The question's column; None for an unknown question.
        uploads: The uploaded files in the archive, by path.
        as_it_came: The original answer, if characters in it were replaced.
    """
    repeated = column.repeated if column else {}
    values = read(entry, repeated)
    lossless = values is not None and not is_described(entry, values, repeated)
    for value in values or ():
        if value.has_extra or (value.file and is_elsewhere(value, uploads)):
            lossless = False
    if column:
        fitted = fit_values(entry, values, column.column_type, uploads, repeated)
        lossless = lossless and fitted.lossless
    raw = None
    if not lossless or as_it_came is not NOT_REPLACED:
        raw = json_text(entry if as_it_came is NOT_REPLACED else as_it_came)
    told = []
    for value in values or ([] if lossless else [Value()]):
        told.append((*_told(value, column, uploads), raw))
        raw = None
    return told


def _told(value: Value, column: AnswerColumn | None, uploads: Uploads) -> Told:
    """Return `VALUE_COLUMNS` of one value, but for ``raw``."""
    column_type = column.column_type if column else ColumnType(ColumnKind.JSON)
    if (option := chosen(value.value, column_type)) is not value.value:
        value = replace(value, value=option)
    scalar = value.value
    # In other columns a text is a text, whatever it looks like.
    is_text = isinstance(scalar, str)
    number = boolean = None
    if not is_text or column_type.scalar is ScalarType.NUMBER:
        number = as_number(scalar)
    if not is_text or column_type.scalar is ScalarType.BOOLEAN:
        boolean = as_boolean(scalar)
    is_file = value.file or column_type.kind is ColumnKind.FILES
    path = upload_path(value, uploads) if is_file else None
    label = None
    if column and column.labels:
        spelled = [scalar, number, boolean]
        if number is not None and number == number // 1:
            spelled += [int(number), float(number)]
        texts = (json_text(each) for each in spelled if each is not None)
        label = next((column.labels[text] for text in texts if text in column.labels), None)
    return (
        None if path is not None or scalar is None else scalar_text(scalar),
        number,
        boolean,
        label,
        value.unit,
        value.explanation,
        path,
    )


def teller(
    column: AnswerColumn, uploads: Uploads
) -> tuple[Callable[[Any], Told] | None, Callable[[Any], Sequence[Any]] | None]:
    """Return a function that tells one value of a typed answer, as `value_rows` does.

    What is None at the end of a value's columns is left out; it is None for a text of which there
    is no more to tell. Also returns a function that returns the values of an answer; None if it is
    one value.

    Args:
        column: The question's column.
        uploads: The uploaded files in the archive, by path.
    """
    kind = column.column_type.kind
    if kind is ColumnKind.SCALAR and _is_plain_text(column):
        return None, None
    tell = _scalar_teller(column, uploads)
    if kind is ColumnKind.EXPLAINED:
        return lambda each: (*tell(each.value), None, each.explanation), _itself
    if kind is ColumnKind.WITH_UNIT:
        return lambda typed: (*tell(typed.value), typed.unit), None
    if kind is ColumnKind.FILES:
        return lambda file: (*_NOTHING, file.path), _itself
    return tell, _itself if kind is ColumnKind.SCALARS else None


def _itself(values: Sequence[Any]) -> Sequence[Any]:
    return values


def _is_plain_text(column: AnswerColumn) -> bool:
    type_ = column.column_type
    return type_.scalar is ScalarType.STRING and not (column.labels or type_.mixed)


def _scalar_teller(column: AnswerColumn, uploads: Uploads) -> Callable[[Any], Told]:
    """Return a function that tells one usual value: text, number, boolean and label."""
    if _is_plain_text(column):
        return lambda value: (value, None, None, None)
    has_many = not column.labels and column.column_type.kind is not ColumnKind.RATING
    if has_many and column.column_type.scalar is ScalarType.NUMBER:
        return lambda value: (json_text(value), value, None, None)
    # Equal numbers of the two types have different texts.
    numbers = {each: _Remembered(column, uploads) for each in (int, float)}
    if column.column_type.scalar is ScalarType.NUMBER:
        return lambda value: numbers[value.__class__][value]
    return _Remembered(column, uploads).__getitem__


class _Remembered(dict[Any, "Told"]):
    """What is told of values: a question has few options."""

    def __init__(self, column: AnswerColumn, uploads: Uploads) -> None:
        super().__init__()
        self._about = column, uploads

    def __missing__(self, value: Any) -> Told:
        told = _told(Value(value), *self._about)[:4]
        if len(self) < _REMEMBERED and (value or value.__class__ is not float):  # 0.0 == -0.0
            self[value] = told
        return told
