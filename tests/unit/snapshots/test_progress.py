from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest

from tap_prolific_export.archive.export_archive import Part
from tap_prolific_export.snapshots.bookmarks import Bookmark, Bookmarks, context_of
from tap_prolific_export.snapshots.progress import Progress

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
CONTEXT = context_of("diary")


@dataclass
class Info:
    """A stream that is made of lines."""

    name: str
    reads: frozenset[Part] = frozenset({Part.LINES})
    is_emitted: bool = True
    replication_key: str | None = "exported_at"
    is_full_run: bool = False
    fingerprint: str = "f"


@pytest.mark.parametrize("newer", ["responses", "answers"])
def test_the_latest_archive_is_the_newest_that_any_selected_stream_has(newer: str) -> None:
    bookmarks = Bookmarks({})
    for name in ("responses", "answers", "files"):
        moment = NOON if name == newer else NOON - timedelta(1)
        bookmarks.put(name, CONTEXT, Bookmark(moment, fingerprint="f"))
    streams = [Info("responses"), Info("answers"), Info("tasks")]
    progress = Progress(bookmarks, streams, lookback_seconds=0, urgent=lambda: None)
    assert progress.latest(CONTEXT) == NOON
    assert progress.since(CONTEXT) is None  # nothing of the tasks has been delivered
