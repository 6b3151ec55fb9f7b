"""A target that upserts, and keeps the state as Meltano does: the last one it was told."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.support.expected import KEYS

Row = dict[str, Any]


class MemoryTarget:
    """Tables of rows by key.

    Attributes:
        tables: Name to rows, by key.
        state: The last STATE.
        loaded: How many RECORDs the last `load` had, by stream.
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[tuple[Any, ...], Row]] = {name: {} for name in KEYS}
        self.state: dict[str, Any] = {}
        self.loaded: Counter[str] = Counter()

    def load(self, output: str) -> None:
        """Take in what a tap wrote; a line that was cut off does not count."""
        self.loaded = Counter()
        for line in output.splitlines(keepends=True):
            if not line.endswith("\n"):
                return
            message = json.loads(line)
            if message["type"] == "RECORD":
                stream, row = message["stream"], message["record"]
                self.loaded[stream] += 1
                self.tables[stream][tuple(row[name] for name in KEYS[stream])] = row
            elif message["type"] == "STATE":
                self.state = message["value"]

    def rows(self, table: str) -> list[Row]:
        return list(self.tables[table].values())
