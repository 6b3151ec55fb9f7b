"""What members are called, whatever program has packed them again."""

from __future__ import annotations

import struct
import unicodedata
import zlib
from typing import Literal

import pytest

from tests.support.fuzz import Entry, pack_entries
from tests.support.memory_archives import open_archive
from tests.support.zips import pack

Form = Literal["NFC", "NFD"]

METADATA, LINES = b'{"id": "c1"}', b'{"submission_id": "s1"}\n'
UTF_8 = 1 << 11


def by_powershell(*uploads: str, folder: str = "", more: tuple[str, ...] = ()) -> bytes:
    members = {"collection.json": METADATA, "responses.jsonl": LINES}
    members |= {f"files\\{name}": name.encode() for name in uploads}
    members = {f"{folder}{name}": content for name, content in members.items()}
    return pack(members | dict.fromkeys(more, b""))


class TestBackslashes:
    """PowerShell 5 separates folders by them."""

    @pytest.mark.parametrize(
        ("folder", "more"),
        [
            pytest.param("", (), id="the folder's content"),
            pytest.param("export c1\\", (), id="the folder"),
            pytest.param("", ("files\\",), id="folders are members"),
            pytest.param("export\\", ("export/", "export\\files/"), id="folders end in a slash"),
            pytest.param("", ("files\\more\\",), id="an empty folder"),
        ],
    )
    def test_they_separate_folders_where_nothing_else_does(
        self, folder: str, more: tuple[str, ...]
    ) -> None:
        archive = open_archive(by_powershell("s1_a.png", "s2_b.pdf", folder=folder, more=more))
        assert archive.metadata().fields == {"id": "c1"}
        assert [*archive.lines(lambda line, _: [line])] == [[{"submission_id": "s1"}]]
        assert sorted(archive.uploads) == ["files/s1_a.png", "files/s2_b.pdf"]
        assert b"".join(archive.content("files/s2_b.pdf")) == b"s2_b.pdf"

    def test_where_slashes_separate_them_they_are_letters_of_a_name(self) -> None:
        name = "files/s1_a\\b.png"
        archive = open_archive(pack({"responses.jsonl": LINES, name: b"", "files\\x": b""}))
        assert [*archive.uploads] == [name]


UPLOAD = "files/s1_caf\xe9 \u65e5\u672c \U0001f600.png"
CP437 = "files/s1_caf\xe9.png"


def unicode_path(of: bytes, path: bytes, *, version: int = 1, crc32: int | None = None) -> bytes:
    """Return Info-ZIP's extra field for a name."""
    checksum = zlib.crc32(of) if crc32 is None else crc32
    return struct.pack("<2HBL", 0x7075, 5 + len(path), version, checksum) + path


def uploads(*entries: Entry) -> dict[str, bytes]:
    """Return the uploads of an archive with these members, and read each."""
    lines = Entry(b"responses.jsonl", LINES)
    archive = open_archive(pack_entries([lines, *entries]))
    return {path: b"".join(archive.content(path)) for path in archive.uploads}


class TestEncodings:
    @pytest.mark.parametrize("form", ["NFC", "NFD"])
    @pytest.mark.parametrize("flags", [0, UTF_8])
    def test_utf_8_is_read_with_and_without_its_flag(self, form: Form, flags: int) -> None:
        name = unicodedata.normalize(form, UPLOAD).encode()
        assert uploads(Entry(name, b"photo", flags)) == {UPLOAD: b"photo"}

    @pytest.mark.parametrize("old", ["files/s1_caf#U00e9.png", "files/????.png", CP437])
    @pytest.mark.parametrize("where", ["both", "directory"])
    @pytest.mark.parametrize("before", [b"", b"UT\5\0\1abcd"])
    def test_the_path_in_an_extra_field_counts_more(
        self, old: str, where: str, before: bytes
    ) -> None:
        name = old.encode("cp437")
        extra = before + unicode_path(name, UPLOAD.encode())
        local = extra if where == "both" else b""
        entry = Entry(name, b"photo", 0, extra=extra, local_extra=local)
        assert uploads(entry) == {UPLOAD: b"photo"}

    @pytest.mark.parametrize(
        "extra",
        [
            pytest.param(unicode_path(b"", b"files/other", crc32=1), id="of another name"),
            pytest.param(unicode_path(CP437.encode("cp437"), b"files/other", version=2), id="v2"),
            pytest.param(unicode_path(CP437.encode("cp437"), b"files/\xff"), id="not UTF-8"),
            pytest.param(unicode_path(CP437.encode("cp437"), b""), id="empty"),
            pytest.param(b"\x75\x70\1\0\1", id="cut off"),
            pytest.param(b"\x75\x70\xff\xff\1", id="longer than the field"),
        ],
    )
    def test_unless_it_is_stale_or_damaged(self, extra: bytes) -> None:
        entry = Entry(CP437.encode("cp437"), b"photo", 0, extra=extra, local_extra=extra)
        assert uploads(entry) == {CP437: b"photo"}

    def test_the_flag_counts_more_than_an_extra_field(self) -> None:
        extra = unicode_path(UPLOAD.encode(), b"files/other")
        assert uploads(Entry(UPLOAD.encode(), b"photo", extra=extra)) == {UPLOAD: b"photo"}

    def test_what_is_no_utf_8_is_in_cp437(self) -> None:
        assert uploads(Entry(CP437.encode("cp437"), b"photo", 0)) == {CP437: b"photo"}

    def test_metadata_and_lines_are_found_below_such_a_folder(self) -> None:
        folder = unicodedata.normalize("NFD", "Umfrage f\xfcr Z\xfcrich/").encode()
        archive = open_archive(
            pack_entries(
                [
                    Entry(folder + b"collection.json", METADATA, 0),
                    Entry(folder + b"responses.jsonl", LINES, 0),
                    Entry(folder + b"files/x", b"photo", 0),
                ]
            )
        )
        assert archive.metadata().fields == {"id": "c1"}
        assert [*archive.uploads] == ["files/x"]


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["files/\xe9", "files/e\u0301"], id="composed and decomposed"),
        pytest.param(["files/\u212b", "files/A\u030a"], id="two that are not composed"),
        pytest.param(["files/K", "files/\u212a"], id="one is ASCII"),
    ],
)
def test_files_that_differ_only_in_the_form_of_their_names_are_both_kept(names: list[str]) -> None:
    expected = {name: b"%d" % number for number, name in enumerate(names)}
    assert uploads(*(Entry(n.encode(), content) for n, content in expected.items())) == expected
