"""Request exports, wait for all of them at once, and date the snapshots they contain."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from requests import codes

from tap_prolific_export.errors import DataCollectionError, GoneError, RefusedError
from tap_prolific_export.http import retry
from tap_prolific_export.model import EVERYTHING, ExportFilter
from tap_prolific_export.prolific.client import ExportStatus
from tap_prolific_export.prolific.contract import COMPLETE, ENDED, FAILED, GENERATING
from tap_prolific_export.prolific.export_jobs import describe, filter_of
from tap_prolific_export.redaction import host_of
from tap_prolific_export.times import utc_text
from tap_prolific_export.validation import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from tap_prolific_export.http import Sleep
    from tap_prolific_export.model import DataCollectionRef
    from tap_prolific_export.prolific.client import ExportJob, ProlificAPI
    from tap_prolific_export.prolific.export_jobs import JobStarter, OwnedJobs, Wanted

logger = logging.getLogger("tap-prolific-export")

# Interval of the log lines during a long wait.
LOG_EVERY_SECONDS = 60.0
# Maximum length of a status in errors: a status should be one word.
MAX_STATUS = 40


@dataclass(frozen=True)
class Export:
    """A complete export.

    Attributes:
        ref: The data collection.
        url: URL of the archive. A secret: its query is a signature.
        export_id: The job; None if the API does not name it.
        asked_at: Time of the reply that named this job, by the API's clock.
        created_at: When the job was created; None if the API does not say.
        applied: The filter that the API reports; it may ignore the one we ask for.
        restarts: How many jobs before it failed, vanished or lost their archive.
    """

    ref: DataCollectionRef
    url: str = field(repr=False)
    export_id: str | None
    asked_at: datetime
    created_at: datetime | None
    applied: ExportFilter
    restarts: int = 0

    def exported_at(self, last_modified: datetime | None) -> datetime:
        """Return a time that is never later than the snapshot in the archive.

        Args:
            last_modified: When the archive was written, if its host says so.
        """
        # The archive has nothing of what came after its end.
        limits = [self.applied.end, self.created_at or self.asked_at]
        if self.created_at is None:
            limits.append(last_modified)
        return min(limit for limit in limits if limit)


@dataclass(frozen=True)
class Outcome:
    """The result of a wanted export: the complete export, or the error."""

    wanted: Wanted
    export: Export | None = None
    error: DataCollectionError | None = None


@dataclass
class _Pending:
    """A requested export that is not complete yet."""

    wanted: Wanted
    began: float
    first: ExportStatus  # the reply to our request; it names the job, its date is the snapshot's
    reply: ExportStatus  # the latest one
    listed: bool  # whether the API has a list of jobs
    next_poll: float
    restarts: int = 0  # how many of its jobs have failed, vanished or lost their archive


class Exporter:
    """Requests exports and polls their jobs until they are complete.

    Args:
        api: The Prolific API.
        job_starter: Starts jobs and deletes them.
        poll_interval: Seconds between two polls of a job.
        timeout: Seconds after which a job that is still being generated fails.
        retries: How often to replace a job that failed or vanished.
        max_pending: Maximum number of exports to wait for at once.
        sleep: Waits the given number of seconds.
        monotonic: Returns the seconds of a monotonic clock.
    """

    def __init__(
        self,
        api: ProlificAPI,
        job_starter: JobStarter,
        *,
        poll_interval: float,
        timeout: float,
        retries: int,
        max_pending: int,
        sleep: Sleep,
        monotonic: Callable[[], float],
    ) -> None:
        self._api = api
        self._job_starter = job_starter
        self._poll_interval = poll_interval
        self._timeout = timeout
        self._retries = retries
        self._max_pending = max_pending
        self._sleep = sleep
        self._monotonic = monotonic
        self._unknown_statuses: set[str] = set()

    def exports(self, due: Iterable[Wanted], owned_jobs: OwnedJobs) -> Iterator[Outcome]:
        """Request exports and yield each as soon as it is complete.

        Up to `max_pending` are generated at once, also while the caller works on earlier ones.

        Raises:
            FatalError: The API refuses all requests.
        """
        return self._outcomes(deque(due), [], owned_jobs)

    def export_again(self, wanted: Wanted, gone: Export, owned_jobs: OwnedJobs) -> Outcome:
        """Request an export again whose archive is gone, and wait for it.

        A job that lost its archive counts like one that failed.

        Raises:
            DataCollectionError: It was requested as often as `retries` allows.
            FatalError: The API refuses all requests.
        """
        now = self._monotonic()
        reply = ExportStatus(FAILED, gone.asked_at, gone.export_id)
        job = _Pending(
            wanted, now, reply, reply, listed=False, next_poll=now, restarts=gone.restarts
        )
        self._restart(job, "has lost its archive", owned_jobs)
        return next(self._outcomes(deque(), [job], owned_jobs))

    def _outcomes(
        self, queue: deque[Wanted], pending: list[_Pending], owned_jobs: OwnedJobs
    ) -> Iterator[Outcome]:
        """Request the queued exports, and yield each one as soon as it is complete."""
        logged_at = self._monotonic()
        while queue or pending:
            if queue and len(pending) < self._max_pending:
                wanted = queue.popleft()
                try:
                    pending.append(self._request(wanted, owned_jobs))
                except DataCollectionError as error:
                    yield Outcome(wanted, error=error)
                continue
            job = min(pending, key=lambda each: each.next_poll)
            now = self._monotonic()
            if job.next_poll > now:
                if now - logged_at >= LOG_EVERY_SECONDS:
                    logged_at = now
                    _log_waiting(pending, len(queue), now)
                self._sleep(job.next_poll - now)
            try:
                outcome = Outcome(job.wanted, self._poll(job, owned_jobs))
            except DataCollectionError as error:
                outcome = Outcome(job.wanted, error=error)
            if outcome.export or outcome.error:
                pending.remove(job)
                yield outcome

    def fresh_url(self, export: Export) -> str:
        """Return a new URL for an archive whose URL has expired.

        Raises:
            GoneError: The API no longer has this archive.
            DataCollectionError: The API has no usable URL.
        """
        ref = export.ref
        if export.export_id:
            try:
                reply = self._api.export_status(ref, export.export_id)
            except RefusedError as error:
                if error.status != codes.not_found:
                    raise
                raise GoneError(error.what, error.problem, error.advice) from None
        else:
            # The older generation replies with its recent archive under a new URL.
            policy = self._api.retry_policy(ref, "get a fresh URL for the archive")
            reply = retry(lambda: self._api.request_export(ref, EVERYTHING), policy)
        if reply.status != COMPLETE:
            raise GoneError(
                str(ref),
                "The archive's URL has expired, and the API has no new one for it "
                f"({_quoted(reply.status)}).",
                "Run again later.",
            )
        return self._checked_url(ref, reply)

    def _request(self, wanted: Wanted, owned_jobs: OwnedJobs) -> _Pending:
        began = self._monotonic()
        reply, listed = self._job_starter.start(wanted, owned_jobs)
        start, export_id = wanted.asked.start, reply.export_id
        since = f", of responses from {utc_text(start)} on" if start else ""
        job = f" (job {export_id})" if export_id else ""
        logger.info("%s: export requested%s%s.", wanted.ref, since, job)
        return _Pending(wanted, began, reply, reply, listed, began)

    def _poll(self, job: _Pending, owned_jobs: OwnedJobs) -> Export | None:
        """Poll a job; return its export if it is complete."""
        ref = job.wanted.ref
        if job.reply.status not in ENDED:
            if job.first.export_id is None:
                state = "is being generated"
                if job.reply.status != GENERATING:
                    state = f"has the unknown status {_quoted(job.reply.status)}"
                problem = f"The API says that the export {state}, but names no job."
                raise DataCollectionError(str(ref), problem, "Run again later.")
            try:
                job.reply = self._api.export_status(ref, job.first.export_id)
            except RefusedError as error:
                if error.status != codes.not_found:
                    raise
                self._restart(job, "is gone", owned_jobs)
                return None
        if job.reply.status == COMPLETE:
            return self._completed(job)
        if job.reply.status == FAILED:
            self._restart(job, "failed", owned_jobs)
            return None
        self._log_unknown(job)
        now = self._monotonic()
        if now - job.began >= self._timeout:
            raise _timed_out(job, now - job.began)
        job.next_poll = now + self._poll_interval
        return None

    def _log_unknown(self, job: _Pending) -> None:
        """Log an unknown status, once for all jobs."""
        status = job.reply.status
        if status != GENERATING and status not in self._unknown_statuses:
            self._unknown_statuses.add(status)
            logger.warning(
                "%s: export job %s has the unknown status %s; waiting as if it were being "
                "generated.",
                job.wanted.ref,
                job.first.export_id,
                _quoted(status),
            )

    def _restart(self, job: _Pending, why: str, owned_jobs: OwnedJobs) -> None:
        """Request an export again after its job failed, vanished or lost its archive."""
        ref, export_id = job.wanted.ref, job.first.export_id
        what = f"export job {export_id}" if export_id else "the export"
        if job.restarts >= self._retries:
            problem = f"Prolific says: {what} {why}; earlier attempts: {job.restarts}."
            raise DataCollectionError(str(ref), problem, "Run again later to request a new one.")
        logger.info("%s: %s %s; requesting another.", ref, what, why)
        job.restarts += 1
        job.first, job.listed = self._job_starter.start(job.wanted, owned_jobs)
        job.reply = job.first
        # Keep the interval: each new job may fail at once.
        job.next_poll = self._monotonic() + self._poll_interval

    def _completed(self, job: _Pending) -> Export:
        ref, export_id = job.wanted.ref, job.first.export_id
        url = self._checked_url(ref, job.reply)
        jobs = self._job_starter.jobs(ref) if job.listed else None
        listed = next((each for each in jobs or () if each.export_id == export_id), None)
        waited = self._monotonic() - job.began
        logger.info("%s: export complete after %.0f s.", ref, waited)
        applied = _applied(listed, job.wanted.asked, may_filter=jobs is not None)
        if listed:
            _check_filter(job.wanted, listed, applied)
        return Export(
            ref=ref,
            url=url,
            export_id=export_id or job.reply.export_id,
            asked_at=job.first.date,
            created_at=listed.created_at if listed else None,
            applied=applied,
            restarts=job.restarts,
        )

    def _checked_url(self, ref: DataCollectionRef, reply: ExportStatus) -> str:
        """Return the archive's URL if it is https, or if the API and the URL are both local."""
        if reply.url is None:
            problem = "The API says that the export is complete, but gives no URL for it."
            raise DataCollectionError(str(ref), problem, "Run again later.")
        both_local = self._api.url.startswith("http://") and is_loopback(reply.url)
        allowed = ("https://", "http://") if both_local else ("https://",)
        if not reply.url.startswith(allowed):
            problem = f"The archive's URL on {host_of(reply.url)} is not https: not fetched."
            raise DataCollectionError(str(ref), problem, "Check api_url.")
        return reply.url


