"""Choose names for stored files that are valid on every file system; pure functions."""

from __future__ import annotations

import re
import unicodedata

from tap_prolific_export.archive.export_archive import UPLOADS, Upload
from tap_prolific_export.model import sha256_hex

MAX_NAME_BYTES = 180
_PLAIN = re.compile(r"\w[\w .,()+@=-]*")
# Windows reserves these names in every directory, with any extension.
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\..*)?")
# A name that already looks tagged. It gets a tag of its own, so that it cannot collide with a name
# that we made.
_LOOKS_TAGGED = re.compile(r"(?is).*-(sha256-[0-9a-f]{16}|crc32-[0-9a-f]{8})(\.[A-Za-z0-9]{1,10})?")


def store_keys(
    data_collection_id: str, path: str, upload: Upload, *, collides: bool
) -> tuple[str, str]:
    """Return the keys under which an uploaded file may be stored, in order of preference.

    A name that is valid on every file system is kept. In any other name, and in a path, unsafe
    characters are replaced and a digest of the original is added; also if it collides, that is, if
    some file system would treat another file's name as the same.
    """
    name = path.removeprefix(UPLOADS)
    folder = _segment(data_collection_id)
    if collides or _segment(name) != name:
        name = _tagged(_cleaned(name), f"sha256-{sha256_hex(path, 16)}")
    return f"{folder}/{name}", f"{folder}/{_tagged(name, f'crc32-{upload.crc32:08x}')}"


def collision_key(path: str) -> str:
    """Return a key that is equal for paths that some file system treats as the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _segment(name: str) -> str:
    """Return the name if it is valid on every file system, else a valid substitute."""
    is_plain = (
        _PLAIN.fullmatch(name)
        and name == unicodedata.normalize("NFC", name)
        and not _DEVICE.fullmatch(name)
        and not _LOOKS_TAGGED.fullmatch(name)
        and name[-1] not in " ."
        and len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME_BYTES
    )
    return name if is_plain else _tagged(_cleaned(name), f"sha256-{sha256_hex(name, 16)}")


def _cleaned(name: str) -> str:
    """Return the name in plain ASCII, as one path segment."""
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9.-]+", "_", folded)


def _tagged(name: str, tag: str) -> str:
    """Insert a tag before the name's extension; shorten the stem to `MAX_NAME_BYTES`."""
    stem, dot, extension = name.rpartition(".")
    if not stem or not re.fullmatch(r"[A-Za-z0-9]{1,10}", extension):
        stem, dot, extension = name, "", ""
    room = MAX_NAME_BYTES - len(tag) - len(extension) - 3
    stem = stem.encode()[:room].decode(errors="ignore").strip(" .-") or "file"
    stem = f"_{stem}" if _DEVICE.fullmatch(stem) else stem
    return f"{stem}-{tag}{dot}{extension}"
