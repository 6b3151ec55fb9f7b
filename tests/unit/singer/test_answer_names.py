"""The names of ``responses.answers``: a question that is reworded keeps the catalog's property."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.generations import fresh
from tests.support.stand_in import samples
from tests.support.tap import answer_columns, deselect, ids, schema_of

if TYPE_CHECKING:
    from tests.support.stand_in import Hosted, World
    from tests.support.tap import Catalog, Output, Runner

DRINK = "what_did_you_drink_1cac558e"
COPY = sha256(b"q").hexdigest()[:8]


@pytest.fixture
def runner(runner: Runner) -> Runner:
    runner.config["answer_keys"] = "label"
    return runner


def reword(hosted: Hosted, text: str, id_: str = "q-drink") -> None:
    [question] = [each for each in hosted.instructions if each["id"] == id_]
    question["description"] = text  # its page holds the same object


def names(out: Output) -> dict[str, str]:
    """Return the property of each question, as `instructions` has it."""
    return {row["instruction_id"]: row["answer_key"] for row in out.rows("instructions")}


def properties(catalog: Catalog) -> dict[str, Any]:
    return answer_columns(schema_of(catalog, "responses"))


def fingerprints(out: Output) -> dict[str, set[str]]:
    bookmarks = out.state["bookmarks"].items()
    return {s: {p.get("fingerprint", "") for p in each["partitions"]} for s, each in bookmarks}


@pytest.mark.parametrize("frozen", [False, True])
def test_a_reworded_question_keeps_its_property(
    runner: Runner, collection: Hosted, *, frozen: bool
) -> None:
    catalog = runner.catalog(**ids(collection))
    before = runner.sync(catalog, freeze_schema=frozen, **ids(collection))
    reword(collection, "Tea or coffee?")
    after = runner.sync(catalog, freeze_schema=frozen, **ids(collection))
    assert answer_columns(after.schema("responses")) == properties(catalog)
    said = [[row["answers"] for row in out.rows("responses")] for out in (before, after)]
    assert said[0] == said[1]
    assert {each[DRINK] for each in said[1]} == {"tea", "coffee", "other"}
    assert names(after) == names(before)
    [question] = [r for r in after.rows("instructions") if r["instruction_id"] == "q-drink"]
    assert question["description"] == "Tea or coffee?"


def test_flattened_its_column_stays(runner: Runner, collection: Hosted) -> None:
    config = {**ids(collection), "flattening_enabled": True, "flattening_max_depth": 2}
    catalog = runner.catalog(**config)
    reword(collection, "How much of it was there, in grams or in ounces?", "q-weight")
    out = runner.sync(catalog, **config)
    columns = out.schema("responses")["properties"]
    weight = names(out)["q-weight"]
    assert [name for name in columns if sha256(b"q-weight").hexdigest()[:8] in name] == [
        f"answers__{weight}__value",
        f"answers__{weight}__unit",
    ]
    assert any(row.get(f"answers__{weight}__value") for row in out.rows("responses"))
    assert max(map(len, columns)) <= 63


def test_discovery_names_it_by_its_new_text(runner: Runner, collection: Hosted) -> None:
    reword(collection, "Tea or coffee?")
    catalog = runner.catalog(**ids(collection))
    new = "tea_or_coffee_1cac558e"
    assert new in properties(catalog)
    assert DRINK not in properties(catalog)
    for out in (runner.sync(**ids(collection)), runner.sync(catalog, **ids(collection))):
        assert names(out)["q-drink"] == new
        assert all(new in row["answers"] for row in out.rows("responses"))


@pytest.mark.parametrize("text", ["Edited?", "What did you drink?"])
def test_it_stays_deselected(text: str, runner: Runner, collection: Hosted) -> None:
    catalog = deselect(runner.catalog(**ids(collection)), "responses", "answers", DRINK)
    reword(collection, text)
    out = runner.sync(catalog, **ids(collection))
    assert not [name for name in answer_columns(out.schema("responses")) if "1cac558e" in name]
    told = json.dumps(out.rows("responses"))
    assert "1cac558e" not in told
    assert "coffee" not in told


def test_with_another_type_it_is_text(runner: Runner, collection: Hosted) -> None:
    catalog = runner.catalog(**ids(collection))
    minutes = names(runner.sync(catalog, **ids(collection)))["q-minutes"]
    assert properties(catalog)[minutes]["type"] == ["number", "null"]
    reword(collection, "How long?", "q-minutes")
    [question] = [each for each in collection.instructions if each["id"] == "q-minutes"]
    del question["validation"]
    for submission in collection.submissions.values():
        submission.line["responses"]["q-minutes"] = {"value": "a while"}
    out = runner.sync(catalog, **ids(collection))
    assert answer_columns(out.schema("responses"))[minutes]["type"] == ["string", "null"]
    assert {row["answers"][minutes] for row in out.rows("responses")} == {"a while"}


class TestStateAndInstructions:
    def test_a_catalog_changes_no_fingerprint(self, runner: Runner, collection: Hosted) -> None:
        """Nor does a question that is reworded: what was delivered is not delivered anew."""
        catalog = runner.catalog(**ids(collection))
        plain, given = (fingerprints(runner.sync(c, **ids(collection))) for c in (None, catalog))
        assert plain == given
        reword(collection, "Tea or coffee?")
        reworded = fingerprints(runner.sync(catalog, **ids(collection)))
        del plain["instructions"], reworded["instructions"]
        assert reworded == plain

    @fresh
    def test_a_name_that_changes_with_the_catalog_is_told_once(
        self, runner: Runner, world: World, collection: Hosted
    ) -> None:
        old = runner.catalog(**ids(collection))
        reword(collection, "Tea or coffee?")
        new = runner.catalog(**ids(collection))
        state: dict[str, Any] = {}
        told = []
        for number, catalog in enumerate([old, old, new, new]):
            submission = samples.breakfast(70 + number)
            submission.submitted_at = world.now()
            world.submit(collection, submission)
            out = runner.sync(catalog, state=state, **ids(collection))
            assert out.rows("responses")
            state = out.state
            told.append(names(out).get("q-drink"))
        assert told == [DRINK, None, "tea_or_coffee_1cac558e", None]


class TestTwoDataCollectionsWithOneQuestion:
    """As in a collection that was copied, and edited."""

    @pytest.fixture
    def hosted(self, world: World) -> list[Hosted]:
        made = []
        for id_, text in (("a", "Which?"), ("b", "What?")):
            hosted = world.host(samples.breakfast_diary(1, id_=id_))
            hosted.instructions = [{"id": "q", "type": "free_text", "description": text}]
            hosted.layout = [{"id": "p", "order": 0, "page_items": hosted.instructions}]
            for submission in hosted.submissions.values():
                submission.line["responses"] = {"q": {"value": id_}}
            made.append(hosted)
        return made

    @staticmethod
    def of(out: Output) -> dict[str, str]:
        """Return the property in which each data collection's answer stands."""
        found = {}
        for row in out.rows("responses"):
            [(name, value)] = [(n, v) for n, v in row["answers"].items() if v is not None]
            assert value == row["data_collection_id"]
            assert name in answer_columns(out.schema("responses"))
            found[value] = name
        return found

    def test_each_has_a_property_of_its_own(self, runner: Runner, hosted: list[Hosted]) -> None:
        expected = {"a": f"which_{COPY}", "b": f"what_{COPY}"}
        catalog = runner.catalog(**ids(*hosted))
        assert properties(catalog).keys() == {*expected.values()}
        for each in (None, catalog):
            assert self.of(runner.sync(each, **ids(*hosted))) == expected

    def test_a_text_that_is_in_no_catalog_takes_the_first_name(
        self, runner: Runner, hosted: list[Hosted]
    ) -> None:
        catalog = runner.catalog(**ids(*hosted))
        reword(hosted[0], "Why?", "q")
        for order in (hosted, hosted[::-1]):
            found = self.of(runner.sync(catalog, **ids(*order)))
            assert found == dict.fromkeys("ab", f"what_{COPY}")

    def test_of_a_catalog_with_one_both_have_its_property(
        self, runner: Runner, hosted: list[Hosted]
    ) -> None:
        catalog = runner.catalog(**ids(hosted[0]))
        for order in (hosted, hosted[::-1]):
            found = self.of(runner.sync(catalog, **ids(*order)))
            assert found == dict.fromkeys("ab", f"which_{COPY}")

    def test_of_a_catalog_with_none_the_order_changes_no_name(
        self, runner: Runner, hosted: list[Hosted], collection: Hosted
    ) -> None:
        catalog = runner.catalog(**ids(collection))
        for order in (hosted, hosted[::-1]):
            found = self.of(runner.sync(catalog, **ids(*order)))
            assert found == {"a": f"which_{COPY}", "b": f"what_{COPY}"}


