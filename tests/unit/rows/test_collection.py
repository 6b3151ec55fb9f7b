from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tap_prolific_export.model import DataCollectionRef, Kind
from tap_prolific_export.rows.collection import (
    CONTENT_BLOCKS,
    instructions,
    parse,
    with_instructions,
)

if TYPE_CHECKING:
    from tap_prolific_export.rows.collection import Instruction

DIARY = DataCollectionRef(Kind.COLLECTION, "6650d1a2b3c4d5e6f7081920")
Item = dict[str, Any]


def q(id_: Any, **more: Any) -> Item:
    """Return a question as it stands in a layout or a list."""
    return {"id": id_, "type": "free_text", **more}


def page(*items: Any, **more: Any) -> Item:
    return {"id": "page", "page_items": [*items], **more}


def row(*columns: list[Any]) -> Item:
    return {"columns": [{"type": "column", "items": items} for items in columns]}


def places(found: list[Instruction]) -> list[tuple[str, int | None]]:
    return [(instruction.id, instruction.page) for instruction in found]


# A layout, a flat list, and the questions that must come of both, each with its page.
LAYOUTS: dict[str, tuple[Any, Any, list[tuple[str, int | None]]]] = {
    "nothing": (None, None, []),
    "list-only": (None, [q("a"), q("b")], [("a", None), ("b", None)]),
    "list-is-not-sorted": (None, [q("a", order=2), q("b", order=1)], [("a", None), ("b", None)]),
    "list-without-type": (None, [{"id": "a"}], [("a", None)]),
    "pages": ([page(q("a"), q("b")), page(q("c"))], None, [("a", 1), ("b", 1), ("c", 2)]),
    "page-of-its-own-type": ([page(q("a"), type="page")], None, [("a", 1)]),
    "empty-page-counts": ([page(), page(q("a"))], None, [("a", 2)]),
    "rows-of-columns": (
        [{"rows": [row([q("a")], [q("b"), q("c")]), row([q("d")])]}, {"rows": [row([q("e")])]}],
        None,
        [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 2)],
    ),
    "rows-beside-items": (
        [{"items": [q("b")], "rows": [row([q("a")])]}],
        None,
        [("a", 1), ("b", 1)],
    ),
    "pages-in-a-page": ([page(page(q("a")), q("b"))], None, [("a", 1), ("b", 1)]),
    "lists-in-a-list": ([[[q("a")], [[q("b")]]], [q("c")]], None, [("a", 1), ("b", 1), ("c", 2)]),
    "ordered": (
        [page(q("c", order=1), order=2), page(q("b", order=2), q("a", order=1), order=1)],
        None,
        [("a", 1), ("b", 1), ("c", 2)],
    ),
    "ordered-by-number": ([page(q("b", order=10), q("a", order=9.5))], None, [("a", 1), ("b", 1)]),
    "order-not-told-of-all": ([page(q("b", order=2), q("a"))], None, [("b", 1), ("a", 1)]),
    "order-that-is-text": (
        [page(q("b", order="2"), q("a", order="1"))],
        None,
        [("b", 1), ("a", 1)],
    ),
    "same-order": ([page(q("b", order=1), q("a", order=1))], None, [("b", 1), ("a", 1)]),
    "both": (
        [page(q("b")), page(q("a"))],
        [q("a"), q("c"), q("b"), q("d")],
        [("b", 1), ("a", 2), ("c", None), ("d", None)],
    ),
    "twice-in-the-list": (None, [q("a"), q("b"), q("a")], [("a", None), ("b", None)]),
    "content-blocks": (
        [
            page(
                q("x", type="rich_text"), q("a"), q("y", type="image"), q("z", type="dataset_field")
            )
        ],
        [q("x", type="rich_text"), q("a"), q("b")],
        [("a", 1), ("b", None)],
    ),
    "type-unheard-of": ([page(q("a", type="drawing"))], None, [("a", 1)]),
    "item-without-type": ([page({"id": "x"}, q("y", type=None), q("a"))], None, [("a", 1)]),
    "item-without-id": ([page({"type": "free_text"}, q(""), q(7), q("a"))], [q(None)], [("a", 1)]),
    "layout-of-wrong-type": ({"page_items": [q("x")]}, [q("a")], [("a", None)]),
    "pages-of-wrong-type": ([None, "page", 7, page(q("a"))], None, [("a", 4)]),
    "items-of-wrong-type": (
        [{"page_items": {"id": "x"}}, page(None, "x", 7, q("a"))],
        7,
        [("a", 2)],
    ),
    "list-that-is-one-question": (None, q("a"), [("a", None)]),
    "list-of-wrong-types": (None, [None, "x", 7, ["x"], q("a")], [("a", None)]),
}


@pytest.mark.parametrize(("layout", "flat", "expected"), LAYOUTS.values(), ids=LAYOUTS)
def test_every_question_is_found_once_and_in_order(
    layout: Any, flat: Any, expected: list[tuple[str, int | None]]
) -> None:
    found = list(instructions(layout, flat))
    assert places(found) == expected
    assert [instruction.position for instruction in found] == [*range(1, len(found) + 1)]


