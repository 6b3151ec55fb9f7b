"""The export's ZIP: which members it has, its metadata, its JSON Lines.

An archive comes from a network and holds what strangers uploaded: whatever is wrong with it ends
as a `DataCollectionError` that names the member, never its content.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any

import msgspec

from tap_prolific_export.api import DataCollectionRef, Kind
from tap_prolific_export.errors import DataCollectionError, MemberError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from tap_prolific_export.pieces import Bytes

METADATA = {"collection.json": Kind.COLLECTION, "batch.json": Kind.BATCH}
# The lines of a batch come twice, by submission and by task: the former are the rows, unless
# only the latter are there.
BY_TASK = "responses-by-task.jsonl"
LINES = ("responses.jsonl", "responses-by-submission.jsonl", BY_TASK)
UPLOADS = "files/"

# The vendor's client names a download <id>-export-<time>.zip.
_VENDOR_NAME = re.compile(r"(?P<id>[A-Za-z0-9_-]+)-export-[^/]*\.zip", re.IGNORECASE)
# So much is inflated at a time.
_INFLATED = 1 << 18
# What zipfile lets out for a damaged directory; an empty name is an IndexError before Python 3.12,
# a directory that lies before the file's begin a ValueError.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, IndexError, ValueError)
_NO_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_BOM = b"\xef\xbb\xbf"
_ADVICE = "Export it anew; if that does not help, report this."
# Flags of a member.
_ENCRYPTED = 1
_UTF_8 = 1 << 11
# A member's own header: signature, version, flags, method, time, date, checksum, both sizes, and
# the lengths of name and extra field.
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_LOCAL_SIGNATURE = b"PK\3\4"
# Its extra field may be longer than the directory's, by sizes in 64 bits or exact times.
_SLACK = 64


class Part(Enum):
    """What an archive holds besides its metadata, as far as anybody reads it."""

    LINES = "the lines of the responses"
    LINES_BY_TASK = "the lines by task"
    UPLOADS = "the uploaded files"


@dataclass(frozen=True)
class Line:
    """One line of a JSON Lines member: its number, from 1, and the object it holds."""

    number: int
    object: dict[str, Any]


@dataclass(frozen=True)
class Upload:
    """An uploaded file: its size in bytes, its checksum, and when it was packed (read as UTC)."""

    size: int
    crc32: int
    modified_at: datetime | None


@dataclass(frozen=True)
class _Member:
    """An entry of the directory.

    Attributes:
        info: As zipfile has read it.
        end: Where something else begins.
    """

    info: zipfile.ZipInfo
    end: int

    @property
    def span(self) -> tuple[int, int]:
        """Where its header and data lie, from an offset to another.

        How long the header is only the header tells: it is taken to be as long as the directory's.
        """
        info = self.info
        header = _LOCAL_HEADER.size + len(info.filename.encode("utf-8", "surrogatepass"))
        likely = info.header_offset + header + len(info.extra) + _SLACK + info.compress_size
        return info.header_offset, min(likely, self.end)


class Archive:
    """One export's ZIP.

    Args:
        source: Its bytes.
        name: How errors and logs name it.

    Raises:
        DataCollectionError: It is no ZIP.
        ReplacedError: It has become another one.
    """

    def __init__(self, source: Bytes, name: str) -> None:
        self.name = name
        self._source = source
        with self._reading("the archive"), zipfile.ZipFile(_Seekable(source)) as directory:
            self._infos = directory.infolist()
            start = directory.start_dir
            if any(info.header_offset < 0 for info in self._infos):
                raise zipfile.BadZipFile
        root = self._find_root()
        ends = _ends([info.header_offset for info in self._infos], start)
        self._members = {
            info.filename.removeprefix(root): _Member(info, ends[info.header_offset])
            for info in self._infos
            if info.filename.startswith(root) and not info.filename.endswith("/")
        }
        self.uploads = {
            path: Upload(member.info.file_size, member.info.CRC, _member_date(member.info))
            for path, member in self._members.items()
            if path.startswith(UPLOADS)
        }

    def expect(
        self, parts: Collection[Part], takes: Callable[[int, list[str]], bool] = lambda *_: False
    ) -> None:
        """Be told what is likely to be read: fetch it at once where that saves requests.

        Args:
            parts: What is going to be read, besides the metadata.
            takes: Whether an uploaded file is stored, by its size and names.

        Raises:
            DataCollectionError: It cannot be had.
            ReplacedError: The archive has become another one.
        """
        paths: list[str] = [*METADATA]
        if Part.LINES in parts and self.lines_name:
            paths.append(self.lines_name)
        if Part.LINES_BY_TASK in parts:
            paths.append(BY_TASK)
        if Part.UPLOADS in parts:
            paths += [path for path, upload in self.uploads.items() if takes(upload.size, [path])]
        self._source.expect(self._members[path].span for path in paths if path in self._members)

    def metadata(self) -> tuple[Kind, dict[str, Any]]:
        """Return the kind of data collection and its metadata file.

        Raises:
            DataCollectionError: There is none, or it is no JSON object.
            ReplacedError: The archive has become another one.
        """
        for name, kind in METADATA.items():
            if name in self._members:
                text = b"".join(self._content(name, name)).removeprefix(_BOM)
                try:
                    value = msgspec.json.decode(text)
                except _NO_JSON:
                    raise self._wrong(f"{name} is no valid JSON.") from None
                if not isinstance(value, dict):
                    raise self._wrong(f"{name} holds no JSON object.")
                return kind, value
        raise self._wrong(f"It has neither {' nor '.join(METADATA)}.")

    @property
    def lines_name(self) -> str | None:
        """Which member `lines` are of."""
        return next((name for name in LINES if name in self._members), None)

    def lines(self) -> Iterator[Line]:
        """Yield the lines of the responses, decoded, blank ones left out.

        Raises:
            DataCollectionError: The member is missing, or a line is no JSON object.
            ReplacedError: The archive has become another one.
        """
        if self.lines_name is None:
            raise self._wrong(f"It has neither {' nor '.join(LINES)}.")
        yield from self._lines(self.lines_name)

    def lines_by_task(self) -> Iterator[Line]:
        """Yield the lines of the file by task; none where there is none, or `lines` is it."""
        if BY_TASK in self._members and self.lines_name != BY_TASK:
            yield from self._lines(BY_TASK)

    def content(self, path: str) -> Iterator[bytes]:
        """Yield the content of an uploaded file, in chunks; several threads may do so at once.

        Args:
            path: One of `uploads`.

        Raises:
            MemberError: It is damaged; which one it is, is not said.
            DataCollectionError: It cannot be had.
            ReplacedError: The archive has become another one.
        """
        return self._content(path, "an uploaded file")

    def digest(self) -> str:
        """Return 16 hex digits that tell this archive's directory from any other's."""
        digest = hashlib.sha256()
        for info in self._infos:
            entry = (info.filename, info.file_size, info.CRC, info.date_time)
            digest.update(repr(entry).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:16]

    def newest_member(self) -> datetime | None:
        """Return the newest date of a member, read as UTC; None if none has one."""
        dates = [_member_date(info) for info in self._infos]
        return max((date for date in dates if date), default=None)

    def _lines(self, name: str) -> Iterator[Line]:
        lines = _split(self._content(name, name, keep=True))
        for number, line in enumerate(lines, 1):
            text = (line.removeprefix(_BOM) if number == 1 else line).strip()
            if not text:
                continue
            try:
                value = msgspec.json.decode(text)
            except _NO_JSON:
                raise self._wrong(f"{name}, line {number}, is no valid JSON.") from None
            if not isinstance(value, dict):
                raise self._wrong(f"{name}, line {number}, is no JSON object.")
            yield Line(number, value)

    def _content(self, path: str, name: str, *, keep: bool = False) -> Iterator[bytes]:
        """Yield what a member holds, and check it against what the directory says of it.

        Args:
            path: Of the member.
            name: How errors name it.
            keep: Whether it will be read again.
        """
        info = self._members[path].info
        if info.flag_bits & _ENCRYPTED:
            raise self._bad_member(f"{name} is encrypted.")
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            method = info.compress_type
            raise self._bad_member(f"{name} is compressed by method {method}, not 0 or 8.")
        size = checksum = 0
        try:
            packed = self._packed(self._members[path], keep=keep)
            for chunk in packed if info.compress_type == zipfile.ZIP_STORED else _inflated(packed):
                size += len(chunk)
                checksum = zlib.crc32(chunk, checksum)
                if size > info.file_size:
                    break
                yield chunk
        except (zipfile.BadZipFile, zlib.error, OSError) as error:
            raise self._bad_member(f"{name} is damaged ({type(error).__name__}).") from None
        if (size, checksum) != (info.file_size, info.CRC):
            what = "has another checksum" if size == info.file_size else "is longer or shorter"
            raise self._bad_member(f"{name} is damaged: it {what} than the directory says.")

    def _packed(self, member: _Member, *, keep: bool) -> Iterator[bytes]:
        """Yield the data of a member as it lies in the archive."""
        info = member.info
        begin, end = member.span
        chunks = self._source.read(begin, end, keep=keep)
        head = b""
        while len(head) < (size := _header_size(head)):
            if not (chunk := next(chunks, b"")):
                # The header is longer than all that was likely.
                chunks = self._source.read(begin + len(head), min(begin + size, member.end))
                if not (chunk := next(chunks, b"")):
                    raise zipfile.BadZipFile
            head += chunk
        if not _is_header_of(head, info):
            raise zipfile.BadZipFile
        left = info.compress_size
        if begin + size + left > member.end:
            raise zipfile.BadZipFile  # it would overlap with what follows
        yield head[size : size + left]
        left -= len(head[size : size + left])
        for chunk in chunks:
            yield chunk[:left]
            left -= len(chunk[:left])
        if left:  # the header was longer than the directory's
            data_end = begin + size + info.compress_size
            yield from self._source.read(data_end - left, data_end)

    def _find_root(self) -> str:
        """Return the folder that holds the metadata, else the lines, as a prefix of names."""
        names = [info.filename for info in self._infos]
        for wanted in (METADATA, LINES):
            homes = [
                name.rpartition("/")[0]
                for name in names
                if name.rpartition("/")[2] in wanted and name.count("/") <= 1
            ]
            if homes:
                return f"{home}/" if (home := min(homes, key=lambda home: home != "")) else ""
        return ""

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """Turn what zipfile raises for a bad directory into an error."""
        try:
            yield
        except (*_DAMAGED, NotImplementedError) as error:
            raise self._wrong(f"{name} is damaged or no ZIP ({type(error).__name__}).") from None

    def _bad_member(self, problem: str) -> MemberError:
        return MemberError(self.name, problem, _ADVICE)

    def _wrong(self, problem: str) -> DataCollectionError:
        return DataCollectionError(self.name, problem, _ADVICE)


class _Seekable(io.RawIOBase):
    """An archive's bytes as the kind of file that zipfile reads a directory from."""

    def __init__(self, source: Bytes) -> None:
        super().__init__()
        self._source = source
        self._at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        if origin + offset < 0:
            raise OSError
        self._at = origin + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._source.size if size < 0 else min(self._at + size, self._source.size)
        data = b"".join(self._source.read(self._at, end))
        self._at += len(data)
        return data


