"""Read any range of an archive's bytes, from disk or over HTTP."""

from __future__ import annotations

import tempfile
import threading
from contextlib import contextmanager, nullcontext
from datetime import datetime, timezone
from typing import TYPE_CHECKING, BinaryIO, Protocol

from tap_prolific_export.errors import DataCollectionError
from tap_prolific_export.signals import deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import FileIO
    from pathlib import Path

    from typing_extensions import Self

CHUNK = 1 << 18
# In a smaller archive, one request fetches everything that is likely to be read: the extra bytes
# cost less than a second request.
SMALL = 4 << 20


class ByteSource(Protocol):
    """The bytes of an archive, on disk or remote.

    Attributes:
        size: Number of bytes.
        last_modified: When the archive was written, if known.
        etag: The host's ETag; None on disk.
    """

    size: int
    last_modified: datetime | None
    etag: str | None

    def read(self, begin: int, end: int, *, keep: bool = False) -> Iterator[bytes]:
        """Yield the bytes of a range, in chunks, as they arrive.

        Several threads may read at once, but not with `keep`.

        Args:
            begin: Offset of the first byte.
            end: Offset after the last byte; the archive's end if that comes first.
            keep: Cache the bytes, because the range will be read again.

        Raises:
            DataCollectionError: The bytes cannot be read.
            ReplacedError: The archive was replaced.
        """

    def prefetch(self, pieces: Iterable[tuple[int, int]]) -> None:
        """Fetch the ranges that are likely to be read, if that saves requests."""


class LocalSource:
    """The bytes of a file; see `ByteSource`."""

    def __init__(
        self, file: BinaryIO, size: int, last_modified: datetime | None, etag: str | None = None
    ) -> None:
        self.size = size
        self.last_modified = last_modified
        self.etag = etag
        self._file = file
        self._lock = threading.Lock()

    def read(self, begin: int, end: int, *, keep: bool = False) -> Iterator[bytes]:  # noqa: ARG002
        """Yield the bytes of a range."""
        while begin < end:
            with self._lock:
                self._file.seek(begin)
                chunk = self._file.read(min(CHUNK, end - begin))
            if not chunk:
                return
            begin += len(chunk)
            yield chunk

    def prefetch(self, pieces: Iterable[tuple[int, int]]) -> None:
        """Do nothing: the bytes are on disk."""


@contextmanager
def open_local(path: Path) -> Iterator[LocalSource]:
    """Open an archive on disk.

    Raises:
        DataCollectionError: The file cannot be read.
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
        yield LocalSource(file, status.st_size, modified)


class HttpSource:
    """The bytes of an archive behind a presigned URL; see `ByteSource`.

    Args:
        stream: Fetches the bytes from one offset to another.
        what: The data collection, for errors.
        size: Number of bytes.
        tail: The last bytes, already fetched.
        last_modified: When the archive was written.
        etag: The host's ETag.
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
        # In memory, by offset: the tail and, for a small archive, the prefetched range.
        self._buffers = [(self._tail_begin, tail)]
        self._has_prefetched = False
        self._cached: dict[tuple[int, int], _CachedRange] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for cached in self._cached.values():
            cached.close()

    def read(self, begin: int, end: int, *, keep: bool = False) -> Iterator[bytes]:
        """Yield the bytes of a range, in chunks, as they arrive."""
        end = min(end, self.size)
        if begin >= end:
            return
        for offset, buffer in self._buffers:
            if offset <= begin < min(end, offset + len(buffer)):
                yield buffer[begin - offset : end - offset]
                yield from self.read(offset + len(buffer), end)
                return
        if self.size < SMALL and not self._has_prefetched:
            self.prefetch([(0, self._tail_begin)])  # a long directory: avoid a third request
            yield from self.read(begin, end)
            return
        piece = begin, min(end, self._tail_begin)
        if keep:
            if piece not in self._cached:
                with writing(self._what):
                    self._cached[piece] = _CachedRange(self._stream, *piece, self._what)
            yield from self._cached[piece].read()
        else:
            yield from self._stream(*piece)
        yield from self.read(piece[1], end)

    def prefetch(self, pieces: Iterable[tuple[int, int]]) -> None:
        """Fetch one range of a small archive that covers all given ranges.

        Raises:
            DataCollectionError: The bytes cannot be fetched.
            ReplacedError: The archive was replaced.
        """
        missing = [(begin, end) for begin, end in pieces if begin < self._tail_begin]
        if self.size < SMALL and missing and not self._has_prefetched:
            begin = min(begin for begin, _ in missing)
            end = min(max(end for _, end in missing), self._tail_begin)
            self._buffers.append((begin, b"".join(self._stream(begin, end))))
        self._has_prefetched = True


class _CachedRange:
    """A range that is fetched once, into a temporary file, and read several times."""

    def __init__(
        self, stream: Callable[[int, int], Iterator[bytes]], begin: int, end: int, what: str
    ) -> None:
        self._stream = stream
        self._begin = begin
        self._end = end
        self._what = what
        self._file = temporary_file()
        self._size = 0
        self._remaining: Iterator[bytes] | None = None

    def close(self) -> None:
        self._remaining = None
        self._file.close()

    def read(self) -> Iterator[bytes]:
        """Yield the cached bytes, then the remaining ones as they arrive."""
        position = 0
        while chunk := self._chunk_at(position):
            position += len(chunk)
            yield chunk

    def _chunk_at(self, position: int) -> bytes:
        if position < self._size:
            with writing(self._what):
                self._file.seek(position)
                return self._file.read(min(CHUNK, self._size - position))
        if self._remaining is None:
            self._remaining = self._stream(self._begin + self._size, self._end)
        try:
            chunk = next(self._remaining, b"")
            with writing(self._what):
                self._file.seek(self._size)
                write_all(self._file, chunk)
        except Exception:
            self._remaining = None  # a retry resumes here
            raise
        self._size += len(chunk)
        return chunk


def temporary_file() -> FileIO:
    """Return a file without a name, so that even a killed process leaves nothing behind.

    It is unbuffered: a buffered file would repeat a failed write when it is closed.
    """
    # For a moment it may have a name: a signal, which the main thread handles, has to wait.
    is_main = threading.current_thread() is threading.main_thread()
    with deferred() if is_main else nullcontext():
        return tempfile.TemporaryFile(buffering=0)


def write_all(file: FileIO, data: bytes) -> None:
    """Write all of the data; a single write may be partial.

    Raises:
        OSError: The data cannot be written.
    """
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[file.write(remaining) :]


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn an error of a temporary file into one that tells the user what to do."""
    try:
        yield
    except OSError as error:
        problem = f"Cannot write its archive to a temporary file ({error.strerror})."
        advice = "Free some space, or set TMPDIR to a directory that has enough."
        raise DataCollectionError(what, problem, advice) from None
