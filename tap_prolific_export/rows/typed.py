"""An accelerator: decodes the usual answers of a line straight into what their columns hold.

For each question there is a type that takes the shape that answers to it usually have, and no
other. Where one has another shape, answers to this question are from then on decoded as they are,
and `answers` and `answer_values` tell what they say. Of what is typed, they would tell the same.
"""

from __future__ import annotations

import re
from operator import attrgetter
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from tap_prolific_export.archive.safe_json import MAX_DEPTH, depth_of, may_be_deep
from tap_prolific_export.rows.answers import ColumnKind, ScalarType, path_in
from tap_prolific_export.rows.responses import KNOWN, Fields, merged, response_of
from tap_prolific_export.rows.scalars import LARGE, Scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from tap_prolific_export.archive.export_archive import Upload
    from tap_prolific_export.rows.answers import AnswerColumn
    from tap_prolific_export.rows.responses import Response

# To have more names, or to make the types anew more often, would take longer than it saves.
_MAX_NAMES, _MAX_CHANGES = 1000, 50
_NO_NAME = re.compile(r'["\\\x00-\x1f\ud800-\udfff]')  # msgspec has no fields of such names
_ODD = (msgspec.MsgspecError, RecursionError, UnicodeError)
# What a field of a line may hold without being looked at for how deep it is. As a type with a name,
# it is not taken apart for each field: types are then made in half the time.
_Flat: Any = NewType("_Flat", Scalar | dict[str, Scalar] | list[Scalar])  # type: ignore[misc, valid-newtype]  # of a union: msgspec takes it
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