def _timed_out(job: _Pending, seconds: float) -> DataCollectionError:
    problem, advice = "was still being generated", "Run again later, or raise"
    if job.reply.status != GENERATING:
        problem = f"still had the unknown status {_quoted(job.reply.status)}"
        advice = "Run again later, upgrade the tap, or raise"
    return DataCollectionError(
        str(job.wanted.ref),
        f"Export job {job.first.export_id} {problem} after {seconds:.0f} s.",
        f"{advice} export_timeout_seconds.",
    )


def _quoted(status: str) -> str:
    """Quote a short status; omit a long one: a part of a secret would escape redaction."""
    return repr(status) if len(status) <= MAX_STATUS else "(a long text)"


def _log_waiting(pending: Sequence[_Pending], queued: int, now: float) -> None:
    longest = min(pending, key=lambda each: each.began)
    logger.info(
        "%s: still being generated after %.0f s; %d exports pending, %d yet to be requested.",
        longest.wanted.ref,
        now - longest.began,
        len(pending),
        queued,
    )


def _applied(job: ExportJob | None, asked: ExportFilter, *, may_filter: bool) -> ExportFilter:
    if job is None:
        # An API with a list of jobs can filter, but this job is not in the list. Assume the start
        # we asked for, so that no row is dropped by time; do not rely on the study filter.
        return ExportFilter(start=asked.start) if may_filter else EVERYTHING
    applied = filter_of(job)
    if job.created_at and applied.end and applied.end >= job.created_at:
        # A snapshot holds nothing that is newer than its job.
        applied = replace(applied, end=None)
    if applied.other:
        # Part of it may be the start that we asked for: drop no row by time.
        applied = replace(applied, start=applied.start or asked.start)
    return applied


def _check_filter(wanted: Wanted, job: ExportJob, applied: ExportFilter) -> None:
    """Raise an error if a job that answered our request lacks responses that we asked for."""
    asked = wanted.asked
    lacks_studies = applied.study_id not in {None, asked.study_id}
    lacks_start = applied.start and (asked.start is None or applied.start > asked.start)
    if lacks_studies or lacks_start:
        raise DataCollectionError(
            str(wanted.ref),
            f"The API answered the request for an export with job {describe(job)}, which is "
            "narrower than what was asked for.",
            "Run again later, or delete this job.",
        )
    names = ["to"] if applied.end else []
    names += [name for name, _ in applied.other]
    if names:
        logger.warning(
            "%s: export job %s is narrowed by %s, which was not asked for. Responses may be "
            "missing from it, so full_exported_at does not move.",
            wanted.ref,
            job.export_id,
            ", ".join(names),
        )
