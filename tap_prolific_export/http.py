"""Trying again: how often, after what wait, and how calmly that is said."""

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

# The vendor's advice on a busy API is to wait 1, 2, 4, 8 s; five tries are four such waits.
MAX_TRIES = 5
MAX_WAIT_SECONDS = 60.0
ADVICE = "Run again later; status.prolific.com tells of outages."


class RetryPolicy:
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
        self.reset()

    def reset(self) -> None:
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


def retry(call: Callable[[], _T], policy: RetryPolicy) -> _T:
    """Call until it succeeds, fails for good, or has been tried often enough.

    Raises:
        DataCollectionError: It has been tried often enough.
    """
    while True:
        try:
            return call()
        except TryAgainError as error:
            policy.wait(error)


RETRIED_STATUSES = frozenset({408, 425, 429})


class TokenAuth(requests.auth.AuthBase):
    """``Authorization: Token ...``; being explicit, it keeps requests from reading .netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        request.headers["Authorization"] = f"Token {self._token}"
        return request


class NoAuth(requests.auth.AuthBase):
    """No authorization, explicitly: keeps requests from sending a .netrc entry's."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Leave the request as it is."""
        return request


def user_agent() -> str:
    """Return the User-Agent of every request."""
    try:
        return f"tap-prolific-export/{version('tap-prolific-export')}"
    except PackageNotFoundError:
        return "tap-prolific-export"


def new_session(auth: AuthBase) -> requests.Session:
    """Return an HTTP session whose authentication is `auth` and nothing else.

    Proxies and CA settings still come from the environment.
    """
    session = requests.Session()
    session.auth = auth
    session.headers["User-Agent"] = user_agent()
    return session


def http_date(text: str | None) -> datetime | None:
    """Return an HTTP date as an aware datetime, None for what is none."""
    try:
        return aware(parsedate_to_datetime(text)) if text else None
    except (TypeError, ValueError, OverflowError):
        return None


def retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, in either of its forms."""
    if not text:
        return None
    digits = text.strip()
    if digits.isascii() and digits.isdecimal():
        return float(digits.lstrip("0")[:9] or 0)
    moment = http_date(text)
    return max(0.0, (moment - now).total_seconds()) if moment else None
