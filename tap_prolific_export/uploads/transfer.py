"""Copy uploaded files from an archive into a store, several at once."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

from tap_prolific_export.errors import (
    DataCollectionError,
    FilesError,
    MemberError,
    ReplacedError,
    StoreError,
    TapError,
)
from tap_prolific_export.http import RetryPolicy, retry
from tap_prolific_export.model import size_text
from tap_prolific_export.uploads.content_types import UNKNOWN, content_type_of
from tap_prolific_export.uploads.names import collision_key, store_keys
from tap_prolific_export.uploads.store import ensure_stored, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from typing_extensions import Self

    from tap_prolific_export.archive.export_archive import ExportArchive
    from tap_prolific_export.http import Sleep
    from tap_prolific_export.rows.tables import Row
    from tap_prolific_export.settings import Settings
    from tap_prolific_export.uploads.store import Store, Stored

logger = logging.getLogger("tap-prolific-export")

# How often a long transfer logs its progress.
LOG_EVERY_SECONDS = 30.0
# How long a run that ends waits for its threads.
JOIN_TIMEOUT_SECONDS = 1.0
_ADVICE = "Check files_uri, and run again."


@dataclass(frozen=True)
class Selection:
    """Which uploaded files are stored.

    Attributes:
        include: Content types, which contain a slash, and globs of names; empty: all files.
        max_bytes: Maximum size; None: no limit.
    """

    include: tuple[str, ...] = ()
    max_bytes: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> Selection:
        """Return the selection from the settings."""
        return cls(settings.files_include, settings.files_max_bytes)

    def takes(self, size: int, names: Collection[str], content_type: str | None = None) -> bool:
        """Whether a file of so many bytes is stored.

        If the content type is not known, the first known extension of its names decides.
        """
        if self.max_bytes is not None and size > self.max_bytes:
            return False
        basenames = [name.rpartition("/")[2].lower() for name in names]
        type_ = _type_of(names, content_type)
        return not self.include or any(
            any(fnmatchcase(one, item.lower()) for one in ([type_] if "/" in item else basenames))
            for item in self.include
        )

    def lacks_type(self, size: int, names: Collection[str], content_type: str | None) -> bool:
        """Whether a file is left out although it might be stored if its type were known."""
        return (
            any("/" in item for item in self.include)
            and (self.max_bytes is None or size <= self.max_bytes)
            and _type_of(names, content_type) in UNKNOWN
            and not self.takes(size, names, content_type)
        )


def _type_of(names: Iterable[str], content_type: str | None) -> str:
    """Return a file's content type, in lower case and without parameters; see `UNKNOWN`."""
    told = (content_type or "").partition(";")[0].strip().lower()
    if told in UNKNOWN:
        return next(filter(None, map(content_type_of, names)), told)
    return told


class _StoppedError(TapError):
    """The run is ending, so the transfer stops."""


@dataclass(frozen=True)
class Transfers:
    """Stores uploaded files.

    Attributes:
        store: The store to write to.
        selection: Which files to store.
        concurrency: Number of files to transfer at once.
        sleep: Waits between two attempts; None: wait until the run ends or the time is over.
        monotonic: Seconds on a clock that never jumps.
        log_every: Seconds between two log lines on the progress.
    """

    store: Store
    selection: Selection
    concurrency: int
    sleep: Sleep | None = None
    monotonic: Callable[[], float] = time.monotonic
    log_every: float = LOG_EVERY_SECONDS

    @classmethod
    def from_settings(cls, settings: Settings) -> Transfers | None:
        """Return transfers to `files_uri`; None if it is not set.

        Raises:
            ConfigError: The store cannot be written to.
        """
        if settings.files_uri is None:
            return None
        store = open_store(settings.files_uri)
        store.check()
        return cls(store, Selection.of(settings), settings.files_concurrency)

    def stored(
        self, rows: Iterable[Row], archive: ExportArchive, data_collection_id: str, what: str
    ) -> Iterator[Row]:
        """Yield each row of `files` once its file is stored, with `uri` and `sha256`.

        Memory use does not depend on the number or size of the files. `what` is the data
        collection, for logs and errors.

        Raises:
            FilesError: Some files cannot be stored; the rows of the others were yielded.
            DataCollectionError: The responses cannot be read.
            ReplacedError: The archive was replaced.
        """
        transfer = _Transfer(self, archive, data_collection_id, what)
        with _Pool(self.concurrency, transfer.store, self.store.abandon) as pool:
            for row in rows:
                if not transfer.selects(row):
                    yield row
                    continue
                while pool.is_full:
                    yield from transfer.finish(pool)
                if transfer.cannot_continue:
                    break
                pool.put(row)
            while pool.pending:
                yield from transfer.finish(pool)
        transfer.log_progress("stored")
        transfer.log_without_type()
        transfer.raise_failures()


