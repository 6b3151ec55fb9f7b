"""A ZIP that nobody trusts: which members it has, and what they hold.

It comes from a network, or from a disk with yesterday's half download, and strangers have named and
filled its members. So everything that it says twice is compared, what it says of sizes is kept to,
and nothing that it says makes us take more memory than its directory does.

Of what ZIP knows, stored and deflated members and 64-bit sizes are read; encryption, other methods
and archives in several parts are not.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from tap_prolific_export.archive.safe_json import INT64, cleaned_text
from tap_prolific_export.errors import DataCollectionError, MemberError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tap_prolific_export.archive.byte_source import Bytes

STORED, DEFLATED = 0, 8
# So much is inflated at a time, at the most, and of so much: rarely is anything of it left over,
# which would have to be copied. What is made of it stays in a processor's cache.
INFLATED = 1 << 18
DEFLATED_AT_ONCE = 1 << 14
ADVICE = "Export it anew; if that does not help, report this."

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
# A header's extra field may be longer than its entry's, by sizes in 64 bits or exact times.
_SLACK = 64
_ENCRYPTED = 1
_SUMS_FOLLOW = 1 << 3
_UTF_8 = 1 << 11
_EXTRA_64 = 1
_IN_EXTRA = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Member:
    """An entry of the directory.

    Attributes:
        path: Its name.
        offset: Where its header begins.
        packed: How many bytes its data takes.
        size: How many it holds.
        crc32: Their checksum.
        method: How they are compressed.
        flags: As ZIP has them.
        dated: Date and time, as MS-DOS has them.
        header: How long its header is, if that is as long as the directory's.
    """

    path: str
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
        """Its date, read as UTC; None where it has none."""
        date, time = self.dated
        try:
            return datetime(
                (date >> 9) + 1980,
                (date >> 5) & 15,
                date & 31,
                time >> 11,
                (time >> 5) & 63,
                (time & 31) * 2,
                tzinfo=timezone.utc,
            )
        except ValueError:  # month 0: no date was set
            return None


class _BadZipError(Exception):
    """What is wrong with a ZIP, in words that quote nothing of it."""


class Members:
    """The members of a ZIP.

    Args:
        source: Its bytes.
        name: How errors name it.
        max_directory_bytes: How long its directory may be.

    Attributes:
        all: In the order of the directory.

    Raises:
        DataCollectionError: It is no ZIP, or its directory is too long.
        ReplacedError: It has become another one.
    """

    def __init__(self, source: Bytes, name: str, max_directory_bytes: int) -> None:
        self._source = source
        self._name = name
        try:
            begin, end, shift = self._directory()
            if end - begin > max_directory_bytes:
                raise too_large(
                    name, "its directory", end - begin, "max_metadata_bytes", max_directory_bytes
                )
            self.all = list(_entries(source.read(begin, end), shift))
            offsets = sorted({member.offset for member in self.all})
            if offsets and not 0 <= offsets[0] <= offsets[-1] < begin:
                raise _BadZipError("its directory has an entry of nothing")  # noqa: TRY301
        except (_BadZipError, OSError) as error:
            problem = f"The archive is damaged or no ZIP ({_why(error)})."
            raise DataCollectionError(name, problem, ADVICE) from None

        # Where each ends: where the next one begins, or the directory.
        self._ends = dict(zip(offsets, [*offsets[1:], begin], strict=False))

    def span(self, member: Member) -> tuple[int, int]:
        """Return where a member's header and data are likely to lie, from an offset to another."""
        likely = member.offset + member.header + _SLACK + member.packed
        return member.offset, min(likely, self._ends[member.offset])

    def content(self, member: Member, called: str, *, keep: bool = False) -> Iterator[bytes]:
        """Yield what a member holds, in chunks, checked against what the directory says of it.

        Args:
            member: One of `all`.
            called: How errors call it.
            keep: Whether it will be read again.

        Raises:
            MemberError: It is damaged, or of a kind that is not read.
            DataCollectionError: It cannot be had.
            ReplacedError: The archive has become another one.
        """
        size = checksum = 0
        try:
            for chunk in self._unpacked(member, keep=keep):
                size += len(chunk)
                checksum = zlib.crc32(chunk, checksum)
                if size > member.size:
                    break
                yield chunk
            if size != member.size:
                raise _BadZipError("it is longer or shorter than the directory says")  # noqa: TRY301
            if checksum != member.crc32:
                raise _BadZipError("it has another checksum than the directory says")  # noqa: TRY301
        except (_BadZipError, zlib.error, OSError) as error:
            raise MemberError(self._name, f"{called} is damaged: {_why(error)}.", ADVICE) from None

    def _directory(self) -> tuple[int, int, int]:
        """Return where the directory begins and ends, and what offsets have to be shifted by."""
        size = self._source.size
        tail_begin = max(0, size - _END.size - _MAX_COMMENT)
        tail = b"".join(self._source.read(tail_begin, size))
        place = tail.rfind(_END_SIGNATURE, 0, len(tail) - _END.size + len(_END_SIGNATURE))
        if place < 0:
            raise _BadZipError("it has no end")
        _, disk, _, _, _, length, offset, _ = _END.unpack_from(tail, place)
        end = tail_begin + place
        if disk not in {0, 0xFFFF}:
            raise _BadZipError("it is one of several parts")
        locator_begin = end - _LOCATOR.size
        if locator_begin >= _END_64.size:
            locator = b"".join(self._source.read(locator_begin, end))
            if locator.startswith(_LOCATOR_SIGNATURE):
                end = locator_begin - _END_64.size
                record = b"".join(self._source.read(end, locator_begin))
                signature, *_, length, offset = _END_64.unpack(record)
                if signature != _END_64_SIGNATURE:
                    raise _BadZipError("it has no end in 64 bits")
        # Something may stand before the ZIP: then all offsets are too low.
        begin = end - length
        if begin < offset:
            raise _BadZipError("its directory lies before its begin")
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
        """Yield the data of a member as it lies in the archive."""
        begin, end = self.span(member)
        chunks = self._source.read(begin, end, keep=keep)
        head = b""
        while len(head) < (size := _header_size(head)):
            if not (chunk := next(chunks, b"")):
                # The header is longer than all that was likely.
                chunks = self._source.read(begin + len(head), min(begin + size, self._ends[begin]))
                if not (chunk := next(chunks, b"")):
                    raise _BadZipError("it is cut off")
            head += chunk
        if not _is_header_of(head, member):
            raise _BadZipError("its header is not what the directory says")
        left = member.packed
        if not left and not _is_empty(head, member):
            raise _BadZipError("it is longer or shorter than the directory says")
        if begin + size + left > self._ends[begin]:
            raise _BadZipError("it overlaps with what follows")
        yield head[size : size + left]
        left -= len(head[size : size + left])
        for chunk in chunks:
            yield chunk[:left]
            left -= len(chunk[:left])
        if left:  # the header was longer than was likely
            data_end = begin + size + member.packed
            yield from self._source.read(data_end - left, data_end)


