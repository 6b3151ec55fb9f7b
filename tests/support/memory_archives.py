"""Archives in memory, opened as the tap opens those on disk."""

from __future__ import annotations

import io

from tap_prolific_export.archive.byte_source import LocalSource
from tap_prolific_export.archive.export_archive import ExportArchive, Limits

NAME = "archive exports/x.zip"


def memory_source(data: bytes) -> LocalSource:
    return LocalSource(io.BytesIO(data), len(data), None)


def open_archive(data: bytes, limits: Limits | None = None) -> ExportArchive:
    """Open an archive, which errors call `NAME`."""
    return ExportArchive(memory_source(data), NAME, limits or Limits())
