"""Fetching archives from a host that is not the API's."""

from __future__ import annotations

import hashlib
import random
import stat
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tap_prolific_export.errors import DataCollectionError
from tap_prolific_export.remote import CHUNK, Downloader, Presigned, open_local
from tests.stand_in import Fault

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stand_in import Hosted, StandIn, World
    from tests.stand_in.world import Job


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def downloader(slept: list[float]) -> Downloader:
    return Downloader(timeout=5, sleep=slept.append)


@pytest.fixture
def job(world: World, collection: Hosted) -> Job:
    job = world.start_job(collection, {})
    assert job is not None
    return job


@pytest.fixture
def where(stand_in: StandIn, job: Job) -> Presigned:
    return Presigned(stand_in.presign(job)[0], lambda: stand_in.presign(job)[0])


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_archive_comes_whole_and_the_url_as_it_was_signed(
    downloader: Downloader, where: Presigned, job: Job, world: World
) -> None:
    with downloader.open(where, "x") as fetched:
        assert fetched.file.read() == job.archive
        assert fetched.size == len(job.archive)
        assert fetched.last_modified == job.created_at.replace(microsecond=0)
    assert "%7E" in where.url
    assert world.asked("archives") == [f"GET {where.url.partition('localhost')[2][6:]}"]


def test_no_authorization_reaches_the_archives_host(
    downloader: Downloader,
    where: Presigned,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with downloader.open(where, "x"):
        pass
    [(_, method, _, headers)] = world.requests
    assert method == "GET"
    assert "Authorization" not in headers
    assert headers["Accept-Encoding"] == "identity"


def test_a_proxy_of_the_environment_is_used(
    downloader: Downloader,
    where: Presigned,
    job: Job,
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", stand_in.archives_url)
    where.url = where.url.replace(stand_in.archives_url, "http://archives.invalid")
    with downloader.open(where, "x") as fetched:
        assert fetched.file.read() == job.archive


def test_the_copy_is_private_and_gone_afterwards(
    downloader: Downloader, where: Presigned, temporary: Path
) -> None:
    with downloader.open(where, "x"):
        [folder] = temporary.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "says", "tries"),
    [
        (Fault("archives", "", times=99, status=403, body=b"<Error>"), "it answered 403", 10),
        (Fault("archives", "", times=99, status=302, headers={"Location": "/"}), "302", 1),
        (Fault("archives", "", times=99, status=404), "it answered 404", 1),
        (Fault("archives", "", times=99, status=500), "5 times; it answered 500", 5),
        (Fault("archives", "", times=99, status=0), "5 times; it broke off", 5),
    ],
    ids=["403", "redirect", "404", "500", "reset"],
)
def test_an_archive_that_does_not_come_is_an_error_without_its_url(  # noqa: PLR0917
    fault: Fault,
    says: str,
    tries: int,
    downloader: Downloader,
    where: Presigned,
    world: World,
    temporary: Path,
) -> None:
    world.faults = [fault]
    with (
        pytest.raises(DataCollectionError, match=says) as raised,
        downloader.open(where, "collection x"),
    ):
        pass
    assert "collection x: Tried to fetch the archive from localhost" in str(raised.value)
    assert "?" not in str(raised.value)
    assert len(world.asked("archives")) == tries
    assert list(temporary.iterdir()) == []


