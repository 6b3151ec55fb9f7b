"""The ids of a line's responses, and nothing else of it; pure functions.

Which ids are shared must be known before the first row is written, so they are read first.
"""

from __future__ import annotations

from types import GenericAlias
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from tap_prolific_export.rows.responses import derived_id, responses

_ODD = (msgspec.MsgspecError, RecursionError, UnicodeError)
_Id = str | UnsetType
_IDS: list[Any] = [(name, _Id, UNSET) for name in ("response_id", "id", "task_id")]
_Task = msgspec.defstruct("Task", [("submission_id", Raw | UnsetType, UNSET), *_IDS], gc=False)
_Line = msgspec.defstruct(
    "Line",
    [
        ("submission_id", str),
        *_IDS,
        ("tasks", GenericAlias(list, (_Task,)) | UnsetType, UNSET),
        *((name, Raw | UnsetType, UNSET) for name in ("submissions", "responses")),
    ],
    gc=False,
)
_decode_ids = msgspec.json.Decoder(_Line).decode


def decode_ids(text: bytes) -> list[str] | None:
    """Return the ids of a usual line's responses; None if it needs a closer look: see `ids_in`."""
    try:
        line: Any = _decode_ids(text)
    except _ODD:
        return None
    is_usual = line.responses is UNSET or bytes(memoryview(line.responses)[:1]) == b"{"
    if not line.submission_id or line.submissions is not UNSET or not is_usual:
        return None
    if line.tasks is UNSET:
        return [_id(line, line.submission_id)]
    if not line.tasks or any(task.submission_id is not UNSET for task in line.tasks):
        return None
    return [_id(task, line.submission_id, line.task_id) for task in line.tasks]


def ids_in(line: dict[str, Any], as_it_came: dict[str, Any] | None) -> list[str]:
    """Return the ids of a decoded line's responses."""
    return [response.id for response in responses(line, as_it_came)]


def _id(found: Any, submission_id: str, task_id: str | UnsetType = UNSET) -> str:
    own_id = found.response_id or found.id
    return str(own_id or derived_id(submission_id, found.task_id or task_id or None))
