"""Uploaded files on their way into a store: which, how many at once, and what goes wrong."""

from __future__ import annotations

import errno
import io
import logging
import os
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tap_prolific_export.archive.byte_source import LocalSource
from tap_prolific_export.archive.export_archive import UPLOADS, ExportArchive
from tap_prolific_export.errors import (
    DataCollectionError,
    FatalError,
    FilesError,
    ReplacedError,
    TapError,
)
from tap_prolific_export.http import MAX_TRIES
from tap_prolific_export.rows.files import FileFinder
from tap_prolific_export.rows.tables import ExportFacts, Row
from tap_prolific_export.uploads import transfer as transfers
from tap_prolific_export.uploads.store import DirectoryStore
from tap_prolific_export.uploads.transfer import Selection, Transfers
from tests.support.memory_archives import memory_source
from tests.support.stores import SAID, posix, sha256, tree, unprivileged
from tests.support.zips import pack

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

    from tap_prolific_export.archive.export_archive import Upload

ID = "c1"
WHAT = "collection c1"
LIMIT = 30  # seconds, for the day that something hangs


@pytest.mark.parametrize(
    ("include", "names", "type_", "is_taken"),
    [
        ([], ["x.png"], None, True),
        (["image/*"], ["x.png"], None, True),
        (["image/png"], ["x.PNG"], None, True),
        (["IMAGE/*"], ["x.png"], None, True),
        (["image/*"], ["x.mp4"], None, False),
        (["image/*"], ["x"], None, False),
        (["*/*"], ["x"], None, False),
        (["image/jpeg"], ["x.png"], "image/jpeg", True),
        (["image/jpeg"], ["x.png"], "Image/JPEG; charset=x", True),
        (["image/*"], ["x.png"], "image/jpeg ;q=1", True),
        (["image/*"], ["x.png"], "video/mp4", False),
        (["image/*"], ["x.png"], "", True),
        (["image/?p*g"], ["x"], "image/jpeg", True),
        (["image/*"], ["image/x"], None, False),
        (["image/*"], ["x.heic"], "application/octet-stream", True),
        (["image/*"], ["x.HEIC"], "", True),
        (["image/*"], ["x"], "application/octet-stream", False),
        (["application/*"], ["x"], "application/octet-stream", True),
        (["image/*"], ["files/0001", "photo.webp"], None, True),
        (["image/*"], ["files/s1_.webp"], None, True),
        (["image/*"], ["files/.webp"], None, False),
        (["image/*"], ["files/x.webp/y"], None, False),
        (["*.pdf"], ["files/s1_x.pdf"], None, True),
        (["*.PDF"], ["files/s1_x.pdf"], "text/plain", True),
        (["*.pdf"], ["files/s1_x.Pdf"], None, True),
        (["*.pdf"], ["files/s1_x.pdf.exe"], None, False),
        (["*.pdf"], ["files/x.pdf/y"], None, False),
        (["s1_*"], ["files/s1_x"], None, True),
        (["scan*"], ["files/0001", "Scan.pdf"], None, True),
        (["0001"], ["files/0001", "Scan.pdf"], None, True),
        (["x"], ["files/0001", "Scan.pdf"], None, False),
        (["[ab].*"], ["files/b.x"], None, True),
        (["video/*", "*.pdf", "image/png"], ["x.png"], None, True),
        (["video/*", "*.pdf"], ["x.png"], None, False),
    ],
)
def test_what_is_stored_is_chosen_by_type_and_by_name(
    include: list[str],
    names: list[str],
    type_: str | None,
    is_taken: bool,  # noqa: FBT001
) -> None:
    assert Selection(tuple(include)).takes(1, names, type_) is is_taken


@pytest.mark.parametrize(
    ("most", "size", "is_taken"),
    [(None, 10**12, True), (10, 10, True), (10, 11, False), (0, 0, True), (0, 1, False)],
)
def test_what_is_stored_is_chosen_by_size(
    most: int | None,
    size: int,
    is_taken: bool,  # noqa: FBT001
) -> None:
    for include in ((), ("*.png",)):
        assert Selection(include, most).takes(size, ["x.png"]) is is_taken
    assert not Selection(("*.pdf",), most).takes(size, ["x.png"])


