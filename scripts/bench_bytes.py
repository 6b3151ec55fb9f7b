"""What a run fetches from archives of several sizes, against a run that downloads all of them.

The stand-in serves the archives. In one run it supports ranges, in the other it ignores them, and
the tap downloads the whole archive into a temporary file. Fails if rows or files are missing, or if
a run fetches more than it needs.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import replace
from mmap import ACCESS_READ, mmap
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from scripts.bench_archives import COLLECTION, make
from scripts.bench_tools import TAP, BenchError, count_records, markdown, measure
from tests.support.stand_in import StandIn, World

if TYPE_CHECKING:
    import argparse

TIMES, MORE = 1.05, 128 << 10  # a run may fetch TIMES the bytes that it needs, and MORE bytes
MB = 10**6
UPLOAD = 100 * MB  # size of each uploaded file, or of the only one if all are smaller
SPARE = 500 * MB  # disk space that stays free
HEAD = ["Archive, MB:", "Run", "Bytes fetched:", "Requests:", "Peak memory, MB:", "CPU seconds:"]
HEAD += ["Wall seconds:"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--uploads",
        type=int,
        nargs="+",
        default=[5, 1000, 10_000],
        help="for each archive, MB of uploaded files (5 1000 10000)",
    )
    parser.add_argument("--lines", type=int, default=25_000, help="responses (25000)")
    parser.add_argument("--runs", type=int, default=3, help="runs; the table has medians (3)")
    parser.add_argument("--store", action="store_true", help="also store the uploaded files")


def run(arguments: argparse.Namespace) -> None:
    rows: list[list[str | float]] = []
    for megabytes in arguments.uploads:
        size = megabytes * MB
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            # A downloaded archive and stored files, unlike the archive itself, are not sparse.
            if shutil.disk_usage(name).free < size * (1 + arguments.store) + SPARE:
                raise BenchError(f"{megabytes} MB of uploaded files: the disk is too small.")
            path, uploads = Path(name) / "export.zip", [UPLOAD] * (size // UPLOAD) or [size]
            make(path, arguments.lines, uploads=uploads)
            for stores in (False, True)[: 1 + arguments.store]:
                expected = (arguments.lines, len(uploads), len(uploads) * stores)
                needed = path.stat().st_size - (0 if stores else size)
                rows += compare(path, arguments.runs, expected, needed)
    print(markdown(HEAD, rows))


def compare(
    path: Path, runs: int, expected: tuple[int, int, int], needed: int
) -> list[list[str | float]]:
    """Run the tap in pairs, with and without ranges, and return three rows of the table.

    Args:
        path: The archive.
        runs: Number of pairs.
        expected: Number of responses, of rows of `files`, and of stored files.
        needed: How many bytes of the archive the tap needs.
    """
    name = "with files stored" if expected[2] else "answers only"
    these, others, ratios = [], [], []
    for _ in range(runs):
        this, other = (once(path, expected, ranges=ranges) for ranges in (True, False))
        print(f"{path.stat().st_size:,} bytes, {name}: {this}, {other}", file=sys.stderr)
        if this[0] > TIMES * needed + MORE:
            raise BenchError(f"{this[0]:,} bytes were fetched, where {needed:,} are needed.")
        these.append(this)
        others.append(other)
        ratios.append([one / another for one, another in zip(this, other, strict=True)])
    size = f"{path.stat().st_size / MB:,.1f}"
    table = [(name, these), ("downloading it all", others), ("ratio", ratios)]
    return [[size, which, *map(median, zip(*each, strict=True))] for which, each in table]


def once(path: Path, expected: tuple[int, int, int], *, ranges: bool) -> list[float]:
    """Run the tap, and return the numbers of the table; bytes include the HTTP headers."""
    store, config = path.with_name("store"), path.with_name("config.json")
    world = World()
    world.takes_ranges = ranges
    with path.open("rb") as file:
        world.host(replace(COLLECTION, archive_on_disk=mmap(file.fileno(), 0, access=ACCESS_READ)))
    settings = {"api_token": world.token, "collection_ids": [COLLECTION.id]}
    settings |= {"files_uri": store.as_uri()} if expected[2] else {}
    with StandIn(world) as stand_in:
        config.write_text(json.dumps({"api_url": stand_in.api_url, **settings}))
        usage, records = measure([*TAP, str(config)], count_records)
    stored = sum(each.is_file() for each in store.rglob("*"))
    shutil.rmtree(store, ignore_errors=True)
    if (came := (records["responses"], records["files"], stored)) != expected:
        raise BenchError(f"{came} responses, rows of files and files came of {expected}.")
    requests = len(world.asked("archives"))
    return [world.bytes_sent["archives"], requests, usage.memory, usage.cpu, usage.wall]
