"""Which content type the extension of a name stands for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tap_prolific_export.uploads import content_types
from tap_prolific_export.uploads.content_types import content_type_of
from tests.support.processes import output

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("extensions", "type_"),
    [
        ("png jpg jpeg jfif gif webp heic heif avif tiff svg bmp dng", "image/"),
        ("mp4 mov m4v webm mkv 3gp avi", "video/"),
        ("mp3 m4a wav ogg opus aac flac amr weba", "audio/"),
        ("txt md csv", "text/"),
        ("pdf doc docx xlsx pptx odt pages zip gz", "application/"),
        ("css htm", "text/"),  # in Python's own table
    ],
)
def test_what_phones_and_browsers_send_is_known(extensions: str, type_: str) -> None:
    for extension in extensions.split():
        for name in (f"files/s1_x.{extension}", f"x.y.{extension.upper()}"):
            assert (content_type_of(name) or "").startswith(type_), name


@pytest.mark.parametrize(
    ("extensions", "type_"),
    [
        ("gif", "image/gif"),
        ("heic", "image/heic"),
        ("heif", "image/heif"),
        ("ico", "image/vnd.microsoft.icon"),
        ("jpeg jpg", "image/jpeg"),
        ("png", "image/png"),
        ("svg", "image/svg+xml"),
        ("tif tiff", "image/tiff"),
        ("mov", "video/quicktime"),
        ("mp4", "video/mp4"),
        ("mpeg mpg", "video/mpeg"),
        ("webm", "video/webm"),
        ("aac", "audio/aac"),
        ("mp3", "audio/mpeg"),
        ("opus", "audio/opus"),
        ("csv", "text/csv"),
        ("doc", "application/msword"),
        ("html", "text/html"),
        ("json", "application/json"),
        ("pdf", "application/pdf"),
        ("ppt", "application/vnd.ms-powerpoint"),
        ("tsv", "text/tab-separated-values"),
        ("txt", "text/plain"),
        ("xls", "application/vnd.ms-excel"),
        ("xml", "text/xml"),
        ("zip", "application/zip"),
    ],
)
def test_no_version_of_python_calls_it_otherwise(extensions: str, type_: str) -> None:
    assert {content_type_of(f"x.{each}") for each in extensions.split()} == {type_}


@pytest.mark.parametrize("name", ["", "x", "files/x", ".png", "files/.png", "x.", "a.png/x", "x.?"])
def test_nothing_is_made_up(name: str) -> None:
    assert content_type_of(name) is None


def test_what_the_operating_system_knows_makes_no_difference(tmp_path: Path) -> None:
    table = tmp_path / "mime.types"
    table.write_text("image/unheard-of unheardof png\n")
    code = (
        "import mimetypes; "
        f"mimetypes.knownfiles[:] = [{str(table)!r}]; "
        f"from {content_types.__name__} import content_type_of as of; "
        "print(mimetypes.guess_type('x.unheardof')[0], of('x.unheardof'), of('x.png'), of('x.css'))"
    )
    told = output(sys.executable, "-c", code, cwd=tmp_path)
    assert told.split() == ["image/unheard-of", "None", "image/png", "text/css"]
