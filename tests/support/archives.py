"""An archive in memory, opened as the tap opens it."""

from __future__ import annotations

import io

from tap_prolific_export.archive.byte_source import LocalSource
from tap_prolific_export.archive.export_archive import ExportArchive, Limits

NAME = "archive exports/x.zip"


def opened(data: bytes, limits: Limits | None = None) -> ExportArchive:
    source = LocalSource(io.BytesIO(data), len(data), None)
    return ExportArchive(source, NAME, limits or Limits())
