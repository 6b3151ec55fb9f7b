"""One line of a JSON Lines member -> the responses it holds; pure.

A collection's line is one submission. A batch's line is one submission with its ``tasks``, or one
submission's answers to one task. What a line holds beyond the fields known here is kept in
``rest``: nothing that came is dropped.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from tap_prolific_export.times import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

# Best first: when the participant was done, else when the record came to be.
_TIMES = ("submitted_at", "completed_at", "created_at")
_RESPONSE_IDS = ("response_id", "id")

_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True)
class Response:
    """One submission's answers; in a batch, to one task.

    Attributes:
        id: Prolific's response id, else the submission's, else in a batch submission and task,
            else a digest of the line. Never empty.
        submission_id: As it came, like the fields below; None where the line has no such text.
        participant_id: Who answered.
        study_id: In which study.
        task_id: To which task of a batch.
        submitted_at: The best time that the line has.
        answers: Instruction id to its entry, as it came.
        rest: Every other field of the line, as it came.
    """

    id: str
    submission_id: str | None
    participant_id: str | None
    study_id: str | None
    task_id: str | None
    submitted_at: datetime | None
    answers: Mapping[str, Any]
    rest: Mapping[str, Any]


def responses(line: Mapping[str, Any]) -> Iterator[Response]:
    """Yield the responses of one line, as decoded.

    A batch's nested line yields one for each task; what stands beside the tasks belongs to each.
    """
    tasks = line.get("tasks")
    if not isinstance(tasks, list) or not tasks or not all(isinstance(t, dict) for t in tasks):
        yield _response(line, {})
        return
    shared = {name: value for name, value in line.items() if name != "tasks"}
    for task in tasks:
        yield _response(task, shared)


def beside(fields: dict[str, Any], name: str, value: Any) -> None:
    """Put a value under a name, or one like it where a field of that name is there already."""
    while name in fields:
        name += "_"
    fields[name] = value


def _response(own: Mapping[str, Any], shared: Mapping[str, Any]) -> Response:
    # A task's own field stands before its line's; and an id of the line is not its tasks'.
    hidden = {
        name: value
        for name, value in shared.items()
        # Compared as JSON: to Python, 1 and true are equal.
        if name in _RESPONSE_IDS or (name in own and _encode(own[name]) != _encode(value))
    }
    fields = {name: value for name, value in shared.items() if name not in hidden} | dict(own)
    if hidden:
        beside(fields, "submission", hidden)
    taken = {name: _take(fields, name) for name in ("submission_id", "participant_id")}
    taken |= {name: _take(fields, name) for name in ("study_id", "task_id")}
    own_id = next(filter(None, (_take(fields, name) for name in _RESPONSE_IDS)), None)
    time = next((name for name in _TIMES if parse_timestamp(fields.get(name))), None)
    submitted_at = parse_timestamp(fields.pop(time)) if time else None
    answers = _take_answers(fields)
    return Response(
        id=own_id or _own_id(taken["submission_id"], taken["task_id"], [own, shared]),
        submitted_at=submitted_at,
        answers=answers,
        rest=fields,
        **taken,
    )


def _own_id(submission_id: str | None, task_id: str | None, line: Any) -> str:
    if submission_id:
        return f"{submission_id}:{task_id}" if task_id else submission_id
    return f"line-{hashlib.sha256(_encode(line)).hexdigest()}"


def _take(fields: dict[str, Any], name: str) -> str | None:
    """Remove a text from the fields and return it; anything else stays where it is."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        return None
    return str(fields.pop(name))


def _take_answers(fields: dict[str, Any]) -> dict[str, Any]:
    """Remove the answers: an object by instruction id, or a list of entries that name theirs."""
    raw = fields.get("responses")
    if isinstance(raw, dict):
        return dict(fields.pop("responses"))
    if isinstance(raw, list):
        by_id = {
            entry["instruction_id"]: entry
            for entry in raw
            if isinstance(entry, dict) and isinstance(entry.get("instruction_id"), str)
        }
        if len(by_id) == len(raw):  # only where that is lossless: an id of its own for each
            del fields["responses"]
            return by_id
    return {}
