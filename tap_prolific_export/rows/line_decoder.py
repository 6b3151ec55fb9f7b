"""An accelerator: decodes lines straight into responses, and usual answers into their values.

Its types adapt: where an answer has another shape, or a line another field, both are from then on
decoded as they are. A line that they do not take needs a closer look: see `responses`.
"""

from __future__ import annotations

import re
from operator import attrgetter
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from tap_prolific_export.rows.responses import KNOWN, NESTS, Fields, merged, response_of
from tap_prolific_export.rows.usual_answers import (
    LOOSE,
    ODD,
    AnswerType,
    fits,
    loose,
    struct,
    usual_answer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from tap_prolific_export.archive.export_archive import Upload
    from tap_prolific_export.rows.answers import AnswerColumn
    from tap_prolific_export.rows.responses import Response

# To have more names, or to make the types anew more often, would take longer than it saves.
_MAX_NAMES, _MAX_CHANGES = 1000, 50
_NO_NAME = re.compile(r'["\\\x00-\x1f\ud800-\udfff]')  # msgspec has no fields of such names
_Id = Annotated[str, Meta(min_length=1)]
_Fields = dict[str, Raw]
_decode_fields = msgspec.json.Decoder(_Fields).decode


def can_be_typed(columns: Mapping[str, AnswerColumn]) -> bool:
    """Whether answers to these questions can be typed; to one question, it would save nothing."""
    keys = {column.key for column in columns.values()}
    return 1 < len(columns) == len(keys) <= _MAX_NAMES and _are_names((*columns, *keys))


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
        self._answers = {
            id_: usual_answer(column, uploads or {}) or AnswerType(LOOSE[0])
            for id_, column in columns.items()
        }
        # Of the other fields of lines and tasks.
        self._others: dict[str, Any] = dict.fromkeys(KNOWN, LOOSE[0])
        self._changes = 0
        self._make_types()

    def decode(self, text: bytes) -> list[Response] | None:
        """Return the responses of a line; None if it needs a closer look."""
        try:
            found = self._decode(text)
        except ODD:
            return self.decode(text) if self._learn(text) else None
        line = self._fields(found)
        if found.tasks is UNSET:
            return [response_of(line)]
        if line.answers is not None:
            return None
        return [*map(response_of, merged(map(self._fields, found.tasks), line))]

    def _fields(self, found: Any) -> Fields:
        """Return the fields of a line or task."""
        rest = {}
        for name, get in self._rest:
            if (value := get(found)) is not UNSET:
                rest[name] = value
        if (answers := found.answers) is UNSET:
            return Fields(self._known(found), rest)
        untyped = {}
        for id_, get in self._untyped:
            if (entry := get(answers)) is not UNSET:
                untyped[id_] = entry
        return Fields(self._known(found), rest, untyped, self._typed(answers))

    def _learn(self, text: bytes) -> bool:
        """Make types that take this line, too; return whether they are others."""
        self._changes += 1
        if self._changes > _MAX_CHANGES:
            return False
        others, answers = self._others.copy(), self._answers.copy()
        try:
            line = _decode_fields(text)
            tasks = msgspec.json.decode(line.pop("tasks", b"[]"), type=list[_Fields])
            for fields in (line, *tasks):
                for id_, raw in _decode_fields(fields.pop("responses", b"{}")).items():
                    if id_ not in answers or not fits(raw, answers[id_].type):
                        answers[id_] = AnswerType(loose(raw))
                for name, raw in fields.items():
                    others[name] = loose(raw, others.get(name, LOOSE[0]))
        except ODD:
            return False
        is_new = (others, answers) != (self._others, self._answers)
        # These are no fields, but nests; and that is one answer, and no object of answers.
        is_other = not others.keys().isdisjoint(NESTS) or "instruction_id" in answers
        if is_other or not is_new or not _are_names((*others, *answers)):
            return False
        self._others, self._answers = others, answers
        self._make_types()
        return True

    def _make_types(self) -> None:
        fields, places, self._untyped = [], [], []
        for number, (id_, (type_, default, value)) in enumerate(self._answers.items()):
            name = f"a{number}"
            fields.append((name, type_, msgspec.field(name=id_, default=default)))
            if type_ in LOOSE:
                self._untyped.append((id_, attrgetter(name)))
            if id_ in self._columns:
                places.append("no_value" if type_ in LOOSE else name + value)
        self._typed: Callable[[Any], tuple[Any, ...]] = attrgetter(*places)
        names = [f"f{number}" for number, _ in enumerate(self._others)]
        self._known: Callable[[Any], tuple[Any, ...]] = attrgetter(*names[: len(KNOWN)])
        self._rest = [*zip(self._others, map(attrgetter, names), strict=True)][len(KNOWN) :]
        _, *both = [
            (name, type_ | UnsetType, msgspec.field(name=field, default=UNSET))
            for name, (field, type_) in zip(names, self._others.items(), strict=True)
        ]
        answers = struct(fields, no_value=UNSET)
        field = msgspec.field(name="responses", default=UNSET)
        both.append(("answers", answers | UnsetType, field))
        # A line has its submission's id, and its tasks have none.
        tasks: Any = GenericAlias(list, (struct(both, f0=UNSET),))
        tasks = Annotated[tasks, Meta(min_length=1)] | UnsetType
        line = [("f0", _Id, msgspec.field(name=KNOWN[0])), *both, ("tasks", tasks, UNSET)]
        self._decode = msgspec.json.Decoder(struct(line)).decode


def _are_names(names: Collection[str]) -> bool:
    return len(names) <= _MAX_NAMES and not any(map(_NO_NAME.search, names))
