"""The SDK's own tests of a tap, run against the stand-in."""

from __future__ import annotations

from singer_sdk.testing import get_tap_test_class

from tap_prolific_export.tap import TapProlificExport
from tests.support.stand_in import StandIn, World, samples

# The SDK builds the tap when its tests are collected, so the server has to be there by then; it
# ends with the process.
_WORLD = World()
_DIARY = _WORLD.host(samples.breakfast_diary(6))
_CAPTIONS = _WORLD.host(samples.caption_check(3))
_STAND_IN = StandIn(_WORLD).__enter__()

TestTapProlificExport = get_tap_test_class(
    TapProlificExport,
    config={
        "api_token": _WORLD.token,
        "api_url": _STAND_IN.api_url,
        "collection_ids": [_DIARY.id],
        "batch_ids": [_CAPTIONS.id],
    },
)
