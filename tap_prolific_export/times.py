"""Reading times, in the forms in which they come; pure."""

from __future__ import annotations

import re
from datetime import datetime, timezone

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
        return aware(moment).astimezone(timezone.utc)
    except (msgspec.ValidationError, OverflowError, UnicodeEncodeError):
        return None


def utc_now() -> datetime:
    """Return the present time."""
    return datetime.now(timezone.utc)


def aware(moment: datetime) -> datetime:
    """Return a time with a zone; UTC is meant where it names none."""
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
