"""Fetching archives from a host that is not the API's."""

from __future__ import annotations

import stat
import tempfile
from typing import TYPE_CHECKING

import pytest

from tap_prolific_export.errors import DataCollectionError
from tap_prolific_export.remote import Downloader, open_local
from tests.stand_in import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stand_in import Hosted, StandIn, World
    from tests.stand_in.world import Job


@pytest.fixture
def downloader() -> Downloader:
    return Downloader(timeout=5)


@pytest.fixture
def job(world: World, collection: Hosted) -> Job:
    job = world.start_job(collection, {})
    assert job is not None
    return job


@pytest.fixture
def url(stand_in: StandIn, job: Job) -> str:
    return stand_in.presign(job)[0]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_archive_comes_whole_and_the_url_as_it_was_signed(
    downloader: Downloader, url: str, job: Job, world: World
) -> None:
    with downloader.open(url, "x") as fetched:
        assert fetched.file.read() == job.archive
        assert fetched.size == len(job.archive)
        assert fetched.last_modified == job.created_at.replace(microsecond=0)
    assert "%7E" in url
    assert world.asked("archives") == [f"GET {url.partition('localhost')[2][6:]}"]


def test_no_authorization_reaches_the_archives_host(
    downloader: Downloader,
    url: str,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with downloader.open(url, "x"):
        pass
    [(_, method, _, headers)] = world.requests
    assert method == "GET"
    assert "Authorization" not in headers
    assert headers["Accept-Encoding"] == "identity"


def test_a_proxy_of_the_environment_is_used(
    downloader: Downloader, url: str, job: Job, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", stand_in.archives_url)
    elsewhere = url.replace(stand_in.archives_url, "http://archives.invalid")
    with downloader.open(elsewhere, "x") as fetched:
        assert fetched.file.read() == job.archive


def test_the_copy_is_private_and_gone_afterwards(
    downloader: Downloader, url: str, temporary: Path
) -> None:
    with downloader.open(url, "x"):
        [folder] = temporary.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("archives", "", status=403, body=b"<Error>"), "it answered 403"),
        (Fault("archives", "", status=302, headers={"Location": "/"}), "it answered 302"),
        (Fault("archives", "", status=0), "it broke off"),
        (Fault("archives", "", status=200, body=b"PK" * 999, body_missing=9), "it broke off"),
    ],
    ids=["expired", "redirect", "reset", "short body"],
)
def test_an_archive_that_does_not_come_whole_is_an_error_without_its_url(  # noqa: PLR0917
    fault: Fault, says: str, downloader: Downloader, url: str, world: World, temporary: Path
) -> None:
    world.faults = [fault]
    with (
        pytest.raises(DataCollectionError, match=says) as raised,
        downloader.open(url, "collection x"),
    ):
        pass
    assert "collection x: Tried to fetch the archive from localhost" in str(raised.value)
    assert "?" not in str(raised.value)
    assert list(temporary.iterdir()) == []


def test_a_local_archive_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(DataCollectionError, match=r"nothing\.zip: Cannot be read.*archive_paths"),
        open_local(tmp_path / "nothing.zip"),
    ):
        pass
