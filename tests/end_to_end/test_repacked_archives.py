"""Archives that people unpacked and packed again give the rows of the original."""

from __future__ import annotations

import io
import json
import zipfile
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from unicodedata import normalize

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

Form = Literal["NFC", "NFD"]

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
            ({k: v for k, v in row.items() if k not in ABOUT_THE_ARCHIVE} for row in found),
            key=partial(json.dumps, sort_keys=True),
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


def accented(collection: Hosted, form: Form = "NFC", *, by_key: bool = False) -> bytes:
    """Return an archive whose uploads have names that are not ASCII.

    Args:
        form: The Unicode form in which answers name them.
        by_key: Whether answers name them by their key.
    """
    hosted = deepcopy(collection)
    for submission in hosted.submissions.values():
        if photo := submission.line["responses"].get("q-photo"):
            [(name, content)] = submission.uploads.items()
            id_, _, own = name.partition("_")
            own = own.replace(".png", " caf\xe9 \u304c.png")
            submission.uploads = {f"{id_}_{own}": content}
            path = normalize(form, f"files/{id_}_{own}")
            photo["value"] = {"path": path, "file_name": "photo.png", "content_type": "image/png"}
            if by_key:
                photo["value"] = {"file_key": f"k-{id_}", "file_name": normalize(form, own)}
    return hosted.archive()


@pytest.mark.parametrize("flags", [0, 1 << 11], ids=["unflagged", "flagged"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("form_in_answers", ["NFC", "NFD"])
def test_by_zip_or_macos(
    form_in_answers: Form,
    form: Form,
    flags: int,
    read: Callable[[bytes], Any],
    collection: Hosted,
) -> None:
    expected = read(accented(collection))
    original = accented(collection, form_in_answers)
    again = repacked(original, lambda name: normalize(form, name), flags=flags)
    assert read(again) == expected
    tables = expected[0]
    paths = {row["path"] for row in tables["files"]}
    assert any("caf\xe9" in path for path in paths)
    assert {row["file_path"] for row in tables["answers"]} - {None} == paths
    assert {row["instruction_id"] for row in tables["files"]} == {"q-photo"}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("form_in_answers", ["NFC", "NFD"])
def test_by_macos_with_answers_that_name_files_by_key(
    form_in_answers: Form, form: Form, read: Callable[[bytes], Any], collection: Hosted
) -> None:
    original = accented(collection, form_in_answers, by_key=True)
    found, _ = read(repacked(original, lambda name: normalize(form, name)))
    paths = {row["path"] for row in found["files"]}
    assert any("caf\xe9" in path for path in paths)
    assert {row["file_path"] for row in found["answers"]} - {None} == paths
    assert {row["instruction_id"] for row in found["files"]} == {"q-photo"}
