"""The commands and files that the documentation shows, and how to run them as a reader would."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from tests.support.processes import run
from tests.support.repository import PROGRAMS, ROOT

if TYPE_CHECKING:
    import subprocess
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


def run_script(
    script: str, folder: Path, *programs: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a script as a reader's shell would; it must succeed.

    Args:
        script: In bash.
        folder: Its working directory.
        *programs: Folders of programs that it finds, before ours and those on the PATH.
        **environment: Variables that it has besides ours.
    """
    places = [*map(str, programs), str(PROGRAMS), os.environ["PATH"]]
    env = {**os.environ, "PATH": os.pathsep.join(places), **environment}
    done = run("bash", "-euo", "pipefail", "-c", script, cwd=folder, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return done
