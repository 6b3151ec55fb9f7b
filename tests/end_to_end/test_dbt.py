"""The dbt package of examples/dbt, built by a real dbt over what the loaders make."""

from __future__ import annotations

import itertools
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from scripts.bench_tools import markdown
from tests.support.dbt import PACKAGE, Dbt, dbt_environment, dbt_programs
from tests.support.expected import KEYS
from tests.support.generations import fresh
from tests.support.meltano import alone_in_project, needs_loaders, reader_environment
from tests.support.repository import PROGRAMS, ROOT
from tests.support.snippets import run_script, snippet
from tests.support.stand_in import Hosted, samples
from tests.support.tap import deselect_streams, ids
from tests.support.targets import DuckDB, Warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.stand_in import StandIn, Submission, World
    from tests.support.tap import Runner

Row = dict[str, Any]

PAGE = "examples/dbt/README.md"
TEXT = (PACKAGE / "README.md").read_text("utf-8")

pytestmark = [needs_loaders, fresh, pytest.mark.slow]


def load(runner: Runner, warehouse: Warehouse, *hosted: Hosted) -> None:
    warehouse.load(runner.sync(**ids(*hosted)).text)


@pytest.fixture
def demo(runner: Runner, warehouse: Warehouse, world: World) -> list[Hosted]:
    """What the demo leaves, in a warehouse."""
    hosted = [world.host(samples.breakfast_diary(27)), world.host(samples.caption_check(24))]
    load(runner, warehouse, *hosted)
    return hosted


def answers_of(hosted: Hosted) -> Iterator[tuple[Submission, str | None, dict[str, Any]]]:
    """Yield what was served: each response's submission, task and answers."""
    for submission in hosted.submissions.values():
        for task_id, answers in submission.expected.items():
            yield submission, task_id, answers


@pytest.mark.usefixtures("demo")
def test_the_package_says_of_the_demo_what_was_served(
    warehouse: Warehouse, demo: list[Hosted]
) -> None:
    dbt = Dbt(warehouse)
    dbt("build")
    for table in ("responses", "answers", "tasks"):
        assert warehouse.count(f"{table}_current") == warehouse.count(table) > 0
    for hosted in demo:
        check_counts(warehouse, hosted)
    check_uploads(warehouse, demo[0])
    check_wide(warehouse, demo)
    if isinstance(warehouse, DuckDB):
        for name, output in outputs(warehouse).items():
            assert f"<!-- begin {name} -->\n{output}\n<!-- end {name} -->" in TEXT, name
    # What the loader finds there does not stop it, and dbt builds over it again.
    warehouse.load("")
    dbt("build")


def check_counts(warehouse: Warehouse, hosted: Hosted) -> None:
    rows = warehouse.rows("choice_counts", f"data_collection_id = '{hosted.id}'")
    found = {(row["question"], row["answer"]): row for row in rows}
    assert len(found) == len(rows)
    expected = {}
    for question in hosted.instructions:
        labels = {repr(each["value"]): each["label"] for each in question.get("options", ())}
        given = [answers.get(question["id"]) for _, _, answers in answers_of(hosted)]
        lists = [each if isinstance(each, list) else [each] for each in given if each is not None]
        if not labels and question["type"] != "star_rating":
            continue
        for value in {repr(value_of(each)) for values in lists for each in values}:
            count = sum(value in {repr(value_of(each)) for each in values} for values in lists)
            expected[question["description"], labels.get(value, value)] = count, len(lists)
    assert found.keys() == expected.keys()
    for key, (count, answered) in expected.items():
        assert found[key]["responses"] == count
        assert found[key]["percent"] == pytest.approx(100 * count / answered, abs=0.051)


def value_of(given: Any) -> Any:
    return given["value"] if isinstance(given, dict) else given


def check_uploads(warehouse: Warehouse, collection: Hosted) -> None:
    columns = ("path", "participant_id", "response_id", "question", "submitted_at")
    found = {tuple(row[name] for name in columns) for row in warehouse.rows("uploads")}
    assert found == {
        (
            f"files/{name}",
            submission.line["participant_id"],
            submission.line["submission_id"],
            "Show us your table.",
            submission.submitted_at.replace(tzinfo=None),
        )
        for submission in collection.submissions.values()
        for name in submission.uploads
    }


