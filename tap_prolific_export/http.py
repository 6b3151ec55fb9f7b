"""HTTP sessions, and retries with exponential backoff."""

from __future__ import annotations

import logging
import math
import threading
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, TypeVar

import backoff
import requests

from tap_prolific_export.errors import DataCollectionError, TryAgainError
from tap_prolific_export.times import aware

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    Sleep = Callable[[float], None]

_T = TypeVar("_T")

logger = logging.getLogger("tap-prolific-export")

# Prolific advises waiting 1, 2, 4, 8 s when the API is busy: four waits between five tries.
MAX_TRIES = 5
# A host that answers, but is busy, is tried for at least this long: limits are often per minute.
BUSY_SECONDS = 120.0
# The longest wait between two tries, unless the host asks for a longer one.
MAX_WAIT_SECONDS = 30.0
RETRIED_STATUSES = frozenset({408, 425, 429})
ADVICE = "Run again later; status.prolific.com reports outages."


def is_busy(status: int) -> bool:
    """Whether a status means that the same request may succeed later."""
    return status in RETRIED_STATUSES or status >= requests.codes.server_error


class Cooldown:
    """The pause that a busy host needs. All who send requests to the host share it.

    While one of them waits, the others wait, too, and do not run into the same limit one by one.

    Args:
        sleep: Waits the given number of seconds.
        monotonic: Seconds on a clock that never jumps.
        max_retry_after: Maximum number of seconds to wait because the host asks for it.
    """

    def __init__(
        self,
        sleep: Sleep,
        monotonic: Callable[[], float] = time.monotonic,
        max_retry_after: float = BUSY_SECONDS,
    ) -> None:
        self.max_retry_after = max_retry_after
        self._sleep = sleep
        self._monotonic = monotonic
        self._not_before = -math.inf
        self._total = 0.0
        self._lock = threading.Lock()

    @property
    def remaining(self) -> float:
        """How many more seconds to wait for a host that has been busy ever since we waited."""
        return max(BUSY_SECONDS, self.max_retry_after) - self._total

    def extend(self, seconds: float) -> float:
        """Let nobody send a request for some time; return when it ends, unless prolonged."""
        with self._lock:
            now = self._monotonic()
            begin, until = max(now, self._not_before), now + seconds
            if until > begin:
                self._total += until - begin
                self._not_before = until
            return until

    def sleep(self, seconds: float) -> None:
        """Wait, and let all others wait meanwhile."""
        until = self.extend(seconds)
        self._sleep(seconds)
        self._end(until)

    def wait_for_others(self, subject: object) -> None:
        """Wait as long as somebody else was told to.

        Args:
            subject: The data collection, for the log.
        """
        until = self._not_before
        seconds = until - self._monotonic()
        if seconds > 0:
            logger.info("%s: waiting %.1f s, as the host is busy.", subject, seconds)
            self._sleep(seconds)
        self._end(until)

    def answered(self) -> None:
        """Record that the host has answered a request and is not busy."""
        with self._lock:
            self._total = 0.0

    def _end(self, until: float) -> None:
        with self._lock:
            if self._not_before <= until:
                self._not_before = -math.inf


class RetryPolicy:
    """Limits how often and how long an action is retried in a row without progress.

    What gets no answer, or an incomplete one, is tried `MAX_TRIES` times. A host that answers that
    it is busy is tried for at least `BUSY_SECONDS`.

    Args:
        sleep: Waits the given number of seconds.
        subject: The data collection, for logs and errors.
        action: What is tried, as an infinitive that follows "tried to".
        advice: What the user can do when all tries have failed.
        cooldown: The host's; None if nobody else sends requests to it.

    Attributes:
        tries: Number of failed tries since the last progress.
    """

    def __init__(
        self,
        sleep: Sleep,
        subject: object,
        action: str,
        advice: str = ADVICE,
        cooldown: Cooldown | None = None,
    ) -> None:
        self._sleep = sleep
        self._subject = subject
        self._action = action
        self._advice = advice
        self._cooldown = cooldown or Cooldown(sleep)
        self.reset()

    def reset(self) -> None:
        """Reset the counts after progress."""
        self.tries = 0
        self._tries_without_answer = 0
        self._waited = 0.0
        self._waits = backoff.expo(base=2, factor=1, max_value=MAX_WAIT_SECONDS)
        self._waits.send(None)

    def wait(self, error: TryAgainError) -> None:
        """Wait before the next try, as long as the server asks if it does.

        Raises:
            DataCollectionError: This was the last try.
        """
        self.tries += 1
        self._tries_without_answer += error.status is None
        wait = self._next_wait(error)
        over = f" over {self._waited:.0f} s" if error.status is not None else ""
        if self._is_last(error):
            if error.status is not None:
                self._cooldown.extend(wait)  # others should not fail like this one
            raise DataCollectionError(
                str(self._subject),
                f"Tried to {self._action}, {self.tries} times{over}; {error}",
                self._advice,
            ) from None
        logger.info(
            "%s: tried to %s; %s Trying again in %.1f s (try %d%s).%s",
            self._subject,
            self._action,
            error,
            wait,
            self.tries + 1,
            over or f" of {MAX_TRIES}",
            f" The server asks for {error.retry_after:.0f} s, which is more than "
            "export_timeout_seconds allows."
            if error.retry_after is not None and error.retry_after > wait
            else "",
        )
        self._waited += wait
        if error.status is None:
            self._sleep(wait)
        else:
            self._cooldown.sleep(wait)

    def _is_last(self, error: TryAgainError) -> bool:
        if error.status is None:
            return self._tries_without_answer >= MAX_TRIES
        is_long_enough = self.tries >= MAX_TRIES and self._waited >= BUSY_SECONDS
        return is_long_enough or self._cooldown.remaining <= 0

    def _next_wait(self, error: TryAgainError) -> float:
        longest = next(self._waits)
        own = longest / 2 + backoff.full_jitter(longest / 2)
        if error.retry_after is None:
            return own
        allowed = min(self._cooldown.max_retry_after, max(self._cooldown.remaining, own))
        asked = min(error.retry_after, allowed)
        # A host that asks for no wait again and again must not be asked without end.
        return asked if self.tries < MAX_TRIES else max(asked, own)


def retry(call: Callable[[], _T], policy: RetryPolicy) -> _T:
    """Call a function, retrying it while it raises `TryAgainError`.

    Raises:
        DataCollectionError: All tries failed.
    """
    while True:
        try:
            return call()
        except TryAgainError as error:
            policy.wait(error)


def new_session(token: str | None = None) -> requests.Session:
    """Return an HTTP session that sends the API's token; without one, no credentials at all.

    Proxies and CA settings still come from the environment.
    """

    def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
        if token:
            request.headers["Authorization"] = f"Token {token}"
        return request

    session = requests.Session()
    session.auth = authorize  # also without a token: else requests would read .netrc
    agent = "tap-prolific-export"
    with suppress(PackageNotFoundError):  # it runs without having been installed
        agent += f"/{version(agent)}"
    session.headers["User-Agent"] = agent
    return session


def http_date(text: str | None) -> datetime | None:
    """Parse an HTTP date into an aware datetime; None if it is missing or invalid."""
    try:
        return aware(parsedate_to_datetime(text)) if text else None
    except (TypeError, ValueError, OverflowError):
        return None


def retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds to wait from a Retry-After header (a number or a date)."""
    if not text:
        return None
    digits = text.strip()
    if digits.isascii() and digits.isdecimal():
        return float(digits.lstrip("0")[:9] or 0)
    moment = http_date(text)
    return max(0.0, (moment - now).total_seconds()) if moment else None
