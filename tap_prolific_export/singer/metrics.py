"""The SDK's metric of HTTP requests, which it counts only for streams that send their own."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from singer_sdk import metrics

if TYPE_CHECKING:
    from types import TracebackType

    from singer_sdk.metrics import Counter
    from typing_extensions import Self


class RequestMetrics:
    """Counts requests of all threads by endpoint; logs each count once a minute and at the end.

    Args:
        stream: Whose requests they are said to be.
    """

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._counters: dict[str, Counter] = {}
        self._open = ExitStack()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Log what has been counted."""
        self._counters.clear()
        self._open.close()

    def __call__(self, endpoint: str) -> None:
        """Count a request."""
        with self._lock:
            counter = self._counters.get(endpoint)
            if counter is None:
                counter = metrics.http_request_counter(self._stream, endpoint)
                self._counters[endpoint] = self._open.enter_context(counter)
            counter.increment()
