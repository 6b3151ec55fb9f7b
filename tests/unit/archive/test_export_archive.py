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
from tap_prolific_export.archive.export_archive import ExportArchive, Line, Metadata, archive_ref
from tap_prolific_export.errors import DataCollectionError
from tap_prolific_export.model import DataCollectionRef, Kind
from tests.support.memory_archives import NAME, open_archive
from tests.support.zips import Pipe, pack

if TYPE_CHECKING:
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


class Content(NamedTuple):
    kind: Kind
    metadata: dict[str, Any]
    lines: list[Line]
    sizes: dict[str, int]


ROWS = [Line(1, {"submission_id": "s1", "a": SAID}), Line(2, {"submission_id": "s2"})]
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


def read(data: bytes) -> Content:
    archive = open_archive(data)
    metadata = archive.metadata()
    assert not metadata.problem, metadata.problem
    return Content(metadata.kind, metadata.fields, [*archive.lines()], sizes(archive))


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
    expected = [Line(number, json.loads(rows[number - 1])) for number in numbers]
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


def test_lines_come_one_by_one() -> None:
    lines = open_archive(with_lines(LINES + b"?")).lines()
    assert [next(lines), next(lines)] == ROWS
    with pytest.raises(DataCollectionError):
        next(lines)


@pytest.mark.parametrize("content", [SAID.encode(), b"", b"{", f'["{SAID}"]'.encode(), b"\xff{}"])
@pytest.mark.parametrize("name", ["collection.json", "batch.json"])
def test_metadata_that_is_no_object_is_said_and_the_lines_come(name: str, content: bytes) -> None:
    archive = open_archive(pack({name: content, "responses.jsonl": LINES}))
    metadata = archive.metadata()
    assert (metadata.kind, metadata.fields) == (archives.METADATA[name], {})
    assert metadata.problem
    assert name in metadata.problem
    assert SAID not in metadata.problem
    assert [*archive.lines()] == ROWS


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
            found = Content(metadata.kind, metadata.fields, [*archive.lines()], sizes(archive))
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
