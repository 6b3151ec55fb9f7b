"""Uploaded files on their way from an archive into a store, several at a time."""

from __future__ import annotations

import logging
import mimetypes
import queue
import threading
import time
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

from tap_prolific_export.errors import (
    DataCollectionError,
    FilesError,
    MemberError,
    ReplacedError,
    StoreError,
    TapError,
)
from tap_prolific_export.http import RetryPolicy, retry
from tap_prolific_export.uploads.names import collision_key, store_keys
from tap_prolific_export.uploads.store import keep, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Self

    from tap_prolific_export.archive.export_archive import Archive
    from tap_prolific_export.http import Sleep
    from tap_prolific_export.rows.tables import Row
    from tap_prolific_export.settings import Settings
    from tap_prolific_export.uploads.store import Store, Stored

logger = logging.getLogger("tap-prolific-export")

# A long transfer says that it is alive this often.
LOG_EVERY_SECONDS = 30.0
# So long a run that ends waits for its threads.
LEAVE_SECONDS = 1.0
_ADVICE = "Check files_uri, and run again."


@dataclass(frozen=True)
class Selection:
    """Which uploaded files are stored.

    Attributes:
        include: Content types, which have a slash, and globs of names; none: all are.
        max_bytes: The largest; None: of any size.
    """

    include: tuple[str, ...] = ()
    max_bytes: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> Selection:
        """Return what the settings select."""
        return cls(settings.files_include, settings.files_max_bytes)

    def takes(self, size: int, names: Iterable[str], content_type: str | None = None) -> bool:
        """Whether a file is stored.

        Args:
            size: In bytes.
            names: What it is called; the first one's ending tells its type where nobody says it.
            content_type: Its type.
        """
        if self.max_bytes is not None and size > self.max_bytes:
            return False
        called = [name.rpartition("/")[2].lower() for name in names]
        type_ = (content_type or mimetypes.guess_type(called[0])[0] or "").lower()
        type_ = type_.partition(";")[0].strip()
        return not self.include or any(
            any(fnmatchcase(one, wanted.lower()) for one in ([type_] if "/" in wanted else called))
            for wanted in self.include
        )


class _StoppedError(TapError):
    """Nobody waits for it any more."""


class Transfers:
    """Stores uploaded files.

    Args:
        store: Where to.
        selection: Which of them.
        concurrency: How many at once.
        sleep: Waits between two tries, if not the real time is to be waited.
        monotonic: Seconds on a clock that never jumps.
        log_every: Seconds between two lines on how far it has come.
    """

    def __init__(
        self,
        store: Store,
        selection: Selection,
        *,
        concurrency: int,
        sleep: Sleep | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        log_every: float = LOG_EVERY_SECONDS,
    ) -> None:
        self.store = store
        self.selection = selection
        self.concurrency = concurrency
        self.sleep = sleep
        self.monotonic = monotonic
        self.log_every = log_every

    @classmethod
    def from_settings(cls, settings: Settings) -> Transfers | None:
        """Return transfers to where the settings say; None where they do not.

        Raises:
            ConfigError: Nothing can be stored there.
        """
        if settings.files_uri is None:
            return None
        store = open_store(settings.files_uri)
        store.check()
        return cls(store, Selection.of(settings), concurrency=settings.files_concurrency)

    def stored(
        self,
        rows: Iterable[Row],
        archive: Archive,
        data_collection_id: str,
        what: str,
    ) -> Iterator[Row]:
        """Yield rows of `files`, each once its file is stored, with `uri` and `sha256`.

        Memory does not grow with the number or the size of the files.

        Args:
            rows: As `records.file_rows` makes them.
            archive: What holds the files.
            data_collection_id: Of which data collection they are.
            what: The same, for logs and errors.

        Raises:
            FilesError: Some cannot be stored; the rows of the others have been yielded.
            DataCollectionError: The responses cannot be read.
            ReplacedError: The archive has become another one.
        """
        transfer = _Transfer(self, archive, data_collection_id, what)
        with _Pool(self.concurrency, self.store.abandon) as pool:
            for row in rows:
                if not transfer.takes(row):
                    yield row
                    continue
                while pool.is_full:
                    yield from transfer.finish(pool)
                if transfer.is_hopeless:
                    break
                pool.put(transfer.job(row))
            while pool.pending:
                yield from transfer.finish(pool)
        transfer.say("stored")
        transfer.raise_failures()


class _Job:
    """A file that is to be stored, and what has become of it.

    Args:
        row: Its row, as yet without where it is.
        store: Stores it.
    """

    def __init__(self, row: Row, store: Callable[[threading.Event], Stored]) -> None:
        self.row = row
        self.stored: Stored | None = None
        self.error: BaseException | None = None
        self._store = store

    def work(self, stop: threading.Event) -> None:
        """Store the file; what is raised is kept for whoever waits for it."""
        try:
            self.stored = self._store(stop)
        except BaseException as error:  # noqa: BLE001  # raised again in the thread that waits
            self.error = error


