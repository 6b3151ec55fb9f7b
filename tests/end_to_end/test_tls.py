"""https, with a certificate authority that only the environment knows."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from tap_prolific_export.errors import FatalError
from tests.support.stand_in import StandIn, World, samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.tap import Runner


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def stand_in(authority: trustme.CA) -> Iterator[StandIn]:
    world = World()
    world.host(samples.breakfast_diary(3))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    with StandIn(world, tls=context) as serving:
        yield serving


def test_both_hosts_are_trusted_through_the_environment(
    authority: trustme.CA, runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    out = runner.sync(collection_ids=[samples.DIARY])
    assert len(out.rows("responses")) == 3


def test_a_host_that_nobody_vouches_for_is_not_talked_to(runner: Runner, stand_in: StandIn) -> None:
    with pytest.raises(FatalError, match=r"certificate of https://.* is not trusted.*CA_BUNDLE"):
        runner.sync(collection_ids=[samples.DIARY])
    assert stand_in.world.requests == []
