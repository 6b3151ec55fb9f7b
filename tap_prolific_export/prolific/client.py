"""The Prolific API client: one method per call, typed replies, no Singer.

``docs/prolific-api.md`` says what is known about the API and what is not. To keep the token on
the configured host, the client sends requests there only and follows no redirects.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import requests

from tap_prolific_export.errors import DataCollectionError, FatalError, RefusedError, TryAgainError
from tap_prolific_export.http import (
    BUSY_SECONDS,
    Cooldown,
    RetryPolicy,
    http_date,
    is_busy,
    new_session,
    retry,
    retry_after,
)
from tap_prolific_export.model import DataCollectionRef, ExportFilter, Kind, text_or_none
from tap_prolific_export.prolific import contract
from tap_prolific_export.prolific.error_reason import error_reason
from tap_prolific_export.prolific.pages import id_of, read_pages
from tap_prolific_export.redaction import scrub
from tap_prolific_export.times import parse_timestamp, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tap_prolific_export.http import Sleep

# Maximum number of characters of an API error that logs and errors quote.
MAX_QUOTE = 300
# How many data collections to list at once. Prolific's own clients ask for 200 and more.
PAGE_SIZE = 200
# Without a Date header we use our own clock, which may be ahead of the API's by this much.
CLOCK_DOUBT = timedelta(minutes=5)


@dataclass(frozen=True)
class ExportStatus:
    """The status of an export, as the API reported it.

    Attributes:
        status: ``generating``, ``complete``, ``failed``, or an unknown word.
        date: Time of the reply by the API's clock (the Date header), else by ours minus
            `CLOCK_DOUBT`.
        export_id: The job, if the reply names it.
        url: URL of the archive, once complete. A secret: its query is a signature.
    """

    status: str
    date: datetime
    export_id: str | None = None
    url: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class ExportJob:
    """One entry in the list of export jobs (newer generation of the API).

    Attributes:
        export_id: Its id.
        status: As in `ExportStatus`.
        created_at: When it was requested.
        filter: What narrows it, as the API says it.
    """

    export_id: str
    status: str | None
    created_at: datetime | None
    filter: Mapping[str, Any]


@dataclass(frozen=True)
class ApiReply:
    """A decoded JSON body and the time of the reply."""

    body: Any
    date: datetime


class ProlificAPI:
    """Makes the API's calls.

    Args:
        url: Base URL, without a trailing slash.
        token: The API token.
        timeout: Seconds without a byte after which a request fails.
        sleep: Waits between two tries.
        clock: Returns the current time, for replies without a Date header.
        monotonic: Seconds on a clock that never jumps.
        max_retry_after: Maximum number of seconds to wait because the API asks for it.
        count: Called for every request with its endpoint; placeholders replace the ids.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout: float,
        sleep: Sleep,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        max_retry_after: float = BUSY_SECONDS,
        count: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.url = url
        self._token = token
        self._timeout = timeout
        self._sleep = sleep
        self._clock = clock
        self._count = count
        self._cooldown = Cooldown(sleep, monotonic, max_retry_after)
        self._session = new_session(token)
        self._session.headers["Accept"] = "application/json"

    def request_export(self, ref: DataCollectionRef, export_filter: ExportFilter) -> ExportStatus:
        """Request an export, without a retry, from either generation of the API.

        Raises:
            TryAgainError: A temporary problem. The API may still have started an export: before
                trying again, look for it in the list of jobs, if there is one.
            DataCollectionError: The API refuses to export this data collection.
            FatalError: The API refuses all requests.
        """
        action = "request an export"
        response = self._send("POST", _path(contract.EXPORTS, ref), ref, export_filter.as_query())
        return _status_of(self._read(response, ref, action), ref, action)

    def export_status(self, ref: DataCollectionRef, export_id: str) -> ExportStatus:
        """Get the status of an export job."""
        action = f"look at export job {export_id}"
        return _status_of(
            self._call("GET", _path(contract.EXPORT, ref, export_id), ref, action), ref, action
        )

    def export_jobs(self, ref: DataCollectionRef) -> list[ExportJob] | None:
        """List the export jobs, most recent first.

        Returns:
            None if the API has no such list (older generation).
        """

        def get(page: Mapping[str, str]) -> Any:
            path, action = _path(contract.EXPORTS, ref), "list the export jobs"
            return self._call("GET", path, ref, action, query=page, absent=(404, 405)).body

        listing = read_pages(get, names=("results", "exports"), id_name="export_id")
        if listing is None:
            return None
        return [
            ExportJob(
                export_id=row["export_id"],
                status=text_or_none(row.get("status")),
                created_at=parse_timestamp(row.get("created_at")),
                filter=_filter(row.get("filter")),
            )
            for row in listing.rows
            if id_of(row, "export_id") is not None
        ]

    def delete_export(self, ref: DataCollectionRef, export_id: str) -> None:
        """Delete an export job and its archive. A missing job is not an error.

        Raises:
            RefusedError: Status 409 means that it is still being generated.
        """
        path, action = _path(contract.EXPORT, ref, export_id), f"delete export job {export_id}"
        self._call("DELETE", path, ref, action, absent=(404, 405), empty=True)

    def data_collection(self, ref: DataCollectionRef) -> ApiReply:
        """Get the metadata and layout of a data collection."""
        action = f"look up the {ref.kind.noun}"
        reply = self._call("GET", _path(contract.DATA_COLLECTION, ref), ref, action)
        if not isinstance(reply.body, dict):
            raise _unusable_reply(ref, action, "JSON that is not an object")
        return reply

    def batch_instructions(self, ref: DataCollectionRef) -> list[Any]:
        """Return a legacy batch's instructions; empty if the API no longer has them."""

        def get(page: Mapping[str, str]) -> Any:
            path, action = _path(contract.INSTRUCTIONS, ref), "list the batch's instructions"
            return self._call("GET", path, ref, action, query=page, absent=(404, 405, 410)).body

        listing = read_pages(get, names=("results", "instructions"), id_name="id")
        return listing.rows if listing else []

    def data_collections(self, kind: Kind, workspace_id: str) -> list[DataCollectionRef]:
        """List a workspace's data collections of one kind.

        Raises:
            DataCollectionError: The workspace cannot be listed completely.
        """
        subject = f"workspace {workspace_id}"
        action = f"list its {kind.value}"
        path = contract.DATA_COLLECTIONS.format(kind=kind.value)

        def get(page: Mapping[str, str]) -> Any:
            query = {"workspace_id": workspace_id, **page}
            body = self._call("GET", path, subject, action, query=query).body
            return body if isinstance(body, dict) else None

        listing = read_pages(get, names=("results",), id_name="id", limit=PAGE_SIZE)
        if listing is None:
            raise _unusable_reply(subject, action, "JSON without a list of results")
        ids = [id_ for row in listing.rows if (id_ := id_of(row, "id")) is not None]
        if len(ids) < len(listing.rows):
            raise _unusable_reply(subject, action, "results without an id")
        if listing.count is not None and len(ids) < listing.count:
            raise DataCollectionError(
                subject,
                f"Tried to {action}; the API counts {listing.count} but shows only {len(ids)}.",
                f"List the ids themselves under {kind.noun}_ids.",
            )
        return [DataCollectionRef(kind, id_) for id_ in ids]

    def _call(
        self,
        method: str,
        path: str,
        subject: DataCollectionRef | str,
        action: str,
        *,
        query: Mapping[str, str] | None = None,
        absent: tuple[int, ...] = (),
        empty: bool = False,
    ) -> ApiReply:
        """Make a call, retrying it after temporary problems.

        Returns:
            The reply. Its body is None if the status is in `absent`, or if `empty` is set for a
            call whose successful reply has no body.
        """

        def call() -> ApiReply:
            response = self._send(method, path, subject, query)
            if response.status_code in absent:
                return ApiReply(None, self._date(response))
            return self._read(response, subject, action, empty=empty)

        return retry(call, self.retry_policy(subject, action))

    def retry_policy(self, subject: object, action: str) -> RetryPolicy:
        """Return a policy for calls that are not retried here; see `RetryPolicy`."""
        return RetryPolicy(self._sleep, subject, action, cooldown=self._cooldown)

    def _send(
        self,
        method: str,
        path: str,
        subject: DataCollectionRef | str,
        query: Mapping[str, str] | None = None,
    ) -> requests.Response:
        self._cooldown.wait_for_others(subject)
        self._count(_endpoint(method, path))
        url = self.url + path
        try:
            response = self._session.request(
                method, url, params=query, timeout=self._timeout, allow_redirects=False
            )
        except requests.RequestException as error:
            is_ssl = isinstance(error, requests.exceptions.SSLError)
            if is_ssl and "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise FatalError(
                    f"The TLS certificate of {self.url} is not trusted. Check api_url; behind a "
                    "proxy, set REQUESTS_CA_BUNDLE to a file with its certificates."
                ) from None
            raise TryAgainError(f"no answer from {self.url} ({_reason(error)}).") from None
        if not is_busy(response.status_code):
            self._cooldown.answered()
        return response

    def _read(
        self,
        response: requests.Response,
        subject: DataCollectionRef | str,
        action: str,
        *,
        empty: bool = False,
    ) -> ApiReply:
        status = response.status_code
        if is_busy(status):
            raise TryAgainError(
                f"the API answered {self._quote(response)}.",
                status=status,
                retry_after=retry_after(response.headers.get("Retry-After"), self._clock()),
            )
        if not requests.codes.ok <= status < requests.codes.multiple_choices:
            raise self._refusal(response, subject, action)
        if empty:
            return ApiReply(None, self._date(response))
        try:
            body = msgspec.json.decode(response.content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise _unusable_reply(
                subject, action, f"{status} and a body that is not JSON"
            ) from None
        return ApiReply(body, self._date(response))

    def _date(self, response: requests.Response) -> datetime:
        return http_date(response.headers.get("Date")) or self._clock() - CLOCK_DOUBT

    def _refusal(
        self, response: requests.Response, subject: DataCollectionRef | str, action: str
    ) -> DataCollectionError | FatalError:
        status = response.status_code
        problem = f"Tried to {action}; the API answered {self._quote(response)}."
        if status == requests.codes.unauthorized:
            return FatalError(
                f"{subject}: {problem} The token is not valid. Create one in Prolific under "
                "Settings > API tokens, and set it as api_token or PROLIFIC_TOKEN."
            )
        if status == requests.codes.forbidden:
            advice = (
                "Check that the token's owner is a member of the workspace, and ask Prolific "
                "whether Task Builder exports (early access) are enabled for it."
            )
        elif status == requests.codes.not_found:
            advice = "Check the id."
            if isinstance(subject, DataCollectionRef):
                advice = self._advice_on_id(subject)
        elif status < requests.codes.bad_request:
            advice = "Redirects are not followed, as they would get the token: check api_url."
        else:
            advice = "Check the settings of this data collection."
        return RefusedError(str(subject), problem, advice, status=status)

    def _advice_on_id(self, ref: DataCollectionRef) -> str:
        """Advise on an id that was not found: it may be the id of the other kind."""
        other = Kind.BATCH if ref.kind is Kind.COLLECTION else Kind.COLLECTION
        try:
            path = _path(contract.DATA_COLLECTION, DataCollectionRef(other, ref.id))
            status = self._send("GET", path, ref).status_code
        except (TryAgainError, FatalError):
            status = None
        if status == requests.codes.ok:
            return f"It is a {other.noun}'s id: move it to {other.noun}_ids."
        if status == requests.codes.not_found:
            return f"Check the id; there is no {other.noun} of this id either."
        return f"Check the id; if it is a {other.noun}'s, move it to {other.noun}_ids."

    def _quote(self, response: requests.Response) -> str:
        """Return the status and reason of an API error, scrubbed and shortened."""
        # Scrub before cutting: a partial secret would not be recognised.
        reason = scrub(error_reason(response.content), [self._token])
        if not reason:
            return f"{response.status_code} without the API's error envelope"
        return f"{response.status_code} ({reason[:MAX_QUOTE]})"


def _endpoint(method: str, path: str) -> str:
    """Return the method and path of a call, with placeholders for the ids."""
    parts = path.removeprefix(f"{contract.API}/").split("/")
    for place, name in ((2, "{id}"), (4, "{export_id}")):
        if len(parts) > place:
            parts[place] = name
    return f"{method} /{'/'.join(parts)}"


def _path(template: str, ref: DataCollectionRef, export_id: str = "") -> str:
    return template.format(kind=ref.kind.value, id=ref.id, export_id=export_id)


def _filter(value: object) -> dict[str, Any]:
    """Return a job's filter. One of an unknown shape must not look like no filter."""
    if isinstance(value, dict):
        return value
    return {} if value is None else {"filter": value}


def _unusable_reply(subject: object, action: str, reply: str) -> DataCollectionError:
    return DataCollectionError(
        str(subject),
        f"Tried to {action}; the API answered {reply}.",
        "Check api_url and any proxy in between.",
    )


def _status_of(reply: ApiReply, ref: DataCollectionRef, action: str) -> ExportStatus:
    body = reply.body
    status = text_or_none(body.get("status")) if isinstance(body, dict) else None
    if status is None:
        raise _unusable_reply(ref, action, "JSON without a status")
    return ExportStatus(
        status=status,
        date=reply.date,
        export_id=text_or_none(body.get("export_id")),
        url=text_or_none(body.get("url")),
    )


def _reason(error: requests.RequestException) -> str:
    """Describe a network error briefly; its own text may contain a URL or a header."""
    if isinstance(error, requests.Timeout):
        return "timed out"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy refused the connection"
    if isinstance(error, requests.exceptions.SSLError):
        return "TLS failed"
    if isinstance(error, requests.ConnectionError):
        return "connection failed"
    return type(error).__name__
