"""Kill the real process after so many bytes of output, and run again with what got through."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.expected import differences
from tests.support.memory_target import MemoryTarget
from tests.support.processes import CAN_SHRINK_PIPES, shrink_pipe, started
from tests.support.stand_in import World, samples
from tests.support.tap import ids

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stand_in import Hosted
    from tests.support.tap import Runner

# The real command line; but STATE is written after each data collection, not at most every 10 s,
# so that there are more places at which to be killed.
TAP = """
from tap_prolific_export.singer import state
state.INTERVAL_SECONDS = 0.0
from tap_prolific_export.tap import TapProlificExport
TapProlificExport.cli()
"""


@dataclass
class Setting:
    """A world that has been exported once, and has changed since."""

    runner: Runner
    world: World
    config: dict[str, Any]
    before: MemoryTarget

    def run(self, target: MemoryTarget, folder: Path, *, kill_after: int | None = None) -> str:
        """Run the tap as a process; return what it wrote until it ended or was killed."""
        (folder / "config.json").write_text(json.dumps(self.runner.config | self.config))
        (folder / "state.json").write_text(json.dumps(target.state))
        args = ["--config", "config.json", "--state", "state.json"]
        # A process that is killed cleans up nothing.
        command = (sys.executable, "-c", TAP, *args)
        with started(*command, cwd=folder, TMPDIR=str(folder)) as process:
            assert process.stdout
            shrink_pipe(process.stdout)  # else it would be ahead by 64 KiB when it dies
            if kill_after is None:
                return process.stdout.read().decode()
            written = b""
            while len(written) < kill_after:
                chunk = os.read(process.stdout.fileno(), kill_after - len(written))
                if not chunk:  # it ended before: no two runs write the same number of bytes
                    break
                written += chunk
            return written.decode(errors="ignore")


@pytest.fixture(params=["fresh", pytest.param("idempotent", marks=pytest.mark.slow)])
def world(request: pytest.FixtureRequest) -> World:
    return World(generation=request.param)


@pytest.fixture
def setting(runner: Runner, world: World) -> Setting:
    now = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)
    world.clock = lambda: now
    hosted: list[Hosted] = [
        world.host(samples.breakfast_diary(6)),
        world.host(samples.caption_check(3)),
        world.host(samples.breakfast_diary(2, id_="another-diary")),
    ]
    config = ids(*hosted)
    before = MemoryTarget()
    before.load(runner.sync(**config).text)
    now += timedelta(days=3)
    for each in hosted:
        make = samples.annotation if each.kind == "batches" else samples.breakfast
        for number in (40, 41, 44):
            submission = make(number)
            submission.submitted_at = now
            name = "completed_at" if each.kind == "batches" else "submitted_at"
            submission.line[name] = now.isoformat()
            world.submit(each, submission)
    now += timedelta(minutes=5)
    return Setting(runner, world, config, before)


# So many points, and those about so many of the first STATEs.
@pytest.mark.parametrize(
    ("count", "states"), [(6, 1), pytest.param(16, None, marks=pytest.mark.slow)]
)
def test_whatever_byte_it_dies_after_the_next_run_has_every_response(
    count: int, states: int | None, setting: Setting, tmp_path: Path
) -> None:
    whole = setting.run(setting.before, tmp_path)
    ends = [place for place in range(len(whole)) if whole.startswith('{"type":"STATE"', place)]
    assert len(ends) >= 3
    size = len(whole.encode())
    points = {1 + size * number // count for number in range(count)}
    for begin in ends[:states]:  # before, within, and just after a STATE
        end = whole.index("\n", begin) + 1
        points |= {begin, begin + 20, end - 1, end}
    points = {point for point in points if 0 < point < size}

    def killed(point: int) -> MemoryTarget:
        folder = tmp_path / str(point)
        folder.mkdir()
        target = deepcopy(setting.before)
        target.load(setting.run(target, folder, kill_after=point))
        return target

    world = setting.world
    for jobs in world.jobs.values():
        jobs.clear()
    with ThreadPoolExecutor(2) as pool:
        world.max_jobs = 10_000
        targets = dict(zip(points, pool.map(killed, points), strict=True))
    kept = {json.dumps(target.state, sort_keys=True) for target in targets.values()}
    assert len(kept) >= 3  # some died before the first STATE, some between two
    for point, target in targets.items():
        target.load(setting.runner.sync(None, target.state, **setting.config).text)
        wrong = [d for d in differences(target.rows, world) if " export" not in d]
        assert wrong == [], f"killed after {point} of {size} bytes"


@pytest.mark.skipif(not CAN_SHRINK_PIPES, reason="needs a pipe that can be made small")
def test_it_is_killed_while_it_writes(setting: Setting, tmp_path: Path) -> None:
    """Else the test above would prove nothing: the process would have come to its end."""
    target = deepcopy(setting.before)
    whole = setting.run(target, tmp_path)
    setting.world.requests.clear()
    setting.run(target, tmp_path, kill_after=len(whole.encode()) // 4)
    fetched = setting.world.asked("archives")
    assert 0 < len(fetched) < 3
