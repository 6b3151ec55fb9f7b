"""Questions that nobody describes -> instructions, as far as the answers tell; pure.

An archive without its metadata still holds its answers. Their types are made from what they hold:
what is ambiguous is text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tap_prolific_export.rows.answers import read
from tap_prolific_export.rows.collection import Instruction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_prolific_export.rows.answers import Value
    from tap_prolific_export.rows.responses import Response

# A column for each of more ids than this, or of ids such as Prolific gives none, is nobody's wish:
# what is under them stays in additional_fields.
MAX_INSTRUCTIONS = 1000
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
# Fields of an entry that say again what is known of the question.
_REPEATED = ("type", "instruction_id")


@dataclass
class _Seen:
    """What the answers to one question hold."""

    types: set[str] = field(default_factory=set)
    kinds: set[str] = field(default_factory=set)
    several: bool = False
    units: bool = False
    explained: bool = False
    files: bool = False
    unforeseen: bool = False

    def add(self, entry: Any) -> None:
        told: dict[str, Any] = {}
        if isinstance(entry, dict):
            told = {name: entry.get(name) for name in _REPEATED}
            if isinstance(told["type"], str) and len(self.types) <= 1:  # that there are two will do
                self.types.add(told["type"])
        values = read(entry, told)
        if values is None:
            self.unforeseen = True
            return
        self.several |= len(values) != 1 and entry is not None
        for value in values:
            self._add_value(value)

    def _add_value(self, value: Value) -> None:
        self.units |= value.unit is not None
        self.explained |= value.explanation is not None
        self.files |= value.file is not None
        if value.value is not None:
            kinds = {bool: "boolean", int: "number", float: "number"}
            self.kinds.add(kinds.get(type(value.value), "string"))

    def fields(self) -> dict[str, Any]:
        """Return the fields of an instruction whose column takes the answers."""
        kind = self.kinds.pop() if len(self.kinds) == 1 else "string"
        options = [{"value": {"number": 0, "boolean": True, "string": ""}[kind]}]
        if self.unforeseen or len(self.types) > 1:
            return {"type": None}
        if self.files:
            return {"type": "file_upload"}
        if self.units:
            return {
                "type": "free_text_with_unit",
                "unit_options": [{"validation": {"type": kind}}],
            }
        if self.explained:
            return {"type": "multiple_choice_with_free_text", "options": options}
        if self.several:
            return {"type": "multiple_choice", "answer_limit": -1, "options": options}
        if kind == "boolean":
            return {"type": "multiple_choice", "answer_limit": 1, "options": options}
        return {"type": "free_text", "validation": {"type": kind}}


def instructions(responses: Iterable[Response]) -> tuple[Instruction, ...]:
    """Return an instruction for each id that answers are given under.

    Args:
        responses: All of them: one that differs from the others makes a column text.
    """
    seen: dict[str, _Seen] = {}
    for response in responses:
        for id_, entry in response.answers.items():
            if id_ not in seen and (len(seen) == MAX_INSTRUCTIONS or not _ID.fullmatch(id_)):
                continue
            seen.setdefault(id_, _Seen()).add(entry)
    return tuple(
        _instruction(id_, position, what.fields())
        for position, (id_, what) in enumerate(seen.items(), 1)
    )


def _instruction(id_: str, position: int, fields: dict[str, Any]) -> Instruction:
    return Instruction(
        id=id_,
        type=fields["type"],
        question=None,
        page=None,
        position=position,
        fields={"id": id_, **fields},
        rest={"inferred": True},
    )
