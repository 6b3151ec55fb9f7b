"""The working tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


ROOT = Path(__file__).resolve().parents[2]
# Where the programs of the environment that runs the tests are.
PROGRAMS = Path(sys.executable).parent
GIT = shutil.which("git")


def environment() -> dict[str, str]:
    """Return the environment, without what would change what is built or imported."""
    meddling = ("GIT_", "HATCH_", "PYTHON", "SETUPTOOLS_SCM_", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(meddling)}
    return kept | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def run(
    *command: str | Path, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        command,
        cwd=cwd,
        env=environment() if env is None else env,
        capture_output=True,
        text=True,
        check=False,
    )


def output(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run what must succeed; return what it wrote to standard output."""
    done = run(*command, cwd=cwd, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def git(repository: Path, *arguments: str) -> str:
    author = ("-c", "user.name=A maintainer", "-c", "user.email=maintainer@example.org")
    return output(GIT or "git", *author, *arguments, cwd=repository)


def tracked() -> list[str]:
    """Return the files of the repository, those of the next commit included."""
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return [name for name in listed.split("\0") if (ROOT / name).is_file()]


def copy_of_the_tree(place: Path) -> Path:
    """Copy the working tree as it would be committed, without its history."""
    for name in tracked():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, place / name)
    return place
