"""Every fault on every call of the API."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tap_prolific_export.archive.http_source import Downloader
from tap_prolific_export.prolific.client import ProlificAPI
from tap_prolific_export.prolific.export_jobs import JobStarter
from tap_prolific_export.prolific.exports import Exporter
from tap_prolific_export.settings import Settings
from tap_prolific_export.snapshots.source import SnapshotSource
from tests.support.history import NoHistory

if TYPE_CHECKING:
    from tests.support.clocks import Time
    from tests.support.stand_in import Hosted, StandIn


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
            blocks = delivery.responses()
            found += [str(response.submission_id) for block in blocks for response in block]
        made.discard(due, history)
    return found
