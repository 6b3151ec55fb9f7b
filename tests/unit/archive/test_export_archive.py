"""What an archive holds, however it is packed, and how one that is damaged fails."""

from __future__ import annotations

import json
import struct
import zipfile
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tap_prolific_export.archive import export_archive as archives
from tap_prolific_export.archive.byte_source import LocalSource
from tap_prolific_export.archive.export_archive import (
    ExportArchive,
    Limits,
    Metadata,
    Skipped,
    archive_ref,
)
from tap_prolific_export.errors import DataCollectionError
from tap_prolific_export.model import DataCollectionRef, Kind
from tests.support.hostile import Entry, deflated, zipped
from tests.support.memory_archives import NAME, open_archive
from tests.support.zips import Pipe, pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Date = tuple[int, int, int, int, int, int]

SAID = "what-a-participant-said"
BOM = b"\xef\xbb\xbf"
LINES = b'{"submission_id": "s1", "a": "%b"}\n{"submission_id": "s2"}\n' % SAID.encode()
METADATA = {"id": "c1", "name": SAID}
METADATA_TEXT = json.dumps(METADATA).encode()
UPLOAD = f"files/s1_{SAID}.txt"
COLLECTION = {
    "responses.jsonl": LINES,
    "collection.json": METADATA_TEXT,
    UPLOAD: b"0123456789" * 9,
    "README.md": b"About this export.",
}


Row = dict[str, Any]


class Line(NamedTuple):
    object: Row
    as_it_came: Row | None = None


class Content(NamedTuple):
    kind: Kind
    metadata: dict[str, Any]
    lines: list[Line]
    sizes: dict[str, int]


ROWS = [Line({"submission_id": "s1", "a": SAID}), Line({"submission_id": "s2"})]
CONTENT = Content(Kind.COLLECTION, METADATA, ROWS, {UPLOAD: 90})


def below(folder: str) -> dict[str, bytes]:
    return {f"{folder}{name}": content for name, content in COLLECTION.items()}


def with_lines(lines: bytes) -> bytes:
    return pack(COLLECTION | {"responses.jsonl": lines})


def patched(data: bytes, offset: int, field: bytes) -> bytes:
    """Set two bytes of every entry of the directory."""
    head, *entries = data.split(b"PK\x01\x02")
    entries = [entry[: offset - 4] + field + entry[offset - 2 :] for entry in entries]
    return b"PK\x01\x02".join([head, *entries])


def sizes(archive: ExportArchive) -> dict[str, int]:
    return {path: upload.size for path, upload in archive.uploads.items()}


def itself(line: Row, as_it_came: Row | None) -> list[Line]:
    return [Line(line, as_it_came)]


def lines_of(archive: ExportArchive) -> list[Line]:
    return [line for lines in archive.lines(itself) for line in lines]


def until_it_fails(archive: ExportArchive) -> list[Line]:
    """Return the lines that come before an error."""
    found: list[Line] = []

    def read_all() -> None:
        for lines in archive.lines(itself):
            found.extend(lines)

    with pytest.raises(DataCollectionError):
        read_all()
    return found


def read(data: bytes) -> Content:
    archive = open_archive(data)
    metadata = archive.metadata()
    assert not metadata.problem, metadata.problem
    return Content(metadata.kind, metadata.fields, lines_of(archive), sizes(archive))


def failure(data: bytes) -> str:
    """Return what is wrong with an archive, having looked for its content in the error."""
    with pytest.raises(DataCollectionError) as caught:
        read(data)
    assert caught.value.what == NAME
    assert SAID not in str(caught.value)
    return caught.value.problem


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pack(COLLECTION, zipfile.ZIP_STORED), id="stored"),
        pytest.param(pack(COLLECTION), id="deflated"),
        pytest.param(pack(COLLECTION, zip64=True), id="zip64"),
        pytest.param(pack(COLLECTION, to=Pipe), id="data descriptors"),
        pytest.param(pack(below("export c1/")), id="one top folder"),
        pytest.param(pack({"export/": b"", "export/files/": b""} | below("export/")), id="dirs"),
        pytest.param(pack({"old/collection.json": b"{}"} | COLLECTION), id="the root first"),
        pytest.param(pack(COLLECTION | {"collection.json": BOM + METADATA_TEXT}), id="a BOM"),
    ],
)
def test_an_archive_reads_the_same_however_it_is_packed(data: bytes) -> None:
    assert read(data) == CONTENT


