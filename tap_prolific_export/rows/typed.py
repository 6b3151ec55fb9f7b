"""Lines decoded straight into types that are made for them.

A collection's questions, and the first lines of its export, tell what nearly all lines look like.
From them one decoder is built here that takes such a line, typed and checked, in one step. A line
that differs in anything does not fit, and is left to the tolerant way (`lines`, `answers`).
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import partial
from operator import attrgetter
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from tap_prolific_export.archive.export_archive import Block
from tap_prolific_export.archive.safe_json import INT64, MAX_DEPTH, depth_of
from tap_prolific_export.rows.answers import ColumnKind, ScalarType, as_number, path_in
from tap_prolific_export.rows.responses import TIMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tap_prolific_export.rows.files import Uploads
    from tap_prolific_export.rows.tables import AnswerColumn

# So many lines are looked at to learn their fields.
LOOKED_AT = 100
# With more questions, or fields, nothing is compiled: that would take longer than it saves.
MAX_QUESTIONS, MAX_OTHERS = 1000, 100
_NUL = b"\\u0000"
# What msgspec has no name of a field for.
_NO_FIELD = re.compile(r'["\\\x00-\x1f\ud800-\udfff]')
# Of these some have a meaning that only the tolerant way knows, as have names of answers beside
# the answers.
_SPECIAL = {"submission_id", "participant_id", "study_id", "task_id", "response_id", "id"}
_SPECIAL |= {"responses", "submissions", "tasks", "answers"}

encode = msgspec.json.Encoder().encode

_Text = Annotated[str, Meta(min_length=1)]
_Integer = Annotated[int, Meta(ge=INT64.start, le=INT64.stop - 1)]
_SCALARS: dict[ScalarType, Any] = {
    ScalarType.STRING: str,
    ScalarType.NUMBER: _Integer | float,
    ScalarType.BOOLEAN: bool,
}


class DoesNotFitError(Exception):
    """A line is to be read the tolerant way."""


def _struct(name: str, fields: Sequence[Any]) -> Any:
    # Without the garbage collector's care: they hold no circles. Frozen: they are defaults.
    return msgspec.defstruct(
        name, fields, forbid_unknown_fields=True, frozen=True, gc=False, kw_only=True
    )


class Choice(msgspec.Struct, gc=False):
    """What was chosen, and why."""

    value: Any
    explanation: str | None


class _File(msgspec.Struct, forbid_unknown_fields=True, gc=False, frozen=True):
    path: str
    file_name: str | None = None
    content_type: str | None = None


class Maker(Protocol):
    """Makes something of typed lines."""

    def use(self, others: Sequence[str]) -> None:
        """Be told what other fields lines have; see `other_fields`."""

    def rows(self, lines: Sequence[Any]) -> list[Any]:
        """Return what is made of each line.

        Raises:
            DoesNotFitError: Of one nothing can be.
        """


class TypedLines:
    """Has several makers make something of blocks of lines; of one file, from its begin.

    Args:
        columns: The properties of ``answers``, by instruction id.
        makers: They.
    """

    def __init__(self, columns: Mapping[str, AnswerColumn], *makers: Maker) -> None:
        self._columns = columns
        self._makers = makers
        self._decode: Callable[[bytes], list[Any]] | None = None
        # What is not typed, and how deep it lies.
        self._of_any_depth: list[tuple[int, Callable[[Any], Any]]] = []
        self._is_possible = len(columns) <= MAX_QUESTIONS

    def __call__(self, block: bytes) -> Block | None:
        """Return what is made of whole lines; None where one is to be read the tolerant way."""
        if not self._is_possible:
            return None
        try:
            decode = self._decode or self._built(_fields_of(block))
            # From the right, where it looks for the backslash first, which is rare: twice as fast.
            if b"\\" in block and block.rfind(_NUL) >= 0:
                return None
            lines = decode(block)
            if not lines or len(lines) != _lines_of_one_object(block):
                return None
            for depth, of in self._of_any_depth:
                if any(map(partial(_is_deep, MAX_DEPTH - depth), map(of, lines))):
                    return None
            made = [maker.rows(lines) for maker in self._makers]
            return Block([line.submission_id for line in lines], made)
        except _DOES_NOT_FIT:
            # What an odd line costs here is little, beside what the tolerant way takes.
            return None

    def _built(self, names: Sequence[str]) -> Callable[[bytes], list[Any]]:
        """Return what decodes lines that have no other fields than these, and their answers'.

        Raises:
            DoesNotFitError: That cannot be built.
        """
        self._is_possible = False
        time = next((name for name in TIMES if name in names), TIMES[0])
        others = [name for name in names if name not in _SPECIAL and name != time]
        if len(others) > MAX_OTHERS or any(map(_NO_FIELD.search, (*others, *self._columns))):
            raise DoesNotFitError
        absent = None
        # What is null does not fit: the tolerant way keeps it as it came.
        a_time: Any = ("time", datetime | UnsetType, msgspec.field(name=time, default=absent))
        if not {*TIMES}.isdisjoint(others):  # one of these would stand in for it
            a_time = ("time", datetime, msgspec.field(name=time))
        answers = [
            (f"a{place}", type_, msgspec.field(name=id_, default=default))
            for place, (id_, (type_, default)) in enumerate(
                (id_, _entry(column, f"A{place}"))
                for place, (id_, column) in enumerate(self._columns.items())
            )
        ]
        fields = [
            ("submission_id", _Text),
            ("responses", _struct("Answers", answers)),
            ("participant_id", _Text | UnsetType, absent),
            ("study_id", _Text | UnsetType, absent),
            a_time,
        ]
        for maker in self._makers:
            maker.use(others)
        self._of_any_depth = [(1, attrgetter(f"o{place}")) for place in range(len(others))] + [
            (2, attrgetter(f"responses.a{place}"))
            for place, column in enumerate(self._columns.values())
            if column.column_type.kind is ColumnKind.JSON
        ]
        line = _struct("Line", [*fields, *other_fields(others)])
        self._decode = msgspec.json.Decoder(line).decode_lines
        self._is_possible = True
        return self._decode


# What it may raise that a line is not what this is made for.
_DOES_NOT_FIT = (
    DoesNotFitError,
    msgspec.MsgspecError,
    OverflowError,
    RecursionError,
    UnicodeError,
)


def other_fields(names: Sequence[str]) -> list[Any]:
    """Return fields for other fields of lines: ``o0``, ``o1`` and so on."""
    return [
        (f"o{place}", Any, msgspec.field(name=name, default=UNSET))
        for place, name in enumerate(names)
    ]


def _fields_of(block: bytes) -> list[str]:
    """Return the fields that the first lines of a block have."""
    decode = msgspec.json.Decoder(dict[str, Raw]).decode
    names: dict[str, None] = {}
    for line in block.split(b"\n", LOOKED_AT)[:LOOKED_AT]:
        try:
            names |= dict.fromkeys(decode(line))
        except _DOES_NOT_FIT:
            continue
    return [*names]


def _is_deep(most: int, value: Any) -> bool:
    return value.__class__ in {list, dict} and depth_of(value) > most


def _lines_of_one_object(block: bytes) -> int:
    """Return how many lines a block of objects has, if that is how many objects; else 0.

    What decodes them minds no line feeds: it takes two objects on one line, and one on two lines.
    Inside of an object, no bracket opens where another has just closed.
    """
    count, at = 0, 0
    while at := block.find(b"\n", at) + 1:
        if block[at - 2 : at + 1] not in {b"}\n{", b"}\n"}:
            return 0
        count += 1
    return count + (not block.endswith(b"\n"))


def _entry(column: AnswerColumn, name: str) -> tuple[Any, Any]:
    """Return the type of the entries of a question, and what stands for one that is missing."""
    column_type = column.column_type
    scalar = _Integer if column_type.kind is ColumnKind.RATING else _SCALARS[column_type.scalar]
    if scalar == _SCALARS[ScalarType.NUMBER] and column_type.kind is not ColumnKind.EXPLAINED:
        scalar |= str  # numbers may come as text
    several = GenericAlias(list, (scalar,))
    more: list[Any] = [
        (field, Literal[value] | UnsetType, UNSET)
        for field, value in column.repeated.items()
        if isinstance(value, str)
    ]
    bare: Any = None
    if column_type.kind is ColumnKind.JSON:
        return Any, UNSET
    if column_type.kind is ColumnKind.WITH_UNIT:
        # The entry is its own value, if it repeats nothing.
        value, more = scalar, [("unit", str | None, None)]
    elif column_type.kind is ColumnKind.EXPLAINED:
        choice = _struct(f"{name}_choice", [("value", scalar), ("explanation", str | None, None)])
        bare = GenericAlias(list, (choice,))
        value = scalar | bare
        more.append(("explanation", str | None, None))
    elif column_type.kind is ColumnKind.SCALARS:
        bare = scalar | several
        value = bare
    elif column_type.kind is ColumnKind.FILES:
        bare = GenericAlias(list, (_File | str,)) | str
        value = bare | _File
    else:
        bare = value = scalar
    # A missing one has a value that is none, too: so values are taken without asking first.
    entry = _struct(name, [("value", value | None | UnsetType), *more])
    return entry | bare | None, entry(value=UNSET)


# What an entry of such a type holds; `UNSET` where a line has none.


def value_of(entry: Any) -> Any:
    """Return what an entry holds, which may be what it is."""
    return getattr(entry, "value", entry)


def number(value: Any) -> Any:
    """Return a number, or a text that is one as one."""
    if value.__class__ is not str:
        return value
    found = as_number(value)
    if found is None:
        raise DoesNotFitError
    return found


def several(value: Any) -> Any:
    """Return values in an array, which may come without one."""
    return value if value.__class__ is list or value is None or value is UNSET else [value]


def numbers(value: Any) -> Any:
    """Return numbers in an array, which may come without one, and as text."""
    values = several(value)
    return [number(each) for each in values] if values.__class__ is list else values


def measure(entry: Any) -> Any:
    """Return a text and its unit; the entry itself is both."""
    value = value_of(entry)
    if value is UNSET or (value is None and (entry is None or entry.unit is None)):
        return value
    return entry


def number_measure(entry: Any) -> Any:
    """Return a number, which may come as text, and its unit."""
    value = value_of(entry)
    if value.__class__ is str:
        return {"value": number(value), "unit": entry.unit}
    return measure(entry)


def choices(entry: Any) -> Any:
    """Return values and explanations."""
    if entry is None or entry.__class__ is list:
        return entry
    value, explanation = entry.value, entry.explanation
    if value.__class__ is not list and value is not None:
        return UNSET if value is UNSET else [Choice(value, explanation)]
    if explanation is not None:
        raise DoesNotFitError
    return value


def files(value: Any, uploads: Uploads) -> Any:
    """Return uploaded files, as their column has them."""
    given = several(value)
    if given.__class__ is not list:
        return given
    return [
        {
            "path": path,
            "file_name": name or path.rpartition("/")[2],
            "content_type": content_type,
            "size_bytes": uploads[path].size if path in uploads else None,
        }
        for path, name, content_type in (_file(each, uploads) for each in given)
    ]


def _file(given: Any, uploads: Uploads) -> tuple[str, str | None, str | None]:
    """Return the path, name and content type of a file, or of a path alone."""
    path, name, content_type = (
        (given, None, None)
        if given.__class__ is str
        else (given.path, given.file_name, given.content_type)
    )
    found = path_in(path, uploads)
    if found != path_in(path, ()):
        raise DoesNotFitError
    return found, name, content_type


def json_of(value: Any) -> Any:
    """Return a JSON value as text."""
    if value is None or value is UNSET:
        return value
    return encode(value).decode()
