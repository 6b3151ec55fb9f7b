"""Times as JSON and HTTP headers have them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_prolific_export.http import http_date, retry_after
from tap_prolific_export.times import parse_timestamp, utc_now

UTC = timezone.utc
NINE = datetime(2026, 1, 31, 9, tzinfo=UTC)
# The example of RFC 9110, 5.6.7, in which all three forms are this one moment.
HTTP_EXAMPLE = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
MINUTES = st.integers(-23 * 60 - 59, 23 * 60 + 59)
ZONES = MINUTES.map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        pytest.param("2026-01-31T09:00:00Z", NINE, id="Z"),
        pytest.param("2026-01-31t09:00:00z", NINE, id="lower case"),
        pytest.param("2026-01-31T10:30:00+01:30", NINE, id="east of Greenwich"),
        pytest.param("2026-01-30T23:00:00-10:00", NINE, id="west, the day before"),
        pytest.param("2026-01-31T11:00:00+0200", NINE, id="offset without a colon"),
        pytest.param("2026-01-31T09:00:00-00:00", NINE, id="offset unknown"),
        pytest.param("2026-01-31T09:00:00", NINE, id="no zone is UTC"),
        pytest.param("2026-01-31T09:00Z", NINE, id="without seconds"),
        pytest.param("2026-01-31 09:00:00", NINE, id="space for T"),
        pytest.param("2026-01-31 09:00:00+00:00", NINE, id="as Python prints it"),
        pytest.param(" 2026-01-31T09:00:00Z\n", NINE, id="white space around"),
        pytest.param("2026-01-31", NINE - timedelta(hours=9), id="a date is its midnight"),
        pytest.param("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC), id="leap day"),
        pytest.param("2026-01-31T09:00:00.5Z", NINE.replace(microsecond=500_000), id="tenths"),
        pytest.param("2026-01-31T09:00:00.000001Z", NINE.replace(microsecond=1), id="micros"),
        pytest.param(
            "2026-01-31T09:00:00.123456789Z", NINE.replace(microsecond=123_457), id="nanos rounded"
        ),
        pytest.param("0001-01-01", datetime(1, 1, 1, tzinfo=UTC), id="first day"),
        pytest.param(
            "9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), id="last second"
        ),
    ],
)
def test_an_iso_time_is_read_as_utc(text: str, moment: datetime) -> None:
    parsed = parse_timestamp(text)
    assert parsed == moment
    assert parsed is not None
    assert parsed.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("yesterday", id="a word"),
        pytest.param("1769850000", id="seconds since 1970 as text"),
        pytest.param("2026", id="year alone"),
        pytest.param("2026-01", id="month alone"),
        pytest.param("09:00:00", id="time alone"),
        pytest.param("2026-02-29", id="no leap year"),
        pytest.param("2026-02-30T09:00:00Z", id="no such day"),
        pytest.param("2026-13-01", id="no such month"),
        pytest.param("2026-01-31T25:00:00Z", id="no such hour"),
        pytest.param("2026-01-31T09:00:00+25:00", id="no such offset"),
        pytest.param("2026-01-31T09:00:00+02", id="offset of hours alone"),
        pytest.param("2026-01-31T24:00:00Z", id="hour 24"),
        pytest.param("2026-06-30T23:59:60Z", id="leap second"),
        pytest.param("2026-01-31T09:00:00,5Z", id="decimal comma"),
        pytest.param("20260131T090000Z", id="basic form"),
        pytest.param("2026-W05-6", id="week date"),
        pytest.param("31/01/2026", id="as written in London"),
        pytest.param("2026-01-31T09:00:00Z and more", id="more after it"),
        pytest.param("२०२६-०१-३१", id="other digits"),
        pytest.param("0000-01-01", id="year 0"),
        pytest.param("10000-01-01", id="year 10000"),
        pytest.param("0001-01-01T00:00:00+00:01", id="before the first day in UTC"),
        pytest.param("9999-12-31T23:59:59-00:01", id="after the last day in UTC"),
        pytest.param("9999-12-31T23:59:59.9999999Z", id="rounded past the last day"),
    ],
)
def test_what_is_no_such_time_is_none(text: str) -> None:
    assert parse_timestamp(text) is None


@pytest.mark.parametrize(
    "value", [None, True, 0, 1769850000, 1769850000.5, [], ["2026-01-31"], {}, b"2026-01-31"]
)
def test_a_value_that_is_no_text_is_no_time(value: object) -> None:
    assert parse_timestamp(value) is None


@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=ZONES),  # noqa: DTZ001
    st.sampled_from("T "),
)
def test_whatever_time_python_writes_is_read_back(moment: datetime, separator: str) -> None:
    assert parse_timestamp(moment.isoformat(separator)) == moment


@given(JSON)
def test_no_json_value_is_too_odd_to_be_looked_at(value: object) -> None:
    parsed = parse_timestamp(value)
    assert parsed is None or parsed.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT", id="IMF-fixdate"),
        pytest.param("Sunday, 06-Nov-94 08:49:37 GMT", id="RFC 850"),
        pytest.param("Sun Nov  6 08:49:37 1994", id="asctime"),
        pytest.param("Sun, 06 Nov 1994 10:49:37 +0200", id="with an offset"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 -0000", id="offset unknown"),
    ],
)
def test_an_http_date_is_read_in_every_form(text: str) -> None:
    moment = http_date(text)
    assert moment == HTTP_EXAMPLE
    assert moment is not None
    assert moment.tzinfo is not None


HUGE = 20 * "9"
NO_HTTP_DATES = [
    pytest.param(None, id="none"),
    pytest.param("", id="empty"),
    pytest.param("soon", id="a word"),
    pytest.param("2026-01-31T09:00:00Z", id="ISO"),
    pytest.param("Sun, 31 Feb 2026 08:49:37 GMT", id="no such day"),
    pytest.param("Sun, 06 Nov 1994 25:00:00 GMT", id="no such hour"),
    pytest.param("Sun, 06 Nov 1994 08:49:37 +9999", id="no such offset"),
    pytest.param(f"Sun, 06 Nov {HUGE} 08:49:37 GMT", id="huge year"),
    pytest.param(f"Sun, 06 Nov 1994 08:49:37 +{HUGE}", id="huge offset"),
]


@pytest.mark.parametrize("text", NO_HTTP_DATES)
def test_what_is_no_http_date_is_none(text: str | None) -> None:
    assert http_date(text) is None


@pytest.mark.parametrize("text", NO_HTTP_DATES)
def test_an_unreadable_retry_after_asks_for_nothing(text: str | None) -> None:
    assert retry_after(text, HTTP_EXAMPLE) is None


@pytest.mark.parametrize("text", ["-5", "5.5", "1e3", "inf", "nan", "+5", "5 s", "²"])
def test_a_retry_after_in_no_whole_seconds_asks_for_nothing(text: str) -> None:
    assert retry_after(text, HTTP_EXAMPLE) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("0", 0, id="at once"),
        pytest.param("120", 120, id="seconds"),
        pytest.param(" 120 ", 120, id="white space around"),
        pytest.param("Sun, 06 Nov 1994 08:50:07 GMT", 30, id="a date to come"),
        pytest.param("Sun, 06 Nov 1994 10:50:07 +0200", 30, id="a date of another zone"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT", 0, id="a date that is now"),
        pytest.param("Sun, 06 Nov 1994 08:49:36 GMT", 0, id="a date gone by"),
        pytest.param("Thu, 01 Jan 1970 00:00:00 GMT", 0, id="a date long gone by"),
        pytest.param(
            "000000000120",
            120,
            id="leading zeros",
        ),
    ],
)
def test_a_retry_after_is_seconds_from_now(text: str, seconds: float) -> None:
    assert retry_after(text, HTTP_EXAMPLE) == seconds


@pytest.mark.parametrize("digits", [40, 400, 5000])  # past a float's whole numbers, a float, an int
def test_an_enormous_retry_after_is_long_and_can_be_computed_with(digits: int) -> None:
    seconds = retry_after(digits * "9", HTTP_EXAMPLE)
    assert seconds is not None
    assert seconds > timedelta(days=365).total_seconds()
    assert timedelta(seconds=seconds) > timedelta(days=365)


def test_the_present_has_a_zone() -> None:
    assert abs(datetime.now(UTC) - utc_now()) < timedelta(minutes=1)
