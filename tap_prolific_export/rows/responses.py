"""Read the responses of one line of a JSON Lines file; pure functions.

A collection's line is one submission. A batch's line is one submission with its ``tasks``, one
submission's answers to one task, or (in the file by task) one task with its submissions. In the one
schema of a record that Prolific publishes, it is a single answer. All fields that are not known
here are kept in ``rest``, so nothing is lost.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from tap_prolific_export.times import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from tap_prolific_export.archive.export_archive import Line

# Best first: when the participant finished, else when the record was created.
TIMES = ("submitted_at", "completed_at", "created_at")
_RESPONSE_IDS = ("response_id", "id")
# Fields that hold tasks, submissions or answers; those of the first two may be objects by their id.
NESTS = ("tasks", "submissions", "responses")
_BY_ID = {"tasks": "task_id", "submissions": "submission_id"}
ANSWER_FIELDS = ("responses", "response")
_DATAPOINTS = ("datapoint", "metadata")
_PERSONS = ("submission_id", "participant_id")

_encoder = msgspec.json.Encoder(order="deterministic")


def _encode(value: Any) -> bytes:
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:  # lone surrogates, in an original line
        return json.dumps(value, sort_keys=True).encode()


class Typed(msgspec.Struct, frozen=True, gc=False):
    """What `typed.LineDecoder` has made of the answers of a response.

    Attributes:
        values: For each question in order, what its column holds; UNSET without such an answer.
        others: Instruction id to entry, unchanged, for all other answers.
    """

    values: tuple[Any, ...]
    others: Mapping[str, Any]


class Response(msgspec.Struct, frozen=True, gc=False):
    """One submission's answers; in a batch, to one task.

    Attributes:
        id: Prolific's response id; without one, the submission's id (in a batch submission and
            task); without that, a hash of the line. Never empty.
        submission_id: The submission; like the next three, None if the line has no such text.
        participant_id: The participant who answered.
        study_id: The study.
        task_id: The task of a batch.
        submitted_at: The best time in the line, in the order of `TIMES`.
        done_at: When the participant finished; None if only the creation time is known.
        datapoint: The dataset row that the task is about, unchanged.
        answers: Instruction id to entry, unchanged, but for those in `typed`.
        rest: All other fields of the line, unchanged.
        again: Whether it replaces another response that was yielded under the same id.
        as_it_came: The original, if characters in its texts were replaced; None otherwise.
        typed: The values of `Typed`, if answers came typed.
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
    typed: tuple[Any, ...] | UnsetType = UNSET  # which `content_hash` does not see


class Task(msgspec.Struct, frozen=True, gc=False):
    """One task of a batch.

    Attributes:
        id: Prolific's id.
        datapoint: The dataset row that the task is about, unchanged.
        rest: All other fields in the file by task, unchanged.
        answered: Whether the line has any submission.
    """

    id: str
    datapoint: Any
    rest: Mapping[str, Any]
    answered: bool = True


def responses_in(lines: Iterable[Line]) -> list[Response]:
    """Return the responses of decoded lines."""
    return [each for line in lines for each in responses(line.object, line.as_it_came)]


def responses(line: dict[str, Any], as_it_came: dict[str, Any] | None = None) -> list[Response]:
    """Return the responses of one decoded line.

    A batch's nested line gives one response for each task or submission. The line's other fields
    apply to each of them.

    Args:
        line: The line, with characters replaced that some targets cannot store.
        as_it_came: The original line, if any were replaced.
    """
    found = _responses(line)
    if as_it_came is None:
        return found
    # Replacing characters changes only texts, so both have the same responses in the same order.
    # Some of a line's responses may be unchanged.
    return [
        response if response == original else replace(response, as_it_came=original)
        for response, original in zip(found, _responses(as_it_came), strict=True)
    ]


def _responses(line: dict[str, Any]) -> list[Response]:
    nest = _nest(line)
    if nest is None:
        return [_response(line.copy(), line)]
    name, items = nest
    shared = {field: value for field, value in line.items() if field != name}
    return [_response(_merged(item, shared), [item, shared]) for item in items]


def task(line: Mapping[str, Any], as_it_came: Mapping[str, Any] | None = None) -> Task | None:
    """Return the task of a line of the file by task; None if the line has no task id.

    Args:
        line: The line, with characters replaced that some targets cannot store.
        as_it_came: The original line, if any were replaced.
    """
    found = _task(line)
    original = _task(as_it_came) if as_it_came else None
    if found and original:  # these become JSON text, which can hold any character
        return replace(found, datapoint=original.datapoint, rest=original.rest)
    return found


def _task(line: Mapping[str, Any]) -> Task | None:
    fields = dict(line)
    nest = _nest(line)
    fields.pop(nest[0] if nest else "", None)
    answered = nest is not None or any(name in fields for name in _PERSONS)
    id_ = _take(fields, "task_id")
    key = next((name for name in _DATAPOINTS if fields.get(name) is not None), None)
    return Task(id_, fields.pop(key) if key else None, fields, answered) if id_ else None


