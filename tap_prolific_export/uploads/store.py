"""Store uploaded files in a directory, or in any storage that fsspec supports.

A store holds files by key, ``<data collection>/<name>``. A file is stored completely or not at all,
and never overwritten: if its name is taken by other content, the name gets the checksum added.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import secrets
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tap_prolific_export.errors import ConfigError, StoreError, TapError, TryAgainError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_prolific_export.archive.export_archive import Upload

logger = logging.getLogger("tap-prolific-export")

# Size of the blocks that are sent to or read from a remote store.
BLOCK = 8 << 20
_LOCAL_BLOCK = 1 << 20
EXTRAS = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs", "sftp": "paramiko"}
# In these stores a file becomes visible only when it is complete. In others we write it under a
# temporary name and then move it.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
# These log file names at DEBUG, which participants chose.
_BACKENDS = ("fsspec", "s3fs", "aiobotocore", "botocore", "gcsfs", "adlfs", "azure", "paramiko")
# Errors that a retry does not fix.
_PERMANENT_ERRORS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT})
# Errors that a retry does not fix, but that concern only one file.
_ONE_FILE = frozenset({errno.EFBIG, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EINVAL})
_PROBE = ".tap-prolific-export"


@dataclass(frozen=True)
class StoredFile:
    """Size and checksums of a file in a store; None where only reading it would tell."""

    size: int
    crc32: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Stored:
    """A file that is now in the store; `was_there`: whether it already was."""

    uri: str
    sha256: str
    was_there: bool


def open_store(uri: str) -> Store:
    """Return the store for a URI, without accessing it.

    Raises:
        ConfigError: No backend supports it.
    """
    scheme = uri.partition("://")[0]
    if scheme == "file":
        return DirectoryStore(Path(url2pathname(urlsplit(uri).path)))
    try:
        return FsspecStore(uri)
    except ImportError:
        why = "needs a package that is not installed; see fsspec's documentation."
        if scheme in EXTRAS:
            why = f"needs {EXTRAS[scheme]}: pip install 'tap-prolific-export[{scheme}]'."
    except ValueError:
        why = "has no backend in fsspec."
    except Exception as error:  # noqa: BLE001  # each backend has its own errors
        why = f"cannot be used ({_reason(error)})."
    raise ConfigError([f"files_uri: {scheme}:// {why}"])


def ensure_stored(
    store: Store, keys: tuple[str, str], upload: Upload, content: Callable[[], Iterator[bytes]]
) -> Stored:
    """Fetch a file and store it, unless the store already has it.

    The second key is used if the first one holds other content.

    Raises:
        StoreError: The file cannot be stored.
        TryAgainError: Storing failed; a retry may succeed.
        DataCollectionError: The file cannot be read.
    """
    for key in keys:
        found = store.find(key)
        if found is None:
            return Stored(store.uri(key), store.write(key, content(), upload), was_there=False)
        if found.size == upload.size and found.crc32 in {None, upload.crc32}:
            sha256 = found.sha256
            if found.crc32 is None or sha256 is None:
                size, crc32, sha256 = _checksums(store.read(key))
                store.record_sha256(key, sha256)
                if (size, crc32) != (upload.size, upload.crc32):
                    continue
            return Stored(store.uri(key), sha256, was_there=True)
    raise StoreError("its name is taken by other files.", is_of_file=True)


def _checksums(chunks: Iterator[bytes]) -> tuple[int, int, str]:
    size = crc32 = 0
    sha256 = hashlib.sha256()
    for chunk in chunks:
        size += len(chunk)
        crc32 = zlib.crc32(chunk, crc32)
        sha256.update(chunk)
    return size, crc32, sha256.hexdigest()


@contextmanager
def _errors_from(place: str) -> Iterator[None]:
    """Turn a store's errors into ours, which do not contain file names."""
    try:
        yield
    except (TapError, GeneratorExit):
        raise
    except OSError as error:
        if error.errno in _PERMANENT_ERRORS or isinstance(error, PermissionError):
            raise StoreError(f"{place} refused it ({_reason(error)}).") from None
        if error.errno in _ONE_FILE:
            message = f"{place} cannot store it ({_reason(error)})."
            raise StoreError(message, is_of_file=True) from None
        raise TryAgainError(f"{place} failed ({_reason(error)}).") from None
    except Exception as error:  # noqa: BLE001  # each backend has its own errors
        raise TryAgainError(f"{place} failed ({_reason(error)}).") from None


