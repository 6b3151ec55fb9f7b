"""The Prolific API: one method a call, typed answers, no Singer.

What is known of the API, and what is not, is in ``docs/prolific-api.md``. Requests go to the
configured host only, redirects are not followed, and the token never leaves it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import requests

from tap_prolific_export.errors import DataCollectionError, FatalError, RefusedError, TryAgainError
from tap_prolific_export.http import (
    RETRIED_STATUSES,
    RetryPolicy,
    TokenAuth,
    http_date,
    new_session,
    retry,
    retry_after,
)
from tap_prolific_export.model import DataCollectionRef, ExportFilter, Kind
from tap_prolific_export.redaction import scrub
from tap_prolific_export.times import parse_timestamp, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tap_prolific_export.http import Sleep

    Clock = Callable[[], datetime]
    # Told of every request that is sent: its endpoint, with ids left out.
    Counter = Callable[[str], None]

# An error's body is quoted in a log: enough to recognise it, no more.
MAX_QUOTE = 300
# Without a Date header our own clock has to do; it may be ahead of the API's.
CLOCK_DOUBT = timedelta(minutes=5)


@dataclass(frozen=True)
class ExportStatus:
    """What the API said of an export.

    Attributes:
        status: ``generating``, ``complete``, ``failed``, or whatever else it said.
        date: When it said so, by its own clock (the Date header), else by ours less
            `CLOCK_DOUBT`.
        export_id: The job, where it was named.
        url: Where the archive lies, once complete. A secret: its query is a signature.
        expires_at: When the URL stops working, where the API says so.
    """

    status: str
    date: datetime
    export_id: str | None = None
    url: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


@dataclass(frozen=True)
class ExportJob:
    """One job in the list of jobs (newer generation of the API)."""

    export_id: str
    status: str | None
    created_at: datetime | None
    filter: Mapping[str, Any]


@dataclass(frozen=True)
class ApiReply:
    """A JSON answer and when the API gave it."""

    body: Any
    date: datetime


class ProlificAPI:
    """The API's calls.

    Args:
        url: Base URL, without a trailing slash.
        token: The API token.
        timeout: Seconds without a byte after which a request is given up.
        sleep: Waits between two tries.
        clock: The present time, for an API that sends no Date.
        count: Told of every request.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout: float,
        sleep: Sleep,
        clock: Clock = utc_now,
        count: Counter = lambda _: None,
    ) -> None:
        self.url = url
        self._token = token
        self._timeout = timeout
        self._sleep = sleep
        self._clock = clock
        self._count = count
        self._session = new_session(TokenAuth(token))
        self._session.headers["Accept"] = "application/json"

    def request_export(self, ref: DataCollectionRef, narrowed: ExportFilter) -> ExportStatus:
        """Ask for an export, once. Both generations of the API are understood.

        Raises:
            TryAgainError: It may succeed later. The API may have started an export all the same:
                where it has a list of them, look there before asking again.
            DataCollectionError: The API will not export this data collection.
            FatalError: The API will not talk to us at all.
        """
        doing = "request an export"
        response = self._send("POST", _path(ref, "export"), narrowed.as_query())
        return _export_answer(self._read(response, ref, doing), ref, doing)

    def export_status(self, ref: DataCollectionRef, export_id: str) -> ExportStatus:
        """Look at an export job."""
        doing = f"look at export job {export_id}"
        return _export_answer(
            self._call("GET", _path(ref, "export", export_id), ref, doing), ref, doing
        )

    def export_jobs(self, ref: DataCollectionRef) -> list[ExportJob] | None:
        """List the export jobs, most recent first.

        Returns:
            None where the API has no such list (its older generation).
        """
        answer = self._call(
            "GET", _path(ref, "export"), ref, "list the export jobs", absent=(404, 405)
        )
        body = answer.body
        rows = body.get("results", body.get("exports")) if isinstance(body, dict) else body
        if not isinstance(rows, list):
            return None
        return [
            ExportJob(
                export_id=row["export_id"],
                status=_text(row.get("status")),
                created_at=parse_timestamp(row.get("created_at")),
                filter=row["filter"] if isinstance(row.get("filter"), dict) else {},
            )
            for row in rows
            if isinstance(row, dict) and isinstance(row.get("export_id"), str)
        ]

    def delete_export(self, ref: DataCollectionRef, export_id: str) -> None:
        """Delete an export job with its archive; one that is not there is no error.

        Raises:
            RefusedError: With status 409, while it is being generated.
        """
        path, doing = _path(ref, "export", export_id), f"delete export job {export_id}"
        self._call("DELETE", path, ref, doing, absent=(404, 405), empty=True)

    def data_collection(self, ref: DataCollectionRef) -> ApiReply:
        """Look up a data collection: its metadata and layout, as the API has it."""
        doing = f"look up the {ref.kind.noun}"
        answer = self._call("GET", _path(ref), ref, doing)
        if not isinstance(answer.body, dict):
            raise _unreadable(ref, doing, "JSON that is no object")
        return answer

    def batch_instructions(self, ref: DataCollectionRef) -> list[Any]:
        """Return a legacy batch's instructions; empty where the API no longer has them."""
        answer = self._call(
            "GET",
            _path(ref, "instructions"),
            ref,
            "list the batch's instructions",
            absent=(404, 405, 410),
        )
        body = answer.body
        rows = body.get("results", body.get("instructions")) if isinstance(body, dict) else body
        return rows if isinstance(rows, list) else []

    def data_collections(self, kind: Kind, workspace_id: str) -> list[DataCollectionRef]:
        """List a workspace's data collections of one kind.

        Raises:
            DataCollectionError: The workspace cannot be listed, or not to its end.
        """
        what = f"workspace {workspace_id}"
        doing = f"list its {kind.value}"
        found: dict[str, DataCollectionRef] = {}
        while True:
            query = {"workspace_id": workspace_id} | ({"offset": str(len(found))} if found else {})
            answer = self._call(
                "GET", f"/api/v1/data-collection/{kind.value}", what, doing, query=query
            )
            rows = answer.body.get("results") if isinstance(answer.body, dict) else None
            if not isinstance(rows, list):
                raise _unreadable(what, doing, "JSON without a list of results")
            new = {
                row["id"]: DataCollectionRef(kind, row["id"])
                for row in rows
                if isinstance(row, dict) and isinstance(row.get("id"), str)
            }
            meta = answer.body.get("meta")
            count = meta.get("count") if isinstance(meta, dict) else None
            fresh = new.keys() - found.keys()
            found |= new
            if not isinstance(count, int) or len(found) >= count:
                return [*found.values()]
            if not fresh:
                raise DataCollectionError(
                    what,
                    f"Tried to {doing}; the API counts {count} but shows only {len(found)}.",
                    f"List the ids themselves under {kind.noun}_ids.",
                )

    def _call(
        self,
        method: str,
        path: str,
        what: DataCollectionRef | str,
        doing: str,
        *,
        query: Mapping[str, str] | None = None,
        absent: tuple[int, ...] = (),
        empty: bool = False,
    ) -> ApiReply:
        """Make a call until it succeeds, fails for good or has been tried often enough.

        Returns:
            The answer; without a body where its status is one of `absent`, or the call is one
            that is answered by nothing (`empty`).
        """

        def call() -> ApiReply:
            response = self._send(method, path, query)
            if response.status_code in absent:
                return ApiReply(None, self._date(response))
            return self._read(response, what, doing, empty=empty)

        return retry(call, RetryPolicy(self._sleep, what, doing))

    def _send(self, method: str, path: str, query: Mapping[str, str] | None) -> requests.Response:
        self._count(_endpoint(method, path))
        try:
            return self._session.request(
                method,
                self.url + path,
                params=query,
                timeout=self._timeout,
                allow_redirects=False,
            )
        except requests.exceptions.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" not in str(error):
                msg = f"no answer from {self.url} (TLS failed)."
                raise TryAgainError(msg) from None
            msg = (
                f"The TLS certificate of {self.url} is not trusted. Check api_url; where a proxy "
                "stands in between, name its certificates in REQUESTS_CA_BUNDLE."
            )
            raise FatalError(msg) from None
        except requests.RequestException as error:
            msg = f"no answer from {self.url} ({_reason(error)})."
            raise TryAgainError(msg) from None

    def _read(
        self,
        response: requests.Response,
        what: DataCollectionRef | str,
        doing: str,
        *,
        empty: bool = False,
    ) -> ApiReply:
        status = response.status_code
        if status in RETRIED_STATUSES or status >= requests.codes.server_error:
            raise TryAgainError(
                f"the API answered {self._quote(response)}.",
                status=status,
                retry_after=retry_after(response.headers.get("Retry-After"), self._clock()),
            )
        if not requests.codes.ok <= status < requests.codes.multiple_choices:
            raise self._refusal(response, what, doing)
        if empty:
            return ApiReply(None, self._date(response))
        try:
            body = msgspec.json.decode(response.content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise _unreadable(what, doing, f"{status} and a body that is no JSON") from None
        return ApiReply(body, self._date(response))

    def _date(self, response: requests.Response) -> datetime:
        return http_date(response.headers.get("Date")) or self._clock() - CLOCK_DOUBT

    def _refusal(
        self, response: requests.Response, what: DataCollectionRef | str, doing: str
    ) -> DataCollectionError | FatalError:
        status = response.status_code
        problem = f"Tried to {doing}; the API answered {self._quote(response)}."
        if status == requests.codes.unauthorized:
            msg = (
                f"{what}: {problem} The token is not valid. Make one in Prolific under "
                "Settings > API tokens, and set it as api_token or PROLIFIC_TOKEN."
            )
            return FatalError(msg)
        if status == requests.codes.forbidden:
            advice = (
                "Check that the token's owner is a member of the workspace, and ask Prolific "
                "whether Task Builder exports (early access) are enabled for it."
            )
        elif status == requests.codes.not_found:
            advice = "Check the id."
            if isinstance(what, DataCollectionRef):
                advice = self._advice_on_id(what)
        elif status < requests.codes.bad_request:
            advice = "Redirects are not followed, as they would carry the token: check api_url."
        else:
            advice = "Check the settings of this data collection."
        return RefusedError(str(what), problem, advice, status=status)

    def _advice_on_id(self, ref: DataCollectionRef) -> str:
        """Say what may be wrong with an id that is not there; its kind may be the other one."""
        other = Kind.BATCH if ref.kind is Kind.COLLECTION else Kind.COLLECTION
        try:
            status = self._send("GET", _path(DataCollectionRef(other, ref.id)), None).status_code
        except (TryAgainError, FatalError):
            status = None
        if status == requests.codes.ok:
            return f"It is a {other.noun}'s id: move it to {other.noun}_ids."
        if status == requests.codes.not_found:
            return f"Check the id; there is no {other.noun} of this id either."
        return f"Check the id; if it is a {other.noun}'s, move it to {other.noun}_ids."

    def _quote(self, response: requests.Response) -> str:
        """Return status, title and detail of an error, scrubbed and short."""
        return f"{response.status_code}{_envelope(response, [self._token])}"


def _endpoint(method: str, path: str) -> str:
    """Return what is asked for, whichever data collection it is of."""
    parts = path.removeprefix("/api/v1/").split("/")
    for place, name in ((2, "{id}"), (4, "{export_id}")):
        if len(parts) > place:
            parts[place] = name
    return f"{method} /{'/'.join(parts)}"


def _path(ref: DataCollectionRef, *more: str) -> str:
    return "/".join(("/api/v1/data-collection", ref.kind.value, ref.id, *more))


def _envelope(response: requests.Response, secrets: Iterable[str]) -> str:
    """Return the title and detail of the API's error envelope, or that there is none."""
    try:
        error = msgspec.json.decode(response.content)["error"]
        parts = [error.get("title"), error.get("detail")]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, LookupError, TypeError):
        return " without the API's error envelope"
    except AttributeError:  # "error": "some text"
        parts = [error]
    # Scrubbed before it is cut: a piece of a secret is found no more.
    text = scrub(": ".join(_flat(part) for part in parts if part), secrets)
    return f" ({text[:MAX_QUOTE]})" if text else ""


