"""dbt, in an environment of its own, over a warehouse."""

from __future__ import annotations

import json
import os
import shlex
from typing import TYPE_CHECKING, Any

import yaml

from tests.support import processes
from tests.support.repository import ROOT
from tests.support.targets import DuckDB, installed

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.support.targets import Warehouse

PACKAGE = ROOT / "examples" / "dbt"


def dbt_programs() -> Path:
    """Return the folder of dbt's programs: for both databases, the versions of meltano.yml."""
    project = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))
    plugins = [
        plugin for plugin in project["plugins"]["utilities"] if plugin["executable"] == "dbt"
    ]
    requirements = {each for plugin in plugins for each in shlex.split(plugin["pip_url"])}
    return installed("dbt", *sorted(requirements))


def dbt_environment(warehouse: Warehouse) -> dict[str, str]:
    """Return the variables that lead profiles.yml to a warehouse."""
    _, loader = warehouse.program()
    names = {"default_target_schema": "schema"}
    kind = "duckdb" if isinstance(warehouse, DuckDB) else "postgres"
    given = {
        f"DBT_{kind}_{names.get(name, name)}".upper(): str(value) for name, value in loader.items()
    }
    return {"DBT_TARGET": kind, **given}


class Dbt:
    """Runs dbt commands over a warehouse, and keeps what they write in the warehouse's folder.

    Args:
        warehouse: Where the tables are.
        project: The dbt project; by default, the package itself.
    """

    def __init__(self, warehouse: Warehouse, project: Path = PACKAGE) -> None:
        self.target = warehouse.folder / "dbt"
        self._programs = dbt_programs()
        self._project = project
        self._environment = {
            **os.environ,
            **dbt_environment(warehouse),
            "DBT_PROFILES_DIR": str(PACKAGE),
            "DBT_TARGET_PATH": str(self.target),
            "DBT_LOG_PATH": str(self.target),
            "DBT_USE_COLORS": "false",
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever its exit code."""
        program = self._programs / "dbt"
        return processes.run(program, *arguments, cwd=self._project, env=self._environment)

    def __call__(self, *arguments: str) -> str:
        """Run a command that must succeed, without a warning; return what it said."""
        done = self.run("--warn-error", *arguments)
        assert done.returncode == 0, done.stdout[-5000:]
        return done.stdout

    def failures(self, *arguments: str) -> set[str]:
        """Run a command that must fail; return the names of what failed in it."""
        done = self.run(*arguments)
        assert done.returncode == 1, done.stdout[-5000:]
        results: list[dict[str, Any]] = self.artifact("run_results")["results"]
        return {
            result["unique_id"].split(".")[2]
            for result in results
            if result["status"] in {"fail", "error"}
        }

    def artifact(self, name: str) -> dict[str, Any]:
        """Return what dbt wrote about the last command."""
        read: dict[str, Any] = json.loads((self.target / f"{name}.json").read_text("utf-8"))
        return read
