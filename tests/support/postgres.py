"""A real PostgreSQL: a server of the tests' own on loopback, gone when they are done."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "tests"
PROGRAMS = ("initdb", "pg_ctl", "postgres")
DEBIAN = Path("/usr/lib/postgresql")
CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
# Nothing here outlives the tests: no write has to reach the disk.
fsync = off
full_page_writes = off
synchronous_commit = off
# target-postgres stores times as they are in the session's own zone.
timezone = 'UTC'
"""
# Between finding a free port and listening on it, somebody else may take it.
TRIES = 3


class PostgresServer:
    """A running server, which asks nobody on this machine for a password.

    Attributes:
        port: Where it listens, on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self._numbers = itertools.count(1)

    def new_database(self) -> str:
        """Make an empty database and return its name."""
        name = f"test_{next(self._numbers)}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return name

    def connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect; what is executed is committed at once."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, dbname=database, autocommit=True
        )


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Start a server, and stop it in the end; skip where PostgreSQL is not installed."""
    programs = find_programs()
    if programs is None:
        pytest.skip("needs a PostgreSQL server to start: install PostgreSQL (Debian: postgresql)")
    # Not pytest's own folder, which nobody but the user that runs the tests can enter.
    with tempfile.TemporaryDirectory(prefix="tests-postgres-") as name:
        folder = Path(name)
        account = _account()
        if account:
            os.chown(folder, account.pw_uid, account.pw_gid)

        def run(program: str, *arguments: str) -> bool:
            log = folder / f"{program}.log"
            with log.open("a") as output:
                done = subprocess.run(  # noqa: S603
                    [str(programs / program), "-D", str(folder / "data"), *arguments],
                    cwd=folder,
                    env={"PATH": os.defpath, "LC_ALL": "C"},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    user=account and account.pw_uid,
                    group=account and account.pw_gid,
                    extra_groups=[] if account else None,
                    check=False,
                )
            return done.returncode == 0

        made = run("initdb", "--auth=trust", f"--username={USER}", "--encoding=UTF8", "--no-sync")
        if not made:
            pytest.fail((folder / "initdb.log").read_text())
        with (folder / "data" / "postgresql.conf").open("a") as configuration:
            configuration.write(CONFIGURATION)
        for _ in range(TRIES):
            port = _free_port()
            log = f"--log={folder / 'server.log'}"
            if run("pg_ctl", "start", "--wait", f"--options=-p {port}", log):
                break
        else:
            pytest.fail((folder / "server.log").read_text())
        try:
            yield PostgresServer(port)
        finally:
            run("pg_ctl", "stop", "--wait", "--mode=immediate")


def find_programs() -> Path | None:
    """Return the folder with the server's programs: on the PATH, or where Debian has the newest."""
    on_path = shutil.which("pg_ctl")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(DEBIAN.glob("*/bin"), key=lambda path: _number(path.parent.name))[::-1]
    for folder in folders:
        if all((folder / program).exists() for program in PROGRAMS):
            return folder
    return None


def _account() -> pwd.struct_passwd | None:
    """Return who is to run the server, which root may not; None: whoever runs the tests."""
    if os.getuid():
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("needs an account beside root to run PostgreSQL with: postgres, or nobody")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _number(version: str) -> float:
    try:
        return float(version)
    except ValueError:
        return 0
