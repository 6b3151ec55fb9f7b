"""A history without earlier runs, for code that asks what has been delivered before."""

from __future__ import annotations

from dataclasses import dataclass

from tap_prolific_export.archive.export_archive import Part
from tap_prolific_export.snapshots.bookmarks import Bookmarks
from tap_prolific_export.snapshots.progress import Progress


@dataclass
class StreamOfLines:
    """A stream that is made of lines."""

    name: str
    reads: frozenset[Part] = frozenset({Part.LINES})
    is_emitted: bool = True
    replication_key: str | None = "exported_at"
    is_full_run: bool = False
    fingerprint: str = "f"


class NoHistory(Progress):
    """There was no earlier run; which jobs are ours is known for this one."""

    def __init__(self) -> None:
        super().__init__(Bookmarks({}), [StreamOfLines("responses")], 0, lambda: None)
