"""Shared by the benchmarks: the tap as a measured process, a file host, sizes, tables."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentTypeError
from collections import Counter
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar
from urllib.parse import urlsplit

from tests.support.stand_in import StandIn, World

if TYPE_CHECKING:
    import socket
    from collections.abc import Container, Iterable, Sequence
    from multiprocessing.connection import Connection
    from types import TracebackType

    from typing_extensions import Buffer, Self

    from tests.support.stand_in import Hosted

ROOT = Path(__file__).resolve().parent.parent
UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
# Disk space that stays free.
SPARE = 500 * UNITS["MB"]
CHUNK = 1 << 20

_RECORD = re.compile(rb'\{"type": ?"RECORD", ?"stream": ?"(\w+)"')
# ru_maxrss is in KiB, except on macOS (bytes).
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class BenchError(Exception):
    """The measured run failed."""


@dataclass(frozen=True)
class Usage:
    """What a run of the tap used, and how many records it wrote per stream."""

    records: Counter[str]
    peak_memory: int
    cpu_seconds: float
    wall_seconds: float


def run_tap(config: dict[str, Any], folder: Path) -> Usage:
    """Run the tap as a separate process.

    Args:
        config: The tap's configuration.
        folder: Where the configuration is written.

    Raises:
        BenchError: The tap failed, or its memory cannot be measured.
    """
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "tap_prolific_export.tap", "--config", str(path)]
    # A plain environment: no variables that change Python, no proxy for loopback.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") and not name.lower().endswith("_proxy")
    }
    records: Counter[str] = Counter()
    with tempfile.TemporaryFile() as log:
        began = time.monotonic()
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log
        )
        with process.stdout or io.BytesIO() as lines:
            for line in lines:
                if found := _RECORD.match(line):
                    records[found[1].decode()] += 1
        _, status, usage = os.wait4(process.pid, 0)
        wall_seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            end = log.read().decode(errors="replace")[-4000:]
            raise BenchError(f"the tap ended with exit code {process.returncode}:\n{end}")
    # Before it calls exec, a child process has its parent's memory, which counts as its peak.
    if usage.ru_maxrss <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
        raise BenchError("this process is larger than the tap: the tap's memory is unknown.")
    return Usage(
        records, usage.ru_maxrss * _RSS_UNIT, usage.ru_utime + usage.ru_stime, wall_seconds
    )


class Host:
    """The stand-in's API, and a host of one archive on disk, in a separate process.

    A context manager.

    Args:
        hosted: The data collection. Its submissions are not used: the archive exists already.
        archive: Path of the archive.

    Attributes:
        config: The tap's configuration for this host.
    """

    def __init__(self, hosted: Hosted, archive: Path) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.config: dict[str, Any] = {}
        self._connection, self._theirs = spawn.Pipe()
        arguments = (hosted, archive, self._theirs)
        self._process = spawn.Process(target=_serve, args=arguments, daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self._theirs.close()
        self.config = self._answer()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()  # the process ends when this connection closes
        self._process.join(10)
        self._process.terminate()

    def begin(self, *, ranges: bool) -> None:
        """Reset the counts, and from now on support ranges or ignore them."""
        self._connection.send(ranges)
        self._answer()

    def counts(self) -> tuple[int, int]:
        """Return how many bytes (with headers) and how many replies the archive's host has sent."""
        self._connection.send(None)
        sent, answers = self._answer()
        return sent, answers

    def _answer(self) -> Any:
        try:
            return self._connection.recv()
        except EOFError:
            raise BenchError("the archive's host has ended.") from None


def _serve(hosted: Hosted, archive: Path, connection: Connection) -> None:
    world = World()
    world.host(hosted)
    stand_in = StandIn(world)
    with archive.open("rb") as file:
        state = _State(file, stand_in.signed)
        handler = type("Handler", (_Archive,), {"state": state})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        stand_in.archives_url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ids = f"{'collection' if hosted.kind == 'collections' else 'batch'}_ids"
        token = {"api_url": stand_in.api_url, "api_token": world.token}
        with stand_in:
            connection.send({**token, ids: [hosted.id], "poll_interval_seconds": 1})
            while True:
                try:
                    asked = connection.recv()
                except EOFError:
                    break
                if asked is not None:
                    state.begin(heeds_ranges=asked)
                connection.send((state.sent, state.answers))