def _reason(error: BaseException) -> str:
    """Return what went wrong, without file names."""
    cause: BaseException | None = error
    while cause:
        response = getattr(cause, "response", None)  # set by botocore, for S3
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code") or type(error).__name__)
        cause = cause.__cause__ or cause.__context__
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


class DirectoryStore:
    """Files below a directory.

    Raises:
        StoreError: An operation failed permanently.
        TryAgainError: An operation failed; a retry may succeed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._parts: set[Path] = set()

    def check(self) -> None:
        """Check that files can be written; if not, raise ConfigError."""
        probe = self._root / f"{_PROBE}-{secrets.token_hex(4)}"
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            probe.touch(exist_ok=False)
            probe.unlink()
        except (OSError, ValueError) as error:
            why = f"cannot write to {self._root} ({_reason(error)})."
            raise ConfigError([f"files_uri: {why}"]) from None

    def find(self, key: str) -> StoredFile | None:
        """Return a file's size; None if it does not exist."""
        with _errors_from("the directory"):
            try:
                return StoredFile((self._root / key).stat().st_size)
            except FileNotFoundError:
                return None

    def read(self, key: str) -> Iterator[bytes]:
        """Yield a file's content, in blocks."""
        with _errors_from("the directory"), (self._root / key).open("rb", buffering=0) as file:
            while block := file.read(_LOCAL_BLOCK):
                yield block

    def write(self, key: str, chunks: Iterator[bytes], upload: Upload) -> str:  # noqa: ARG002
        """Write a file under a temporary name, and rename it after it is synced to disk.

        If `chunks` raises, nothing is left behind.

        Returns:
            Its sha256.
        """
        path = self._root / key
        part = path.with_name(f".{secrets.token_hex(8)}.part")
        with _errors_from("the directory"):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._parts.add(part)
            try:
                with part.open("xb") as file:
                    sha256 = _copy(chunks, file)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
                self._parts.discard(part)
            return sha256

    def record_sha256(self, key: str, sha256: str) -> None:
        """Do nothing: a directory has no place for checksums."""

    def uri(self, key: str) -> str:
        """Return a file's URI, percent-encoded."""
        return (self._root / key).absolute().as_uri()

    def abandon(self) -> None:
        """Remove incomplete files, because the process is ending."""
        for part in self._parts.copy():
            with suppress(OSError):
                part.unlink()


