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
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime


# Best first: when the participant finished, else when the record was created.
TIMES = ("submitted_at", "completed_at", "created_at")
_RESPONSE_IDS = ("response_id", "id")
# The fields that are known, besides those of answers and datapoints.
KNOWN = ("submission_id", "participant_id", "study_id", "task_id", *_RESPONSE_IDS, *TIMES)
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


class Fields(msgspec.Struct, gc=False):
    """The fields of a line, or of a task or submission in it.

    Attributes:
        known: The values of `KNOWN`; UNSET where there is none.
        rest: All others, which include the answers unless these are in the next two.
        answers: Instruction id to entry, unchanged, but for those in `typed`.
        typed: The values of typed answers; see `Response.typed`.
    """

    known: Sequence[Any]
    rest: dict[str, Any]
    answers: Mapping[str, Any] | None = None
    typed: tuple[Any, ...] | UnsetType = UNSET


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
        typed: For each question in order, what its column holds, if `line_decoder` has read the
            line; UNSET without such an answer.
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
    originals = _responses(as_it_came)
    if len(found) < len(originals):
        # Except if it makes the ids of two tasks the same: then the answers stay together.
        found, originals = [_response(line)], [_response(as_it_came)]
    # Some of a line's responses may be unchanged.
    return [
        response if response == original else replace(response, as_it_came=original)
        for response, original in zip(found, originals, strict=True)
    ]


def _responses(line: dict[str, Any]) -> list[Response]:
    nest = _nest(line)
    if nest is None:
        return [_response(line)]
    name, items = nest
    shared = {field: value for field, value in line.items() if field != name}
    found = merged(map(_fields, items), _fields(shared))
    return [response_of(each, [item, shared]) for each, item in zip(found, items, strict=True)]


def _response(line: dict[str, Any]) -> Response:
    return response_of(_fields(line), line)


def _fields(object_: dict[str, Any]) -> Fields:
    rest = object_.copy()
    return Fields([rest.pop(name, UNSET) for name in KNOWN], rest)


def tasks(line: dict[str, Any], as_it_came: dict[str, Any] | None = None) -> list[Task]:
    """Return the task of a line of the file by task; none if the line has no task id.

    Args:
        line: The line, with characters replaced that some targets cannot store.
        as_it_came: The original line, if any were replaced.
    """
    found = _task(line)
    original = _task(as_it_came) if as_it_came else None
    if found and original:  # these become JSON text, which can hold any character
        rest = dict(original.rest)
        if original.id != found.id:
            add_renamed(rest, "task_id", original.id)
        found = replace(found, datapoint=original.datapoint, rest=rest)
    return [found] if found else []


def _task(line: Mapping[str, Any]) -> Task | None:
    fields = dict(line)
    nest = _nest(line)
    if nest:
        del fields[nest[0]]
    answered = nest is not None or any(name in fields for name in _PERSONS)
    id_ = _text(fields, "task_id", fields.pop("task_id", UNSET))
    return Task(id_, _take_datapoint(fields), fields, answered) if id_ else None


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


def merged(items: Iterable[Fields], shared: Fields) -> Iterator[Fields]:
    """Yield the fields of tasks or submissions: their own, and those of their line."""
    given = zip(KNOWN, shared.known, strict=True)
    known = [(n, name, value) for n, (name, value) in enumerate(given) if value is not UNSET]
    for item in items:
        own, rest = [*item.known], shared.rest | item.rest
        # A task's own fields override the line's, and the line's response id is not the tasks' id.
        overridden = {}
        for place, name, value in known:
            if name in _RESPONSE_IDS:
                overridden[name] = value
            elif own[place] is UNSET:
                own[place] = value
            elif _differ(own[place], value):
                overridden[name] = value
        if len(rest) < len(shared.rest) + len(item.rest):
            for name, value in item.rest.items():
                if name in shared.rest and _differ(value, shared.rest[name]):
                    overridden[name] = shared.rest[name]
        if overridden:
            add_renamed(rest, "submission", overridden)
        yield Fields(own, rest, item.answers, item.typed)


def _differ(one: Any, other: Any) -> bool:
    return _encode(one) != _encode(other)  # as JSON, because 1 == True in Python


def response_of(fields: Fields, line: Any = None) -> Response:
    """Return the response that some fields describe.

    Args:
        fields: They; what is not known stays in their `rest`, to which more is added.
        line: What a response without any id is named after.
    """
    rest = fields.rest
    submission_id, participant_id, study_id, task_id, response_id, id_, *times = fields.known
    submission_id = _text(rest, "submission_id", submission_id)
    participant_id = _text(rest, "participant_id", participant_id)
    study_id = _text(rest, "study_id", study_id)
    task_id = _text(rest, "task_id", task_id)
    own_id = _text(rest, "response_id", response_id)
    if own_id is None:
        own_id = _text(rest, "id", id_)
    elif id_ is not UNSET:
        rest["id"] = id_
    submitted_at = done_at = None
    for place, value in enumerate(times):
        if value is UNSET:
            continue
        if submitted_at is None and (submitted_at := parse_timestamp(value)):
            done_at = None if TIMES[place] == "created_at" else submitted_at
        else:
            rest[TIMES[place]] = value
    answers = _take_answers(rest) if fields.answers is None else fields.answers
    return Response(
        own_id or derived_id(submission_id, task_id) or _named_after(line),
        submission_id,
        participant_id,
        study_id,
        task_id,
        submitted_at,
        done_at,
        _take_datapoint(rest) if task_id else None,
        answers,
        rest,
        typed=fields.typed,
    )


def derived_id(submission_id: str | None, task_id: str | None) -> str | None:
    """Return the id of a response without an id of its own; None without a submission."""
    return f"{submission_id}:{task_id}" if submission_id and task_id else submission_id


def _named_after(line: Any) -> str:
    return f"line-{hashlib.sha256(_encode(line)).hexdigest()}"


def _text(rest: dict[str, Any], name: str, value: Any) -> str | None:
    """Return a value if it is a text, and not empty; else add it to the rest."""
    if value is UNSET:
        return None
    if value.__class__ is str and value:
        return value
    rest[name] = value
    return None


def _take_datapoint(fields: dict[str, Any]) -> Any:
    for name in _DATAPOINTS:
        if fields.get(name) is not None:
            return fields.pop(name)
    return None


def _take_answers(fields: dict[str, Any]) -> Mapping[str, Any]:
    """Remove the answers: an object by instruction id, or one answer, or a list, with their ids."""
    name = next((each for each in ANSWER_FIELDS if each in fields), None)
    if name is None:
        return {}
    raw = fields[name]
    if isinstance(raw, dict) and not isinstance(raw.get("instruction_id"), str):
        del fields[name]
        return raw
    entries = raw if isinstance(raw, list) else [raw]
    by_id = {
        entry["instruction_id"]: entry
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("instruction_id"), str)
    }
    if len(by_id) == len(entries):  # else answers would be lost: not every id is unique
        del fields[name]
        return by_id
    return {}
