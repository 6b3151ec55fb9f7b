"""Responses that share an id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tap_prolific_export.rows.deduplicate import SeenIds, distinct, hash_of
from tap_prolific_export.rows.responses import Response, content_hash, responses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def said(id_: str, value: Any) -> Response:
    [response] = responses({"submission_id": id_, "responses": {"q": value}})
    return response


def in_blocks(given_: Sequence[Response], size: int = 3) -> Callable[[], list[list[Response]]]:
    """Return a reading of responses, in blocks of so many."""
    return lambda: [[*given_[begin : begin + size]] for begin in range(0, len(given_), size)]


def yielded(
    given_: Sequence[Response],
    wants: Callable[[Response], bool] | None = None,
    size: int = 3,
) -> list[Response]:
    """Return all that is yielded, whatever the blocks."""
    return [each for block in distinct(in_blocks(given_, size), wants) for each in block]


def kept(given_: list[Response], size: int = 3) -> dict[str, Response]:
    """Return what a target that upserts holds in the end."""
    return {r.id: replace(r, id="", again=False) for r in yielded(given_, size=size)}


small = st.lists(st.builds(said, st.sampled_from("abc"), st.integers(0, 3)), max_size=12)
IDS = ["a", "a:2", "a:2:2", "a:3"]
alike = st.lists(st.builds(said, st.sampled_from(IDS), st.integers(0, 3)), max_size=12)


@given(small | alike)
def test_every_different_response_is_kept_once(given_: list[Response]) -> None:
    contents = {(r.submission_id, r.answers["q"]) for r in given_}
    found = kept(given_).values()
    assert sorted((r.submission_id, r.answers["q"]) for r in found) == sorted(contents)


@given(small | alike, st.randoms(use_true_random=False))
def test_ids_do_not_depend_on_the_order_of_the_lines(given_: list[Response], random: Any) -> None:
    shuffled = random.sample(given_, len(given_))
    assert kept(shuffled) == kept(given_)


@given(small | alike, st.integers(2, 20))
def test_what_is_kept_does_not_depend_on_the_blocks(given_: list[Response], size: int) -> None:
    assert kept(given_, size) == kept(given_, 1)


@given(small, st.integers(0, 4), st.integers(1, 5))
def test_no_block_is_empty(given_: list[Response], wanted: int, size: int) -> None:
    def wants(response: Response) -> bool:
        return bool(response.answers["q"] == wanted)

    for chosen in (None, wants):
        assert all(distinct(in_blocks(given_, size), chosen))


@given(small)
def test_ids_are_numbered_without_a_gap(given_: list[Response]) -> None:
    found = kept(given_)
    for id_ in {r.id for r in given_}:
        variants = len({r.answers["q"] for r in given_ if r.id == id_})
        assert [f"{id_}:{n}" in found for n in range(2, variants + 2)] == [True] * (
            variants - 1
        ) + [False]


@given(small)
def test_what_is_yielded_anew_is_marked(given_: list[Response]) -> None:
    found = yielded(given_)
    assert len({r.id for r in found}) == sum(not r.again for r in found)


@given(small, st.integers(0, 4))
def test_if_one_of_an_id_is_wanted_all_are(given_: list[Response], wanted: int) -> None:
    def wants(response: Response) -> bool:
        return bool(response.answers["q"] == wanted)

    groups = {r.id for r in given_ if wants(r)}
    found = {r.id: replace(r, again=False) for r in yielded(given_, wants)}
    everything = {r.id: replace(r, again=False) for r in yielded(given_)}
    assert found == {i: r for i, r in everything.items() if r.submission_id in groups}


def test_identical_responses_are_yielded_once() -> None:
    for size in (1, 2, 3):
        found = yielded([said("a", 1), said("b", 1), said("a", 1)], size=size)
        assert found == [said("a", 1), said("b", 1)]


def test_without_shared_ids_the_responses_are_read_once() -> None:
    readings = 0

    def read() -> list[list[Response]]:
        nonlocal readings
        readings += 1
        return [[said(str(n), 1)] for n in range(5)]

    assert len(list(distinct(read))) == 5
    assert readings == 1


@given(small)
def test_two_ids_of_one_hash_lose_nothing(given_: list[Response]) -> None:
    class Colliding(SeenIds):
        """Takes every id for the same."""

        def add_all(self, ids: Sequence[str], left: float = 0) -> list[int]:
            return super().add_all(["same" for _ in ids], left)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tap_prolific_export.rows.deduplicate.SeenIds", Colliding)
        patch.setattr("tap_prolific_export.rows.deduplicate.hash_of", lambda _: 1)
        found = kept(given_)
    assert found == kept(given_)


@given(st.lists(st.text(max_size=3)))
def test_an_id_is_seen_from_its_second_time_on(ids: list[str]) -> None:
    seen = SeenIds()
    for place, id_ in enumerate(ids):
        assert (id_ in seen) == (id_ in ids[:place])
        assert seen.add_all([id_]) == ([0] if id_ in ids[:place] else [])


@given(st.lists(st.lists(st.text(max_size=2))), st.floats(0, 10_000))
def test_several_at_once_are_seen_as_one_by_one(several: list[list[str]], left: float) -> None:
    together, alone = SeenIds(), SeenIds()
    for ids in several:
        again = [place for place, id_ in enumerate(ids) if alone.add_all([id_])]
        assert together.add_all(ids, left) == again


def test_for_what_is_only_foretold_there_is_no_more_room_than_for_eight_times_as_many() -> None:
    seen = SeenIds()
    before = len(seen._table)
    seen.add_all([f"id-{n}" for n in range(before)], 10**15)
    assert before < len(seen._table) <= 8 * before


@pytest.mark.parametrize("count", [10_000, 66_000, 100_000, 395_000])
def test_what_is_foretold_has_room_without_a_last_growth(count: int) -> None:
    seen = SeenIds()
    sizes = []
    for begin in range(0, count, 500):
        end = begin + 500
        seen.add_all([f"id-{n}" for n in range(begin, end)], (count - end) / end)
        sizes.append(len(seen._table))
    # While it grows, there are two.
    before = max((size for size in sizes if size < sizes[-1]), default=0)
    assert (sizes[-1] + before) * seen._table.itemsize <= 16 * count


def test_a_hundred_thousand_ids_are_told_apart_in_16_bytes_each() -> None:
    seen = SeenIds()
    assert not any(seen.add_all([f"id-{n}"]) for n in range(100_000))
    assert all(seen.add_all([f"id-{n}"]) for n in range(100_000))
    assert len(seen._table) * seen._table.itemsize <= 16 * 100_000


def test_no_hash_is_the_mark_of_an_empty_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tap_prolific_export.rows.deduplicate.hash", lambda _: 0, raising=False)
    assert hash_of("any") != 0


def test_the_hashes_of_earlier_releases_stay() -> None:
    """They decide which of several responses with one id keeps it, in every run."""
    line = {"submission_id": "s", "study_id": "x", "submitted_at": "2026-01-02T03:04:05Z"}
    [response] = responses({**line, "responses": {"q": {"value": "a"}}, "x": 1})
    assert content_hash(response).hex().startswith("0740c8642cf5a3e48c7e55f25fd14399")
