"""Records and messages on their way to stdout, in whole lines.

Rows are made from the schema that is written before them, so they fit it: of what the SDK does to
a record, only deselection, stream maps and flattening are left to do. Records are encoded and
written in blocks.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET
from singer_sdk.io_base import SingerWriter
from singer_sdk.singerlib.json import serialize_json

from tap_prolific_export.rows.structs import as_dict
from tap_prolific_export.signals import OutputClosedError, deferred, discard
from tap_prolific_export.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from singer_sdk.singerlib import Message

    from tap_prolific_export.singer.sdk import SdkStream


# So much is written at a time.
BLOCK = 1 << 16
_SCALARS = frozenset({str, int, float, bool, type(None), Decimal})


class RecordWriter:
    """Writes the rows of a stream as RECORD messages, in blocks of whole lines.

    Args:
        count: Called with the number of rows of each block, whatever stream maps leave of them.
        limit: Write only so many rows.
    """

    def __init__(
        self, stream: SdkStream, count: Callable[[int], None], limit: int | None = None
    ) -> None:
        fields: list[Any] = [("type", str), ("stream", str), ("time_extracted", str)]
        fields.append(("record", Any))
        if stream.version is not None:
            fields.append(("version", int, stream.version))
        self._message = msgspec.defstruct("Message", fields, gc=False)
        self._stream = stream
        self._maps = stream.record_maps
        # The answers to a question are left out where the rows are made: they may stand in several
        # columns.
        self._left_out = [path for path in stream.deselected if path != ("answers", path[-1])]
        self._count = count
        self._left = limit
        self._encoder = msgspec.json.Encoder(decimal_format="number")
        self._written: list[bytes] = []
        self._size = self._rows = 0
        self._now = utc_now().isoformat()

    @property
    def is_full(self) -> bool:
        """Whether the limit has been reached."""
        return self._left == 0

    def write(self, rows: Sequence[Any]) -> None:
        """Write rows, dictionaries or structs, at the latest with the next `flush`."""
        if self._left is not None:
            rows = rows[: self._left]
            self._left -= len(rows)
        if not rows:  # an encoder allocates a kilobyte even for no rows
            return
        if self._left_out:
            rows = [without(row, self._left_out) for row in rows]
        lines = self._lines(rows)
        self._written.append(lines)  # one operation: a signal never splits it
        self._size += len(lines)
        self._rows += len(rows)
        if self._size >= BLOCK:
            self.flush()

    def _lines(self, rows: Sequence[Any]) -> bytes:
        message, now, is_plain = self._message, self._now, True
        if self._maps is None:
            name = self._stream.name
            messages: list[Any] = [message("RECORD", name, now, row) for row in rows]
        else:
            records = [
                (each.stream_alias, record)
                for row in rows
                for each in self._maps
                if (record := each.transform(as_dict(row))) is not None
            ]
            is_plain = all(_is_plain(record) for _, record in records)
            messages = [message("RECORD", alias, now, record) for alias, record in records]
        if is_plain:
            try:
                return self._encoder.encode_lines(messages)
            except (UnicodeEncodeError, TypeError, ValueError):
                pass  # half of a surrogate pair, or a large integer
        fields = ({**as_dict(each), "record": as_dict(each.record)} for each in messages)
        return "".join(f"{serialize_json(each)}\n" for each in fields).encode()

    def flush(self) -> None:
        """Write the rows that are left."""
        with deferred():
            if self._written:
                write_lines(b"".join(self._written))
                self._count(self._rows)
            self._written, self._size, self._rows = [], 0, 0
            self._now = utc_now().isoformat()


def without(row: Any, paths: Iterable[tuple[str, ...]]) -> Any:
    """Return a row without some fields, given the names that lead to each; a struct is changed."""
    for name, *inner in paths:
        if isinstance(row, dict):
            if name in row:
                row = {**row, name: _without_inner(row[name], inner)}
                if row[name] is UNSET:
                    del row[name]
        else:
            setattr(row, name, _without_inner(getattr(row, name), inner))
    return row


def _without_inner(value: Any, path: Sequence[str]) -> Any:
    """Return a value without a field; `UNSET` without any of it, which is not encoded."""
    if not path:
        return UNSET
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value)
    if not isinstance(value, dict) or path[0] not in value:
        return value
    return without(value, [tuple(path)])


def _is_plain(value: Any) -> bool:
    """Whether msgspec encodes a value as the SDK does; stream maps can make any other."""
    if value.__class__ is dict:
        return all(map(_is_plain, value.values()))
    if value.__class__ is list:
        return all(map(_is_plain, value))
    return value.__class__ in _SCALARS


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
        raise OutputClosedError(1) from None


def _write(lines: bytes) -> None:
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:  # replaced by what has none
        sys.stdout.write(lines.decode())
    else:
        rest = memoryview(lines)
        while rest:  # under PYTHONUNBUFFERED, a signal has a part of it written only
            rest = rest[binary.write(rest) or 0 :]
    sys.stdout.flush()
