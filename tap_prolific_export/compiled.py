"""Lines decoded straight into their types, and encoded straight from them: the fast way.

`lines` and `records` read whatever may come, field by field. But a collection's questions tell
what nearly all lines look like. From them one decoder is built here that takes such a line, typed
and checked, in one step, and what is encoded as its row. A line that differs in anything is left to
the tolerant way; of one that does not, both make the same row, to the letter of every value
(`tests/test_fast.py` compares them).
"""

from __future__ import annotations

from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tap_prolific_export.answers import Form, Scalars, as_number, fit
from tap_prolific_export.decoding import INT64, MAX_DEPTH, depth_of
from tap_prolific_export.times import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tap_prolific_export.archive import Upload
    from tap_prolific_export.records import AnswerColumn, ExportFacts

    _Entries = Mapping[str, tuple[str, tuple[Any, str]]]

# So many blocks of lines in a row that do not fit, and the fast way is not tried any more.
TRIALS = 8
# An entry lies in the object of the answers, in that of the line.
ENTRY_DEPTH = 2
_NUL = b"\\u0000"

# Dates and times that have been read before, to the second: a bounded number of them.
MAX_DATES = 10_000
_DATES: set[str] = set()
_TIMES: set[str] = set()

_Text = Annotated[str, Meta(min_length=1)]
_Integer = Annotated[int, Meta(ge=INT64.start, le=INT64.stop - 1)]
_SCALARS: dict[Scalars, Any] = {
    Scalars.STRING: str,
    Scalars.NUMBER: _Integer | float,
    Scalars.BOOLEAN: bool,
}
# Numbers may come as text: how those of a question become numbers.
_NUMBERS = {
    (Form.SCALAR, Scalars.NUMBER): "number({})",
    (Form.SCALARS, Scalars.NUMBER): "numbers({})",
    (Form.WITH_UNIT, Scalars.NUMBER): "measure({})",
}
_TYPED = frozenset({Form.SCALAR, Form.SCALARS, Form.EXPLAINED, Form.WITH_UNIT, Form.RATING})


def _struct(name: str, fields: Sequence[Any]) -> Any:
    # Without the garbage collector's care: they hold no circles. Frozen: they are defaults.
    return msgspec.defstruct(
        name, fields, forbid_unknown_fields=True, frozen=True, gc=False, kw_only=True
    )


def compiled(
    facts: ExportFacts, columns: Mapping[str, AnswerColumn], uploads: Mapping[str, Upload]
) -> Callable[[bytes], list[Any] | None]:
    """Return what makes the rows of `responses` of a block of lines, as msgspec encodes them.

    It returns None for a block in which a line is to be read the tolerant way.

    Args:
        facts: Of the export.
        columns: The properties of ``answers``, by instruction id.
        uploads: The uploaded files in the archive, by path.
    """
    entries = _entries(columns)
    decode = msgspec.json.Decoder(_line(entries)).decode_lines
    answers_row, untyped = _answers_row(columns, entries)
    new_row = _row(facts)
    misses = 0

    def typed(line: Any) -> Any:
        answers = answers_row(line.responses)
        for place, column in untyped:
            entry = getattr(answers, place)
            if entry is not UNSET:
                if depth_of(entry) > MAX_DEPTH - ENTRY_DEPTH:
                    raise _DoesNotFitError
                fitted = fit(entry, column.shape, uploads, column.repeated)
                if not fitted.whole:
                    raise _DoesNotFitError
                setattr(answers, place, fitted.value)
        return answers

    make = typed if untyped else None

    def rows(block: bytes) -> list[Any] | None:
        nonlocal misses
        # The first is found far faster, and seldom.
        if misses >= TRIALS or (b"\\" in block and _NUL in block):
            return None
        try:
            found = [
                new_row(
                    line.submission_id,
                    line.submission_id,
                    line.participant_id,
                    line.study_id,
                    line.submitted_at and _iso(line.submitted_at),
                    make(line) if make else answers_row(line.responses),
                )
                for line in decode(block)
            ]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, _DoesNotFitError):
            misses += 1
            return None
        misses = 0
        return found

    return rows


class _DoesNotFitError(Exception):
    """A line is to be read the tolerant way."""


def _iso(text: str) -> str:
    """Return a time as `times.parse_timestamp` reads it, and rows have it."""
    # What is written as most are is looked up by its parts: parsing each takes as long as the rest.
    if len(text) == len("2026-01-31T09:00:00Z") and text[-1] == "Z":
        date, time = text[:11], text[11:19]
        if date in _DATES and time in _TIMES:
            return f"{date}{time}+00:00"
    moment = parse_timestamp(text)
    if moment is None:
        raise _DoesNotFitError
    if text == f"{moment:%Y-%m-%dT%H:%M:%SZ}" and len(_DATES) < MAX_DATES:
        _DATES.add(text[:11])
        _TIMES.add(text[11:19])
    return moment.isoformat()