@pytest.mark.parametrize("now", ["label", "instruction_id"])
class TestACatalogWithTheOtherNames:
    @pytest.fixture
    def catalog(self, now: str, runner: Runner, collection: Hosted) -> Catalog:
        keys = {"label": "instruction_id", "instruction_id": "label"}[now]
        return runner.catalog(answer_keys=keys, **ids(collection))

    def test_the_names_are_those_of_the_setting(
        self, now: str, runner: Runner, catalog: Catalog, collection: Hosted
    ) -> None:
        out = runner.sync(catalog, answer_keys=now, **ids(collection))
        expected = properties(runner.catalog(answer_keys=now, **ids(collection)))
        assert {*names(out).values()} == expected.keys()
        assert {name for row in out.rows("responses") for name in row["answers"]} == expected.keys()
        both = answer_columns(out.schema("responses"))
        assert both.keys() == {*properties(catalog), *expected}

    def test_frozen_the_catalogs_names_stay(
        self, now: str, runner: Runner, catalog: Catalog, collection: Hosted, caplog: Any
    ) -> None:
        reword(collection, "Tea or coffee?")
        out = runner.sync(catalog, answer_keys=now, freeze_schema=True, **ids(collection))
        expected = properties(catalog).keys()
        assert answer_columns(out.schema("responses")).keys() == expected
        assert {*names(out).values()} == expected
        assert {name for row in out.rows("responses") for name in row["answers"]} == expected
        assert "are left out" not in caplog.text
