"""This repository: where it is, which files it has, and copies of it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tests.support.processes import output

ROOT = Path(__file__).resolve().parents[2]
# Where the programs of the environment that runs the tests are.
PROGRAMS = Path(sys.executable).parent
GIT = shutil.which("git")


def clean_environment() -> dict[str, str]:
    """Return the environment, without what would change what is built or imported."""
    meddling = ("GIT_", "HATCH_", "PYTHON", "SETUPTOOLS_SCM_", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(meddling)}
    return kept | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def git(repository: Path, *arguments: str) -> str:
    author = ("-c", "user.name=A maintainer", "-c", "user.email=maintainer@example.org")
    command = (GIT or "git", *author, *arguments)
    return output(*command, cwd=repository, env=clean_environment())


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
