"""Paths of an archive's members, whatever program packed it; pure functions.

People unpack archives and pack them again. Each program writes names in its own way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def portable_paths(names: Sequence[str]) -> Sequence[str]:
    r"""Return the paths of members, with ``/`` between folders.

    PowerShell 5 writes ``\`` between them. Where the name of any file has a ``/``, a ``\`` is
    part of a name, as on Linux and macOS.

    Args:
        names: The names in the archive's directory.
    """
    if any("/" in name for name in names if not name.endswith("/")):
        return names
    return [name.replace("\\", "/") for name in names]
