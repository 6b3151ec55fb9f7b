"""SIGTERM and SIGINT, sent to the real process wherever it may be, and the run after that.

Nothing here goes by time: a signal is sent once the stand-in, or what has been read of stdout,
tells where the process is. The limit on waiting is for the day that something hangs.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from contextlib import ExitStack, redirect_stdout, suppress
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from tap_prolific_export import signals as output
from tap_prolific_export.archive.byte_source import SMALL
from tap_prolific_export.archive.http_source import TAIL
from tap_prolific_export.signals import TERMINATION, Terminated
from tap_prolific_export.singer import state as states
from tap_prolific_export.snapshots import progress
from tests.support.processes import CAN_SHRINK_PIPES, LIMIT_SECONDS, TAP, shrink_pipe, started
from tests.support.stand_in import Fault, Hosted, StandIn, Submission, World
from tests.support.tap import Output, deselect_streams, ids, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from typing_extensions import Self

    from tests.support.stand_in.world import Job
    from tests.support.tap import Runner

TERM, INT = signal.SIGTERM, signal.SIGINT
CODES = {TERM: 143, INT: 130}
KEPT = "The state so far is kept: the next run goes on from there.\n"
UNREAD = (
    "Nobody read the output, so the last state is not in it: the next run goes on from the last "
    "one that is.\n"
)


class Waiting(World):
    """A world in which some exports are never complete; it tells when they are waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = lambda: datetime(2026, 12, 1, tzinfo=timezone.utc)
        self.unready: set[str] = set()
        self.waited = threading.Event()

    def poll(self, job: Job) -> None:
        if job.of[1] in self.unready:
            self.waited.set()
        else:
            super().poll(job)


class Process:
    """The tap as a process.

    Args:
        popen: The process; its stdout is a pipe, of which nothing is read but what is asked for,
            or a file.
        folder: Where its files are.
    """

    def __init__(self, popen: subprocess.Popen[bytes], folder: Path) -> None:
        self.popen = popen
        self.temp = folder / "temp"
        self._folder = folder
        self._written = b""

    @property
    def stdout(self) -> IO[bytes]:
        assert self.popen.stdout
        return self.popen.stdout

    def read_until(self, enough: Callable[[bytes], bool]) -> None:
        while not enough(self._written):
            chunk = os.read(self.stdout.fileno(), 1000)
            assert chunk, "it ended before"
            self._written += chunk

    def end(self, *signals: signal.Signals, reading: bool = True) -> Output:
        """Send signals; return the complete messages, having checked that it ended well."""
        self.send(*signals, reading=reading)
        log = (self._folder / "log").read_text()
        assert "Traceback" not in log
        assert "Exception ignored" not in log
        assert sum(log.count(f"Ended by {each.name}. ") for each in {*signals}) == 1
        lines, _, torn = self.written.rpartition(b"\n")
        assert bool(torn) is not reading
        assert log.endswith(UNREAD if torn else KEPT)
        return read(lines.decode())

    def send(self, *signals: signal.Signals, reading: bool = True) -> None:
        """Send signals, to which it ends."""
        for each in signals:
            self.popen.send_signal(each)
        if self.popen.stdout and reading:
            self._written += self.stdout.read()
        assert self.popen.wait(LIMIT_SECONDS) in {CODES[each] for each in signals}
        if self.popen.stdout and not reading:
            self._written += self.stdout.read()
        assert list(self.temp.iterdir()) == []

    @property
    def written(self) -> bytes:
        return self._written if self.popen.stdout else (self._folder / "out").read_bytes()


class Start:
    """Starts the tap against a world; a context manager that leaves no process behind."""

    def __init__(self, stand_in: StandIn, folder: Path) -> None:
        self._stand_in = stand_in
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def __call__(
        self,
        *args: str,
        stdout: int | None = None,
        stderr: int | None = None,
        unbuffered: bool = False,
        **settings: Any,
    ) -> Process:
        folder = self._folder / str(len(list(self._folder.iterdir())))
        (folder / "temp").mkdir(parents=True)
        world = self._stand_in.world
        config = {
            "api_token": world.token,
            "api_url": self._stand_in.api_url,
            # So that nothing ends because it would have given up, or looked again, anyway.
            "poll_interval_seconds": 600,
            "request_timeout_seconds": 600,
            "answer_keys": "instruction_id",  # as the runner's
            **ids(*world.hosted.values()),
            **settings,
        }
        (folder / "config.json").write_text(json.dumps(config))
        with (folder / "out").open("wb") as out, (folder / "log").open("wb") as log:
            popen = self._stack.enter_context(
                started(
                    *TAP,
                    "--config=config.json",
                    *args,
                    cwd=folder,
                    stdout=stdout or out,
                    stderr=stderr or log,
                    TMPDIR=str(folder / "temp"),
                    PYTHONUNBUFFERED="1" if unbuffered else "",
                )
            )
        limit = threading.Timer(LIMIT_SECONDS, popen.kill)
        limit.start()
        self._stack.callback(limit.cancel)
        return Process(popen, folder)


