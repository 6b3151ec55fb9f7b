from __future__ import annotations

import time
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from tap_prolific_export.model import DataCollectionRef, Kind
from tap_prolific_export.rows.collection import parse
from tap_prolific_export.rows.labels import AnswerNames
from tap_prolific_export.rows.schema import (
    RESPONSES,
    STREAMS,
    StreamColumns,
    answer_schema,
    answers_schema,
    holds,
    merged,
    widened,
)
from tests.support.questions import options, question

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_prolific_export.rows.schema import JsonSchema


TEXT = {"type": ["string", "null"]}
NUMBER = {"type": ["number", "null"]}
BOOLEAN = {"type": ["boolean", "null"]}
INTEGER = {"type": ["integer", "null"]}
AS_NUMBER = {"validation": {"type": "number", "min": 0}}


def scalar(type_: str) -> JsonSchema:
    return {"type": ["array", "null"], "items": {"type": type_}}


def objects(**properties: JsonSchema) -> JsonSchema:
    return {"type": ["array", "null"], "items": {"type": "object", "properties": properties}}


def amount(value: JsonSchema) -> JsonSchema:
    return {"type": ["object", "null"], "properties": {"value": value, "unit": TEXT}}


FILES = objects(path=TEXT, file_name=TEXT, content_type=TEXT, size_bytes=INTEGER)
ONE = {"type": "multiple_choice", "answer_limit": 1}
MANY = {"type": "multiple_choice", "answer_limit": -1}
EXPLAINED = {"type": "multiple_choice_with_free_text", "answer_limit": 1}
AMOUNT = {"type": "free_text_with_unit"}

GOLDENS: dict[str, tuple[dict[str, Any], JsonSchema]] = {
    "free-text": ({"type": "free_text"}, TEXT),
    "free-text-as-text": ({"type": "free_text", "validation": {"type": "string"}}, TEXT),
    "free-text-as-number": ({"type": "free_text", **AS_NUMBER}, NUMBER),
    "free-text-odd-validation": ({"type": "free_text", "validation": ["number"]}, TEXT),
    "one-of-texts": ({**ONE, "options": options(["1", "2"])}, TEXT),
    "one-of-numbers": ({**ONE, "options": options([1, 2.5])}, NUMBER),
    "one-of-booleans": ({**ONE, "options": options([True, False])}, BOOLEAN),
    "one-of-mixed": ({**ONE, "options": options(["1", 2])}, TEXT),
    "one-of-booleans-and-numbers": ({**ONE, "options": options([True, 1])}, TEXT),
    "one-of-nulls": ({**ONE, "options": options([None])}, TEXT),
    "one-of-unknown": (ONE, TEXT),
    "one-of-wrong-type": ({**ONE, "options": {"value": 1}}, TEXT),
    "many-texts": ({**MANY, "options": options(["1", "2"])}, scalar("string")),
    "many-numbers": ({**MANY, "options": options([1, 2])}, scalar("number")),
    "many-booleans": ({**MANY, "options": options([True])}, scalar("boolean")),
    "many-mixed": ({**MANY, "options": options([True, "x"])}, scalar("string")),
    "up-to-two": ({**MANY, "answer_limit": 2, "options": options([1])}, scalar("number")),
    "limit-not-told": ({"type": "multiple_choice", "options": options([1])}, scalar("number")),
    "explained": (EXPLAINED, objects(value=TEXT, explanation=TEXT)),
    "explained-numbers": (
        {**EXPLAINED, "options": options([1, -1])},
        objects(value=NUMBER, explanation=TEXT),
    ),
    "unit": ({**AMOUNT, "unit_options": [{"value": "g", **AS_NUMBER}]}, amount(NUMBER)),
    "unit-not-all-numbers": (
        {**AMOUNT, "unit_options": [{"value": "g", **AS_NUMBER}, {"value": "cups"}]},
        amount(TEXT),
    ),
    "unit-not-told": (AMOUNT, amount(TEXT)),
    "upload": ({"type": "file_upload"}, FILES),
    "narration": ({"type": "video_narration"}, FILES),
    "stars": ({"type": "star_rating", "max_stars": 5}, INTEGER),
    "type-unheard-of": ({"type": "drawing"}, TEXT),
    "type-not-told": ({}, TEXT),
}


@pytest.mark.parametrize(("fields", "expected"), GOLDENS.values(), ids=GOLDENS)
def test_an_instruction_has_the_property_that_the_design_gives_it(
    fields: dict[str, Any], expected: JsonSchema
) -> None:
    found = answer_schema(question(**fields, description="How was it?"))
    assert found == {**expected, "title": "How was it?"}
    Draft7Validator.check_schema(found)
    assert answer_schema(question(**fields)) == expected