def check_wide(warehouse: Warehouse, demo: list[Hosted]) -> None:
    """Check the row of each response; questions that nobody has asked it are null."""
    found = {
        (row["submission_id"], row["task_id"]): row for row in warehouse.rows("responses_wide")
    }
    questions = {q["id"]: q for hosted in demo for q in hosted.instructions}
    expected = {}
    for hosted in demo:
        for submission, task_id, answers in answers_of(hosted):
            row: Row = dict.fromkeys(COLUMNS.values())
            for id_, answer in answers.items():
                row |= wide(COLUMNS[id_], questions[id_], answer)
            expected[submission.line["submission_id"], task_id] = row
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        said = {name: found[key][name] for name in row}
        for each in (said, row):  # PostgreSQL's jsonb writes JSON in a way of its own
            each["sign_here"] = json.loads(each["sign_here"] or "null")
        assert said == row
    units = {"how_was_it_and_why_explanation", "how_much_did_you_eat_unit"}
    ids_and_time = {*KEYS["responses"], "submission_id", "participant_id", "study_id", "task_id"}
    assert {*next(iter(found.values()))} - ids_and_time - {"submitted_at"} == units.union(
        COLUMNS.values()
    )


COLUMNS = {
    "q-name": "what_do_you_call_your_breakfast",
    "q-minutes": "how_many_minutes_did_it_take",
    "q-drink": "what_did_you_drink",
    "q-food": "what_did_you_eat",
    "q-mood": "how_was_it_and_why",
    "q-weight": "how_much_did_you_eat",
    "q-photo": "show_us_your_table",
    "q-stars": "how_many_stars",
    "q-signature": "sign_here",
    "b-fits": "does_the_caption_fit_the_picture",
    "b-wrong": "what_is_wrong_with_it",
    "b-better": "write_a_better_one",
}


def wide(column: str, question: Row, answer: Any) -> Row:
    """Return what an answer must be in the wide table."""
    labels = {repr(each["value"]): each["label"] for each in question.get("options", ())}
    if question["type"] == "file_upload":
        return {column: ", ".join(sorted(file["path"] for file in answer))}
    if question["type"] == "free_text_with_unit":
        return {column: answer["value"], f"{column}_unit": answer["unit"]}
    if question["type"] == "multiple_choice_with_free_text":
        [one] = answer
        why = {f"{column}_explanation": one["explanation"]}
        return {column: labels[repr(one["value"])], **why}
    if labels:
        given = answer if isinstance(answer, list) else [answer]
        return {column: ", ".join(sorted(labels[repr(value)] for value in given))}
    return {column: answer}


def outputs(warehouse: Warehouse) -> dict[str, str]:
    """Return what the page shows."""
    by_question = "ORDER BY data_collection_id, question"
    answers = ("what_did_you_drink", "what_did_you_eat", "how_much_did_you_eat", "how_many_stars")
    uploads = ("path", "size_bytes", "question", "submitted_at")
    return {
        "counts": table(
            warehouse.sql(f"SELECT * FROM choice_counts {by_question}, responses DESC, answer"),  # noqa: S608  # made of constants
            *("question", "answer", "responses", "percent"),
        ),
        "agreement": table(
            warehouse.sql(
                "SELECT question, tasks, answers, round(percent_agreement, 1) AS percent_agreement,"  # noqa: S608
                f" round(alpha, 3) AS alpha FROM choice_agreement {by_question}"
            ),
            *("question", "tasks", "answers", "percent_agreement", "alpha"),
        ),
        "uploads": table(warehouse.sql("SELECT * FROM uploads ORDER BY path LIMIT 3"), *uploads),
        "wide": table(
            warehouse.sql(
                "SELECT * FROM responses_wide WHERE task_id IS NULL ORDER BY response_id LIMIT 3"
            ),
            *("participant_id", *answers),
        ),
    }


