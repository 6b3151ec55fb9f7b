"""Fetching archives from a host that is not the API's, and that does what hosts do."""

from __future__ import annotations

import os
import random
import re
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest

from tap_prolific_export.archive.byte_source import CHUNK, SMALL
from tap_prolific_export.archive.http_source import TAIL, Downloader, PresignedUrl
from tap_prolific_export.errors import DataCollectionError, ReplacedError
from tap_prolific_export.http import MAX_TRIES
from tests.stand_in import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tap_prolific_export.archive.byte_source import ByteSource
    from tests.stand_in import Hosted, StandIn
    from tests.stand_in.world import Job

    Twist = Callable[["Answer"], "Answer"]

BYTES = random.Random(7).randbytes(SMALL + 5 * CHUNK)  # noqa: S311
OTHER = BYTES[::-1]
MONDAY, TUESDAY = "Mon, 02 Feb 2026 12:00:00 GMT", "Tue, 03 Feb 2026 12:00:00 GMT"


@dataclass(frozen=True)
class Answer:
    """What a host answers.

    Attributes:
        status: 0: nothing.
        comes: So much of the body; None: all of it.
        then: What happens behind that; for "drip", the rest of it comes a little now and then.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    comes: int | None = None
    then: Literal["go on", "hang up", "reset", "stall", "drip"] = "go on"


BAD = Answer(200, {}, b"<Error>")


class Clock:
    """A monotonic clock that moves when it is looked at, so that every read takes as long."""

    def __init__(self) -> None:
        self.now = 0.0
        self.a_read = 0.0

    def __call__(self) -> float:
        self.now += self.a_read
        return self.now


class Host(ThreadingHTTPServer):
    """A host of one archive, and a downloader that fetches from it and never sleeps.

    Attributes:
        archive: May become another one, as may its `etag` and its Last-Modified, `modified`.
        takes_ranges: Whether it has heard of Range.
        takes_if_match: Whether it has heard of If-Match.
        faults: What is made of its answers, one after the other.
        always: What is made of all others.
        each: Told of each request's path, before it is answered.
        asked: The headers of each request.
        sent: How many bytes of bodies it has sent.
        signed: Its URLs so far, as paths.
        expired: Those that it no longer takes.
        refused: The paths that were asked for all the same.
        slept: How long the downloader was told to sleep.
        counted: What the downloader told of its requests.
        clock: The downloader's.
    """

    daemon_threads = False  # closing it waits for them
    request_queue_size = 32

    def __init__(self, archive: bytes, timeout: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.archive = archive
        self.etag: str | None = '"one"'
        self.modified: str | None = MONDAY
        self.takes_ranges = self.takes_if_match = True
        self.faults: list[Twist] = []
        self.always: Twist = lambda answer: answer
        self.each: Callable[[str], object] = lambda _: None
        self.asked: list[dict[str, str]] = []
        self.sent = 0
        self.signed: list[str] = []
        self.expired: set[str] = set()
        self.refused: list[str] = []
        self.slept: list[float] = []
        self.counted: list[str] = []
        self.clock = Clock()
        self.connections: list[socket.socket] = []
        self.lock = threading.Lock()
        self.downloader = Downloader(
            timeout=timeout,
            sleep=self.sleep,
            count=self.counted.append,
            monotonic=self.clock,
        )

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients hang up."""

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    def server_close(self) -> None:
        for connection in self.connections:
            with suppress(OSError):  # which has been closed already
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        assert len(self.slept) < 99, "it is tried for ever"

    def sign(self) -> str:
        self.signed.append(f"/x.zip?Signature={len(self.signed)}")
        return f"http://127.0.0.1:{self.server_port}{self.signed[-1]}"

    def opened(self) -> AbstractContextManager[ByteSource]:
        return self.downloader.open(PresignedUrl(self.sign(), self.sign), "collection x")

    def ranges(self) -> list[str | None]:
        """Return what it was asked for, each as BEGIN-LAST; None: all."""
        found = [headers.get("Range") for headers in self.asked]
        return [each and each.removeprefix("bytes=") for each in found]

    def answer(self, path: str, headers: dict[str, str]) -> Answer:
        self.each(path)
        with self.lock:
            self.asked.append(headers)
            if path in self.expired:
                self.refused.append(path)
                return replace(BAD, status=403)
            truth = self.truth(headers)
            return (self.faults.pop(0) if self.faults else self.always)(truth)

    def truth(self, headers: dict[str, str]) -> Answer:
        own = {"ETag": self.etag, "Last-Modified": self.modified}
        known = {name: value for name, value in own.items() if value is not None}
        match = headers.get("If-Match")
        if self.takes_if_match and match and (match != self.etag or match.startswith("W/")):
            return replace(BAD, status=412)
        found = re.fullmatch(r"bytes=(\d*)-(\d+)", headers.get("Range", ""))
        if not found or not self.takes_ranges:
            return Answer(200, known, self.archive)
        size = len(self.archive)
        if found[1]:
            begin, end = int(found[1]), min(size, int(found[2]) + 1)
        else:
            begin, end = max(0, size - int(found[2])), size
        if begin >= end:
            return Answer(416, known | {"Content-Range": f"bytes */{size}"}, b"<Error>")
        known["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
        return Answer(206, known, self.archive[begin:end])


class _Handler(BaseHTTPRequestHandler):
    server: Host
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        answer = self.server.answer(self.path, dict(self.headers))
        self.close_connection = answer.then != "go on"
        if answer.status:
            self.say(answer)
        if answer.then == "stall":
            self.rfile.read(1)  # until the client hangs up
        elif answer.then == "reset":
            linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            socket.close(self.connection.detach())

    def say(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        if "Transfer-Encoding" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        body, rest = answer.body[: answer.comes], b""
        if answer.then == "drip":
            body, rest = body[: answer.comes or 0], answer.body[answer.comes or 0 :]
        with self.server.lock:
            self.server.sent += len(body)
        self.wfile.write(body)
        self.wfile.flush()
        for at in range(0, len(rest), 10):
            self.wfile.write(rest[at : at + 10])
            self.wfile.flush()
            threading.Event().wait(0.001)  # until the client hangs up, which is soon


@contextmanager
def serving(archive: bytes = BYTES, *, timeout: float = 5) -> Iterator[Host]:
    with Host(archive, timeout) as host:
        thread = threading.Thread(target=host.serve_forever, args=(0.005,))
        thread.start()
        try:
            yield host
        finally:
            host.shutdown()
            thread.join()


def says(status: int, **headers: str) -> Twist:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: replace(BAD, status=status, headers=named)


def instead(then: Literal["hang up", "reset", "stall"]) -> Twist:
    """Answer nothing."""
    return lambda _: replace(BAD, status=0, then=then)


def cut(comes: int, then: Literal["hang up", "reset", "stall"] = "hang up") -> Twist:
    return lambda answer: replace(answer, comes=comes, then=then)


def drip(answer: Answer) -> Answer:
    return replace(answer, then="drip")


def of_piece(said: str | None) -> Twist:
    """Say another Content-Range than the true one, or none."""

    def twist(answer: Answer) -> Answer:
        if "Content-Range" not in answer.headers:
            return answer
        headers = {**answer.headers}
        begin, last = re.findall(r"\d+", headers.pop("Content-Range"))[:2]
        if said is not None:
            headers["Content-Range"] = said.format(
                begin=int(begin), after=int(begin) + 1, last=last
            )
        return replace(answer, headers=headers)

    return twist


def in_chunks(answer: Answer) -> Answer:
    """Send it as HTTP does what it does not know the length of."""
    parts = [answer.body[at : at + 7777] for at in range(0, len(answer.body), 7777)]
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])
    return replace(answer, headers={**answer.headers, "Transfer-Encoding": "chunked"}, body=body)