class _Transfer:
    """The uploaded files of one archive, and how far they have come."""

    def __init__(self, by: Transfers, archive: Archive, data_collection_id: str, what: str) -> None:
        self._by = by
        self._archive = archive
        self._id = data_collection_id
        self._what = what
        self._names = Counter(collision_key(path) for path in archive.uploads)
        takes = by.selection.takes
        wanted = [u.size for path, u in archive.uploads.items() if takes(u.size, [path])]
        self._files, self._size = len(wanted), sum(wanted)
        self._began = self._said = by.monotonic()
        self._done = self._were_there = self._bytes = 0
        self._lock = threading.Lock()
        self._failed: list[TapError] = []

    @property
    def is_hopeless(self) -> bool:
        """Whether something has failed that would fail for the next file, too."""
        return any(not _is_of_file(error) for error in self._failed)

    def takes(self, row: Row) -> bool:
        """Whether a row's file is to be stored."""
        size = self._archive.uploads[row["path"]].size
        return self._by.selection.takes(size, [row["path"], row["file_name"]], row["content_type"])

    def job(self, row: Row) -> _Job:
        """Return what stores a row's file."""
        path = row["path"]
        upload = self._archive.uploads[path]
        keys = store_keys(self._id, path, upload, collides=self._names[collision_key(path)] > 1)

        def store(stop: threading.Event) -> Stored:
            # Who waits is woken when nobody waits for him any more.
            sleep = self._by.sleep or partial(_wait, stop)
            policy = RetryPolicy(sleep, self._what, "store an uploaded file", _ADVICE)
            content = partial(self._content, path, stop)

            def attempt() -> Stored:
                if stop.is_set():
                    raise _StoppedError
                return keep(self._by.store, keys, upload, content)

            return retry(attempt, policy)

        return _Job(row, store)

    def _content(self, path: str, stop: threading.Event) -> Iterator[bytes]:
        for chunk in self._archive.content(path):
            if stop.is_set():
                raise _StoppedError
            with self._lock:
                self._bytes += len(chunk)
            yield chunk

    def finish(self, pool: _Pool) -> Iterator[Row]:
        """Wait for a file, and yield its row if it has been stored."""
        while (job := pool.get(self._by.log_every)) is None:
            self.say("storing")
        if self._by.monotonic() - self._said >= self._by.log_every:
            self.say("storing")
        if isinstance(job.error, TapError):
            self._failed.append(job.error)
        elif job.error:
            raise job.error
        elif job.stored:
            self._done += 1
            self._were_there += job.stored.was_there
            yield {**job.row, "uri": job.stored.uri, "sha256": job.stored.sha256}

    def say(self, doing: str) -> None:
        """Log how far it has come."""
        self._said = self._by.monotonic()
        seconds = max(self._said - self._began, 0.001)
        logger.info(
            "%s: %s uploaded files: %d of %d (%d were there), %s of %s, in %.0f s (%s/s).",
            self._what,
            doing,
            self._done,
            max(self._files, self._done),
            self._were_there,
            _size(self._bytes),
            _size(max(self._size, self._bytes)),
            seconds,
            _size(self._bytes / seconds),
        )

    def raise_failures(self) -> None:
        """End a transfer in which something failed."""
        for error in self._failed:
            if isinstance(error, ReplacedError):
                raise error
        if not self._failed:
            return
        # What keeps the others from being stored is what has to be seen to.
        first = next((each for each in self._failed if not _is_of_file(each)), self._failed[0])
        untried = " The others were not tried." if self.is_hopeless else ""
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
    """Threads that work on jobs.

    They are daemons: a process that is told to end does not wait for one that waits for a server.

    Args:
        size: How many.
        abandon: Called when they are left at work.
    """

    def __init__(self, size: int, abandon: Callable[[], None]) -> None:
        self._stop = threading.Event()
        self.pending = 0
        self._size = size
        self._abandon = abandon
        self._threads: list[threading.Thread] = []
        self._todo: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[_Job] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads, and wait for them a moment."""
        self._stop.set()
        for _thread in self._threads:
            self._todo.put(None)
        end = time.monotonic() + LEAVE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            self._abandon()

    @property
    def is_full(self) -> bool:
        """Whether there are enough jobs to go on with."""
        return self.pending >= 2 * self._size

    def put(self, job: _Job) -> None:
        """Have a job done."""
        self.pending += 1
        self._todo.put(job)
        if len(self._threads) < min(self._size, self.pending):
            thread = threading.Thread(target=self._work, daemon=True)
            self._threads.append(thread)
            thread.start()

    def get(self, timeout: float) -> _Job | None:
        """Return a job that is done; None if for so long none was."""
        try:
            job = self._done.get(timeout=timeout)
        except queue.Empty:
            return None
        self.pending -= 1
        return job

    def _work(self) -> None:
        while (job := self._todo.get()) and not self._stop.is_set():
            job.work(self._stop)
            self._done.put(job)


def _wait(stop: threading.Event, seconds: float) -> None:
    stop.wait(seconds)


def _is_of_file(error: TapError) -> bool:
    """Whether what has failed is one file's own affair."""
    return isinstance(error, MemberError) or (isinstance(error, StoreError) and error.is_of_file)


def _size(count: float) -> str:
    """Return a number of bytes as people say it."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004
            return f"{count:.{0 if unit == 'B' else 1}f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
