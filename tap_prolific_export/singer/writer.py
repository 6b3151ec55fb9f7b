"""Records past the SDK: as fast as they can be encoded.

The SDK takes each record through ``Stream._sync_records``: it conforms it to its schema, removes
what is deselected, has it transformed by stream maps, makes a message of it, encodes that with
simplejson, and flushes stdout. Our rows are made from the very schema that is written before them,
so where nobody has deselected anything, and no stream map or flattening is configured, all of that
changes nothing, and costs most of the time. There, rows are encoded as they are, and written in
blocks of whole lines.

Wherever anything of the kind is in use, and for ``--test``, the SDK's own way is gone.
``tests/test_fast.py`` compares both, record by record. The SDK's minor version is pinned, and
``tests/test_sdk_canary.py`` fails where a newer one does more to a record than is told here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.io_base import SingerWriter
from singer_sdk.mapper import SameRecordTransform

from tap_prolific_export.signals import TERMINATION, OutputClosedError, discard
from tap_prolific_export.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from singer_sdk import Stream
    from singer_sdk.singerlib import Message
    from typing_extensions import Self

# So much is written at a time.
BLOCK = 1 << 16


def is_plain(stream: Stream) -> bool:
    """Whether the SDK would write a stream's records just as they are."""
    return (
        stream.selected
        and stream.ABORT_AT_RECORD_COUNT is None
        and isinstance(stream._tap.message_writer, WholeLines)  # noqa: SLF001
        and all(stream.mask.values())
        and len(stream.stream_maps) == 1
        and type(stream.stream_maps[0]) is SameRecordTransform
        and not stream.stream_maps[0].flattening_enabled
    )


class RecordBlocks:
    """Writes records to stdout, in blocks of whole lines; a context manager.

    Args:
        stream: Their stream.
        version: Of the table, where there is one.
        count: Told how many a block held.
    """

    def __init__(self, stream: str, version: int | None, count: Callable[[int], None]) -> None:
        fields: list[Any] = [("type", str), ("stream", str), ("time_extracted", str)]
        fields.append(("record", Any))
        if version is not None:
            fields.append(("version", int, version))
        self._message = msgspec.defstruct("Message", fields, gc=False)
        self._stream = stream
        self._count = count
        self._encoder = msgspec.json.Encoder()
        self._written: list[bytes] = []
        self._size = self._records = 0
        self._now = utc_now().isoformat()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is left."""
        self.flush()

    def write(self, rows: Sequence[Any]) -> None:
        """Write records, sooner or later."""
        if not rows:  # nothing would be encoded into a kilobyte, and kept until there is more
            return
        message, stream, now = self._message, self._stream, self._now
        lines = self._encoder.encode_lines([message("RECORD", stream, now, row) for row in rows])
        self._written.append(lines)  # a signal finds them in whole, or not at all
        self._size += len(lines)
        self._records += len(rows)
        if self._size >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Write what has not been written yet."""
        with TERMINATION.held():
            if self._written:
                write_lines(b"".join(self._written))
                self._count(self._records)
            self._written, self._size, self._records = [], 0, 0
            self._now = utc_now().isoformat()


class WholeLines(SingerWriter):
    """Writes messages, each of them whole."""

    def write_message(self, message: Message) -> None:
        """Write a message to stdout; a signal waits until all of it is written."""
        write_lines((self.format_message(message) + "\n").encode())


def write_lines(lines: bytes) -> None:
    """Write whole lines to stdout; a signal waits until all of them are written.

    Raises:
        OutputClosedError: Nobody reads them.
    """
    try:
        with TERMINATION.held():
            _write(lines)
    except BrokenPipeError:
        discard(sys.stdout)  # or Python would try once more as it ends, and say so
        raise OutputClosedError from None


def _write(lines: bytes) -> None:
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:  # replaced by what has none
        sys.stdout.write(lines.decode())
    else:
        rest = memoryview(lines)
        while rest:  # under PYTHONUNBUFFERED, a signal has a part of it written only
            rest = rest[binary.write(rest) or 0 :]
    sys.stdout.flush()
