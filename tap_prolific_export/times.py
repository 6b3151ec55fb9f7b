"""Reading times, in the forms in which they come; pure."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

import msgspec


def parse_timestamp(text: object) -> datetime | None:
    """Return an ISO 8601 date or time in UTC, which is meant where it names no zone.

    Returns:
        None for what is no timestamp.
    """
    if not isinstance(text, str):
        return None
    text = text.strip()
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        text += "T00:00:00Z"
    # Seconds may be left out in ISO 8601, and people do.
    text = re.sub(r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d)(?!:)", r"\1:00", text, flags=re.ASCII)
    try:
        moment = msgspec.convert(text, datetime)
        # An offset can carry a time out of the years that a datetime holds.
        return _aware(moment).astimezone(timezone.utc)
    except (msgspec.ValidationError, OverflowError, UnicodeEncodeError):
        return None


def http_date(text: str | None) -> datetime | None:
    """Return an HTTP date as an aware datetime, None for what is none."""
    try:
        return _aware(parsedate_to_datetime(text)) if text else None
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


def utc_now() -> datetime:
    """Return the present time."""
    return datetime.now(timezone.utc)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