@pytest.fixture
def world() -> Waiting:
    return Waiting()


@pytest.fixture
def start(stand_in: StandIn, tmp_path: Path) -> Iterator[Start]:
    with Start(stand_in, tmp_path) as start:
        yield start


@pytest.mark.parametrize(
    "signum", [TERM, pytest.param(INT, marks=pytest.mark.slow)], ids=["SIGTERM", "SIGINT"]
)
class TestWhereverItIs:
    def test_waiting_for_an_export_it_ends_and_what_was_finished_stays_so(  # noqa: PLR0917
        self,
        signum: signal.Signals,
        start: Start,
        runner: Runner,
        world: Waiting,
        collection: Hosted,
        batch: Hosted,
    ) -> None:
        world.unready = {batch.id}
        process = start()
        assert world.waited.wait(LIMIT_SECONDS)
        out = process.end(signum)
        assert {row["data_collection_id"] for row in out.rows("responses")} == {collection.id}
        assert out.messages[-1]["type"] == "STATE"
        world.unready.clear()
        again = runner.sync(None, out.state, **ids(collection, batch))
        assert {row["data_collection_id"] for row in again.rows("responses")} == {batch.id}

    @pytest.mark.usefixtures("collection")
    @pytest.mark.parametrize("option", ["", "--test"], ids=["sync", "test"])
    def test_in_a_download_that_stalls(
        self, signum: signal.Signals, option: str, start: Start, world: World
    ) -> None:
        stalled = threading.Event()
        archive = b"PK" * 99
        world.faults = [
            Fault("archives", "", status=200, body=archive, body_missing=9, stalls=stalled)
        ]
        process = start(*filter(None, [option]))
        assert stalled.wait(LIMIT_SECONDS)
        assert process.end(signum).rows("responses") == []

    def test_in_an_upload_that_stalls_on_its_way_into_the_store(
        self, signum: signal.Signals, start: Start, world: World, tmp_path: Path
    ) -> None:
        uploads = {"s1_film.mp4": b"film" * SMALL}
        line = {"submission_id": "s1", "participant_id": "p1", "responses": {}}
        hosted = world.host(Hosted("collections", "films", "w1", {"name": "Films"}, [], []))
        world.submit(hosted, Submission(line, world.now(), "study", uploads=uploads))
        archive = hosted.archive(world.now())
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            begin, end = packed.infolist()[-1].header_offset, len(archive) - TAIL
        etag = hashlib.md5(archive, usedforsecurity=False).hexdigest()
        stalled = threading.Event()
        world.faults = [
            Fault(
                "archives",
                "",
                first=3,  # its end, its metadata, its lines
                status=206,
                body=archive[begin:end],
                body_missing=SMALL,
                headers={
                    "Content-Range": f"bytes {begin}-{end - 1}/{len(archive)}",
                    "ETag": f'"{etag}"',
                },
                stalls=stalled,
            )
        ]
        store = tmp_path / "store"
        process = start(files_uri=store.as_uri())
        assert stalled.wait(LIMIT_SECONDS)
        assert [path.suffix for path in (store / "films").iterdir()] == [".part"]
        assert process.end(signum).rows("files") == []
        assert list((store / "films").iterdir()) == []

    @pytest.mark.parametrize("option", ["", "--discover", "--test=schema"])
    def test_in_discovery(
        self, signum: signal.Signals, option: str, start: Start, world: World, collection: Hosted
    ) -> None:
        stalled = threading.Event()
        world.faults = [Fault("api", collection.id, body=b"{}", body_missing=1, stalls=stalled)]
        process = start(*filter(None, [option]))
        assert stalled.wait(LIMIT_SECONDS)
        assert process.end(signum).messages == []

    @pytest.mark.parametrize("unbuffered", [False, True])
    def test_in_a_line_that_is_read_on_it_ends_after_it(
        self,
        signum: signal.Signals,
        unbuffered: bool,  # noqa: FBT001
        start: Start,
        collection: Hosted,
    ) -> None:
        process = in_a_long_line(start, collection, unbuffered=unbuffered)
        out = process.end(signum)
        assert [message["type"] for message in out.messages[-2:]] == ["RECORD", "STATE"]
        # It came whole, and so did those that were written with it.
        assert LONG in {len(row["answers"]["q-name"]) for row in out.rows("responses")}

    def test_in_a_line_that_nobody_reads_on_it_ends_all_the_same(
        self, signum: signal.Signals, start: Start, collection: Hosted
    ) -> None:
        process = in_a_long_line(start, collection)
        out = process.end(signum, reading=False)
        assert b"yyy" in process.written.rpartition(b"\n")[2]
        # Whose the export job is has been said; how far the streams have come has not.
        assert "fingerprint" not in json.dumps(out.of_type("STATE"))

    def test_in_a_catalog_that_nobody_reads(
        self, signum: signal.Signals, start: Start, collection: Hosted
    ) -> None:
        collection.instructions[0]["description"] = "y" * LONG
        process = start("--discover", stdout=subprocess.PIPE)
        process.read_until(lambda written: b"yyy" in written)
        process.send(signum, reading=False)

    def test_where_nobody_reads_the_log_either(
        self, signum: signal.Signals, start: Start, collection: Hosted
    ) -> None:
        process = in_a_long_line(start, collection, stderr=subprocess.STDOUT)
        process.send(signum, reading=False)

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs a pipe to open anew")
    def test_where_nobody_reads_the_log(
        self, signum: signal.Signals, start: Start, world: Waiting, collection: Hosted
    ) -> None:
        world.unready = {collection.id}
        log, stderr = os.pipe()
        process = start(stderr=stderr)
        assert world.waited.wait(LIMIT_SECONDS)
        # Opened anew, it does not block us, and still does the tap.
        full = os.open(f"/proc/self/fd/{stderr}", os.O_WRONLY | os.O_NONBLOCK)
        with suppress(BlockingIOError):
            while True:
                os.write(full, b"x")
        process.send(signum)
        assert read(process.written.decode()).messages[-1]["type"] == "STATE"
        for each in (log, stderr, full):
            os.close(each)


