"""Records and messages on their way to stdout, in whole lines.

Rows are made from the schema that is written before them. Where nothing is deselected, mapped or
flattened, the SDK would not change them: they are encoded in blocks, past the SDK (`PlainWriter`).
Everything else goes through the SDK, record by record (`MappedWriter`). ``tests/unit/rows/
test_fast.py`` compares both.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.io_base import SingerWriter

from tap_prolific_export.signals import OutputClosedError, deferred, discard
from tap_prolific_export.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from singer_sdk.singerlib import Message

    from tap_prolific_export.singer.sdk import SdkStream


# So much is written at a time.
BLOCK = 1 << 16


class PlainWriter:
    """Encodes records as they are, and writes them in blocks of whole lines.

    Args:
        stream: The name of their stream.
        version: The version of the table, if it has one.
        count: Called with the number of records of each block.
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

    def write(self, rows: Sequence[Any]) -> None:
        """Write records, at the latest with the next `flush`."""
        if not rows:  # an encoder allocates a kilobyte even for no rows
            return
        message, stream, now = self._message, self._stream, self._now
        lines = self._encoder.encode_lines([message("RECORD", stream, now, row) for row in rows])
        self._written.append(lines)  # one operation: a signal never splits it
        self._size += len(lines)
        self._records += len(rows)
        if self._size >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Write the records that are left."""
        with deferred():
            if self._written:
                write_lines(b"".join(self._written))
                self._count(self._records)
            self._written, self._size, self._records = [], 0, 0
            self._now = utc_now().isoformat()


class MappedWriter:
    """Writes records through the SDK: selection, stream maps and flattening apply.

    Args:
        stream: Their stream.
        count: Called with the number of records read, whatever the stream maps leave of them.
    """

    def __init__(self, stream: SdkStream, count: Callable[[int], None]) -> None:
        self._stream = stream
        self._count = count

    def write(self, rows: Sequence[Any]) -> None:
        """Write records."""
        for row in rows:
            self._stream.write_record(row)
        self._count(len(rows))

    def flush(self) -> None:
        """Do nothing: every record has been written."""


class WholeLineWriter(SingerWriter):
    """Writes each message as one whole line."""

    def write_message(self, message: Message) -> None:
        """Write a message to stdout; a signal waits until all of it is written."""
        write_lines((self.format_message(message) + "\n").encode())


def write_lines(lines: bytes) -> None:
    """Write whole lines to stdout; a signal waits until all of them are written.

    Raises:
        OutputClosedError: Nobody reads them.
    """
    try:
        with deferred():
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
