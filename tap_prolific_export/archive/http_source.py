"""Reading an archive where it lies, behind a presigned URL: its end, and any piece of it."""

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
    LocalBytes,
    RemoteBytes,
    temporary_file,
    write_all,
    writing,
)
from tap_prolific_export.errors import DataCollectionError, ReplacedError, TryAgainError
from tap_prolific_export.http import (
    RETRIED_STATUSES,
    NoAuth,
    RetryPolicy,
    http_date,
    new_session,
    retry_after,
)
from tap_prolific_export.redaction import host_of
from tap_prolific_export.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import FileIO

    from tap_prolific_export.archive.byte_source import Bytes
    from tap_prolific_export.http import Sleep

logger = logging.getLogger("tap-prolific-export")

# The first request is for the end of the archive. This much of it holds what tells where the
# directory lies, however long the archive's comment, and the directory itself of most.
TAIL = 65 << 10
# What comes more slowly than this is as good as nothing.
LEAST_BYTES_PER_SECOND = 1024
# What a host says when asked to go on with an archive that is no longer the one it was.
_ANOTHER_ARCHIVE = frozenset({codes.precondition_failed, codes.requested_range_not_satisfiable})
_OTHER_PIECE = "it did not answer with the piece that it was asked for."
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)


class Presigned:
    """Where an archive lies, for a time: a presigned URL that can be had anew.

    Args:
        url: A secret: its query is a signature.
        renew: Returns another one for the same archive.
    """

    def __init__(self, url: str, renew: Callable[[], str]) -> None:
        self.url = url
        self._renew = renew
        self._lock = threading.Lock()

    def renew(self, expired: str) -> None:
        """Get a URL that works again, unless somebody else just has.

        Args:
            expired: The one that no longer works.

        Raises:
            DataCollectionError: There is none.
        """
        with self._lock:
            if self.url == expired:
                self.url = self._renew()


@dataclass(frozen=True)
class _Version:
    """Which archive it is that the host has; what it does not say is None."""

    size: int
    etag: str | None
    last_modified: str | None

    @classmethod
    def of(cls, size: int, response: requests.Response) -> _Version:
        """Return the version that an answer is of."""
        return cls(size, response.headers.get("ETag"), response.headers.get("Last-Modified"))

    @property
    def is_strong(self) -> bool:
        """Whether the ETag is one that If-Match takes."""
        return self.etag is not None and not self.etag.startswith("W/")

    def same_archive(self, other: _Version) -> bool:
        """Whether both are the same archive, as far as the host tells."""
        if self.etag:  # decides alone: not all machines of a host may have one time
            return (self.size, self.etag) == (other.size, other.etag)
        return self == other


class _ExpiredError(Exception):
    """The host no longer takes the URL."""


class _NoRangeError(TryAgainError):
    """The host answered with something else than the piece it was asked for."""


class _Pace:
    """How much has come in an answer, and how long that was waited for."""

    def __init__(self) -> None:
        self.came = 0
        self.waited = 0.0

    @property
    def is_good(self) -> bool:
        """Whether something has come, and fast enough to be worth going on."""
        return self.came > 0 and self.came >= self.waited * LEAST_BYTES_PER_SECOND


