"""Shared by the benchmarks: a measured process, and tables."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
TAP = ("-m", "tap_prolific_export.tap", "--config")
# Of the environment; no variable that changes Python, and no proxy for loopback.
KEPT = ("HOME", "PATH", "TMPDIR")
# A process's peak memory is at least that of the one that started it, so that one must be small.
LAUNCHER = """
import os, sys, time
began = time.monotonic()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(child, 0)
wall = time.monotonic() - began
megabytes = used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)
print(began, wall, used.ru_utime + used.ru_stime, megabytes, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""
RECORD = re.compile(rb'\{"type": ?"RECORD", ?"stream": ?"(\w+)"')


class BenchError(Exception):
    """A measured process failed, or did not do all that it should."""


class Usage(NamedTuple):
    """When a process began (`time.monotonic`), the seconds and the megabytes that it used."""

    began: float
    wall: float
    cpu: float
    memory: float

    @property
    def ended(self) -> float:
        """When it ended (`time.monotonic`)."""
        return self.began + self.wall


def measure(arguments: Sequence[str], read: Callable[[Iterable[bytes]], T]) -> tuple[Usage, T]:
    """Run Python with these arguments, and return its usage and what `read` makes of its output."""
    command = [sys.executable, *arguments]
    with tempfile.TemporaryFile("w+") as log:
        with _launch(command, log) as process:
            result = read(process.stdout or ())
        return _usage(command, process, log), result


def measure_pipe(arguments: Sequence[str], reader: Sequence[str]) -> tuple[Usage, Usage]:
    """Run Python with these arguments, its output piped into a program; return both usages."""
    writer = [sys.executable, *arguments]
    with tempfile.TemporaryFile("w+") as log, tempfile.TemporaryFile("w+") as reader_log:
        with (
            _launch(writer, log) as process,
            _launch(reader, reader_log, process.stdout, subprocess.DEVNULL) as reading,
        ):
            if process.stdout:
                process.stdout.close()  # or the writer would not notice that the reader is gone
        # The reader's first: if it failed, the writer failed, too, because nobody read.
        used = _usage(reader, reading, reader_log)
        return _usage(writer, process, log), used


def _launch(
    command: Sequence[str],
    log: IO[str],
    stdin: IO[bytes] | None = None,
    stdout: int = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    """Start a program; what it used is the last line of its log."""
    # Small reads from the pipe would wake the process often, which costs it CPU time.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", LAUNCHER, *command],
        bufsize=1 << 20,
        cwd=ROOT,
        env={name: os.environ[name] for name in KEPT if name in os.environ},
        stdin=stdin,
        stdout=stdout,
        stderr=log,
    )


def _usage(command: Sequence[str], process: subprocess.Popen[bytes], log: IO[str]) -> Usage:
    """Return what a program used that has ended."""
    log.seek(0)
    lines = log.read().splitlines()
    if process.returncode:
        raise BenchError("\n".join([f"{' '.join(command)} failed:", *lines[-40:]]))
    return Usage(*map(float, lines[-1].split()))


def count_records(lines: Iterable[bytes]) -> Counter[str]:
    """Return the number of records of each stream."""
    return Counter(found[1].decode() for line in lines if (found := RECORD.match(line)))


def markdown(head: Sequence[str], rows: Iterable[Sequence[str | float]]) -> str:
    """Return a Markdown table; a name that ends in a colon marks a column of numbers."""
    rule = ["---:" if name.endswith(":") else "---" for name in head]
    cells = [[cell if isinstance(cell, str) else digits(cell) for cell in row] for row in rows]
    lines = [[name.rstrip(":") for name in head], rule, *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def digits(value: float) -> str:
    """Format a whole number, or three digits of another, and all before its decimal point."""
    if isinstance(value, int) or abs(value) >= 1000:  # noqa: PLR2004  # three digits
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")