def _ends(offsets: Iterable[int], end: int) -> dict[int, int]:
    """Return for each offset the next one; for the last one, the end."""
    ordered = sorted({*offsets})
    return dict(zip(ordered, [*ordered[1:], end], strict=False))


def _header_size(head: bytes) -> int:
    """Return how long a member's header is with its name and extra field, as far as is known."""
    if len(head) < _LOCAL_HEADER.size:
        return _LOCAL_HEADER.size
    *_, name_length, extra_length = _LOCAL_HEADER.unpack_from(head)
    return _LOCAL_HEADER.size + int(name_length) + int(extra_length)


def _is_header_of(head: bytes, info: zipfile.ZipInfo) -> bool:
    """Whether a member's header says what the directory does."""
    signature, _, flags, method, *_, name_length, _ = _LOCAL_HEADER.unpack_from(head)
    name = head[_LOCAL_HEADER.size : _LOCAL_HEADER.size + name_length]
    encoding = "utf-8" if flags & _UTF_8 else "cp437"
    return (signature, method, name.decode(encoding, "replace")) == (
        _LOCAL_SIGNATURE,
        info.compress_type,
        info.orig_filename,
    )


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what deflated data holds, never much of it at a time.

    Raises:
        zlib.error: It is damaged, or ends too soon.
    """
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    for chunk in chunks:
        rest = chunk
        while not inflate.eof:
            data = inflate.decompress(rest, _INFLATED)
            rest = inflate.unconsumed_tail
            if data:
                yield data
            if not rest and len(data) < _INFLATED:
                break
    if not inflate.eof:
        raise zlib.error


def _split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a text, which end at line feeds and nowhere else."""
    parts: list[bytes] = []
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        parts.append(first)
        if others:
            yield b"".join(parts)
            yield from others[:-1]
            parts = [others[-1]]
    yield b"".join(parts)


def _member_date(info: zipfile.ZipInfo) -> datetime | None:
    try:
        return datetime(*info.date_time, tzinfo=timezone.utc)
    except ValueError:  # month 0: no date was set
        return None


def archive_ref(kind: Kind, metadata: dict[str, Any], file_name: str) -> DataCollectionRef | None:
    """Return which data collection an archive on disk is of.

    Its id comes from the metadata, else from the vendor's file name.
    """
    for key in ("id", "data_collection_id", f"{kind.noun}_id"):
        if isinstance(metadata.get(key), str) and metadata[key]:
            return DataCollectionRef(kind, metadata[key])
    named = _VENDOR_NAME.fullmatch(file_name)
    return DataCollectionRef(kind, named["id"]) if named else None