class Downloader:
    """Fetches archives from presigned URLs: never with the API's token.

    Args:
        timeout: Seconds without a byte after which a request is given up.
        sleep: Waits between two tries.
        count: Told of every request.
        concurrency: How many threads fetch something at once.
        monotonic: Seconds on a clock that never jumps.
    """

    def __init__(
        self,
        *,
        timeout: float,
        sleep: Sleep,
        count: Callable[[str], None] = lambda _: None,
        concurrency: int = 1,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout = timeout
        self._sleep = sleep
        self._count = count
        self._monotonic = monotonic
        self._session = new_session(NoAuth())
        # What is asked for is bytes of the ZIP as they lie: nothing may compress them again.
        self._session.headers["Accept-Encoding"] = "identity"
        for scheme in ("https://", "http://"):  # a connection for each, and one for the lines
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=concurrency + 1))

    @contextmanager
    def open(self, where: Presigned, what: str) -> Iterator[Bytes]:
        """Open an archive where it lies: its end is fetched, the rest when it is read.

        From a host that ignores ranges all of it is fetched at once, into a temporary file. Such
        files have no name, so that nothing is left even by a process that is killed.

        Args:
            where: The archive.
            what: The data collection, for logs and errors.

        Raises:
            DataCollectionError: It cannot be had.
        """
        policy = self._policy(where, what)
        with ExitStack() as stack:
            while True:
                try:
                    opened = self._tail(where, what, stack)
                except TryAgainError as error:
                    if isinstance(error, _NoRangeError) and policy.tries:
                        opened = self._whole(where, what, stack, None)
                        break
                    policy.wait(error)
                else:
                    break
            yield opened

    def _tail(self, where: Presigned, what: str, stack: ExitStack) -> Bytes:
        """Fetch the archive's end, and with it what the host says of the whole."""
        with self._opened(where, what, {"Range": f"bytes=-{TAIL}"}) as response:
            if response.status_code == codes.ok:
                return self._whole(where, what, stack, response)
            found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            begin, last, size = map(int, found.groups()) if found else (0, 0, 0)
            is_tail = begin == max(0, size - TAIL) and last == size - 1
            if response.status_code != codes.partial_content or not is_tail:
                msg = "it did not answer with the end of the archive."
                raise _NoRangeError(msg)
            tail = b"".join(self._body(response, size - begin))
            version = _Version.of(size, response)
        return stack.enter_context(
            RemoteBytes(
                partial(self.stream, where, what, version),
                what,
                size=size,
                tail=tail,
                last_modified=http_date(version.last_modified),
                etag=version.etag,
            )
        )

    def stream(
        self, where: Presigned, what: str, version: _Version, begin: int, end: int
    ) -> Iterator[bytes]:
        """Yield a piece of an archive as it comes; what breaks off goes on where it did.

        Args:
            where: The archive.
            what: The data collection, for logs and errors.
            version: Which archive it was when it was opened.
            begin: Offset of the first byte.
            end: Offset behind the last one.

        Raises:
            DataCollectionError: It cannot be had.
            ReplacedError: There is another archive there.
        """
        policy = self._policy(where, what)
        headers = {"If-Match": version.etag} if version.etag and version.is_strong else {}
        while begin < end:
            pace = _Pace()
            try:
                asked = headers | {"Range": f"bytes={begin}-{end - 1}"}
                with self._opened(where, what, asked) as response:
                    _check_piece(response, what, version, begin, end)
                    for chunk in self._body(response, end - begin, pace):
                        begin += len(chunk)
                        yield chunk
            except TryAgainError as error:
                if pace.is_good:
                    policy.reset()
                policy.wait(error)

    def _whole(
        self, where: Presigned, what: str, stack: ExitStack, response: requests.Response | None
    ) -> Bytes:
        """Fetch all of an archive into a temporary file.

        Args:
            where: The archive.
            what: The data collection, for logs and errors.
            stack: Keeps the file.
            response: An answer that is all of it, if there is one already.
        """
        logger.warning(
            "%s: %s does not let us read pieces of the archive: fetching all of it.",
            what,
            host_of(where.url),
        )
        with writing(what):
            file = stack.enter_context(temporary_file())
        policy = self._policy(where, what)
        while True:
            try:
                if response is None:
                    with self._opened(where, what, {}) as answer:
                        return self._copied(answer, what, file)
                return self._copied(response, what, file)
            except TryAgainError as error:
                response = None
                policy.wait(error)

    def _copied(self, response: requests.Response, what: str, file: FileIO) -> Bytes:
        """Write an answer's body to a file."""
        if response.status_code != codes.ok:
            msg = f"it answered {response.status_code}."
            raise TryAgainError(msg)
        with writing(what):
            file.seek(0)
            file.truncate()
        for chunk in self._body(response, None):
            with writing(what):
                write_all(file, chunk)
        with writing(what):
            size = file.tell()
        modified = http_date(response.headers.get("Last-Modified"))
        return LocalBytes(file, size, modified, response.headers.get("ETag"))

    def _policy(self, where: Presigned, what: str) -> RetryPolicy:
        return RetryPolicy(self._sleep, what, f"fetch the archive from {host_of(where.url)}")

    @contextmanager
    def _opened(
        self, where: Presigned, what: str, headers: Mapping[str, str]
    ) -> Iterator[requests.Response]:
        """Send a GET, with a fresh URL where this one has expired; yield its answer, unread."""
        with ExitStack() as stack:
            url = where.url
            try:
                response = stack.enter_context(self._get(url, what, headers))
            except _ExpiredError:
                where.renew(url)
                try:
                    response = stack.enter_context(self._get(where.url, what, headers))
                except _ExpiredError as error:
                    raise TryAgainError(str(error)) from None
            yield response

    @contextmanager
    def _get(self, url: str, what: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """Send a GET and yield its answer, whose body has yet to be read."""
        self._count("GET /archive")
        try:
            request = self._session.prepare_request(requests.Request("GET", url, dict(headers)))
            request.url = url  # as it was signed: requests would re-encode the query
            settings: Any = self._session.merge_environment_settings(url, {}, True, None, None)  # noqa: FBT003
            # Not the session's own send(): it looks where a redirect leads, if only to say so.
            response = self._session.get_adapter(url).send(
                request, timeout=self._timeout, **settings
            )
        except (requests.RequestException, HTTPError) as error:
            raise _broken_off(error) from None
        with response:
            _check(response, what, host_of(url))
            yield response

    def _body(
        self, response: requests.Response, length: int | None, pace: _Pace | None = None
    ) -> Iterator[bytes]:
        """Yield an answer's body as it comes.

        Args:
            response: The answer.
            length: How much of it is wanted; None: all there is.
            pace: Is told how it comes.

        Raises:
            TryAgainError: It ends too soon, or comes too slowly.
        """
        all_of_it = pace or _Pace()
        lately = _Pace()
        while length is None or length > 0:
            if lately.waited >= self._timeout:
                if not lately.is_good:
                    msg = f"only {lately.came} bytes came in {lately.waited:.0f} s."
                    raise TryAgainError(msg)
                lately = _Pace()
            before, least = self._monotonic(), 0.0
            try:
                # Not read(): it waits until it has as much as it was asked for, and so for ever
                # for a server from which there is always a little more.
                chunk = response.raw.read1(min(CHUNK, length or CHUNK), decode_content=False)
            except HTTPError as error:
                if isinstance(error, ReadTimeoutError):
                    least = self._timeout  # whatever the clock says
                raise _broken_off(error) from None
            finally:
                waited = max(self._monotonic() - before, least)
                all_of_it.waited += waited
                lately.waited += waited
            if not chunk:
                break
            all_of_it.came += len(chunk)
            lately.came += len(chunk)
            if length is not None:
                length -= len(chunk)
            yield chunk
        if length:
            msg = "it broke off."
            raise TryAgainError(msg)


def _broken_off(error: Exception) -> TryAgainError:
    return TryAgainError(f"it broke off ({type(error).__name__}).")


def _check(response: requests.Response, what: str, host: str) -> None:
    """Raise what an answer without a piece of the archive comes to."""
    status = response.status_code
    problem = f"it answered {status}."
    if status in {codes.ok, codes.partial_content, *_ANOTHER_ARCHIVE}:
        return
    if status == codes.forbidden:
        raise _ExpiredError(problem)
    if status in RETRIED_STATUSES or status >= codes.server_error:
        wait = retry_after(response.headers.get("Retry-After"), utc_now())
        raise TryAgainError(problem, retry_after=wait, status=status)
    doing = f"Tried to fetch the archive from {host};"
    raise DataCollectionError(what, f"{doing} {problem}", "Run again later.")


def _check_piece(
    response: requests.Response, what: str, version: _Version, begin: int, end: int
) -> None:
    """Raise what is wrong with an answer that should be a piece of an archive."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status_code in _ANOTHER_ARCHIVE:
        size = -1
    elif response.status_code != codes.partial_content or not found:
        raise _NoRangeError(_OTHER_PIECE)
    else:
        size = int(found[3])
    if not version.same_archive(_Version.of(size, response)):
        raise ReplacedError(
            what, "The archive was replaced by another one while it was read.", "Run again."
        )
    if found and (int(found[1]), int(found[2])) != (begin, end - 1):
        raise _NoRangeError(_OTHER_PIECE)
