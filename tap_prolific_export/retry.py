"""Trying again: how often, after what wait, and how calmly that is said."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

import backoff

from tap_prolific_export.errors import DataCollectionError, TryAgainError

if TYPE_CHECKING:
    from collections.abc import Callable

    Sleep = Callable[[float], None]

_T = TypeVar("_T")

logger = logging.getLogger("tap-prolific-export")

# The vendor's advice on a busy API is to wait 1, 2, 4, 8 s; five tries are four such waits.
MAX_TRIES = 5
MAX_WAIT_SECONDS = 60.0
ADVICE = "Run again later; status.prolific.com tells of outages."


class Patience:
    """How long one thing is tried: so often in a row without getting anywhere.

    Args:
        sleep: Waits so many seconds.
        what: The data collection, for logs and errors.
        doing: What is tried, as it follows "tried to".
        advice: What to do when it was in vain.

    Attributes:
        tries: How often it has been tried in vain.
    """

    def __init__(self, sleep: Sleep, what: object, doing: str, advice: str = ADVICE) -> None:
        self._sleep = sleep
        self._what = what
        self._doing = doing
        self._advice = advice
        self.begin_anew()

    def begin_anew(self) -> None:
        """Count from one again: something has been got."""
        self.tries = 0
        self._waits = backoff.expo(base=2, factor=1, max_value=MAX_WAIT_SECONDS)
        self._waits.send(None)

    def wait(self, error: TryAgainError) -> None:
        """Wait before the next try; as long as the server asked for, if it did, within reason.

        Raises:
            DataCollectionError: It has been tried often enough.
        """
        self.tries += 1
        if self.tries >= MAX_TRIES:
            raise DataCollectionError(
                str(self._what),
                f"Tried to {self._doing}, {self.tries} times; {error}",
                self._advice,
            ) from None
        wait = error.retry_after
        if wait is None:
            wait = backoff.full_jitter(next(self._waits))
        wait = min(wait, MAX_WAIT_SECONDS)
        logger.info(
            "%s: tried to %s; %s Trying again in %.1f s (%d of %d).",
            self._what,
            self._doing,
            error,
            wait,
            self.tries + 1,
            MAX_TRIES,
        )
        self._sleep(wait)


def persist(call: Callable[[], _T], patience: Patience) -> _T:
    """Call until it succeeds, fails for good, or has been tried often enough.

    Raises:
        DataCollectionError: It has been tried often enough.
    """
    while True:
        try:
            return call()
        except TryAgainError as error:
            patience.wait(error)
