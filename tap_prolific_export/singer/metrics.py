"""The SDK's metrics of a run: it counts HTTP requests only for streams that send their own."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from singer_sdk import metrics

if TYPE_CHECKING:
    from singer_sdk.metrics import Counter


class RunMetrics(ExitStack):
    """The metrics of a run, which are logged once a minute and at the end."""

    def __init__(self) -> None:
        super().__init__()
        self._counters: dict[str, Counter] = {}
        self._lock = threading.Lock()

    def count_request(self, endpoint: str) -> None:
        """Count a request; called by any thread."""
        with self._lock:
            counter = self._counters.get(endpoint)
            if counter is None:
                counter = metrics.http_request_counter("collections", endpoint)
                self._counters[endpoint] = self.enter_context(counter)
            counter.increment()
