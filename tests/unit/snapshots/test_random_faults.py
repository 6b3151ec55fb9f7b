"""A law: whatever goes wrong, every response is delivered or its data collection is said to fail.

Never silence; and no export job of somebody else's is ever deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tap_prolific_export.errors import DataCollectionError, FatalError
from tests.support.api_clients import make_source
from tests.support.clocks import MonotonicClock
from tests.support.faults import CALLS, FAULTS
from tests.support.history import NoHistory
from tests.support.stand_in import Fault, StandIn, World, samples

if TYPE_CHECKING:
    from tap_prolific_export.snapshots.source import SnapshotSource
    from tests.support.stand_in.world import Job

faults = st.builds(
    lambda call, fault, times, after: Fault(
        CALLS[call].server,
        CALLS[call].pattern,
        times=times,
        after=after and call in {"request", "delete"},
        **FAULTS[fault],
    ),
    st.sampled_from([*CALLS]),
    # Not for ever, and mostly what passes by: else nearly all lives would end at once.
    st.sampled_from(["reset", "500", "429", "half", "403", "404", "409", "HTML", "nothing"]),
    st.integers(1, 4),
    st.booleans(),
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    generation=st.sampled_from(["fresh", "fresh", "idempotent"]),
    going_wrong=st.lists(faults, max_size=6),
    theirs_before=st.integers(0, 10),
    theirs_meanwhile=st.sets(st.integers(0, 20), max_size=6),
    polls=st.integers(0, 3),
    runs=st.integers(1, 3),
)
def test_every_response_is_delivered_or_it_is_said_that_it_is_not(  # noqa: PLR0917
    generation: Any,
    going_wrong: list[Fault],
    theirs_before: int,
    theirs_meanwhile: set[int],
    polls: int,
    runs: int,
) -> None:
    world = World(generation=generation)
    world.polls_to_generate = polls
    hosted = [world.host(samples.breakfast_diary(3, id_=f"diary-{n}")) for n in range(2)]
    theirs: list[Job] = []

    def somebody_else_exports(number: int) -> None:
        known = {job.export_id for jobs in world.jobs.values() for job in jobs}
        # Now and then for the same as we do, so that the API makes one job of it.
        narrowed = {"study_id": f"theirs-{number}"} if number % 3 else {}
        job = world.start_job(hosted[number % 2], narrowed)
        if job and job.export_id not in known:
            theirs.append(job)

    for number in range(theirs_before):
        somebody_else_exports(2 * number)
    for job in theirs:
        job.status = "complete"
    asked = iter(range(10**6))

    def watch(request: str) -> None:
        # Not just before our own request for a job: of two that ask for the same between a look
        # at the list and that, nothing tells whose the job is.
        if (count := next(asked)) in theirs_meanwhile and "POST" not in request:
            somebody_else_exports(100 + count)

    world.watch = watch
    world.faults = going_wrong
    history = NoHistory()
    with StandIn(world) as stand_in:
        for _ in range(runs):
            found, said = one_run(make_source(stand_in, hosted, MonotonicClock()), history)
            for each in hosted:
                whole = found.get(each.id) == set(each.submissions)
                assert whole or each.id in said
    there = {job.export_id for jobs in world.jobs.values() for job in jobs}
    assert {job.export_id for job in theirs} <= there


def one_run(source: SnapshotSource, history: NoHistory) -> tuple[dict[str, set[str]], str]:
    """Return which submissions were delivered, by data collection, and all that was said."""
    found: dict[str, set[str]] = {}
    said = ""
    try:
        for due in source.due(history):
            assert due.ref
            try:
                with source.open(due, history) as snapshot:
                    assert snapshot
                    every = (response for block in snapshot.responses() for response in block)
                    found[due.ref.id] = {str(response.submission_id) for response in every}
                source.discard(due, history)
            except DataCollectionError as error:
                said += f"{error}\n"
    except FatalError as error:  # names the one that it came with, and is the end for all
        said += f"{error} diary-0 diary-1"
    return found, said
