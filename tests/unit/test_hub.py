"""The definition for Meltano Hub is what Meltano reads and what the tap takes."""

from __future__ import annotations

import json
import re
from importlib.metadata import metadata
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from meltano.core.plugin.base import PluginDefinition, PluginType, StandalonePlugin

from scripts.docs import HUB
from scripts.hub import hub_file
from tap_prolific_export.errors import ConfigError
from tap_prolific_export.settings import SETTINGS, Settings
from tests.support.processes import TAP, output
from tests.support.repository import PROGRAMS, ROOT
from tests.support.snippets import snippet

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = {"collection_ids", "batch_ids", "workspace_ids", "archive_paths"}
# Of schemas/plugin_definitions in meltano/hub: what the Hub knows and Meltano does not.
HUB_ONLY = {
    "domain_url",
    "keywords",
    "maintenance_status",
    "settings_preamble",
    "supported_python_versions",
}
MELTANO_YML = """\
default_environment: dev
environments: [{name: dev}]
send_anonymous_usage_stats: false
cli: {disable_version_check: true}
"""


@pytest.fixture
def definition() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / HUB).read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture
def settings(definition: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {setting["name"]: setting for setting in definition["settings"]}


@pytest.fixture(scope="module")
def about(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the tap says of itself, as a process of its own."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    loaded = json.loads(output(*TAP, "--about", "--format=json", cwd=elsewhere))
    assert isinstance(loaded, dict)
    return loaded


def test_the_definition_is_as_the_code_has_it() -> None:
    text = (ROOT / HUB).read_text(encoding="utf-8")
    assert hub_file() == text, "run: python -m scripts.docs"


def test_meltanos_own_schema_accepts_the_definition(definition: dict[str, Any]) -> None:
    schema = json.loads((files("meltano") / "schemas" / "meltano.schema.json").read_text("utf-8"))
    extractor = {name: value for name, value in definition.items() if name not in HUB_ONLY}
    project = {"plugins": {"extractors": [extractor]}}
    assert [*Draft202012Validator(schema).iter_errors(project)] == []


def test_the_hub_finds_in_the_definition_what_it_needs(definition: dict[str, Any]) -> None:
    project = metadata("tap-prolific-export")
    assert set(definition) >= HUB_ONLY | {"name", "namespace", "variant", "label", "description"}
    assert definition["name"] == definition["pip_url"] == project["Name"]
    assert definition["executable"] == "tap-prolific-export"
    assert definition["namespace"] == "tap_prolific_export"
    assert f"Source, {definition['repo']}" in project.get_all("Project-URL", [])
    assert definition["repo"].split("/")[3] == definition["variant"]
    assert definition["logo_url"].startswith("/assets/logos/extractors/")
    assert definition["domain_url"].startswith("https://")
    assert "meltano_sdk" in definition["keywords"]  # the Hub tells taps made with the SDK by it
    [status] = (each for each in project.get_all("Classifier", []) if "Status" in each)
    # The Hub's words: active, beta, development, inactive, unknown.
    assert status.lower().endswith(definition["maintenance_status"])


def test_keys_and_settings_stand_in_the_hubs_order(definition: dict[str, Any]) -> None:
    settings = definition["settings"]
    names = [setting["name"] for setting in settings]
    lists = (names, definition["capabilities"], *definition["settings_group_validation"])
    assert all(each == sorted(set(each)) for each in lists)
    assert all([*each] == sorted(each) for each in (definition, *settings))


def test_the_definition_says_what_about_says(
    definition: dict[str, Any], settings: dict[str, dict[str, Any]], about: dict[str, Any]
) -> None:
    assert definition["capabilities"] == sorted(about["capabilities"])
    assert definition["supported_python_versions"] == about["supported_python_versions"]
    described = about["settings"]["properties"]
    assert set(settings) == set(described)
    for name, schema in described.items():
        setting = settings[name]
        assert setting["label"] == schema["title"].replace("`", "")
        without_links = re.sub(r"\]\(.*?\)", "]", setting["description"])
        assert without_links.startswith(re.sub(r"\]\(.*?\)", "]", schema["description"]))
        assert setting.get("sensitive", False) == schema.get("secret", False)
        assert setting.get("value") == schema.get("default")
        options = [option["value"] for option in setting.get("options", [])]
        assert options == [value for value in schema.get("enum", []) if value is not None]


def test_each_setting_is_of_its_kind(
    settings: dict[str, dict[str, Any]], about: dict[str, Any]
) -> None:
    special = {
        "start_date": "date_iso8601",
        **dict.fromkeys(["answer_keys", "delete_exports", "on_bad_line"], "options"),
    }
    for name, schema in about["settings"]["properties"].items():
        [type_] = set(schema["type"]) - {"null"}
        assert settings[name]["kind"] == special.get(name, type_), name


def test_the_token_alone_is_sensitive(settings: dict[str, dict[str, Any]]) -> None:
    assert [name for name, setting in settings.items() if setting.get("sensitive")] == ["api_token"]


def test_a_variable_that_the_tap_reads_is_told_of(settings: dict[str, dict[str, Any]]) -> None:
    variables = {s.name: s.environment for s in SETTINGS if s.environment}
    assert variables
    for name, variable in variables.items():
        assert f"`${variable}`" in settings[name]["description"]
        # Given by Meltano, it would stand in the variable's way.
        assert "value" not in settings[name]


def test_no_link_needs_the_repository(settings: dict[str, dict[str, Any]]) -> None:
    text = " ".join(setting["description"] for setting in settings.values())
    targets = re.findall(r"\]\((.*?)\)", text)
    assert any("/blob/main/" in target for target in targets)
    for target in targets:
        assert target.startswith("https://")
        if "/blob/main/" in target:
            assert (ROOT / target.partition("/blob/main/")[2]).exists()


def test_each_group_of_settings_is_enough_and_none_of_it_can_be_left_out(
    definition: dict[str, Any],
) -> None:
    groups = definition["settings_group_validation"]
    assert len(groups) == len(SOURCES) == len({source for group in groups for source in group}) - 1
    for group in groups:
        assert len(SOURCES.intersection(group)) == 1
        config = {name: ["x1"] if name in SOURCES else "x1" for name in group}
        assert Settings.from_config(config, {})
        for name in group:
            less = {other: value for other, value in config.items() if other != name}
            with pytest.raises(ConfigError):
                Settings.from_config(less, {})


def test_this_repositorys_meltano_yml_says_the_same(
    definition: dict[str, Any], settings: dict[str, dict[str, Any]]
) -> None:
    project = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))
    [extractor] = project["plugins"]["extractors"]
    for name in ("name", "namespace", "capabilities"):
        assert extractor[name] == definition[name]
    assert {setting["name"] for setting in extractor["settings"]} == set(settings)
    for setting in extractor["settings"]:
        assert setting.items() <= settings[setting["name"]].items()


