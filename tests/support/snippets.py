"""The commands and files that the documentation shows, and the Meltano project of a test's own."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

from tests.support.repository import PROGRAMS, ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


DOCUMENTS = [path for path in ROOT.glob("**/*.md") if not set(path.parts) & {".venv", ".meltano"}]

_MARKED = re.compile(r"<!-- snippet: (.+?) -->\n```\w+\n(.*?)```", re.DOTALL)


def snippet(page: str, name: str, filled_in: Mapping[str, object] | None = None) -> str:
    """Return what a page shows under a name.

    Args:
        page: Its path in the repository.
        name: As in the comment before it, ``<!-- snippet: NAME -->``.
        filled_in: What a reader would put in the place of what stands there.
    """
    [text] = [t for n, t in _MARKED.findall((ROOT / page).read_text("utf-8")) if n == name]
    for what, value in (filled_in or {}).items():
        assert what in text
        text = text.replace(what, str(value))
    return str(text)


def run(
    script: str, folder: Path, *programs: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a script as a reader's shell would, with the programs of some folders; it succeeds."""
    places = [*map(str, programs), str(PROGRAMS), os.environ["PATH"]]
    done = subprocess.run(  # noqa: S603
        ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607
        cwd=folder,
        env={**os.environ, "PATH": os.pathsep.join(places), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done