class Fault(NamedTuple):
    """What goes wrong on the way.

    Attributes:
        twist: What it makes of an answer.
        says: How an error calls it.
        asks: How often is asked until it is given up.
        waits: How long is slept after it; None: some time.
        timeout: Of requests: no longer than it takes to see what is to be seen.
        a_read: How long a read lasts, by the clock.
    """

    twist: Twist
    says: str
    asks: int = MAX_TRIES
    waits: tuple[float | None, ...] = (None,)
    timeout: float = 5
    a_read: float = 0

    @property
    def asks_after_one(self) -> int:
        """How often is asked where the first of the tries has broken off otherwise."""
        return self.asks * (MAX_TRIES - 1) // MAX_TRIES or 1


PASSING = {
    "reset": Fault(instead("reset"), r"it broke off \(Conn"),
    "closed": Fault(instead("hang up"), r"it broke off \(Conn"),
    "silence": Fault(instead("stall"), r"it broke off \(ReadTimeout\)", timeout=0.4),
    "no body": Fault(cut(0), r"it broke off \("),
    "reset behind the head": Fault(cut(0, "reset"), r"it broke off \("),
    "stalled": Fault(cut(0, "stall"), r"it broke off \(ReadTimeoutError\)", timeout=0.4),
    "drips": Fault(drip, "only [0-9]+ bytes arrived in [15] s", a_read=1),
    "408": Fault(says(408), "it answered 408"),
    "429": Fault(says(429), "it answered 429"),
    "500": Fault(says(500), "it answered 500"),
    "503": Fault(says(503), "it answered 503"),
    "503 with a wait": Fault(says(503, Retry_After="7"), "it answered 503", waits=(7,)),
    "403": Fault(says(403), "it answered 403", asks=2 * MAX_TRIES, waits=()),
}
NO_PIECE = {
    name: Fault(of_piece(said), "it did not answer with the ")
    for name, said in {
        "no Content-Range": None,
        "another piece": f"bytes 0-9/{len(BYTES)}",
        "a byte too late": f"bytes {{after}}-{{last}}/{len(BYTES)}",
        "a byte too much": f"bytes {{begin}}-{{last}}0/{len(BYTES)}",
        "a piece of what": "bytes {begin}-{last}/*",
        "no bytes": f"lines {{begin}}-{{last}}/{len(BYTES)}",
    }.items()
}
SHORT = {
    "an empty body": Fault(lambda answer: replace(answer, body=b""), "it broke off"),
    "a body without an end": Fault(
        lambda answer: in_chunks(replace(answer, comes=0, then="hang up")), r"it broke off \("
    ),
}
ALL = {
    "all": Fault(
        lambda answer: replace(answer, status=200, body=BYTES), "it did not answer with the req"
    )
}
FINAL = {
    "404": Fault(says(404), "it answered 404", 1),
    "400": Fault(says(400), "it answered 400", 1),
    "redirect": Fault(says(302, Location="/y.zip"), "it answered 302", 1),
}
HALF = CHUNK
BEGIN, END = 1000, 1000 + 2 * HALF
THE_END = f"-{TAIL}"


