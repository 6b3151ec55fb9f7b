"""The life of exports: wait for all at once, know what each is a snapshot of."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from requests import codes

from tap_prolific_export.errors import DataCollectionError, RefusedError
from tap_prolific_export.http import RetryPolicy, retry
from tap_prolific_export.model import EVERYTHING, ExportFilter
from tap_prolific_export.prolific.export_jobs import filter_of
from tap_prolific_export.redaction import host_of
from tap_prolific_export.settings import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from tap_prolific_export.http import Sleep
    from tap_prolific_export.model import DataCollectionRef
    from tap_prolific_export.prolific.client import ExportJob, ExportStatus, ProlificAPI
    from tap_prolific_export.prolific.export_jobs import JobStarter, OwnedJobs, Wanted

    Monotonic = Callable[[], float]

logger = logging.getLogger("tap-prolific-export")

# A long wait says that it is alive this often.
LOG_EVERY_SECONDS = 60.0
# A status is a word.
MAX_STATUS = 40


@dataclass(frozen=True)
class Export:
    """A complete export.

    Attributes:
        ref: Of which data collection.
        url: Where its archive lies. A secret: its query is a signature.
        export_id: The job; None where the API names none.
        asked_at: When the API answered our request with this job, by its own clock.
        created_at: When the job was created; None where the API does not tell.
        applied: By what the API says that it narrowed the export; it may ignore what it is asked.
    """

    ref: DataCollectionRef
    url: str = field(repr=False)
    export_id: str | None
    asked_at: datetime
    created_at: datetime | None
    applied: ExportFilter

    def exported_at(self, last_modified: datetime | None) -> datetime:
        """Return a time that is never later than the snapshot that the archive holds.

        Args:
            last_modified: When the archive was written, where its host tells.
        """
        if self.created_at:
            return self.created_at
        return min(self.asked_at, last_modified) if last_modified else self.asked_at


@dataclass(frozen=True)
class Outcome:
    """What has become of an export: it is complete, or there is none, for a reason."""

    wanted: Wanted
    export: Export | None = None
    error: DataCollectionError | None = None


@dataclass
class _Pending:
    """An export that is being waited for.

    Attributes:
        wanted: What it is for.
        began: When it was first requested.
        first: The answer to our request: it names the job, and its date is the snapshot's.
        answer: What the API said last.
        listed: Whether the API has a list of jobs.
        next_look: When to look again.
        restarts: How often a job of it has failed or vanished.
    """

    wanted: Wanted
    began: float
    first: ExportStatus
    answer: ExportStatus
    listed: bool
    next_look: float
    restarts: int = 0


class Exporter:
    """Gets exports made.

    Args:
        api: The Prolific API.
        job_starter: Gets jobs started, and deletes them.
        poll_interval: Seconds between two looks at a job.
        timeout: Seconds after which a job that is still generating is given up.
        retries: How often a job that failed or vanished is requested again.
        max_pending: How many exports are waited for at once.
        sleep: Waits so many seconds.
        monotonic: Seconds on a clock that never jumps.
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
        monotonic: Monotonic,
    ) -> None:
        self._api = api
        self._job_starter = job_starter
        self._poll_interval = poll_interval
        self._timeout = timeout
        self._retries = retries
        self._max_pending = max_pending
        self._sleep = sleep
        self._monotonic = monotonic

    def exports(self, due: Iterable[Wanted], owned_jobs: OwnedJobs) -> Iterator[Outcome]:
        """Request exports and yield them as they are completed.

        They are requested before the first is waited for, but for what exceeds `max_pending`, and
        go on being generated while what is yielded is worked upon.

        Raises:
            FatalError: The API will not talk to us at all.
        """
        queue = deque(due)
        pending: list[_Pending] = []
        said = self._monotonic()
        while queue or pending:
            if queue and len(pending) < self._max_pending:
                wanted = queue.popleft()
                try:
                    pending.append(self._request(wanted, owned_jobs))
                except DataCollectionError as error:
                    yield Outcome(wanted, error=error)
                continue
            job = min(pending, key=lambda each: each.next_look)
            now = self._monotonic()
            if job.next_look > now:
                if now - said >= LOG_EVERY_SECONDS:
                    said = now
                    _say_waiting(pending, len(queue), now)
                self._sleep(job.next_look - now)
            try:
                export = self._look(job, owned_jobs)
            except DataCollectionError as error:
                pending.remove(job)
                yield Outcome(job.wanted, error=error)
            else:
                if export:
                    pending.remove(job)
                    yield Outcome(job.wanted, export)

    def fresh_url(self, export: Export) -> str:
        """Return a URL that works, for an archive whose own has expired.

        Raises:
            DataCollectionError: There is none any more.
        """
        ref = export.ref
        if export.export_id:
            answer = self._api.export_status(ref, export.export_id)
        else:
            # Asked again, the older generation hands out its recent archive under a new URL.
            policy = RetryPolicy(self._sleep, ref, "get a fresh URL for the archive")
            answer = retry(lambda: self._api.request_export(ref, EVERYTHING), policy)
        if answer.status != "complete":
            raise DataCollectionError(
                str(ref),
                "The archive's URL has expired, and the API has no new one for it "
                f"({_quoted(answer.status)}).",
                "Run again later.",
            )
        return self._checked_url(ref, answer)

    def _request(self, wanted: Wanted, owned_jobs: OwnedJobs) -> _Pending:
        began = self._monotonic()
        answer, listed = self._job_starter.start(wanted, owned_jobs)
        logger.info(
            "%s: export requested%s%s.",
            wanted.ref,
            _from_suffix(wanted.asked),
            f" (job {answer.export_id})" if answer.export_id else "",
        )
        return _Pending(wanted, began, answer, answer, listed, began)

    def _look(self, job: _Pending, owned_jobs: OwnedJobs) -> Export | None:
        """Look at a job; return its export if it is complete."""
        ref = job.wanted.ref
        if job.answer.status == "generating":
            if job.first.export_id is None:
                raise DataCollectionError(
                    str(ref),
                    "The API says that the export is being generated, but names no job.",
                    "Run again later.",
                )
            try:
                job.answer = self._api.export_status(ref, job.first.export_id)
            except RefusedError as error:
                if error.status != codes.not_found:
                    raise
                self._restart(job, "is gone", owned_jobs)
                return None
        if job.answer.status == "complete":
            return self._completed(job)
        if job.answer.status == "failed":
            self._restart(job, "failed", owned_jobs)
            return None
        if job.answer.status != "generating":
            raise DataCollectionError(
                str(ref),
                f"The API gave the export the unknown status {_quoted(job.answer.status)}.",
                "Upgrade the tap, or report this.",
            )
        now = self._monotonic()
        if now - job.began >= self._timeout:
            raise DataCollectionError(
                str(ref),
                f"Export job {job.first.export_id} was still being generated after "
                f"{now - job.began:.0f} s.",
                "Run again later, or raise export_timeout_seconds.",
            )
        job.next_look = now + self._poll_interval
        return None

    def _restart(self, job: _Pending, why: str, owned_jobs: OwnedJobs) -> None:
        """Request an export again whose job has come to nothing."""
        ref, export_id = job.wanted.ref, job.first.export_id
        if job.restarts >= self._retries:
            raise DataCollectionError(
                str(ref),
                f"Prolific says that export job {export_id} {why}, as did {job.restarts} before.",
                "Run again later to request a new one.",
            )
        logger.info("%s: export job %s %s; requesting another.", ref, export_id, why)
        job.restarts += 1
        job.first, job.listed = self._job_starter.start(job.wanted, owned_jobs)
        job.answer = job.first
        # Not before the interval is over: there may be no end to failing at once.
        job.next_look = self._monotonic() + self._poll_interval

    def _completed(self, job: _Pending) -> Export:
        ref, export_id = job.wanted.ref, job.first.export_id
        url = self._checked_url(ref, job.answer)
        jobs = self._job_starter.jobs(ref) if job.listed else None
        listed = next((each for each in jobs or () if each.export_id == export_id), None)
        waited = self._monotonic() - job.began
        logger.info("%s: export complete after %.0f s.", ref, waited)
        return Export(
            ref=ref,
            url=url,
            export_id=export_id or job.answer.export_id,
            asked_at=job.first.date,
            created_at=listed.created_at if listed else None,
            applied=_applied(listed, job.wanted.asked, may_filter=jobs is not None),
        )

    def _checked_url(self, ref: DataCollectionRef, answer: ExportStatus) -> str:
        """Return the archive's URL if it may be fetched: https, unless all is on loopback."""
        if answer.url is None:
            raise DataCollectionError(
                str(ref),
                "The API says that the export is complete, but gives no URL for it.",
                "Run again later.",
            )
        both_local = self._api.url.startswith("http://") and is_loopback(answer.url)
        allowed = ("https://", "http://") if both_local else ("https://",)
        if not answer.url.startswith(allowed):
            raise DataCollectionError(
                str(ref),
                f"The archive's URL on {host_of(answer.url)} is not https: not fetched.",
                "Check api_url.",
            )
        return answer.url


def _quoted(status: str) -> str:
    """Return a status whole or not at all: of a secret, a piece would not be recognised."""
    return repr(status) if len(status) <= MAX_STATUS else "(a long text)"


def _say_waiting(pending: Sequence[_Pending], queued: int, now: float) -> None:
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
        # An API that has a list of jobs filters. What a job that is not in it holds nobody tells:
        # rather too much of it is taken than too little, but not of other studies.
        return ExportFilter(start=asked.start) if may_filter else EVERYTHING
    return filter_of(job)


def _from_suffix(narrowed: ExportFilter) -> str:
    if narrowed.start is None:
        return ""
    return f", of responses from {narrowed.start:%Y-%m-%d %H:%M:%S} UTC on"
