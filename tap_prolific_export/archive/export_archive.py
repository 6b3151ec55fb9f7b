"""What an export's archive holds: its metadata, its JSON Lines, its uploaded files.

An archive comes from a network and holds what strangers uploaded: whatever is wrong with it ends
as a `DataCollectionError` that names the member, never its content.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from tap_prolific_export.archive.safe_json import NoJsonError, decode
from tap_prolific_export.archive.zip_reader import ADVICE, Members, too_large
from tap_prolific_export.errors import DataCollectionError, MemberError
from tap_prolific_export.model import DataCollectionRef, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from datetime import datetime
    from typing import TypeGuard

    from tap_prolific_export.archive.byte_source import Bytes
    from tap_prolific_export.archive.zip_reader import Member

logger = logging.getLogger("tap-prolific-export")

METADATA = {"collection.json": Kind.COLLECTION, "batch.json": Kind.BATCH}
# The lines of a batch come twice, by submission and by task: the former are the rows, unless
# only the latter are there.
BY_TASK = "responses-by-task.jsonl"
LINES = ("responses.jsonl", "responses-by-submission.jsonl", BY_TASK)
UPLOADS = "files/"

# The vendor's client names a download <id>-export-<time>.zip.
_VENDOR_NAME = re.compile(r"(?P<id>[A-Za-z0-9_-]{1,128})-export-[^/]*\.zip", re.IGNORECASE)
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Limits:
    """How much an archive may make us read; see the settings of these names.

    Attributes:
        skip_bad_lines: Whether a line that cannot be read is left out, instead of the archive.
    """

    max_metadata_bytes: int = 64 << 20
    max_line_bytes: int = 16 << 20
    max_member_bytes: int = 64 << 30
    skip_bad_lines: bool = False


@dataclass(frozen=True)
class Metadata:
    """What the metadata file says.

    Attributes:
        kind: Of data collection.
        fields: What it holds.
        problem: Why that is nothing; None where it is something.
    """

    kind: Kind
    fields: dict[str, Any]
    problem: str | None = None


@dataclass(frozen=True)
class Skipped:
    """Lines that were left out: of which member, how many, and the first one's number."""

    name: str
    count: int
    first: int


class Part(Enum):
    """What an archive holds besides its metadata, as far as anybody reads it."""

    LINES = "the lines of the responses"
    LINES_BY_TASK = "the lines by task"
    UPLOADS = "the uploaded files"


@dataclass(frozen=True)
class Line:
    """One line of a JSON Lines member.

    Attributes:
        number: Its number, from 1.
        object: The object that it holds, in texts that any target can hold.
        as_it_came: The object with what was replaced in it; None where nothing was.
    """

    number: int
    object: dict[str, Any]
    as_it_came: dict[str, Any] | None = None