class FsspecStore:
    """Files in any storage that fsspec supports.

    Args:
        uri: The prefix of all keys.

    Raises:
        StoreError: An operation failed permanently.
        TryAgainError: An operation failed; a retry may succeed.
    """

    def __init__(self, uri: str) -> None:
        # Imported here because it is slow, and most runs do not need it.
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # noqa: PLC0415

        self._uri = uri.rstrip("/")
        self._scheme = uri.partition("://")[0]
        self._is_s3 = self._scheme in {"s3", "s3a"}
        # Some S3-compatible stores require equal sizes of all blocks but the last.
        options = {"fixed_upload_size": True} if self._is_s3 else {}
        self._files, root = url_to_fs(
            uri, skip_instance_cache=True, use_listings_cache=False, **options
        )
        self._root = root.rstrip("/")
        for name in _BACKENDS:  # not earlier: some set their level on import
            logging.getLogger(name).setLevel(logging.WARNING)
        self._is_object_store = self._scheme in _OBJECT_STORES
        self._may_tag = True

    def check(self) -> None:
        """Check that files can be written and looked up; if not, raise ConfigError."""
        probe = self._path(_PROBE)
        try:
            with self._errors_from():
                if not self._is_object_store:
                    self._files.makedirs(self._root, exist_ok=True)
                self._files.pipe_file(probe, b"")
            # Without permission to list, S3 answers 403 instead of 404 for a missing file.
            self.find(f"{_PROBE}-{secrets.token_hex(4)}")
        except (StoreError, TryAgainError) as error:
            raise ConfigError([f"files_uri: cannot write to {self._uri}: {error}"]) from None
        with suppress(Exception):  # permission to write does not include permission to delete
            self._files.rm_file(probe)

    def find(self, key: str) -> StoredFile | None:
        """Return a file's size and, from S3, the recorded checksums."""
        path = self._path(key)
        with self._errors_from():
            try:
                metadata = self._files.metadata(path, refresh=True) if self._is_s3 else {}
                if {"size", "crc32"} <= metadata.keys():
                    sha256 = metadata.get("sha256") or self._tag(path)
                    return StoredFile(int(metadata["size"]), int(metadata["crc32"], 16), sha256)
                return StoredFile(self._files.info(path)["size"])
            except FileNotFoundError:
                return None

    def read(self, key: str) -> Iterator[bytes]:
        """Yield a file's content, in blocks."""
        with (
            self._errors_from(),
            self._files.open(self._path(key), "rb", block_size=BLOCK, cache_type="none") as file,
        ):
            while block := file.read(BLOCK):
                yield block

    def write(self, key: str, chunks: Iterator[bytes], upload: Upload) -> str:
        """Write a file: at once if it is small, else in a multipart upload.

        If `chunks` raises, nothing that others can see is left behind.

        Returns:
            Its sha256.
        """
        path = self._path(key)
        sums = {"size": str(upload.size), "crc32": f"{upload.crc32:08x}"}
        with self._errors_from():
            if not self._is_object_store:
                return self._write_and_move(path, chunks)
            if upload.size > BLOCK:
                sha256 = self._write_blocks(path, chunks, sums)
                self.record_sha256(key, sha256)
                return sha256
            whole = BytesIO()  # joining a list of chunks would hold the data twice
            sha256 = _copy(chunks, whole)
            self._files.pipe_file(
                path, whole.getvalue(), **self._metadata_options({**sums, "sha256": sha256})
            )
            return sha256

    def record_sha256(self, key: str, sha256: str) -> None:
        """Record a file's sha256 in S3, as a tag."""
        if self._is_s3 and self._may_tag:
            try:
                self._files.put_tags(self._path(key), {"sha256": sha256})
            except Exception as error:  # noqa: BLE001  # the file is stored anyway
                self._may_tag = False
                logger.info(
                    "The store refuses tags (%s): large files will be read again for their sha256.",
                    _reason(error),
                )

    def uri(self, key: str) -> str:
        """Return a file's URI."""
        return f"{self._uri}/{key}"

    def abandon(self) -> None:
        """Do nothing: incomplete files are invisible, and removing them may take long."""

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _errors_from(self) -> Any:
        return _errors_from(f"the store ({self._scheme}://)")

    def _write_blocks(self, path: str, chunks: Iterator[bytes], sums: dict[str, str]) -> str:
        file = self._files.open(path, "wb", block_size=BLOCK, **self._metadata_options(sums))
        try:
            sha256 = _copy(chunks, file)
            file.close()
        except BaseException:
            # Closing the file would publish the incomplete upload. Ignore an error of discarding:
            # the first error matters more, and the remains are invisible.
            with suppress(Exception):
                file.discard()
            file.closed = True
            raise
        return sha256

    def _write_and_move(self, path: str, chunks: Iterator[bytes]) -> str:
        folder = path.rpartition("/")[0]
        part = f"{folder}/.{secrets.token_hex(8)}.part"
        self._files.makedirs(folder, exist_ok=True)
        try:
            with self._files.open(part, "wb", block_size=BLOCK) as file:
                sha256 = _copy(chunks, file)
            self._files.mv(part, path)
        except BaseException:
            with suppress(Exception):  # the first error matters more
                self._files.rm_file(part)
            raise
        return sha256

    def _metadata_options(self, sums: dict[str, str]) -> dict[str, Any]:
        return {"Metadata": sums} if self._is_s3 else {}

    def _tag(self, path: str) -> str | None:
        with suppress(Exception):  # without the tag, the file is read
            return str(self._files.get_tags(path)["sha256"])
        return None


# Both have the same methods.
Store = DirectoryStore | FsspecStore


def _copy(chunks: Iterator[bytes], file: Any) -> str:
    sha256 = hashlib.sha256()
    for chunk in chunks:
        sha256.update(chunk)
        file.write(chunk)
    return sha256.hexdigest()