def each_of(*groups: dict[str, Fault]) -> pytest.MarkDecorator:
    named = {name: fault for group in groups for name, fault in group.items()}
    return pytest.mark.parametrize("fault", named.values(), ids=named.keys())


def all_of(archive: ByteSource) -> bytes:
    return b"".join(archive.read(0, archive.size))


def have_been(slept: list[float], waits: tuple[float | None, ...]) -> bool:
    """Whether it was slept so often, and so long where that is known."""
    return len(slept) == len(waits) and all(
        wait in {None, seconds} for wait, seconds in zip(waits, slept, strict=True)
    )


@contextmanager
def given_up(problem: str) -> Iterator[None]:
    """Expect the error of an archive that cannot be had; it must not tell the URL."""
    with pytest.raises(DataCollectionError, match=problem) as raised:
        yield
    assert str(raised.value).startswith("collection x: Tried to fetch the archive from 127.0.0.1")
    assert "Signature" not in str(raised.value)
    assert not isinstance(raised.value, ReplacedError)


class TestTheEnd:
    """The first request is for the archive's end."""

    @each_of(PASSING, SHORT, NO_PIECE)
    def test_it_is_asked_for_again(self, fault: Fault) -> None:
        with serving(timeout=fault.timeout) as host:
            host.faults = [fault.twist]
            host.clock.a_read = fault.a_read
            with host.opened() as archive:
                assert host.ranges() == [THE_END] * 2
                assert have_been(host.slept, fault.waits)
                assert all_of(archive) == BYTES

    @each_of(NO_PIECE)
    def test_if_it_is_always_another_piece_all_is_fetched(
        self, fault: Fault, caplog: pytest.LogCaptureFixture
    ) -> None:
        with serving() as host:
            host.faults = [fault.twist] * 2
            with host.opened() as archive:
                assert all_of(archive) == BYTES
            assert host.ranges() == [THE_END, THE_END, None]
        assert caplog.text.count("does not support range requests") == 1

    @each_of(PASSING, SHORT, FINAL)
    def test_what_never_comes_is_given_up(self, fault: Fault) -> None:
        with serving(timeout=fault.timeout / 5) as host:
            host.always = fault.twist
            host.clock.a_read = fault.a_read
            with given_up(fault.says), host.opened():
                pass
            assert host.ranges() == [THE_END] * fault.asks
            assert len(host.slept) == (0 if fault.asks == 1 else MAX_TRIES - 1)

    def test_an_archive_that_is_no_longer_than_that_takes_one_request(self) -> None:
        for size in (1, TAIL - 1, TAIL):
            with serving(BYTES[:size]) as host, host.opened() as archive:
                assert all_of(archive) == BYTES[:size]
                assert host.ranges() == [THE_END]

    def test_it_tells_of_the_whole(self) -> None:
        with serving() as host, host.opened() as archive:
            assert (archive.size, archive.etag) == (len(BYTES), '"one"')
            assert archive.last_modified == datetime(2026, 2, 2, 12, tzinfo=timezone.utc)
            assert host.counted == ["GET /archive"]

    def test_a_size_that_no_archive_has_is_no_size(self) -> None:
        with serving() as host:
            host.faults = [of_piece(f"bytes {{begin}}-{{last}}/{'9' * 5000}")] * 2
            with host.opened() as archive:
                assert all_of(archive) == BYTES

    def test_a_redirect_to_nowhere_is_a_redirect(self) -> None:
        with serving() as host:
            host.always = says(302, Location="http://[")
            with given_up("it answered 302"), host.opened():
                pass

    def test_it_is_taken_however_slowly_its_last_byte_came(self) -> None:
        with serving(BYTES[:99]) as host:
            host.clock.a_read = 5
            with host.opened() as archive:
                assert all_of(archive) == BYTES[:99]
            assert host.ranges() == [THE_END]


