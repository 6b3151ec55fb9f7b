"""Meltano, and the environments that scripts/setup has made for its plugins."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.processes import output, run
from tests.support.repository import PROGRAMS, ROOT
from tests.support.targets import DUCKDB_LOADER, POSTGRES_LOADER

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.support.stand_in import StandIn

MELTANO = shutil.which("meltano", path=str(PROGRAMS))
needs_loaders = pytest.mark.skipif(
    not (MELTANO and DUCKDB_LOADER.exists() and POSTGRES_LOADER.exists()),
    reason="needs Meltano and the loaders' environments, which scripts/setup makes",
)


def run_job(
    stand_in: StandIn, warehouse: Path, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run the tap into DuckDB; its state lies beside the warehouse."""
    given = reader_environment(stand_in, warehouse.parent, TARGET_DUCKDB_PATH=str(warehouse))
    return run_elt("tap-prolific-export", "target-duckdb", **given | settings)


def run_elt(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``meltano run`` in this repository, without its .env."""
    assert MELTANO
    command = (MELTANO, f"--env-file={os.devnull}", "run", *arguments)
    with alone_in_project():
        return run(*command, cwd=ROOT, env={**os.environ, **environment})


@contextmanager
def alone_in_project() -> Iterator[None]:
    """Wait until no other test runs Meltano in this repository's ``.meltano``.

    Runs of one project share the files that Meltano writes for a plugin.
    """
    with (ROOT / ".meltano" / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def reader_environment(stand_in: StandIn, folder: Path, **more: str) -> dict[str, str]:
    """Return what leads a reader's commands to the stand-in, and Meltano's state to a folder."""
    return {
        "PROLIFIC_URL": stand_in.api_url,
        "PROLIFIC_TOKEN": stand_in.world.token,
        "MELTANO_STATE_BACKEND_URI": (folder / "state").as_uri(),
        "TAP_PROLIFIC_EXPORT_POLL_INTERVAL_SECONDS": "1",
        **more,
    }


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
    (folder / ".meltano").mkdir()
    (folder / ".meltano" / "meltano.db").write_bytes(_database())


@cache
def _database() -> bytes:
    """Return the database of an empty project, which takes Meltano a while to make."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "meltano.yml").write_text("send_anonymous_usage_stats: false\n")
        output(PROGRAMS / "meltano", "state", "list", cwd=Path(name))
        return (Path(name) / ".meltano" / "meltano.db").read_bytes()