def too_large(
    name: str, called: str, size: int | str, setting: str, limit: int
) -> DataCollectionError:
    """Return the error of what is larger than a setting allows."""
    size = f"{size:,}" if isinstance(size, int) else size
    return DataCollectionError(
        name,
        f"{called[0].upper()}{called[1:]} holds {size} bytes; {setting} is {limit:,}.",
        f"If that is right, raise {setting}.",
    )


def _why(error: Exception) -> str:
    if isinstance(error, _BadZipError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "it does not inflate"


def _entries(chunks: Iterable[bytes], shift: int) -> Iterator[Member]:
    """Yield the entries of a directory, whose offsets are to be shifted."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        used = 0
        while (rest := len(buffer) - used) >= _ENTRY.size:
            fields = _ENTRY.unpack_from(buffer, used)
            if fields[0] != _ENTRY_SIGNATURE:
                raise _BadZipError("its directory has an entry that is none")
            length = _ENTRY.size + sum(fields[10:13])
            if rest < length:
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
    if _IN_EXTRA in {size, packed, offset}:
        # What is absurd is as large as a table can hold: there is no such thing, for sure.
        values = _in_64_bits(extra, (size, packed, offset))
        size, packed, offset = (min(value, INT64.stop - 1) for value in values)
    return Member(
        path=_decoded(name, flags),
        offset=offset + shift,
        packed=packed,
        size=size,
        crc32=crc32,
        method=method,
        flags=flags,
        dated=(date, time),
        header=_HEADER.size + name_length + extra_length,
    )


def _in_64_bits(extra: bytes, values: tuple[int, ...]) -> Iterator[int]:
    """Yield values, those that did not fit their fields from the extra field."""
    at = 0
    found = b""
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _EXTRA_64:
            found = extra[at + 4 : at + 4 + length]
            break
        at += 4 + length
    for value in values:
        if value == _IN_EXTRA and found:
            if len(found) < 8:  # noqa: PLR2004
                raise _BadZipError("its directory lacks a size")
            yield int.from_bytes(found[:8], "little")
            found = found[8:]
        else:
            yield value


def _decoded(name: bytes, flags: int) -> str:
    """Return a member's name, as its flags say that it is encoded."""
    try:
        return cleaned_text(name.decode("utf-8" if flags & _UTF_8 else "cp437"))
    except UnicodeDecodeError:
        raise _BadZipError("its directory has a name that is not in UTF-8") from None


def _header_size(head: bytes) -> int:
    """Return how long a member's header is with its name and extra field, as far as is known."""
    if len(head) < _HEADER.size:
        return _HEADER.size
    *_, name_length, extra_length = _HEADER.unpack_from(head)
    return _HEADER.size + int(name_length) + int(extra_length)


def _is_header_of(head: bytes, member: Member) -> bool:
    """Whether a member's header says what the directory does."""
    signature, _, flags, method, *_, name_length, _ = _HEADER.unpack_from(head)
    name = head[_HEADER.size : _HEADER.size + name_length]
    return (
        signature == _HEADER_SIGNATURE
        and method == member.method
        and _decoded(name, flags) == member.path
    )


def _is_empty(head: bytes, member: Member) -> bool:
    """Whether a member's header does not say that there is anything in it."""
    _, _, flags, _, _, _, _, packed, size, name_length, _ = _HEADER.unpack_from(head)
    if _IN_EXTRA in {packed, size}:
        extra = head[_HEADER.size + name_length : _header_size(head)]
        size, packed = _in_64_bits(extra, (size, packed))
    # It is for both to say that the sums follow: else either could hide what there is.
    return bool(flags & member.flags & _SUMS_FOLLOW) or (
        packed == size == 0 and not (flags ^ member.flags) & _SUMS_FOLLOW
    )


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what deflated data holds, never much of it at a time.

    Raises:
        zlib.error: It is damaged, or ends too soon.
    """
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    pieces = (
        chunk[begin : begin + DEFLATED_AT_ONCE]
        for chunk in chunks
        for begin in range(0, len(chunk), DEFLATED_AT_ONCE)
    )
    for piece in pieces:
        rest = piece
        while not inflate.eof:
            data = inflate.decompress(rest, INFLATED)
            rest = inflate.unconsumed_tail
            if data:
                yield data
            if not rest and len(data) < INFLATED:
                break
    if not inflate.eof:
        raise _BadZipError("it is cut off")