def table(rows: list[Row], *columns: str) -> str:
    """Return some columns of rows as the page shows them."""
    head = [f"{name}:" if isinstance(rows[0][name], int | float) else name for name in columns]
    return markdown(head, [[str(row[name]) for name in columns] for row in rows])


def agreement(tasks: list[list[Any]]) -> tuple[int, int, float, float | None]:
    """Return how many tasks and answers count, the percentage of equal pairs, and alpha.

    Krippendorff's alpha by its definition, over every pair of answers.

    Args:
        tasks: Of each, what its annotators have answered.
    """
    units = [answers for answers in tasks if len(answers) > 1]
    every = [answer for answers in units for answer in answers]
    pairs = [pair for answers in units for pair in itertools.permutations(answers, 2)]
    observed = sum(
        sum(one != other for one, other in itertools.permutations(answers, 2)) / (len(answers) - 1)
        for answers in units
    )
    expected = sum(one != other for one, other in itertools.permutations(every, 2))
    alpha = 1 - observed / (expected / (len(every) - 1)) if expected else None
    share = 100 * sum(one == other for one, other in pairs) / len(pairs)
    return len(units), len(every), share, alpha


def test_agreement_is_what_it_is_defined_to_be(
    runner: Runner, warehouse: Warehouse, world: World
) -> None:
    chance = random.Random(1)  # noqa: S311
    batch = world.host(samples.caption_check(0))
    options = [{"label": str(number), "value": number} for number in range(4)]
    more: dict[str, Row] = {
        "b-same": {"answer_limit": 1, "options": options},
        "b-lone": {"answer_limit": 1, "options": options},
        "b-set": {"answer_limit": -1, "options": options},
        "b-stars": {"type": "star_rating", "max_stars": 5},
    }
    for id_, fields in more.items():
        question = {"id": id_, "type": "multiple_choice", "description": id_, "order": 9, **fields}
        batch.instructions.append(question)
        batch.layout[0]["rows"][0]["columns"][1]["items"].append(question)
    tasks: dict[str, dict[str, list[Any]]] = {}
    for number in range(9):
        submission = samples.annotation(number)
        for task in submission.line["tasks"]:
            given: Row = {"b-same": 1}
            if chance.random() < 0.8:
                given["b-fits"] = chance.random() < 0.3
                given["b-stars"] = chance.randint(1, 5)
                # The same choices in another order are the same answer.
                given["b-set"] = chance.sample(range(4), chance.randint(1, 2))
            if number == 0 or task["task_id"] == "task-0":
                given["b-wrong"] = [chance.randint(1, 2)]  # one annotator alone, but for one task
            if number == 1:
                given["b-lone"] = 2  # in no task another one
            task["responses"] = {id_: {"value": value} for id_, value in given.items()}
            for id_, value in given.items():
                answer = frozenset(value) if isinstance(value, list) else value
                of_question = tasks.setdefault(id_, {})
                of_question.setdefault(task["task_id"], []).append(answer)
        world.submit(batch, submission)
    load(runner, warehouse, batch)
    Dbt(warehouse)("run", "--select", "+choice_agreement")
    names = ("tasks", "answers", "percent_agreement", "alpha")
    rows = warehouse.rows("choice_agreement")
    found = {row["instruction_id"]: tuple(row[name] for name in names) for row in rows}
    assert tasks.keys() - found.keys() == {"b-lone"}
    assert found["b-same"] == (4, 36, 100, None)
    for id_, row in found.items():
        assert row == pytest.approx(agreement([*tasks[id_].values()])), id_


