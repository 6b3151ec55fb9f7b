from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tap_prolific_export.model import DataCollectionRef, ExportFilter, Kind
from tap_prolific_export.rows.collection import parse
from tap_prolific_export.rows.responses import responses
from tap_prolific_export.rows.tables import ExportFacts
from tap_prolific_export.snapshots.snapshot import Snapshot, Tasks
from tests.support import fuzz
from tests.support.memory_archives import open_archive
from tests.support.zips import pack, pack_export

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
BATCH = DataCollectionRef(Kind.BATCH, "captions")


def snapshot_of(*lines: dict[str, Any], start: datetime | None = None) -> Snapshot:
    text = "\n".join(json.dumps({"responses": {}, **line}) for line in lines)
    return Snapshot(
        ExportFacts(BATCH.id, None, NOON),
        parse(BATCH, {}),
        open_archive(pack_export(**{"batch": "{}", "responses-by-submission": text})),
        only=ExportFilter(start=start),
    )


@pytest.mark.parametrize(
    ("datapoints", "expected"),
    [
        (["a", "a"], ["a"]),
        (["a", None], ["a"]),
        ([None, "a"], [None, "a"]),
        (["a", None, "a"], ["a"]),
        (["a", "b"], ["a", "b"]),
    ],
    ids=str,
)
def test_the_last_row_of_a_task_has_a_datapoint_if_any_line_has_one(
    datapoints: list[str | None], expected: list[str | None]
) -> None:
    lines = [
        {"submission_id": f"s{number}", "task_id": "t", "datapoint": datapoint}
        for number, datapoint in enumerate(datapoints)
    ]
    snapshot = snapshot_of(*lines)
    tasks = Tasks(snapshot)
    every = (response for block in snapshot.responses() for response in block)
    assert [task.datapoint for each in every for task in tasks.of(each)] == expected


@pytest.mark.parametrize(
    ("field", "seconds", "is_wanted"),
    [
        ("submitted_at", -1, False),
        ("submitted_at", 0, True),
        ("submitted_at", 1, True),
        ("completed_at", -1, False),
        ("completed_at", 0, True),
        ("created_at", -1, True),  # it may have been submitted later
        ("unknown_at", -1, True),
    ],
)
def test_a_response_is_wanted_from_the_start_on(
    field: str,
    seconds: int,
    is_wanted: bool,  # noqa: FBT001
) -> None:
    done = NOON + timedelta(seconds=seconds)
    line = {"submission_id": "s", field: done.isoformat()}
    [response] = responses(line)
    assert snapshot_of(line, start=NOON).wants(response) is is_wanted


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


def test_what_a_task_is_about_stays_as_it_came_with_odd_characters_escaped() -> None:
    assert tasks_of(line(task_id="t", datapoint="\0"), b"") == [r"\u0000"]