class Block(NamedTuple):
    """What several makers have made of whole lines at once.

    Attributes:
        ids: Of each line, which is one response.
        made: By each maker, of each line.
    """

    ids: list[str]
    made: list[list[Any]]


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded file: its size in bytes, its checksum, and when it was packed (read as UTC)."""

    size: int
    crc32: int
    modified_at: datetime | None


class Archive:
    """One export's ZIP.

    Args:
        source: Its bytes.
        name: How errors and logs name it.
        limits: How much of it is read.

    Attributes:
        skipped: By member, the lines that the last whole reading left out.
        lines_ahead: About how many lines follow those that were read, if they are like them.

    Raises:
        DataCollectionError: It is no ZIP, or says two things of one member.
        ReplacedError: It has become another one.
    """

    def __init__(self, source: Bytes, name: str, limits: Limits = Limits()) -> None:
        self.name = name
        self.skipped: dict[str, Skipped] = {}
        self.lines_ahead = 0
        self._source = source
        self._limits = limits
        self._zip = Members(source, name, limits.max_metadata_bytes)
        root = self._find_root()
        self._members: dict[str, Member] = {}
        repeated = 0
        for member in self._zip.all:
            if not member.path.startswith(root) or member.path.endswith("/"):
                continue
            path = member.path.removeprefix(root)
            known = self._members.get(path)
            if known and (known.size, known.crc32) != (member.size, member.crc32):
                if path in METADATA or path in LINES:
                    raise self._wrong(f"It has several members called {path}.")
                repeated += 1
            self._members[path] = member
        if repeated:
            logger.warning(
                "%s: %d uploaded files have the name of another one; the last of a name stands.",
                name,
                repeated,
            )
        self.uploads = {
            path: Upload(member.size, member.crc32, member.modified_at)
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
        known = (self._members[path] for path in paths if path in self._members)
        self._source.expect(self._zip.span(member) for member in known)

    def metadata(self) -> Metadata:
        """Return the kind of data collection and what its metadata file holds.

        Raises:
            DataCollectionError: It cannot be read, is too large, or what there is tells no kind.
            ReplacedError: The archive has become another one.
        """
        for name, kind in METADATA.items():
            if name not in self._members:
                continue
            limit = self._limits.max_metadata_bytes
            if (size := self._members[name].size) > limit:
                raise too_large(self.name, name, size, "max_metadata_bytes", limit)
            text = b"".join(self._content(name, name)).removeprefix(_BOM)
            try:
                value = decode(text).value
            except NoJsonError:
                return Metadata(kind, {}, f"{name} is no valid JSON.")
            if not isinstance(value, dict):
                return Metadata(kind, {}, f"{name} holds no JSON object.")
            return Metadata(kind, value)
        if self.lines_name is None:
            raise self._wrong(f"It has neither {' nor '.join([*METADATA, *LINES])}.")
        kind = Kind.COLLECTION if self.lines_name == LINES[0] else Kind.BATCH
        return Metadata(kind, {}, f"It has neither {' nor '.join(METADATA)}.")

    @property
    def lines_name(self) -> str | None:
        """Which member `lines` are of."""
        return next((name for name in LINES if name in self._members), None)

    @overload
    def lines(self) -> Iterator[Line]: ...

    @overload
    def lines(self, fast: Callable[[bytes], Block | None]) -> Iterator[Line | Block]: ...

    def lines(self, fast: Callable[[bytes], Block | None] | None = None) -> Iterator[Any]:
        """Yield the lines of the responses, decoded, blank ones left out.

        Args:
            fast: Is given a block of whole lines first; what it returns, if anything, is yielded
                in their place. It has an id for each of them, then, and none is blank.

        Raises:
            DataCollectionError: The member is missing, or a line is no JSON object.
            ReplacedError: The archive has become another one.
        """
        if self.lines_name is None:
            raise self._wrong(f"It has neither {' nor '.join(LINES)}.")
        yield from self._lines(self.lines_name, fast)

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
        for member in self._zip.all:
            entry = (member.path, member.size, member.crc32, member.dated)
            digest.update(repr(entry).encode())
        return digest.hexdigest()[:16]

    def newest_member(self) -> datetime | None:
        """Return the newest date of a member, read as UTC; None if none has one."""
        dates = (member.modified_at for member in self._zip.all)
        return max((date for date in dates if date), default=None)

    def _lines(
        self, name: str, fast: Callable[[bytes], Block | None] | None = None
    ) -> Iterator[Any]:
        """Yield the lines of a member; bad ones are left out, where that is wanted."""
        limit = self._limits.max_line_bytes
        bad = first = 0
        number = size = 0
        for block in _blocks(self._content(name, name, keep=True), limit):
            size += len(block or b"")
            self.lines_ahead = number * max(0, self._members[name].size - size) // max(1, size)
            if fast and _is_within(block, limit) and (found := fast(block)) is not None:
                number += len(found.ids)
                yield found
                continue
            texts = [None] if block is None else block.removesuffix(b"\n").split(b"\n")
            for text in texts:
                number += 1
                # One line that is odd makes its neighbours no slower.
                if fast and _is_within(text, limit) and (found := fast(text)) is not None:
                    yield found
                    continue
                try:
                    line = self._line(name, number, text)
                except DataCollectionError:
                    if not self._limits.skip_bad_lines:
                        raise
                    bad += 1
                    first = first or number
                else:
                    if line:
                        yield line
        if bad:
            self.skipped[name] = Skipped(name, bad, first)

    def _line(self, name: str, number: int, text: bytes | None) -> Line | None:
        called = f"{name}, line {number},"
        limit = self._limits.max_line_bytes
        if text is None or len(text) > limit:
            raise too_large(self.name, called, f"over {limit:,}", "max_line_bytes", limit)
        text = (text.removeprefix(_BOM) if number == 1 else text).strip()
        if not text:
            return None
        try:
            decoded = decode(text)
        except NoJsonError:
            raise self._wrong(f"{called} is no valid JSON.") from None
        if not isinstance(decoded.value, dict):
            raise self._wrong(f"{called} is no JSON object.")
        return Line(number, decoded.value, decoded.as_it_came)

    def _content(self, path: str, called: str, *, keep: bool = False) -> Iterator[bytes]:
        """Yield what a member holds.

        Args:
            path: Of the member.
            called: How errors call it.
            keep: Whether it will be read again.
        """
        member = self._members[path]
        limit = self._limits.max_member_bytes
        if member.size > limit:
            raise MemberError.of(
                too_large(self.name, called, member.size, "max_member_bytes", limit)
            )
        return self._zip.content(member, called, keep=keep)

    def _find_root(self) -> str:
        """Return the folder that holds the metadata, else the lines, as a prefix of names."""
        names = [member.path for member in self._zip.all]
        for wanted in (METADATA, LINES):
            homes = [
                name.rpartition("/")[0]
                for name in names
                if name.rpartition("/")[2] in wanted
                and name.count("/") <= 1
                # Of what participants call their files, nothing is metadata.
                and not name.startswith(UPLOADS)
            ]
            if homes:
                return f"{home}/" if (home := min(homes, key=lambda home: home != "")) else ""
        return ""

    def _wrong(self, problem: str) -> DataCollectionError:
        return DataCollectionError(self.name, problem, ADVICE)


def _is_within(block: bytes | None, limit: int) -> TypeGuard[bytes]:
    """Whether no line of a block, if it is one, is longer than the limit."""
    return block is not None and (len(block) <= limit or max(map(len, block.split(b"\n"))) <= limit)


def _blocks(chunks: Iterable[bytes], limit: int) -> Iterator[bytes | None]:
    """Yield a text in blocks of whole lines, which end at line feeds and nowhere else.

    Of a line that is longer than the limit not much more than that is held, and None yielded.
    """
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        end = chunk.rfind(b"\n") + 1
        if end:
            begin = 0
            if size > limit:  # the end of one that is too long
                begin = chunk.index(b"\n") + 1
                parts = []
                yield None
            if block := b"".join([*parts, memoryview(chunk)[begin:end]]):
                yield block
            parts, size = [], 0
        size += len(chunk) - end
        if size <= limit:
            parts.append(chunk[end:])
        else:
            parts.clear()
    if size > limit:
        yield None
    elif block := b"".join(parts):
        yield block


def archive_ref(metadata: Metadata, file_name: str) -> DataCollectionRef | None:
    """Return which data collection an archive on disk is of.

    Its id comes from the metadata, else from the vendor's file name.
    """
    for key in ("id", "data_collection_id", f"{metadata.kind.noun}_id"):
        id_ = metadata.fields.get(key)
        if isinstance(id_, str) and _ID.fullmatch(id_):
            return DataCollectionRef(metadata.kind, id_)
    named = _VENDOR_NAME.fullmatch(file_name)
    return DataCollectionRef(metadata.kind, named["id"]) if named else None
