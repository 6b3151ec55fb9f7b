"""Whoever reads stdout may be slow, or go away."""

from __future__ import annotations

import array
import fcntl
import json
import os
import re
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tap_prolific_export.singer.cli import LARGE_PIPE
from tests.support.processes import LIMIT_SECONDS, TAP, started
from tests.support.zips import pack

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

# So much of the output is read at a time, of several megabytes in all.
STEP = 1 << 20
KILOBYTE = 1024
# Beside what is remembered of each response: what is allocated varies a little.
MEGABYTES = 6
QUESTIONS = {
    "id": "c",
    "instructions": [{"id": f"q{n}", "type": "free_text", "description": "?"} for n in range(20)],
}


@pytest.fixture(params=["fast", "the SDK's"])
def tap(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Return the tap as a process that writes some megabytes into a pipe."""
    count = 20_000 if request.param == "fast" else 4000
    lines = (
        json.dumps(
            {
                "submission_id": f"s{n}",
                "responses": {f"q{q}": {"value": f"{n} " * 10} for q in range(20)},
            }
        )
        for n in range(count)
    )
    members = {
        "responses.jsonl": "\n".join(lines).encode(),
        "collection.json": json.dumps(QUESTIONS).encode(),
    }
    (tmp_path / "x.zip").write_bytes(pack(members))
    config: dict[str, Any] = {"archive_paths": [str(tmp_path / "x.zip")]}
    if request.param != "fast":
        config |= {"stream_maps": {"responses": {"more": "submission_id"}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = (*TAP, "--config=config.json")
    with (
        (tmp_path / "log").open("wb") as log,
        started(*command, cwd=tmp_path, stderr=log, TMPDIR=str(tmp_path)) as tap,
    ):
        yield tap


def until_full(tap: subprocess.Popen[bytes]) -> bool:
    """Wait until the tap cannot write any more; return False where it has ended instead."""
    assert tap.stdout
    waiting, before = array.array("i", [0]), -1
    begin = time.monotonic()
    while tap.poll() is None:
        assert time.monotonic() - begin < LIMIT_SECONDS
        fcntl.ioctl(tap.stdout.fileno(), termios.FIONREAD, waiting)
        state = Path(f"/proc/{tap.pid}/stat").read_text().rpartition(")")[2].split()[0]
        # Asleep while nothing more comes into a pipe that is not empty: it waits for us.
        if waiting[0] and waiting[0] == before and state == "S":
            return True
        before = waiting[0]
        os.sched_yield()
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has pipes of other sizes")
@pytest.mark.parametrize(("size", "becomes"), [(None, LARGE_PIPE), (1 << 17, 1 << 17)])
def test_a_pipe_takes_more_than_usual_unless_somebody_chose_its_size(
    size: int | None, becomes: int, tmp_path: Path
) -> None:
    (tmp_path / "x.zip").write_bytes(pack({"collection.json": json.dumps(QUESTIONS).encode()}))
    (tmp_path / "config.json").write_text(json.dumps({"archive_paths": [str(tmp_path / "x.zip")]}))
    with started(*TAP, "--config=config.json", cwd=tmp_path) as tap:
        assert tap.stdout
        if size:  # before the tap has begun
            fcntl.fcntl(tap.stdout, fcntl.F_SETPIPE_SZ, size)
        tap.stdout.read()
        assert tap.wait(LIMIT_SECONDS) == 0
        assert fcntl.fcntl(tap.stdout, fcntl.F_GETPIPE_SZ) == becomes


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_slow_reader_costs_no_memory(tap: subprocess.Popen[bytes]) -> None:
    assert tap.stdout
    sizes = []
    size = 0
    while until_full(tap):
        status = Path(f"/proc/{tap.pid}/status").read_text()
        sizes.append(int(re.findall(r"VmRSS:\s*(\d+)", status)[0]) * KILOBYTE)
        for _ in range(STEP // (1 << 16)):
            size += len(os.read(tap.stdout.fileno(), 1 << 16))
    size += len(tap.stdout.read())
    assert tap.wait(LIMIT_SECONDS) == 0
    assert len(sizes) > 3
    # The first megabytes are those in which everything is imported and compiled.
    assert max(sizes) - sizes[1] < MEGABYTES << 20 < size


@pytest.mark.parametrize("read", [1, 100_000], ids=["at once", "later"])
def test_one_that_goes_away_ends_it_quietly(
    tap: subprocess.Popen[bytes], read: int, tmp_path: Path
) -> None:
    assert tap.stdout
    got = b""
    while len(got) < read:
        got += os.read(tap.stdout.fileno(), read - len(got))
    tap.stdout.close()
    assert tap.wait(LIMIT_SECONDS) == 1
    log = (tmp_path / "log").read_text()
    *_, last = log.splitlines()
    assert last.endswith(
        "Nobody reads the output any more. The next run goes on from the last state that was read."
    )
    for noise in ("Traceback", "Exception ignored", "unhandled", "BrokenPipe", "Broken pipe"):
        assert noise not in log
    assert [line for line in log.splitlines() if "| ERROR" in line] == [last]
