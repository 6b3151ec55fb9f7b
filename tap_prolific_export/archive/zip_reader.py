"""Read a ZIP that may be hostile: its directory, and its members' content in chunks.

Supports stored and deflated members and ZIP64. Does not support encryption, other compression
methods or multi-part archives.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from zlib_ng import zlib_ng

from tap_prolific_export.archive.member_names import UNICODE_PATH, decoded_name
from tap_prolific_export.archive.safe_json import INT64
from tap_prolific_export.errors import DataCollectionError, MemberError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tap_prolific_export.archive.byte_source import ByteSource

STORED, DEFLATED = 0, 8
# Decompress in small steps: the output stays in the processor's cache, and little input remains
# unconsumed, which zlib would have to copy.
MAX_INFLATED_CHUNK = 1 << 18
MAX_DEFLATED_CHUNK = 1 << 14
ADVICE = "Export it again; if that does not help, report this."

# Signature, this disk, the directory's disk, entries here, entries, size, offset, comment's length.
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\5\6"
_MAX_COMMENT = 0xFFFF
# Signature, disk, offset of the record below, disks.
_LOCATOR = struct.Struct("<4sLQL")
_LOCATOR_SIGNATURE = b"PK\6\7"
# Signature, own size, versions, disks, entries here, entries, size, offset.
_END_64 = struct.Struct("<4sQ2H2L4Q")
_END_64_SIGNATURE = b"PK\6\6"
# Signature, versions, flags, method, time, date, checksum, packed size, size, lengths of name,
# extra field and comment, disk, attributes, offset.
_ENTRY = struct.Struct("<4s6H3L5H2L")
_ENTRY_SIGNATURE = b"PK\1\2"
# Signature, version, flags, method, time, date, checksum, packed size, size, lengths of name and
# extra field.
_HEADER = struct.Struct("<4s5H3L2H")
_HEADER_SIGNATURE = b"PK\3\4"
# A header's extra field may be longer than its entry's, because of 64-bit sizes or exact times.
_SLACK = 64
_ENCRYPTED = 1
_HAS_DATA_DESCRIPTOR = 1 << 3
_UTF_8 = 1 << 11
_ZIP64_EXTRA = 1
_IN_EXTRA_FIELD = 0xFFFFFFFF
# The first year of MS-DOS dates. Programs that do not know a date, or do not want one, write one of
# this year, mostly its first moment.
_NO_DATE_YEAR = 1980


@dataclass(frozen=True, slots=True)
class Member:
    """An entry of the directory.

    Attributes:
        path: Its name.
        raw_name: The bytes of its name; None if these are its path in UTF-8.
        offset: Where its header begins.
        packed: Compressed size in bytes.
        size: Uncompressed size in bytes.
        crc32: Checksum of the uncompressed data.
        method: Compression method.
        flags: General purpose flags.
        dated: Date and time in MS-DOS format.
        header: Expected size of its header, computed from the directory's entry.
    """

    path: str
    raw_name: bytes | None
    offset: int
    packed: int
    size: int
    crc32: int
    method: int
    flags: int
    dated: tuple[int, int]
    header: int

    @property
    def modified_at(self) -> datetime | None:
        """The modification time, read as UTC; None if not set."""
        date, time = self.dated
        year = (date >> 9) + _NO_DATE_YEAR
        if year == _NO_DATE_YEAR:
            return None
        try:
            day = datetime(year, (date >> 5) & 15, date & 31, tzinfo=timezone.utc)
            return day.replace(hour=time >> 11, minute=(time >> 5) & 63, second=(time & 31) * 2)
        except ValueError:  # month 0: no date was set
            return None


class _BadZipError(Exception):
    """A defect of a ZIP. The message does not quote the ZIP's content."""


