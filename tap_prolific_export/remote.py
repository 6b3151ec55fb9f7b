"""An archive as an open, seekable file, whether it lies on disk or behind a presigned URL."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import requests
from urllib3.exceptions import HTTPError

from tap_prolific_export.api import NoAuth, new_session
from tap_prolific_export.errors import DataCollectionError
from tap_prolific_export.redaction import host_of
from tap_prolific_export.times import http_date

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 20


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


class Downloader:
    """Fetches archives from presigned URLs: never with the API's token.

    Args:
        timeout: Seconds without a byte after which the fetch is given up.
    """

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self._session = new_session(NoAuth())
        # What is asked for is bytes of the ZIP as they lie: nothing may compress them again.
        self._session.headers["Accept-Encoding"] = "identity"

    @contextmanager
    def open(self, url: str, what: str) -> Iterator[ArchiveFile]:
        """Fetch an archive into a private temporary directory, and remove it afterwards.

        Args:
            url: The presigned URL. A secret: no error quotes it.
            what: The data collection, for errors.

        Raises:
            DataCollectionError: It cannot be fetched whole.
        """
        folder = Path(tempfile.mkdtemp(prefix="tap-prolific-export-"))  # mode 0700
        try:
            path = folder / "archive.zip"
            with self._get(url, what) as response, path.open("wb") as file:
                while chunk := response.raw.read(CHUNK, decode_content=False):
                    file.write(chunk)
            modified = http_date(response.headers.get("Last-Modified"))
            with open_local(path) as local:
                yield ArchiveFile(local.file, local.size, modified, response.headers.get("ETag"))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def etag(self, url: str, what: str) -> str | None:
        """Return what the host calls the archive's content, without fetching it.

        By a GET of its first byte: a presigned URL is not signed for HEAD.

        Args:
            url: The presigned URL. A secret: no error quotes it.
            what: The data collection, for errors.

        Raises:
            DataCollectionError: The host does not tell.
        """
        with self._get(url, what, {"Range": "bytes=0-0"}) as response:
            return response.headers.get("ETag")

    @contextmanager
    def _get(
        self, url: str, what: str, headers: dict[str, str] | None = None
    ) -> Iterator[requests.Response]:
        """Send a GET and yield its answer, whose body has yet to be read."""
        doing = f"Tried to fetch the archive from {host_of(url)};"
        advice = "Run again later."
        try:
            request = self._session.prepare_request(requests.Request("GET", url, headers))
            request.url = url  # as it was signed: requests would re-encode the query
            settings = self._session.merge_environment_settings(url, {}, True, None, None)  # noqa: FBT003
            with self._session.send(
                request, timeout=self._timeout, allow_redirects=False, **settings
            ) as response:
                good = (requests.codes.ok, requests.codes.partial_content)
                if response.status_code not in good[: 1 + bool(headers)]:
                    problem = f"{doing} it answered {response.status_code}."
                    raise DataCollectionError(what, problem, advice)
                yield response
        except (requests.RequestException, HTTPError) as error:
            problem = f"{doing} it broke off ({type(error).__name__})."
            raise DataCollectionError(what, problem, advice) from None
