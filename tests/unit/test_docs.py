"""The documentation and the project's files say what the code does."""

from __future__ import annotations

import ast
import importlib
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from dotenv import dotenv_values

from scripts.docs import PAGES, PARTS, generated, generated_files
from tap_prolific_export.rows.schema import STREAMS
from tap_prolific_export.settings import SETTINGS, Settings
from tap_prolific_export.tap import TapProlificExport
from tests.support.repository import ROOT
from tests.support.snippets import DOCUMENTS, snippet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def extractor() -> dict[str, Any]:
    project = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))
    [extractor] = project["plugins"]["extractors"]
    assert isinstance(extractor, dict)
    return extractor


@pytest.mark.parametrize("page", PAGES)
def test_generated_parts_are_as_the_code_has_them(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert generated(text) == text, "run: python -m scripts.docs"


@pytest.mark.parametrize("path", sorted(generated_files()))
def test_generated_files_are_as_the_code_has_them(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == generated_files()[path], (
        "run: python -m scripts.docs"
    )


def test_every_generated_part_stands_somewhere() -> None:
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    for name in PARTS:
        assert f"<!-- begin {name} -->" in text
    for setting in SETTINGS:
        assert f"| `{setting.name}` |" in text


def test_meltano_knows_every_setting_of_the_tap(extractor: dict[str, Any]) -> None:
    TapProlificExport.append_builtin_config(TapProlificExport.config_jsonschema)
    assert {setting["name"] for setting in extractor["settings"]} == set(
        TapProlificExport.config_jsonschema["properties"]
    )
    sensitive = {s["name"] for s in extractor["settings"] if s.get("sensitive")}
    assert sensitive == {setting.name for setting in SETTINGS if setting.secret}
    kinds = {"array": "array", "integer": "integer", "boolean": "boolean"}
    ours = {setting.name: setting for setting in SETTINGS}
    for each in extractor["settings"]:
        setting = ours.get(each["name"])
        if setting and setting.type in kinds:
            assert each["kind"] == kinds[setting.type]
        if setting and setting.allowed:
            assert tuple(option["value"] for option in each["options"]) == setting.allowed


def test_meltano_knows_every_capability_of_the_tap(extractor: dict[str, Any]) -> None:
    assert sorted(extractor["capabilities"]) == sorted(
        capability.value for capability in TapProlificExport.capabilities
    )


def test_the_readmes_project_declares_every_setting_that_the_readme_names() -> None:
    """Without its kind, `meltano config set` writes a number as text."""
    declaration = snippet("README.md", "meltano.yml")
    [extractor] = yaml.safe_load(declaration)["plugins"]["extractors"]
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace(declaration, "")
    named = {s.name: s.type for s in SETTINGS if re.search(rf"\b{s.name}\b", text)}
    assert {each["name"]: each.get("kind") for each in extractor["settings"]} == named


def test_the_example_environment_is_a_configuration() -> None:
    values = dotenv_values(ROOT / ".env.example")
    prefix = "TAP_PROLIFIC_EXPORT_"
    settings = {name.removeprefix(prefix).lower() for name in values if name.startswith(prefix)}
    assert settings <= {setting.name for setting in SETTINGS}
    assert {name for name in values if not name.startswith(prefix)} == {"PROLIFIC_TOKEN"}
    arrays = {s.name for s in SETTINGS if s.type == "array"}
    config = {
        name: yaml.safe_load(values[prefix + name.upper()] or "")
        if name in arrays
        else values[prefix + name.upper()]
        for name in settings
    }
    assert Settings.from_config(config, {"PROLIFIC_TOKEN": "t"}).collection_ids


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_inside_the_documentation_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (path.parent / target).exists(), target


def test_the_diagram_shows_every_table_with_its_key() -> None:
    text = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    [diagram] = re.findall(r"```mermaid\n(erDiagram.*?)```", text, re.DOTALL)
    shown = dict(re.findall(r"^    (\w+) \{\n(.*?)^    \}", diagram, re.DOTALL | re.MULTILINE))
    assert [*shown] == [stream.name for stream in STREAMS]
    for stream in STREAMS:
        fields = re.findall(r"^ +\w+ (\w+)( PK)?", shown[stream.name], re.MULTILINE)
        assert [name for name, is_key in fields if is_key] == [*stream.key]
        assert {name for name, _ in fields} <= {column.name for column in stream.columns}


def log_lines() -> Iterator[str]:
    """Yield what the tap logs above DEBUG, as it stands in the code."""
    for path in (ROOT / "tap_prolific_export").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"info", "warning", "error", "exception"}
                and ast.unparse(node.func.value).endswith("logger")
            ):
                yield ast.literal_eval(node.args[0])


@pytest.mark.parametrize("line", sorted({*log_lines()} - {"%s"}))
def test_every_line_of_the_log_is_explained(line: str) -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `(.+?)` \|", text, re.MULTILINE)
    assert [each for each in explained if each in line]


def test_what_is_explained_is_logged() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    code = "".join(
        re.sub(r'"\s+f?"', "", path.read_text(encoding="utf-8"))
        for path in (ROOT / "tap_prolific_export").rglob("*.py")
    )
    lines = re.findall(r"^\| `(.+?)` \|", text, re.MULTILINE)
    assert [line for line in lines if line not in code] == []


def test_the_readmes_commands_exist() -> None:
    commands = [line.split()[0] for line in snippet("README.md", "try").splitlines()]
    assert commands == ["scripts/demo", "scripts/test"]
    for name in commands:
        assert (ROOT / name).stat().st_mode & 0o111


def test_ci_runs_the_readmes_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert script[-2:] == ["scripts/test", "scripts/test --slow"]


def test_dbt_has_the_duckdb_that_the_loader_has() -> None:
    """So that each can read the file that the other wrote."""
    project = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))
    [dbt] = [each for each in project["plugins"]["utilities"] if each["name"] == "dbt-duckdb"]
    loader = (ROOT / "examples/duckdb_loader/pyproject.toml").read_text(encoding="utf-8")
    [wanted] = re.findall(r'"(duckdb[<>=].+?)"', loader)
    assert wanted in dbt["pip_url"].split()


def test_no_file_names_an_address_of_a_package_registry() -> None:
    assert "://" not in (ROOT / "constraints.txt").read_text(encoding="utf-8")


def test_the_path_of_a_response_names_functions_that_exist() -> None:
    page = (ROOT / "docs/development.md").read_text()
    part = page.partition("## A response, from the POST to the RECORD")[2].partition("\n## ")[0]
    steps = re.findall(r"^\d+\. \[`([\w.]+)`\]\(\.\./(\S+)\.py\)", part, re.MULTILINE)
    assert 8 <= len(steps) <= 12
    for name, path in steps:
        found: Any = importlib.import_module(path.replace("/", "."))
        for each in name.split("."):
            found = getattr(found, each)
        assert callable(found)
