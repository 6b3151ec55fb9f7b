"""What a run fetches from archives of several sizes, against a run that downloads all of them.

A host on loopback serves the archives. In one run it supports ranges, in the other it ignores them,
and the tap downloads the whole archive into a temporary file. The uploaded files in the archives
are sparse, so they need little disk space. Exits with 1 if something is missing, or if a run
fetches more than it needs.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from scripts.bench_tools import (
    CHUNK,
    UNITS,
    BenchError,
    Host,
    Usage,
    count_of,
    digits,
    lacks_room,
    markdown,
    run_tap,
    say,
    size_of,
    sizes_of,
)
from tests.support.stand_in import samples

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from tests.support.stand_in import Hosted

# A larger archive is downloaded completely only once: it takes long, and the times vary little.
LARGE = 4 * UNITS["GB"]
# A run may fetch at most TIMES the bytes that it needs, plus MORE bytes.
TIMES, MORE = 1.05, 128 << 10
WORDS = 120  # in a free text
PACKED_AT = (2026, 11, 20, 12, 0, 0)
HEAD = (
    "Archive",
    "Run",
    "Runs:",
    "Bytes fetched:",
    "Requests:",
    "Peak memory:",
    "CPU seconds:",
    "Wall seconds:",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    sizes = "25MB,50MB,100MB,250MB"
    parser.add_argument(
        "--sizes", type=sizes_of, default="10MB,1GB,10GB", help="archive sizes (10MB,1GB,10GB)"
    )
    parser.add_argument(
        "--answers", type=size_of, default="5MB", help="compressed size of the answers (5MB)"
    )
    parser.add_argument(
        "--uploads",
        type=sizes_of,
        default=sizes,
        help=f"sizes of uploaded files, in turn ({sizes})",
    )
    parser.add_argument(
        "--runs", type=count_of, default=3, help="runs; the table shows medians (3)"
    )
    parser.add_argument(
        "--store", action="store_true", help="also run with uploaded files stored in a directory"
    )


def run(arguments: argparse.Namespace) -> int:
    report = Report()
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            if lack := lacks_room(Path(name), 4 * arguments.answers):
                raise BenchError(f"an archive of {say(size)}: {lack}.")
            hosted = samples.breakfast_diary(0)
            path = Path(name) / "export.zip"
            made = make(path, hosted, size, arguments.answers, arguments.uploads)
            report.notes.append(
                f"{say(made.size)}: {made.responses} responses; uploaded files: {made.uploads}, of "
                f"{say(made.upload_bytes)}; the rest: {made.answer_bytes:,} bytes."
            )
            with Host(hosted, path) as host:
                for stores in (False, True) if arguments.store else (False,):
                    compare(made, host, report, arguments.runs, stores=stores)
    print(markdown(HEAD, report.rows))
    print("", *[f"- {note}" for note in report.notes], sep="\n")
    return int(report.is_bad)


@dataclass
class Report:
    """What is printed: the table's rows, notes on them, and whether a check failed."""

    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_bad: bool = False


@dataclass(frozen=True)
class Made:
    """An archive on disk, and its content.

    Attributes:
        size: Size of the whole archive in bytes.
        upload_bytes: Size of the uploaded files as stored in the archive.
        answer_bytes: Size of the lines, the metadata and the directory.
    """

    path: Path
    size: int
    responses: int
    uploads: int
    upload_bytes: int
    answer_bytes: int


def make(path: Path, hosted: Hosted, size: int, answers: int, sizes: list[int]) -> Made:
    """Write an archive that needs little disk space: its uploaded files are sparse.

    Args:
        path: The file to write.
        hosted: The data collection.
        size: Size of the archive without its directory.
        answers: Compressed size of the lines.
        sizes: Sizes of the uploaded files, in turn; the last file fills the remaining space.
    """
    owners = _owners(size - answers, sizes)
    metadata = {"id": hosted.id, **hosted.metadata, "instructions": hosted.instructions}
    metadata[hosted.layout_field] = hosted.layout
    with path.open("w+b") as file, zipfile.ZipFile(file, "w") as archive:
        lines = _lines(owners)
        responses = 0
        with archive.open(_info("responses.jsonl"), "w") as member:
            while file.tell() < answers or responses < owners:
                member.write(next(lines))
                responses += 1
        archive.writestr(_info("collection.json"), json.dumps(metadata, indent=2))
        uploads_at = file.tell()
        for number in range(owners):
            info = _info(f"files/{_upload_name(number)}", zipfile.ZIP_STORED)
            left = max(0, size - file.tell())
            is_last = number == owners - 1
            info.file_size = left if is_last else sizes[number % len(sizes)]
            info.compress_size = info.file_size
            info.CRC = _checksum_of_zeros(info.file_size)
            info.header_offset = file.tell()
            file.write(info.FileHeader())
            file.seek(info.file_size, os.SEEK_CUR)
            archive.filelist.append(info)
            archive.start_dir = file.tell()
        directory_at = archive.start_dir
    uploads, whole = directory_at - uploads_at, path.stat().st_size
    return Made(path, whole, responses, owners, uploads, whole - uploads)


def _info(name: str, method: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, PACKED_AT)
    info.compress_type = method
    return info


