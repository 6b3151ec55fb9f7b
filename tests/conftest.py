"""Fixtures: a stand-in Prolific, and the tap run against it in this process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support.clocks import Clock, MonotonicClock
from tests.support.leaks import watched
from tests.support.stand_in import StandIn, World, samples
from tests.support.stores import closed_directory
from tests.support.tap import Runner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.stand_in import Hosted

# How long an example takes depends on what else the machine does.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    with watched():
        yield


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("PROLIFIC_", "TAP_PROLIFIC_EXPORT_", "MELTANO_", "NETRC")):
            monkeypatch.delenv(name)


@pytest.fixture(params=["fresh", "idempotent"])
def world(request: pytest.FixtureRequest) -> World:
    """A world of either generation: a test that takes it runs in both."""
    return World(generation=request.param)


@pytest.fixture
def stand_in(world: World) -> Iterator[StandIn]:
    with StandIn(world) as serving:
        yield serving


@pytest.fixture
def collection(world: World) -> Hosted:
    return world.host(samples.breakfast_diary(8))


@pytest.fixture
def batch(world: World) -> Hosted:
    return world.host(samples.caption_check(5))


@pytest.fixture
def clock(world: World) -> Clock:
    """The time at the stand-in."""
    world.clock = clock = Clock()
    return clock


@pytest.fixture
def time() -> MonotonicClock:
    """The time of code that is given a clock and a sleep."""
    return MonotonicClock()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where uploads are stored; it is not there yet."""
    return tmp_path / "uploads"


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder that may be looked into, but not written to, by the `unprivileged`."""
    with closed_directory() as folder:
        yield folder


@pytest.fixture
def runner(stand_in: StandIn) -> Runner:
    return Runner(stand_in)