class TestAPiece:
    """A piece comes whole, whatever goes wrong, and goes on where it broke off."""

    @each_of(PASSING, SHORT, NO_PIECE, ALL)
    def test_it_goes_on_where_it_broke_off(self, fault: Fault) -> None:
        with serving(timeout=fault.timeout) as host, host.opened() as archive:
            host.faults = [cut(HALF), fault.twist]
            host.clock.a_read = fault.a_read
            assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]
            assert have_been(host.slept, (None, *fault.waits))
            *before, last = host.ranges()
            went_on = int(str(last).removesuffix(f"-{END - 1}"))
            rest = f"{BEGIN + HALF}-{END - 1}"
            assert before == [THE_END, f"{BEGIN}-{END - 1}", rest]
            assert (went_on == BEGIN + HALF) == (fault.twist != drip)
            assert [headers.get("If-Match") for headers in host.asked] == [None, *['"one"'] * 3]

    @each_of(PASSING, SHORT, NO_PIECE, ALL, FINAL)
    def test_what_never_comes_is_given_up(self, fault: Fault) -> None:
        with serving(timeout=fault.timeout / 5) as host, host.opened() as archive:
            host.faults = [cut(HALF)]
            host.always = fault.twist
            host.clock.a_read = fault.a_read
            got = b""
            with given_up(fault.says):
                for chunk in archive.read(BEGIN, END):
                    got += chunk
            assert BYTES[BEGIN:END].startswith(got)
            assert (len(got) == HALF) == (fault.twist != drip)
            assert len(host.asked[2:]) == fault.asks_after_one

    def test_what_breaks_off_again_and_again_comes_as_long_as_it_goes_on(self) -> None:
        with serving() as host, host.opened() as archive:
            host.faults = [cut(10_000)] * 20
            assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]
            begins = range(BEGIN, BEGIN + 200_001, 10_000)
            assert host.ranges() == [THE_END, *(f"{begin}-{END - 1}" for begin in begins)]

    def test_what_stalls_again_and_again_is_given_up_unless_it_goes_on_fast_enough(self) -> None:
        with serving(timeout=0.05) as host, host.opened() as archive:
            host.faults = [cut(10, "stall")] * 10
            with given_up("bytes arrived in|it broke off"):
                b"".join(archive.read(BEGIN, END))

    def test_a_host_that_was_fast_may_have_become_slow(self) -> None:
        end = BEGIN + 5 * CHUNK
        with serving() as host, host.opened() as archive:
            host.faults = [lambda answer: replace(answer, comes=4 * CHUNK, then="drip")]
            host.clock.a_read = 1
            assert b"".join(archive.read(BEGIN, end)) == BYTES[BEGIN:end]
            dripped = int(str(host.ranges()[2]).partition("-")[0]) - BEGIN - 4 * CHUNK
            assert 0 < dripped < 5000

    def test_it_may_come_in_chunks(self) -> None:
        with serving() as host, host.opened() as archive:
            host.faults = [lambda answer: in_chunks(cut(HALF)(answer))]
            host.always = in_chunks
            assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]
            assert len(host.ranges()) == 3

    def test_a_host_that_is_fast_enough_is_let_be(self) -> None:
        with serving() as host, host.opened() as archive:
            host.clock.a_read = 1
            assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]
            assert host.slept == []

    def test_a_reader_that_takes_its_time_is_no_slow_host(self) -> None:
        with serving() as host, host.opened() as archive:
            for _ in archive.read(BEGIN, END):
                host.clock.now += 10**9
            assert host.slept == []

    def test_more_than_was_asked_for_is_not_taken(self) -> None:
        with serving() as host, host.opened() as archive:
            host.faults = [lambda answer: replace(answer, body=answer.body + OTHER)] * 2
            for _ in range(2):
                assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]
            assert host.slept == []

    @pytest.mark.parametrize("etag", ['"one"', 'W/"one"', None])
    def test_only_a_strong_etag_is_one_to_match(self, etag: str | None) -> None:
        with serving() as host:
            host.etag = etag
            with host.opened() as archive:
                assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]
            strong = etag if etag == '"one"' else None
            assert [headers.get("If-Match") for headers in host.asked] == [None, strong]


