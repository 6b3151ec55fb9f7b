"""An accelerator: decodes the usual answers of a line straight into what their columns hold.

For each question there is a type that takes the shape that answers to it usually have, and no
other. Where one has another shape, answers to this question are from then on decoded as they are,
and `readers` and `answers` tell what they say. Of what is taken, they would tell the same.
"""

from __future__ import annotations

import re
from operator import attrgetter
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType
from msgspec.structs import astuple

from tap_prolific_export.archive.export_archive import Line
from tap_prolific_export.archive.safe_json import MAX_DEPTH, depth_of, may_be_deep
from tap_prolific_export.rows.answers import ColumnKind, ScalarType
from tap_prolific_export.rows.readers import LARGE
from tap_prolific_export.rows.responses import Typed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from tap_prolific_export.rows.readers import AnswerColumn

# To have more names, or to make the types anew more often, would take longer than it saves.
_MAX_NAMES, _MAX_CHANGES = 1000, 50
_NO_NAME = re.compile(r'["\\\x00-\x1f\ud800-\udfff]')  # msgspec has no fields of such names
_ODD = (msgspec.MsgspecError, RecursionError, UnicodeError)
_Scalar = str | int | float | bool | None
_Integer = Annotated[int, Meta(ge=-LARGE, le=LARGE)]
_SCALARS: Mapping[ScalarType, Any] = {
    **{ScalarType.STRING: str, ScalarType.BOOLEAN: bool},
    **{ScalarType.NUMBER: _Integer | float},
}
_Fields = dict[str, Raw]
_Entry = tuple[Any, Any, str]  # see `_entry`
_UNTYPED: _Entry = Any, UNSET, ""
_decode_fields = msgspec.json.Decoder(_Fields).decode


def can_be_typed(columns: Mapping[str, AnswerColumn]) -> bool:
    """Whether answers to these questions can be typed; to one question, it would save nothing."""
    keys = {column.key for column in columns.values()}
    return 1 < len(columns) == len(keys) <= _MAX_NAMES and _are_names((*columns, *keys))


