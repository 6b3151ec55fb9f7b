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
from tap_prolific_export.rows.responses import Typed
from tap_prolific_export.rows.scalars import LARGE, Scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from tap_prolific_export.rows.readers import AnswerColumn

# To have more names, or to make the types anew more often, would take longer than it saves.
_MAX_NAMES, _MAX_CHANGES = 1000, 50
_NO_NAME = re.compile(r'["\\\x00-\x1f\ud800-\udfff]')  # msgspec has no fields of such names
_ODD = (msgspec.MsgspecError, RecursionError, UnicodeError)
# What a field of a line may hold without being looked at for how deep it is.
_Flat = Scalar | dict[str, Scalar] | list[Scalar]
_Integer = Annotated[int, Meta(ge=-LARGE, le=LARGE)]
_SCALARS: Mapping[ScalarType, Any] = {
    ScalarType.STRING: str,
    ScalarType.BOOLEAN: bool,
    ScalarType.NUMBER: _Integer | float,
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
        self._types: dict[str, Any] = {}  # of the other fields of lines and tasks
        self._changes = 0
        self._make_types()

    def decode(self, text: bytes) -> Line | None:
        """Return a line; None if it needs a closer look."""
        nests: list[Any] = []
        try:
            line = self._fields(self._decode(text), nests)
            if (tasks := line.get("tasks")) is not None:
                tasks = line["tasks"] = [self._fields(each, nests) for each in tasks]
        except _ODD:
            return self.decode(text) if self._learn(text) else None
        # A response without ids is named after its line as it came.
        id_ = line.get("submission_id")
        if id_.__class__ is not str or not id_ or "submissions" in line:
            return None
        if tasks is not None and (
            not tasks or "responses" in line or any("submission_id" in each for each in tasks)
        ):
            return None
        is_flat = not (nests or self._has_nests) or not may_be_deep(text)
        return Line(line) if is_flat or depth_of([line, nests]) < MAX_DEPTH else None

    def _fields(self, found: Any, nests: list[Any]) -> dict[str, Any]:
        """Return the fields of a line or task; add to `nests` what cannot be seen in `Typed`."""
        pairs = zip(self._names, astuple(found), strict=False)
        fields = {name: value for name, value in pairs if value is not UNSET}
        if (answers := fields.get("responses")) is not None:
            others = {}
            for id_, get in self._untyped:
                if (entry := get(answers)) is not UNSET:
                    others[id_] = entry
            if others:
                nests.append(others)
            fields["responses"] = Typed(self._take(answers), others)
        return fields

    def _learn(self, text: bytes) -> bool:
        """Make types that take this line, too; return whether they are others."""
        self._changes += 1
        types, entries = self._types.copy(), self._entries.copy()
        try:
            line = _decode_fields(text)
            tasks = msgspec.json.decode(line.pop("tasks", b"[]"), type=list[_Fields])
            for fields in (line, *tasks):
                for id_, raw in _decode_fields(fields.pop("responses", b"{}")).items():
                    if id_ not in entries or not _fits(raw, entries[id_][0]):
                        entries[id_] = _UNTYPED
                for name, raw in fields.items():
                    type_ = types.get(name, _Flat)
                    types[name] = type_ if _fits(raw, type_) else Any
        except _ODD:
            return False
        is_new = (types, entries) != (self._types, self._entries)
        if "instruction_id" in entries:  # this is one answer, and no object of answers
            return False
        if not is_new or self._changes > _MAX_CHANGES or not _are_names((*types, *entries)):
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
        self._take: Callable[[Any], tuple[Any, ...]] = attrgetter(*places)
        types = {**self._types, "responses": _struct(fields, no_value=UNSET)}
        types["tasks"] = GenericAlias(list, (_fields_type(types),))
        self._names = tuple(types)
        self._decode = msgspec.json.Decoder(_fields_type(types)).decode
        self._has_nests = Any in self._types.values()


_OWN_IDS = ("response_id", "id", "task_id")
_OF_TASK = [(name, Any, UNSET) for name in ("submission_id", *_OWN_IDS)]
_Task = msgspec.defstruct("Task", _OF_TASK, gc=False)
_decode_ids = msgspec.json.Decoder(
    msgspec.defstruct(
        "Ids",
        [
            ("submission_id", str),
            *_OF_TASK[1:],
            ("tasks", GenericAlias(list, (_Task,)) | UnsetType, UNSET),
            ("submissions", Raw | UnsetType, UNSET),
            ("responses", Raw | UnsetType, UNSET),
        ],
        gc=False,
    )
).decode


def decode_ids(text: bytes) -> Line | None:
    """Return the ids of a line, and nothing else of it; None if it needs a closer look."""
    try:
        found: Any = _decode_ids(text)
    except _ODD:
        return None
    is_usual = found.responses is UNSET or bytes(memoryview(found.responses)[:1]) == b"{"
    if not found.submission_id or found.submissions is not UNSET or not is_usual:
        return None
    fields = {"submission_id": found.submission_id, **_own_ids(found)}
    if found.tasks is not UNSET:
        if not found.tasks or any(each.submission_id is not UNSET for each in found.tasks):
            return None
        fields["tasks"] = [*map(_own_ids, found.tasks)]
    return Line(fields)


def _own_ids(found: Any) -> dict[str, Any]:
    return {name: id_ for name in _OWN_IDS if (id_ := getattr(found, name)) is not UNSET}


def _are_names(names: Collection[str]) -> bool:
    return len(names) <= _MAX_NAMES and not any(map(_NO_NAME.search, names))


def _fields_type(types: Mapping[str, Any]) -> Any:
    fields = enumerate(types.items())
    return _struct(
        (f"f{n}", type_ | UnsetType, msgspec.field(name=name, default=UNSET))
        for n, (name, type_) in fields
    )


def _fits(raw: Raw, type_: Any) -> bool:
    try:
        msgspec.json.decode(raw, type=type_)
    except _ODD:
        return False
    return True


def _entry(column: AnswerColumn) -> _Entry:
    """Return the type of a question's entries, its default, and where in it the value is."""
    kind = column.column_type.kind
    if kind in {ColumnKind.FILES, ColumnKind.JSON}:  # these have no usual shape
        return _UNTYPED
    if column.is_foreign:  # tables need different types of it
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


def _struct(fields: Iterable[Any], **constants: Any) -> Any:
    return msgspec.defstruct(
        "Fields",
        fields,
        namespace=constants,
        forbid_unknown_fields=True,
        frozen=True,
        gc=False,
        kw_only=True,
    )
