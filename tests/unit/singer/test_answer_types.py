"""The types of ``responses.answers``: of one question in two data collections, and of none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft7Validator

from tests.support.stand_in import samples
from tests.support.tap import answer_columns, deselect, ids, schema_of

if TYPE_CHECKING:
    from tests.support.stand_in import Hosted, World
    from tests.support.tap import Output, Runner

NUMBER: dict[str, Any] = {"type": "free_text", "validation": {"type": "number"}}
TEXT: dict[str, Any] = {"type": "free_text"}
MANY: dict[str, Any] = {"type": "multiple_choice", "options": [{"value": "tea"}, {"value": "milk"}]}
STARS: dict[str, Any] = {"type": "star_rating"}
WEIGHT: dict[str, Any] = {"type": "free_text_with_unit"}
# Two types that one question has in two data collections, an answer in each, and what arrives.
COPIED: dict[str, tuple[dict[str, Any], Any, dict[str, Any], Any, dict[str, Any]]] = {
    "number and text": (NUMBER, 7.5, TEXT, "abc", {"a": "7.5", "b": "abc"}),
    "text and number": (TEXT, "7", NUMBER, 7, {"a": "7", "b": "7"}),
    "stars and number": (STARS, 4, NUMBER, 4.5, {"a": 4, "b": 4.5}),
    "several and one": (
        *(MANY, ["tea", "milk"], TEXT, "tea"),
        {"a": '["tea","milk"]', "b": "tea"},
    ),
    "with and without unit": (
        *(WEIGHT, {"unit": "g", "value": "80"}, NUMBER, 80),
        {"a": '{"value":"80","unit":"g"}', "b": "80"},
    ),
}


def with_question(world: World, id_: str, question: dict[str, Any], *answers: Any) -> Hosted:
    """Host a collection of two questions whose ids are the same in all."""
    made = world.host(samples.breakfast_diary(len(answers), id_=id_))
    made.instructions = [
        {"id": "q", "description": f"Well, {id_}?", "order": 0, **question},
        {"id": "other", "order": 1, **TEXT},
    ]
    made.layout = [{"id": "p", "order": 0, "page_items": made.instructions}]
    for submission, answer in zip(made.submissions.values(), answers, strict=True):
        entry = answer if isinstance(answer, dict) else {"value": answer}
        submission.line["responses"] = {"q": entry}
    return made


def check_fits(out: Output) -> None:
    """Check every record against the SCHEMA before it."""
    schemas: dict[str, Any] = {}
    for message in out.messages:
        if message["type"] == "SCHEMA":
            schemas[message["stream"]] = message["schema"]
        elif message["type"] == "RECORD":
            schema = schemas[message["stream"]]
            Draft7Validator(schema).validate(message["record"])
            assert message["record"].keys() <= schema["properties"].keys()


class TestOneQuestionWithTwoTypes:
    """As in a collection that was copied, and edited."""

    @pytest.mark.parametrize("first", ["both", "a", "b"])
    @pytest.mark.parametrize("case", COPIED.values(), ids=COPIED)
    def test_it_has_one_type_for_all_and_every_record_fits(
        self, case: Any, first: str, runner: Runner, world: World
    ) -> None:
        one, answer, other, other_answer, expected = case
        a = with_question(world, "a", one, answer, answer)
        b = with_question(world, "b", other, other_answer, other_answer)
        known = {"both": [a, b], "a": [a], "b": [b]}[first]
        catalog = runner.catalog(**ids(*known))
        order = [b, a] if first == "b" else [a, b]
        out = runner.sync(catalog, **ids(*order))
        check_fits(out)
        found = {row["data_collection_id"]: row["answers"]["q"] for row in out.rows("responses")}
        # The type is wider from where the question is met again.
        late = {id_: expected[id_] for id_ in ("a", "b") if first == "both" or id_ != first}
        assert {id_: found[id_] for id_ in late} == late
        assert len(out.of_type("SCHEMA", "responses")) <= len(order)
        again = runner.sync(runner.catalog(**ids(a, b)), **ids(a, b))
        assert len(again.of_type("SCHEMA", "responses")) == 1
        check_fits(again)

    def test_the_long_form_has_each_with_its_own_type(self, runner: Runner, world: World) -> None:
        a = with_question(world, "a", NUMBER, 7.5)
        b = with_question(world, "b", TEXT, "abc")
        out = runner.sync(**ids(a, b))
        numbers = {row["data_collection_id"]: row["value_number"] for row in out.rows("answers")}
        assert numbers == {"a": 7.5, "b": None}

    def test_many_copies_take_turns_without_a_schema_for_each(
        self, runner: Runner, world: World
    ) -> None:
        made = [
            with_question(world, f"c{n}", (NUMBER, TEXT, STARS)[n % 3], (1, "x", 2)[n % 3])
            for n in range(9)
        ]
        out = runner.sync(runner.catalog(**ids(made[0])), **ids(*made))
        check_fits(out)
        assert len(out.rows("responses")) == 9
        assert len(out.of_type("SCHEMA", "responses")) == 2

    @pytest.mark.parametrize(
        ("frozen", "answer"), [(NUMBER, "abc"), (NUMBER, "5"), (STARS, 4.5), (MANY, "x")]
    )
    def test_a_frozen_type_holds_what_fits_it(
        self, frozen: dict[str, Any], answer: Any, runner: Runner, world: World
    ) -> None:
        a = with_question(world, "a", frozen, None)
        b = with_question(world, "b", NUMBER if frozen is STARS else TEXT, answer)
        out = runner.sync(runner.catalog(**ids(a)), freeze_schema=True, **ids(a, b))
        check_fits(out)
        [row] = [row for row in out.rows("responses") if row["data_collection_id"] == "b"]
        if row["answers"]["q"] is None:
            assert json.loads(row["additional_fields"])["answers"] == {"q": {"value": answer}}
        else:
            assert row["answers"]["q"] == (5 if answer == "5" else [answer])


class TestNoQuestion:
    """Parquet has no objects without fields."""

    @pytest.fixture
    def plain(self, world: World) -> Hosted:
        """A collection without questions."""
        made = world.host(samples.breakfast_diary(2, id_="plain"))
        made.instructions, made.layout = [], []
        for submission in made.submissions.values():
            del submission.line["responses"]
        return made

    def test_there_is_no_property_without_a_question(self, runner: Runner, plain: Hosted) -> None:
        for catalog in (None, runner.catalog(**ids(plain))):
            out = runner.sync(catalog, **ids(plain))
            check_fits(out)
            assert "answers" not in out.schema("responses")["properties"]
            assert len(out.rows("responses")) == 2

    def test_nor_with_an_older_catalog_that_has_it(self, runner: Runner, plain: Hosted) -> None:
        catalog = runner.catalog(**ids(plain))
        schema_of(catalog, "responses")["properties"]["answers"] = {
            "type": ["object", "null"],
            "properties": {},
        }
        out = runner.sync(catalog, **ids(plain))
        check_fits(out)
        assert "answers" not in out.schema("responses")["properties"]

    @pytest.mark.parametrize("maps", [{}, {"responses": {"new": "submission_id"}}])
    def test_it_comes_with_the_first_question(
        self, maps: dict[str, Any], runner: Runner, plain: Hosted, collection: Hosted
    ) -> None:
        catalog = runner.catalog(**ids(plain))
        out = runner.sync(catalog, stream_maps=maps, **ids(plain, collection))
        check_fits(out)
        assert ["answers" in each for each in out.rows("responses")][:2] == [False, False]
        assert out.rows("responses")[-1]["answers"]
        assert answer_columns(out.schema("responses"))
        assert out.schema("responses")["properties"]["answers"]["type"] == ["object", "null"]

    def test_nor_where_each_question_is_deselected(
        self, runner: Runner, collection: Hosted
    ) -> None:
        catalog = runner.catalog(**ids(collection))
        for key in answer_columns(schema_of(catalog, "responses")):
            catalog = deselect(catalog, "responses", "answers", key)
        out = runner.sync(catalog, **ids(collection))
        check_fits(out)
        assert "answers" not in out.schema("responses")["properties"]
        samples.add_question(collection)
        line = next(iter(collection.submissions.values())).line
        line["responses"]["q-new"] = {"value": "x"}
        out = runner.sync(catalog, **ids(collection))
        check_fits(out)
        assert [*answer_columns(out.schema("responses"))] == ["q-new"]


def with_questions(world: World, id_: str, count: int) -> Hosted:
    """Host a collection of so many questions."""
    made = with_question(world, id_, TEXT, "x")
    made.instructions = [{"id": f"{id_}-{n}", "order": n, **TEXT} for n in range(count)]
    made.layout = [{"id": "p", "order": 0, "page_items": made.instructions}]
    return made


@pytest.mark.parametrize(
    ("counts", "depth", "warnings"),
    [
        ((1010,), 2, 1),
        ((1010,), 0, 0),
        ((980,), 2, 0),
        ((600, 600), 2, 1),
        ((1010, 20, 20), 2, 1),
    ],
)
def test_where_a_target_may_have_too_few_columns_one_warning_names_the_ways_out(
    counts: tuple[int, ...], depth: int, warnings: int, *, runner: Runner, world: World, caplog: Any
) -> None:
    made = [with_questions(world, f"c{n}", count) for n, count in enumerate(counts)]
    catalog = runner.catalog(**ids(made[0]))
    flat: dict[str, Any] = {"flattening_enabled": depth > 0, "flattening_max_depth": depth}
    runner.sync(catalog, **flat, **ids(*made))
    said = [each.getMessage() for each in caplog.records if "flattening" in each.getMessage()]
    assert len(said) == warnings
    for each in said:
        assert each.startswith("responses: flattening makes 1")
        assert "Without flattening" in each
        assert "each data collection a table of its own" in each


LIMIT = 1 << 53
# Questions with a column of numbers, an answer with each number, and where the number then stands.
NUMBERS: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "text": (NUMBER, lambda n: {"value": n}, lambda answer: answer),
    "text as text": (NUMBER, lambda n: {"value": str(n)}, lambda answer: answer),
    "choice": (
        {"type": "multiple_choice", "answer_limit": 1, "options": [{"value": 1}]},
        lambda n: {"value": n},
        lambda answer: answer,
    ),
    "choices": (
        {"type": "multiple_choice", "answer_limit": -1, "options": [{"value": 1}]},
        lambda n: {"value": [1, n]},
        lambda answer: answer and answer[1],
    ),
    "unit": (
        {**WEIGHT, "unit_options": [{"value": "g", "validation": {"type": "number"}}]},
        lambda n: {"value": n, "unit": "g"},
        lambda answer: answer and answer["value"],
    ),
}


@pytest.mark.parametrize("number", [LIMIT, -LIMIT, LIMIT + 1, -LIMIT - 1, 2**62, -(2**70)])
@pytest.mark.parametrize("case", NUMBERS.values(), ids=NUMBERS)
def test_a_whole_number_that_no_float_holds_is_null_and_kept(
    case: tuple[dict[str, Any], Any, Any], number: int, runner: Runner, world: World
) -> None:
    """Targets that write Parquet end a whole load at the first one."""
    question, entry_of, number_in = case
    entry = entry_of(number)
    made = with_question(world, "a", question, entry, entry)
    made.instructions[0]["max_file_size_mb"] = number
    out = runner.sync(**ids(made))
    check_fits(out)
    fits = abs(number) <= LIMIT
    [row, _] = out.rows("responses")
    assert number_in(row["answers"]["q"]) == (number if fits else None)
    kept = json.loads(row["additional_fields"] or "{}")
    assert kept == ({} if fits else {"answers": {"q": entry}})
    told = [row for row in out.rows("answers") if row["value"] != "1"]
    assert {row["value_number"] for row in told} == {number if fits else None}
    assert {row["value"] for row in told} == {str(number)}
    raws = {row["raw"] for row in out.rows("answers")} - {None}
    assert [json.loads(raw) for raw in raws] == ([] if fits else [entry])
    [asked] = [row for row in out.rows("instructions") if row["instruction_id"] == "q"]
    assert asked["max_file_size_mb"] == (number if fits else None)
    left = json.loads(asked["additional_fields"])
    assert left.get("max_file_size_mb", number) == number
    assert ("max_file_size_mb" in left) is not fits