class LineDecoder:
    """Decodes lines of submissions, which have then `Typed` in place of each object of answers.

    Args:
        columns: The properties of ``answers``, by instruction id; `can_be_typed` holds for them.
    """

    def __init__(self, columns: Mapping[str, AnswerColumn]) -> None:
        self._columns = columns
        self._entries = {id_: _entry(column) for id_, column in columns.items()}
        self._types: list[dict[str, Any]] = [{}, {}]  # of a line's fields, and of a task's
        self._changes = 0
        self._make_types()

    def decode(self, text: bytes) -> Line | None:
        """Return a line; None if it needs a closer look."""
        try:
            line = self._fields(self._decode(text), self._types[0], text)
            if (tasks := line.get("tasks")) is not None:
                line["tasks"] = [self._fields(each, self._types[1], text) for each in tasks]
        except _ODD:
            return self.decode(text) if self._learn(text) else None
        # A response without ids is named after its line as it came.
        id_ = line.get("submission_id")
        if id_.__class__ is not str or not id_ or "submissions" in line:
            return None
        if tasks is not None:
            if not tasks or "responses" in line or any("submission_id" in t for t in line["tasks"]):
                return None
        return Line(line)

    def _fields(self, found: Any, names: Iterable[str], text: bytes) -> dict[str, Any]:
        """Return the fields of a line, or of a task."""
        fields = {n: v for n, v in zip(names, astuple(found), strict=True) if v is not UNSET}
        others: dict[str, Any] = {}
        if (answers := fields.get("responses")) is not None:
            for id_, get in self._untyped:
                if (entry := get(answers)) is not UNSET:
                    others[id_] = entry
            fields["responses"] = Typed(self._take(answers), others)
        if (others or self._has_nests) and may_be_deep(text):
            if depth_of([fields, others]) > MAX_DEPTH - 5:
                raise RecursionError
        return fields

    def _learn(self, text: bytes) -> bool:
        """Make types that take this line, too; return whether they are others."""
        self._changes += 1
        types, entries = [*map(dict, self._types)], self._entries.copy()
        try:
            line = _decode_fields(text)
            tasks = msgspec.json.decode(line.get("tasks", b"[]"), type=list[_Fields])
            for level, fields in ((0, line), *((1, task) for task in tasks)):
                for name, raw in fields.items():
                    is_nested = bytes(raw)[:1] in {b"[", b"{"}
                    types[level][name] = Any if is_nested else types[level].get(name, _Scalar)
                for id_, raw in _decode_fields(fields.get("responses", b"{}")).items():
                    if not _is_usual(raw, entries.get(id_)):
                        entries[id_] = _UNTYPED
        except _ODD:
            return False
        is_new = (types, entries) != ([*self._types], self._entries)
        if (
            not is_new
            or self._changes > _MAX_CHANGES
            or not _are_names((*types[0], *types[1], *entries))
        ):
            return False
        self._types, self._entries = types, entries
        self._make_types()
        return True

    def _make_types(self) -> None:
        fields, places, self._untyped = [], [], []
        for number, (id_, (type_, default, inner)) in enumerate(self._entries.items()):
            name = f"a{number}"
            fields.append((name, type_, msgspec.field(name=id_, default=default)))
            if type_ is Any:
                self._untyped.append((id_, attrgetter(name)))
            if id_ in self._columns:
                places.append("no_value" if type_ is Any else name + inner)
        answers = _struct(fields, {"no_value": UNSET})
        self._take: Callable[[Any], tuple[Any, ...]] = attrgetter(*places)
        task = _fields_type(self._types[1], responses=answers)
        line = _fields_type(self._types[0], responses=answers, tasks=list[task])
        self._decode = msgspec.json.Decoder(line).decode
        every = {**self._types[0], **self._types[1], "responses": None}
        self._has_nests = Any in every.values()


def _are_names(names: Collection[str]) -> bool:
    return len(names) <= _MAX_NAMES and not any(map(_NO_NAME.search, names))


def _fields_type(types: Mapping[str, Any], **known: Any) -> Any:
    return _struct(
        (f"f{n}", known.get(name, type_) | UnsetType, msgspec.field(name=name, default=UNSET))
        for n, (name, type_) in enumerate(types.items())
    )


def _is_usual(raw: Raw, entry: _Entry | None) -> bool:
    try:
        return entry is not None and msgspec.json.decode(raw, type=entry[0]) is not ...
    except _ODD:
        return False


def _entry(column: AnswerColumn) -> _Entry:
    """Return the type of a question's entries, its default, and where in it the value is."""
    kind = column.column_type.kind
    if kind in {ColumnKind.FILES, ColumnKind.JSON}:  # these have no usual shape
        return _UNTYPED
    scalar = _Integer if kind is ColumnKind.RATING else _SCALARS[column.column_type.scalar]
    if kind is ColumnKind.WITH_UNIT:
        entry = _struct([("value", scalar), ("unit", str | None)])
        return entry | UnsetType, UNSET, ""
    if kind is ColumnKind.EXPLAINED:
        choice = _struct([("value", scalar), ("explanation", str | None)])
        scalar = GenericAlias(list, (choice,))
    elif kind is ColumnKind.SCALARS:
        scalar = GenericAlias(list, (scalar,))
    repeated = [
        (field, Literal[value] | UnsetType, UNSET)
        for field, value in column.repeated.items()
        if isinstance(value, str)
    ]
    entry = _struct([("value", scalar | None | UnsetType), *repeated])
    return entry, entry(value=UNSET), ".value"


def _struct(fields: Iterable[Any], namespace: dict[str, Any] | None = None) -> Any:
    return msgspec.defstruct(
        "Fields",
        fields,
        namespace=namespace,
        forbid_unknown_fields=True,
        frozen=True,
        gc=False,
        kw_only=True,
    )