def test_a_question_is_the_union_of_both_and_the_list_wins() -> None:
    nested = q("a", description="Draft", order=3, shown_as="big")
    listed = q("a", type="star_rating", description="Final", max_stars=7, tags=["x"])
    [found] = instructions([page(nested)], [listed])
    assert (found.id, found.type, found.question) == ("a", "star_rating", "Final")
    assert found.fields == {
        "id": "a",
        "type": "star_rating",
        "description": "Final",
        "order": 3,
        "max_stars": 7,
    }
    assert found.rest == {"shown_as": "big", "tags": ["x"]}


@pytest.mark.parametrize("wrong", [None, "", 7, ["free_text"], {"en": "What?"}], ids=repr)
def test_a_type_or_question_that_is_no_text_is_not_told_but_kept(wrong: Any) -> None:
    [found] = instructions(None, [{"id": "a", "type": wrong, "description": wrong}])
    assert (found.type, found.question) == (None, None)
    assert found.fields == {"id": "a", "type": wrong, "description": wrong}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([{"value": 1}, "x", None, {}], [{"value": 1}, {}]),
        ({"value": 1}, []),
        (None, []),
        ("x", []),
    ],
    ids=["mixed", "object", "null", "text"],
)
def test_only_objects_of_a_list_are_its_objects(options: Any, expected: list[Item]) -> None:
    [found] = instructions(None, [q("a", options=options)])
    assert found.list_of("options") == expected
    assert found.list_of("unit_options") == []


@pytest.mark.parametrize("name", ["collection_items", "batch_items"])
def test_metadata_is_all_but_the_layout_and_the_questions(name: str) -> None:
    layout = [page(q("a"))]
    raw = {"id": "another", "name": "Diary", "extra": [1], name: layout, "instructions": [q("b")]}
    found = parse(DIARY, raw)
    assert found.ref == DIARY
    assert found.metadata == {"id": "another", "name": "Diary", "extra": [1]}
    assert found.layout is layout
    assert places([*found.instructions]) == [("a", 1), ("b", None)]


def test_a_layout_that_is_null_gives_way_to_the_other() -> None:
    found = parse(DIARY, {"collection_items": None, "batch_items": [page(q("a"))]})
    assert places([*found.instructions]) == [("a", 1)]


def test_questions_that_the_api_has_apart_are_added_to_the_layouts() -> None:
    bare = parse(DIARY, {"name": "Diary", "batch_items": [page(q("b"))]})
    grown = with_instructions(bare, [q("a", description="What?"), q("b", description="Why?")])
    assert [(each.id, each.page, each.question) for each in grown.instructions] == [
        ("b", 1, "Why?"),
        ("a", None, "What?"),
    ]
    assert (grown.ref, grown.metadata, grown.layout) == (bare.ref, bare.metadata, bare.layout)


@pytest.mark.parametrize("nothing", [None, [], {}, [{"type": "rich_text"}]], ids=repr)
def test_questions_are_not_forgotten_for_an_empty_list(nothing: Any) -> None:
    known = parse(DIARY, {"instructions": [q("a")]})
    assert with_instructions(known, nothing).instructions == known.instructions


@pytest.mark.parametrize("wrap", [lambda x: [x], page, lambda x: row([x])], ids=["[]", "{}", "row"])
def test_a_layout_may_be_nested_100_000_levels_deep(wrap: Any) -> None:
    node: Any = q("a")
    for _ in range(100_000):
        node = wrap(node)
    assert places([*parse(DIARY, {"batch_items": [node]}).instructions]) == [("a", 1)]


def test_an_order_may_be_past_what_a_float_can_hold() -> None:
    layout = [page(q("b", order=10**400), q("a", order=1))]
    assert places([*instructions(layout, None)]) == [("a", 1), ("b", 1)]


NAMES = ["id", "type", "order", "description", "page_items", "rows", "columns", "items"]
scalars: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.text()
scalars |= st.floats(allow_nan=False, allow_infinity=False)
scalars |= st.sampled_from(["a", "b", "free_text", *sorted(CONTENT_BLOCKS)])
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=5)
        | st.fixed_dictionaries({"id": scalars, "type": scalars}, optional={"items": inner})
    ),
    max_leaves=20,
)


@settings(max_examples=300)
@given(anything, anything)
@example([{"id": "a", "type": "free_text", "rows": []}], [{"id": "a"}])
def test_whatever_comes_there_are_only_questions_each_once(layout: Any, flat: Any) -> None:
    found = list(instructions(layout, flat))
    ids = [instruction.id for instruction in found]
    assert len(set(ids)) == len(ids)
    assert all(isinstance(id_, str) and id_ for id_ in ids)
    assert not {instruction.type for instruction in found} & CONTENT_BLOCKS
    assert [instruction.position for instruction in found] == [*range(1, len(found) + 1)]
    assert all(not (each.fields.keys() & each.rest.keys()) for each in found)


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(["instructions", "batch_items", "name"]), anything))
def test_whatever_the_metadata_is_it_can_be_parsed(raw: dict[str, Any]) -> None:
    found = parse(DIARY, raw)
    assert found.metadata.items() <= raw.items()
    assert {name: raw[name] for name in raw if name == "name"}.items() <= found.metadata.items()
    assert with_instructions(found, raw.get("name")).layout == found.layout


def test_a_null_of_the_list_does_not_hide_what_the_layout_says() -> None:
    layout = [{"page_items": [{"id": "a", "type": "free_text", "order": None}]}]
    [found] = instructions(layout, [{"id": "a", "type": None, "description": None}])
    assert found.type == "free_text"
    assert found.fields == {"id": "a", "type": "free_text", "order": None, "description": None}
