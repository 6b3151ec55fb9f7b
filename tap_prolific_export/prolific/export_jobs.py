"""Getting an export job: in the newer generation of the API there are ten places for them.

They are shared with everybody else who exports the data collection. `OwnedJobs` knows which jobs
are certainly ours; no other is ever deleted.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from requests import codes

from tap_prolific_export.errors import DataCollectionError, RefusedError, TryAgainError
from tap_prolific_export.http import RetryPolicy
from tap_prolific_export.model import EVERYTHING, ExportFilter
from tap_prolific_export.prolific.client import ExportStatus
from tap_prolific_export.times import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tap_prolific_export.http import Sleep
    from tap_prolific_export.model import DataCollectionRef
    from tap_prolific_export.prolific.client import ExportJob, ProlificAPI
    from tap_prolific_export.settings import DeleteExports

logger = logging.getLogger("tap-prolific-export")

# So many jobs may a data collection have, over all filters; the API refuses one more.
MAX_JOBS = 10


@dataclass(frozen=True)
class Wanted:
    """An export that is due.

    Attributes:
        ref: Of which data collection.
        asked: What it is narrowed to, if the API does that.
        latest: `exported_at` of what was delivered last; None: nothing was.
    """

    ref: DataCollectionRef
    asked: ExportFilter = EVERYTHING
    latest: datetime | None = None


class OwnedJobs(Protocol):
    """Which export jobs are certainly ours, in earlier runs and in this one."""

    def ours(self, ref: DataCollectionRef) -> Sequence[str]:
        """Return the ids of our jobs."""

    def take(self, ref: DataCollectionRef, export_id: str) -> None:
        """Note at once that a job is ours: a crash must leave none that nobody dares to delete."""

    def release(self, ref: DataCollectionRef, export_id: str) -> None:
        """Note that a job of ours is no more."""


class JobStarter:
    """Gets export jobs started, and deletes those that were.

    Args:
        api: The Prolific API.
        delete: Whether our jobs are deleted once they are of no more use, or never.
        sleep: Waits so many seconds.
    """

    def __init__(self, api: ProlificAPI, *, delete: DeleteExports, sleep: Sleep) -> None:
        self._api = api
        self._deletes = delete == "created"
        self._sleep = sleep
        # What the API said last of whether it has a list of jobs; a refusal says nothing.
        self._has_list: bool | None = None
        # Whether it has turned out to have none: it is not asked for again.
        self._is_older = False

    def start(self, wanted: Wanted, owned_jobs: OwnedJobs) -> tuple[ExportStatus, bool]:
        """Start a job, or find the one that will do.

        Returns:
            The API's answer, and whether it has a list of jobs.

        Raises:
            DataCollectionError: There is none to be had.
            FatalError: Nor for any other data collection.
        """
        ref, asked = wanted.ref, wanted.asked
        before = self.jobs(ref)
        policy = RetryPolicy(self._sleep, ref, "request an export")
        lost = False
        while True:
            if lost and (found := self._adopted(ref, before, asked)):
                return found, True
            try:
                answer = self._api.request_export(ref, asked)
            except (RefusedError, TryAgainError) as error:
                if before is not None and _is_for_want_of_room(error, before):
                    if not self._make_room(ref, before, owned_jobs):
                        return self._of_somebody_else(wanted, before, error), True
                    before = self.jobs(ref) or []
                elif isinstance(error, TryAgainError):
                    policy.wait(error)
                    lost = True  # the API may have started a job all the same
                elif error.status == codes.bad_request and asked.start:
                    # Whether every API knows the filter is not known. Without it more comes, which
                    # is chosen from afterwards.
                    asked = replace(asked, start=None)
                else:
                    raise
            else:
                self._note(ref, before, answer, owned_jobs)
                return answer, before is not None

    def jobs(self, ref: DataCollectionRef) -> list[ExportJob] | None:
        """Return the export jobs, most recent first; None where the API does not tell."""
        if self._is_older:
            return None
        try:
            found = self._api.export_jobs(ref)
        except RefusedError as error:  # what it comes to, the request itself will say
            logger.debug("%s", error)
            return None
        self._has_list = found is not None
        return found

    def discard(self, ref: DataCollectionRef, owned_jobs: OwnedJobs) -> None:
        """Delete our jobs of a data collection: what they hold has been delivered, or is nothing.

        One that cannot be deleted stays known as ours; the next run tries again.
        """
        for export_id in owned_jobs.ours(ref) if self._deletes else ():
            try:
                self._api.delete_export(ref, export_id)
            except DataCollectionError as error:
                logger.warning("%s", error)
            else:
                owned_jobs.release(ref, export_id)

    def _note(
        self,
        ref: DataCollectionRef,
        before: Sequence[ExportJob] | None,
        answer: ExportStatus,
        owned_jobs: OwnedJobs,
    ) -> None:
        """Note whose the job is: ours only if our request was answered by one that is new."""
        if before is None and self._has_list is False:
            self._is_older = True
        known = {job.export_id for job in before or ()}
        # Where none is deleted, nobody needs to know.
        is_new = before is not None and answer.export_id not in known
        if answer.export_id and is_new and self._deletes:
            owned_jobs.take(ref, answer.export_id)

    def _adopted(
        self, ref: DataCollectionRef, before: Sequence[ExportJob] | None, asked: ExportFilter
    ) -> ExportStatus | None:
        """Return the newest job that a request of which the answer was lost may have started.

        Somebody else may have asked for the same just then: it is not ours to delete.
        """
        if before is None:
            return None
        known = {job.export_id for job in before}
        for job in self.jobs(ref) or ():
            alike = job.export_id not in known and filter_of(job) == asked
            if alike and job.created_at and job.status in {"generating", "complete"}:
                logger.info("%s: the lost request has started job %s.", ref, job.export_id)
                return ExportStatus("generating", job.created_at, job.export_id)
        return None

    def _make_room(
        self, ref: DataCollectionRef, jobs: Sequence[ExportJob], owned_jobs: OwnedJobs
    ) -> bool:
        """Delete what is ours of the jobs that take all places; return whether any was."""
        if not self._deletes:
            return False
        ours = {*owned_jobs.ours(ref)}
        done = [job for job in jobs if job.export_id in ours and job.status != "generating"]
        for job in done:
            self._api.delete_export(ref, job.export_id)
            owned_jobs.release(ref, job.export_id)
        return bool(done)

    def _of_somebody_else(
        self, wanted: Wanted, jobs: Sequence[ExportJob], refusal: Exception
    ) -> ExportStatus:
        """Return the newest job of somebody else's that will do instead of one of ours.

        Raises:
            DataCollectionError: There is none.
        """
        usable = {
            job.created_at: job
            for job in jobs
            if job.status == "complete"
            and not job.filter
            and job.created_at
            and (wanted.latest is None or job.created_at > wanted.latest)
        }
        if not usable:
            raise DataCollectionError(
                str(wanted.ref),
                f"Tried to request an export; {refusal} All places for export jobs are taken, none "
                f"by this tap: {'; '.join(_told(job) for job in jobs)}.",
                'Delete one: curl -X DELETE -H "Authorization: Token $PROLIFIC_TOKEN" '
                f"{self._api.url}/api/v1/data-collection/{wanted.ref.kind.value}/{wanted.ref.id}"
                "/export/<job>",
            ) from None
        made = max(usable)
        job = usable[made]
        logger.warning(
            "%s: all places for export jobs are taken, none by this tap. Reading job %s instead, "
            "of %s; delete one of the jobs to get newer responses.",
            wanted.ref,
            job.export_id,
            f"{made:%Y-%m-%d %H:%M:%S} UTC",
        )
        return ExportStatus("generating", made, job.export_id)


def _is_for_want_of_room(error: RefusedError | TryAgainError, jobs: Sequence[ExportJob]) -> bool:
    """Whether a request was refused because all places are taken.

    With which status is not published: any refusal is taken for it while there are ten jobs.
    """
    refused = isinstance(error, RefusedError) or error.status == codes.too_many_requests
    return refused and len(jobs) >= MAX_JOBS


def filter_of(job: ExportJob) -> ExportFilter:
    """Return what a job was narrowed to."""
    study_id = job.filter.get("study_id")
    return ExportFilter(
        study_id if isinstance(study_id, str) else None, parse_timestamp(job.filter.get("from"))
    )


def _told(job: ExportJob) -> str:
    """Return a job as an error lists it."""
    made = f" of {job.created_at:%Y-%m-%d %H:%M:%S} UTC" if job.created_at else ""
    narrowed = ", ".join(f"{name} {value}" for name, value in job.filter.items())
    return f"{job.export_id}{made} ({job.status}, {narrowed or 'everything'})"