class TestAnExpiredURL:
    """A URL that has expired is had anew, and all goes on where it was."""

    def test_in_the_middle_of_a_piece(self) -> None:
        with serving() as host, host.opened() as archive:

            def expire(answer: Answer) -> Answer:
                host.expired.update(host.signed)
                return cut(10_000)(answer)

            host.faults = [expire] * 2
            paths: list[str] = []
            host.each = paths.append
            assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]
            one, two, three = host.signed
            begins = [BEGIN, BEGIN + 10_000, BEGIN + 10_000, BEGIN + 20_000, BEGIN + 20_000]
            assert host.ranges()[1:] == [f"{begin}-{END - 1}" for begin in begins]
            assert paths == [one, one, two, two, three]
            assert len(host.slept) == 2

    def test_if_there_is_no_other_the_reason_is_told(self) -> None:
        with serving() as host:
            error = DataCollectionError("collection x", "Its export is gone.", "Run again.")

            def renew() -> str:
                raise error

            host.always = says(403)
            where = PresignedUrl(host.sign(), renew)
            with (
                pytest.raises(DataCollectionError) as raised,
                host.downloader.open(where, "collection x"),
            ):
                pass
            assert raised.value is error
            assert len(host.asked) == 1

    def test_many_threads_have_it_anew_once(self) -> None:
        threads, size, asked = 8, 3 * CHUNK, iter(range(10**6))

        def renew() -> str:
            threading.Event().wait(0.01)  # long enough for another to do so, too
            return host.sign()

        with (
            serving() as host,
            host.downloader.open(PresignedUrl(host.sign(), renew), "collection x") as archive,
        ):
            first, together = host.signed[0], threading.Barrier(threads, timeout=5)
            host.expired.add(first)

            def each(path: str) -> None:
                if path == first:
                    together.wait()  # so that each thread has been refused before one renews
                with host.lock:
                    if next(asked) % 20 == 19:
                        host.expired.update(host.signed)

            host.each = each
            host.always = cut(100_000)
            pieces = [(begin, begin + size) for begin in range(0, threads * CHUNK, CHUNK)]
            with ThreadPoolExecutor(threads) as pool:
                got = [*pool.map(lambda piece: b"".join(archive.read(*piece)), pieces)]
            assert got == [BYTES[begin:end] for begin, end in pieces]
            assert host.refused.count(first) == threads
            assert host.signed[:-1] == sorted({*host.refused}, key=host.signed.index)
            assert len(host.signed) > 3