class ZipReader:
    """Lists and reads the members of a ZIP.

    Args:
        source: The ZIP's bytes.
        name: The ZIP's name in errors.
        max_directory_bytes: Maximum size of the directory.

    Attributes:
        all: The members, in the order of the directory.

    Raises:
        DataCollectionError: It is not a ZIP, or its directory is too large.
        ReplacedError: The archive was replaced.
    """

    def __init__(self, source: ByteSource, name: str, max_directory_bytes: int) -> None:
        self._source = source
        self._name = name
        try:
            begin, end, shift = self._directory()
            if end - begin > max_directory_bytes:
                raise too_large(name, "its directory", end - begin, max_directory_bytes)
            self.all = list(_entries(source.read(begin, end), shift))
            offsets = sorted({member.offset for member in self.all})
            if offsets and not 0 <= offsets[0] <= offsets[-1] < begin:
                raise _BadZipError("its directory has an invalid offset")  # noqa: TRY301
        except (_BadZipError, OSError) as error:
            problem = f"The archive is damaged or not a ZIP ({_why(error)})."
            raise DataCollectionError(name, problem, ADVICE) from None

        # A member ends where the next one, or the directory, begins.
        self._ends = dict(zip(offsets, [*offsets[1:], begin], strict=False))

    def span(self, member: Member) -> tuple[int, int]:
        """Return the range that probably holds a member's header and data."""
        likely = member.offset + member.header + _SLACK + member.packed
        return member.offset, min(likely, self._ends[member.offset])

    def content(self, member: Member, label: str, *, keep: bool = False) -> Iterator[bytes]:
        """Yield a member's content in chunks; check its size and checksum.

        Args:
            member: One of `all`.
            label: The member's name in errors.
            keep: Whether it will be read again.

        Raises:
            MemberError: It is damaged, encrypted or compressed by an unsupported method.
            DataCollectionError: It cannot be fetched.
            ReplacedError: The archive was replaced.
        """
        size = checksum = 0
        try:
            for chunk in self._unpacked(member, keep=keep):
                size += len(chunk)
                checksum = zlib_ng.crc32(chunk, checksum)
                if size > member.size:
                    break
                yield chunk
            if size != member.size:
                raise _BadZipError("it is longer or shorter than the directory says")  # noqa: TRY301
            if checksum != member.crc32:
                raise _BadZipError("its checksum differs from the directory's")  # noqa: TRY301
        except (_BadZipError, zlib_ng.error, OSError) as error:  # type: ignore[misc]  # its stub has no class
            raise MemberError(self._name, f"{label} is damaged: {_why(error)}.", ADVICE) from None

    def _directory(self) -> tuple[int, int, int]:
        """Return the directory's begin and end, and what to add to all offsets."""
        size = self._source.size
        tail_begin = max(0, size - _END.size - _MAX_COMMENT)
        tail = b"".join(self._source.read(tail_begin, size))
        position = tail.rfind(_END_SIGNATURE, 0, len(tail) - _END.size + len(_END_SIGNATURE))
        if position < 0:
            raise _BadZipError("it has no end record")
        _, disk, _, _, _, length, offset, _ = _END.unpack_from(tail, position)
        end = tail_begin + position
        if disk not in {0, 0xFFFF}:
            raise _BadZipError("it has several parts")
        locator_begin = end - _LOCATOR.size
        if locator_begin >= _END_64.size:
            locator = b"".join(self._source.read(locator_begin, end))
            if locator.startswith(_LOCATOR_SIGNATURE):
                end = locator_begin - _END_64.size
                record = b"".join(self._source.read(end, locator_begin))
                signature, *_, length, offset = _END_64.unpack(record)
                if signature != _END_64_SIGNATURE:
                    raise _BadZipError("it has no ZIP64 end record")
        # If other data precedes the ZIP, all offsets are too low by its size.
        begin = end - length
        if begin < offset:
            raise _BadZipError("its directory begins before the archive")
        return begin, end, begin - offset

    def _unpacked(self, member: Member, *, keep: bool) -> Iterator[bytes]:
        if member.flags & _ENCRYPTED:
            raise _BadZipError("it is encrypted")
        if member.method == STORED:
            return self._packed(member, keep=keep)
        if member.method == DEFLATED:
            return _inflated(self._packed(member, keep=keep))
        raise _BadZipError(
            f"it is compressed by method {member.method}, not {STORED} or {DEFLATED}"
        )

    def _packed(self, member: Member, *, keep: bool) -> Iterator[bytes]:
        """Yield the data of a member, still compressed."""
        begin, end = self.span(member)
        chunks = self._source.read(begin, end, keep=keep)
        head = b""
        while len(head) < (size := _header_size(head)):
            if not (chunk := next(chunks, b"")):
                # The header is longer than the whole expected range.
                chunks = self._source.read(begin + len(head), min(begin + size, self._ends[begin]))
                if not (chunk := next(chunks, b"")):
                    raise _BadZipError("it is cut off")
            head += chunk
        if not _header_matches(head, member):
            raise _BadZipError("its header differs from the directory")
        left = member.packed
        if not left and not _is_empty(head, member):
            raise _BadZipError("it is longer or shorter than the directory says")
        if begin + size + left > self._ends[begin]:
            raise _BadZipError("it overlaps with the next member")
        yield head[size : size + left]
        left -= len(head[size : size + left])
        for chunk in chunks:
            yield chunk[:left]
            left -= len(chunk[:left])
        if left:  # the header was longer than expected
            data_end = begin + size + member.packed
            yield from self._source.read(data_end - left, data_end)


def too_large(
    name: str, label: str, size: int | str, limit: int, setting: str | None = None
) -> DataCollectionError:
    """Return the error for data that exceeds a setting or, without one, a fixed limit."""
    size = f"{size:,}" if isinstance(size, int) else size
    return DataCollectionError(
        name,
        f"{label[0].upper()}{label[1:]} holds {size} bytes; {setting or 'the limit'} is {limit:,}.",
        f"If that is right, raise {setting}." if setting else ADVICE,
    )


