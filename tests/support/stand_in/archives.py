"""The export's ZIP, as Prolific packs it."""

from __future__ import annotations

import json
import zipfile
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from tests.support.zips import pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.support.stand_in.world import Hosted, Submission

README = "Export of a Prolific data collection. See README for the format.\n"


def build(
    hosted: Hosted, submissions: list[Submission], packed_at: datetime | None = None
) -> bytes:
    """Return the archive of these submissions, as packed at some time (by default, now)."""
    lines = [submission.line for submission in submissions]
    metadata = {"id": hosted.id, **hosted.metadata, "instructions": hosted.instructions}
    if hosted.layout_in_archive:
        metadata[hosted.layout_field] = hosted.layout
    members: dict[str, bytes | str] = {}
    if hosted.kind == "collections":
        extra = "".join(f"{line}\n" for line in hosted.extra_lines)
        members["responses.jsonl"] = json_lines(lines) + extra
        members["collection.json"] = json.dumps(metadata, indent=2)
    else:
        if hosted.lines != "by task":
            rows = list(flat(lines)) if hosted.lines == "flat" else lines
            members["responses-by-submission.jsonl"] = json_lines(rows)
        members["responses-by-task.jsonl"] = json_lines(by_task(lines))
        members["batch.json"] = json.dumps(metadata, indent=2)
    members["README.md"] = README
    for submission in submissions:
        members |= {f"files/{name}": content for name, content in submission.uploads.items()}
    date = (packed_at or datetime.now(timezone.utc)).timetuple()[:6]
    return pack(members, _method, date=date)


def _method(name: str) -> int:
    """Photos and films do not deflate."""
    return zipfile.ZIP_STORED if name.startswith("files/") else zipfile.ZIP_DEFLATED


def json_lines(lines: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def flat(lines: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a batch's lines as one a submission and task."""
    for line in lines:
        shared = {name: value for name, value in line.items() if name != "tasks"}
        for task in line["tasks"]:
            yield {**shared, **task}


def by_task(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a batch's lines turned round: one a task, with the responses of each submission."""
    tasks: dict[str, dict[str, Any]] = {}
    for line in lines:
        shared = {name: value for name, value in line.items() if name != "tasks"}
        for task in line["tasks"]:
            entry = tasks.setdefault(
                task["task_id"],
                {"task_id": task["task_id"], "datapoint": task["datapoint"], "submissions": []},
            )
            entry["submissions"].append({**shared, "responses": task["responses"]})
    return list(tasks.values())
