"""Find the archives on disk that ``archive_paths`` names."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from tap_prolific_export.archive.byte_source import open_local
from tap_prolific_export.archive.export_archive import ExportArchive
from tap_prolific_export.errors import ConfigError, DataCollectionError

if TYPE_CHECKING:
    from collections.abc import Sequence


def archive_paths(patterns: Sequence[str]) -> list[Path]:
    """Return the archives, each once, oldest first.

    Args:
        patterns: Paths and globs.

    Raises:
        ConfigError: A path or glob matches nothing.
    """
    found: dict[Path, None] = {}
    unmatched = []
    for place, pattern in enumerate(patterns, 1):
        path = Path(pattern).expanduser()
        matches = [str(path)] if path.is_file() else _glob(path)
        if not matches:
            unmatched.append(f"archive_paths: item {place} matches no file: {pattern}")
        found.update(dict.fromkeys(Path(match) for match in matches))
    if unmatched:
        raise ConfigError(unmatched)
    return sorted(found, key=_age)


def _glob(pattern: Path) -> list[str]:
    # Path.glob takes no absolute pattern.
    return sorted(glob.glob(str(pattern), recursive=True))  # noqa: PTH207


def _age(path: Path) -> tuple[float, str]:
    """Return a sort key, oldest first: the newest member's date, else the file's own time."""
    try:
        with open_local(path) as opened:
            newest = ExportArchive(opened, str(path)).newest_member() or opened.last_modified
    except DataCollectionError:  # reported when its turn comes
        newest = None
    return (newest.timestamp() if newest else 0.0, str(path))