LONG = 1 << 20  # more than any pipe holds


def in_a_long_line(start: Start, collection: Hosted, **how: Any) -> Process:
    """Start the tap; it has written a part of a long line, and waits for us to read on."""
    submission = next(iter(collection.submissions.values()))
    submission.line["responses"]["q-name"] = {"value": "y" * LONG}
    process = start(stdout=subprocess.PIPE, **how)
    process.read_until(lambda written: b"yyy" in written)
    return process


def test_two_at_once_are_as_one(start: Start, world: Waiting, collection: Hosted) -> None:
    """Of a terminal's Ctrl-C Meltano sends the other half."""
    world.unready = {collection.id}
    process = start()
    assert world.waited.wait(LIMIT_SECONDS)
    assert process.end(INT, TERM, TERM, INT).messages[-1]["type"] == "STATE"


@pytest.mark.skipif(not CAN_SHRINK_PIPES, reason="needs a pipe that can be made small")
def test_after_whatever_byte_it_comes_lines_are_whole_and_the_next_run_goes_on(
    start: Start, runner: Runner, world: World, collection: Hosted, batch: Hosted
) -> None:
    world.max_jobs = 10_000
    whole = runner.sync(**ids(collection, batch))
    expected = keys(whole)
    size = len(whole.text.encode())
    points = range(1, size - 4 * 4096, size // 9)
    for number, point in enumerate(points):
        process = start(stdout=subprocess.PIPE)
        shrink_pipe(process.stdout)
        process.read_until(lambda written, point=point: len(written) >= point)  # type: ignore[misc]
        out = process.end((TERM, INT)[number % 2])
        assert out.messages[-1]["type"] == "STATE"
        again = runner.sync(None, out.state, **ids(collection, batch))
        assert keys(out) | keys(again) == expected
        finished = {mark["context"]["data_collection_id"] for mark in bookmarks(out.state)}
        assert finished.isdisjoint(row for row, _ in keys(again))
    assert len(points) >= 8


def keys(out: Output) -> set[tuple[str, str]]:
    return {(row["data_collection_id"], row["response_id"]) for row in out.rows("responses")}


def bookmarks(state: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        state.get("bookmarks", {}).get("responses", {}).get("partitions", [])
    )
    return found


def interrupted_at(line: int, run: Callable[[], None]) -> bool:
    """Run in this process, with a signal before a line of what keeps the state.

    Returns:
        Whether it got so far.
    """
    left = line

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in {states.__file__, progress.__file__}:
            return None
        if event == "line":
            left -= 1
            if left < 0:
                sys.settrace(None)
                TERMINATION._on_signal(TERM, frame)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    except Terminated:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.fixture
def _no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "HAS_TIMER", False)


@pytest.mark.usefixtures("_no_timer")
def test_at_whatever_line_it_comes_the_state_is_one_that_holds(
    runner: Runner, world: World, collection: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before, with the responses delivered, or with all delivered: nothing in between."""
    world.generation, world.reuse_seconds = "idempotent", 3600.0  # one archive for all runs
    before = runner.sync(**ids(collection)).state
    del before["bookmarks"]["responses"]  # so that all of it is wanted
    catalog = runner.catalog(**ids(collection))
    catalog = deselect_streams(catalog, "instructions", "tasks", "answers", "files")
    found = set()
    monkeypatch.setattr(TERMINATION, "_signum", None)
    for line in count():
        tap = runner.tap(catalog, before, **ids(collection))
        with redirect_stdout(io.StringIO()) as out:
            got_so_far = interrupted_at(line, tap.sync_all)
        TERMINATION._signum = None
        found.add(json.dumps(read(out.getvalue()).state, sort_keys=True))
        if not got_so_far:
            break
    assert line > 50
    assert len(found) == 3