def test_every_question_of_every_data_collection_is_a_property() -> None:
    diary, captions = (
        parse(DataCollectionRef(Kind.COLLECTION, name), {"instructions": items})
        for name, items in {
            "diary": [{"id": "a", "type": "star_rating"}, {"id": "b"}],
            "captions": [{"id": "c", "type": "file_upload", "description": "Show us."}],
        }.items()
    )
    assert answers_schema([diary, captions], AnswerNames("instruction_id")) == {
        "a": INTEGER,
        "b": TEXT,
        "c": {**FILES, "title": "Show us."},
    }
    assert [name[:-9] for name in answers_schema([captions, diary], AnswerNames("label"))] == [
        "show_us",
        "question",
        "question",
    ]


TITLES: dict[str, tuple[str, str | None]] = {
    "plain": ("What did you have?", "What did you have?"),
    "markup": ('<p class="a">What <b>did</b> you<br>have?</p>', "What did you have?"),
    "in-an-attribute": ("""<a title="x>y" href='>'>Look</a> here""", "Look here"),
    "comment": ("<!-- draft -->Why?", "Why?"),
    "entities": ("Fish &amp;&nbsp;chips: 2 &lt; 3&hellip;", "Fish & chips: 2 < 3…"),
    "escaped-markup-is-text": ("What does &lt;b&gt; do?", "What does <b> do?"),
    "less-and-greater-are-no-markup": ("Is x<y and y>z, 1 < 2 or <3?",) * 2,
    "white-space": ("  A\n\n line\t", "A line"),
    "nothing-but-markup": ("<p>&nbsp;</p>", None),
}


@pytest.mark.parametrize(("description", "title"), TITLES.values(), ids=TITLES)
def test_a_title_is_the_text_of_the_question(description: str, title: str | None) -> None:
    assert answer_schema(question(description=description)).get("title") == title


