"""Infer instructions from the answers to them; pure functions.

An archive without metadata still holds the answers. Each question's type is inferred from its
answers; an ambiguous one becomes text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tap_prolific_export.model import ID
from tap_prolific_export.rows.collection import Instruction
from tap_prolific_export.rows.entries import read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_prolific_export.rows.responses import Response

# Limit on inferred columns. Answers to further questions, and under ids that do not look like
# Prolific's, stay in additional_fields.
MAX_INSTRUCTIONS = 1000
# Fields of an entry that only repeat the question.
_REPEATED = ("type", "instruction_id")
_KINDS: dict[type, str] = {bool: "boolean", int: "number", float: "number"}


@dataclass
class _Evidence:
    """What the answers to one question have held so far."""

    types: set[str] = field(default_factory=set)
    kinds: set[str] = field(default_factory=set)
    several: bool = False
    units: bool = False
    explained: bool = False
    files: bool = False
    unknown_shape: bool = False

    def add(self, entry: Any) -> None:
        repeated: dict[str, Any] = {}
        if isinstance(entry, dict):
            repeated = {name: entry.get(name) for name in _REPEATED}
            if isinstance(repeated["type"], str) and len(self.types) <= 1:  # two suffice
                self.types.add(repeated["type"])
        values = read(entry, repeated)
        if values is None:
            self.unknown_shape = True
            return
        self.several |= len(values) != 1 and entry is not None
        for value in values:
            self.units |= value.unit is not None
            self.explained |= value.explanation is not None
            self.files |= value.file is not None
            if value.value is not None:
                self.kinds.add(_KINDS.get(type(value.value), "string"))

    def fields(self) -> dict[str, Any]:
        """Return the fields of an instruction whose column can hold these answers."""
        kind = self.kinds.pop() if len(self.kinds) == 1 else "string"
        options = [{"value": {"number": 0, "boolean": True, "string": ""}[kind]}]
        if self.unknown_shape or len(self.types) > 1:
            return {"type": None}
        if self.files:
            return {"type": "file_upload"}
        if self.units:
            return {"type": "free_text_with_unit", "unit_options": [{"validation": {"type": kind}}]}
        if self.explained:
            return {"type": "multiple_choice_with_free_text", "options": options}
        if self.several:
            return {"type": "multiple_choice", "answer_limit": -1, "options": options}
        if kind == "boolean":
            return {"type": "multiple_choice", "answer_limit": 1, "options": options}
        return {"type": "free_text", "validation": {"type": kind}}


def instructions(responses: Iterable[Response]) -> tuple[Instruction, ...]:
    """Return an instruction for each instruction id that has answers.

    Args:
        responses: All responses, because a single one can turn a column into text.
    """
    seen: dict[str, _Evidence] = {}
    for response in responses:
        for id_, entry in response.answers.items():
            if id_ not in seen and (len(seen) == MAX_INSTRUCTIONS or not ID.fullmatch(id_)):
                continue
            seen.setdefault(id_, _Evidence()).add(entry)
    found = [{"id": id_, **evidence.fields()} for id_, evidence in seen.items()]
    return tuple(
        Instruction(fields["id"], fields["type"], None, None, position, fields, {"inferred": True})
        for position, fields in enumerate(found, 1)
    )