def _number(value: Any) -> Any:
    """Return a number, or a text that is one as one."""
    if value.__class__ is not str:
        return value
    number = as_number(value)
    if number is None:
        raise _DoesNotFitError
    return number


def _numbers(values: Any) -> Any:
    return values if values is UNSET else [_number(value) for value in values]


def _measure(entry: Any) -> Any:
    if entry is UNSET or entry.value.__class__ is not str:
        return entry
    return {"value": _number(entry.value), "unit": entry.unit}


def _line(entries: _Entries) -> Any:
    """Return the type of a line."""
    answers = [
        (place, entry, msgspec.field(name=id_, default=entry(value=UNSET) if path else UNSET))
        for place, (id_, (entry, path)) in entries.items()
    ]
    # What is null does not fit: the tolerant way keeps it as it came.
    absent = None
    return _struct(
        "Line",
        [
            ("submission_id", _Text),
            ("responses", _struct("Answers", answers)),
            ("participant_id", _Text | UnsetType, absent),
            ("study_id", _Text | UnsetType, absent),
            ("submitted_at", _Text | UnsetType, absent),
        ],
    )


def _answers_row(
    columns: Mapping[str, AnswerColumn], entries: _Entries
) -> tuple[Callable[[Any], Any], list[tuple[str, AnswerColumn]]]:
    """Return what makes a row's ``answers`` of a line's, and which of them are yet to be fitted."""
    fields = [
        (place, Any, msgspec.field(name=column.key))
        for place, column in zip(entries, columns.values(), strict=True)
    ]
    row = msgspec.defstruct("AnswersRow", fields, gc=False)
    # As source: no other way to take a field of a field is nearly as fast. It is made of our own
    # names only.
    values = ", ".join(
        _NUMBERS.get((column.shape.form, column.shape.scalars), "{}").format(
            f"answers.{place}{path}"
        )
        for (place, (_, (_, path))), column in zip(entries.items(), columns.values(), strict=True)
    )
    names = {"Row": row, "number": _number, "numbers": _numbers, "measure": _measure}
    make: Callable[[Any], Any] = eval(f"lambda answers: Row({values})", names)  # noqa: S307
    untyped = [
        (place, column)
        for place, column in zip(entries, columns.values(), strict=True)
        if column.shape.form not in _TYPED
    ]
    return make, untyped


def _row(facts: ExportFacts) -> Any:
    """Return the type of a row, whose constants are defaults."""
    names = ("response_id", "submission_id", "participant_id", "study_id")
    constant: dict[str, Any] = {**facts.as_row(), "task_id": None, "additional_fields": None}
    return msgspec.defstruct(
        "ResponseRow",
        [
            *((name, Any) for name in (*names, "submitted_at", "answers")),
            *((name, Any, value) for name, value in constant.items()),
        ],
        gc=False,
    )


def _entries(columns: Mapping[str, AnswerColumn]) -> _Entries:
    """Return by our own name for a question its id, and its entries' type and path to the value."""
    return {
        f"a{place}": (id_, _entry(column, f"A{place}"))
        for place, (id_, column) in enumerate(columns.items())
    }


def _entry(column: AnswerColumn, name: str) -> tuple[Any, str]:
    """Return the type of the entries of a question, and where in one the value is."""
    shape = column.shape
    if shape.form not in _TYPED:
        return Any, ""
    scalar = _Integer if shape.form is Form.RATING else _SCALARS[shape.scalars]
    if (shape.form, shape.scalars) in _NUMBERS:
        scalar |= str
    repeated: list[Any] = [
        (field, Literal[value] | UnsetType, UNSET)
        for field, value in column.repeated.items()
        if isinstance(value, str)
    ]
    if shape.form is Form.WITH_UNIT:
        # The entry is its own value, if it repeats nothing.
        return _struct(name, [("value", scalar), ("unit", str | None, None)]), ""
    if shape.form is Form.EXPLAINED:
        choice = _struct(f"{name}_choice", [("value", scalar), ("explanation", str | None, None)])
        return _struct(name, [("value", GenericAlias(list, (choice,))), *repeated]), ".value"
    if shape.form is Form.SCALARS:
        return _struct(name, [("value", GenericAlias(list, (scalar,))), *repeated]), ".value"
    return _struct(name, [("value", scalar | None), *repeated]), ".value"
