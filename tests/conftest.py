"""Fixtures: a stand-in Prolific, and the tap run against it in this process."""

from __future__ import annotations

import io
import json
import os
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tap_prolific_export.tap import TapProlificExport
from tests.postgres import serving
from tests.stand_in import StandIn, World, samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres import Server
    from tests.stand_in import Hosted


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


@dataclass(frozen=True)
class Output:
    """What a run of the tap wrote, as messages."""

    messages: list[dict[str, Any]]

    def of_type(self, type_: str, stream: str | None = None) -> list[dict[str, Any]]:
        return [
            message
            for message in self.messages
            if message["type"] == type_ and stream in {None, message.get("stream")}
        ]

    def rows(self, stream: str) -> list[dict[str, Any]]:
        return [message["record"] for message in self.of_type("RECORD", stream)]

    @property
    def state(self) -> dict[str, Any]:
        """Return what Meltano would keep: the value of the last STATE."""
        states = self.of_type("STATE")
        return states[-1]["value"] if states else {}

    def schema(self, stream: str) -> dict[str, Any]:
        """Return the last SCHEMA of a stream."""
        schema: dict[str, Any] = self.of_type("SCHEMA", stream)[-1]["schema"]
        return schema


class Runner:
    """Runs the tap in this process against the stand-in."""

    def __init__(self, stand_in: StandIn) -> None:
        self.config: dict[str, Any] = {
            "api_token": stand_in.world.token,
            "api_url": stand_in.api_url,
            "poll_interval_seconds": 1,
        }

    def tap(
        self,
        catalog: dict[str, Any] | None = None,
        state: dict[str, Any] | None = None,
        **config: Any,
    ) -> TapProlificExport:
        return TapProlificExport(
            config={**self.config, **config}, catalog=catalog, state=deepcopy(state)
        )

    def sync(
        self,
        catalog: dict[str, Any] | None = None,
        state: dict[str, Any] | None = None,
        **config: Any,
    ) -> Output:
        with redirect_stdout(io.StringIO()) as out:
            self.tap(catalog, state, **config).sync_all()
        return read(out.getvalue())

    def catalog(self, **config: Any) -> dict[str, Any]:
        """Discover."""
        return self.tap(**config).catalog_dict


def read(text: str) -> Output:
    return Output([json.loads(line) for line in text.splitlines()])


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL, in which each test makes a database of its own."""
    with serving() as running:
        yield running


@pytest.fixture
def runner(stand_in: StandIn) -> Runner:
    return Runner(stand_in)
