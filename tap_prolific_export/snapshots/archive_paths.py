"""Find the archives on disk that the setting `archive_paths` names, oldest first."""

from __future__ import annotations

import glob
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from tap_prolific_export.archive.byte_source import open_local
from tap_prolific_export.archive.export_archive import ExportArchive
from tap_prolific_export.errors import DataCollectionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_UNKNOWN = datetime.fromtimestamp(0, timezone.utc)


def find_archives(patterns: Iterable[str], log: Callable[..., None]) -> list[Path]:
    """Return the archives on disk that paths and globs name, oldest first, each once.

    A glob may match nothing, which is only logged: a folder may be empty. A path without wildcards
    is returned even if no file is there, so that opening it fails like any other data collection.
    """
    found: dict[Path, None] = {}
    for place, pattern in enumerate(patterns, 1):
        path = Path(pattern).expanduser()
        if path.is_file() or not any(letter in pattern for letter in "*?["):
            found[path] = None
            continue
        # Path.glob takes no absolute pattern.
        matches = map(Path, sorted(glob.glob(str(path), recursive=True)))  # noqa: PTH207
        files = [match for match in matches if not match.is_dir()]
        if not files:
            log("archive_paths: item %d matches no file: %s", place, pattern)
        found.update(dict.fromkeys(files))
    return sorted(found, key=_age)


def _age(path: Path) -> tuple[datetime, datetime, str]:
    """Return a sort key, oldest first: the newest member's date, else the file's own time.

    The file's own time also decides between archives whose members have the same date.
    """
    try:
        with open_local(path) as opened:
            written = opened.last_modified
            newest = ExportArchive(opened, str(path)).newest_member() or written
    except DataCollectionError:  # reported when its turn comes
        newest = written = None
    return (newest or _UNKNOWN, written or _UNKNOWN, str(path))
