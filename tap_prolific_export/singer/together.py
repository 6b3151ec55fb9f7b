"""Rows of several streams from one reading of the lines.

To inflate and decode the lines takes as long as to make rows of them. So the first stream that
needs them reads them for all that do, as far as their records go past the SDK (`fast`), and each
writes its own: records of several streams come by turns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from tap_prolific_export.rows.typed import TypedLines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tap_prolific_export.rows.responses import Response
    from tap_prolific_export.rows.tables import AnswerColumn
    from tap_prolific_export.rows.typed import Maker
    from tap_prolific_export.singer.writer import RecordBlocks
    from tap_prolific_export.snapshots.snapshot import Snapshot


class LineRows(ABC):
    """How a stream's rows are made of the lines of the responses.

    Attributes:
        maker: Makes them of typed lines.
    """

    maker: Maker

    def begin(self) -> Iterable[Any]:
        """Yield the rows that come before those of any line."""
        return ()

    @abstractmethod
    def of(self, response: Response) -> Iterable[Any]:
        """Yield the rows of a response."""

    def of_typed(self, made: Sequence[Any]) -> Sequence[Any]:
        """Return the rows of several typed lines.

        Args:
            made: What `maker` has made of each.
        """
        return made

    def end(self) -> None:  # noqa: B027  # most have nothing to do then
        """Be told that all have been read."""


def write_together(
    snapshot: Snapshot,
    columns: Mapping[str, AnswerColumn],
    streams: Sequence[tuple[LineRows, RecordBlocks]],
) -> None:
    """Read all responses of a delivery, and write the rows of several streams.

    Args:
        snapshot: All of it is wanted.
        columns: The properties of ``answers``, by instruction id.
        streams: How the rows of each are made, and where they are written to.

    Raises:
        DataCollectionError: The archive is damaged.
    """
    for rows, blocks in streams:
        for row in rows.begin():
            blocks.write([row])
    typed = TypedLines(columns, *(rows.maker for rows, _ in streams))
    for found in snapshot.responses_in_blocks(typed):
        if isinstance(found, list):
            for (rows, blocks), made in zip(streams, found, strict=True):
                blocks.write(rows.of_typed(made))
        else:
            for rows, blocks in streams:
                blocks.write([*rows.of(found)])
    for rows, _ in streams:
        rows.end()
