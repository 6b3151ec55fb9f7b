"""Start export jobs. The newer generation of the API allows ten jobs per data collection.

All users who export the data collection share these ten. `OwnedJobs` knows which jobs are
certainly ours; the tap never deletes any other.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from requests import codes

from tap_prolific_export.errors import DataCollectionError, RefusedError, TryAgainError
from tap_prolific_export.model import EVERYTHING, ExportFilter, text_or_none
from tap_prolific_export.prolific import contract
from tap_prolific_export.prolific.client import ExportStatus
from tap_prolific_export.times import parse_timestamp, utc_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tap_prolific_export.model import DataCollectionRef
    from tap_prolific_export.prolific.client import ExportJob, ProlificAPI
    from tap_prolific_export.settings import DeleteExports

logger = logging.getLogger("tap-prolific-export")

# What Prolific documents in the filter of a job.
KNOWN_FILTERS = ("study_id", "from", "to")


@dataclass(frozen=True)
class Wanted:
    """An export that is due.

    Attributes:
        ref: The data collection.
        asked: The filter to ask for; the API may ignore it.
        latest: `exported_at` of the last delivery; None if there was none.
    """

    ref: DataCollectionRef
    asked: ExportFilter = EVERYTHING
    latest: datetime | None = None


class OwnedJobs(Protocol):
    """The export jobs that are certainly ours, from this run and earlier ones."""

    def ours(self, ref: DataCollectionRef) -> Sequence[str]:
        """Return the ids of our jobs."""

    def take(self, ref: DataCollectionRef, export_id: str) -> None:
        """Record ownership of a job at once, so that a crash leaks no job."""

    def release(self, ref: DataCollectionRef, export_id: str) -> None:
        """Forget a job of ours that was deleted."""


class JobStarter:
    """Starts export jobs and deletes them when they are no longer needed.

    Args:
        api: The Prolific API.
        delete: Whether to delete our jobs once they are no longer needed, or never.
    """

    def __init__(self, api: ProlificAPI, *, delete: DeleteExports) -> None:
        self._api = api
        self._deletes = delete == "created"
        # Whether the API has a list of jobs, by its last reply; a refusal does not count.
        self._has_list: bool | None = None
        # Whether the API is of the older generation, without a list: do not ask for it again.
        self._is_older = False

    def start(self, wanted: Wanted, owned_jobs: OwnedJobs) -> tuple[ExportStatus, bool]:
        """Start a job, or find an existing one that can be used instead.

        Returns:
            The API's reply, and whether the API has a list of jobs.

        Raises:
            DataCollectionError: There is no usable job.
            FatalError: The API refuses all requests.
        """
        ref, asked = wanted.ref, wanted.asked
        before = self.jobs(ref)
        self._forget_gone(ref, before, owned_jobs)
        policy = self._api.retry_policy(ref, "request an export")
        lost = False
        while True:
            if lost and (found := self._started_by_lost_request(ref, before, asked)):
                return found, True
            try:
                reply = self._api.request_export(ref, asked)
            except (RefusedError, TryAgainError) as error:
                if before is not None and _is_job_limit(error, before):
                    if not self._make_room(ref, before, owned_jobs):
                        return self._existing_job(wanted, before, error, owned_jobs), True
                    before = self.jobs(ref)
                elif isinstance(error, TryAgainError):
                    policy.wait(error)
                    lost = True  # the API may have started a job nevertheless
                elif error.status == codes.bad_request and asked.start:
                    # The API may not know this filter. Without it, the export contains more, and
                    # we filter the rows ourselves.
                    asked = replace(asked, start=None)
                else:
                    raise
            else:
                self._record_owner(ref, before, reply, owned_jobs)
                return reply, before is not None

    def jobs(self, ref: DataCollectionRef) -> list[ExportJob] | None:
        """Return the export jobs, most recent first; None if the API does not list them."""
        if self._is_older:
            return None
        try:
            found = self._api.export_jobs(ref)
        except RefusedError as error:  # the export request will fail with a better error
            logger.debug("%s", error)
            return None
        self._has_list = found is not None
        return found

    def discard(self, ref: DataCollectionRef, owned_jobs: OwnedJobs) -> None:
        """Delete our jobs of a data collection: they are delivered or empty.

        If a job cannot be deleted, we still own it, and the next run tries again.
        """
        for export_id in owned_jobs.ours(ref) if self._deletes else ():
            try:
                self._api.delete_export(ref, export_id)
            except DataCollectionError as error:
                logger.warning("%s", error)
            else:
                owned_jobs.release(ref, export_id)

    def _forget_gone(
        self, ref: DataCollectionRef, jobs: Sequence[ExportJob] | None, owned_jobs: OwnedJobs
    ) -> None:
        """Forget our jobs that somebody has deleted, if we never delete them ourselves."""
        if self._deletes or jobs is None:
            return
        for export_id in {*owned_jobs.ours(ref)} - {job.export_id for job in jobs}:
            owned_jobs.release(ref, export_id)

    def _record_owner(
        self,
        ref: DataCollectionRef,
        before: Sequence[ExportJob] | None,
        reply: ExportStatus,
        owned_jobs: OwnedJobs,
    ) -> None:
        """Record that the job is ours if our request created it, that is, if it is new.

        Also if we never delete jobs: that may change, and errors say how many are ours.
        """
        if before is None:
            self._is_older = self._has_list is False
        elif reply.export_id and reply.export_id not in {job.export_id for job in before}:
            owned_jobs.take(ref, reply.export_id)

    def _started_by_lost_request(
        self, ref: DataCollectionRef, before: Sequence[ExportJob] | None, asked: ExportFilter
    ) -> ExportStatus | None:
        """Return the newest job that may come from our request whose reply was lost.

        Another user may have made the same request, so we do not own the job.
        """
        if before is None:
            return None
        known = {job.export_id for job in before}
        for job in self.jobs(ref) or ():
            matches = job.export_id not in known and filter_of(job) == asked
            if matches and job.created_at and job.status != contract.FAILED:
                logger.info("%s: the lost request has started job %s.", ref, job.export_id)
                return ExportStatus(contract.GENERATING, job.created_at, job.export_id)
        return None

    def _make_room(
        self, ref: DataCollectionRef, jobs: Sequence[ExportJob], owned_jobs: OwnedJobs
    ) -> bool:
        """Delete our finished jobs to get below the limit; return whether there were any."""
        if not self._deletes:
            return False
        done = [job for job in _ours(ref, jobs, owned_jobs) if job.status in contract.ENDED]
        for job in done:
            self._api.delete_export(ref, job.export_id)
            owned_jobs.release(ref, job.export_id)
        return bool(done)

    def _existing_job(
        self,
        wanted: Wanted,
        jobs: Sequence[ExportJob],
        refusal: RefusedError | TryAgainError,
        owned_jobs: OwnedJobs,
    ) -> ExportStatus:
        """Return the newest existing job that can be used instead of a new one."""
        usable = {
            job.created_at: job
            for job in jobs
            if job.status == contract.COMPLETE
            and filter_of(job) == EVERYTHING
            and job.created_at
            and (wanted.latest is None or job.created_at > wanted.latest)
        }
        ours = _ours(wanted.ref, jobs, owned_jobs)
        can_be_freed = not self._deletes and any(job.status in contract.ENDED for job in ours)
        hint, delete_one = "", "Delete one"
        if can_be_freed:
            hint = "Set delete_exports to created, and the tap deletes its own. "
            delete_one = "Or delete one"
        if not usable:
            problem = f"Tried to request an export; {refusal}"
            if isinstance(refusal, RefusedError):
                problem = refusal.problem
            raise DataCollectionError(
                str(wanted.ref),
                f"{problem} All places for export jobs are taken, {len(ours) or 'none'} of them by "
                f"this tap: {'; '.join(describe(job) for job in jobs)}.",
                f'{hint}{delete_one}: curl -X DELETE -H "Authorization: Token $PROLIFIC_TOKEN" '
                f"{self._api.url}"
                + contract.EXPORT.format(
                    kind=wanted.ref.kind.value, id=wanted.ref.id, export_id="<job>"
                ),
            ) from None
        created_at = max(usable)
        job = usable[created_at]
        logger.warning(
            "%s: all places for export jobs are taken, %s of them by this tap. Reading job %s "
            "instead, of %s. %sDelete one of the jobs to get newer responses.",
            wanted.ref,
            len(ours) or "none",
            job.export_id,
            utc_text(created_at),
            hint,
        )
        return ExportStatus(contract.GENERATING, created_at, job.export_id)


def _ours(
    ref: DataCollectionRef, jobs: Sequence[ExportJob], owned_jobs: OwnedJobs
) -> list[ExportJob]:
    owned = {*owned_jobs.ours(ref)}
    return [job for job in jobs if job.export_id in owned]


def _is_job_limit(error: RefusedError | TryAgainError, jobs: Sequence[ExportJob]) -> bool:
    """Whether a request was refused because of the limit on jobs.

    The status for this is not documented: while there are ten jobs, any refusal counts.
    """
    refused = isinstance(error, RefusedError) or error.status == codes.too_many_requests
    return refused and len(jobs) >= contract.MAX_JOBS


def filter_of(job: ExportJob) -> ExportFilter:
    """Return the filter of a job. Whatever is not understood may narrow it, so it is kept."""
    study_id = text_or_none(job.filter.get("study_id"))
    start, end = (parse_timestamp(job.filter.get(name)) for name in ("from", "to"))
    understood = {"study_id": study_id, "from": start, "to": end}
    other = (
        (name, _one_text(value))
        for name, value in _given(job).items()
        if understood.get(name) is None
    )
    return ExportFilter(study_id, start, end, tuple(sorted(other)))


def _given(job: ExportJob) -> dict[str, Any]:
    """Return what a job's filter sets: null narrows nothing, nor do empty texts we know."""
    return {
        name: value
        for name, value in job.filter.items()
        if value is not None and not (name in KNOWN_FILTERS and value == "")
    }


def _one_text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def describe(job: ExportJob) -> str:
    """Describe a job for an error message. Values of unknown filters may be personal: omit them."""
    created = f" of {utc_text(job.created_at)}" if job.created_at else ""
    filters = ", ".join(
        f"{name} {value}" if name in KNOWN_FILTERS and isinstance(value, str) else name
        for name, value in _given(job).items()
    )
    return f"{job.export_id}{created} ({job.status}, {filters or 'everything'})"
