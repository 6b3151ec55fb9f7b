"""Archives that people unpacked and packed again give the rows of the original."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.expected import KEYS
from tests.support.fuzz import Entry, pack_entries
from tests.support.generations import fresh
from tests.support.stores import tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.stand_in import Hosted
    from tests.support.tap import Output, Runner

pytestmark = fresh

# What depends on how and when an archive was packed.
ABOUT_THE_ARCHIVE = {"exported_at", "archive_bytes", "modified_at"}


def repacked(data: bytes, rename: Callable[[str], str], *, flags: int = 1 << 11) -> bytes:
    """Return an archive with the members of another, under other names."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return pack_entries(
            Entry(rename(name).encode(), archive.read(name), flags) for name in archive.namelist()
        )


def rows(out: Output) -> dict[str, list[dict[str, Any]]]:
    return {
        stream: sorted(
            ({k: v for k, v in row.items() if k not in ABOUT_THE_ARCHIVE} for row in found), key=str
        )
        for stream in KEYS
        if (found := out.rows(stream)) or stream != "tasks"
    }


@pytest.fixture
def read(runner: Runner, tmp_path: Path, root: Path) -> Callable[[bytes], Any]:
    """Reads an archive on disk; returns its rows and its stored files."""

    def reads(data: bytes) -> Any:
        path = tmp_path / "export.zip"
        path.write_bytes(data)
        out = runner.sync(archive_paths=[str(path)], files_uri=root.as_uri(), api_token=None)
        stored = tree(root)
        assert stored
        return rows(out), stored

    return reads


@pytest.mark.parametrize("folder", ["", "export\\"])
def test_by_powershell(folder: str, read: Callable[[bytes], Any], collection: Hosted) -> None:
    original = collection.archive()
    expected = read(original)
    again = repacked(original, lambda name: folder + name.replace("/", "\\"))
    assert read(again) == expected
