"""Programs as processes of their own: how to run one, and the tap as a command line."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TAP = (sys.executable, "-m", "tap_prolific_export.tap")
# How long to wait for a process that should end: only one that hangs takes as long.
LIMIT_SECONDS = 60
_F_SETPIPE_SZ = getattr(fcntl, "F_SETPIPE_SZ", None)
CAN_SHRINK_PIPES = _F_SETPIPE_SZ is not None


def run(
    *command: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whatever its exit code.

    Args:
        *command: The program and its arguments.
        cwd: Its working directory.
        env: All of its environment; by default, ours.
        stdin: What it reads from standard input.
    """
    return subprocess.run(  # noqa: S603
        command, cwd=cwd, env=env, input=stdin, capture_output=True, text=True, check=False
    )


def output(
    *command: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """Run a program that must succeed; return what it wrote to standard output."""
    done = run(*command, cwd=cwd, env=env, stdin=stdin)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def run_tap(
    *args: str, config: Mapping[str, Any] | None = None, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the tap to its end.

    Args:
        *args: Its command line.
        config: Its settings, as a file.
        folder: Its working directory.
        **environment: Variables that it has besides ours.
    """
    given = []
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
        given = ["--config=config.json"]
    return run(*TAP, *given, *args, cwd=folder, env={**os.environ, **environment})


@contextmanager
def started(
    *command: str,
    cwd: Path,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
    **environment: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program, and kill it in the end if it still runs.

    Args:
        *command: The program and its arguments.
        cwd: Its working directory.
        stdout: Where its standard output goes; by default, into a pipe.
        stderr: Where its standard error goes.
        **environment: Variables that it has besides ours.
    """
    env = {**os.environ, **environment}
    with subprocess.Popen(command, cwd=cwd, env=env, stdout=stdout, stderr=stderr) as process:  # noqa: S603
        try:
            yield process
        finally:
            process.kill()


def shrink_pipe(pipe: IO[bytes]) -> None:
    """Let a pipe hold as little as it can, so that its writer is never far ahead of its reader."""
    if _F_SETPIPE_SZ is not None:
        fcntl.fcntl(pipe.fileno(), _F_SETPIPE_SZ, 4096)
