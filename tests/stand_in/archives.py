"""The export's ZIP, as Prolific packs it."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.stand_in.world import Hosted, Submission

README = "Export of a Prolific data collection. See README for the format.\n"


def build(
    hosted: Hosted, submissions: list[Submission], packed_at: datetime | None = None
) -> bytes:
    """Return the archive of these submissions, as packed at some time (by default, now)."""
    buffer = io.BytesIO()
    date = (packed_at or datetime.now(timezone.utc)).timetuple()[:6]

    def add(name: str, content: str | bytes, compression: int = zipfile.ZIP_DEFLATED) -> None:
        archive.writestr(zipfile.ZipInfo(name, date), content, compression)

    lines = [submission.line for submission in submissions]
    metadata = {"id": hosted.id, **hosted.metadata, "instructions": hosted.instructions}
    if hosted.layout_in_archive:
        metadata[hosted.layout_field] = hosted.layout
    with zipfile.ZipFile(buffer, "w") as archive:
        if hosted.kind == "collections":
            extra = "".join(f"{line}\n" for line in hosted.extra_lines)
            add("responses.jsonl", json_lines(lines) + extra)
            add("collection.json", json.dumps(metadata, indent=2))
        else:
            if hosted.lines != "by task":
                rows = list(flat(lines)) if hosted.lines == "flat" else lines
                add("responses-by-submission.jsonl", json_lines(rows))
            add("responses-by-task.jsonl", json_lines(by_task(lines)))
            add("batch.json", json.dumps(metadata, indent=2))
        add("README.md", README)
        for submission in submissions:
            for name, content in submission.uploads.items():
                # Photos and films do not deflate.
                add(f"files/{name}", content, zipfile.ZIP_STORED)
    return buffer.getvalue()


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