def test_a_batch_is_read_by_submission() -> None:
    lines = {"responses-by-task.jsonl": b"[]", "responses-by-submission.jsonl": LINES}
    found = read(pack({"batch.json": b'{"id": "b1"}'} | lines))
    assert found == (Kind.BATCH, {"id": "b1"}, ROWS, {})


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        pytest.param("", [], id="empty"),
        pytest.param("\ufeff\r\n", [], id="a BOM and nothing"),
        pytest.param('{"a": "x"}\n{"a": "y"}', [1, 2], id="no final newline"),
        pytest.param('{"a": "x"}\r\n{"a": "y"}\r\n', [1, 2], id="CRLF"),
        pytest.param('\ufeff{"a": "x"}\n{"a": "y"}\n', [1, 2], id="BOM"),
        pytest.param('\n{"a": "x"}\n \t\n\r\n{"a": "y"}\n\n', [2, 5], id="blank lines"),
        pytest.param('{"a": "\u2028é"}\n{"a": "\u0085\u2029"}\n', [1, 2], id="separators"),
        pytest.param(f'{{"a": "{"é" * 3_000_000}"}}\n{{"a": "😀"}}\n', [1, 2], id="a huge line"),
    ],
)
def test_lines_end_at_line_feeds_and_nowhere_else(text: str, numbers: list[int]) -> None:
    rows = text.removeprefix("\ufeff").split("\n")
    expected = [Line(json.loads(rows[number - 1])) for number in numbers]
    assert read(with_lines(text.encode())).lines == expected


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(f"{SAID}".encode(), id="no JSON"),
        pytest.param(f'{{"a": "{SAID}"'.encode(), id="cut off"),
        pytest.param(f'{{"a": "{SAID}\xff"}}'.encode("latin-1"), id="no UTF-8"),
        pytest.param(f'{{"a": "{SAID}"}}'.encode("utf-16"), id="UTF-16"),
        pytest.param(f'["{SAID}"]'.encode(), id="an array"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"a": %b}' % (b"[" * 100_000 + b"]" * 100_000), id="too deep"),
    ],
)
def test_a_line_that_is_no_object_is_named_by_file_and_number(line: bytes) -> None:
    assert "responses.jsonl, line 4," in failure(with_lines(LINES + b"\n" + line + b"\n" + LINES))


ONE = b'{"submission_id": "%d", "responses": {}}'
HALVES = b'{"submission_id": "9", "responses":', b"{}}"


@pytest.mark.parametrize(
    "lines",
    [
        (ONE % 1 + ONE % 2,),
        (ONE % 1 + b" " + ONE % 2, b""),
        (ONE % 1 + ONE % 2, b" ", ONE % 3),
        (b"", ONE % 1 + ONE % 2),
        HALVES,
        (*HALVES, ONE % 1 + ONE % 2),
        (ONE % 1 + ONE % 2, *HALVES),
        (ONE % 1, HALVES[0] + b"{}", b"}" + ONE % 2),
        (ONE % 1 + b",", ONE % 2),
        (b"[" + ONE % 1, ONE % 2 + b"]"),
    ],
)
def test_a_line_is_one_object(lines: tuple[bytes, ...]) -> None:
    for end in (b"", b"\n"):
        for before in (b"", LINES, LINES * 20):
            text = before + b"\n".join(lines) + end
            assert "responses.jsonl, line " in failure(with_lines(text))


@pytest.mark.parametrize("depth", [190, 195, 198, 199, 200, 300])
def test_a_line_may_be_nested_two_hundred_deep(depth: int) -> None:
    text = LINES + b'{"a": %b}' % (b"[" * depth + b"1" + b"]" * depth)
    if depth <= 199:
        assert len(read(with_lines(text)).lines) == 3
    else:
        assert "line 3, is no valid JSON" in failure(with_lines(text))


def test_what_came_before_a_bad_line_is_delivered_before_the_error() -> None:
    for bad in (b"?", b"[]", b"\xff", b'{"a": "\\u0000"'):
        assert until_it_fails(open_archive(with_lines(LINES + bad + b"\n" + LINES))) == ROWS


