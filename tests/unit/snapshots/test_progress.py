from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from tap_prolific_export.snapshots.bookmarks import Bookmark, Bookmarks, context_of
from tap_prolific_export.snapshots.progress import Progress
from tests.support.history import StreamOfLines

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
CONTEXT = context_of("diary")


@pytest.mark.parametrize("newer", ["responses", "answers"])
def test_the_latest_archive_is_the_newest_that_any_selected_stream_has(newer: str) -> None:
    bookmarks = Bookmarks({})
    for name in ("responses", "answers", "files"):
        moment = NOON if name == newer else NOON - timedelta(1)
        bookmarks.put(name, CONTEXT, Bookmark(moment, fingerprint="f"))
    streams = [StreamOfLines("responses"), StreamOfLines("answers"), StreamOfLines("tasks")]
    progress = Progress(bookmarks, streams, lookback_seconds=0, urgent=lambda: None)
    assert progress.latest(CONTEXT) == NOON
    assert progress.since(CONTEXT) is None  # nothing of the tasks has been delivered
