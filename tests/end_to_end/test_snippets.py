"""What the documentation shows is run as it stands there, by a reader's shell."""

from __future__ import annotations

import ast
import csv
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import yaml
from dotenv import set_key

from tests.support.dbt import dbt_programs
from tests.support.expected import differences, tables_of
from tests.support.generations import fresh
from tests.support.meltano import (
    alone_in_project,
    make_project,
    needs_loaders,
    reader_environment,
)
from tests.support.repository import GIT, ROOT, copy_of_the_tree
from tests.support.snippets import DOCUMENTS, run_script, snippet
from tests.support.stand_in import samples
from tests.support.tap import ids, read
from tests.support.targets import PostgreSQL, installed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.stand_in import Hosted, StandIn, World
    from tests.support.tap import Runner

DEVELOPMENT = "docs/development.md"
INCREMENTAL = "docs/incremental.md"
PERFORMANCE = "docs/performance.md"
API = "docs/prolific-api.md"


def shown() -> list[tuple[str, str, str]]:
    """Return what stands before each block of the documentation, its page and its language."""
    block = re.compile(r"([^\n]*)\n```(\w*)\n(?:(?!```).*\n)*?```(?=\n|$)")
    found = []
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        blocks = block.findall(text)
        assert text.count("```") == 2 * len(blocks), f"{path}: a block that is not seen"
        found += [(str(path.relative_to(ROOT)), *each) for each in blocks]
    return found


def test_each_snippet_is_run_by_a_test_or_says_why_not() -> None:
    told = set()
    for page, before, language in shown():
        assert language, f"{page}: what is this? {before}"
        if language in {"mermaid", "text"}:
            continue
        if not re.fullmatch(r"<!-- not in the tests: \w.+ -->", before):
            named = re.fullmatch(r"<!-- snippet: (.+) -->", before)
            assert named, f"{page}: neither run nor said why not: {before}"
            told.add((page, named[1]))
    assert told == {(page, name) for page, name in used()}


