"""The export's ZIP: which members it has, its metadata, its JSON Lines.

An archive comes from a network and holds what strangers uploaded: whatever is wrong with it ends
as a `DataCollectionError` that names the member, never its content.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from tap_prolific_export.api import DataCollectionRef, Kind
from tap_prolific_export.errors import DataCollectionError

if TYPE_CHECKING:
    from collections.abc import Iterator

METADATA = {"collection.json": Kind.COLLECTION, "batch.json": Kind.BATCH}
# The lines of a batch come twice, by submission and by task: the former are the rows, unless
# only the latter are there.
BY_TASK = "responses-by-task.jsonl"
LINES = ("responses.jsonl", "responses-by-submission.jsonl", BY_TASK)
UPLOADS = "files/"

# The vendor's client names a download <id>-export-<time>.zip.
_VENDOR_NAME = re.compile(r"(?P<id>[A-Za-z0-9_-]+)-export-[^/]*\.zip", re.IGNORECASE)
_BUFFER = 1 << 20
# What zipfile lets out for a damaged archive; an empty name is an IndexError before Python 3.12,
# a directory that lies before the file's begin a ValueError.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    IndexError,
    ValueError,
)
_NO_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_BOM = b"\xef\xbb\xbf"


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


class Archive:
    """One export's ZIP.

    Args:
        file: The ZIP, open for reading; seekable.
        name: How errors and logs name it.

    Raises:
        DataCollectionError: It is no ZIP.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        with self._reading("the archive"):
            self._zip = zipfile.ZipFile(file)
            root = self._find_root()
            self._members = {
                info.filename.removeprefix(root): info
                for info in self._zip.infolist()
                if info.filename.startswith(root) and not info.is_dir()
            }
        self.uploads = {
            path: Upload(info.file_size, info.CRC, _member_date(info))
            for path, info in self._members.items()
            if path.startswith(UPLOADS)
        }

    def metadata(self) -> tuple[Kind, dict[str, Any]]:
        """Return the kind of data collection and its metadata file.

        Raises:
            DataCollectionError: There is none, or it is no JSON object.
        """
        for name, kind in METADATA.items():
            if name in self._members:
                with self._reading(name):
                    text = self._zip.read(self._members[name]).removeprefix(_BOM)
                try:
                    value = msgspec.json.decode(text)
                except _NO_JSON:
                    raise self._wrong(f"{name} is no valid JSON.") from None
                if not isinstance(value, dict):
                    raise self._wrong(f"{name} holds no JSON object.")
                return kind, value
        raise self._wrong(f"It has neither {' nor '.join(METADATA)}.")

    def lines(self) -> Iterator[Line]:
        """Yield the lines of the responses, decoded, blank ones left out.

        Raises:
            DataCollectionError: The member is missing, or a line is no JSON object.
        """
        name = next((name for name in LINES if name in self._members), None)
        if name is None:
            raise self._wrong(f"It has neither {' nor '.join(LINES)}.")
        yield from self._lines(name)

    def lines_by_task(self) -> Iterator[Line]:
        """Yield the lines of the file by task; none where there is none, or `lines` is it."""
        if BY_TASK in self._members and any(name in self._members for name in LINES[:-1]):
            yield from self._lines(BY_TASK)

    def _lines(self, name: str) -> Iterator[Line]:
        with self._reading(name), self._zip.open(self._members[name]) as member:
            # Lines come 2.5 times faster from the buffer than from the member itself.
            for number, line in enumerate(io.BufferedReader(member, _BUFFER), 1):  # type: ignore[type-var]
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

    def digest(self) -> str:
        """Return 16 hex digits that tell this archive's directory from any other's."""
        digest = hashlib.sha256()
        for info in self._zip.infolist():
            entry = (info.filename, info.file_size, info.CRC, info.date_time)
            digest.update(repr(entry).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:16]

    def newest_member(self) -> datetime | None:
        """Return the newest date of a member, read as UTC; None if none has one."""
        dates = [_member_date(info) for info in self._zip.infolist()]
        return max((date for date in dates if date), default=None)

    def _find_root(self) -> str:
        """Return the folder that holds the metadata, else the lines, as a prefix of names."""
        for wanted in (METADATA, LINES):
            homes = [
                name.rpartition("/")[0]
                for name in self._zip.namelist()
                if name.rpartition("/")[2] in wanted and name.count("/") <= 1
            ]
            if homes:
                return f"{home}/" if (home := min(homes, key=lambda home: home != "")) else ""
        return ""

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """Turn what the ZIP's readers raise into an error that names the member."""
        try:
            yield
        except NotImplementedError as error:  # a RuntimeError, too
            raise self._damaged(name, error) from None
        except RuntimeError:  # what zipfile raises for an encrypted member
            raise self._wrong(f"{name} is encrypted.") from None
        except _DAMAGED as error:
            raise self._damaged(name, error) from None

    def _damaged(self, name: str, error: Exception) -> DataCollectionError:
        return self._wrong(f"{name} is damaged or no ZIP ({type(error).__name__}).")

    def _wrong(self, problem: str) -> DataCollectionError:
        return DataCollectionError(
            self.name, problem, "Export it anew; if that does not help, report this."
        )


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