class TestAnotherArchive:
    """Of an archive that has become another one, no byte comes behind one of the former."""

    # What the host is like before that, and what it is like then.
    became = pytest.mark.parametrize(
        ("before", "then"),
        [
            pytest.param({}, {"etag": '"two"'}, id="another ETag"),
            pytest.param(
                {"takes_if_match": False}, {"etag": '"two"'}, id="another ETag in its answer"
            ),
            pytest.param({"takes_if_match": False}, {"etag": None}, id="no ETag any more"),
            pytest.param({"etag": 'W/"one"'}, {"etag": 'W/"two"'}, id="another weak ETag"),
            pytest.param({"etag": None}, {"modified": TUESDAY}, id="another date"),
            pytest.param({"etag": None}, {"archive": OTHER + b"1"}, id="another size"),
            pytest.param({}, {"archive": OTHER + b"1"}, id="another size only"),
            pytest.param({"etag": None}, {"archive": OTHER[:BEGIN]}, id="416"),
        ],
    )

    @staticmethod
    def make(host: Host, what: dict[str, Any]) -> None:
        for name, value in what.items():
            setattr(host, name, value)

    @pytest.mark.parametrize("keep", [False, True], ids=["", "keep"])
    @became
    def test_in_the_middle_of_a_piece(
        self, before: dict[str, Any], then: dict[str, Any], *, keep: bool
    ) -> None:
        with serving() as host:
            self.make(host, before)

            def become(answer: Answer) -> Answer:
                self.make(host, {"archive": OTHER} | then)
                return cut(HALF)(answer)

            with host.opened() as archive:
                host.faults = [become]
                half = BYTES[BEGIN : BEGIN + HALF]
                for expected in (half, half if keep else b""):
                    got = b""
                    with pytest.raises(ReplacedError, match=r"^collection x: .* replaced"):  # noqa: PT012
                        for chunk in archive.read(BEGIN, END, keep=keep):
                            got += chunk
                    assert got == expected
                assert len(host.asked) == 4
            with host.opened() as archive:
                assert all_of(archive) == host.archive

    @became
    def test_while_a_small_one_is_fetched(
        self, before: dict[str, Any], then: dict[str, Any]
    ) -> None:
        with serving(BYTES[: SMALL - 1]) as host:
            self.make(host, before)
            with host.opened() as archive:
                self.make(host, {"archive": OTHER[: SMALL - 1]} | then)
                with pytest.raises(ReplacedError):
                    archive.prefetch([(BEGIN, END)])
                with pytest.raises(ReplacedError):
                    next(archive.read(BEGIN, END))
                tail = b"".join(archive.read(SMALL - TAIL, SMALL))
                assert tail == BYTES[SMALL - TAIL : SMALL - 1]

    def test_the_date_of_another_machine_does_not_make_another_archive(self) -> None:
        with serving() as host, host.opened() as archive:
            host.modified = TUESDAY
            assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]


