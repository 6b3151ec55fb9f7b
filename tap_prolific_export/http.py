"""HTTP sessions, and retries with exponential backoff."""

from __future__ import annotations

import logging
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

    from requests.auth import AuthBase

    Sleep = Callable[[float], None]

_T = TypeVar("_T")

logger = logging.getLogger("tap-prolific-export")

# Prolific advises waiting 1, 2, 4, 8 s when the API is busy: four waits between five tries.
MAX_TRIES = 5
MAX_WAIT_SECONDS = 60.0
ADVICE = "Run again later; status.prolific.com reports outages."


class RetryPolicy:
    """Limits how often an action is retried in a row without progress.

    Args:
        sleep: Waits the given number of seconds.
        subject: The data collection, for logs and errors.
        action: What is tried, as an infinitive that follows "tried to".
        advice: What the user can do when all tries have failed.

    Attributes:
        tries: Number of failed tries since the last progress.
    """

    def __init__(self, sleep: Sleep, subject: object, action: str, advice: str = ADVICE) -> None:
        self._sleep = sleep
        self._subject = subject
        self._action = action
        self._advice = advice
        self.reset()

    def reset(self) -> None:
        """Reset the count after progress."""
        self.tries = 0
        self._waits = backoff.expo(base=2, factor=1, max_value=MAX_WAIT_SECONDS)
        self._waits.send(None)

    def wait(self, error: TryAgainError) -> None:
        """Wait before the next try: as long as the server asks, up to `MAX_WAIT_SECONDS`.

        Raises:
            DataCollectionError: This was the last try.
        """
        self.tries += 1
        if self.tries >= MAX_TRIES:
            raise DataCollectionError(
                str(self._subject),
                f"Tried to {self._action}, {self.tries} times; {error}",
                self._advice,
            ) from None
        wait = error.retry_after
        if wait is None:
            wait = backoff.full_jitter(next(self._waits))
        wait = min(wait, MAX_WAIT_SECONDS)
        logger.info(
            "%s: tried to %s; %s Trying again in %.1f s (%d of %d).",
            self._subject,
            self._action,
            error,
            wait,
            self.tries + 1,
            MAX_TRIES,
        )
        self._sleep(wait)


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


RETRIED_STATUSES = frozenset({408, 425, 429})


class TokenAuth(requests.auth.AuthBase):
    """Sends ``Authorization: Token ...``. An explicit auth keeps requests from reading .netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        request.headers["Authorization"] = f"Token {self._token}"
        return request


class NoAuth(requests.auth.AuthBase):
    """Sends no credentials. An explicit auth keeps requests from reading .netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request unchanged."""
        return request


def user_agent() -> str:
    """Return the User-Agent of every request."""
    try:
        return f"tap-prolific-export/{version('tap-prolific-export')}"
    except PackageNotFoundError:
        return "tap-prolific-export"


def new_session(auth: AuthBase) -> requests.Session:
    """Return an HTTP session that authenticates with `auth` only.

    Proxies and CA settings still come from the environment.
    """
    session = requests.Session()
    session.auth = auth
    session.headers["User-Agent"] = user_agent()
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
