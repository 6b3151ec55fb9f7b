"""What members are called, whatever program has packed them again."""

from __future__ import annotations

import pytest

from tests.support.memory_archives import open_archive
from tests.support.zips import pack

METADATA, LINES = b'{"id": "c1"}', b'{"submission_id": "s1"}\n'


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
        assert [line.object for block in archive.lines() for line in block] == [
            {"submission_id": "s1"}
        ]
        assert sorted(archive.uploads) == ["files/s1_a.png", "files/s2_b.pdf"]
        assert b"".join(archive.content("files/s2_b.pdf")) == b"s2_b.pdf"

    def test_where_slashes_separate_them_they_are_letters_of_a_name(self) -> None:
        name = "files/s1_a\\b.png"
        archive = open_archive(pack({"responses.jsonl": LINES, name: b"", "files\\x": b""}))
        assert [*archive.uploads] == [name]
