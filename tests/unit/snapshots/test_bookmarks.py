"""What the state says of an archive, and from when on responses may be new."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_prolific_export.snapshots.bookmarks import (
    MAX_ETAG,
    Bookmark,
    Bookmarks,
    Identity,
    context_of,
    readable,
    since,
)

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


GOOD = {"context": {"data_collection_id": "d"}, **mark(NOON).as_state()}
NO_OBJECTS: tuple[Any, ...] = (None, "x", 1.5, [], [GOOD])
OWNED = {"context": {"data_collection_id": "d"}, "exports": ["job"]}


@pytest.mark.parametrize(
    ("bookmarks", "found", "unreadable"),
    [
        ({}, {}, []),
        ({"files": {"partitions": [GOOD]}}, {"files": [GOOD]}, []),
        ({"collections": {"partitions": [OWNED]}}, {"collections": [OWNED]}, []),
        *((each, {}, ["all streams"]) for each in NO_OBJECTS),
        *(
            ({"files": each, "tasks": {"partitions": [GOOD]}}, {"tasks": [GOOD]}, ["files"])
            for each in (*NO_OBJECTS, {"partitions": None}, {"partitions": {"0": GOOD}})
        ),
        *(
            ({"files": {"partitions": [each, GOOD]}}, {"files": [GOOD]}, ["files"])
            for each in (*NO_OBJECTS, {}, {"context": None}, {"context": ["d"]})
        ),
        (
            {"files": {"partitions": [GOOD | {"context": {"data_collection_id": [1]}}]}},
            {},
            ["files"],
        ),
        ({"files": {"partitions": [GOOD | {"fingerprint": 5}]}}, {}, ["files"]),
        ({"files": {"partitions": [GOOD | {"replication_key_value": "soon"}]}}, {}, ["files"]),
        ({"files": {"partitions": [GOOD, GOOD]}}, {}, ["files"]),
        ({"sk-MaRkEr": "x"}, {}, ["another stream"]),
    ],
)
def test_of_a_state_is_read_what_can_be(
    bookmarks: Any, found: dict[str, list[dict[str, Any]]], unreadable: list[str]
) -> None:
    kept, told = readable(bookmarks)
    assert told == unreadable
    context = context_of("d")
    read = Bookmarks({"bookmarks": kept})
    for stream in ("collections", "files", "tasks"):
        [expected] = found.get(stream) or [{}]
        assert read.bookmark(stream, context) == Bookmark.from_state(expected)
    assert read.exports(context) == (["job"] if "collections" in found else [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*GOOD, "partitions", "files", "data_collection_id", "exports", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["files", "collections", "x"]), JSON, max_size=3) | JSON)
def test_whatever_a_state_is_it_can_be_gone_on_from(bookmarks: Any) -> None:
    state: dict[str, Any] = {"bookmarks": readable(bookmarks)[0]}
    kept = Bookmarks(state)
    context = context_of("d")
    assert kept.full_exported_at(context) is None
    kept.put("files", context, mark(NOON))
    kept.set_exports(context, ["job"])
    again, told = readable(json.loads(json.dumps(state))["bookmarks"])
    assert Bookmarks({"bookmarks": again}).bookmark("files", context) == mark(NOON)
    assert "all streams" not in told