class UploadedFile(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An uploaded file in a typed answer: the fields that the column has, in its order."""

    path: str
    file_name: str
    content_type: str | UnsetType | None = UNSET
    size_bytes: int | UnsetType | None = UNSET  # of the file in the archive, if it is there


class LineDecoder:
    """Decodes lines of submissions into responses, of which usual answers come `typed`.

    Args:
        columns: The properties of ``answers``, by instruction id; `can_be_typed` holds for them.
        uploads: The uploaded files in the archive, by path.
    """

    def __init__(
        self, columns: Mapping[str, AnswerColumn], uploads: Mapping[str, Upload] | None = None
    ) -> None:
        self._columns = columns
        self._uploads = uploads or {}
        self._entries = {id_: _entry(column) for id_, column in columns.items()}
        # Of the other fields of lines and tasks.
        self._types: dict[str, Any] = dict.fromkeys(KNOWN, _Flat)
        self._changes = 0
        self._make_types()

    def decode(self, text: bytes) -> list[Response] | None:
        """Return the responses of a line; None if it needs a closer look."""
        try:
            found = self._decode(text)
        except _ODD:
            return self.decode(text) if self._learn(text) else None
        line = self._fields(found)
        # A response without ids is named after its line as it came.
        id_ = line.known[0]
        if id_.__class__ is not str or not id_ or "submissions" in line.rest:
            return None
        if found.tasks is UNSET:
            if self._is_deep(text, line):
                return None
            return [response_of(line)]
        tasks = [*map(self._fields, found.tasks)]
        if not tasks or line.answers is not None or self._is_deep(text, line):
            return None
        for task in tasks:
            if task.known[0] is not UNSET or self._is_deep(text, task):
                return None
        return [*map(response_of, merged(tasks, line))]

    def _is_deep(self, text: bytes, fields: Fields) -> bool:
        if not (fields.answers or self._has_nests) or not may_be_deep(text):
            return False
        # A task is two levels below its line.
        return depth_of([[[fields.known, fields.rest, fields.answers]]]) >= MAX_DEPTH

    def _fields(self, found: Any) -> Fields:
        """Return the fields of a line or task."""
        rest = {}
        for name, get in self._rest:
            if (value := get(found)) is not UNSET:
                rest[name] = value
        if (answers := found.responses) is UNSET:
            return Fields(self._known(found), rest)
        others = {}
        for id_, get in self._untyped:
            if (entry := get(answers)) is not UNSET:
                others[id_] = entry
        values = self._take(answers)
        for place, id_, get in self._files:
            if not (files := values[place]):  # there is no such answer, or no file in it
                continue
            files = files if files.__class__ is list else [files]
            if all(map(self._is_plain, files)):
                for file in files:
                    upload = self._uploads.get(file.path)
                    file.size_bytes = upload.size if upload else None
                    file.content_type = None if file.content_type is UNSET else file.content_type
            else:
                others[id_], files = msgspec.to_builtins(get(answers)), UNSET
            values = (*values[:place], files, *values[place + 1 :])
        return Fields(self._known(found), rest, others, values)

    def _is_plain(self, file: UploadedFile) -> bool:
        """Whether a file is named in no way that needs a closer look."""
        is_ascii = f"{file.file_name}{file.content_type or ''}".isascii()
        if not (is_ascii and file.file_name and file.size_bytes is UNSET):
            return False
        path = file.path
        if path in self._uploads:
            return True
        return path.isascii() and path_in(path, self._uploads) == path

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
        # This is one answer, and no object of answers; or a task has tasks.
        if "instruction_id" in entries or "tasks" in types:
            return False
        if not is_new or self._changes > _MAX_CHANGES or not _are_names((*types, *entries)):
            return False
        self._types, self._entries = types, entries
        self._make_types()
        return True

    def _make_types(self) -> None:
        fields, places, self._untyped, self._files = [], [], [], []
        for number, (id_, (type_, default, inner)) in enumerate(self._entries.items()):
            name = f"a{number}"
            fields.append((name, type_, msgspec.field(name=id_, default=default)))
            if type_ is Any:
                self._untyped.append((id_, attrgetter(name)))
            elif self._columns[id_].column_type.kind is ColumnKind.FILES:
                self._files.append((number, id_, attrgetter(name)))
            if id_ in self._columns:
                places.append("no_value" if type_ is Any else name + inner)
        self._take: Callable[[Any], tuple[Any, ...]] = attrgetter(*places)
        getters = [(name, attrgetter(f"f{number}")) for number, name in enumerate(self._types)]
        self._known: Callable[[Any], tuple[Any, ...]] = attrgetter(
            *(f"f{number}" for number, _ in enumerate(KNOWN))
        )
        self._rest = getters[len(KNOWN) :]
        answers = _struct(fields, no_value=UNSET)
        tasks = GenericAlias(list, (_fields_type(self._types, responses=answers),))
        line = _fields_type(self._types, responses=answers, tasks=tasks)
        self._decode = msgspec.json.Decoder(line).decode
        self._has_nests = Any in self._types.values()


def _are_names(names: Collection[str]) -> bool:
    return len(names) <= _MAX_NAMES and not any(map(_NO_NAME.search, names))


def _fields_type(types: Mapping[str, Any], **more: Any) -> Any:
    fields = [
        (f"f{n}", type_ | UnsetType, msgspec.field(name=name, default=UNSET))
        for n, (name, type_) in enumerate(types.items())
    ]
    return _struct([*fields, *((name, type_ | UnsetType, UNSET) for name, type_ in more.items())])


def _fits(raw: Raw, type_: Any) -> bool:
    try:
        msgspec.json.decode(raw, type=type_)
    except _ODD:
        return False
    return True


def _entry(column: AnswerColumn) -> _Entry:
    """Return the type of a question's entries, its default, and where in it the value is."""
    kind = column.column_type.kind
    # JSON has no usual shape, and of a foreign property tables need different types.
    if kind is ColumnKind.JSON or column.is_foreign:
        return _UNTYPED
    scalar = _Integer if kind is ColumnKind.RATING else _SCALARS[column.column_type.scalar]
    if kind is ColumnKind.WITH_UNIT:
        entry = _struct([("value", scalar), ("unit", str | None)])
        return entry | UnsetType, UNSET, ""
    if kind is ColumnKind.FILES:
        scalar = UploadedFile | GenericAlias(list, (UploadedFile,))
    elif kind is ColumnKind.EXPLAINED:
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
