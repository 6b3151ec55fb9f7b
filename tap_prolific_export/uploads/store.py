"""Where uploaded files are stored: a directory, or whatever fsspec has a backend for.

A store holds files by key, ``<data collection>/<name>``, and each of them whole or not at all. It
overwrites none: of another content under a name that is taken, the name gets the checksum added.
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
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tap_prolific_export.errors import ConfigError, StoreError, TapError, TryAgainError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_prolific_export.archive.export_archive import Upload

logger = logging.getLogger("tap-prolific-export")

# What is sent to a store, or read from it, at a time.
BLOCK = 8 << 20
_LOCAL_BLOCK = 1 << 20
EXTRAS = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs", "sftp": "paramiko"}
# In these nothing is seen of a file before all of it is there. In others a file is written under
# another name first, and then moved.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
# Their logs name files at DEBUG.
_BACKENDS = ("fsspec", "s3fs", "aiobotocore", "botocore", "gcsfs", "adlfs", "azure", "paramiko")
# What does not go away by trying again.
_FOR_GOOD = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT})
# Nor that, but other files may be stored all the same.
_OF_FILE = frozenset({errno.EFBIG, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EINVAL})
_PROBE = ".tap-prolific-export"


@dataclass(frozen=True)
class Found:
    """A file in a store; its checksums, as far as the store tells them without reading it."""

    size: int
    crc32: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Stored:
    """A file that is in the store now; `was_there` tells whether it was before."""

    uri: str
    sha256: str
    was_there: bool


class Store(Protocol):
    """Holds files by key.

    Raises:
        StoreError: What is asked for is impossible.
        TryAgainError: It is not, but did not succeed.
    """

    def check(self) -> None:
        """See whether files can be stored.

        Raises:
            ConfigError: They cannot.
        """

    def find(self, key: str) -> Found | None:
        """Return what is known of a file; None where there is none."""

    def read(self, key: str) -> Iterator[bytes]:
        """Yield a file's content, in blocks."""

    def write(self, key: str, chunks: Iterator[bytes], upload: Upload) -> str:
        """Store a file; return its sha256. What `chunks` raises leaves nothing behind."""

    def note(self, key: str, found: Found) -> None:
        """Be told what a file holds, of which that was not known without reading it."""

    def uri(self, key: str) -> str:
        """Return how others call a file."""

    def abandon(self) -> None:
        """Remove what is left of files that are just being written: the process is ending."""


def open_store(uri: str) -> Store:
    """Return the store that a URI names; nothing is asked of it yet.

    Raises:
        ConfigError: There is no backend for it.
    """
    scheme = uri.partition("://")[0]
    if scheme == "file":
        return DirectoryStore(Path(url2pathname(urlsplit(uri).path)))
    try:
        return FsspecStore(uri)
    except ImportError:
        if scheme in EXTRAS:
            needs = f"needs {EXTRAS[scheme]}: pip install 'tap-prolific-export[{scheme}]'."
        else:
            needs = "needs a package that is not installed; see fsspec's documentation."
        raise ConfigError([f"files_uri: {scheme}:// {needs}"]) from None
    except ValueError:
        raise ConfigError([f"files_uri: {scheme}:// has no backend in fsspec."]) from None
    except Exception as error:  # noqa: BLE001  # of whatever backend
        why = f"{scheme}:// cannot be used ({_reason(error)})."
        raise ConfigError([f"files_uri: {why}"]) from None


def keep(
    store: Store, keys: tuple[str, str], upload: Upload, content: Callable[[], Iterator[bytes]]
) -> Stored:
    """Have a file in the store: fetched and written, unless it is there already.

    Args:
        store: The store.
        keys: Where to: the second one, if under the first there is another content.
        upload: What the archive says of it.
        content: Begins a reading of it.

    Raises:
        StoreError: It cannot be stored.
        TryAgainError: It was not.
        DataCollectionError: It cannot be read.
    """
    for key in keys:
        found = store.find(key)
        if found is None:
            sha256 = store.write(key, content(), upload)
            return Stored(store.uri(key), sha256, was_there=False)
        if found.size == upload.size and found.crc32 in {None, upload.crc32}:
            if found.crc32 is None or found.sha256 is None:
                found = _sums(store.read(key))
                store.note(key, found)
            if (found.size, found.crc32) == (upload.size, upload.crc32) and found.sha256:
                return Stored(store.uri(key), found.sha256, was_there=True)
    raise StoreError("its name is taken by other files.", is_of_file=True)


