"""Every fault on every call, once and for ever, in both generations of the API.

Each cell says whether the rows are delivered all the same, or with which error they are not; how
often the call was made; and that all waiting was done on the injected clock.
"""

from __future__ import annotations

import threading
import time as real_time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tap_prolific_export.archive.http_source import Downloader
from tap_prolific_export.errors import DataCollectionError, FatalError, TapError
from tap_prolific_export.http import MAX_TRIES, MAX_WAIT_SECONDS
from tap_prolific_export.prolific.client import ProlificAPI
from tap_prolific_export.prolific.export_jobs import JobStarter
from tap_prolific_export.prolific.exports import Exporter
from tap_prolific_export.settings import Settings
from tap_prolific_export.snapshots.source import SnapshotSource
from tests.history import NoHistory
from tests.stand_in import Fault
from tests.test_export import Time

if TYPE_CHECKING:
    from tests.stand_in import Hosted, StandIn, World

POLL = 4
FOR_EVER = 99


@dataclass(frozen=True)
class Call:
    """One kind of request.

    Attributes:
        server: Which server it goes to.
        pattern: What it looks like.
        doing: How errors call it.
        usual: How often it is made where nothing goes wrong: newer and older generation.
    """

    server: Any
    pattern: str
    doing: str
    usual: tuple[int, int]


CALLS = {
    "list": Call("api", r"GET .*/export$", "list the export jobs", (2, 1)),
    "request": Call("api", r"POST .*/export", "request an export", (1, 1)),
    "poll": Call("api", r"GET .*/export/", "look at export job", (1, 1)),
    "delete": Call("api", r"DELETE .*/export/", "delete export job", (1, 0)),
    "fetch": Call("archives", r"GET ", "fetch the archive from localhost", (1, 1)),
}
HTML = b"<html>The proxy says no.</html>"
FAULTS: dict[str, dict[str, Any]] = {
    "reset": {"status": 0},
    "silence": {"status": 200, "body": b"{}", "body_missing": 1, "stalls": threading.Event()},
    "408": {"status": 408},
    "429": {"status": 429},
    "429 with a wait": {"status": 429, "headers": {"Retry-After": "7"}},
    "429 until a date": {
        "status": 429,
        "headers": {"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"},
    },
    "500": {"status": 500},
    "502 of a proxy": {"status": 502, "body": HTML},
    "503": {"status": 503},
    "400": {"status": 400},
    "401": {"status": 401},
    "403": {"status": 403},
    "404": {"status": 404},
    "405": {"status": 405},
    "409": {"status": 409},
    "HTML": {"status": 200, "body": HTML},
    "nothing": {"status": 200},
    "no object": {"status": 200, "body": b"5"},
    "half": {"status": 200, "body": b'{"status": "complete", "url":', "body_missing": 1},
}
TRANSIENT = {"reset", "silence", "408", "429", "500", "503", "half"}
TRANSIENT |= {"429 with a wait", "429 until a date", "502 of a proxy"}
REFUSED = {"400", "403", "404", "405", "409"}
UNREADABLE = {"HTML", "nothing", "no object"}

Expected = tuple[type[TapError], str] | None


def expected(call: str, fault: str, times: int) -> Expected:
    """Return the error that a cell must end in; None where the rows are delivered."""
    doing = f"Tried to {CALLS[call].doing}"
    once = times == 1
    if call == "delete":  # the rows have been delivered by then
        return (FatalError, "The token is not valid") if fault == "401" else None
    if fault in TRANSIENT:
        return None if once else (DataCollectionError, f"{doing}.*{MAX_TRIES} times")
    if call == "fetch":
        if fault in UNREADABLE:
            return (DataCollectionError, "damaged or not a ZIP")
        if fault == "403":  # the URL may have expired
            return None if once else (DataCollectionError, f"{doing}.*it answered 403")
        return (DataCollectionError, f"{doing}.*it answered {fault}")
    if fault == "401":
        return (FatalError, "The token is not valid")
    if call == "list" and (fault in REFUSED or fault == "no object"):
        return None  # whether there is a list decides nothing but whose the job is
    if fault == "404" and call == "poll":
        return None if once else (DataCollectionError, "is gone; earlier attempts: 2")
    if fault in REFUSED:
        return (DataCollectionError, f"{doing}.*answered {fault}")
    said = "JSON without a status" if fault == "no object" else "not JSON"
    return (DataCollectionError, f"{doing}.*{said}")


