"""The commands and files that the documentation shows, and the Meltano project of a test's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.targets import POSTGRES_LOADER, ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAMS = Path(sys.executable).parent

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


def make_project(folder: Path, loader: dict[str, Any], *more: dict[str, Any]) -> None:
    """Make a Meltano project whose plugins are those that the tests have installed.

    Args:
        folder: Where to.
        loader: The configuration of target-postgres.
        more: Parts of other ``meltano.yml``, whose extractors are added, or given more of.
    """
    [base] = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))["plugins"]["extractors"]
    extractors = {base["name"]: {**base, "executable": str(PROGRAMS / "tap-prolific-export")}}
    del extractors[base["name"]]["pip_url"]
    for part in more:
        for extractor in part["plugins"]["extractors"]:
            extractors[extractor["name"]] = extractors.get(extractor["name"], {}) | extractor
    loads = {
        "name": "target-postgres",
        "namespace": "target_postgres",
        "executable": str(POSTGRES_LOADER),
        "config": loader,
    }
    project = {
        "send_anonymous_usage_stats": False,
        "cli": {"disable_version_check": True},
        "default_environment": "dev",
        "environments": [{"name": "dev"}],
        "plugins": {"extractors": [*extractors.values()], "loaders": [loads]},
    }
    (folder / "meltano.yml").write_text(yaml.safe_dump(project), encoding="utf-8")
