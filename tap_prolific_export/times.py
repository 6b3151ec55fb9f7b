"""Parse and format times; pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import msgspec

_encode = msgspec.json.Encoder().encode


def parse_timestamp(text: object) -> datetime | None:
    """Return an ISO 8601 date or time in UTC, or None for anything else. No zone means UTC."""
    if not isinstance(text, str):
        return None
    try:
        try:
            moment = msgspec.convert(text, datetime)
        except msgspec.ValidationError:
            moment = msgspec.convert(_completed(text), datetime)
        # The offset can push a time out of the range of datetime (OverflowError).
        return moment if moment.tzinfo is timezone.utc else aware(moment).astimezone(timezone.utc)
    except (msgspec.ValidationError, OverflowError, UnicodeEncodeError):
        return None


def _completed(text: str) -> str:
    """Return a time with what ISO 8601 lets one leave out, but msgspec does not."""
    text = text.strip()
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        text += "T00:00:00Z"
    return re.sub(r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d)(?!:)", r"\1:00", text, flags=re.ASCII)


def utc_now() -> datetime:
    """Return the current time."""
    return datetime.now(timezone.utc)


def earlier(moment: datetime, seconds: float) -> datetime | None:
    """Return the time so many seconds before; None before the year 1."""
    try:
        return moment - timedelta(seconds=seconds)
    except OverflowError:
        return None


def aware(moment: datetime) -> datetime:
    """Return the time with a time zone: its own, else UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def utc_isoformat(moment: datetime) -> str:
    """Return `datetime.isoformat` of a time in UTC, in a third of its time."""
    return f"{_encode(moment)[1:-2].decode()}+00:00"


def utc_text(moment: datetime) -> str:
    """Format a UTC time for logs and errors, as in ``2026-11-29 02:06:00 UTC``."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
