"""An archive as an open, seekable file, whether it lies on disk or behind a presigned URL."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import requests
from requests import codes
from urllib3.exceptions import HTTPError

from tap_prolific_export.api import RETRIED_STATUSES, NoAuth, new_session
from tap_prolific_export.errors import DataCollectionError, TryAgainError
from tap_prolific_export.redaction import host_of
from tap_prolific_export.retry import Patience, persist
from tap_prolific_export.times import http_date, retry_after, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tap_prolific_export.retry import Sleep

_T = TypeVar("_T")

CHUNK = 1 << 20
# What a host says when asked to go on with an archive that is no longer the one it was.
_ANOTHER_ARCHIVE = frozenset({codes.precondition_failed, codes.requested_range_not_satisfiable})


@dataclass(frozen=True)
class ArchiveFile:
    """An open archive.

    Attributes:
        file: Open for reading; seekable.
        size: Bytes.
        last_modified: When it was written, as far as is known.
        etag: What its host calls its content; None on disk.
    """

    file: BinaryIO
    size: int
    last_modified: datetime | None
    etag: str | None = None


@contextmanager
def open_local(path: Path) -> Iterator[ArchiveFile]:
    """Open an archive on disk.

    Raises:
        DataCollectionError: It cannot be read.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataCollectionError(
            f"archive {path}", f"Cannot be read ({error.strerror}).", "Check archive_paths."
        ) from None
    with file:
        status = path.stat()
        modified = datetime.fromtimestamp(status.st_mtime, timezone.utc)
        yield ArchiveFile(file, status.st_size, modified)


class Presigned:
    """Where an archive lies, for a time: a presigned URL that can be had anew.

    Args:
        url: A secret: its query is a signature.
        renew: Returns another one for the same archive.
    """

    def __init__(self, url: str, renew: Callable[[], str]) -> None:
        self.url = url
        self._renew = renew

    def renew(self) -> None:
        """Get a URL that works again.

        Raises:
            DataCollectionError: There is none.
        """
        self.url = self._renew()


class _ExpiredError(Exception):
    """The host no longer takes the URL."""


class Downloader:
    """Fetches archives from presigned URLs: never with the API's token.

    Args:
        timeout: Seconds without a byte after which a request is given up.
        sleep: Waits between two tries.
        count: Told of every request.
    """

    def __init__(
        self, *, timeout: float, sleep: Sleep, count: Callable[[str], None] = lambda _: None
    ) -> None:
        self._timeout = timeout
        self._sleep = sleep
        self._count = count
        self._session = new_session(NoAuth())
        # What is asked for is bytes of the ZIP as they lie: nothing may compress them again.
        self._session.headers["Accept-Encoding"] = "identity"

    @contextmanager
    def open(self, where: Presigned, what: str) -> Iterator[ArchiveFile]:
        """Fetch an archive into a private temporary directory, and remove it afterwards.

        What breaks off is taken up where it broke off; where the archive has become another one
        meanwhile, it is fetched anew.

        Args:
            where: The archive.
            what: The data collection, for logs and errors.

        Raises:
            DataCollectionError: It cannot be fetched whole.
        """
        folder = Path(tempfile.mkdtemp(prefix="tap-prolific-export-"))  # mode 0700
        try:
            path = folder / "archive.zip"
            try:
                with path.open("wb") as file:
                    headers = self._fetch(where, what, file)
            except OSError as error:
                problem = f"Cannot write its archive to a temporary file ({error.strerror})."
                advice = "Free some space, or name a directory that has it in TMPDIR."
                raise DataCollectionError(what, problem, advice) from None
            modified = http_date(headers.get("Last-Modified"))
            with open_local(path) as local:
                yield ArchiveFile(local.file, local.size, modified, headers.get("ETag"))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def etag(self, where: Presigned, what: str) -> str | None:
        """Return what the host calls the archive's content, without fetching it.

        By a GET of its first byte: a presigned URL is not signed for HEAD.

        Args:
            where: The archive.
            what: The data collection, for logs and errors.

        Raises:
            DataCollectionError: The host does not tell.
        """

        def ask() -> str | None:
            with self._get(where.url, what, {"Range": "bytes=0-0"}) as response:
                return response.headers.get("ETag")

        return self._persist(ask, where, self._patience(where, what))

    def _fetch(self, where: Presigned, what: str, file: BinaryIO) -> Mapping[str, str]:
        """Write the archive to a file; return the headers that came with it."""
        patience = self._patience(where, what)
        etag: str | None = None
        furthest = 0

        def go_on() -> Mapping[str, str]:
            nonlocal etag, furthest
            begin = file.tell()
            headers = {"Range": f"bytes={begin}-"} if begin else {}
            if begin and etag and not etag.startswith("W/"):
                headers["If-Match"] = etag
            with self._get(where.url, what, headers) as response:
                if begin and not _goes_on(response, begin, etag):
                    file.seek(0)
                    file.truncate()
                    if response.status_code != codes.ok:
                        msg = "the archive there is another one than before."
                        raise TryAgainError(msg)
                etag = response.headers.get("ETag")
                while chunk := response.raw.read(CHUNK, decode_content=False):
                    file.write(chunk)
                    if file.tell() > furthest:
                        furthest = file.tell()
                        patience.begin_anew()
                return response.headers

        return self._persist(go_on, where, patience)

    def _patience(self, where: Presigned, what: str) -> Patience:
        return Patience(self._sleep, what, f"fetch the archive from {host_of(where.url)}")

    @staticmethod
    def _persist(call: Callable[[], _T], where: Presigned, patience: Patience) -> _T:
        """Call until it succeeds or fails for good, with a fresh URL where one has expired."""

        def with_a_fresh_url() -> _T:
            try:
                return call()
            except _ExpiredError:
                where.renew()
            try:
                return call()
            except _ExpiredError as error:
                raise TryAgainError(str(error)) from None

        return persist(with_a_fresh_url, patience)

    @contextmanager
    def _get(self, url: str, what: str, headers: dict[str, str]) -> Iterator[requests.Response]:
        """Send a GET and yield its answer, whose body has yet to be read."""
        self._count("GET /archive")
        try:
            request = self._session.prepare_request(requests.Request("GET", url, headers))
            request.url = url  # as it was signed: requests would re-encode the query
            settings = self._session.merge_environment_settings(url, {}, True, None, None)  # noqa: FBT003
            with self._session.send(
                request, timeout=self._timeout, allow_redirects=False, **settings
            ) as response:
                _check(response, what, host_of(url))
                yield response
        except (requests.RequestException, HTTPError) as error:
            msg = f"it broke off ({type(error).__name__})."
            raise TryAgainError(msg) from None


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


def _goes_on(response: requests.Response, begin: int, etag: str | None) -> bool:
    """Whether an answer holds the rest of the archive from `begin` on."""
    return (
        response.status_code == codes.partial_content
        and response.headers.get("ETag") == etag
        and response.headers.get("Content-Range", "").startswith(f"bytes {begin}-")
    )