def test_a_line_comes_as_it_came_if_characters_in_it_were_replaced() -> None:
    text = LINES + rb'{"a": "\u0000", "b": "\ud800"}' + b"\n" + LINES
    found = read(with_lines(text)).lines
    odd = Line({"a": "\ufffd", "b": "\ufffd"}, {"a": "\0", "b": "\ud800"})
    assert found == [*ROWS, odd, *ROWS]


class TestBlocks:
    """Lines come a few at a time, and are numbered all the same."""

    COUNT = 20_000

    def numbers(self, text: bytes, **limits: Any) -> list[int]:
        """Return the field "n" of all lines."""
        archive = open_archive(pack({"responses.jsonl": text}), Limits(**limits))
        return [line.object["n"] for line in lines_of(archive)]

    def made(self) -> list[bytes]:
        return [b'{"n": %d, "x": "%b"}' % (n, b"x" * (n % 997)) for n in range(self.COUNT)]

    @pytest.mark.parametrize("blank", [b"\n", b"\r\n", b" \n\n", b"\n" * 1000, b" \t\r\n" * 99])
    @pytest.mark.parametrize("before", [b"", b'{"n": 1}\n', b'{"n": 1}\n{"n": 2}\r\n' * 50])
    def test_blank_lines_are_counted(self, blank: bytes, before: bytes) -> None:
        text = before + blank + b"{"
        with pytest.raises(DataCollectionError, match=f"line {text.count(10) + 1}, is no valid"):
            self.numbers(text)
        assert self.numbers(text, skip_bad_lines=True) == self.numbers(before)

    def test_all_lines_come_in_order(self) -> None:
        text = b"\n".join([*self.made(), b""])
        for each in (text, text[:-1], text.replace(b"\n", b"\r\n\n")):
            assert self.numbers(each) == [*range(self.COUNT)]

    @pytest.mark.parametrize("between", [b"\n" * 50, b" \r\n" * 50])
    def test_so_do_lines_among_blank_ones(self, between: bytes) -> None:
        made = self.made()[:2000]
        text = b"".join(each + b"\n" + (n % 7) * between for n, each in enumerate(made))
        assert self.numbers(text) == [*range(2000)]
        assert self.numbers(between + text.removesuffix(between)) == [*range(2000)]

    @pytest.mark.parametrize("bad", [0, 1, 7_000, 19_999])
    def test_a_bad_line_is_named_by_its_number(self, bad: int) -> None:
        made = self.made()
        made[bad] = b"{"
        with pytest.raises(DataCollectionError, match=f"line {bad + 1}, is no valid JSON"):
            self.numbers(b"\n".join(made))
        good = [n for n in range(self.COUNT) if n != bad]
        assert self.numbers(b"\n".join(made), skip_bad_lines=True) == good

    @pytest.mark.parametrize("bad", [0, 1, 7_000, 19_999])
    def test_all_before_it_has_come(self, bad: int) -> None:
        made = self.made()
        made[bad] = b"{"
        found = until_it_fails(open_archive(pack({"responses.jsonl": b"\n".join(made)})))
        assert [line.object["n"] for line in found] == [*range(bad)]

    def test_bad_lines_are_counted_and_the_first_is_named(self) -> None:
        made = self.made()
        for bad in (7, 8, 9_000):
            made[bad] = b"[]"
        archive = open_archive(pack({"responses.jsonl": b"\n\n" + b"\n".join(made)}), SKIP)
        assert len(lines_of(archive)) == self.COUNT - 3
        assert archive.skipped == {"responses.jsonl": Skipped("responses.jsonl", 3, 10)}

    @pytest.mark.parametrize("limit", [40, 10_000, 1 << 20])
    def test_a_line_that_is_too_long_is_named_too(self, limit: int) -> None:
        made = [b'{"n": %d}' % n for n in range(5000)]
        made[4000] = b'{"n": 4000, "x": "%b"}' % (b"x" * (limit + 1))
        with pytest.raises(DataCollectionError, match=r"line 4001, holds over .* max_line_bytes"):
            self.numbers(b"\n".join(made), max_line_bytes=limit)
        good = [n for n in range(5000) if n != 4000]
        limits: dict[str, Any] = {"max_line_bytes": limit, "skip_bad_lines": True}
        assert self.numbers(b"\n".join(made), **limits) == good

    @pytest.mark.parametrize("over", [0, 1])
    @pytest.mark.parametrize("limit", [40, 10_000])
    def test_a_line_may_be_just_as_long_as_the_limit(self, limit: int, over: int) -> None:
        first, last = b'{"n": 1, "x": "', b'"}'
        line = first + b"x" * (limit - len(first) - len(last) + over) + last
        expected = [0, 2] if over else [0, 1, 2]
        for text in (b'{"n": 0}\n%b\n{"n": 2}', b'{"n": 0}\n\n\n%b\n\n\n\n{"n": 2}\n\n\n'):
            found = self.numbers(text % line, max_line_bytes=limit, skip_bad_lines=True)
            assert found == expected

    @pytest.mark.parametrize("limit", [40, 10_000])
    def test_none_that_is_too_long_is_decoded(
        self, limit: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = b"".join(b'{"n": %d, "x": "%b"}\n' % (n, b"x" * (n % 97)) for n in range(999))
        decoded: list[bytes] = []
        for name in ("decode", "decode_usual"):
            monkeypatch.setattr(archives, name, watched(getattr(archives, name), decoded))
        assert self.numbers(text, max_line_bytes=limit, skip_bad_lines=True)
        assert 0 < max(map(len, decoded)) <= limit


SKIP = Limits(skip_bad_lines=True)


def watched(function: Callable[[bytes], Any], given: list[bytes]) -> Callable[[bytes], Any]:
    """Return a function that notes what it is called with."""

    def watch(text: bytes) -> Any:
        given.append(text)
        return function(text)

    return watch


@pytest.mark.parametrize(
    ("blank", "most"),
    [
        pytest.param(b"\n", 100, id="line feeds"),
        pytest.param(b"\r\n", 100, id="carriage returns"),
        pytest.param(b" \n", 100, id="spaces"),
        pytest.param(b" \t \r\n", 100, id="tabs"),
        # Of these, each is looked at in a block in which there are lines that are not blank, too.
        pytest.param(b" " * 99 + b"\n", 8000, id="many spaces"),
    ],
)
def test_blank_lines_are_passed_over_without_a_look_at_each(
    blank: bytes, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be billions of them in a few megabytes; here, there are 64 MB of them."""
    looks = 0

    def look(self: ExportArchive, *args: Any) -> Any:
        nonlocal looks
        looks += 1
        return line(self, *args)

    line, decoded = ExportArchive._line, list[bytes]()
    monkeypatch.setattr(ExportArchive, "_line", look)
    for name in ("decode", "decode_usual"):
        monkeypatch.setattr(archives, name, watched(getattr(archives, name), decoded))
    run = blank * ((1 << 20) // len(blank))
    content = deflated((LINES, 1), (run, 64), (LINES, 1), (run[:-1] + b"\t", 1), (LINES + b"?", 1))
    archive = open_archive(zipped([Entry("responses.jsonl", content)]), SKIP)
    assert lines_of(archive) == ROWS * 3
    assert archive.skipped["responses.jsonl"].first == 6 + 65 * run.count(b"\n")
    assert looks + len(decoded) < most


@pytest.mark.parametrize("content", [SAID.encode(), b"", b"{", f'["{SAID}"]'.encode(), b"\xff{}"])
@pytest.mark.parametrize("name", ["collection.json", "batch.json"])
def test_metadata_that_is_no_object_is_said_and_the_lines_come(name: str, content: bytes) -> None:
    archive = open_archive(pack({name: content, "responses.jsonl": LINES}))
    metadata = archive.metadata()
    assert (metadata.kind, metadata.fields) == (archives.METADATA[name], {})
    assert metadata.problem
    assert name in metadata.problem
    assert SAID not in metadata.problem
    assert lines_of(archive) == ROWS


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ("responses.jsonl", Kind.COLLECTION),
        ("responses-by-submission.jsonl", Kind.BATCH),
        ("responses-by-task.jsonl", Kind.BATCH),
    ],
)
def test_without_metadata_the_lines_name_tells_the_kind(lines: str, kind: Kind) -> None:
    metadata = open_archive(pack({lines: LINES})).metadata()
    assert metadata == Metadata(kind, {}, "It has neither collection.json nor batch.json.")


NAMES = ["responses.jsonl", "responses-by-submission.jsonl", "responses-by-task.jsonl"]


def test_missing_lines_are_named() -> None:
    members = {name: content for name, content in COLLECTION.items() if name != "responses.jsonl"}
    assert failure(pack(members)) == f"It has neither {' nor '.join(NAMES)}."


ONLY_METADATA = {"collection.json": METADATA_TEXT}


@pytest.mark.parametrize(
    "members",
    [
        pytest.param(ONLY_METADATA, id="metadata alone"),
        pytest.param(ONLY_METADATA | {"README.md": b"About it.", "files/": b""}, id="a README"),
        pytest.param({"x/": b"", "x/collection.json": METADATA_TEXT}, id="in a folder"),
        pytest.param({"batch.json": METADATA_TEXT}, id="a batch"),
    ],
)
def test_metadata_without_lines_and_uploads_has_no_responses_yet(members: dict[str, bytes]) -> None:
    archive = open_archive(pack(members))
    assert archive.metadata().fields == METADATA
    assert archive.is_unanswered
    assert archive.has_lines is False
    assert lines_of(archive) == []


@pytest.mark.parametrize(
    "members",
    [
        pytest.param(ONLY_METADATA | {"files/s1": b""}, id="an upload"),
        pytest.param({"x/collection.json": METADATA_TEXT, "files/s1": b""}, id="one elsewhere"),
        pytest.param(ONLY_METADATA | {"x/responses.jsonl": LINES}, id="lines elsewhere"),
        pytest.param(ONLY_METADATA | {"responses.json": LINES}, id="lines of another name"),
        pytest.param(ONLY_METADATA | {"answers.ndjson": LINES}, id="lines of no known name"),
        pytest.param({"collection.json": b"{}"}, id="metadata that says nothing"),
        pytest.param({"collection.json": b"?"}, id="metadata that is no JSON"),
    ],
)
def test_lines_that_should_be_there_are_missed(members: dict[str, bytes]) -> None:
    archive = open_archive(pack(members))
    archive.metadata()
    assert not archive.is_unanswered
    with pytest.raises(DataCollectionError, match=r"neither responses\.jsonl nor"):
        lines_of(archive)


NOT_UTF_8 = pack({"ä": b""}).replace("ä".encode(), b"\xff\xff")
# The directory's offset lies behind its end; a file on disk raises OSError, one in memory not.
FAR_AWAY = pack(COLLECTION)[:-6] + b"\xff\xff\xff\x00\x00\x00"


@pytest.mark.parametrize(
    ("data", "named"),
    [
        pytest.param(f"<Error>{SAID}</Error>".encode(), "ZIP", id="no ZIP"),
        pytest.param(b"", "ZIP", id="nothing"),
        pytest.param(pack({}), "collection.json", id="no members"),
        pytest.param(patched(pack(COLLECTION), 8, b"\1\0"), "encrypted", id="encrypted"),
        pytest.param(patched(pack(COLLECTION), 10, b"\x63\0"), "method 99", id="unknown method"),
        pytest.param(pack(COLLECTION, 0).replace(b"s2", b"s3"), "responses", id="wrong CRC"),
        pytest.param(NOT_UTF_8, "ZIP", id="name"),
        pytest.param(pack(COLLECTION, zipfile.ZIP_LZMA), "method 14", id="LZMA"),
        pytest.param(FAR_AWAY, "ZIP", id="far away"),
    ],
)
def test_a_damaged_archive_is_told_from_others(data: bytes, named: str) -> None:
    assert named in failure(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_cut_off_anywhere_is_no_zip(method: int) -> None:
    data = pack(COLLECTION, method)
    for length in range(len(data)):
        assert "ZIP" in failure(data[:length])


def survived(path: Path) -> bool:
    """Read what may be damaged; return whether all came that should, or nothing personal did."""
    with path.open("rb") as file:
        try:
            archive = ExportArchive(LocalSource(file, path.stat().st_size, None), NAME)
            archive.newest_member()
            metadata = archive.metadata()
            found = Content(metadata.kind, metadata.fields, lines_of(archive), sizes(archive))
            if metadata.problem:  # said, and the rows come all the same
                found = found._replace(metadata=METADATA)
        except DataCollectionError as error:
            return SAID not in str(error)
    return found[:3] == CONTENT[:3]  # the directory's word is all there is about uploads


@pytest.mark.parametrize(
    "data", [pack(COLLECTION, 0), pack(COLLECTION, zip64=True)], ids=["stored", "zip64"]
)
def test_a_byte_flipped_anywhere_fails_cleanly_or_changes_nothing(
    data: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "x.zip"
    for at in range(len(data)):
        for mask in (0x01, 0x80, 0xFF):
            path.write_bytes(data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :])
            assert survived(path), f"byte {at} ^ {mask}"


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_may_be_empty(method: int, *, zip64: bool) -> None:
    assert read(pack(COLLECTION | {"responses.jsonl": b""}, method, zip64=zip64)).lines == []


def test_a_member_without_a_name_fails_cleanly_or_changes_nothing(tmp_path: Path) -> None:
    # The last entry's name is one byte: make that the extra field's.
    data = bytearray(pack(COLLECTION | {"x": b""}))
    struct.pack_into("<HH", data, data.rfind(b"PK\x01\x02") + 28, 0, 1)
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    assert survived(path)


def newest(*dates: Date) -> datetime | None:
    members = {f"{number}.txt": b"" for number in range(len(dates))}
    of = dict(zip(members, dates, strict=True))
    return open_archive(pack(members, date=of.__getitem__)).newest_member()


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param((2030, 0, 1, 0, 0, 0), id="month 0"),
        pytest.param((2030, 15, 1, 0, 0, 0), id="month 15"),
        pytest.param((1980, 1, 1, 0, 0, 0), id="1980"),
        pytest.param((1980, 1, 1, 12, 1, 0), id="noon in 1980"),
        pytest.param((1980, 2, 1, 0, 0, 0), id="February 1980"),
        pytest.param((2030, 1, 1, 31, 63, 62), id="past midnight"),
    ],
)
def test_the_newest_member_is_dated_in_utc_odd_dates_apart(odd: Date) -> None:
    date, older = (2026, 1, 31, 9, 30, 58), (2025, 12, 31, 23, 59, 58)
    assert newest(older, date, odd, older) == datetime(*date, tzinfo=timezone.utc)
    assert newest(odd) is newest() is None


@pytest.mark.parametrize(
    ("kind", "metadata", "file_name", "found"),
    [
        pytest.param("collections", {"id": "c1"}, "b2-export-1.zip", "c1", id="metadata first"),
        pytest.param("collections", {"collection_id": "c1"}, "x.zip", "c1", id="collection_id"),
        pytest.param("batches", {"batch_id": "b1"}, "x.zip", "b1", id="batch_id"),
        pytest.param("batches", {}, "65f-export-2026-01-31T09:00.zip", "65f", id="file name"),
        pytest.param("batches", {}, "65f-export.zip", "65f", id="file name without a time"),
        pytest.param("batches", {"id": ""}, "a_B-1-export-.ZIP", "a_B-1", id="id is empty"),
        pytest.param("batches", {"collection_id": "c"}, "x.zip", None, id="of the other kind"),
        pytest.param("batches", {"id": None}, "export.zip", None, id="neither"),
        pytest.param("batches", {}, "-export-x.zip", None, id="file name without an id"),
        pytest.param("batches", {}, "65f-export-x.zip.part", None, id="not yet whole"),
    ],
)
def test_an_archive_is_told_by_its_metadata_else_by_its_name(
    kind: str, metadata: dict[str, Any], file_name: str, found: str | None
) -> None:
    ref = archive_ref(Metadata(Kind(kind), metadata), file_name)
    assert ref == (found and DataCollectionRef(Kind(kind), found))


DATE: Date = (2026, 1, 2, 3, 4, 6)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(pack(COLLECTION | {UPLOAD: b"9876543210" * 9}, date=DATE), id="content"),
        pytest.param(pack(COLLECTION | {UPLOAD: b"0123456789"}, date=DATE), id="size"),
        pytest.param(pack(COLLECTION | {"files/other": b""}, date=DATE), id="one more"),
        pytest.param(pack(COLLECTION, date=(2026, 1, 2, 3, 4, 8)), id="date"),
    ],
)
def test_an_archive_that_differs_in_anything_has_another_digest(changed: bytes) -> None:
    digest = open_archive(pack(COLLECTION, date=DATE)).digest()
    assert digest == open_archive(pack(COLLECTION, zipfile.ZIP_STORED, date=DATE)).digest()
    assert digest != open_archive(changed).digest()
