"""What can go wrong: every kind of request that the tap makes, and every fault of an answer."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.history import NoHistory

if TYPE_CHECKING:
    from tap_prolific_export.snapshots.source import SnapshotSource

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


def deliver(source: SnapshotSource) -> list[str]:
    """Return the submissions of all snapshots."""
    found = []
    history = NoHistory()
    for due in source.due(history):
        with source.open(due, history) as snapshot:
            assert snapshot
            blocks = snapshot.responses()
            found += [str(response.submission_id) for block in blocks for response in block]
        source.discard(due, history)
    return found
