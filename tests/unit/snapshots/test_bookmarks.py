"""What the state says of an archive, and from when on responses may be new."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_prolific_export.snapshots.bookmarks import MAX_ETAG, Bookmark, Identity, since

NOON = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=timezone.utc)
HEX = st.text("0123456789abcdef", min_size=8, max_size=8)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Identity("j", "e"), Identity("j", "e"), True),
        (Identity("j", "e"), Identity("j", None), True),
        (Identity("j", None), Identity("j", "e"), True),
        (Identity("j", "e"), Identity("k", "e"), True),
        (Identity("j", "e"), Identity(None, "e"), True),
        (Identity("j", "e"), Identity("k", "f"), False),
        (Identity("j", None), Identity("k", None), False),
        (Identity(None, None), Identity(None, None), False),
        (Identity("x", None), Identity(None, "x"), False),
    ],
    ids=str,
)
def test_an_archive_is_known_by_its_job_or_its_content(
    one: Identity,
    other: Identity,
    same: bool,  # noqa: FBT001
) -> None:
    assert one.same_archive(other) is same
    assert other.same_archive(one) is same


@pytest.mark.parametrize(
    ("header", "kept"),
    [('"abc"', "abc"), ('W/"abc"', "W/abc"), ('""', None), (None, None), ("abc-12", "abc-12")],
)
def test_an_etag_is_kept_without_quotes(header: str | None, kept: str | None) -> None:
    assert Identity.of(None, header).etag == kept


def test_a_long_etag_is_kept_as_a_digest() -> None:
    one, other = (Identity.of(None, "x" * MAX_ETAG + end).etag for end in "ab")
    assert one
    assert other
    assert one != other
    assert len(one) <= MAX_ETAG


@given(
    st.none() | st.datetimes(timezones=st.just(timezone.utc)),
    st.builds(Identity, st.none() | st.text(min_size=1), st.none() | st.text(min_size=1)),
    HEX,
    st.none() | HEX,
)
def test_the_state_says_what_it_was_told(
    exported_at: datetime | None, archive: Identity, fingerprint: str, content: str | None
) -> None:
    bookmark = Bookmark(exported_at, archive, fingerprint, content)
    assert Bookmark.from_state(json.loads(json.dumps(bookmark.as_state()))) == bookmark


def mark(moment: datetime | None) -> Bookmark:
    return Bookmark(moment, fingerprint="f")


@pytest.mark.parametrize(
    ("bookmarks", "lookback", "expected"),
    [
        ([], 0, None),
        ([None], 0, None),
        ([mark(NOON)], 0, NOON.replace(microsecond=0)),
        ([mark(NOON)], 60, NOON.replace(microsecond=0) - timedelta(minutes=1)),
        ([mark(NOON), mark(NOON - timedelta(1))], 0, NOON.replace(microsecond=0) - timedelta(1)),
        ([mark(NOON), None], 0, None),
        ([mark(NOON), mark(None)], 0, None),
        ([mark(NOON)], 10**11, None),
        ([mark(NOON)], 10**30, None),
    ],
    ids=str,
)
def test_responses_may_be_new_from_the_earliest_bookmark_on(
    bookmarks: list[Bookmark | None], lookback: int, expected: datetime | None
) -> None:
    assert since(bookmarks, lookback) == expected
