"""Paths of an archive's members, whatever program packed it; pure functions.

People unpack archives and pack them again. Each program writes names in its own way.
"""

from __future__ import annotations

import functools
import unicodedata
import zlib
from collections import Counter
from typing import TYPE_CHECKING

from tap_prolific_export.archive.safe_json import cleaned_text

if TYPE_CHECKING:
    from collections.abc import Sequence

# Info-ZIP's Unicode path: its version, a checksum of the name that it stands for, and UTF-8.
UNICODE_PATH = 0x7075
_UNICODE_PATH_VERSION = 1
_UNICODE_PATH_HEAD = 5


def decoded_name(name: bytes, unicode_path: bytes, *, is_utf_8: bool) -> str:
    """Return a name as text in which every target can store every character.

    Without the flag for UTF-8 a name should be in cp437, but Info-ZIP on Linux and macOS write
    UTF-8. Names in cp437 are hardly ever valid UTF-8.

    Args:
        name: The name in the archive.
        unicode_path: The extra field `UNICODE_PATH`; empty without one.
        is_utf_8: Whether the entry has the flag for UTF-8.

    Raises:
        UnicodeDecodeError: The entry has the flag, but its name is not UTF-8.
    """
    if is_utf_8 or (name.isascii() and not unicode_path):
        return cleaned_text(name.decode())
    for candidate in (_unicode_path(name, unicode_path), name):
        try:
            if candidate:
                return cleaned_text(candidate.decode())
        except UnicodeDecodeError:
            continue
    return cleaned_text(name.decode("cp437"))


def _unicode_path(name: bytes, field: bytes) -> bytes:
    """Return the path in an extra field; empty if it is not that of the name as it is now."""
    if field[:1] != bytes([_UNICODE_PATH_VERSION]):
        return b""
    is_current = int.from_bytes(field[1:_UNICODE_PATH_HEAD], "little") == zlib.crc32(name)
    return field[_UNICODE_PATH_HEAD:] if is_current else b""


def portable_paths(names: Sequence[str]) -> list[str]:
    r"""Return the paths of members, with ``/`` between folders, in NFC.

    PowerShell 5 writes ``\`` between folders. Where the name of any file has a ``/``, a ``\`` is
    part of a name, as on Linux and macOS. macOS writes names in NFD.

    Args:
        names: The names in the archive's directory.
    """
    paths = list(names)
    if not any("/" in name for name in names if not name.endswith("/")):
        paths = [name.replace("\\", "/") for name in names]
    changed = {path: form for path in paths if (form := composed(path)) != path}
    counts = Counter(changed.values())
    counts.update({path for path in paths if path in counts})
    # Files whose names differ only in their form are different files: these keep their names.
    forms = {path: form for path, form in changed.items() if counts[form] == 1}
    return [forms.get(path, path) for path in paths]


is_composed = functools.partial(unicodedata.is_normalized, "NFC")


def composed(text: str) -> str:
    """Return a text in NFC, the form in which names are compared."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