def content_hash(response: Response) -> bytes:
    """Return a digest of a response's content that does not depend on the order of fields."""
    digest = hashlib.sha256(_encode(replace(response, as_it_came=None)))
    if original := response.as_it_came:  # two responses may differ only in replaced characters
        ids = [original.submission_id, original.participant_id, original.study_id, original.task_id]
        content = [*ids, original.datapoint, original.answers, original.rest, original.id]
        digest.update(json.dumps(content, sort_keys=True).encode())
    return digest.digest()


def _nest(line: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]] | None:
    """Return the field that holds a line's tasks or submissions, if there is one, and these."""
    if line.get("responses").__class__ is not list and line.keys().isdisjoint(NESTS[:2]):
        return None
    for name in NESTS:
        items = line.get(name)
        if isinstance(items, dict) and name in _BY_ID:
            items = [_item(_BY_ID[name], id_, item) for id_, item in items.items()]
        if not isinstance(items, list) or not items:
            continue
        if not all(isinstance(item, dict) for item in items):
            continue
        if name != "responses" or all({*_PERSONS} & {*item} for item in items):
            return name, items
        # A list of answers is also called responses; these may be answers to several tasks.
        if by_task := _by_task(items):
            return name, by_task
    return None


def _item(id_name: str, id_: str, item: Any) -> Any:
    """Return a task or submission that stood under its id."""
    if isinstance(item, list):  # of answers
        item = {"responses": item}
    return {id_name: id_, **item} if isinstance(item, dict) else item


def _by_task(entries: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Return the tasks of answers that each name their task; None if not all of them do."""
    tasks: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        id_ = entry.get("task_id")
        if not isinstance(id_, str) or not isinstance(entry.get("instruction_id"), str):
            return None
        tasks.setdefault(id_, []).append({n: v for n, v in entry.items() if n != "task_id"})
    return [{"task_id": id_, "responses": answers} for id_, answers in tasks.items()]


def add_renamed(fields: dict[str, Any], name: str, value: Any) -> None:
    """Add a field, appending ``_`` to its name until no other field has that name."""
    while name in fields:
        name += "_"
    fields[name] = value


def _merged(own: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a task or submission: its own, and those of its line."""
    if own.keys().isdisjoint(shared) and shared.keys().isdisjoint(_RESPONSE_IDS):
        return shared | own
    # A task's own fields override the line's, and the line's response id is not the tasks' id.
    overridden = {
        name: value
        for name, value in shared.items()
        # Compared as JSON, because 1 == True in Python.
        if name in _RESPONSE_IDS or (name in own and _encode(own[name]) != _encode(value))
    }
    fields = {name: value for name, value in shared.items() if name not in overridden} | own
    if overridden:
        add_renamed(fields, "submission", overridden)
    return fields


def _response(fields: dict[str, Any], line: Any) -> Response:
    """Return the response that some fields describe.

    Args:
        fields: They; what is known is taken out of them.
        line: What a response without any id is named after.
    """
    submission_id = _take(fields, "submission_id")
    participant_id = _take(fields, "participant_id")
    study_id = _take(fields, "study_id")
    task_id = _take(fields, "task_id")
    own_id = _take(fields, "response_id") or _take(fields, "id")
    submitted_at = done_at = None
    for name in TIMES:
        if name in fields and (submitted_at := parse_timestamp(fields[name])):
            del fields[name]
            done_at = None if name == "created_at" else submitted_at
            break
    typed, answers = _take_answers(fields)
    datapoint = None
    if task_id:
        key = next((name for name in _DATAPOINTS if fields.get(name) is not None), None)
        datapoint = fields.pop(key) if key else None
    return Response(
        own_id or _derived_id(submission_id, task_id, line),
        submission_id,
        participant_id,
        study_id,
        task_id,
        submitted_at,
        done_at,
        datapoint,
        answers,
        fields,
        typed=typed,
    )


def _derived_id(submission_id: str | None, task_id: str | None, line: Any) -> str:
    if submission_id:
        return f"{submission_id}:{task_id}" if task_id else submission_id
    return f"line-{hashlib.sha256(_encode(line)).hexdigest()}"


def _take(fields: dict[str, Any], name: str) -> str | None:
    """Remove a non-empty text from the fields and return it; leave any other value there."""
    value = fields.get(name)
    if value.__class__ is not str or not value:
        return None
    del fields[name]
    return value


def _take_answers(
    fields: dict[str, Any],
) -> tuple[tuple[Any, ...] | UnsetType, Mapping[str, Any]]:
    """Remove the answers: an object by instruction id, or one answer, or a list, with their ids."""
    raw = fields.get("responses")
    if raw.__class__ is Typed:
        del fields["responses"]
        return raw.values, raw.others
    name = next((each for each in ANSWER_FIELDS if each in fields), "")
    raw = fields.get(name)
    if isinstance(raw, dict) and not isinstance(raw.get("instruction_id"), str):
        del fields[name]
        return UNSET, raw
    entries = raw if isinstance(raw, list) else [raw]
    by_id = {
        entry["instruction_id"]: entry
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("instruction_id"), str)
    }
    if name and len(by_id) == len(entries):  # else answers would be lost: not every id is unique
        del fields[name]
        return UNSET, by_id
    return UNSET, {}
