"""The life of one export: request it, wait for it, know what it is a snapshot of."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from requests import codes

from tap_prolific_export.api import EVERYTHING, ExportFilter
from tap_prolific_export.errors import DataCollectionError, RefusedError
from tap_prolific_export.redaction import host_of
from tap_prolific_export.settings import is_loopback
from tap_prolific_export.times import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tap_prolific_export.api import (
        DataCollectionRef,
        ExportAnswer,
        ExportJob,
        ProlificAPI,
        Sleep,
    )

    Monotonic = Callable[[], float]

logger = logging.getLogger("tap-prolific-export")

# A long wait says that it is alive this often.
LOG_EVERY_SECONDS = 60.0


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
        ready_made: Whether the archive was there when we asked: it may be one that we know.
    """

    ref: DataCollectionRef
    url: str
    export_id: str | None
    asked_at: datetime
    created_at: datetime | None
    applied: ExportFilter
    ready_made: bool = False

    def exported_at(self, last_modified: datetime | None) -> datetime:
        """Return a time that is never later than the snapshot that the archive holds.

        Args:
            last_modified: When the archive was written, where its host tells.
        """
        if self.created_at:
            return self.created_at
        return min(self.asked_at, last_modified) if last_modified else self.asked_at


class Exporter:
    """Gets exports made.

    Args:
        api: The Prolific API.
        poll_interval: Seconds between two looks at a job.
        timeout: Seconds after which a job that is still generating is given up.
        sleep: Waits so many seconds.
        monotonic: Seconds on a clock that never jumps.
    """

    def __init__(
        self,
        api: ProlificAPI,
        *,
        poll_interval: float,
        timeout: float,
        sleep: Sleep,
        monotonic: Monotonic,
    ) -> None:
        self._api = api
        self._poll_interval = poll_interval
        self._timeout = timeout
        self._sleep = sleep
        self._monotonic = monotonic

    def export(self, ref: DataCollectionRef, narrowed: ExportFilter) -> Export:
        """Request an export and wait until it is complete.

        Raises:
            DataCollectionError: It was refused, failed, or is not complete in time.
        """
        began = self._monotonic()
        first = self._request(ref, narrowed)
        logger.info("%s: export requested%s%s.", ref, _from_suffix(narrowed), _job_suffix(first))
        last = self._wait(ref, first, began)
        url = self._checked_url(ref, last)
        jobs = self._api.export_jobs(ref) if first.export_id else None
        job = next((job for job in jobs or () if job.export_id == first.export_id), None)
        logger.info("%s: export complete after %.0f s.", ref, self._monotonic() - began)
        return Export(
            ref=ref,
            url=url,
            export_id=first.export_id or last.export_id,
            asked_at=first.date,
            created_at=job.created_at if job else None,
            applied=_applied(job, narrowed, may_filter=jobs is not None),
            ready_made=first.status == "complete",
        )

    def _request(self, ref: DataCollectionRef, narrowed: ExportFilter) -> ExportAnswer:
        try:
            return self._api.request_export(ref, narrowed)
        except RefusedError as error:
            if error.status != codes.bad_request or narrowed.start is None:
                raise
        # Whether every API knows the filter is not known. Without it more comes, which is chosen
        # from afterwards.
        return self._api.request_export(ref, replace(narrowed, start=None))

    def _wait(self, ref: DataCollectionRef, answer: ExportAnswer, began: float) -> ExportAnswer:
        export_id = answer.export_id
        logged = began
        polled = False
        while answer.status == "generating":
            if export_id is None:
                raise DataCollectionError(
                    str(ref),
                    "The API says that the export is being generated, but names no job.",
                    "Run again later.",
                )
            now = self._monotonic()
            if now - began >= self._timeout:
                raise DataCollectionError(
                    str(ref),
                    f"Export job {export_id} was still being generated after {now - began:.0f} s.",
                    "Run again later, or raise export_timeout_seconds.",
                )
            if polled:
                if now - logged >= LOG_EVERY_SECONDS:
                    logger.info("%s: still being generated after %.0f s.", ref, now - began)
                    logged = now
                self._sleep(self._poll_interval)
            answer = self._api.export_status(ref, export_id)
            polled = True
        if answer.status == "failed":
            raise DataCollectionError(
                str(ref),
                f"Prolific says that export job {export_id} failed.",
                "Run again to request a new one.",
            )
        if answer.status != "complete":
            raise DataCollectionError(
                str(ref),
                f"The API gave the export the unknown status {answer.status[:40]!r}.",
                "Upgrade the tap, or report this.",
            )
        return answer

    def _checked_url(self, ref: DataCollectionRef, answer: ExportAnswer) -> str:
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


def _applied(job: ExportJob | None, asked: ExportFilter, *, may_filter: bool) -> ExportFilter:
    if job is None:
        # An API that has a list of jobs filters. What a job that is not in it holds nobody tells:
        # rather too much of it is taken than too little, but not of other studies.
        return ExportFilter(start=asked.start) if may_filter else EVERYTHING
    study_id = job.filter.get("study_id")
    return ExportFilter(
        study_id if isinstance(study_id, str) else None, parse_timestamp(job.filter.get("from"))
    )


def _from_suffix(narrowed: ExportFilter) -> str:
    if narrowed.start is None:
        return ""
    return f", of responses from {narrowed.start:%Y-%m-%d %H:%M:%S} UTC on"


def _job_suffix(answer: ExportAnswer) -> str:
    return f" (job {answer.export_id})" if answer.export_id else ""
