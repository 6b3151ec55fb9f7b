"""The state: what may be given as one, and STATE messages, no more of them than are useful."""

from __future__ import annotations

import json
import time
from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INTERVAL_SECONDS = 10.0
# A state of no more partitions than this (about 60 KB) may be written at any time.
SMALL = 240


def parse_state(text: str) -> Any:
    """Return the state in a text: a JSON value, or one in each line, of which the last counts.

    A target writes one in each line; before its first one there is an empty file.

    Raises:
        ValueError: It is no JSON.
    """
    text = text.strip()
    if not text:
        return {}
    try:
        state = json.loads(text)
    except ValueError:
        state = json.loads(text.rsplit("\n", 1)[-1])
    return {} if state is None else state


def unwrapped(state: Any) -> Any:
    """Return a state without what others put around it.

    That is the STATE message (``{"type": "STATE", "value": ...}``), what ``meltano state get``
    prints (``{"singer_state": ...}``) and what Meltano stores
    (``{"completed": ..., "partial": ...}``, of which the second is newer).
    """
    while isinstance(state, dict) and "bookmarks" not in state:
        if "singer_state" in state:
            state = state["singer_state"]
        elif "value" in state:
            state = state["value"]
        elif state.keys() & {"completed", "partial"}:
            # A state of this tap is never only a part: the newer one holds all of the older.
            state = unwrapped(state.get("partial")) or state.get("completed")
        else:
            break
    return state


class ThrottledStateWriter:
    """Writes the state at most every `INTERVAL_SECONDS`, and when it is told to.

    Each STATE holds every partition: written after each data collection, the output would grow
    with the square of their number. Writing a state late is safe, writing it early is not.

    Args:
        state: The tap's state, which others change.
        write: Writes a STATE message.
    """

    def __init__(
        self,
        state: Mapping[str, Any],
        write: Callable[[Mapping[str, Any]], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._write = write
        self._monotonic = monotonic
        self._written_at = monotonic()
        self._written: Mapping[str, Any] | None = None

    def checkpoint(self) -> None:
        """Write the state if it changed and the last one is old enough."""
        if self._monotonic() - self._written_at >= INTERVAL_SECONDS:
            self.flush()

    def write_soon(self) -> None:
        """Write a state that must not be lost: now, unless it is so large that it has to wait."""
        streams = self._state.get("bookmarks", {}).values()
        if sum(len(stream.get("partitions") or ()) for stream in streams) <= SMALL:
            self.flush()
        else:
            self.checkpoint()

    def flush(self) -> None:
        """Write the state now, if it changed."""
        if self._state != self._written:
            self.write()
        self._written_at = self._monotonic()

    def write(self) -> None:
        """Write the state now: a run ends with a STATE, however it ends."""
        self._write(self._state)
        self._written = deepcopy(dict(self._state))
        self._written_at = self._monotonic()
