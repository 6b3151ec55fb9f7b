"""Every fault on every call, once and for ever, in both generations of the API.

Each cell says whether the rows are delivered all the same, or with which error they are not; how
often the call was made; and that all waiting was done on the injected clock.
"""

from __future__ import annotations

import time as real_time
from typing import TYPE_CHECKING

import pytest

from tap_prolific_export.errors import DataCollectionError, FatalError, TapError
from tap_prolific_export.http import BUSY_SECONDS, MAX_TRIES
from tests.support.api_clients import POLL_SECONDS, TIMEOUT_SECONDS, make_source
from tests.support.faults import CALLS, FAULTS, FOR_EVER, deliver
from tests.support.generations import idempotent_slow
from tests.support.stand_in import Fault

if TYPE_CHECKING:
    from tests.support.clocks import MonotonicClock
    from tests.support.stand_in import Hosted, StandIn, World


BUSY = {"408", "429", "500", "503", "429 with a wait", "429 until a date", "502 of a proxy"}
TRANSIENT = {"reset", "silence", "half"} | BUSY
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
        times_said = r"\d+ times over \d+ s" if fault in BUSY else f"{MAX_TRIES} times"
        return None if once else (DataCollectionError, f"{doing}.*, {times_said}; ")
    if call == "fetch":
        return expected_of_fetch(fault, doing, once=once)
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


def expected_of_fetch(fault: str, doing: str, *, once: bool) -> Expected:
    if fault in UNREADABLE:
        return (DataCollectionError, "damaged or not a ZIP")
    if once and fault in {"403", "404"}:  # a fresh URL, or another export, is as good
        return None
    if fault == "404":
        return (DataCollectionError, "has lost its archive; earlier attempts: 2")
    return (DataCollectionError, f"{doing}.*it answered {fault}")


def most_requests(call: str, fault: str, times: int, usual: int) -> int:
    """Return how often a call may be made at the most."""
    if times == 1:
        return usual + 2  # a second try, and the list that is looked at before a POST is repeated
    if call == "fetch" and fault == "403":
        return 2 * MAX_TRIES
    return (3 * MAX_TRIES if fault in BUSY else MAX_TRIES) + usual


@idempotent_slow
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
    time: MonotonicClock,
) -> None:
    which = CALLS[call]
    world.faults = [Fault(which.server, which.pattern, times=times, **FAULTS[fault])]
    timeout = 5.0
    if fault == "silence":  # what lasts for ever is waited for as often as it is tried
        timeout = 0.2 if times == 1 else 0.05
    source = make_source(stand_in, [collection], time, timeout=timeout)
    began = real_time.monotonic()
    usual = which.usual[world.generation == "idempotent"]
    error = expected(call, fault, times) if usual else None
    if error is None:
        assert deliver(source) == [*collection.submissions]
    else:
        with pytest.raises(error[0], match=error[1]) as raised:
            deliver(source)
        assert collection.id in str(raised.value)
        assert world.token not in str(raised.value)
    # Nothing has really been waited for but the timeouts.
    assert real_time.monotonic() - began < min([*time.slept, POLL_SECONDS]) + 2
    sent = sum(Fault(which.server, which.pattern).matches(request) for request in requests(world))
    assert sent <= most_requests(call, fault, times, usual)
    if fault in BUSY and usual and times == FOR_EVER:
        assert sum(time.slept) >= BUSY_SECONDS
    if fault in TRANSIENT and usual and times == 1:
        assert sent > usual
        assert len(time.slept) == 1
        if "with a wait" in fault:
            assert time.slept == [7]
        if "until a date" in fault:
            assert time.slept == [TIMEOUT_SECONDS]
    if error is None and call != "delete" and world.generation == "fresh":
        left = len(world.jobs["collections", collection.id])
        # One that nobody can be sure is ours is left: where there was no list, or no answer.
        assert left <= 1 + (call in {"list", "request"})


def requests(world: World) -> list[tuple[str, str]]:
    return [(server, f"{method} {path}") for server, method, path, _ in world.requests]