def _sums(chunks: Iterator[bytes]) -> Found:
    size = crc32 = 0
    sha256 = hashlib.sha256()
    for chunk in chunks:
        size += len(chunk)
        crc32 = zlib.crc32(chunk, crc32)
        sha256.update(chunk)
    return Found(size, crc32, sha256.hexdigest())


@contextmanager
def _asking(place: str) -> Iterator[None]:
    """Turn what a store raises into errors that name no file."""
    try:
        yield
    except (TapError, GeneratorExit):
        raise
    except OSError as error:
        if error.errno in _FOR_GOOD or isinstance(error, PermissionError):
            raise StoreError(f"{place} refused it ({_reason(error)}).") from None
        if error.errno in _OF_FILE:
            refused = f"{place} does not take it ({_reason(error)})."
            raise StoreError(refused, is_of_file=True) from None
        raise TryAgainError(f"{place} failed ({_reason(error)}).") from None
    except Exception as error:  # noqa: BLE001  # each backend has errors of its own
        raise TryAgainError(f"{place} failed ({_reason(error)}).") from None


def _reason(error: BaseException) -> str:
    """Return what went wrong, in words that hold no file name."""
    cause: BaseException | None = error
    while cause:
        response = getattr(cause, "response", None)  # of botocore, and so of S3
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code") or type(error).__name__)
        cause = cause.__cause__ or cause.__context__
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


class DirectoryStore:
    """Files below a directory; see `Store`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._parts: set[Path] = set()

    def check(self) -> None:
        """See whether files can be written."""
        probe = self._root / f"{_PROBE}-{secrets.token_hex(4)}"
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            probe.touch(exist_ok=False)
            probe.unlink()
        except (OSError, ValueError) as error:
            why = f"cannot write to {self._root} ({_reason(error)})."
            raise ConfigError([f"files_uri: {why}"]) from None

    def find(self, key: str) -> Found | None:
        """Return what is known of a file: its size."""
        with _asking("the directory"):
            try:
                return Found((self._root / key).stat().st_size)
            except FileNotFoundError:
                return None

    def read(self, key: str) -> Iterator[bytes]:
        """Yield a file's content, in blocks."""
        with _asking("the directory"), (self._root / key).open("rb", buffering=0) as file:
            while block := file.read(_LOCAL_BLOCK):
                yield block

    def write(self, key: str, chunks: Iterator[bytes], upload: Upload) -> str:  # noqa: ARG002
        """Write a file under another name, and move it when it is on the disk."""
        path = self._root / key
        part = path.with_name(f".{secrets.token_hex(8)}.part")
        sha256 = hashlib.sha256()
        with _asking("the directory"):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._parts.add(part)
            try:
                with part.open("xb") as file:
                    for chunk in chunks:
                        sha256.update(chunk)
                        file.write(chunk)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
                self._parts.discard(part)
        return sha256.hexdigest()

    def note(self, key: str, found: Found) -> None:
        """Do nothing: there is no place for it."""

    def uri(self, key: str) -> str:
        """Return a file's URI, with what is special in one quoted."""
        return (self._root / key).absolute().as_uri()

    def abandon(self) -> None:
        """Remove what is left of files that are just being written."""
        for part in self._parts.copy():
            with suppress(OSError):
                part.unlink()