@pytest.mark.parametrize("text", ['<p "', "<p ", "<p 'x\"", '<p"a"', "<!--", "&lt", "<"], ids=str)
def test_looking_for_markup_takes_no_longer_than_the_text_is_long(text: str) -> None:
    """Quadratic time would be minutes."""
    description = text * (1_000_000 // len(text))
    begin = time.process_time()
    answer_schema(question(description=description))
    assert time.process_time() - begin < 20


@pytest.mark.parametrize(
    ("older", "newer", "expected"),
    [
        ({}, {"a": TEXT}, {"a": TEXT}),
        ({"a": TEXT}, {}, {"a": TEXT}),
        ({"a": TEXT}, {"b": NUMBER}, {"a": TEXT, "b": NUMBER}),
        ({"a": TEXT}, {"a": NUMBER}, {"a": NUMBER}),
        ({"a": {**TEXT, "title": "Old"}}, {"a": TEXT}, {"a": {**TEXT, "title": "Old"}}),
        (
            {"a": {**TEXT, "x-mine": 1, "title": "Old"}},
            {"a": {**TEXT, "title": "New"}},
            {"a": {**TEXT, "x-mine": 1, "title": "New"}},
        ),
        (
            {"a": {"properties": {"b": {"properties": {"c": TEXT}}}}},
            {"a": {"properties": {"b": {"properties": {"d": NUMBER}}, "e": TEXT}}},
            {"a": {"properties": {"b": {"properties": {"c": TEXT, "d": NUMBER}}, "e": TEXT}}},
        ),
        (
            {"a": objects(path=TEXT, sha256=TEXT)},
            {"a": objects(path=TEXT, uri=NUMBER)},
            {"a": objects(path=TEXT, sha256=TEXT, uri=NUMBER)},
        ),
        ({"a": scalar("string")}, {"a": scalar("number")}, {"a": scalar("number")}),
    ],
    ids=[
        *("all-new", "none-new", "beside", "newer-type", "older-title", "more-said", "nested"),
        *("items", "items-of-newer-type"),
    ],
)
def test_a_schema_grows(older: JsonSchema, newer: JsonSchema, expected: JsonSchema) -> None:
    assert merged(older, newer) == expected


TYPES_OF_ONE_QUESTION: dict[str, tuple[JsonSchema, JsonSchema, JsonSchema]] = {
    "same": (NUMBER, NUMBER, NUMBER),
    "number-and-text": (NUMBER, TEXT, TEXT),
    "boolean-and-number": (BOOLEAN, NUMBER, TEXT),
    "one-and-several": (TEXT, scalar("string"), TEXT),
    "numbers-and-texts": (scalar("number"), scalar("string"), TEXT),
    "with-and-without-unit": (NUMBER, amount(NUMBER), TEXT),
    "units-of-two-types": (amount(NUMBER), amount(TEXT), TEXT),
    "choices-and-uploads": (objects(value=TEXT, explanation=TEXT), FILES, TEXT),
    "stars-and-number": (INTEGER, NUMBER, NUMBER),
    "never-null": ({"type": "string"}, TEXT, TEXT),
}


@pytest.mark.parametrize("turned", [False, True], ids=["", "turned"])
@pytest.mark.parametrize(("one", "other", "both"), TYPES_OF_ONE_QUESTION.values())
def test_a_question_with_two_types_has_a_wider_one(
    one: JsonSchema, other: JsonSchema, both: JsonSchema, *, turned: bool
) -> None:
    older, newer = (other, one) if turned else (one, other)
    found = widened({"q": {**older, "title": "Old"}}, {"q": {**newer, "title": "New"}})
    assert found == {"q": {**both, "title": "New"}}


def test_what_a_catalog_says_more_of_a_widened_property_stays() -> None:
    assert widened({"q": {**NUMBER, "x-mine": 1}}, {"q": TEXT}) == {"q": {**TEXT, "x-mine": 1}}


def test_one_question_of_two_data_collections_is_one_property() -> None:
    fields: list[dict[str, Any]] = [{"type": "free_text", **AS_NUMBER}, {"type": "x"}]
    ref = DataCollectionRef(Kind.COLLECTION, "c")
    made = [parse(ref, {"instructions": [{"id": "q", **each}]}) for each in fields]
    for collections in (made, made[::-1], [*made, made[0]]):
        assert answers_schema(collections, AnswerNames("instruction_id")) == {"q": TEXT}


names = st.sampled_from("abc")
goldens = st.sampled_from([expected for _, expected in GOLDENS.values()])
typed = st.dictionaries(names, goldens)


@given(st.lists(typed, max_size=4))
def test_a_wider_property_holds_all_that_it_was_made_of(given_: list[JsonSchema]) -> None:
    found: JsonSchema = {}
    turned: JsonSchema = {}
    for each in given_:
        found = widened(found, each)
    for each in given_[::-1]:
        turned = widened(turned, each)
    assert found == turned
    for each in given_:
        assert all(holds(found[name], schema) for name, schema in each.items())
        assert widened(found, each) == found
    for schema in found.values():
        assert schema in [expected for _, expected in GOLDENS.values()]


schemas: st.SearchStrategy[JsonSchema] = st.recursive(
    st.sampled_from([TEXT, NUMBER, INTEGER]),
    lambda inner: (
        st.fixed_dictionaries({"properties": st.dictionaries(names, inner)})
        | st.fixed_dictionaries({"items": inner})
    ),
)
properties = st.dictionaries(names, schemas)


def paths(schema: JsonSchema, above: str = "") -> Iterator[str]:
    for name, inner in schema.items():
        yield f"{above}/{name}"
        yield from paths(inner.get("properties", {}), f"{above}/{name}")
        if "items" in inner:
            yield from paths({"[]": inner["items"]}, f"{above}/{name}")


@given(properties, properties)
def test_growing_drops_nothing_and_changes_neither(older: JsonSchema, newer: JsonSchema) -> None:
    before = deepcopy((older, newer))
    grown = merged(older, newer)
    assert {*paths(grown)} == {*paths(older), *paths(newer)}
    assert merged(grown, newer) == grown
    assert (older, newer) == before


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_a_stream_has_a_schema_that_targets_take(stream: StreamColumns) -> None:
    schema = stream.json_schema()
    Draft7Validator.check_schema(schema)
    never_null = {*stream.key, "exported_at"}
    assert never_null == {
        name for name, inner in schema["properties"].items() if "null" not in inner["type"]
    }
    assert never_null == {*schema["required"]}
    assert {"data_collection_id", "export_id", "exported_at"} <= schema["properties"].keys()
    assert [*schema["properties"]] == [column.name for column in stream.columns]
    for name, inner in schema["properties"].items():
        assert len(name.encode()) < 64
        assert len({*inner["type"]} - {"null"}) == 1, "unions of types break targets"


def containers(node: Any) -> Iterator[int]:
    """Yield the identity of every object and list of a schema."""
    if isinstance(node, (dict, list)):
        yield id(node)
        for value in node.values() if isinstance(node, dict) else node:
            yield from containers(value)


@pytest.mark.parametrize("of", ["stream", "upload"])
def test_a_schema_is_its_callers_own(of: str) -> None:
    upload = question(type="file_upload")
    made = [RESPONSES.json_schema() if of == "stream" else answer_schema(upload) for _ in "ab"]
    assert not {*containers(made[0])} & {*containers(made[1])}