def most_requests(call: str, fault: str, times: int, usual: int) -> int:
    """Return how often a call may be made at the most."""
    if times == 1:
        return usual + 2  # a second try, and the list that is looked at before a POST is repeated
    if call == "fetch" and fault == "403":
        return 2 * MAX_TRIES
    return MAX_TRIES + usual


@pytest.fixture
def time() -> Time:
    return Time()


def deliveries(
    stand_in: StandIn, hosted: list[Hosted], time: Time, *, timeout: float = 5
) -> SnapshotSource:
    """Return deliveries that wait on the tests' clock; but for a server that says nothing."""
    config = {"api_token": stand_in.world.token, "api_url": stand_in.api_url}
    settings = Settings.from_config({**config, "collection_ids": [h.id for h in hosted]}, {})
    token = stand_in.world.token
    api = ProlificAPI(stand_in.api_url, token, timeout=timeout, sleep=time.sleep)
    job_starter = JobStarter(api, delete="created", sleep=time.sleep)
    exporter = Exporter(
        api,
        job_starter,
        poll_interval=POLL,
        timeout=600,
        retries=2,
        max_pending=16,
        sleep=time.sleep,
        monotonic=time,
    )
    downloader = Downloader(timeout=timeout, sleep=time.sleep)
    return SnapshotSource(
        settings, api=api, job_starter=job_starter, exporter=exporter, downloader=downloader
    )


def deliver(made: SnapshotSource) -> list[str]:
    """Return the submissions of all that can be delivered."""
    found = []
    history = NoHistory()
    for due in made.due(with_archive=True, history=history):
        with made.open(due, history) as delivery:
            assert delivery
            found += [str(response.submission_id) for response in delivery.responses()]
        made.discard(due, history)
    return found


@pytest.mark.parametrize("times", [1, FOR_EVER], ids=["once", "for ever"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
def test_a_fault_is_lived_through_or_said(  # noqa: PLR0917
    call: str,
    fault: str,
    times: int,
    stand_in: StandIn,
    world: World,
    collection: Hosted,
    time: Time,
) -> None:
    which = CALLS[call]
    world.faults = [Fault(which.server, which.pattern, times=times, **FAULTS[fault])]
    timeout = 0.2 if fault == "silence" else 5
    made = deliveries(stand_in, [collection], time, timeout=timeout)
    began = real_time.monotonic()
    usual = which.usual[world.generation == "idempotent"]
    error = expected(call, fault, times) if usual else None
    if error is None:
        assert deliver(made) == [*collection.submissions]
    else:
        with pytest.raises(error[0], match=error[1]) as raised:
            deliver(made)
        assert collection.id in str(raised.value)
        assert world.token not in str(raised.value)
    assert real_time.monotonic() - began < min([*time.slept, POLL]) + 2  # it was not the real one
    sent = sum(Fault(which.server, which.pattern).matches(request) for request in requests(world))
    assert sent <= most_requests(call, fault, times, usual)
    if fault in TRANSIENT and usual and times == 1:
        assert sent > usual
        assert len(time.slept) == 1
        if "with a wait" in fault:
            assert time.slept == [7]
        if "until a date" in fault:
            assert time.slept == [MAX_WAIT_SECONDS]
    if error is None and call != "delete" and world.generation == "fresh":
        left = len(world.jobs["collections", collection.id])
        # One that nobody can be sure is ours is left: where there was no list, or no answer.
        assert left <= 1 + (call in {"list", "request"})


def requests(world: World) -> list[tuple[str, str]]:
    return [(server, f"{method} {path}") for server, method, path, _ in world.requests]