def test_a_missing_row_is_found(runner: Runner, warehouse: Warehouse, demo: list[Hosted]) -> None:
    dbt = Dbt(warehouse)
    response = samples.breakfast(0).line["submission_id"]
    for row in (
        f"collections WHERE data_collection_id = '{demo[1].id}'",
        "instructions WHERE instruction_id = 'q-drink'",
        "tasks WHERE task_id = 'task-2'",
        f"responses WHERE response_id = '{response}'",
        "answers WHERE instruction_id = 'q-food' AND value = 'bread'",
    ):
        assert warehouse.sql(f"SELECT * FROM {row}")  # noqa: S608
        warehouse.sql(f"DELETE FROM {row}")  # noqa: S608
    dbt("run")
    assert dbt.failures("test") == {
        *(refers(table, "collections") for table in ("instructions", "tasks", "responses")),
        "instructions_are_complete",
        refers("answers", "instructions", "instruction_id"),
        refers("responses", "tasks", "task_id"),
        "responses_are_complete",
        refers("answers", "responses", "response_id"),
        "answers_are_complete",
    }
    load(runner, warehouse, *demo)
    # An answer may name a file that is not in the archive: this is only a warning.
    warehouse.sql("DELETE FROM files")
    done = dbt.run("build")
    assert done.returncode == 0
    assert "WARN=1" in done.stdout
    warehouse.sql(f"DELETE FROM responses WHERE response_id = '{response}'")  # noqa: S608
    assert "responses_are_complete" in dbt.failures("build")


def refers(table: str, to: str, *columns: str) -> str:
    """Return how dbt names the test of a reference."""
    arguments = ("data_collection_id", *columns, "ref_stg_prolific", f"{to}_")
    return f"refers_to_stg_prolific__{table}_{'__'.join(arguments)}"


def test_a_repeated_row_is_found(runner: Runner, world: World, tmp_path: Path) -> None:
    """In DuckDB: PostgreSQL's tables have primary keys."""
    warehouse = DuckDB(tmp_path)
    hosted = world.host(samples.caption_check(3))
    load(runner, warehouse, hosted)
    for name in KEYS:
        warehouse.sql(f"CREATE TABLE copy AS SELECT * FROM {name}")  # noqa: S608
        warehouse.sql(f"DROP TABLE {name}; ALTER TABLE copy RENAME TO {name}")
    dbt = Dbt(warehouse)
    dbt("build")
    repeated = [name for name in KEYS if warehouse.count(name)]
    assert repeated == [name for name in KEYS if name != "files"]
    for name in repeated:
        warehouse.sql(f"INSERT INTO {name} SELECT * FROM {name} LIMIT 1")  # noqa: S608
    failed = dbt.failures("test", "--select", "stg_prolific__*")
    test = "unique_combination_stg_prolific__"
    assert {each.removeprefix(test).partition("_")[0] for each in failed} == {*repeated}


def test_the_package_builds_over_hardly_anything(
    runner: Runner, warehouse: Warehouse, world: World
) -> None:
    """A collection to which nobody has responded, and no batch; then one without questions."""
    collection = world.host(samples.breakfast_diary(0))
    load(runner, warehouse, collection)
    dbt = Dbt(warehouse)
    dbt("build")
    [row] = warehouse.sql("SELECT count(*) AS rows FROM responses_wide")
    assert row["rows"] == 0
    assert warehouse.rows("choice_counts") == warehouse.rows("choice_agreement") == []

    collection.instructions.clear()
    collection.layout.clear()
    for name in KEYS:
        warehouse.sql(f"DROP TABLE {name} CASCADE")
    load(runner, warehouse, collection)
    dbt("build")
    assert "answers" not in {name for row in warehouse.rows("responses") for name in row}


def test_a_table_that_is_missing_is_said_to_be_and_can_be_left_out(
    runner: Runner, collection: Hosted, tmp_path: Path
) -> None:
    warehouse = DuckDB(tmp_path)
    catalog = deselect_streams(runner.catalog(**ids(collection)), "files")
    warehouse.load(runner.sync(catalog, **ids(collection)).text)
    dbt = Dbt(warehouse)
    done = dbt.run("build")
    assert done.returncode == 1
    assert "If the stream 'files' is not selected, leave out what is made from it" in done.stdout
    [command] = [line for line in snippet(PAGE, "exclude").splitlines() if "exclude" in line]
    dbt("build", *command.split()[-2:])
    assert warehouse.count("responses_wide") == 8