class FsspecStore:
    """Files in whatever fsspec has a backend for; see `Store`.

    Args:
        uri: Where the keys begin.
    """

    def __init__(self, uri: str) -> None:
        # Late, as the backends are: they take long to import, and most runs do without.
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # noqa: PLC0415

        self._uri = uri.rstrip("/")
        self._scheme = uri.partition("://")[0]
        self._is_s3 = self._scheme in {"s3", "s3a"}
        # Some that speak S3 want all blocks but the last to be of one size.
        options = {"fixed_upload_size": True} if self._is_s3 else {}
        self._files, root = url_to_fs(
            uri, skip_instance_cache=True, use_listings_cache=False, **options
        )
        self._root = root.rstrip("/")
        for name in _BACKENDS:  # only now: some set their own level when they are imported
            logging.getLogger(name).setLevel(logging.WARNING)
        self._is_object_store = self._scheme in _OBJECT_STORES
        self._may_tag = True

    def check(self) -> None:
        """See whether files can be written, an empty one, which is removed, and looked for."""
        probe = self._path(_PROBE)
        try:
            with self._asking():
                self._make_folder(probe)
                self._files.pipe_file(probe, b"")
            # S3 says "forbidden" of what is not there to whoever may not list.
            self.find(f"{_PROBE}-{secrets.token_hex(4)}")
        except (StoreError, TryAgainError) as error:
            raise ConfigError([f"files_uri: cannot write to {self._uri}: {error}"]) from None
        with suppress(Exception):  # whoever may write may not always remove
            self._files.rm_file(probe)

    def find(self, key: str) -> Found | None:
        """Return what is known of a file: its size, and of S3 the checksums that it has noted."""
        path = self._path(key)
        with self._asking():
            try:
                said = self._files.metadata(path, refresh=True) if self._is_s3 else {}
                if {"size", "crc32"} <= said.keys():
                    sha256 = said.get("sha256") or self._tag(path)
                    return Found(int(said["size"]), int(said["crc32"], 16), sha256)
                return Found(self._files.info(path)["size"])
            except FileNotFoundError:
                return None

    def read(self, key: str) -> Iterator[bytes]:
        """Yield a file's content, in blocks."""
        with (
            self._asking(),
            self._files.open(self._path(key), "rb", block_size=BLOCK, cache_type="none") as file,
        ):
            while block := file.read(BLOCK):
                yield block

    def write(self, key: str, chunks: Iterator[bytes], upload: Upload) -> str:
        """Write a file: in one piece if it is small, else in blocks that are seen as one."""
        path = self._path(key)
        sums = {"size": str(upload.size), "crc32": f"{upload.crc32:08x}"}
        with self._asking():
            self._make_folder(path)
            if not self._is_object_store:
                return self._write_and_move(path, chunks)
            if upload.size > BLOCK:
                sha256 = self._write_blocks(path, chunks, sums)
                self._set_tag(path, sha256)
                return sha256
            whole = BytesIO()  # not joined: that would hold it twice
            sha256 = _copy(chunks, whole)
            self._files.pipe_file(
                path, whole.getvalue(), **self._noting({**sums, "sha256": sha256})
            )
            return sha256

    def note(self, key: str, found: Found) -> None:
        """Note a file's checksum in S3, if it has none."""
        if found.sha256:
            self._set_tag(self._path(key), found.sha256)

    def uri(self, key: str) -> str:
        """Return a file's URI."""
        return f"{self._uri}/{key}"

    def abandon(self) -> None:
        """Do nothing: what is not complete is not seen, and going after it may take long."""

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _asking(self) -> Any:
        return _asking(f"the store ({self._scheme}://)")

    def _make_folder(self, path: str) -> None:
        if not self._is_object_store:
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)

    def _write_blocks(self, path: str, chunks: Iterator[bytes], sums: dict[str, str]) -> str:
        file = self._files.open(path, "wb", block_size=BLOCK, **self._noting(sums))
        try:
            sha256 = _copy(chunks, file)
            file.close()
        except BaseException:
            # Closing it would make a file of what has come. That it cannot be discarded either
            # matters less than why: what is left of it is not seen.
            with suppress(Exception):
                file.discard()
            file.closed = True
            raise
        return sha256

    def _write_and_move(self, path: str, chunks: Iterator[bytes]) -> str:
        part = f"{path.rpartition('/')[0]}/.{secrets.token_hex(8)}.part"
        try:
            with self._files.open(part, "wb", block_size=BLOCK) as file:
                sha256 = _copy(chunks, file)
            self._files.mv(part, path)
        except BaseException:
            with suppress(Exception):  # there may be none; and why it failed matters more
                self._files.rm_file(part)
            raise
        return sha256

    def _noting(self, sums: dict[str, str]) -> dict[str, Any]:
        return {"Metadata": sums} if self._is_s3 else {}

    def _set_tag(self, path: str, sha256: str) -> None:
        """Note the checksum, which is known only now, as a tag: else it would cost a reading."""
        if self._is_s3 and self._may_tag:
            try:
                self._files.put_tags(path, {"sha256": sha256})
            except Exception as error:  # noqa: BLE001  # the file is stored all the same
                self._may_tag = False
                logger.info(
                    "The store refuses tags (%s): sha256 of large files will be read from it.",
                    _reason(error),
                )

    def _tag(self, path: str) -> str | None:
        with suppress(Exception):  # without it, whatever the reason, the file is read
            return str(self._files.get_tags(path)["sha256"])
        return None


def _copy(chunks: Iterator[bytes], file: Any) -> str:
    sha256 = hashlib.sha256()
    for chunk in chunks:
        sha256.update(chunk)
        file.write(chunk)
    return sha256.hexdigest()