class _Transfer:
    """The transfer of one archive's uploaded files, and its progress."""

    def __init__(self, config: Transfers, archive: ExportArchive, id_: str, what: str) -> None:
        self._config = config
        self._archive = archive
        self._id = id_
        self._what = what
        self._names = Counter(collision_key(path) for path in archive.uploads)
        takes = config.selection.takes
        sizes = [u.size for path, u in archive.uploads.items() if takes(u.size, [path])]
        self._files, self._size = len(sizes), sum(sizes)
        self._started_at = self._logged_at = config.monotonic()
        self._done = self._already_stored = self._bytes = self._without_type = 0
        self._lock = threading.Lock()
        self._failed: list[TapError] = []

    @property
    def cannot_continue(self) -> bool:
        """Whether an error occurred that would affect the next file, too."""
        return any(not _is_of_file(error) for error in self._failed)

    def selects(self, row: Row) -> bool:
        """Whether a row's file is to be stored."""
        size, names = self._archive.uploads[row["path"]].size, [row["path"], row["file_name"]]
        selection, type_ = self._config.selection, row["content_type"]
        self._without_type += selection.lacks_type(size, names, type_)
        return selection.takes(size, names, type_)

    def store(self, row: Row, stop: threading.Event) -> Stored:
        """Store a row's file; called in the threads."""
        path = row["path"]
        upload = self._archive.uploads[path]
        keys = store_keys(self._id, path, upload, collides=self._names[collision_key(path)] > 1)
        # Wake a waiting thread when the run ends.
        sleep: Callable[[float], Any] = self._config.sleep or stop.wait
        policy = RetryPolicy(sleep, self._what, "store an uploaded file", _ADVICE)
        content = partial(self._content, path, stop)

        def attempt() -> Stored:
            if stop.is_set():
                raise _StoppedError
            return ensure_stored(self._config.store, keys, upload, content)

        return retry(attempt, policy)

    def _content(self, path: str, stop: threading.Event) -> Iterator[bytes]:
        for chunk in self._archive.content(path):
            if stop.is_set():
                raise _StoppedError
            with self._lock:
                self._bytes += len(chunk)
            yield chunk

    def finish(self, pool: _Pool) -> Iterator[Row]:
        """Wait for a thread to finish a file, and yield its row if the file is stored."""
        while (done := pool.get(self._config.log_every)) is None:
            self.log_progress("storing")
        if self._config.monotonic() - self._logged_at >= self._config.log_every:
            self.log_progress("storing")
        row, result = done
        if isinstance(result, TapError):
            self._failed.append(result)
        elif isinstance(result, BaseException):
            raise result
        else:
            self._done += 1
            self._already_stored += result.was_there
            yield {**row, "uri": result.uri, "sha256": result.sha256}

    def log_progress(self, doing: str) -> None:
        """Log the progress."""
        self._logged_at = self._config.monotonic()
        seconds = max(self._logged_at - self._started_at, 0.001)
        logger.info(
            "%s: %s uploaded files: %d of %d (%d already stored), %s of %s, in %.0f s (%s/s).",
            self._what,
            doing,
            self._done,
            max(self._files, self._done),
            self._already_stored,
            size_text(self._bytes),
            size_text(max(self._size, self._bytes)),
            seconds,
            size_text(self._bytes / seconds),
        )

    def log_without_type(self) -> None:
        """Log how many files were left out because nothing tells their content type."""
        if self._without_type:
            logger.warning(
                "%s: %d uploaded files are not stored, as neither answers nor names tell their "
                "content type. Add globs of names to files_include to store them.",
                self._what,
                self._without_type,
            )

    def raise_failures(self) -> None:
        """Raise an error if any file failed."""
        for error in self._failed:
            if isinstance(error, ReplacedError):
                raise error
        if not self._failed:
            return
        # Report an error that affects all files rather than one of a single file.
        first = next((each for each in self._failed if not _is_of_file(each)), self._failed[0])
        untried = " The others were not tried." if self.cannot_continue else ""
        if isinstance(first, DataCollectionError):
            problem, advice = first.problem, first.advice
        else:
            problem, advice = f"Tried to store one; {first}", _ADVICE
        raise FilesError(
            self._what,
            f"{len(self._failed)} of its uploaded files could not be stored. {problem}{untried}",
            advice,
        )


class _Pool:
    """Threads that store files.

    They are daemon threads, so that a process can end while one waits for a server. If any are
    still running when the pool is left, `abandon` is called.
    """

    def __init__(
        self,
        size: int,
        store: Callable[[Row, threading.Event], Stored],
        abandon: Callable[[], None],
    ) -> None:
        self._stop = threading.Event()
        self.pending = 0
        self._size = size
        self._store = store
        self._abandon = abandon
        self._threads: list[threading.Thread] = []
        self._todo: queue.SimpleQueue[Row | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[Row, Stored | BaseException]] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the threads, and wait for them briefly."""
        self._stop.set()
        for _thread in self._threads:
            self._todo.put(None)
        end = time.monotonic() + JOIN_TIMEOUT_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            self._abandon()

    @property
    def is_full(self) -> bool:
        """Whether enough rows are queued to keep all threads busy."""
        return self.pending >= 2 * self._size

    def put(self, row: Row) -> None:
        """Queue a row; start another thread if needed."""
        self.pending += 1
        self._todo.put(row)
        if len(self._threads) < min(self._size, self.pending):
            thread = threading.Thread(target=self._work, daemon=True)
            self._threads.append(thread)
            thread.start()

    def get(self, timeout: float) -> tuple[Row, Stored | BaseException] | None:
        """Return a row and what became of its file; None if none is done within the timeout."""
        try:
            done = self._done.get(timeout=timeout)
        except queue.Empty:
            return None
        self.pending -= 1
        return done

    def _work(self) -> None:
        while (row := self._todo.get()) and not self._stop.is_set():
            result: Stored | BaseException
            try:
                result = self._store(row, self._stop)
            except BaseException as error:  # noqa: BLE001  # re-raised in the waiting thread
                result = error
            self._done.put((row, result))


def _is_of_file(error: TapError) -> bool:
    """Whether the error concerns only one file."""
    return isinstance(error, MemberError) or (isinstance(error, StoreError) and error.is_of_file)