def test_every_column_is_documented(runner: Runner, world: World, tmp_path: Path) -> None:
    warehouse = DuckDB(tmp_path)
    hosted = [world.host(samples.breakfast_diary(1)), world.host(samples.caption_check(1))]
    load(runner, warehouse, *hosted)
    dbt = Dbt(warehouse)
    dbt("parse", "--show-all-deprecations")
    dbt("build")
    dbt("docs", "generate")
    assert not (PACKAGE / ".user.yml").exists()  # the identity that dbt's usage statistics have
    manifest, catalog = dbt.artifact("manifest"), dbt.artifact("catalog")
    described = {**manifest["nodes"], **manifest["sources"]}
    assert len(catalog["nodes"]) == 13
    assert len(catalog["sources"]) == 6
    for id_, found in {**catalog["nodes"], **catalog["sources"]}.items():
        columns = described[id_]["columns"]
        assert described[id_]["description"]
        assert all(column["description"] for column in columns.values())
        undescribed = {name for name in found["columns"] if not name.startswith("_sdc_")}
        undescribed -= {*columns}
        if id_.endswith(".responses_wide"):
            assert undescribed > {*COLUMNS.values()}
        else:
            assert undescribed == set(), id_
        assert found["columns"].keys() >= columns.keys(), id_


def project(folder: Path, **models: str) -> Path:
    """Make a dbt project that has the package, as the page says."""
    place = folder / "project"
    (place / "models").mkdir(parents=True)
    packages = snippet(PAGE, "packages.yml", {"/path/to/tap-prolific-export": ROOT})
    (place / "packages.yml").write_text(packages)
    (place / "dbt_project.yml").write_text(
        "name: lab\nprofile: prolific_export\nflags: {send_anonymous_usage_stats: false}\n"
    )
    for name, text in models.items():
        (place / "models" / f"{name}.sql").write_text(text)
    return place


def test_a_project_shows_the_questions_that_it_names(
    warehouse: Warehouse, demo: list[Hosted]
) -> None:
    listed = "{{ prolific_export.wide_responses(['How many stars?', 'b-fits']) }}"
    misspelt = "{{ prolific_export.wide_responses(['How many stairs?']) }}"
    place = project(
        warehouse.folder,
        breakfasts=snippet(PAGE, "breakfasts.sql"),
        listed=listed,
        misspelt=misspelt,
    )
    dbt = Dbt(warehouse, place)
    dbt("deps")
    assert dbt.failures("build") == {"misspelt"}
    assert "No question is 'How many stairs?'. The questions are: '" in dbt.run("build").stdout
    rows = warehouse.rows("breakfasts")
    found = {
        row["response_id"]: tuple(row[name] for name in ("drink", "foods", "weight", "weight_unit"))
        for row in rows
    }
    drinks, foods = (
        {option["value"]: option["label"] for option in options}
        for options in (samples.DRINKS, samples.FOODS)
    )
    assert found == {
        submission.line["submission_id"]: (
            drinks[answers["q-drink"]],
            ", ".join(sorted(foods[food] for food in answers["q-food"])),
            answers["q-weight"]["value"],
            answers["q-weight"]["unit"],
        )
        for submission, _, answers in answers_of(demo[0])
    }
    both = warehouse.rows("listed")
    assert len(both) == warehouse.count("responses")
    assert [*both[0]][-2:] == ["how_many_stars", "does_the_caption_fit_the_picture"]


def test_another_schema_can_be_the_loaders(
    runner: Runner, collection: Hosted, tmp_path: Path
) -> None:
    warehouse = DuckDB(tmp_path)
    shown = snippet(PAGE, "dbt_project.yml")
    assert "tap_prolific_export" in shown
    warehouse.load(runner.sync(**ids(collection)).text, default_target_schema="tap_prolific_export")
    place = project(warehouse.folder)
    with (place / "dbt_project.yml").open("a") as file:
        file.write(shown)
    dbt = Dbt(warehouse, place)
    dbt("deps")
    dbt("build")
    assert warehouse.count("responses_wide") == 8


