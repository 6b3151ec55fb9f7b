"""Read an export's archive: its metadata, JSON Lines and uploaded files.

An archive comes from the network and holds files of strangers, so it is untrusted. Every defect
raises a `DataCollectionError` that names the member but never quotes its content.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from tap_prolific_export.archive.file_name import parse_file_name
from tap_prolific_export.archive.json_lines import BOM, lines_in, whole_lines
from tap_prolific_export.archive.member_names import portable_paths
from tap_prolific_export.archive.safe_json import InvalidJsonError, decode, decode_usual
from tap_prolific_export.archive.zip_reader import ADVICE, ZipReader, too_large
from tap_prolific_export.errors import DataCollectionError, MemberError
from tap_prolific_export.model import ID, DataCollectionRef, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    from tap_prolific_export.archive.byte_source import ByteSource
    from tap_prolific_export.archive.zip_reader import Member

    Json = dict[str, Any]
    # Returns what a line holds, given its object, cleaned so that every target can store it, and
    # the original object if anything in it was replaced.
    Reader = Callable[[Json, Json | None], Iterable["T"]]
    FastWay = Callable[[bytes], "Iterable[T] | None"]

T = TypeVar("T")
logger = logging.getLogger("tap-prolific-export")

METADATA = {"collection.json": Kind.COLLECTION, "batch.json": Kind.BATCH}
# A batch has its lines twice, by submission and by task. Rows come from the lines by submission, or
# from those by task if there are no others.
BY_TASK = "responses-by-task.jsonl"
LINES = ("responses.jsonl", "responses-by-submission.jsonl", BY_TASK)
UPLOADS = "files/"

_NUL = b"\\u0000"

# A compression bomb must not fill the store or run forever; no real upload is nearly as large.
MAX_MEMBER_BYTES = 64 << 30


@dataclass(frozen=True)
class Limits:
    """How much a hostile archive may make us read. Only tests change what is not a setting."""

    max_metadata_bytes: int = 64 << 20  # held in memory, as the directory; real ones have kilobytes
    max_line_bytes: int = 16 << 20
    max_member_bytes: int = MAX_MEMBER_BYTES
    skip_bad_lines: bool = False  # instead of failing the archive


@dataclass(frozen=True)
class Metadata:
    """The content of the metadata file.

    Attributes:
        kind: The kind of data collection.
        fields: The file's JSON object; empty if it cannot be used.
        problem: Why the file cannot be used; None if it can.
    """

    kind: Kind
    fields: dict[str, Any]
    problem: str | None = None


@dataclass(frozen=True)
class Skipped:
    """Skipped lines of a member: how many, and the number of the first."""

    name: str
    count: int
    first: int


class Part(Enum):
    """A part of an archive, besides its metadata, that a stream may read."""

    LINES = "the lines of the responses"
    LINES_BY_TASK = "the lines by task"
    UPLOADS = "the uploaded files"


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded file: size in bytes, checksum, modification time (read as UTC)."""

    size: int
    crc32: int
    modified_at: datetime | None


