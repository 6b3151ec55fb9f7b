"""Rows a second of the tap and a target together, and which of them is waited for.

Each run is `tap | target`, with all streams, from an archive on disk into an empty target. The
targets take turns. The table has medians; the ratio's are those over the rounds. Fails if a process
fails, or if a table has not as many rows as the tap writes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import psutil
import pytest

from scripts.bench_archives import make
from scripts.bench_tools import TAP, BenchError, count_records, markdown, measure, measure_pipe
from tests.support.postgres import running_postgres
from tests.support.targets import DuckDB, JsonLines, PostgreSQL, PostgreSQLFaster, Target

if TYPE_CHECKING:
    import argparse
    from collections import Counter
    from collections.abc import Callable

    from tests.support.postgres import PostgresServer

DEFAULT, FASTER = "PostgreSQL", "PostgreSQL, `use_copy`, no validation"
HEAD = ["Target", "Rows a second:", "Wall seconds:", "CPU of the tap, seconds:"]
HEAD += ["of the target:", "of the server:", "The tap's share:", "Waited for"]


class Run(NamedTuple):
    """What a run took, in seconds; the last three are CPU time."""

    wall: float
    tap: float
    target: float
    server: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lines", type=int, default=10_000, help="responses (10000)")
    parser.add_argument("--runs", type=int, default=3, help="runs; the table has medians (3)")
    parser.add_argument("--only", default="", help="only the targets whose name holds this text")


def run(arguments: argparse.Namespace) -> None:
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as name, running_postgres() as server:
            rows = compare(Path(name), server, arguments)
    except pytest.skip.Exception as error:  # of the tests' own support
        raise BenchError(str(error)) from error
    print(markdown(HEAD, rows))


def compare(
    folder: Path, server: PostgresServer, arguments: argparse.Namespace
) -> list[list[str | float]]:
    """Return the rows of the table."""
    targets: dict[str, Callable[[Path], Target]] = {
        "DuckDB": DuckDB,
        DEFAULT: lambda path: PostgreSQL(path, server),
        FASTER: lambda path: PostgreSQLFaster(path, server),
        "JSON Lines": JsonLines,
    }
    targets = {name: target for name, target in targets.items() if arguments.only in name}
    if not targets:
        raise BenchError(f"no target has {arguments.only!r} in its name.")
    archive, config = folder / "export.zip", folder / "config.json"
    make(archive, arguments.lines)
    config.write_text(json.dumps({"archive_paths": [str(archive)]}))
    _, expected = measure([*TAP, str(config)], count_records)
    rounds = []
    for number in range(arguments.runs):
        runs = {}
        for name, target in targets.items():
            (place := folder / f"{name}-{number}").mkdir()
            runs[name] = once(config, target(place), expected, server)
            print(f"{name}: {runs[name]}", file=sys.stderr)
        rounds.append(runs)
    table: list[list[str | float]] = []
    for name in targets:
        of_target = Run(*map(median, zip(*(runs[name] for runs in rounds), strict=True)))
        wall, *seconds = of_target
        cpu = dict(zip(Run._fields[1:], seconds, strict=True))
        busiest, share = max(cpu, key=lambda each: cpu[each]), of_target.tap / sum(seconds)
        shown = [wall, of_target.tap, of_target.target, of_target.server or ""]
        rows_a_second = round(expected.total() / wall)
        table.append([name, rows_a_second, *shown, f"{share:.0%}", f"the {busiest}"])
    if DEFAULT in targets and FASTER in targets:
        pairs = [(runs[FASTER], runs[DEFAULT]) for runs in rounds]
        wall = median(one.wall / other.wall for one, other in pairs)
        target_cpu = median(one.target / other.target for one, other in pairs)
        table.append([f"{FASTER}: ratio", 1 / wall, wall, "", target_cpu, "", "", ""])
    return table


def once(config: Path, target: Target, expected: Counter[str], server: PostgresServer) -> Run:
    """Run the tap into a target, and return what it took."""
    before = server_cpu(server)
    tap, loading = measure_pipe([*TAP, str(config)], target.command())
    used = server_cpu(server) - before if isinstance(target, PostgreSQL) else 0
    loaded = {table: target.count(table) for table in expected}
    if loaded != expected:
        raise BenchError(f"{loaded} rows were loaded of {dict(expected)}.")
    return Run(loading.ended - tap.began, tap.cpu, loading.cpu, used)


def server_cpu(server: PostgresServer) -> float:
    """Return the CPU seconds of the server's processes for connections that have ended."""
    with server.connect("postgres") as connection:
        [[pid]] = connection.execute("SELECT pg_backend_pid()").fetchall()
        times = psutil.Process(psutil.Process(pid).ppid()).cpu_times()
    return float(times.children_user + times.children_system)
