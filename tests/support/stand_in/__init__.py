"""A stand-in for Prolific: what is known of its export API, as a real HTTP server.

`world` is what it holds and may change while it runs, `archives` how it packs that into ZIPs,
`server` how it is asked for it, `samples` a realistic collection and batch. It imports nothing of
the tap but the contract, which is data: paths, statuses, limits. To try it by hand: ``python -m
tests.support.stand_in --help``.
"""

from __future__ import annotations

from tests.support.stand_in.server import StandIn
from tests.support.stand_in.world import Fault, Hosted, Submission, World

__all__ = ["Fault", "Hosted", "StandIn", "Submission", "World"]
