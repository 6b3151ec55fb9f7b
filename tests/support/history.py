"""A history without earlier runs, for code that asks what has been delivered before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_prolific_export.archive.export_archive import Part

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from tap_prolific_export.model import DataCollectionRef
    from tap_prolific_export.snapshots.bookmarks import Context, Identity


class NoHistory:
    """There was no earlier run; which jobs are ours is known for this one.

    Args:
        reads: What is going to be read of the archives, besides the metadata.
    """

    def __init__(self, reads: Collection[Part] = (Part.LINES,)) -> None:
        self.reads = reads
        self._ours: dict[str, list[str]] = {}

    def ours(self, ref: DataCollectionRef) -> list[str]:
        """Return the jobs of this run."""
        return list(self._ours.get(ref.id, ()))

    def take(self, ref: DataCollectionRef, export_id: str) -> None:
        """Note that a job is ours."""
        self._ours.setdefault(ref.id, []).append(export_id)

    def release(self, ref: DataCollectionRef, export_id: str) -> None:
        """Note that it is no more."""
        self._ours[ref.id].remove(export_id)

    def since(self, context: Context) -> None:
        """Return None: all responses are wanted."""

    def latest(self, context: Context) -> None:
        """Return None: no archive was delivered."""

    def has(self, context: Context, archive: Identity) -> bool:  # noqa: ARG002
        """Return False: nothing was delivered."""
        return False

    def confirm(self, context: Context, archive: Identity, exported_at: datetime) -> None:
        """Note nothing."""
