"""Readers of answers: one per question, made from its type; pure functions.

`answers.read` and `answers.fit` state what an answer of any shape says. Nearly all answers to a
question have the shape that its type is documented to have, and already are what the column
holds: a reader sees that at a glance, and leaves only the others to those two.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from tap_prolific_export.archive.safe_json import json_text
from tap_prolific_export.rows.answers import (
    ColumnKind,
    ColumnType,
    ScalarType,
    boolean_of,
    chosen,
    fit_values,
    is_elsewhere,
    number_of,
    text_of,
    upload_path,
)
from tap_prolific_export.rows.entries import Value, is_described, read
from tap_prolific_export.rows.scalars import LARGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tap_prolific_export.archive.export_archive import Upload
    from tap_prolific_export.rows.collection import Instruction

    Uploads = Mapping[str, Upload]
    # What `answers` says of one value: the columns of `VALUE_COLUMNS`.
    Told = tuple[Any, ...]

# The columns of `answers` that describe one value.
VALUE_COLUMNS = (
    *("value", "value_number", "value_boolean", "value_label"),
    *("unit", "explanation", "file_path", "raw"),
)
NOT_REPLACED = object()
# What no answer is.
ODD: Any = object()
_TEXT_OR_NONE = (str, type(None))
_CLASSES: Mapping[ScalarType, tuple[type, ...]] = {
    ScalarType.STRING: (str,),
    ScalarType.NUMBER: (int, float),
    ScalarType.BOOLEAN: (bool,),
}
# So many different values of a question's options are remembered.
_REMEMBERED = 1000


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


def taker(column: AnswerColumn) -> Callable[[Any], Any]:
    """Return a function that takes a usual answer to a question, as its column holds it.

    It returns `ODD` if an answer has any other shape: `answers.fit` tells then what it says. For
    all others, `answers.fit` would return the same.
    """
    kind, repeated = column.column_type.kind, column.repeated
    of = _take_nothing if column.column_type.as_text else _TAKERS.get(kind, _take_nothing)
    classes = _CLASSES[column.column_type.scalar]
    if kind is ColumnKind.RATING:
        classes = (int,)

    def take(entry: Any) -> Any:
        if entry.__class__ is not dict:
            return ODD
        taken = of(classes, entry)
        if taken is ODD and ("type" in entry or "instruction_id" in entry):
            fields = {n: value for n, value in entry.items() if repeated.get(n, ODD) != value}
            taken = of(classes, fields)
        return taken

    return take


def _take_nothing(_: tuple[type, ...], __: dict[str, Any]) -> Any:
    return ODD


def _take_scalar(classes: tuple[type, ...], entry: dict[str, Any]) -> Any:
    value = entry.get("value")
    if (
        len(entry) != 1
        or value.__class__ not in classes
        or (value.__class__ is int and not -LARGE <= value <= LARGE)
    ):
        return ODD
    return value


def _take_scalars(classes: tuple[type, ...], entry: dict[str, Any]) -> Any:
    values = entry.get("value")
    if values.__class__ is not list or len(entry) != 1:
        return ODD
    for value in values:
        if value.__class__ not in classes or (
            value.__class__ is int and not -LARGE <= value <= LARGE
        ):
            return ODD
    return values


def _take_explained(classes: tuple[type, ...], entry: dict[str, Any]) -> Any:
    value = entry.get("value")
    values = value if value.__class__ is list and len(entry) == 1 else [entry]
    for each in values:
        if each.__class__ is not dict or len(each) != 2:  # noqa: PLR2004
            return ODD
        value = each.get("value")
        if value.__class__ not in classes or (
            value.__class__ is int and not -LARGE <= value <= LARGE
        ):
            return ODD
        if each.get("explanation", ODD).__class__ not in _TEXT_OR_NONE:
            return ODD
    return values


def _take_with_unit(classes: tuple[type, ...], entry: dict[str, Any]) -> Any:
    value = entry.get("value")
    if (
        len(entry) != 2  # noqa: PLR2004
        or value.__class__ not in classes
        or (value.__class__ is int and not -LARGE <= value <= LARGE)
    ):
        return ODD
    return entry if entry.get("unit", ODD).__class__ in _TEXT_OR_NONE else ODD


_TAKERS: Mapping[ColumnKind, Callable[[tuple[type, ...], dict[str, Any]], Any]] = {
    ColumnKind.SCALAR: _take_scalar,
    ColumnKind.SCALARS: _take_scalars,
    ColumnKind.EXPLAINED: _take_explained,
    ColumnKind.WITH_UNIT: _take_with_unit,
    ColumnKind.RATING: _take_scalar,
}


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
    labels = column.labels if column else {}
    if (option := chosen(value.value, column_type)) is not value.value:
        value = replace(value, value=option)
    number, boolean = number_of(value, column_type), boolean_of(value, column_type)
    is_file = value.file or column_type.kind is ColumnKind.FILES
    path = upload_path(value, uploads) if is_file else None
    is_whole = number is not None and number == number // 1
    same = (int(number), float(number)) if number is not None and is_whole else ()
    spelled = [
        json_text(each) for each in (value.value, number, boolean, *same) if each is not None
    ]
    return (
        None if path is not None else text_of(value),
        number,
        boolean,
        next((labels[text] for text in spelled if text in labels), None),
        value.unit,
        value.explanation,
        path,
    )


def teller(column: AnswerColumn, uploads: Uploads) -> Callable[[Any], Sequence[Told]]:
    """Return a function that tells the values of an answer, as `value_rows` does.

    What is None at the end of a value's columns may be left out.

    Args:
        column: The question's column.
        uploads: The uploaded files in the archive, by path.
    """
    take = taker(column)
    tell, values_of = typed_teller(column, uploads, itemgetter)

    def told(entry: Any) -> Sequence[Told]:
        taken = take(entry)
        if taken is ODD:
            return value_rows(entry, column, uploads)
        return [tell(each) for each in (values_of(taken) if values_of else (taken,))]

    return told


def typed_teller(
    column: AnswerColumn,
    uploads: Uploads,
    getter: Callable[[str], Callable[[Any], Any]] = attrgetter,
) -> tuple[Callable[[Any], Told], Callable[[Any], Sequence[Any]] | None]:
    """Return a function that tells one value of what a `taker` takes; see `teller`.

    Also returns a function that returns the values of an answer; None if it is one value.

    Args:
        column: The question's column.
        uploads: The uploaded files in the archive, by path.
        getter: Makes what gets a field of an object in it.
    """
    kind = column.column_type.kind
    tell = _scalar_teller(column, uploads)
    value, unit, explanation = getter("value"), getter("unit"), getter("explanation")
    if kind is ColumnKind.EXPLAINED:
        return lambda each: (*tell(value(each)), None, explanation(each)), _itself
    if kind is ColumnKind.WITH_UNIT:
        return lambda taken: (*tell(value(taken)), unit(taken)), None
    return tell, _itself if kind is ColumnKind.SCALARS else None


def _itself(values: Sequence[Any]) -> Sequence[Any]:
    return values


def _scalar_teller(column: AnswerColumn, uploads: Uploads) -> Callable[[Any], Told]:
    """Return a function that tells one usual value: text, number, boolean and label."""
    is_plain = not column.labels and not column.column_type.mixed
    if is_plain and column.column_type.scalar is ScalarType.STRING:
        return lambda value: (value, None, None, None)
    if not column.labels and column.column_type.scalar is ScalarType.NUMBER:
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
