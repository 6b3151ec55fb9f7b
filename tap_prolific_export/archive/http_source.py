"""Read an archive behind a presigned URL by HTTP range requests, without downloading all of it."""

from __future__ import annotations

import logging
import re
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import requests
from requests import codes
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ReadTimeoutError

from tap_prolific_export.archive.byte_source import (
    CHUNK,
    HttpSource,
    LocalSource,
    temporary_file,
    write_all,
    writing,
)
from tap_prolific_export.archive.host_error import MAX_ERROR_BYTES, error_code, is_expiry
from tap_prolific_export.errors import DataCollectionError, GoneError, ReplacedError, TryAgainError
from tap_prolific_export.http import (
    BUSY_SECONDS,
    Cooldown,
    RetryPolicy,
    http_date,
    is_busy,
    new_session,
    retry_after,
)
from tap_prolific_export.redaction import host_of
from tap_prolific_export.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import FileIO

    from tap_prolific_export.archive.byte_source import ByteSource
    from tap_prolific_export.http import Sleep

logger = logging.getLogger("tap-prolific-export")

# The first request fetches this much of the archive's end. That always includes the record that
# locates the directory, even after the longest comment, and usually the directory itself.
TAIL = 65 << 10
# A slower transfer is treated as a failed one.
MIN_BYTES_PER_SECOND = 1024
# With these a host may mean that the URL has expired; the error document tells.
_MAY_HAVE_EXPIRED = frozenset({codes.bad_request, codes.unauthorized})
_GONE_STATUSES = frozenset({codes.not_found, codes.gone})
# How a host answers a range request with If-Match when the archive was replaced.
_REPLACED_STATUSES = frozenset({codes.precondition_failed, codes.requested_range_not_satisfiable})
_WRONG_RANGE = "it did not answer with the requested range."
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)


class PresignedUrl:
    """The presigned URL of an archive, which expires and can be renewed.

    Args:
        url: A secret: its query is a signature.
        renew: Returns a new URL of the same archive.
    """

    def __init__(self, url: str, renew: Callable[[], str]) -> None:
        self.url = url
        self._renew = renew
        self._lock = threading.Lock()

    def renew(self, expired: str) -> None:
        """Replace the expired URL, unless another thread already has.

        Args:
            expired: The URL that no longer works.

        Raises:
            DataCollectionError: No new URL can be obtained.
        """
        with self._lock:
            if self.url == expired:
                self.url = self._renew()


@dataclass(frozen=True)
class _Version:
    """What identifies the archive on the host; None where the host does not say."""

    size: int
    etag: str | None
    last_modified: str | None

    @classmethod
    def of(cls, size: int, response: requests.Response) -> _Version:
        return cls(size, response.headers.get("ETag"), response.headers.get("Last-Modified"))

    def same_archive(self, other: _Version) -> bool:
        if self.etag:  # enough by itself: the times may differ between servers of one host
            return (self.size, self.etag) == (other.size, other.etag)
        return self == other


class _ExpiredError(Exception):
    """The host no longer accepts the URL."""


class _NoRangeError(TryAgainError):
    """The host did not answer with the requested range."""


@dataclass
class _Throughput:
    """How many bytes of a response arrived, and how long we waited for them."""

    received: int = 0
    seconds: float = 0.0

    @property
    def is_sufficient(self) -> bool:
        """Whether bytes arrived, and at least at the minimum speed."""
        return self.received > 0 and self.received >= self.seconds * MIN_BYTES_PER_SECOND