def test_meltano_parses_the_definition_and_knows_every_part_of_it(
    definition: dict[str, Any],
) -> None:
    standalone = StandalonePlugin("extractors", **definition)
    plugin = PluginDefinition(PluginType("extractors"), **definition)
    assert plugin.canonical() == PluginDefinition.from_standalone(standalone).canonical()
    variant = plugin.get_variant(definition["variant"])
    assert [setting.canonical() for setting in variant.settings] == definition["settings"]
    for name in ("capabilities", "executable", "pip_url", "settings_group_validation"):
        assert getattr(variant, name) == definition[name]
    # What it does not know is kept aside, for the Hub.
    assert set(standalone.extras) == HUB_ONLY - {"supported_python_versions"}


@pytest.mark.slow
def test_meltano_adds_the_tap_to_an_empty_project_by_it(
    definition: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "meltano.yml").write_text(MELTANO_YML, encoding="utf-8")
    name = definition["name"]
    here = {"/path/to/docs/meltano-hub.yml": ROOT / HUB}
    add = snippet("docs/development.md", "hub", here).split()
    meltano(tmp_path, *add[1:], "--no-install")  # not until it is published
    meltano(tmp_path, "config", "set", name, "archive_paths", '["export.zip"]')
    meltano(tmp_path, "config", "set", name, "start_date", "2026-01-31")
    token = "sk-MaRkEr-7"
    meltano(tmp_path, "config", "set", name, "api_token", token)
    printed = meltano(tmp_path, "config", "print", name)
    assert token not in printed
    config = json.loads(printed)
    assert config.pop("api_token")
    read, expected = (
        Settings.from_config(each, {})
        for each in (config, {"archive_paths": ["export.zip"], "start_date": "2026-01-31"})
    )
    assert read == expected


def meltano(project: Path, *arguments: str) -> str:
    """Run Meltano in a project; return its standard output."""
    return output(PROGRAMS / "meltano", "--log-level=warning", *arguments, cwd=project)
