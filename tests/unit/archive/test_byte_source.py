"""An archive's bytes, piece by piece: each as it lies there, and hardly one that nobody wants."""

from __future__ import annotations

import gc
import io
import json
import os
import struct
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_prolific_export.archive.byte_source import CHUNK, SMALL, open_local
from tap_prolific_export.archive.export_archive import ExportArchive, Part
from tap_prolific_export.archive.http_source import TAIL
from tap_prolific_export.errors import DataCollectionError, GoneError
from tests.support.file_host import (
    BEGIN,
    BYTES,
    END,
    HALF,
    NO_PIECE,
    PASSING,
    THE_END,
    all_of,
    cut,
    given_up,
    says,
    serving,
)
from tests.support.zips import Pipe

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.file_host import Twist

SLACK = 128 << 10
DESCRIPTORS = Path("/proc/self/fd")
needs_descriptors = pytest.mark.skipif(not DESCRIPTORS.exists(), reason="needs /proc")
needs_limits = pytest.mark.skipif(resource is None, reason="needs a limit on the size of files")


def around(*numbers: int) -> st.SearchStrategy[int]:
    """Return a number at or near one of these, or any up to there."""
    near = st.tuples(st.sampled_from(numbers), st.integers(-2, 2)).map(sum)
    return (near | st.integers(0, max(numbers))).map(lambda number: max(0, number))


class Reading(NamedTuple):
    """A piece that is read, whether it is kept, and whether all of it is read."""

    begin: int
    end: int
    keep: bool
    to_the_end: bool