def test_every_question_has_a_column_of_its_own(
    runner: Runner, warehouse: Warehouse, world: World
) -> None:
    collection = world.host(samples.breakfast_diary(3))
    other = world.host(samples.breakfast_diary(1, id_="6650d1a2b3c4d5e6f7081921"))
    asked = {
        "a": "<b>How</b> was&nbsp;it?",
        "b": "3 things, please",
        "c": "Task id",
        "d": "Which unit",  # how_much_did_you_eat's second column would be called like this one
        "e": "Größe / Сколько?",
        "f": "The same question " * 5,
        "g": "The same question " * 5 + "?",
        "h": "Again?",
        "i": "again",
        "j": "",
        "k": "The same question " * 4,
        "l": "select",
    }
    for id_, text in asked.items():
        question = {"id": id_, "type": "free_text", "description": text, "order": 9}
        collection.instructions.append(question)
        collection.layout[-1]["page_items"].append(question)
        for submission in collection.submissions.values():
            submission.line["responses"][id_] = {"value": f"{id_}'s answer"}
    load(runner, warehouse, collection, other)
    Dbt(warehouse)("build")
    rows = warehouse.rows("responses_wide")
    assert len(rows) == 4
    columns: dict[str, str] = {}
    for row in rows:
        of_answers = {value: name for name, value in row.items() if "'s answer" in str(value)}
        assert len(of_answers) == (len(asked) if row["data_collection_id"] == collection.id else 0)
        columns |= {answer[0]: name for answer, name in of_answers.items()}
        assert row["what_did_you_drink"]  # one column, though it was asked in both
    assert {id_: columns[id_] for id_ in "abel"} == {
        "a": "how_was_it",
        "b": "q_3_things_please",
        "e": "größe_сколько",
        "l": "select",
    }
    shortened = {id_: name.rpartition("_")[0] for id_, name in columns.items() if id_ not in "abel"}
    same = "the_same_question_the_same_question_the"
    assert shortened == {
        "c": "task_id",
        "d": "which_unit",
        "f": same,
        "g": same,
        "h": "again",
        "i": "again",
        "j": "question",
        "k": same,
    }


def test_a_question_that_replaces_another_has_its_column(
    runner: Runner, world: World, tmp_path: Path
) -> None:
    warehouse = DuckDB(tmp_path)
    collection = world.host(samples.breakfast_diary(2))
    first = runner.sync(**ids(collection))
    warehouse.load(first.text)
    new = samples.add(world, collection, 2, world.now())
    answers = collection.submissions[new].line["responses"]
    answers["q-drink-2"] = answers.pop("q-drink")
    items = [item for page in collection.layout for item in page["page_items"]]
    for question in (*collection.instructions, *items):
        if question["id"] == "q-drink":
            question["id"] = "q-drink-2"
    warehouse.load(runner.sync(state=first.state, **ids(collection)).text)
    Dbt(warehouse)("build")
    rows = warehouse.sql("SELECT * FROM responses_wide ORDER BY response_id")
    assert [row["what_did_you_drink"] for row in rows] == ["Tea", "Coffee", "Something else"]
    assert warehouse.count("instructions", "description = 'What did you drink?'") == 2


def test_meltano_loads_and_builds_in_one_run(
    stand_in: StandIn, collection: Hosted, warehouse: Warehouse
) -> None:
    dbt_programs()  # skips where there is no index
    given = reader_environment(stand_in, warehouse.folder)
    given["TAP_PROLIFIC_EXPORT_COLLECTION_IDS"] = f'["{collection.id}"]'
    kind = "duckdb" if isinstance(warehouse, DuckDB) else "postgres"
    _, loader = warehouse.program()
    given |= {f"TARGET_{kind}_{name}".upper(): str(value) for name, value in loader.items()}
    given |= dbt_environment(warehouse) | {"DBT_TARGET_PATH": str(warehouse.folder / "dbt")}
    given["DBT_LOG_PATH"] = given["DBT_TARGET_PATH"]
    script = snippet(PAGE, "run", {"duckdb": kind})
    with alone_in_project():
        run_script(script, ROOT, PROGRAMS, **given)
        assert warehouse.count("responses_wide") == 8
        docs = snippet(PAGE, "invoke", {"dbt-duckdb": f"dbt-{kind}"})
        run_script(docs, ROOT, PROGRAMS, **given)
    assert (warehouse.folder / "dbt" / "catalog.json").exists()
