"""One line of a JSON Lines member -> the responses it holds; pure.

A collection's line is one submission. A batch's line is one submission with its ``tasks``, one
submission's answers to one task, or (in the file by task) one task with its submissions. What a
line holds beyond the fields known here is kept in ``rest``: nothing that came is dropped.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from tap_prolific_export.times import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

# Best first: when the participant was done, else when the record came to be.
TIMES = ("submitted_at", "completed_at", "created_at")
_RESPONSE_IDS = ("response_id", "id")
# What holds answers, or what does.
NESTS = ("tasks", "submissions", "responses")
_DATAPOINTS = ("datapoint", "metadata")
_PERSONS = ("submission_id", "participant_id")

_encoder = msgspec.json.Encoder(order="deterministic")


def _encode(value: Any) -> bytes:
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:  # halves of surrogate pairs, in a line as it came
        return json.dumps(value, sort_keys=True).encode()


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
        done_at: When the participant was done; None where only the record's making is told.
        datapoint: What the task is about: the fields of the dataset's row, as they came.
        answers: Instruction id to its entry, as it came.
        rest: Every other field of the line, as it came.
        again: Whether it stands in the place of one that was yielded under its id before.
        as_it_came: The same without what was replaced in its texts; None where nothing was.
    """

    id: str
    submission_id: str | None
    participant_id: str | None
    study_id: str | None
    task_id: str | None
    submitted_at: datetime | None
    done_at: datetime | None
    datapoint: Any
    answers: Mapping[str, Any]
    rest: Mapping[str, Any]
    again: bool = False
    as_it_came: Response | None = None


@dataclass(frozen=True)
class Task:
    """One task of a batch.

    Attributes:
        id: Prolific's id.
        datapoint: What it is about, as it came.
        rest: What else the file by task says of it, as it came.
        answered: Whether it came with any submission.
    """

    id: str
    datapoint: Any
    rest: Mapping[str, Any]
    answered: bool = True


def responses(
    line: Mapping[str, Any], as_it_came: Mapping[str, Any] | None = None
) -> Iterator[Response]:
    """Yield the responses of one line, as decoded.

    A batch's nested line yields one for each task, or for each submission; what stands beside
    them belongs to each.

    Args:
        line: In texts that any target can hold.
        as_it_came: The same with what was replaced in them, where anything was.
    """
    if as_it_came is None:
        yield from _responses(line)
        return
    # In both the same things have the same places: only what their texts say differs.
    for response, original in zip(_responses(line), _responses(as_it_came), strict=True):
        # Of a line's responses some may be as they came.
        yield response if response == original else replace(response, as_it_came=original)


def _responses(line: Mapping[str, Any]) -> Iterator[Response]:
    nest = _nest(line)
    if nest is None:
        yield _response(line, {})
        return
    shared = {name: value for name, value in line.items() if name != nest}
    for item in line[nest]:
        yield _response(item, shared)


def task(line: Mapping[str, Any], as_it_came: Mapping[str, Any] | None = None) -> Task | None:
    """Return the task of a line of the file by task; None if it names none.

    Args:
        line: In texts that any target can hold.
        as_it_came: The same with what was replaced in them, where anything was.
    """
    found = _task(line)
    original = _task(as_it_came) if as_it_came else None
    if found and original:  # what becomes JSON may hold any text
        return replace(found, datapoint=original.datapoint, rest=original.rest)
    return found


def _task(line: Mapping[str, Any]) -> Task | None:
    fields = dict(line)
    nest = _nest(line)
    fields.pop(nest or "", None)
    answered = nest is not None or any(name in fields for name in _PERSONS)
    id_ = _take(fields, "task_id")
    about = next((name for name in _DATAPOINTS if fields.get(name) is not None), None)
    return Task(id_, fields.pop(about) if about else None, fields, answered) if id_ else None


def content_hash(response: Response) -> bytes:
    """Return a digest of all that a response says, the same in whatever order it came."""
    digest = hashlib.sha256(_encode(replace(response, as_it_came=None)))
    if response.as_it_came:  # in what is no text, they may differ still
        came = response.as_it_came
        told: list[Any] = [came.submission_id, came.participant_id, came.study_id, came.task_id]
        told += [came.datapoint, came.answers, came.rest, came.id]
        digest.update(json.dumps(told, sort_keys=True).encode())
    return digest.digest()


def _nest(line: Mapping[str, Any]) -> str | None:
    """Return the field that holds a line's tasks or submissions, if there is one."""
    for name in NESTS:
        items = line.get(name)
        if not isinstance(items, list) or not items:
            continue
        # A list of answers is called responses, too; only submissions say whose they are.
        wanted = _PERSONS if name == "responses" else ()
        if all(isinstance(item, dict) and (not wanted or {*wanted} & {*item}) for item in items):
            return name
    return None


def add_renamed(fields: dict[str, Any], name: str, value: Any) -> None:
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
        add_renamed(fields, "submission", hidden)
    submission_id = _take(fields, "submission_id")
    participant_id = _take(fields, "participant_id")
    study_id = _take(fields, "study_id")
    task_id = _take(fields, "task_id")
    own_id = next(filter(None, (_take(fields, name) for name in _RESPONSE_IDS)), None)
    time = next((name for name in TIMES if parse_timestamp(fields.get(name))), None)
    submitted_at = parse_timestamp(fields.pop(time)) if time else None
    answers = _take_answers(fields)
    datapoint = None
    if task_id:
        about = next((name for name in _DATAPOINTS if fields.get(name) is not None), None)
        datapoint = fields.pop(about) if about else None
    return Response(
        id=own_id or _own_id(submission_id, task_id, [own, shared] if shared else own),
        submission_id=submission_id,
        participant_id=participant_id,
        study_id=study_id,
        task_id=task_id,
        submitted_at=submitted_at,
        done_at=None if time == "created_at" else submitted_at,
        datapoint=datapoint,
        answers=answers,
        rest=fields,
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
