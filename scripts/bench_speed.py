"""The tap's CPU time, against the least that any tap needs (the floor) or against a plainer run.

Each row of the table is one measurement of two processes, which alternate, in reverse order every
second run. CPU seconds are those beyond start-up: those of the same process on an archive of one
response are subtracted. The table has medians; a ratio over its limit is bold. Fails if a process
fails, if rows are missing, or if the floor's rows are not the tap's.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from scripts.bench_archives import QUESTIONS, Kind, make
from scripts.bench_tools import TAP, BenchError, count_records, digits, markdown, measure
from tests.support.stand_in.samples import STUDY

if TYPE_CHECKING:
    import argparse
    from collections import Counter
    from collections.abc import Callable

    from scripts.bench_tools import Usage

    Command = Callable[[int], list[str]]  # from the number of responses to Python's arguments

HEAD = ["Run", "CPU seconds:", "Compared with", "CPU seconds:", "Ratio:", "At most:"]
MEMORY = ["Peak memory, MB:", "Bytes per response:"]
MADE_OF_LINES = ("responses", "answers", "tasks")
FEW = 50  # responses of which the floor's rows are compared with the tap's, one by one


@dataclass(frozen=True)
class Row:
    """A row of the table: a run of the tap, and what it is compared with.

    Attributes:
        at_most: The limit of the ratio.
        config: Settings besides `archive_paths`.
        deselects: Whether the catalog deselects one question.
    """

    name: str
    at_most: float
    kind: Kind = Kind.COLLECTION
    streams: Literal["responses", "all"] = "responses"
    config: dict[str, Any] = field(default_factory=dict)
    deselects: bool = False
    compared_with: Literal["the floor", "the plain run"] = "the floor"


PLAIN_RUN = Row("collection, `responses`", 1.5)
_against_plain_run = partial(Row, compared_with="the plain run")
ROWS = (
    Row("collection, all streams", 1.0, streams="all"),
    PLAIN_RUN,
    Row("nested batch, all streams", 1.2, Kind.NESTED, "all"),
    Row("nested batch, `responses`", 1.5, Kind.NESTED),
    Row("flat batch, all streams", 1.2, Kind.FLAT, "all"),
    Row("flat batch, `responses`", 1.5, Kind.FLAT),
    _against_plain_run("a question deselected", 1.3, deselects=True),
    _against_plain_run("`freeze_schema`", 1.3, config={"freeze_schema": True}),
    _against_plain_run("`start_date`", 1.3, config={"start_date": "2026-01-01"}),
    _against_plain_run("`study_id`", 1.3, config={"study_id": STUDY}),
    Row(
        "a stream map",
        4.0,
        config={"stream_maps": {"responses": {"participant_id": "md5(participant_id)"}}},
    ),
    Row("flattening", 4.0, config={"flattening_enabled": True, "flattening_max_depth": 1}),
    _against_plain_run("another shape in every line", 1.5, Kind.OTHER_SHAPE),
    _against_plain_run("an unknown shape in every tenth line", 1.5, Kind.UNKNOWN_SHAPE),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lines", type=int, default=100_000, help="responses (100000)")
    parser.add_argument("--runs", type=int, default=3, help="runs; the table has medians (3)")
    parser.add_argument("--only", default="", help="only the rows whose name holds this text")
    parser.add_argument(
        "--memory", action="store_true", help="also measure memory, with up to ten times as many"
    )


def run(arguments: argparse.Namespace) -> None:
    rows: list[list[str | float]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        bench = Bench(Path(name), arguments.lines)
        for row in ROWS:
            if arguments.only in row.name:
                memory = bench.memory(row) if arguments.memory else []
                rows.append([*bench.compare(row, arguments.runs), *memory])
    if not rows:
        raise BenchError(f"no row has {arguments.only!r} in its name.")
    print(markdown(HEAD + MEMORY * arguments.memory, rows))


class Bench:
    """Measures rows of the table on archives in a folder, each made when it is first needed."""

    def __init__(self, folder: Path, lines: int) -> None:
        self._folder = folder
        self._lines = lines

    def compare(self, row: Row, runs: int) -> list[str | float]:
        """Return the cells of a row, without those of memory."""
        this: Command = partial(self._tap, row)
        other: Command = partial(self._tap, PLAIN_RUN)
        if row.compared_with == "the floor":
            other = partial(self._floor, row)
            if row.streams == "all" and _rows(this(FEW)) != _rows(other(FEW)):
                raise BenchError(f"{row.name}: the floor's rows are not the tap's.")
        pairs = []
        for number in range(runs):
            order = -1 if number % 2 else 1
            both = [self._seconds(each) for each in (this, other)[::order]]
            (one, rows), (another, others) = both[::order]
            if rows != others:
                raise BenchError(f"{row.name}: {rows} rows; {row.compared_with}: {others}.")
            print(f"{row.name}: {one:.3f} s; {row.compared_with}: {another:.3f} s", file=sys.stderr)
            pairs.append((one, another, one / another))
        seconds, other_seconds, ratio = map(median, zip(*pairs, strict=True))
        shown = f"**{digits(ratio)}**" if ratio > row.at_most else ratio
        return [row.name, seconds, row.compared_with, other_seconds, shown, row.at_most]

    def memory(self, row: Row) -> list[float]:
        """Return the peak memory, and how much it grows per response, up to ten times as many."""
        command = partial(self._tap, row)
        few, many = (_used(command, times * self._lines)[0].memory for times in (1, 10))
        return [few, (many - few) * 1e6 / (9 * self._lines)]

    def _seconds(self, command: Command) -> tuple[float, list[int]]:
        """Run a process, and return its CPU seconds beyond start-up, and its numbers of rows."""
        usage, records = _used(command, self._lines)
        return usage.cpu - _used(command, 1)[0].cpu, [records[each] for each in MADE_OF_LINES]

    def _floor(self, row: Row, count: int) -> list[str]:
        return ["-m", "scripts.bench_floor", row.streams, self._archive(row.kind, count)]

    def _tap(self, row: Row, count: int) -> list[str]:
        config, catalog = self._folder / "config.json", self._folder / "catalog.json"
        catalog.write_text(json.dumps(self._catalog(row)))
        paths = [self._archive(row.kind, count)]
        config.write_text(json.dumps({"archive_paths": paths, **row.config}))
        return [*TAP, str(config), "--catalog", str(catalog)]

    def _archive(self, kind: Kind, count: int) -> str:
        path = self._folder / f"{kind.name}-{count}.zip"
        if not path.exists():
            make(path, count, kind)
        return str(path)

    def _catalog(self, row: Row) -> Any:
        """Return a catalog, which serves for every archive: all have the same questions."""
        catalog = json.loads(self._discovered)
        digest = hashlib.sha256(QUESTIONS[0]["id"].encode()).hexdigest()[:8]
        [question] = {
            tuple(entry["breadcrumb"])
            for stream in catalog["streams"]
            for entry in stream["metadata"]
            if entry["breadcrumb"] and entry["breadcrumb"][-1].endswith(f"_{digest}")
        }
        for stream in catalog["streams"]:
            is_selected = row.streams in {"all", stream["tap_stream_id"]}
            selected = {(): is_selected, question: not row.deselects}
            for entry in stream["metadata"]:
                entry["metadata"]["selected"] = selected.get(tuple(entry["breadcrumb"]), True)
        return catalog

    @cached_property
    def _discovered(self) -> bytes:
        config = self._folder / "discovery.json"
        config.write_text(json.dumps({"archive_paths": [self._archive(Kind.COLLECTION, 1)]}))
        return measure([*TAP, str(config), "--discover"], b"".join)[1]


def _used(command: Command, count: int) -> tuple[Usage, Counter[str]]:
    """Run a process on so many responses, and return its usage and its records per stream."""
    usage, records = measure(command(count), count_records)
    if records["responses"] != count:
        raise BenchError(f"{records} came of {count} responses: {' '.join(command(count))}")
    return usage, records


def _rows(arguments: list[str]) -> list[str]:
    """Return the rows of `answers` and `tasks` that a process writes, as sorted JSON text."""
    _, lines = measure(arguments, list)
    messages = [message for message in map(json.loads, lines) if message["type"] == "RECORD"]
    rows = [each["record"] for each in messages if each["stream"] in {"answers", "tasks"}]
    return sorted(json.dumps({**row, "exported_at": None}, sort_keys=True) for row in rows)