class ExportArchive:
    """One export's ZIP.

    Args:
        source: The archive's bytes.
        name: The archive's name in errors and logs.
        limits: How much of the archive may be read.

    Attributes:
        skipped: By member, the lines that the last complete reading skipped.
        has_lines: Whether the lines of the responses hold any; None until they were read.
        is_unanswered: Whether there are no responses yet; False until the metadata was read.
        left: How much of the lines being read is still to come, as a multiple of what came.

    Raises:
        DataCollectionError: It is not a ZIP, or has different members of one name.
        ReplacedError: The archive was replaced.
    """

    def __init__(self, source: ByteSource, name: str, limits: Limits = Limits()) -> None:
        self.name = name
        self.skipped: dict[str, Skipped] = {}
        self.left = 0.0
        self.has_lines: bool | None = None
        self.is_unanswered = False
        self._source = source
        self._limits = limits
        self._zip = ZipReader(source, name, limits.max_metadata_bytes)
        # The archive's own names are needed only to read the members.
        paths = portable_paths([member.path for member in self._zip.all])
        self._may_hold_answers = any(map(_may_hold_answers, paths))
        root = _root_of(paths)
        self._members: dict[str, Member] = {}
        repeated = 0
        for path_in_zip, member in zip(paths, self._zip.all, strict=True):
            if not path_in_zip.startswith(root) or path_in_zip.endswith("/"):
                continue
            path = path_in_zip.removeprefix(root)
            known = self._members.get(path)
            if known and (known.size, known.crc32) != (member.size, member.crc32):
                if path in METADATA or path in LINES:
                    raise self._error(f"It has several members named {path}.")
                repeated += 1
            self._members[path] = member
        if repeated:
            logger.warning(
                "%s: %d uploaded files have duplicate names; the last one of each name is used.",
                name,
                repeated,
            )
        self.uploads = {
            path: Upload(member.size, member.crc32, member.modified_at)
            for path, member in self._members.items()
            if path.startswith(UPLOADS)
        }

    def prefetch(
        self, parts: Collection[Part], wants: Callable[[int, list[str]], bool] = lambda *_: False
    ) -> None:
        """Fetch what is likely to be read, if that saves requests.

        Args:
            parts: What will be read, besides the metadata.
            wants: Whether an uploaded file will be stored, by its size and names.

        Raises:
            DataCollectionError: The bytes cannot be fetched.
            ReplacedError: The archive was replaced.
        """
        paths: list[str] = [*METADATA]
        if Part.LINES in parts and self.lines_name:
            paths.append(self.lines_name)
        if Part.LINES_BY_TASK in parts:
            paths.append(BY_TASK)
        if Part.UPLOADS in parts:
            paths += [path for path, upload in self.uploads.items() if wants(upload.size, [path])]
        known = (self._members[path] for path in paths if path in self._members)
        self._source.prefetch(self._zip.span(member) for member in known)

    def metadata(self) -> Metadata:
        """Return the kind of data collection and the content of its metadata file.

        Raises:
            DataCollectionError: It cannot be read, is too large, or nothing shows the kind.
            ReplacedError: The archive was replaced.
        """
        for name, kind in METADATA.items():
            if name not in self._members:
                continue
            limit = self._limits.max_metadata_bytes
            if (size := self._members[name].size) > limit:
                raise too_large(self.name, name, size, limit)
            text = b"".join(self._content(name, name)).removeprefix(BOM)
            try:
                value, _ = decode(text)
            except InvalidJsonError:
                return Metadata(kind, {}, f"{name} is no valid JSON.")
            if not isinstance(value, dict):
                return Metadata(kind, {}, f"{name} holds no JSON object.")
            if value and not self._may_hold_answers:
                self.is_unanswered, self.has_lines = True, False
            return Metadata(kind, value)
        if self.lines_name is None:
            raise self._error(f"It has neither {' nor '.join([*METADATA, *LINES])}.")
        kind = Kind.COLLECTION if self.lines_name == LINES[0] else Kind.BATCH
        return Metadata(kind, {}, f"It has neither {' nor '.join(METADATA)}.")

    @property
    def lines_name(self) -> str | None:
        """The member that `lines` reads."""
        return next((name for name in LINES if name in self._members), None)

    def lines(self, read: Reader[T], decode: FastWay[T] | None = None) -> Iterator[list[T]]:
        """Yield what the lines of the responses hold, in blocks; blank lines are passed over.

        Args:
            read: Returns what a decoded line holds; see `Reader`.
            decode: A faster way to the same from the text of a line without U+0000; it returns None
                for a line that needs a closer look.

        Raises:
            DataCollectionError: The member is missing, or a line is not a JSON object.
            ReplacedError: The archive was replaced.
        """
        if self.is_unanswered:
            return
        if self.lines_name is None:
            raise self._error(f"It has neither {' nor '.join(LINES)}.")
        self.has_lines = False
        for found in self._lines(self.lines_name, read, decode):
            self.has_lines = True
            yield found

    def lines_by_task(self, read: Reader[T]) -> Iterator[list[T]]:
        """Yield what the lines by task hold; none if there is no such member or `lines` reads it.

        Args:
            read: Returns what a decoded line holds; see `Reader`.
        """
        if BY_TASK in self._members and self.lines_name != BY_TASK:
            yield from self._lines(BY_TASK, read)

    def content(self, path: str) -> Iterator[bytes]:
        """Yield the content of an uploaded file, in chunks; several threads may do so at once.

        Args:
            path: One of `uploads`.

        Raises:
            MemberError: It is damaged. The error does not name it: participants chose the name.
            DataCollectionError: It cannot be fetched.
            ReplacedError: The archive was replaced.
        """
        return self._content(path, "an uploaded file")

    def digest(self) -> str:
        """Return 16 hex digits that identify this archive's directory."""
        digest = hashlib.sha256()
        for member in self._zip.all:
            entry = (member.path, member.size, member.crc32, member.dated)
            digest.update(repr(entry).encode())
        return digest.hexdigest()[:16]

    def newest_member(self) -> datetime | None:
        """Return the newest date of a member, read as UTC; None if no member has a date."""
        dates = (member.modified_at for member in self._zip.all)
        return max((date for date in dates if date), default=None)

    def _lines(
        self, name: str, read: Reader[T], decode: FastWay[T] | None = None
    ) -> Iterator[list[T]]:
        """Read the lines of a member, without bad ones if `skip_bad_lines` is set."""
        limit = self._limits.max_line_bytes
        bad = first = 0
        number = size = 0  # of the lines before
        for block in whole_lines(self._content(name, name, keep=True), limit):
            size += len(block or b"")
            self.left = max(0, self._members[name].size - size) / max(1, size)
            has_nul = block is not None and block.rfind(_NUL) >= 0
            for count, texts in lines_in(block, is_first=not number):
                found = None if has_nul else _decode_usual(texts, limit, read, decode)
                for after, text in enumerate(texts, 1) if found is None else ():
                    found = found or []
                    try:
                        if line := self._line(name, number + after, text):
                            found += read(*line)
                    except DataCollectionError:
                        if not self._limits.skip_bad_lines:
                            if found:  # what came before it
                                yield found
                            raise
                        bad += 1
                        first = first or number + after
                number += count
                if found:
                    yield found
        if bad:
            self.skipped[name] = Skipped(name, bad, first)

    def _line(self, name: str, number: int, text: bytes | None) -> tuple[Json, Json | None] | None:
        label = f"{name}, line {number},"
        limit = self._limits.max_line_bytes
        if text is None or len(text) > limit:
            raise too_large(self.name, label, f"over {limit:,}", limit, "max_line_bytes")
        text = text.strip()
        if not text:
            return None
        try:
            value, as_it_came = decode(text)
        except InvalidJsonError:
            raise self._error(f"{label} is no valid JSON.") from None
        if not isinstance(value, dict):
            raise self._error(f"{label} is no JSON object.")
        return value, as_it_came

    def _content(self, path: str, label: str, *, keep: bool = False) -> Iterator[bytes]:
        member = self._members[path]
        limit = self._limits.max_member_bytes
        if member.size > limit:
            raise MemberError.of(too_large(self.name, label, member.size, limit))
        return self._zip.content(member, label, keep=keep)

    def _error(self, problem: str) -> DataCollectionError:
        return DataCollectionError(self.name, problem, ADVICE)


