"""An archive's bytes, piece by piece, whether it lies on disk or behind a URL."""

from __future__ import annotations

import tempfile
import threading
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, BinaryIO, Protocol

from tap_prolific_export.errors import DataCollectionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import FileIO
    from pathlib import Path

    from typing_extensions import Self

CHUNK = 1 << 18
# Of an archive below this size one request fetches all that is expected to be read: that costs less
# than a second one.
SMALL = 4 << 20


class Bytes(Protocol):
    """An archive's bytes, wherever they lie.

    Attributes:
        size: How many there are.
        last_modified: When they were written, as far as is known.
        etag: What their host calls them; None on disk.
    """

    size: int
    last_modified: datetime | None
    etag: str | None

    def read(self, begin: int, end: int, *, keep: bool = False) -> Iterator[bytes]:
        """Yield the bytes from one offset to another, in chunks, as they come.

        Several threads may read at once, but not with `keep`.

        Args:
            begin: The first one's offset.
            end: The offset behind the last one; what lies behind the archive's end is left out.
            keep: Whether they will be read again: what has come is then not fetched again.

        Raises:
            DataCollectionError: They cannot be had.
            ReplacedError: The archive has become another one.
        """

    def expect(self, pieces: Iterable[tuple[int, int]]) -> None:
        """Be told what is likely to be read: fetch it at once where that saves requests."""


class LocalBytes:
    """The bytes of a file; see `Bytes`."""

    def __init__(
        self, file: BinaryIO, size: int, last_modified: datetime | None, etag: str | None = None
    ) -> None:
        self.size = size
        self.last_modified = last_modified
        self.etag = etag
        self._file = file
        self._lock = threading.Lock()

    def read(self, begin: int, end: int, *, keep: bool = False) -> Iterator[bytes]:  # noqa: ARG002
        """Yield the bytes from one offset to another."""
        while begin < end:
            with self._lock:
                self._file.seek(begin)
                chunk = self._file.read(min(CHUNK, end - begin))
            if not chunk:
                return
            begin += len(chunk)
            yield chunk

    def expect(self, pieces: Iterable[tuple[int, int]]) -> None:
        """Do nothing: they are here."""


@contextmanager
def open_local(path: Path) -> Iterator[LocalBytes]:
    """Open an archive on disk.

    Raises:
        DataCollectionError: It cannot be read.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataCollectionError(
            f"archive {path}", f"Cannot be read ({error.strerror}).", "Check archive_paths."
        ) from None
    with file:
        status = path.stat()
        modified = datetime.fromtimestamp(status.st_mtime, timezone.utc)
        yield LocalBytes(file, status.st_size, modified)


class RemoteBytes:
    """The bytes of an archive behind a presigned URL; see `Bytes`.

    Args:
        stream: Fetches those from one offset to another.
        what: The data collection, for errors.
        size: How many there are.
        tail: The last ones.
        last_modified: When they were written.
        etag: What their host calls them.
    """

    def __init__(
        self,
        stream: Callable[[int, int], Iterator[bytes]],
        what: str,
        *,
        size: int,
        tail: bytes,
        last_modified: datetime | None,
        etag: str | None,
    ) -> None:
        self.size = size
        self.last_modified = last_modified
        self.etag = etag
        self._what = what
        self._stream = stream
        self._tail_begin = size - len(tail)
        # In memory: the tail, and of a small archive what was expected.
        self._held = [(self._tail_begin, tail)]
        self._is_told = False
        self._kept: dict[tuple[int, int], _Kept] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for kept in self._kept.values():
            kept.close()

    def read(self, begin: int, end: int, *, keep: bool = False) -> Iterator[bytes]:
        """Yield the bytes from one offset to another, in chunks, as they come."""
        end = min(end, self.size)
        if begin >= end:
            return
        for offset, held in self._held:
            if offset <= begin < min(end, offset + len(held)):
                yield held[begin - offset : end - offset]
                yield from self.read(offset + len(held), end)
                return
        if self.size < SMALL and not self._is_told:
            self.expect([(0, self._tail_begin)])  # a directory so long would cost a third request
            yield from self.read(begin, end)
            return
        fetched = min(end, self._tail_begin)
        if keep and begin < fetched:
            kept = self._kept.get((begin, fetched))
            if kept is None:
                with writing(self._what):
                    kept = _Kept(self._stream, begin, fetched, self._what)
                self._kept[begin, fetched] = kept
            yield from kept.read()
        elif begin < fetched:
            yield from self._stream(begin, fetched)
        if begin < end and fetched < end:
            yield from self.read(max(begin, fetched), end)

    def expect(self, pieces: Iterable[tuple[int, int]]) -> None:
        """Fetch what is likely to be read of a small archive, in one piece with what lies between.

        Raises:
            DataCollectionError: It cannot be had.
            ReplacedError: The archive has become another one.
        """
        ahead = [(begin, end) for begin, end in pieces if begin < self._tail_begin]
        if self.size < SMALL and ahead and not self._is_told:
            begin = min(begin for begin, _ in ahead)
            end = min(max(end for _, end in ahead), self._tail_begin)
            self._held.append((begin, b"".join(self._stream(begin, end))))
        self._is_told = True


class _Kept:
    """A piece of an archive that is read several times, and fetched once.

    Args:
        stream: Fetches it, or a part of it.
        begin: Its first byte's offset.
        end: The offset behind its last one.
        what: The data collection, for errors.
    """

    def __init__(
        self, stream: Callable[[int, int], Iterator[bytes]], begin: int, end: int, what: str
    ) -> None:
        self._stream = stream
        self._begin = begin
        self._end = end
        self._what = what
        self._file = temporary_file()
        self._size = 0
        self._rest: Iterator[bytes] | None = None

    def close(self) -> None:
        """Remove what was kept."""
        self._rest = None
        self._file.close()

    def read(self) -> Iterator[bytes]:
        """Yield what has come so far, and then the rest as it comes."""
        at = 0
        while chunk := self._after(at):
            at += len(chunk)
            yield chunk

    def _after(self, at: int) -> bytes:
        if at < self._size:
            with writing(self._what):
                self._file.seek(at)
                return self._file.read(min(CHUNK, self._size - at))
        if self._rest is None:
            self._rest = self._stream(self._begin + self._size, self._end)
        try:
            chunk = next(self._rest, b"")
            with writing(self._what):
                self._file.seek(self._size)
                write_all(self._file, chunk)
        except Exception:
            self._rest = None  # whoever tries again goes on from here
            raise
        self._size += len(chunk)
        return chunk


def temporary_file() -> FileIO:
    """Return a file without a name: not even a killed process leaves it.

    Not buffered: what could not be written would be tried again when it is closed.
    """
    return tempfile.TemporaryFile(buffering=0)


def write_all(file: FileIO, data: bytes) -> None:
    """Write all of the data, in as many steps as the system takes.

    Raises:
        OSError: It cannot be written.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Say what is wrong with a temporary file."""
    try:
        yield
    except OSError as error:
        problem = f"Cannot write its archive to a temporary file ({error.strerror})."
        advice = "Free some space, or name a directory that has it in TMPDIR."
        raise DataCollectionError(what, problem, advice) from None
