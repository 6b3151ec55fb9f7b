"""Programs as processes of their own: how to run one, and the tap as a command line."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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


# Each run is a process of its own; but the tap is imported once, which would be most of their time.
_FORKS = """
import json, os, sys
from tap_prolific_export.tap import TapProlificExport
for folder, *arguments in json.load(sys.stdin):
    if not os.fork():
        os.chdir(folder)
        for name, stream in (("stdout", 1), ("stderr", 2)):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), stream)
        try:
            TapProlificExport.cli(arguments)
        except SystemExit as end:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code or 0)  # at once: Python's own end would take longer than the run
    _, status = os.wait()
    with open(os.path.join(folder, "code"), "w") as file:
        file.write(str(os.waitstatus_to_exitcode(status)))
"""


def run_taps(
    runs: Iterable[tuple[Sequence[str], Mapping[str, Any]]], *, folder: Path
) -> list[subprocess.CompletedProcess[str]]:
    """Run the tap several times, one after the other.

    Args:
        runs: The command line and the settings of each.
        folder: Where each run gets a working directory.
    """
    told = []
    for number, (args, config) in enumerate(runs):
        (place := folder / str(number)).mkdir()
        (place / "config.json").write_text(json.dumps(config))
        told.append([str(place), "--config=config.json", *args])
    output(sys.executable, "-c", _FORKS, cwd=folder, stdin=json.dumps(told))
    found = []
    for name, *args in told:
        code, out, err = (Path(name, n).read_text() for n in ("code", "stdout", "stderr"))
        found.append(subprocess.CompletedProcess(args, int(code), out, err))
    return found


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
