"""Packs ZIP files. It imports nothing of the tap."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Date = tuple[int, int, int, int, int, int]


class Pipe(io.BytesIO):
    """Cannot seek: zipfile writes sizes and checksums behind the data."""

    def tell(self) -> int:
        raise io.UnsupportedOperation


def pack(
    members: Mapping[str, bytes | str],
    method: int | Callable[[str], int] = zipfile.ZIP_DEFLATED,
    *,
    date: Date | Callable[[str], Date] = (1980, 1, 1, 0, 0, 0),
    comment: bytes = b"",
    zip64: bool = False,
    to: type[io.BytesIO] = io.BytesIO,
) -> bytes:
    """Return a ZIP file.

    Args:
        members: Content by name.
        method: Of compression, or what returns it for a name.
        date: Of every member, or what returns it for a name.
    """
    buffer = to()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = comment
        for name, content in members.items():
            info = zipfile.ZipInfo(name, date(name) if callable(date) else date)
            info.compress_type = method(name) if callable(method) else method
            with archive.open(info, "w", force_zip64=zip64) as member:
                member.write(content.encode() if isinstance(content, str) else content)
    return buffer.getvalue()


def pack_export(**files: str) -> bytes:
    """Pack files given by name without ending: metadata is JSON, all others are JSON Lines."""
    metadata = {"collection", "batch"}
    return pack({f"{n}.{'json' if n in metadata else 'jsonl'}": t for n, t in files.items()})
