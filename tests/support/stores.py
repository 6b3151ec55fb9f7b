"""Folders that uploads are stored in: what is in them, and folders that are closed to us."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


SAID = "what-a-participant-said"
NOBODY = 65534


posix = pytest.mark.skipif(os.name != "posix", reason="needs permissions")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tree(root: Path) -> dict[str, bytes]:
    """Return all files below a directory, by path."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be nobody for a while, if we are root, whom no directory is closed to."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def closed_directory() -> Iterator[Path]:
    """Make a directory that the `unprivileged` may look into, but not write to."""
    root = Path(tempfile.mkdtemp())  # not pytest's: those nobody may even look into
    root.chmod(0o555)
    try:
        yield root
    finally:
        root.chmod(0o700)
        shutil.rmtree(root)