def _owners(room: int, sizes: list[int]) -> int:
    """Return how many uploaded files, one per submission, fill the space."""
    number = 0
    while room > 0:
        room -= sizes[number % len(sizes)]
        number += 1
    return number


def _upload_name(number: int) -> str:
    return f"{samples.breakfast(number).line['submission_id']}_film {number}.mp4"


def _lines(owners: int) -> Iterator[bytes]:
    """Yield the lines of responses; the first `owners` lines have an uploaded file."""
    chance = random.Random(0)  # noqa: S311  # test data, not a secret
    words = [f"{chance.getrandbits(bits):x}" for bits in range(8, 40) for _ in range(100)]
    for number in range(sys.maxsize):
        line = samples.breakfast(number).line
        line["responses"]["q-name"] = {"value": " ".join(chance.choices(words, k=WORDS))}
        line["responses"].pop("q-photo", None)
        if number < owners:
            file = {"path": f"files/{_upload_name(number)}", "file_name": f"film {number}.mp4"}
            line["responses"]["q-photo"] = {"value": {**file, "content_type": "video/mp4"}}
        yield json.dumps(line).encode() + b"\n"


@cache
def _checksum_of_zeros(size: int) -> int:
    checksum, zeros = 0, bytes(CHUNK)
    for begin in range(0, size, CHUNK):
        checksum = zlib.crc32(zeros[: size - begin], checksum)
    return checksum


@dataclass(frozen=True)
class Run:
    """A run of the tap, and what it fetched from the archive's host."""

    usage: Usage
    fetched: int
    requests: int

    def numbers(self) -> tuple[float, ...]:
        """Return the table's numbers."""
        used = self.usage
        times = (used.cpu_seconds, used.wall_seconds)
        return (self.fetched, self.requests, used.peak_memory, *times)


def compare(made: Made, host: Host, report: Report, runs: int, *, stores: bool) -> None:
    """Run the tap in pairs, with and without ranges, and add the results to the report."""
    name = "with files stored" if stores else "answers only"
    what = f"{say(made.size)}, {name}"
    stored = made.upload_bytes if stores else 0
    if lack := lacks_room(made.path.parent, stored):
        report.notes.append(f"{what}: left out, as {lack}.")
        return
    downloads = runs if made.size <= LARGE else 1
    if lack := lacks_room(made.path.parent, stored + made.size):
        report.notes.append(f"{what}, downloading it all: left out, as {lack}.")
        downloads = 0
    these: list[Run] = []
    others: list[Run] = []
    for number in range(runs):
        these.append(once(made, host, what, stores=stores, ranges=True))
        if number < downloads:
            others.append(once(made, host, what, stores=stores, ranges=False))
    report.rows.append([say(made.size), name, *_medians(these)])
    if others:
        report.rows.append(["", "downloading it all", *_medians(others)])
        report.rows.append(["", "ratio", *_ratios(these, others)])
    most, needed = max(each.fetched for each in these), made.answer_bytes + stored
    if most > TIMES * needed + MORE:
        report.is_bad = True
        report.notes.append(f"**{what}: {most:,} bytes, where {needed:,} are needed.**")


def once(made: Made, host: Host, what: str, *, stores: bool, ranges: bool) -> Run:
    """Run the tap once.

    Raises:
        BenchError: The run did not deliver everything, or used ranges where it should not.
    """
    store = made.path.parent / "store"
    host.begin(ranges=ranges)
    config = {**host.config, "files_uri": store.as_uri()} if stores else host.config
    usage = run_tap(config, made.path.parent)
    fetched, requests = host.counts()
    files = [path for path in store.rglob("*") if path.is_file()]
    came = [usage.records["responses"], usage.records["files"], len(files)]
    shutil.rmtree(store, ignore_errors=True)
    print(
        f"{what}{', with ranges' if ranges else ', without ranges'}: {fetched} bytes in "
        f"{requests} requests, {say(usage.peak_memory)}, {usage.cpu_seconds:.2f} s CPU, "
        f"{usage.wall_seconds:.2f} s",
        file=sys.stderr,
    )
    there = [made.responses, made.uploads, made.uploads if stores else 0]
    if came != there:
        raise BenchError(f"{what}: {came} responses, rows of files and files came of {there}.")
    if not ranges and fetched < made.size:
        raise BenchError(f"{what}: of {made.size} bytes not all were downloaded: {fetched}.")
    return Run(usage, fetched, requests)


def _medians(runs: list[Run]) -> list[str]:
    numbers = zip(*(each.numbers() for each in runs), strict=True)
    fetched, requests, memory, cpu, wall = map(median, numbers)
    bytes_ = f"{fetched:,.0f}"
    return [str(len(runs)), bytes_, f"{requests:g}", say(memory), digits(cpu), digits(wall)]


def _ratios(these: list[Run], others: list[Run]) -> list[str]:
    """Return the medians of the ratios of each pair."""
    pairs = [*zip(these, others, strict=False)]
    ratios = [
        [one / another for one, another in zip(this.numbers(), other.numbers(), strict=True)]
        for this, other in pairs
    ]
    return [str(len(pairs)), *[digits(median(each)) for each in zip(*ratios, strict=True)]]