@st.composite
def lives(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]] | None, list[Reading]]:
    """Return an archive's size, what is expected, and what is read."""
    size = draw(around(0, CHUNK, TAIL, TAIL + CHUNK, SMALL, SMALL + TAIL, SMALL + CHUNK))
    mark = around(0, CHUNK, 2 * CHUNK, max(0, size - TAIL), max(0, size - TAIL // 2), size)
    span = st.tuples(mark, mark).map(sorted)
    expected = draw(st.none() | st.lists(span.map(lambda each: (each[0], each[1])), max_size=3))
    reading = st.tuples(span, st.booleans(), st.booleans())
    readings = draw(st.lists(reading, min_size=1, max_size=4))
    return size, expected, [Reading(b, e, keep, whole) for (b, e), keep, whole in readings]


passing = st.sampled_from(
    [
        *(PASSING[name].twist for name in ("reset", "closed", "no body", "503", "403")),
        *(NO_PIECE[name].twist for name in ("no Content-Range", "a piece of what")),
        cut(1000),
        cut(CHUNK),
    ]
)


@settings(max_examples=120)
@given(
    life=lives(),
    turns=st.lists(st.integers(0, 3), max_size=8),
    takes_ranges=st.sampled_from([True, True, True, False]),
    faults=st.lists(passing, max_size=3),
)
def test_each_piece_is_what_lies_there_however_it_is_read(
    life: tuple[int, list[tuple[int, int]] | None, list[Reading]],
    turns: list[int],
    faults: list[Twist],
    *,
    takes_ranges: bool,
) -> None:
    size, expected, readings = life
    with serving(BYTES[:size]) as host:
        host.takes_ranges = takes_ranges
        host.faults = faults
        with host.opened() as archive:
            if expected is not None:
                archive.prefetch(expected)
            readers = [archive.read(each.begin, each.end, keep=each.keep) for each in readings]
            got = [b""] * len(readings)
            for turn in turns:
                got[turn % len(got)] += next(readers[turn % len(got)], b"")
            for number, reading in enumerate(readings):
                there = BYTES[reading.begin : min(reading.end, size)]
                if reading.to_the_end:
                    assert got[number] + b"".join(readers[number]) == there
                else:
                    assert there.startswith(got[number])


class Member(NamedTuple):
    """How a member is packed.

    Attributes:
        longer: By so much is the extra field of its own header longer than the directory's.
    """

    content: bytes
    method: int = zipfile.ZIP_STORED
    is_zip64: bool = False
    longer: int = 0

    def __repr__(self) -> str:
        return f"{len(self.content)} bytes, {self[1:]}"


@dataclass(frozen=True)
class Layout:
    """An archive, and what it holds below its top folder."""

    root: str
    members: dict[str, Member]
    comment: bytes = b""
    to: type[io.BytesIO] = io.BytesIO

    def packed(self) -> bytes:
        buffer = self.to()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.comment = self.comment
            for name, member in self.members.items():
                info = zipfile.ZipInfo(f"{self.root}{name}", (2026, 2, 2, 12, 0, 0))
                info.compress_type = member.method
                info.extra = struct.pack("<HH", 0x9999, member.longer) + bytes(member.longer)
                with archive.open(info, "w", force_zip64=member.is_zip64) as file:
                    file.write(member.content)
                info.extra = b""
        return buffer.getvalue()


LINE = 1000


def lines_of(size: int) -> bytes:
    numbers = range(size // LINE)
    rows = [{"n": n, "a": BYTES[n * LINE : n * LINE + LINE // 2].hex()} for n in numbers]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@st.composite
def layouts(draw: st.DrawFn, *, large: bool) -> Layout:
    """Return an archive of 4 MiB at least, or one that is smaller."""
    size = st.integers(0, CHUNK * (6 if large else 2))
    contents = {
        "collection.json": b'{"id": "c1"}',
        "responses.jsonl": lines_of(draw(size)),
        "README.md": BYTES[: draw(size) // 2],
        **{f"files/{n}": BYTES[n : n + draw(size)] for n in range(draw(st.integers(0, 4)))},
    }
    if large:
        contents["files/rest"] = BYTES[: SMALL + draw(st.integers(0, CHUNK))]
    members = {}
    for name in draw(st.permutations([*contents])):
        packing = st.tuples(
            st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
            st.booleans(),
            st.sampled_from([0, 9, 40] + [41, 2000] * large),
        )
        members[name] = Member(contents[name], *draw(packing))
    # Of so many, the directory is longer than the tail.
    for number in range(draw(st.sampled_from([0, 700]))):
        members[f"other/{'x' * 99}{number}"] = Member(b"")
    return Layout(
        draw(st.sampled_from(["", "export c1/"])),
        members,
        draw(st.sampled_from([b"", b"A comment.", b"x" * 65_535])),
        draw(st.sampled_from([io.BytesIO, Pipe])),
    )


class Read(NamedTuple):
    """What was sent for what was read."""

    requests: int
    sent: int
    size: int
    wanted: int


def read(layout: Layout, takes: frozenset[int]) -> Read:
    """Read an archive's metadata, twice its lines, and some uploaded files."""
    data = layout.packed()
    wanted = ["collection.json", "responses.jsonl"]
    paths = [path for path in layout.members if path.startswith("files/")]
    taken = [path for number, path in enumerate(paths) if number in takes]
    with serving(data) as host, host.opened() as source:
        archive = ExportArchive(source, "collection x")
        archive.prefetch({Part.LINES, Part.UPLOADS}, lambda _, names: names[0] in taken)
        assert archive.metadata().fields == {"id": "c1"}
        rows = [json.loads(line) for line in layout.members["responses.jsonl"].content.splitlines()]
        for _ in range(2):
            assert [
                line for lines in archive.lines(lambda line, _: [line]) for line in lines
            ] == rows
        for path in taken:
            assert b"".join(archive.content(path)) == layout.members[path].content
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        directory = len(data) - packed.start_dir - len(layout.comment)
        sizes = [packed.getinfo(f"{layout.root}{path}").compress_size for path in wanted + taken]
    return Read(len(host.asked), host.sent, len(data), sum(sizes) + directory)


takes = st.frozensets(st.integers(0, 4))


@settings(max_examples=30)
@given(layout=layouts(large=True), takes=takes)
def test_hardly_a_byte_is_fetched_that_nobody_reads(layout: Layout, takes: frozenset[int]) -> None:
    found = read(layout, takes)
    assert found.size >= SMALL
    assert found.sent <= 1.05 * found.wanted + SLACK


@settings(max_examples=30)
@given(layout=layouts(large=False), takes=takes)
def test_a_small_archive_takes_two_requests(layout: Layout, takes: frozenset[int]) -> None:
    found = read(layout, takes)
    assert found.size < SMALL
    assert found.requests <= (1 if found.size <= TAIL else 2)
    assert found.sent <= found.size


@pytest.mark.parametrize("takes", [set(), {1}, {1, 2}])
def test_of_a_small_archive_what_lies_before_or_behind_all_that_is_read_is_not_fetched(
    takes: set[int],
) -> None:
    contents = {
        "files/0": BYTES[:CHUNK],
        "responses.jsonl": lines_of(CHUNK),
        "collection.json": b'{"id": "c1"}',
        "files/1": BYTES[:CHUNK],
        "files/2": BYTES[:CHUNK],
        "files/3": BYTES[:CHUNK],
    }
    layout = Layout("", {name: Member(content) for name, content in contents.items()})
    found = read(layout, frozenset(takes))
    assert found.requests == 2
    assert found.sent <= found.wanted + TAIL + 1000


@pytest.mark.parametrize("content", [b"", b"content"])
def test_a_header_may_be_longer_than_was_expected_with_all_its_data(content: bytes) -> None:
    members = {"collection.json": Member(b"{}"), "files/0": Member(content, longer=5000)}
    data = Layout("", members).packed()
    with serving(data) as host, host.opened() as source:
        assert b"".join(ExportArchive(source, "x").content("files/0")) == content


class TestWhatIsKept:
    """What is read several times is fetched once, however far each reader goes."""

    PIECE = f"{BEGIN}-{END - 1}"

    def test_one_reader_stops_early_and_others_go_on(self) -> None:
        with serving() as host, host.opened() as archive:
            first, second, third = (archive.read(BEGIN, END, keep=True) for _ in range(3))
            begun = next(first)
            assert begun + next(first) != BYTES[BEGIN:END]
            assert b"".join(second) == b"".join(third) == BYTES[BEGIN:END]
            assert host.ranges() == [THE_END, self.PIECE]

    def test_they_take_turns(self) -> None:
        end = BEGIN + 5 * CHUNK
        with serving() as host, host.opened() as archive:
            ahead, behind = (archive.read(BEGIN, end, keep=True) for _ in range(2))
            first, second = b"", b""
            while len(first) <= 2 * CHUNK:
                first += next(ahead)
            while len(second) < end - BEGIN:
                second += next(behind)
                first += next(ahead, b"")
            assert first == second == BYTES[BEGIN:end]
            assert host.sent == TAIL + end - BEGIN

    def test_one_goes_on_where_another_has_failed(self) -> None:
        with serving() as host, host.opened() as archive:
            host.faults = [cut(HALF), says(404)]
            with pytest.raises(GoneError, match="404"):
                b"".join(archive.read(BEGIN, END, keep=True))
            assert b"".join(archive.read(BEGIN, END, keep=True)) == BYTES[BEGIN:END]
            rest = f"{BEGIN + HALF}-{END - 1}"
            assert host.ranges() == [THE_END, self.PIECE, rest, rest]

    def test_what_is_not_kept_is_fetched_again(self) -> None:
        with serving() as host, host.opened() as archive:
            for _ in range(2):
                assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]
            assert host.ranges() == [THE_END, self.PIECE, self.PIECE]


def sizes_below(folder: Path) -> list[int]:
    """Return the sizes of the files there that are open; none may have a name."""
    assert [*folder.iterdir()] == []
    found = []
    for link in DESCRIPTORS.iterdir():
        with suppress(OSError):  # it has been closed meanwhile
            if str(link.readlink()).startswith(str(folder)):
                found.append(link.stat().st_size)
    return found


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@needs_descriptors
class TestTemporaryFiles:
    """They have no name, hold what is kept and no more, and are closed when the archive is."""

    def test_only_what_is_kept_is_there(self, temporary: Path) -> None:
        with serving() as host, host.opened() as archive:
            assert all_of(archive) == BYTES
            assert sizes_below(temporary) == []
            reader = archive.read(BEGIN, END, keep=True)
            came = len(next(reader))
            assert sum(sizes_below(temporary)) <= came
            for begin in (BEGIN, BEGIN + HALF, len(BYTES) - TAIL - 9, len(BYTES) - TAIL):
                b"".join(archive.read(begin, begin + 2 * HALF, keep=True))
            assert sorted(sizes_below(temporary)) == [9, 2 * HALF, 2 * HALF]
        assert not sizes_below(temporary)

    def test_all_of_an_archive_is_there_once_where_pieces_cannot_be_had(
        self, temporary: Path
    ) -> None:
        with serving() as host:
            host.takes_ranges = False
            host.faults = [cut(HALF), cut(HALF)]
            with host.opened() as archive:
                b"".join(archive.read(BEGIN, END, keep=True))
                assert sizes_below(temporary) == [len(BYTES)]
            assert not sizes_below(temporary)

    @pytest.mark.parametrize("takes_ranges", [True, False])
    @pytest.mark.parametrize("fault", [says(412), PASSING["reset"].twist], ids=["412", "reset"])
    def test_nothing_stays_open(self, fault: Twist, temporary: Path, *, takes_ranges: bool) -> None:
        gc.collect()
        before = len([*DESCRIPTORS.iterdir()])
        with serving() as host:
            host.takes_ranges = takes_ranges
            with suppress(DataCollectionError, KeyError), host.opened() as archive:
                kept, other = (archive.read(BEGIN, END, keep=keep) for keep in (True, False))
                next(kept)
                next(other)
                host.faults = [cut(HALF)]
                host.always = fault
                b"".join(archive.read(0, END, keep=True))
                raise KeyError  # of whoever reads it
            assert not sizes_below(temporary)
        del kept, other, archive, host
        gc.collect()
        assert len([*DESCRIPTORS.iterdir()]) == before

    def test_nor_does_one_that_is_given_up(self, temporary: Path) -> None:
        with serving() as host:
            host.takes_ranges = False
            host.always = cut(HALF)
            with given_up("broke off"), host.opened():
                pass
            assert not sizes_below(temporary)


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Let files become no larger, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@needs_limits
class TestAFullDisk:
    full = pytest.raises(
        DataCollectionError, match=r"^collection x: .* temporary file \(File too large\).*TMPDIR"
    )

    @pytest.mark.parametrize("size", [3000, 3 * CHUNK])
    def test_is_an_error_where_all_is_fetched(self, size: int) -> None:
        with serving(BYTES[:size]) as host:
            host.takes_ranges = False
            with no_file_above(100), self.full, host.opened():
                pass

    @pytest.mark.parametrize("size", [3000, 3 * CHUNK])
    def test_is_an_error_where_something_is_kept(self, size: int) -> None:
        with serving() as host, no_file_above(100), self.full, host.opened() as archive:
            b"".join(archive.read(BEGIN, BEGIN + size, keep=True))
            b"".join(archive.read(BEGIN, BEGIN + size, keep=True))

    def test_nothing_is_left_out_when_there_is_space_again(self) -> None:
        with serving() as host, host.opened() as archive:
            with no_file_above(HALF - 5), self.full:
                b"".join(archive.read(BEGIN, END, keep=True))
            assert b"".join(archive.read(BEGIN, END, keep=True)) == BYTES[BEGIN:END]


class TestOnDisk:
    def test_a_piece_is_what_lies_there_whoever_reads_at_the_same_time(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "x.zip"
        path.write_bytes(BYTES)
        os.utime(path, (0, 10**9))
        pieces = [(begin, begin + 3 * CHUNK) for begin in range(0, len(BYTES), CHUNK)]
        with open_local(path) as archive, ThreadPoolExecutor(8) as pool:
            archive.prefetch(pieces)
            assert (archive.size, archive.etag) == (len(BYTES), None)
            assert archive.last_modified == datetime.fromtimestamp(10**9, timezone.utc)
            got = pool.map(lambda piece: b"".join(archive.read(*piece, keep=True)), pieces)
            assert [*got] == [BYTES[begin:end] for begin, end in pieces]

    @pytest.mark.parametrize("name", ["nothing.zip", "."])
    def test_what_cannot_be_read_is_an_error(self, name: str, tmp_path: Path) -> None:
        with (
            pytest.raises(DataCollectionError, match=r"Cannot be read.*archive_paths") as raised,
            open_local(tmp_path / name),
        ):
            pass
        assert raised.value.what == f"archive {tmp_path / name}"