def used() -> list[tuple[str, str]]:
    """Return the page and name of each snippet that the tests take."""
    found = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        constants = {
            node.targets[0].id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "snippet":
                page, name = (
                    constants[each.id] if isinstance(each, ast.Name) else ast.literal_eval(each)
                    for each in node.args[:2]
                )
                found.append((str(page), str(name)))
    return found


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A copy of this repository, with the environments that scripts/setup has made."""
    if GIT is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and the repository")
    tree = tmp_path / "checkout"
    tree.mkdir()
    copy_of_the_tree(tree)
    for made in (".venv", ".meltano"):
        if not (ROOT / made).exists():
            pytest.skip("needs the environments that scripts/setup makes")
        (tree / made).symlink_to(ROOT / made)
    with alone_in_project():  # the copy shares its .meltano
        yield tree


def test_a_document_of_prolifics_is_compared_from_any_folder(checkout: Path) -> None:
    document = "tests/support/openapi/first_generation.yml"
    done = run_script(snippet(API, "check-api", {"openapi.yml": document}), checkout)
    assert "Nothing that the tap relies on is gone." in done.stdout
    elsewhere = checkout / "docs"
    script = snippet(API, "check-api", {"scripts/": "../scripts/", "openapi.yml": f"../{document}"})
    assert run_script(script, elsewhere).stdout == done.stdout


@fresh
def test_the_readmes_first_steps_fill_a_warehouse(
    stand_in: StandIn, world: World, collection: Hosted, checkout: Path
) -> None:
    assert collection.id in (ROOT / ".env.example").read_text("utf-8")
    given = reader_environment(stand_in, checkout)
    del given["PROLIFIC_TOKEN"]
    run_script(snippet("README.md", "set up"), checkout)
    set_key(checkout / ".env", "PROLIFIC_TOKEN", world.token)
    run_script(snippet("README.md", "run"), checkout, **given)
    with duckdb.connect(str(checkout / "warehouse.duckdb"), read_only=True) as connection:
        assert differences(tables_of(connection), world) == []
        keys = connection.execute("SELECT answer_key FROM instructions").fetchall()
    assert any(key.startswith("what_did_you_drink") for (key,) in keys)


@pytest.mark.slow
@fresh
@needs_loaders
def test_the_readmes_five_commands_end_at_readable_answers(
    stand_in: StandIn, world: World, collection: Hosted, checkout: Path
) -> None:
    dbt_programs()  # skips where there is no index
    commands = [
        snippet("README.md", "set up"),
        snippet("README.md", "run"),
        snippet("README.md", "models"),
    ]
    assert len("".join(commands).splitlines()) == 5
    given = reader_environment(stand_in, checkout)
    del given["PROLIFIC_TOKEN"]
    run_script(commands[0], checkout)
    set_key(checkout / ".env", "PROLIFIC_TOKEN", world.token)
    run_script(commands[1], checkout, **given)
    run_script(commands[2], checkout, **given)
    with (checkout / "answers.csv").open(encoding="utf-8", newline="") as file:
        drinks = {row["submission_id"]: row["what_did_you_drink"] for row in csv.DictReader(file)}
    labels = {drink["value"]: drink["label"] for drink in samples.DRINKS}
    assert drinks == {
        id_: labels[submission.expected[None]["q-drink"]]
        for id_, submission in collection.submissions.items()
    }


@pytest.mark.slow
@fresh
@pytest.mark.parametrize("where", ["run in a project", "without Meltano"])
def test_the_readmes_other_ways_write_what_the_server_holds(
    where: str, stand_in: StandIn, world: World, collection: Hosted, tmp_path: Path
) -> None:
    installed("jsonl", "target-jsonl==0.1.4")  # skips where there is no index
    here = {"/path/to/tap-prolific-export": ROOT}
    given = reader_environment(stand_in, tmp_path)
    del given["PROLIFIC_TOKEN"]
    token = {"PROLIFIC_TOKEN=...": f"PROLIFIC_TOKEN={world.token}"}
    if where == "without Meltano":
        (tmp_path / "config.json").write_text(snippet("README.md", "config.json"))
        script = snippet("README.md", "install", here)
        run_script(script + snippet("README.md", "without Meltano", token), tmp_path, **given)
    else:
        project = "default_environment: dev\nenvironments: [{name: dev}]\n"
        project += snippet("README.md", "meltano.yml", here)
        (tmp_path / "meltano.yml").write_text(project)
        # As in this repository's own meltano.yml.
        pip = {"MELTANO_VENV_BACKEND": "virtualenv"}
        run_script(snippet("README.md", "run in a project", token), tmp_path, **given, **pip)

    def rows(table: str) -> list[dict[str, Any]]:
        [written] = tmp_path.glob(f"{table}-*.jsonl")
        return [json.loads(line) for line in written.read_bytes().splitlines()]

    responses = {row["response_id"]: row["participant_id"] for row in rows("responses")}
    held = {id_: s.line["participant_id"] for id_, s in collection.submissions.items()}
    assert responses == held
    assert len(rows("instructions")) == len(collection.instructions)


@fresh
def test_settings_come_from_meltano_and_from_the_environment(
    stand_in: StandIn, collection: Hosted, tmp_path: Path
) -> None:
    make_project(tmp_path, {})
    done = run_script(snippet("docs/settings.md", "meltano config"), tmp_path)
    printed = json.loads(done.stdout[done.stdout.index("{\n") :])
    assert printed["collection_ids"] == [collection.id]
    script = snippet("docs/settings.md", "environment", {"=...": f"={stand_in.world.token}"})
    given = reader_environment(stand_in, tmp_path)
    del given["PROLIFIC_TOKEN"]
    out = read(run_script(script, tmp_path, **given).stdout)
    assert len(out.rows("responses")) == len(collection.submissions)
    assert "q-drink" in out.rows("responses")[0]["answers"]


@fresh
def test_the_state_looks_like_the_one_that_is_shown(runner: Runner, collection: Hosted) -> None:
    state = runner.sync(**ids(collection)).state
    [real] = state["bookmarks"]["responses"]["partitions"]
    [told] = json.loads(snippet(INCREMENTAL, "state"))["bookmarks"]["responses"]["partitions"]
    assert {**told, **told["context"]}.keys() == {**real, **real["context"]}.keys()
    assert told["context"] == real["context"]
    assert [len(told[name]) for name in ("etag", "fingerprint")] == [
        len(real[name]) for name in ("etag", "fingerprint")
    ]


@pytest.mark.slow
@fresh
def test_one_data_collection_starts_anew(
    stand_in: StandIn, collection: Hosted, batch: Hosted, postgres: PostgreSQL, tmp_path: Path
) -> None:
    make_project(tmp_path, postgres.program()[1])
    given = reader_environment(stand_in, tmp_path, TAP_PROLIFIC_EXPORT_LOOKBACK_SECONDS="0")
    given |= {
        f"TAP_PROLIFIC_EXPORT_{k.upper()}": json.dumps(v) for k, v in ids(collection, batch).items()
    }
    job = "meltano run tap-prolific-export target-postgres"
    run_script(job, tmp_path, **given)

    def came() -> dict[tuple[str, str], Any]:
        return {
            (row["data_collection_id"], row["response_id"]): row["exported_at"]
            for row in postgres.rows("responses")
        }

    before = came()
    run_script(job, tmp_path, **given)
    assert came() == before
    run_script(snippet(INCREMENTAL, "take the state"), tmp_path, **given)
    state = json.loads((tmp_path / "state.json").read_text())
    for stream in state["singer_state"]["bookmarks"].values():
        kept = [
            p for p in stream["partitions"] if p["context"]["data_collection_id"] != collection.id
        ]
        stream["partitions"] = kept
    (tmp_path / "state.json").write_text(json.dumps(state))
    run_script(snippet(INCREMENTAL, "give the state"), tmp_path, **given)
    run_script(job, tmp_path, **given)
    after = came()
    assert after.keys() == before.keys()
    assert {id_ for (id_, _), time in after.items() if time > before[id_, _]} == {collection.id}
    assert all(after[key] > before[key] for key in after if key[0] == collection.id)
    assert all(after[key] == before[key] for key in after if key[0] == batch.id)


WITHDRAWN = "examples/withdrawn/README.md"


@pytest.mark.slow
@fresh
@pytest.mark.parametrize("way", ["an extractor of its own", "settings", "once"])
def test_full_table_runs_as_they_are_shown_remove_what_was_withdrawn(  # noqa: PLR0917
    way: str,
    stand_in: StandIn,
    world: World,
    collection: Hosted,
    postgres: PostgreSQL,
    tmp_path: Path,
) -> None:
    name = "tap-prolific-export"
    job = f"meltano run {name} target-postgres"
    parts: list[dict[str, Any]] = []
    if way == "an extractor of its own":
        parts = [yaml.safe_load(snippet(INCREMENTAL, "everything"))]
        job = "meltano run tap-prolific-export--everything target-postgres"
    elif way == "settings":
        config = yaml.safe_load(snippet(WITHDRAWN, "full table"))
        parts = [{"plugins": {"extractors": [{"name": name, **config}]}}]
    else:
        config = {"emit_activate_version_messages": True}
        parts = [{"plugins": {"extractors": [{"name": name, "config": config}]}}]
        job = snippet(WITHDRAWN, "full table once")
    make_project(tmp_path, {**postgres.program()[1], "hard_delete": True}, *parts)
    only = {"TAP_PROLIFIC_EXPORT_COLLECTION_IDS": json.dumps([collection.id])}
    if parts[0]["plugins"]["extractors"][0]["name"] != name:
        only = {"TAP_PROLIFIC_EXPORT__EVERYTHING_COLLECTION_IDS": json.dumps([collection.id])}
    given = reader_environment(stand_in, tmp_path, **only)
    run_script(job, tmp_path, **given)
    assert differences(postgres.rows, world) == []
    del collection.submissions[next(iter(collection.submissions))]
    run_script(job, tmp_path, **given)
    assert differences(postgres.rows, world) == []


@fresh
def test_a_full_refresh_as_it_is_shown_tells_what_was_withdrawn(
    stand_in: StandIn, collection: Hosted, postgres: PostgreSQL, tmp_path: Path
) -> None:
    make_project(tmp_path, postgres.program()[1])
    only = {"TAP_PROLIFIC_EXPORT_COLLECTION_IDS": json.dumps([collection.id])}
    given = reader_environment(stand_in, tmp_path, **only)
    job = snippet(WITHDRAWN, "full refresh")
    run_script(job, tmp_path, **given)
    gone = next(iter(collection.submissions))
    del collection.submissions[gone]
    run_script(job, tmp_path, **given)
    old = "exported_at < (SELECT full_exported_at FROM collections)"
    assert {row["response_id"] for row in postgres.rows("responses", old)} == {gone}


def test_the_role_that_loads_lives_in_utc(postgres: PostgreSQL) -> None:
    postgres.sql("DROP ROLE IF EXISTS loader")
    postgres.sql("CREATE ROLE loader")
    postgres.sql(snippet(WITHDRAWN, "time zone"))
    [role] = postgres.sql("SELECT rolconfig FROM pg_roles WHERE rolname = 'loader'")
    assert [item.lower() for item in role["rolconfig"]] == ["timezone=utc"]


@fresh
def test_files_are_chosen_as_it_is_shown(
    runner: Runner, collection: Hosted, tmp_path: Path
) -> None:
    shown = yaml.safe_load(
        snippet("docs/files.md", "files", {"s3://lab/uploads": tmp_path.as_uri()})
    )
    out = runner.sync(**shown["config"], **ids(collection))
    stored = {row["path"] for row in out.rows("files") if row["uri"]}
    uploads = {f"files/{name}" for s in collection.submissions.values() for name in s.uploads}
    assert stored == uploads
    assert stored


def test_the_loader_is_the_one_that_meltano_yml_has() -> None:
    where = {"./path/to/examples/duckdb_loader": "./examples/duckdb_loader"}
    text = snippet("examples/duckdb_loader/README.md", "loader", where)
    [loader] = yaml.safe_load(text)["plugins"]["loaders"]
    loaders = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))["plugins"]["loaders"]
    [ours] = [each for each in loaders if each["name"] == loader["name"]]
    names = [[setting["name"] for setting in each.pop("settings")] for each in (loader, ours)]
    assert names[0] == names[1]
    assert loader.items() <= ours.items()


def test_the_faster_loads_are_those_that_meltano_yml_has() -> None:
    [shown] = yaml.safe_load(snippet("docs/targets.md", "faster"))["plugins"]["loaders"]
    loaders = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))["plugins"]["loaders"]
    [ours] = [each for each in loaders if each["name"] == shown["name"]]
    assert shown["config"] == ours["config"]
    assert all(setting in ours["settings"] for setting in shown["settings"])


@pytest.mark.slow
@needs_loaders
def test_dbt_builds_over_what_the_demo_leaves(checkout: Path) -> None:
    (checkout / ".env").write_text("TAP_PROLIFIC_EXPORT_START_DATE=2100-01-01\n")  # not the demo's
    dbt_programs()  # skips where there is no index
    done = run_script(snippet("examples/dbt/README.md", "demo"), checkout)
    assert "Every row and value in the warehouse" in done.stdout
    assert "What did you drink?" in done.stdout.partition("Every row and value")[2]


def test_the_stand_in_serves_by_hand(tmp_path: Path) -> None:
    command = snippet(DEVELOPMENT, "stand-in").strip()
    served = subprocess.Popen(  # noqa: S603
        [*command.split(), "--port=0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert served.stdout
    lines = []
    for line in served.stdout:
        lines.append(line)
        if line.startswith("curl -X DELETE"):
            break
    try:
        settings = "".join(line for line in lines if line.startswith("export "))
        settings += "export TAP_PROLIFIC_EXPORT_POLL_INTERVAL_SECONDS=1\n"
        synced = f"{settings}\ntap-prolific-export --config ENV"
        out = read(run_script(synced, tmp_path).stdout)
        assert out.rows("responses")
        added = next(line for line in lines if line.startswith("curl -X POST"))
        if shutil.which("curl"):
            run_script(added, tmp_path)
            now = read(run_script(synced, tmp_path).stdout)
            assert "s1" in {row["response_id"] for row in now.rows("responses")}
    finally:
        served.terminate()
        served.wait()
        served.stdout.close()


@pytest.mark.slow
def test_the_long_tests_run_by_hand() -> None:
    few = {"1000000": 10}
    for script in (
        snippet(DEVELOPMENT, "lives", {"LIVES=1000": "LIVES=1"}),
        snippet(DEVELOPMENT, "fuzz", few),
        snippet("docs/security.md", "a million mutations", few),
    ):
        run_script(script, ROOT)


def test_the_documentation_is_made_anew(checkout: Path) -> None:
    page = checkout / "docs" / "settings.md"
    text = page.read_text("utf-8")
    page.write_text(text.replace("| `api_token` |", "| `token` |"), encoding="utf-8")
    # The environment has the package of the repository, and the scripts of where it is run.
    run_script(snippet(DEVELOPMENT, "docs"), checkout, PYTHONPATH=str(checkout))
    assert page.read_text("utf-8") == text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "less", "cell"),
    [
        (
            snippet(PERFORMANCE, "bytes"),
            "--uploads=20 --lines=500",
            "| with files stored |",
        ),
        (
            snippet(PERFORMANCE, "speed"),
            "--lines=100 --only='flat batch, all'",
            "| the floor |",
        ),
        (
            snippet(PERFORMANCE, "memory"),
            "--lines=100 --only='unknown shape'",
            "| Bytes per response |",
        ),
        (snippet(PERFORMANCE, "start"), "", "| the tap, until its first request |"),
        (snippet(PERFORMANCE, "load"), "--lines=20", "no validation: ratio |"),
    ],
    ids=["bytes", "speed", "memory", "start", "load"],
)
def test_the_benchmarks_run(command: str, less: str, cell: str) -> None:
    assert cell in run_script(f"{command.strip()} {less} --runs=1", ROOT).stdout