class TestAHostThatIgnoresRange:
    """All is fetched into a temporary file, once."""

    @pytest.fixture
    def host(self) -> Iterator[Host]:
        with serving() as host:
            host.takes_ranges = False
            yield host

    def test_with_one_request_and_one_warning(
        self, host: Host, caplog: pytest.LogCaptureFixture
    ) -> None:
        with host.opened() as archive:
            archive.prefetch([(BEGIN, END)])
            assert b"".join(archive.read(BEGIN, END, keep=True)) == BYTES[BEGIN:END]
            assert all_of(archive) == BYTES
            assert (archive.size, archive.etag) == (len(BYTES), '"one"')
            assert archive.last_modified == datetime(2026, 2, 2, 12, tzinfo=timezone.utc)
        assert host.ranges() == [THE_END]
        [warning] = caplog.messages
        assert warning.startswith("collection x: 127.0.0.1 does not support range requests")

    @each_of(PASSING)
    def test_and_from_the_start_where_that_breaks_off(
        self, fault: Fault, caplog: pytest.LogCaptureFixture
    ) -> None:
        with serving(timeout=fault.timeout) as host:
            host.takes_ranges = False
            host.faults = [cut(HALF), fault.twist]
            host.clock.a_read = fault.a_read
            with host.opened() as archive:
                assert all_of(archive) == BYTES
            assert host.ranges() == [THE_END, None, None]
            assert have_been(host.slept, (None, *fault.waits))
        assert caplog.text.count("does not support range requests") == 1

    @each_of(PASSING, FINAL)
    def test_what_never_comes_is_given_up(self, fault: Fault) -> None:
        with serving(timeout=fault.timeout / 5) as host:
            host.takes_ranges = False
            host.faults = [cut(HALF)]
            host.always = fault.twist
            host.clock.a_read = fault.a_read
            with given_up(fault.says), host.opened():
                pass
            assert host.ranges() == [THE_END, *[None] * fault.asks_after_one]

    def test_never_two_archives_in_one(self, host: Host) -> None:
        def become(answer: Answer) -> Answer:
            host.archive, host.etag = OTHER[:1000], '"two"'
            return cut(HALF)(answer)

        host.faults = [become]
        with host.opened() as archive:
            assert (archive.size, archive.etag) == (1000, '"two"')
            assert b"".join(archive.read(0, HALF)) == OTHER[:1000]

    @pytest.mark.parametrize("status", [206, 412, 416])
    def test_what_is_not_all_of_it_is_not_taken(self, status: int) -> None:
        with serving() as host:
            host.always = says(status)
            with given_up("it did not answer|it answered"), host.opened():
                pass


class TestASignedURL:
    """The request is as it was signed, and nothing else goes with it."""

    @pytest.fixture
    def world(self) -> World:
        return World()

    @pytest.fixture
    def job(self, world: World, collection: Hosted) -> Job:
        job = world.start_job(collection, {})
        assert job is not None
        job.archive = BYTES
        return job

    @pytest.fixture
    def where(self, stand_in: StandIn, job: Job) -> PresignedUrl:
        return PresignedUrl(stand_in.presign(job)[0], lambda: stand_in.presign(job)[0])

    @pytest.fixture
    def downloader(self) -> Iterator[Downloader]:
        downloader = Downloader(timeout=5, sleep=lambda _: None)
        yield downloader
        downloader._session.close()

    def test_it_is_sent_as_it_was_signed(
        self, downloader: Downloader, where: PresignedUrl, world: World
    ) -> None:
        with downloader.open(where, "x") as archive:
            assert all_of(archive) == BYTES
        assert "%7E" in where.url
        assert world.asked("archives") == [f"GET {where.url.partition('localhost')[2][6:]}"] * 2

    def test_and_so_is_the_one_that_takes_its_place_when_it_expires(
        self, downloader: Downloader, where: PresignedUrl, world: World
    ) -> None:
        with downloader.open(where, "x") as archive:
            first = where.url
            later = datetime.now(timezone.utc) + timedelta(seconds=world.url_seconds)
            world.clock = lambda: later
            assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]
        urls = [first, first, where.url]
        assert len({*urls}) == 2
        assert world.asked("archives") == [
            f"GET {url.partition('localhost')[2][6:]}" for url in urls
        ]

    def test_no_authorization_goes_with_it(
        self,
        downloader: Downloader,
        where: PresignedUrl,
        world: World,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("default login somebody password else\n")
        monkeypatch.setenv("NETRC", str(netrc))
        with downloader.open(where, "x") as archive:
            assert all_of(archive) == BYTES
        assert len(world.requests) == 2
        for _, method, _, headers in world.requests:
            assert method == "GET"
            assert "Authorization" not in headers
            assert headers["Accept-Encoding"] == "identity"
            assert headers["User-Agent"].startswith("tap-prolific-export")

    def test_a_proxy_of_the_environment_is_used(
        self,
        downloader: Downloader,
        where: PresignedUrl,
        stand_in: StandIn,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", stand_in.archives_url)
        where.url = where.url.replace(stand_in.archives_url, "http://archives.invalid")
        with downloader.open(where, "x") as archive:
            assert all_of(archive) == BYTES