LARGE = 100_000  # more than is read at once of what is no upload


def some(count: int, size: int = 100) -> dict[str, bytes]:
    """Return uploads, each with a content of its own, by name."""
    return {f"s{n}_{SAID} {n}.png": (b"%d," % n * size)[:size] for n in range(count)}


def packed(uploads: dict[str, bytes]) -> bytes:
    members = {UPLOADS + name: content for name, content in uploads.items()}
    return pack({"collection.json": b"{}", **members}, zipfile.ZIP_STORED)


class Source(LocalSource):
    """The bytes of an archive in memory.

    Attributes:
        asked: What has been read, from which offset to which.
    """

    def __init__(self, uploads: dict[str, bytes]) -> None:
        self.data = packed(uploads)
        super().__init__(io.BytesIO(self.data), len(self.data), None)
        self.asked: list[tuple[int, int]] = []
        self.reached, self.gate = threading.Semaphore(0), threading.Event()

    def read(self, begin: int, end: int, *, keep: bool = False) -> Iterator[bytes]:
        if end < self.size:  # its end is looked at in any case
            self.asked.append((begin, end))
        chunks = super().read(begin, end, keep=keep)
        return self.large(chunks) if end - begin >= LARGE else chunks

    def large(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield what is read of a large upload."""
        return chunks

    def has_been_read(self, content: bytes) -> bool:
        middle = self.data.index(content) + len(content) // 2
        return any(begin <= middle < end for begin, end in self.asked)


class Held(Source):
    """Nothing comes of large uploads until they are let go of."""

    def large(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        self.reached.release()
        assert self.gate.wait(LIMIT)
        yield from chunks


class Trickle(Source):
    """Large uploads come byte by byte: all of one would take minutes."""

    def large(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for number, byte in enumerate(b"".join(chunks)):
            if number == 100:  # behind what is the header
                self.reached.release()
            yield bytes([byte])
            self.gate.wait(0.001)


class Broken(Source):
    """Large uploads cannot be had."""

    error: TapError

    def large(self, chunks: Iterator[bytes]) -> Iterator[bytes]:  # noqa: ARG002
        raise self.error


def rows_of(archive: ExportArchive, said: dict[str, Row] | None = None) -> Iterator[Row]:
    """Yield rows of files; of some, by name, with what an answer has said of them."""
    facts = ExportFacts(ID, None, datetime(2026, 1, 31, tzinfo=timezone.utc))
    uploads = archive.uploads
    for row in FileFinder({}, uploads, lambda _: True).rows(facts, include_unmatched=True):
        yield {**row, **(said or {}).get(row["path"].removeprefix(UPLOADS), {})}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The log, in which no participant may be quoted."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    assert SAID not in caplog.text


@pytest.fixture
def alone() -> Iterator[Callable[[], bool]]:
    """Tell whether no thread is at work but those that were; in the end there must be none."""
    before = {*threading.enumerate()}

    def is_alone() -> bool:
        return {*threading.enumerate()} <= before

    yield is_alone
    assert is_alone()


WhenSaid = Callable[[int, Callable[[], object]], None]


class Said(logging.Handler):
    """Does something as soon as it has been said so often that files are being stored."""

    def __init__(self, times: int, do: Callable[[], object]) -> None:
        super().__init__()
        self.left = times
        self.do = do

    def emit(self, record: logging.LogRecord) -> None:
        if ": storing uploaded files: " in record.getMessage():
            self.left -= 1
            if self.left == 0:
                self.do()


@pytest.fixture
def when_said(log: pytest.LogCaptureFixture) -> Iterator[WhenSaid]:  # noqa: ARG001  # sets the level
    logger = logging.getLogger("tap-prolific-export")
    added: list[Said] = []

    def add(times: int, do: Callable[[], object]) -> None:
        added.append(Said(times, do))
        logger.addHandler(added[-1])

    yield add
    for said in added:
        logger.removeHandler(said)


class Stores:
    """Transfers into a directory."""

    def __init__(self, root: Path, *, store: DirectoryStore | None = None, **settings: Any) -> None:
        self.slept: list[float] = []
        self.read: list[Row] = []
        self.transfers = Transfers(
            store or DirectoryStore(root),
            settings.pop("selection", Selection()),
            **{"concurrency": 4, "sleep": self.slept.append, **settings},
        )

    def __call__(
        self,
        source: LocalSource,
        rows: Callable[[ExportArchive], Iterable[Row]] = rows_of,
    ) -> Generator[Row, None, None]:
        archive = ExportArchive(source, WHAT)
        yield from self.transfers.stored(self.counted(rows(archive)), archive, ID, WHAT)

    def counted(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self.read.append(row)
            yield row

    def emitted(
        self, source: LocalSource, rows: Callable[[ExportArchive], Iterable[Row]] = rows_of
    ) -> tuple[list[Row], TapError | None]:
        """Return the rows that come, and the error in which they end."""
        found: list[Row] = []
        ended: TapError | None = None
        try:
            found.extend(self(source, rows))
        except TapError as error:
            ended = error
        assert SAID not in str(ended)
        return found, ended


def keys(uploads: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{ID}/{name}": content for name, content in uploads.items()}


class TestRows:
    @pytest.mark.parametrize("concurrency", [1, 3, 8])
    def test_each_comes_once_and_says_where_its_file_is(
        self, concurrency: int, root: Path, alone: Callable[[], bool]
    ) -> None:
        uploads = some(30) | {"empty": b"", "odd?name": b"odd", "a": b"file", "a/b": b"below"}
        source = Source(uploads)
        expected = {row["path"]: row for row in rows_of(ExportArchive(source, WHAT))}
        rows = [*Stores(root, concurrency=concurrency)(source)]
        assert alone()
        assert sorted(row["path"] for row in rows) == sorted(expected)
        found = tree(root)
        assert len(found) == len(uploads)
        for row in rows:
            content = uploads[row["path"].removeprefix(UPLOADS)]
            key = row["uri"].removeprefix(f"{root.as_uri()}/").replace("%20", " ")
            assert found[key] == content
            assert row["sha256"] == sha256(content)
            assert {**row, "uri": None, "sha256": None} == expected[row["path"]]

    def test_names_that_some_file_system_takes_for_the_same_are_told_apart(
        self, root: Path
    ) -> None:
        uploads = {"IMG.png": b"1", "img.png": b"22", "other.png": b"333"}
        assert len({row["uri"].lower() for row in Stores(root)(Source(uploads))}) == 3
        assert f"{ID}/other.png" in tree(root)
        assert not {f"{ID}/IMG.png", f"{ID}/img.png"} & tree(root).keys()

    def test_of_what_is_not_selected_nothing_is_fetched_and_they_say_nothing(
        self, root: Path
    ) -> None:
        uploads = some(4, 2000) | {"s9.pdf": b"p" * 2000, "big.png": b"b" * 9999}
        uploads |= {"by type": b"t" * 2000, "by name": b"n" * 2000}
        left_out = {"s9.pdf", "big.png"}
        source = Source(uploads)
        stores = Stores(root, selection=Selection(("image/*", "*.tif"), 5000))
        said = {
            "by type": {"content_type": "image/jpeg; charset=x"},
            "by name": {"file_name": "scan.TIF", "content_type": "application/octet-stream"},
        }
        rows = [*stores(source, lambda archive: rows_of(archive, said))]
        assert tree(root) == keys({n: c for n, c in uploads.items() if n not in left_out})
        assert sorted(row["path"] for row in rows) == sorted(UPLOADS + name for name in uploads)
        assert {row["file_name"] for row in rows if row["uri"] is None} == left_out
        assert {row["file_name"] for row in rows if row["sha256"] is None} == left_out
        for name, content in uploads.items():
            assert source.has_been_read(content) == (name not in left_out)

    def test_of_what_is_there_nothing_is_fetched_and_they_say_the_same(self, root: Path) -> None:
        uploads = some(6, 2000)
        first = [*Stores(root)(Source(uploads))]
        written = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
        source = Source(uploads)
        second = [*Stores(root)(source)]
        assert sorted(first, key=str) == sorted(second, key=str)
        assert not any(source.has_been_read(content) for content in uploads.values())
        assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == written


class Together(DirectoryStore):
    """Nobody writes before so many do."""

    def __init__(self, root: Path, together: int) -> None:
        super().__init__(root)
        self._lock = threading.Lock()
        self._barrier = threading.Barrier(together, timeout=LIMIT)
        self._at_once = self.most = 0

    def write(self, key: str, chunks: Iterator[bytes], upload: Upload) -> str:
        with self._lock:
            self._at_once += 1
            self.most = max(self.most, self._at_once)
        self._barrier.wait()
        try:
            return super().write(key, chunks, upload)
        finally:
            with self._lock:
                self._at_once -= 1


class TestSeveralAtOnce:
    @pytest.mark.parametrize("concurrency", [1, 2, 5])
    def test_so_many_are_stored_and_never_more(self, concurrency: int, root: Path) -> None:
        store = Together(root, concurrency)
        uploads = some(4 * concurrency)
        stores = Stores(root, store=store, concurrency=concurrency)
        assert len([*stores(Source(uploads))]) == len(uploads)
        assert store.most == concurrency
        assert tree(root) == keys(uploads)

    @pytest.mark.parametrize("concurrency", [1, 3])
    def test_rows_are_not_read_far_ahead_of_the_files(
        self, concurrency: int, root: Path, when_said: WhenSaid
    ) -> None:
        """What waits for its file is all that could grow with a transfer."""
        source = Held(some(40, LARGE))
        stores = Stores(root, concurrency=concurrency, log_every=0.05)
        ahead: list[int] = []

        def let_go() -> None:  # whoever reads rows has nothing left to do but wait
            ahead.append(len(stores.read))
            source.gate.set()

        when_said(1, let_go)
        for count, _ in enumerate(stores(source), 1):
            assert len(stores.read) <= count + 2 * concurrency
        assert ahead == [2 * concurrency + 1]
        assert len(stores.read) == 40

    def test_there_are_no_more_threads_than_files(self, root: Path) -> None:
        before = threading.active_count()
        with closing(Stores(root, concurrency=64)(Source(some(2)))) as rows:
            next(rows)
            assert threading.active_count() <= before + 2


class Refusing(DirectoryStore):
    """It takes some files, and what it does not take it refuses with an error of the system."""

    def __init__(self, root: Path, *errors: int) -> None:
        super().__init__(root)
        self.errors = list(errors)

    def write(self, key: str, chunks: Iterator[bytes], upload: Upload) -> str:
        return super().write(key, self.refusing(chunks), upload)

    def refusing(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self.errors and (number := self.errors.pop(0)):
                raise OSError(number, os.strerror(number), SAID)
            yield chunk


class Flaky(DirectoryStore):
    """Its disk fails for a while, each time when some of a file has come."""

    def __init__(self, root: Path, times: int) -> None:
        super().__init__(root)
        self.left = times

    def write(self, key: str, chunks: Iterator[bytes], upload: Upload) -> str:
        return super().write(key, self.failing(chunks), upload)

    def failing(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            if self.left:
                self.left -= 1
                raise OSError(errno.EIO, os.strerror(errno.EIO), SAID)


class TestWhatGoesWrong:
    @pytest.mark.parametrize("count", [1, 3])
    @pytest.mark.usefixtures("log")
    def test_a_damaged_file_keeps_none_of_the_others(
        self, count: int, root: Path, alone: Callable[[], bool]
    ) -> None:
        uploads = some(30)
        source = Source(uploads)
        bad = [*uploads][7 : 7 + count]
        for name in bad:
            at = source.data.index(uploads[name])
            source.data = source.data[:at] + b"!" + source.data[at + 1 :]
        stores = Stores(root)
        rows, error = stores.emitted(memory_source(source.data))
        assert alone()
        good = {name: content for name, content in uploads.items() if name not in bad}
        assert tree(root) == keys(good)
        assert {row["file_name"] for row in rows} == good.keys()
        assert isinstance(error, FilesError)
        assert error.what == WHAT
        assert f"{count} of its uploaded files could not be stored." in error.problem
        assert "damaged" in error.problem
        assert error.advice
        assert stores.slept == []

    @pytest.mark.parametrize("number", [errno.EFBIG, errno.ENAMETOOLONG, errno.EISDIR])
    @pytest.mark.usefixtures("log")
    def test_so_does_one_that_the_store_does_not_take(self, number: int, root: Path) -> None:
        stores = Stores(root, store=Refusing(root, 0, number), concurrency=1)
        rows, error = stores.emitted(Source(some(9)))
        assert len(rows) == len(tree(root)) == 8
        assert isinstance(error, FilesError)
        assert (
            "1 of its uploaded files could not be stored. Tried to store one; the directory "
            in (error.problem)
        )
        assert os.strerror(number) in error.problem
        assert "not tried" not in error.problem
        assert stores.slept == []

    @pytest.mark.usefixtures("log")
    def test_what_keeps_the_others_from_being_stored_is_what_is_said(self, root: Path) -> None:
        stores = Stores(root, store=Refusing(root, errno.EFBIG, errno.ENOSPC), concurrency=1)
        _, error = stores.emitted(Source(some(30)))
        assert isinstance(error, FilesError)
        assert os.strerror(errno.ENOSPC) in error.problem
        assert error.problem.endswith("The others were not tried.")

    @posix
    @pytest.mark.usefixtures("log")
    def test_a_store_that_is_closed_to_us_is_asked_for_few_of_them(
        self, closed: Path, alone: Callable[[], bool]
    ) -> None:
        stores = Stores(closed, concurrency=2)
        source = Source(some(100))
        with unprivileged():
            rows, error = stores.emitted(source)
        assert alone()
        assert rows == []
        assert isinstance(error, FilesError)
        assert "could not be stored. Tried to store one; the directory refused it" in error.problem
        assert "(Permission denied)" in error.problem
        assert "files_uri" in error.advice
        assert len(stores.read) <= 5
        assert stores.slept == []
        assert tree(closed) == {}

    @pytest.mark.parametrize("times", [1, 2, MAX_TRIES - 1])
    @pytest.mark.usefixtures("log")
    def test_what_passes_is_waited_for(self, times: int, root: Path) -> None:
        uploads = some(5)
        stores = Stores(root, store=Flaky(root, times), concurrency=1)
        rows, error = stores.emitted(Source(uploads))
        assert error is None
        assert len(rows) == 5
        assert len(stores.slept) == times
        assert tree(root) == keys(uploads)

    @pytest.mark.usefixtures("log")
    def test_what_does_not_is_given_up(self, root: Path) -> None:
        stores = Stores(root, store=Flaky(root, 10**6), concurrency=1)
        rows, error = stores.emitted(Source(some(50)))
        assert rows == []
        assert isinstance(error, FilesError)
        assert f"{MAX_TRIES} times; the directory failed" in error.problem
        assert len(stores.read) <= 3
        assert len(stores.slept) == (len(stores.read) - 1) * (MAX_TRIES - 1)
        assert tree(root) == {}

    @pytest.mark.parametrize(
        ("error", "problem", "advice"),
        [
            (
                DataCollectionError(WHAT, "It broke off.", "Wait."),
                "stored. It broke off. The others were not tried.",
                "Wait.",
            ),
            (
                FatalError("No token."),
                "Tried to store one; No token. The others were not tried.",
                "Check files_uri",
            ),
            (ReplacedError(WHAT, "It was replaced.", "Run again."), None, None),
        ],
    )
    @pytest.mark.usefixtures("log")
    def test_an_archive_that_can_be_read_no_more_ends_it(
        self,
        error: TapError,
        problem: str | None,
        advice: str,
        root: Path,
        alone: Callable[[], bool],
    ) -> None:
        source = Broken(some(3) | {f"large {name}": c for name, c in some(60, LARGE).items()})
        source.error = error
        stores = Stores(root, concurrency=2)
        rows, ended = stores.emitted(source)
        assert alone()
        assert {row["file_name"] for row in rows} == some(3).keys()
        assert tree(root) == keys(some(3))
        assert len(stores.read) <= 3 + 5
        if problem is None:
            assert ended is error
        else:
            assert isinstance(ended, FilesError)
            assert ended.problem.endswith(problem)
            assert ended.advice.startswith(advice)

    def test_what_nobody_foresaw_is_raised_where_rows_are_read(
        self, root: Path, alone: Callable[[], bool]
    ) -> None:
        class Mistaken(DirectoryStore):
            def uri(self, key: str) -> str:
                raise ZeroDivisionError(key)

        rows = Stores(root, store=Mistaken(root))(Source(some(30)))
        with pytest.raises(ZeroDivisionError):
            next(rows)
        assert alone()

    @pytest.mark.usefixtures("log")
    def test_responses_that_cannot_be_read_are_no_failure_of_the_files(
        self, root: Path, alone: Callable[[], bool]
    ) -> None:
        error = DataCollectionError(WHAT, "Line 5 is no valid JSON.", "Report this.")

        def broken(archive: ExportArchive) -> Iterator[Row]:
            for number, row in enumerate(rows_of(archive)):
                if number == 5:
                    raise error
                yield row

        _, ended = Stores(root, concurrency=1).emitted(Source(some(9)), broken)
        assert ended is error
        assert alone()
        assert tree(root).items() <= keys(some(9)).items()


class TestProgress:
    """What the log says of a transfer."""

    def test_it_counts_what_is_left_out_because_nothing_tells_its_type(
        self, root: Path, log: pytest.LogCaptureFixture
    ) -> None:
        uploads = dict.fromkeys(["a.png", "b.webp"], b"stored")
        uploads |= dict.fromkeys(["c", "d.unheard-of"], b"unknown")
        uploads |= {"e.pdf": b"known", "f.note": b"by name", "g": b"too large" * 99}
        stores = Stores(root, selection=Selection(("image/*", "*.note"), 500))
        assert len([*stores(Source(uploads))]) == len(uploads)
        assert tree(root).keys() == {f"{ID}/{name}" for name in ("a.png", "b.webp", "f.note")}
        [warning] = [each for each in log.messages if "content type" in each]
        assert warning.startswith(f"{WHAT}: 2 uploaded files are not stored")

    @pytest.mark.parametrize("include", [(), ("*.png",), ("image/*", "*")])
    def test_it_does_not_where_no_type_is_asked_for_or_the_name_will_do(
        self, include: tuple[str, ...], root: Path, log: pytest.LogCaptureFixture
    ) -> None:
        assert len([*Stores(root, selection=Selection(include))(Source({"c": b"unknown"}))]) == 1
        assert not any("content type" in each for each in log.messages)

    def test_in_the_end_it_says_how_much_there_was(
        self, root: Path, log: pytest.LogCaptureFixture
    ) -> None:
        there = {"there.png": b"t" * 500}
        assert [*Stores(root)(Source(there))]
        log.clear()
        times = iter([10.0])
        stores = Stores(root, monotonic=lambda: next(times, 14.0))
        assert len([*stores(Source(some(3, 1000) | there))]) == 4
        said = "files: 4 of 4 (1 already stored), 3.0 kB of 3.5 kB, in 4 s (750 B/s)."
        assert log.messages == [f"{WHAT}: stored uploaded {said}"]

    @pytest.mark.parametrize("log_every", [0.02, LIMIT])
    def test_meanwhile_it_says_now_and_then_how_far_it_has_come(
        self, log_every: float, root: Path, log: pytest.LogCaptureFixture, when_said: WhenSaid
    ) -> None:
        source = Held({"small": b"1"} | some(1, LARGE))
        rows = Stores(root, log_every=log_every)(source)
        began = time.monotonic()
        assert next(rows)["file_name"] == "small"
        log.clear()
        if log_every == LIMIT:
            source.gate.set()
        else:
            when_said(3, source.gate.set)
        assert len([*rows]) == 1
        assert time.monotonic() - began < LIMIT / 2
        said = [text.partition(": ")[2] for text in log.messages]
        *storing, last = [text for text in said if "uploaded files: " in text]
        assert last.startswith("stored uploaded files: 2 of 2")
        assert len(storing) == 0 if log_every == LIMIT else len(storing) >= 3
        for text in storing[:3]:
            assert text.startswith("storing uploaded files: 1 of 2 (0 already stored), 1 B of 100.")

    def test_it_does_so_while_one_file_after_the_other_is_done(
        self, root: Path, log: pytest.LogCaptureFixture
    ) -> None:
        clock = iter(range(0, 10_000, 10))  # between two looks at it, ten seconds pass
        stores = Stores(root, concurrency=1, monotonic=lambda: next(clock))
        assert len([*stores(Source(some(20)))]) == 20
        said = sum(": storing uploaded files:" in text for text in log.messages)
        assert 3 <= said <= next(clock) / transfers.LOG_EVERY_SECONDS


class TestLeaving:
    def test_whoever_leaves_early_leaves_nothing_behind(
        self, root: Path, alone: Callable[[], bool]
    ) -> None:
        source = Trickle({"small": b"1"} | some(3, LARGE))
        rows = Stores(root)(source)
        assert next(rows)["file_name"] == "small"
        assert source.reached.acquire(timeout=LIMIT)
        assert len(tree(root)) > 1  # what is being written
        began = time.monotonic()
        rows.close()
        assert time.monotonic() - began < transfers.JOIN_TIMEOUT_SECONDS
        assert alone()
        assert tree(root) == keys({"small": b"1"})

    def test_so_does_whoever_fails_with_a_row(self, root: Path, alone: Callable[[], bool]) -> None:
        source = Trickle({"small": b"1"} | some(3, LARGE))

        def fail() -> None:
            for _ in Stores(root)(source):
                assert source.reached.acquire(timeout=LIMIT)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert alone()
        assert tree(root) == keys({"small": b"1"})

    def test_what_has_not_begun_does_not_begin(self, root: Path, alone: Callable[[], bool]) -> None:
        source = Trickle({"small": b"1"} | some(9, LARGE))
        rows = Stores(root, concurrency=2)(source)
        next(rows)
        assert source.reached.acquire(timeout=LIMIT)
        rows.close()
        assert alone()
        assert sum(map(source.has_been_read, some(9, LARGE).values())) <= 2

    def test_one_that_waits_for_ever_is_left_alone(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, alone: Callable[[], bool]
    ) -> None:
        assert transfers.JOIN_TIMEOUT_SECONDS <= 1
        monkeypatch.setattr(transfers, "JOIN_TIMEOUT_SECONDS", 0.1)
        before = {*threading.enumerate()}
        source = Held({"small": b"1"} | some(8, LARGE))
        rows = Stores(root, concurrency=8)(source)
        next(rows)
        for _ in range(8):
            assert source.reached.acquire(timeout=LIMIT)
        stuck = {*threading.enumerate()} - before
        began = time.monotonic()
        rows.close()
        assert time.monotonic() - began < 1  # for all of them together
        assert not alone()
        assert all(thread.daemon for thread in stuck)
        assert tree(root) == keys({"small": b"1"})
        source.gate.set()
        for thread in stuck:
            thread.join(LIMIT)
        assert tree(root) == keys({"small": b"1"})
