"""The Singer state: its bookmarks, and STATE messages, no more of them than are of use."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from singer_sdk.helpers._state import StateWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_sdk.helpers.types import TapState
    from singer_sdk.singerlib.encoding.base import GenericSingerWriter

INTERVAL_SECONDS = 10.0
# A state of no more partitions than this, or about 60 KB, may be written at any time.
SMALL = 240


class ThrottledStateWriter(StateWriter):
    """Writes STATE at most every `INTERVAL_SECONDS`, and when it is told to.

    Each STATE holds every partition, and the SDK writes one for every stream of every partition:
    the output would grow with the square of the number of data collections. To write one late is
    safe, to write it early is not.

    Args:
        message_writer: The tap's.
        monotonic: Seconds on a clock that never jumps.
    """

    def __init__(
        self,
        message_writer: GenericSingerWriter[Any, Any],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(message_writer)
        self._monotonic = monotonic
        self._written_at = monotonic()

    def write_state(self, state: TapState) -> None:
        """Write the state if it has changed and the last one is old enough."""
        if self._monotonic() - self._written_at >= INTERVAL_SECONDS:
            self.flush(state)

    def write_soon(self, state: TapState) -> None:
        """Write a state that must not be lost: now, unless it is so large that it has to wait."""
        streams = state.get("bookmarks", {}).values()
        if sum(len(stream.get("partitions") or ()) for stream in streams) <= SMALL:
            self.flush(state)
        else:
            self.write_state(state)

    def flush(self, state: TapState) -> None:
        """Write the state now, if it has changed."""
        super().write_state(state)
        self._written_at = self._monotonic()
