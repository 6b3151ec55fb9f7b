"""An archive that is gone although its job says complete: another export is requested."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING

import pytest

from tap_prolific_export.archive.byte_source import SMALL
from tests.support.generations import fresh
from tests.support.stand_in import Fault, samples
from tests.support.tap import ids, submissions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stand_in import Hosted, World
    from tests.support.tap import Runner

NO_SUCH_KEY = b"<Error><Code>NoSuchKey</Code><Message>It does not exist.</Message></Error>"
# Too long for the archive to be fetched at once.
FILM = random.Random(3).randbytes(SMALL)  # noqa: S311  # test data, not a secret
GONE = {
    "NoSuchKey": Fault("archives", "", status=404, body=NO_SUCH_KEY),
    "404 without a document": Fault("archives", "", status=404),
    "410": Fault("archives", "", status=410),
    "another host's word": Fault(
        "archives", "", status=404, body=b"<Error><Code>BlobNotFound</Code></Error>"
    ),
}


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace the sleep of the run; hold what was slept."""
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


@pytest.fixture
def diary(world: World) -> Hosted:
    """A diary whose lines and whose film each take a request of their own."""
    diary = world.host(samples.breakfast_diary(3))
    next(iter(diary.submissions.values())).uploads["film.mp4"] = FILM
    return diary


def posts(world: World) -> int:
    return len(world.asked("api", "POST"))


@pytest.mark.parametrize("fault", GONE.values(), ids=GONE)
@pytest.mark.parametrize(
    ("first", "times"),
    # Where its rows were being read, it is looked at once more before another is requested.
    [(0, 1), (1, 1), (2, 2)],
    ids=["at its end", "before its rows", "in its film"],
)
def test_another_export_is_requested(  # noqa: PLR0917
    first: int,
    times: int,
    fault: Fault,
    runner: Runner,
    world: World,
    diary: Hosted,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    world.faults = [
        Fault("archives", "", first=first, times=times, status=fault.status, body=fault.body)
    ]
    with caplog.at_level(logging.INFO):
        out = runner.sync(files_uri=(tmp_path / "files").as_uri(), **ids(diary))
    assert submissions(out) == set(diary.submissions)
    assert posts(world) == 2
    assert caplog.text.count("has lost its archive; requesting another.") == 1
    assert {row["sha256"] for row in out.rows("files")} != {None}
    assert world.jobs["collections", diary.id] == [] or world.generation == "idempotent"


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_as_often_as_one_that_failed(
    retries: int, runner: Runner, world: World, diary: Hosted, slept: list[float]
) -> None:
    world.faults = [Fault("archives", "", times=99, status=404, body=NO_SUCH_KEY)]
    out = runner.sync_and_fail(export_retries=retries, **ids(diary))
    assert posts(world) == 1 + retries
    assert f"has lost its archive; earlier attempts: {retries}." in " ".join(out.error.split())
    assert len(slept) >= retries  # the poll interval lies between two requests


@fresh
def test_with_those_that_failed(runner: Runner, world: World, diary: Hosted) -> None:
    """The retries are for both together."""
    world.faults = [
        Fault("api", "GET .*/export/", status=200, body=b'{"status": "failed"}'),
        Fault("archives", "", times=99, status=404),
    ]
    out = runner.sync_and_fail(export_retries=1, **ids(diary))
    assert posts(world) == 2
    assert "earlier attempts: 1" in " ".join(out.error.split())


@fresh
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b'{"error": {"title": "Not found"}}'),
        (200, b'{"status": "failed"}'),
        (200, b'{"status": "expired"}'),
    ],
)
def test_one_whose_job_is_gone_when_its_url_has_expired(
    status: int, body: bytes, runner: Runner, world: World, diary: Hosted
) -> None:
    world.faults = [
        Fault("archives", "", status=403),
        Fault("api", "GET .*/export/", first=1, status=status, body=body),
    ]
    assert submissions(runner.sync(**ids(diary))) == set(diary.submissions)
    assert posts(world) == 2


def test_others_go_on(runner: Runner, world: World, diary: Hosted, batch: Hosted) -> None:
    [first, *_] = diary.submissions
    world.faults = [Fault("archives", "", times=3, status=404, body=NO_SUCH_KEY)]
    out = runner.sync_and_fail(export_retries=2, **ids(diary, batch))
    assert first not in submissions(out)
    assert submissions(out) == set(batch.submissions)
