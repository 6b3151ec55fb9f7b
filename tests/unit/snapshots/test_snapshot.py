from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tap_prolific_export.model import DataCollectionRef, ExportFilter, Kind
from tap_prolific_export.rows.collection import parse
from tap_prolific_export.rows.responses import responses
from tap_prolific_export.rows.tables import ExportFacts
from tap_prolific_export.snapshots.snapshot import Snapshot
from tests.support.memory_archives import open_archive
from tests.support.zips import pack_export

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
    assert [task.datapoint for task in snapshot_of(*lines).tasks()] == expected


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