def _root_of(paths: Sequence[str]) -> str:
    """Return the folder that holds the metadata, else the lines, as a prefix of paths."""
    for wanted in (METADATA, LINES):
        folders = [
            path.rpartition("/")[0]
            for path in paths
            if path.rpartition("/")[2] in wanted
            and path.count("/") <= 1
            # Participants choose the names of uploaded files: ignore those.
            and not path.startswith(UPLOADS)
        ]
        if folders:
            return "" if "" in folders else f"{folders[0]}/"
    return ""


def _may_hold_answers(path: str) -> bool:
    """Whether a file may be an upload or hold lines, wherever it is and whatever its name is."""
    folder, _, name = path.lower().rpartition("/")
    is_upload = bool(name) and UPLOADS in f"{folder}/"
    return is_upload or name.startswith("responses") or name.endswith(("jsonl", "ndjson"))


def _decode_usual(
    texts: Sequence[bytes | None],
    limit: int,
    read: Reader[T],
    decode: FastWay[T] | None,
) -> list[T] | None:
    """Return what lines hold; None if any of them is too long, or needs a closer look."""
    every: list[T] = []
    try:
        for text in texts:
            if text is None or len(text) > limit:
                return None
            found = decode(text) if decode else None
            every += read(decode_usual(text), None) if found is None else found
    except InvalidJsonError:
        return None
    return every


def archive_ref(metadata: Metadata, file_name: str) -> DataCollectionRef | None:
    """Return the data collection that an archive on disk belongs to; None if unknown.

    Its id comes from the metadata, else from the file name that Prolific's client chose.
    """
    for key in ("id", "data_collection_id", f"{metadata.kind.noun}_id"):
        id_ = metadata.fields.get(key)
        if isinstance(id_, str) and ID.fullmatch(id_):
            return DataCollectionRef(metadata.kind, id_)
    named = parse_file_name(file_name)
    return DataCollectionRef(metadata.kind, named.id) if named else None
