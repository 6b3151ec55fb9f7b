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
_NESTED = frozenset({list, dict})
_decode_any = msgspec.json.Decoder().decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_ODD = (msgspec.MsgspecError, RecursionError, UnicodeError)


def line_decoder(columns: Mapping[str, AnswerColumn]) -> Callable[[bytes], Line | None] | None:
    """Return a function that decodes the line of one submission; None if there can be none.

    The line's `answers` are then a tuple with a value for each question, in the order of the
    questions: what its column holds, the entry as it is for `UNTYPED` kinds, UNSET for no answer.
    It returns None for a line in which anything is not as usual.
    """
    keys = {column.key for column in columns.values()}
    if not 0 < len(columns) == len(keys) <= MAX_QUESTIONS or any(map(_NO_FIELD.search, columns)):
        return None
    fields, places, untyped = [], [], []
    for number, (id_, column) in enumerate(columns.items()):
        type_, default, inner = _entry(column, f"Entry{number}")
        fields.append((f"a{number}", type_, msgspec.field(name=id_, default=default)))
        places.append(f"a{number}{inner}")
        if column.column_type.kind in UNTYPED:
            untyped.append(number)
    take = attrgetter(*places, places[0])  # of a single place, a getter returns no tuple
    decode = msgspec.json.Decoder(_struct("Answers", fields)).decode

    def decoded(text: bytes) -> Line | None:
        try:
            fields: dict[str, Any] = _decode_fields(text)
            raw = fields.pop("responses", None)
            if raw is None or "tasks" in fields or "submissions" in fields:
                return None
            answers = take(decode(raw))
            line = {name: _decode_any(field) for name, field in fields.items()}
        except _ODD:
            return None
        deep = [raw for place in untyped if answers[place] is not UNSET]
        deep += [fields[name] for name, value in line.items() if value.__class__ in _NESTED]
        # A line without an id is named after all of it.
        is_usual = line.get("submission_id") and not any(may_be_deep(bytes(each)) for each in deep)
        return Line(line, None, answers) if is_usual else None

    return decoded


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