class Downloader:
    """Fetches archives from presigned URLs, never with the API's token.

    Args:
        timeout: Seconds without a byte after which a request fails.
        sleep: Waits between two tries.
        count: Called once per request, for metrics.
        concurrency: Number of threads that fetch at once.
        monotonic: Seconds on a clock that never jumps.
        max_retry_after: Maximum number of seconds to wait because a host asks for it.

    Attributes:
        bytes_read: How many bytes of archives were fetched so far.
    """

    def __init__(
        self,
        *,
        timeout: float,
        sleep: Sleep,
        count: Callable[[str], None] = lambda _: None,
        concurrency: int = 1,
        monotonic: Callable[[], float] = time.monotonic,
        max_retry_after: float = BUSY_SECONDS,
    ) -> None:
        self._timeout = timeout
        self._sleep = sleep
        self._count = count
        self._monotonic = monotonic
        # Archives nearly always lie on one host.
        self._cooldown = Cooldown(sleep, monotonic, max_retry_after)
        self.bytes_read = 0
        self._session = new_session()
        # Ranges refer to the ZIP's own bytes, so the host must not compress them.
        self._session.headers["Accept-Encoding"] = "identity"
        for scheme in ("https://", "http://"):  # one per thread, and one for the lines
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=concurrency + 1))

    @contextmanager
    def open(self, where: PresignedUrl, what: str) -> Iterator[ByteSource]:
        """Open an archive: fetch its end now, and other ranges when they are read.

        If the host ignores ranges, download the whole archive into a temporary file. The file has
        no name, so that even a killed process leaves nothing behind.

        Args:
            where: The archive.
            what: The data collection, for logs and errors.

        Raises:
            DataCollectionError: The archive cannot be fetched.
            GoneError: The archive is not there any more.
        """
        policy = self._policy(where, what)
        with ExitStack() as stack:
            opened: ByteSource | None = None
            while opened is None:
                try:
                    opened = self._fetch_tail(where, what, stack)
                except TryAgainError as error:
                    if isinstance(error, _NoRangeError) and policy.tries:
                        opened = self._fetch_whole(where, what, stack, None)
                    else:
                        policy.wait(error)
            yield opened

    def _fetch_tail(self, where: PresignedUrl, what: str, stack: ExitStack) -> ByteSource:
        """Fetch the archive's end, and with it the archive's size and version."""
        with self._open_response(where, what, {"Range": f"bytes=-{TAIL}"}) as response:
            if response.status_code == codes.ok:
                return self._fetch_whole(where, what, stack, response)
            found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            begin, last, size = map(int, found.groups()) if found else (0, 0, 0)
            is_tail = begin == max(0, size - TAIL) and last == size - 1
            if response.status_code != codes.partial_content or not is_tail:
                raise _NoRangeError("it did not answer with the end of the archive.")
            tail = b"".join(self._body(response, size - begin))
            version = _Version.of(size, response)
        return stack.enter_context(
            HttpSource(
                partial(self.stream, where, what, version),
                what,
                size=size,
                tail=tail,
                last_modified=http_date(version.last_modified),
                etag=version.etag,
            )
        )

    def stream(
        self, where: PresignedUrl, what: str, version: _Version, begin: int, end: int
    ) -> Iterator[bytes]:
        """Yield a range of an archive as it arrives; resume it after an interruption.

        Args:
            where: The archive.
            what: The data collection, for logs and errors.
            version: The archive's version when it was opened.
            begin: Offset of the first byte.
            end: Offset after the last byte.

        Raises:
            DataCollectionError: The range cannot be fetched.
            ReplacedError: The archive was replaced, or is gone.
        """
        policy = self._policy(where, what)
        headers = {}
        if version.etag and not version.etag.startswith("W/"):  # a weak one matches nothing
            headers["If-Match"] = version.etag
        while begin < end:
            throughput = _Throughput()
            try:
                range_headers = headers | {"Range": f"bytes={begin}-{end - 1}"}
                with self._open_response(where, what, range_headers) as response:
                    _check_piece(response, what, version, begin, end)
                    for chunk in self._body(response, end - begin, throughput):
                        begin += len(chunk)
                        yield chunk
            except TryAgainError as error:
                if throughput.is_sufficient:
                    policy.reset()
                policy.wait(error)

    def _fetch_whole(
        self, where: PresignedUrl, what: str, stack: ExitStack, response: requests.Response | None
    ) -> ByteSource:
        """Download an archive into a temporary file, from a response that has it if given one."""
        logger.warning(
            "%s: %s does not support range requests: downloading the whole archive.",
            what,
            host_of(where.url),
        )
        with writing(what):
            file = stack.enter_context(temporary_file())
        policy = self._policy(where, what)
        while True:
            try:
                if response is None:
                    response = self._open_response(where, what, {})
                with response:
                    return self._save_body(response, what, file)
            except TryAgainError as error:
                response = None
                policy.wait(error)

    def _save_body(self, response: requests.Response, what: str, file: FileIO) -> ByteSource:
        """Write a response's body to a file."""
        if response.status_code != codes.ok:
            raise TryAgainError(f"it answered {response.status_code}.")
        with writing(what):
            file.seek(0)
            file.truncate()
        for chunk in self._body(response):
            with writing(what):
                write_all(file, chunk)
        modified = http_date(response.headers.get("Last-Modified"))
        return LocalSource(file, file.tell(), modified, response.headers.get("ETag"))

    def _policy(self, where: PresignedUrl, what: str) -> RetryPolicy:
        action = f"fetch the archive from {host_of(where.url)}"
        return RetryPolicy(self._sleep, what, action, cooldown=self._cooldown)

    def _open_response(
        self, where: PresignedUrl, what: str, headers: Mapping[str, str]
    ) -> requests.Response:
        """Send a GET, renewing an expired URL; return the response before its body is read."""
        url = where.url
        try:
            return self._get(url, what, headers)
        except _ExpiredError:
            where.renew(url)
        try:
            return self._get(where.url, what, headers)
        except _ExpiredError as error:
            raise TryAgainError(str(error)) from None

    def _get(self, url: str, what: str, headers: Mapping[str, str]) -> requests.Response:
        """Send a GET; return the response before its body is read."""
        self._cooldown.wait_for_others(what)
        self._count("GET /archive")
        try:
            request = self._session.prepare_request(requests.Request("GET", url, dict(headers)))
            request.url = url  # as it was signed: requests would re-encode the query
            settings: Any = self._session.merge_environment_settings(url, {}, True, None, None)  # noqa: FBT003
            # Bypass the session's send(): it processes redirects even if it does not follow them.
            response = self._session.get_adapter(url).send(
                request, timeout=self._timeout, **settings
            )
        except (requests.RequestException, HTTPError) as error:
            raise _interrupted(error) from None
        with ExitStack() as stack:
            stack.enter_context(response)
            self._check(response, what, host_of(url))
            stack.pop_all()
        return response

    def _check(self, response: requests.Response, what: str, host: str) -> None:
        """Raise the error for a response that does not contain archive data."""
        status = response.status_code
        problem = f"it answered {status}."
        if is_busy(status):
            wait = retry_after(response.headers.get("Retry-After"), utc_now())
            raise TryAgainError(problem, retry_after=wait, status=status)
        self._cooldown.answered()
        if status in {codes.ok, codes.partial_content, *_REPLACED_STATUSES}:
            return
        if status == codes.forbidden:
            raise _ExpiredError(problem)
        if status in _MAY_HAVE_EXPIRED:
            document = self._error_document(response)
            if code := error_code(document):
                problem = f"it answered {status} ({code})."
            if is_expiry(document):
                raise _ExpiredError(problem)
        problem = f"Tried to fetch the archive from {host}; {problem}"
        error = GoneError if status in _GONE_STATUSES else DataCollectionError
        raise error(what, problem, "Run again later.")

    def _error_document(self, response: requests.Response) -> bytes:
        """Return the beginning of an error's body."""
        document, chunks = b"", self._body(response)
        while len(document) < MAX_ERROR_BYTES and (chunk := next(chunks, b"")):
            document += chunk
        return document

    def _body(
        self,
        response: requests.Response,
        length: int | None = None,
        throughput: _Throughput | None = None,
    ) -> Iterator[bytes]:
        """Yield a response's body as it arrives: all, or `length` bytes; update `throughput`."""
        total = throughput or _Throughput()
        recent = _Throughput()
        while length is None or length > 0:
            if recent.seconds >= self._timeout:
                if not recent.is_sufficient:
                    raise TryAgainError(
                        f"only {recent.received} bytes arrived in {recent.seconds:.0f} s."
                    )
                recent = _Throughput()
            before, least = self._monotonic(), 0.0
            try:
                # Not read(): it waits for the full amount, which never ends with a server that
                # keeps sending a little.
                chunk = response.raw.read1(min(CHUNK, length or CHUNK), decode_content=False)
            except HTTPError as error:
                if isinstance(error, ReadTimeoutError):
                    least = self._timeout  # at least that long, even if the clock shows less
                raise _interrupted(error) from None
            finally:
                waited = max(self._monotonic() - before, least)
                total.seconds += waited
                recent.seconds += waited
            if not chunk:
                break
            total.received += len(chunk)
            recent.received += len(chunk)
            self.bytes_read += len(chunk)
            if length is not None:
                length -= len(chunk)
            yield chunk
        if length:
            raise TryAgainError("it broke off.")


def _interrupted(error: Exception) -> TryAgainError:
    return TryAgainError(f"it broke off ({type(error).__name__}).")


def _check_piece(
    response: requests.Response, what: str, version: _Version, begin: int, end: int
) -> None:
    """Raise an error if a response is not the requested range of the same archive."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status_code in _REPLACED_STATUSES:
        size = -1
    elif response.status_code != codes.partial_content or not found:
        raise _NoRangeError(_WRONG_RANGE)
    else:
        size = int(found[3])
    if not version.same_archive(_Version.of(size, response)):
        raise ReplacedError(
            what, "The archive was replaced by another one while it was read.", "Run again."
        )
    if found and (int(found[1]), int(found[2])) != (begin, end - 1):
        raise _NoRangeError(_WRONG_RANGE)
