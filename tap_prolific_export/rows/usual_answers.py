"""The types of usual answers, which are decoded straight into what their columns hold.

For each question there is a type that takes the shape that answers to it usually have, and no
other. All others are decoded as they are, and `answers` and `answer_values` tell what they say. Of
what has a type, they would tell the same.
"""

from __future__ import annotations

from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, NewType

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType
from msgspec.structs import force_setattr

from tap_prolific_export.rows.answers import ColumnKind, ScalarType, path_in
from tap_prolific_export.rows.scalars import LARGE, Scalar
from tap_prolific_export.rows.upload_keys import in_archives_form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tap_prolific_export.archive.export_archive import Upload
    from tap_prolific_export.rows.answers import AnswerColumn

_Integer = Annotated[int, Meta(ge=-LARGE, le=LARGE)]
_SCALARS: Mapping[ScalarType, Any] = {
    ScalarType.STRING: str,
    ScalarType.BOOLEAN: bool,
    ScalarType.NUMBER: _Integer | float,
}
# What is raised for a text that is not of a type.
ODD = (msgspec.MsgspecError, RecursionError, UnicodeError)


def _holding(items: Any, levels: int) -> Any:
    """Return the type of a scalar, or of objects and lists that hold others, down to some level."""
    if not levels:
        return items
    # A type with a name is not taken apart for each field: types are then made in half the time.
    made: Any = NewType
    return _holding(made("Holding", Scalar | dict[str, items] | list[items]), levels - 1)


# What has no type of its own is decoded as one of these, so that nothing is nested too deeply.
LOOSE = tuple(_holding(Scalar, levels) for levels in (1, 3, 6, 9))


def loose(raw: Raw, type_: Any = LOOSE[0]) -> Any:
    """Return the first of the loose types that fits, beginning with one; the last if none does."""
    return next((each for each in LOOSE[LOOSE.index(type_) :] if fits(raw, each)), LOOSE[-1])


def fits(raw: Raw, type_: Any) -> bool:
    """Whether a value can be decoded as a type."""
    try:
        msgspec.json.decode(raw, type=type_)
    except ODD:
        return False
    return True


class AnswerType(NamedTuple):
    """How the answers to a question are decoded.

    Attributes:
        type: What an entry is decoded as.
        default: What stands for an answer that is missing.
        value: Path of the value in the decoded entry, with a dot before each name.
    """

    type: Any
    default: Any = UNSET
    value: str = ""


class UploadedFile(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An uploaded file in an answer: the fields that the column has, in its order."""

    path: str
    file_name: str
    content_type: str | None = None
    size_bytes: int | UnsetType | None = UNSET  # of the file in the archive, if it is there


def usual_answer(column: AnswerColumn, uploads: Mapping[str, Upload]) -> AnswerType | None:
    """Return the type of the usual answers to a question; None if none are usual.

    Args:
        column: The question's column.
        uploads: The uploaded files in the archive, by path.
    """
    kind = column.column_type.kind
    # JSON has no usual shape, and of a foreign property tables need different types.
    if kind is ColumnKind.JSON or column.is_foreign:
        return None
    scalar = _Integer if kind is ColumnKind.RATING else _SCALARS[column.column_type.scalar]
    if kind is ColumnKind.WITH_UNIT:
        return AnswerType(struct([("value", scalar), ("unit", str | None)]) | UnsetType)
    constants: dict[str, Any] = {}
    if kind is ColumnKind.FILES:
        scalar = UploadedFile | GenericAlias(list, (UploadedFile,))
        constants["__post_init__"] = _completes_files(uploads)
    elif kind is ColumnKind.EXPLAINED:
        choice = struct([("value", scalar), ("explanation", str | None)])
        scalar = GenericAlias(list, (choice,))
    elif kind is ColumnKind.SCALARS:
        scalar = GenericAlias(list, (scalar,))
    repeated = [
        (field, Literal[value] | UnsetType, UNSET)
        for field, value in column.repeated.items()
        if isinstance(value, str)
    ]
    entry = struct([("value", scalar | None | UnsetType), *repeated], **constants)
    return AnswerType(entry, entry(value=UNSET), ".value")


def struct(fields: Iterable[Any], **constants: Any) -> Any:
    """Return a class of objects that have these fields and no others."""
    return msgspec.defstruct(
        "Fields",
        fields,
        namespace=constants,
        forbid_unknown_fields=True,
        frozen=True,
        gc=False,
        kw_only=True,
    )


def _completes_files(uploads: Mapping[str, Upload]) -> Callable[[Any], None]:
    """Return what follows the decoding of an answer with uploads.

    It raises a ValueError, as for any other shape, if a file's name needs a closer look.
    """

    def complete(entry: Any) -> None:
        if not entry.value:
            return
        if entry.value.__class__ is not list:
            force_setattr(entry, "value", [entry.value])
        for file in entry.value:
            path = file.path
            texts = (path, file.file_name, file.content_type or "")
            is_plain = path_in(path, uploads) == path and file.size_bytes is UNSET
            is_plain &= all(in_archives_form(text, uploads) == text for text in texts)
            if not (is_plain and file.file_name):
                raise ValueError
            file.size_bytes = uploads[path].size if path in uploads else None

    return complete
