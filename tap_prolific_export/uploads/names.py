"""The names under which uploaded files are stored: plain enough for any file system; pure."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from tap_prolific_export.archive.export_archive import UPLOADS, Upload

MAX_NAME_BYTES = 180


_PLAIN = re.compile(r"\w[\w .,()+@=-]*")


# Windows has devices of these names in every directory, whatever their ending.
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\..*)?")


# What is added to names: none that comes with it may be taken for one that was made.
_TAGGED = re.compile(r"(?is).*-(sha256-[0-9a-f]{16}|crc32-[0-9a-f]{8})(\.[A-Za-z0-9]{1,10})?")


def store_keys(
    data_collection_id: str, path: str, upload: Upload, *, collides: bool
) -> tuple[str, str]:
    """Return the keys under which an uploaded file may be stored.

    A name that any file system takes stays as it is; of another one, and of a path, what is not
    plain is replaced, and a digest of all of it added.

    Args:
        data_collection_id: Of which data collection it is.
        path: Its path in the archive.
        upload: What the archive says of it.
        collides: Whether some file system takes the name of another file in the archive for it.
    """
    name = path.removeprefix(UPLOADS)
    folder = _segment(data_collection_id)
    if collides or _segment(name) != name:
        name = _tagged(_cleaned(name), f"sha256-{_digest(path)}")
    return f"{folder}/{name}", f"{folder}/{_tagged(name, f'crc32-{upload.crc32:08x}')}"


def collision_key(path: str) -> str:
    """Return what paths have in common that some file system takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _segment(name: str) -> str:
    """Return a name that any file system takes: this one, if it is one."""
    is_plain = (
        _PLAIN.fullmatch(name)
        and name == unicodedata.normalize("NFC", name)
        and not _DEVICE.fullmatch(name)
        and not _TAGGED.fullmatch(name)
        and name[-1] not in " ."
        and len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME_BYTES
    )
    return name if is_plain else _tagged(_cleaned(name), f"sha256-{_digest(name)}")


def _cleaned(name: str) -> str:
    """Return what can be kept of a name, ASCII only, in one segment."""
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9.-]+", "_", folded)


def _tagged(name: str, tag: str) -> str:
    """Return a name with a tag before its ending, and no longer than it may be."""
    stem, dot, ending = name.rpartition(".")
    if not stem or not re.fullmatch(r"[A-Za-z0-9]{1,10}", ending):
        stem, dot, ending = name, "", ""
    room = MAX_NAME_BYTES - len(tag) - len(ending) - 3
    stem = stem.encode()[:room].decode(errors="ignore").strip(" .-") or "file"
    stem = f"_{stem}" if _DEVICE.fullmatch(stem) else stem
    return f"{stem}-{tag}{dot}{ending}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