def _flat(detail: object) -> str:
    if isinstance(detail, dict):
        return "; ".join(f"{key}: {_flat(value)}" for key, value in detail.items())
    if isinstance(detail, list):
        return "; ".join(_flat(item) for item in detail)
    return " ".join(str(detail).split())


def _unreadable(what: object, doing: str, came: str) -> DataCollectionError:
    return DataCollectionError(
        str(what),
        f"Tried to {doing}; the API answered {came}.",
        "Check api_url, and whether a proxy stands in between.",
    )


def _export_answer(answer: ApiReply, ref: DataCollectionRef, doing: str) -> ExportStatus:
    body = answer.body
    status = _text(body.get("status")) if isinstance(body, dict) else None
    if status is None:
        raise _unreadable(ref, doing, "JSON without a status")
    return ExportStatus(
        status=status,
        date=answer.date,
        export_id=_text(body.get("export_id")),
        url=_text(body.get("url")),
        expires_at=parse_timestamp(body.get("expires_at")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _reason(error: requests.RequestException) -> str:
    """Return a network error in a few words; its own text may hold a URL or a header."""
    if isinstance(error, requests.Timeout):
        return "timed out"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy did not let us through"
    if isinstance(error, requests.ConnectionError):
        return "connection failed"
    return type(error).__name__
