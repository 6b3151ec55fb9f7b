"""An accelerator: decodes the usual answers of a line straight into what their columns hold.

For each question a type is made that takes the shape that answers to it usually have, and no other.
If any answer of a line has another shape, nothing is taken of that line: `readers` and `answers`
tell then what it says. Of what is taken they would tell the same.
"""

from __future__ import annotations

import re
from operator import attrgetter
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tap_prolific_export.archive.export_archive import Line
from tap_prolific_export.archive.safe_json import may_be_deep
from tap_prolific_export.rows.answers import ColumnKind, ScalarType
from tap_prolific_export.rows.readers import LARGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tap_prolific_export.rows.readers import AnswerColumn

# With more questions, making the types takes longer than they save.
MAX_QUESTIONS = 1000
# These have no usual shape: their entries are decoded as they are.
UNTYPED = frozenset({ColumnKind.FILES, ColumnKind.JSON})
# msgspec has no fields of such names.
_NO_FIELD = re.compile(r'["\\\x00-\x1f\ud800-\udfff]')
_Integer = Annotated[int, Meta(ge=-LARGE, le=LARGE)]
_SCALARS: Mapping[ScalarType, Any] = {
    ScalarType.STRING: str,
    ScalarType.NUMBER: _Integer | float,
    ScalarType.BOOLEAN: bool,
}
_decode_any = msgspec.json.Decoder().decode
_decode_tasks = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _OddError(Exception):
    """A line is not as usual."""


_ODD = (_OddError, msgspec.MsgspecError, RecursionError, UnicodeError)


def line_decoder(columns: Mapping[str, AnswerColumn]) -> Callable[[bytes], Line | None] | None:
    """Return a function that decodes the line of one submission; None if there can be none.

    In place of an object of answers by question, the line has then a tuple with a value for each
    question, in the order of the questions: what its column holds, the entry as it is for `UNTYPED`
    kinds, UNSET for no answer. It returns None for a line in which anything is not as usual.
    """
    if not can_be_typed(columns):
        return None
    decode_answers = _answers_decoder(columns)

    def typed(fields: dict[str, Any]) -> dict[str, Any]:
        """Decode the fields of a line, or of a task, in place."""
        for name, raw in fields.items():
            fields[name] = decode_answers(raw) if name == "responses" else _decode_field(raw)
        return fields

    def decoded(text: bytes) -> Line | None:
        try:
            fields: dict[str, Any] = _decode_fields(text)
            tasks = _decode_tasks(fields.pop("tasks")) if "tasks" in fields else None
            line = typed(fields)
            # A response without ids is named after its line as it came.
            id_ = line.get("submission_id")
            if "submissions" in line or not id_ or id_.__class__ is not str:
                return None
            if tasks is not None:
                if not tasks or "responses" in line or any("submission_id" in t for t in tasks):
                    return None
                line["tasks"] = [*map(typed, tasks)]
        except _ODD:
            return None
        return Line(line)

    return decoded


def _decode_field(raw: msgspec.Raw) -> Any:
    value: Any = _decode_any(raw)
    if isinstance(value, (list, dict)) and may_be_deep(bytes(raw)):
        raise _OddError
    return value


def _answers_decoder(
    columns: Mapping[str, AnswerColumn],
) -> Callable[[msgspec.Raw], tuple[Any, ...]]:
    """Return a function that decodes an object of usual answers."""
    fields, places, untyped = [], [], []
    for number, (id_, column) in enumerate(columns.items()):
        type_, default, inner = _entry(column, f"Entry{number}")
        fields.append((f"a{number}", type_, msgspec.field(name=id_, default=default)))
        places.append(f"a{number}{inner}")
        if column.column_type.kind in UNTYPED:
            untyped.append(number)
    take: Callable[[Any], Any] = attrgetter(*places)
    is_alone = len(places) == 1  # then the getter returns no tuple
    decode = msgspec.json.Decoder(_struct("Answers", fields)).decode

    def decoded(raw: msgspec.Raw) -> tuple[Any, ...]:
        answers: tuple[Any, ...] = take(decode(raw))
        if is_alone:
            answers = (answers,)
        for place in untyped:
            if answers[place] is not UNSET and may_be_deep(bytes(raw)):
                raise _OddError
        return answers

    return decoded


def can_be_typed(columns: Mapping[str, AnswerColumn]) -> bool:
    """Whether answers to these questions can be typed."""
    keys = {column.key for column in columns.values()}
    is_possible = 0 < len(columns) == len(keys) <= MAX_QUESTIONS
    return is_possible and not any(map(_NO_FIELD.search, (*columns, *keys)))


def _entry(column: AnswerColumn, name: str) -> tuple[Any, Any, str]:
    """Return the type of a question's entries, its default, and where in it the value is."""
    kind = column.column_type.kind
    if kind in UNTYPED:
        return Any, UNSET, ""
    scalar = _Integer if kind is ColumnKind.RATING else _SCALARS[column.column_type.scalar]
    if kind is ColumnKind.WITH_UNIT:
        return _struct(name, [("value", scalar), ("unit", str | None)]) | UnsetType, UNSET, ""
    if kind is ColumnKind.EXPLAINED:
        choice = _struct(f"{name}Choice", [("value", scalar), ("explanation", str | None)])
        scalar = GenericAlias(list, (choice,))
    elif kind is ColumnKind.SCALARS:
        scalar = GenericAlias(list, (scalar,))
    repeated = [
        (field, Literal[value] | UnsetType, UNSET)
        for field, value in column.repeated.items()
        if isinstance(value, str)
    ]
    entry = _struct(name, [("value", scalar | None | UnsetType), *repeated])
    return entry, entry(value=UNSET), ".value"


def _struct(name: str, fields: list[Any]) -> Any:
    return msgspec.defstruct(
        name, fields, forbid_unknown_fields=True, frozen=True, gc=False, kw_only=True
    )
