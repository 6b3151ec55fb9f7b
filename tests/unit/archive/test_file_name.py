"""What the name of an archive on disk tells of it."""

from __future__ import annotations

import pytest

from tap_prolific_export.archive.file_name import parse_file_name

UUID = "5f8e3c2a-1d4b-4e6f-9a7c-2b0d8f3e1c5a"
HEX = "6650d1a2b3c4d5e6f7081920"


@pytest.mark.parametrize(
    ("name", "id_", "export_id"),
    [
        pytest.param(f"{HEX}-export.zip", HEX, None, id="no last part"),
        pytest.param(f"{UUID}-EXPORT.ZIP", UUID, None, id="in capitals"),
        pytest.param(f"{HEX}-export-{UUID}.zip", HEX, UUID, id="an export"),
        pytest.param(f"{UUID}-export-{UUID}.zip", UUID, UUID, id="UUIDs both"),
        pytest.param(f"{UUID}-export-{HEX}.zip", UUID, HEX, id="hex digits"),
        pytest.param(
            f"65f-export-{UUID.replace('-', '')}.zip", "65f", UUID.replace("-", ""), id="32"
        ),
        pytest.param("65f-export (1).zip", "65f", None, id="downloaded twice"),
        pytest.param(f"65f-export-{UUID} (12).zip", "65f", UUID, id="an export, downloaded twice"),
        pytest.param("65f-export-20261123-090000.zip", "65f", None, id="the client's time"),
        pytest.param("65f-export-20261123-090000 (1).zip", "65f", None, id="a time, twice"),
        pytest.param("65f-export-20261123T090000Z.zip", "65f", None, id="a basic time"),
        pytest.param("65f-export-2026-01-31T09:00.zip", "65f", None, id="an extended time"),
        pytest.param("65f-export-20261123090000000000.zip", "65f", None, id="a time in digits"),
        pytest.param("65f-export-202611230900000000000000.zip", "65f", None, id="24 digits"),
        pytest.param("65f-export-1.zip", "65f", None, id="a number"),
        pytest.param("65f-export-final.zip", "65f", None, id="a word"),
        pytest.param("65f-export-.zip", "65f", None, id="nothing"),
        pytest.param("65f-export-export.zip", "65f", None, id="the word twice"),
        pytest.param(f"65f-export-{UUID}x.zip", "65f", None, id="more than an id"),
        pytest.param(f"65f-export-old-{UUID}.zip", "65f", None, id="something before an id"),
        pytest.param("65f-export-1-export-2.zip", "65f", None, id="an export's copy"),
        pytest.param(f"{'a' * 128}-export.zip", "a" * 128, None, id="as long as can be"),
    ],
)
def test_a_name_of_the_vendors_tells_the_ids(name: str, id_: str, export_id: str | None) -> None:
    found = parse_file_name(name)
    assert found is not None
    assert (found.id, found.export_id) == (id_, export_id)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "export.zip",
        "-export.zip",
        "-export-x.zip",
        "-export-export.zip",
        f"{HEX}.zip",
        f"{HEX}export.zip",
        f"{HEX}-exports.zip",
        f"{HEX}-exported-1.zip",
        f"{HEX}-export.zip.part",
        f"{HEX}-export.tar",
        f"{HEX}-exportzip",
        f"{HEX}-export.zip\n",
        f"{HEX} -export.zip",
        "ü-export.zip",
        "../65f-export.zip",
        "65f-export-../../x.zip",
        f"{'a' * 129}-export.zip",
    ],
)
def test_other_names_tell_nothing(name: str) -> None:
    assert parse_file_name(name) is None