def _why(error: Exception) -> str:
    if isinstance(error, _BadZipError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "it cannot be inflated"


def _entries(chunks: Iterable[bytes], shift: int) -> Iterator[Member]:
    """Yield the entries of a directory; add `shift` to their offsets."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        used = 0
        while (available := len(buffer) - used) >= _ENTRY.size:
            fields = _ENTRY.unpack_from(buffer, used)
            if fields[0] != _ENTRY_SIGNATURE:
                raise _BadZipError("its directory has an invalid entry")
            length = _ENTRY.size + sum(fields[10:13])
            if available < length:
                break
            yield _entry(fields, bytes(buffer[used + _ENTRY.size : used + length]), shift)
            used += length
        del buffer[:used]
    if buffer:
        raise _BadZipError("its directory is cut off")


def _entry(fields: tuple[int, ...], texts: bytes, shift: int) -> Member:
    _, _, _, flags, method, time, date, crc32, packed, size, name_length, extra_length = fields[:12]
    name, extra = texts[:name_length], texts[name_length : name_length + extra_length]
    offset = fields[16]
    if _IN_EXTRA_FIELD in {size, packed, offset}:
        # Cap absurd values at the largest integer that a table can store.
        values = _in_64_bits(extra, (size, packed, offset))
        size, packed, offset = (min(value, INT64.stop - 1) for value in values)
    path = _decoded(name, flags, extra)
    raw_name = None if name == path.encode() else name
    begin, header = offset + shift, _HEADER.size + name_length + extra_length
    dated = (date, time)
    return Member(path, raw_name, begin, packed, size, crc32, method, flags, dated, header)


def _in_64_bits(extra: bytes, values: tuple[int, ...]) -> Iterator[int]:
    """Yield the values, taking those that exceed 32 bits from the extra field."""
    found = _extra_field(extra, _ZIP64_EXTRA)
    for value in values:
        if value == _IN_EXTRA_FIELD and found:
            if len(found) < 8:  # noqa: PLR2004
                raise _BadZipError("its directory lacks a size")
            yield int.from_bytes(found[:8], "little")
            found = found[8:]
        else:
            yield value


def _extra_field(extra: bytes, wanted: int) -> bytes:
    """Return the content of the first extra field of a kind; empty without one."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == wanted:
            return extra[position + 4 : position + 4 + length]
        position += 4 + length
    return b""


def _decoded(name: bytes, flags: int, extra: bytes) -> str:
    """Return a member's name."""
    try:
        unicode_path = _extra_field(extra, UNICODE_PATH)
        return decoded_name(name, unicode_path, is_utf_8=bool(flags & _UTF_8))
    except UnicodeDecodeError:
        raise _BadZipError("its directory has a name that is not valid UTF-8") from None


def _header_size(head: bytes) -> int:
    """Return the size of a member's header; a lower bound while `head` is incomplete."""
    if len(head) < _HEADER.size:
        return _HEADER.size
    *_, name_length, extra_length = _HEADER.unpack_from(head)
    return _HEADER.size + int(name_length) + int(extra_length)


def _header_matches(head: bytes, member: Member) -> bool:
    """Whether a member's header agrees with the directory."""
    signature, _, flags, method, *_, name_length, _ = _HEADER.unpack_from(head)
    name_end = _HEADER.size + name_length
    name, extra = head[_HEADER.size : name_end], head[name_end : _header_size(head)]
    known = member.path.encode() if member.raw_name is None else member.raw_name
    return (
        signature == _HEADER_SIGNATURE
        and method == member.method
        # One of the two may lack the flag or the extra field that tells how to decode the name.
        and (name == known or _decoded(name, flags, extra) == member.path)
    )


def _is_empty(head: bytes, member: Member) -> bool:
    """Whether a member's header allows the member to be empty."""
    _, _, flags, _, _, _, _, packed, size, name_length, _ = _HEADER.unpack_from(head)
    if _IN_EXTRA_FIELD in {packed, size}:
        extra = head[_HEADER.size + name_length : _header_size(head)]
        size, packed = _in_64_bits(extra, (size, packed))
    # Header and directory must agree on a data descriptor: otherwise either could hide data.
    return bool(flags & member.flags & _HAS_DATA_DESCRIPTOR) or (
        packed == size == 0 and not (flags ^ member.flags) & _HAS_DATA_DESCRIPTOR
    )


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress deflated data in small chunks."""
    inflate = zlib_ng.decompressobj(-zlib_ng.MAX_WBITS)
    pieces = (
        chunk[begin : begin + MAX_DEFLATED_CHUNK]
        for chunk in chunks
        for begin in range(0, len(chunk), MAX_DEFLATED_CHUNK)
    )
    for piece in pieces:
        remaining = piece
        while not inflate.eof:
            data = inflate.decompress(remaining, MAX_INFLATED_CHUNK)
            remaining = inflate.unconsumed_tail
            if data:
                yield data
            if not remaining and len(data) < MAX_INFLATED_CHUNK:
                break
    if not inflate.eof:
        raise _BadZipError("it is cut off")
