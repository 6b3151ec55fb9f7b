"""The tasks of a snapshot: each once, and again if it comes with other data."""

from __future__ import annotations

import json
from typing import Any

from tests.support import fuzz
from tests.support.zips import pack


def line(**fields: Any) -> bytes:
    return fuzz.dumps({"submission_id": "s", "responses": {}, **fields}) + b"\n"


def tasks_of(lines: bytes, by_task: bytes) -> list[Any]:
    """Return what the rows of `tasks` say of each."""
    members = {"responses-by-submission.jsonl": lines, "responses-by-task.jsonl": by_task}
    found = fuzz.read(pack({**members, "batch.json": b'{"id": "b"}'}))
    return [json.loads(row["datapoint"]) for row in found.rows["tasks"]]


def test_a_task_that_is_told_twice_is_one() -> None:
    told = fuzz.dumps({"task_id": "t", "datapoint": 1}) + b"\n"
    assert tasks_of(b"", 2 * told) == [1]
    assert tasks_of(line(task_id="t"), told) == [1]
    assert tasks_of(line(task_id="t", datapoint=1), told) == [1]
    assert tasks_of(line(task_id="t", datapoint=2), told) == [1, 2]
    one, other = line(task_id="t", datapoint=2), line(submission_id="o", task_id="t", datapoint=1)
    assert tasks_of(one + other + one, b"") == [2, 1]


def test_what_a_task_is_about_stays_as_it_came() -> None:
    assert tasks_of(line(task_id="t", datapoint="\0"), b"") == ["\0"]
