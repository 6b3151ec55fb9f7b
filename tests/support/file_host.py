"""A host of one archive, everything that can go wrong on the way from it, and what errors say."""

from __future__ import annotations

import os
import random
import re
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest

from tap_prolific_export.archive.byte_source import CHUNK, SMALL
from tap_prolific_export.archive.http_source import TAIL, Downloader, PresignedUrl
from tap_prolific_export.errors import DataCollectionError, ReplacedError
from tap_prolific_export.http import MAX_TRIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from tap_prolific_export.archive.byte_source import ByteSource

    Twist = Callable[["Answer"], "Answer"]


BYTES = random.Random(7).randbytes(SMALL + 5 * CHUNK)  # noqa: S311
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


class ReadClock:
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
        expiry: What it answers then.
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
        self.expiry = replace(BAD, status=403)
        self.refused: list[str] = []
        self.slept: list[float] = []
        self.counted: list[str] = []
        self.clock = ReadClock()
        self.connections: list[socket.socket] = []
        self.lock = threading.Lock()
        self.downloader = Downloader(
            timeout=timeout,
            sleep=self.sleep,
            count=self.counted.append,
            monotonic=self.clock,
            max_retry_after=3600,
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
                return self.expiry
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


class HostFault(NamedTuple):
    """What goes wrong on the way.

    Attributes:
        twist: What it makes of an answer.
        says: How an error calls it.
        asks: How often is asked until it is given up; 0: as long as a busy host is.
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
        return self.asks and (self.asks * (MAX_TRIES - 1) // MAX_TRIES or 1)


PASSING = {
    "reset": HostFault(instead("reset"), r"it broke off \(Conn"),
    "closed": HostFault(instead("hang up"), r"it broke off \(Conn"),
    "silence": HostFault(instead("stall"), r"it broke off \(ReadTimeout\)", timeout=0.4),
    "no body": HostFault(cut(0), r"it broke off \("),
    "reset behind the head": HostFault(cut(0, "reset"), r"it broke off \("),
    "stalled": HostFault(cut(0, "stall"), r"it broke off \(ReadTimeoutError\)", timeout=0.4),
    "drips": HostFault(drip, "only [0-9]+ bytes arrived in [15] s", a_read=1),
    "408": HostFault(says(408), "it answered 408", 0),
    "429": HostFault(says(429), "it answered 429", 0),
    "500": HostFault(says(500), "it answered 500", 0),
    "503": HostFault(says(503), "it answered 503", 0),
    "503 with a wait": HostFault(says(503, Retry_After="7"), "it answered 503", 0, waits=(7,)),
    "403": HostFault(says(403), "it answered 403", asks=2 * MAX_TRIES, waits=()),
}
NO_PIECE = {
    name: HostFault(of_piece(said), "it did not answer with the ")
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
    "an empty body": HostFault(lambda answer: replace(answer, body=b""), "it broke off"),
    "a body without an end": HostFault(
        lambda answer: in_chunks(replace(answer, comes=0, then="hang up")), r"it broke off \("
    ),
}
ALL = {
    "all": HostFault(
        lambda answer: replace(answer, status=200, body=BYTES), "it did not answer with the req"
    )
}
FINAL = {
    "405": HostFault(says(405), "it answered 405", 1),
    "400": HostFault(says(400), "it answered 400", 1),
    "redirect": HostFault(says(302, Location="/y.zip"), "it answered 302", 1),
}
HALF = CHUNK
BEGIN, END = 1000, 1000 + 2 * HALF


THE_END = f"-{TAIL}"


def all_of(archive: ByteSource) -> bytes:
    return b"".join(archive.read(0, archive.size))


@contextmanager
def given_up(problem: str) -> Iterator[None]:
    """Expect the error of an archive that cannot be had; it must not tell the URL."""
    with pytest.raises(DataCollectionError, match=problem) as raised:
        yield
    assert str(raised.value).startswith("collection x: Tried to fetch the archive from 127.0.0.1")
    assert "Signature" not in str(raised.value)
    assert not isinstance(raised.value, ReplacedError)