class TestWhatGoesWrongOnTheWay:
    """The archive comes whole all the same, byte for byte, and no byte of it twice."""

    @pytest.fixture(autouse=True)
    def _large(self, job: Job) -> None:
        job.archive = random.Random(7).randbytes(3 * CHUNK + 1234)  # noqa: S311

    def first_bytes(self, job: Job, count: int, **more: Any) -> Fault:
        """Return an answer that breaks off after so many bytes."""
        etag = f'"{hashlib.md5(job.archive, usedforsecurity=False).hexdigest()}"'
        missing = len(job.archive) - count
        return Fault(
            "archives",
            "",
            status=200,
            body=job.archive,
            body_missing=missing,
            headers={"ETag": etag},
            **more,
        )

    def fetched(self, downloader: Downloader, where: Presigned) -> bytes:
        with downloader.open(where, "x") as archive:
            return archive.file.read()

    def ranges(self, world: World) -> list[str | None]:
        return [headers.get("Range") for server, _, _, headers in world.requests]

    @pytest.mark.parametrize("status", [0, 408, 429, 500, 503], ids=str)
    def test_it_is_tried_again(  # noqa: PLR0917
        self,
        status: int,
        downloader: Downloader,
        where: Presigned,
        world: World,
        job: Job,
        slept: list[float],
    ) -> None:
        world.faults = [Fault("archives", "", times=4, status=status)]
        assert self.fetched(downloader, where) == job.archive
        assert len(slept) == 4

    def test_as_late_as_the_host_asks(
        self, downloader: Downloader, where: Presigned, world: World, job: Job, slept: list[float]
    ) -> None:
        world.faults = [Fault("archives", "", status=503, headers={"Retry-After": "7"})]
        assert self.fetched(downloader, where) == job.archive
        assert slept == [7]

    def test_what_broke_off_is_taken_up_where_it_did(
        self, downloader: Downloader, where: Presigned, world: World, job: Job
    ) -> None:
        world.faults = [self.first_bytes(job, 2 * CHUNK + 5)]
        assert self.fetched(downloader, where) == job.archive
        assert self.ranges(world) == [None, f"bytes={2 * CHUNK + 5}-"]
        assert world.requests[1][3]["If-Match"].startswith('"')

    def test_one_that_breaks_off_again_and_again_comes_whole_as_long_as_it_goes_on(
        self, downloader: Downloader, where: Presigned, world: World, job: Job
    ) -> None:
        size = len(job.archive)
        etag = self.first_bytes(job, 1).headers
        world.faults = [self.first_bytes(job, 1000)]
        for begin in range(1000, 20_000, 1000):
            rest = job.archive[begin:]
            ends = {"Content-Range": f"bytes {begin}-{size - 1}/{size}", **etag}
            missing = len(rest) - 1000
            world.faults.append(
                Fault("archives", "", status=206, body=rest, body_missing=missing, headers=ends)
            )
        assert self.fetched(downloader, where) == job.archive
        assert len(self.ranges(world)) == 21

    def test_an_expired_url_is_replaced_before_the_first_byte(
        self, downloader: Downloader, where: Presigned, world: World, job: Job
    ) -> None:
        world.faults = [Fault("archives", "", status=403)]
        before = where.url
        assert self.fetched(downloader, where) == job.archive
        assert where.url != before

    def test_and_in_the_middle(
        self, downloader: Downloader, where: Presigned, world: World, job: Job
    ) -> None:
        before = where.url
        world.faults = [self.first_bytes(job, CHUNK), Fault("archives", "", status=403)]
        assert self.fetched(downloader, where) == job.archive
        assert where.url != before
        assert self.ranges(world) == [None, f"bytes={CHUNK}-", f"bytes={CHUNK}-"]

    def test_an_archive_that_has_become_another_one_is_not_mixed_with_it(
        self, downloader: Downloader, where: Presigned, world: World, job: Job
    ) -> None:
        world.faults = [self.first_bytes(job, CHUNK)]
        job.archive = job.archive[::-1] + b"more"
        assert self.fetched(downloader, where) == job.archive
        assert self.ranges(world) == [None, f"bytes={CHUNK}-", None]

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Content-Range": "bytes 0-9/10"},
            {"Content-Range": f"bytes {CHUNK}-{CHUNK + 9}/99", "ETag": '"another"'},
        ],
        ids=["none", "another range", "another archive"],
    )
    def test_a_piece_that_is_not_what_was_asked_for_is_not_taken(
        self,
        headers: dict[str, str],
        downloader: Downloader,
        where: Presigned,
        world: World,
        job: Job,
    ) -> None:
        good = self.first_bytes(job, CHUNK)
        wrong = Fault(
            "archives", "", status=206, body=b"0123456789", headers={**good.headers, **headers}
        )
        world.faults = [good, wrong]
        assert self.fetched(downloader, where) == job.archive

    def test_a_host_that_ignores_ranges_begins_anew(
        self, downloader: Downloader, where: Presigned, world: World, job: Job
    ) -> None:
        first = self.first_bytes(job, CHUNK)
        whole = Fault("archives", "", status=200, body=job.archive)
        world.faults = [first, whole]
        assert self.fetched(downloader, where) == job.archive
        assert len(world.requests) == 2

    def test_one_that_changes_for_ever_is_given_up(
        self, downloader: Downloader, where: Presigned, world: World, job: Job
    ) -> None:
        other = Fault("archives", "", times=99, status=412)
        world.faults = [
            fault
            for _ in range(9)
            for fault in (self.first_bytes(job, CHUNK), replace(other, times=1))
        ]
        with pytest.raises(
            DataCollectionError, match="Tried to fetch the archive from localhost, 5 times"
        ):
            self.fetched(downloader, where)
        assert len(world.requests) <= 12


@pytest.mark.skipif(resource is None, reason="needs a limit on the size of files")
def test_a_full_disk_is_an_error(downloader: Downloader, where: Presigned) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with (
            pytest.raises(DataCollectionError, match=r"temporary file \(File too large\).*TMPDIR"),
            downloader.open(where, "x"),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_etag_costs_one_byte(
    downloader: Downloader, where: Presigned, world: World, job: Job
) -> None:
    found = downloader.etag(where, "x")
    assert found == f'"{hashlib.md5(job.archive, usedforsecurity=False).hexdigest()}"'
    [(_, method, _, headers)] = world.requests
    assert (method, headers["Range"]) == ("GET", "bytes=0-0")


def test_a_local_archive_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(DataCollectionError, match=r"nothing\.zip: Cannot be read.*archive_paths"),
        open_local(tmp_path / "nothing.zip"),
    ):
        pass