class _State:
    """The archive's host: the file, its headers, the mode and the counts.

    Args:
        file: The archive.
        signed: The presigned query strings that the API returned.
    """

    def __init__(self, file: BinaryIO, signed: Container[str]) -> None:
        status = os.fstat(file.fileno())
        self.file = file
        self.signed = signed
        self.size = status.st_size
        self.headers = {
            "ETag": f'"{status.st_mtime_ns:x}-{self.size:x}"',
            "Last-Modified": formatdate(status.st_mtime, usegmt=True),
            "Content-Type": "application/zip",
        }
        self._lock = threading.Lock()
        self.begin(heeds_ranges=True)

    def begin(self, *, heeds_ranges: bool) -> None:
        with self._lock:
            self.heeds_ranges = heeds_ranges
            self.sent = self.answers = 0

    def count(self, sent: int = 0, answers: int = 0) -> None:
        with self._lock:
            self.sent += sent
            self.answers += answers


class _Counted(io.BufferedIOBase):
    """A writable socket that counts the bytes."""

    def __init__(self, connection: socket.socket, state: _State) -> None:
        self._connection = connection
        self._state = state

    def write(self, data: Buffer, /) -> int:
        self._connection.sendall(data)
        size = memoryview(data).nbytes
        self._state.count(sent=size)
        return size


class _Archive(BaseHTTPRequestHandler):
    state: ClassVar[_State]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else the body would wait for the ACK of the headers

    def setup(self) -> None:
        super().setup()
        self.wfile = _Counted(self.connection, self.state)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_GET(self) -> None:
        state = self.state
        state.count(answers=1)
        if urlsplit(self.path).query not in state.signed:
            self.head(403, 0)
        elif self.headers.get("If-Match") not in {None, state.headers["ETag"]}:
            self.head(412, 0)
        else:
            wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
            if wanted is None or not any(wanted.groups()) or not state.heeds_ranges:
                self.head(200, state.size, **state.headers)
                self.send(0, state.size)
                return
            begin, end = int(wanted[1] or 0), min(int(wanted[2] or state.size) + 1, state.size)
            if not wanted[1]:
                begin, end = max(0, state.size - int(wanted[2])), state.size
            if begin >= end:
                self.head(416, 0, **{"Content-Range": f"bytes */{state.size}"})
                return
            piece = {"Content-Range": f"bytes {begin}-{end - 1}/{state.size}"}
            self.head(206, end - begin, **state.headers, **piece)
            self.send(begin, end)

    def head(self, status: int, size: int, **headers: str) -> None:
        self.send_response_only(status)
        common = {"Date": self.date_time_string(), "Content-Length": str(size)}
        for name, value in {**common, "Accept-Ranges": "bytes", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, begin: int, end: int) -> None:
        """Send bytes of the file; a client that disconnects is not an error."""
        to, file = self.connection.fileno(), self.state.file.fileno()
        while begin < end:
            try:
                sent = os.sendfile(to, file, begin, min(CHUNK, end - begin))
            except ConnectionError:
                self.close_connection = True
                return
            self.state.count(sent=sent)
            begin += sent


def lacks_room(folder: Path, size: int) -> str | None:
    """Return why `size` bytes cannot be written below a folder, or None if they can."""
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free >= size + SPARE:
        return None
    return f"that takes {say(size + SPARE)} on disk, of which {say(free)} are free"


def size_of(text: str) -> int:
    """Parse a number of bytes from a command-line argument."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMG]?B)", text.strip(), re.IGNORECASE)
    if not found or not float(found[1]):
        raise ArgumentTypeError(f"{text!r} is not a size such as 5MB")
    return int(float(found[1]) * UNITS[found[2].upper()])


def sizes_of(text: str) -> list[int]:
    """Parse several numbers of bytes."""
    return [size_of(part) for part in text.split(",")]


def count_of(text: str) -> int:
    """Parse a positive number."""
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)


def say(size: float) -> str:
    """Format a number of bytes with a unit and three digits."""
    unit = next((u for u in reversed(UNITS) if size >= UNITS[u]), "B")
    return f"{digits(size / UNITS[unit])} {unit}"


def digits(value: float) -> str:
    """Format a number with three digits, or with all digits before the decimal point."""
    if value and abs(value) < 1:
        return f"{value:#.3g}"
    return f"{value:.{max(0, 3 - len(str(int(value))))}f}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; a name that ends in a colon marks a column of numbers."""
    rule = ["---:" if name.endswith(":") else "---" for name in head]
    lines = [[name.rstrip(":") for name in head], rule, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
