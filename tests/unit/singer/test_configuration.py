"""Where settings come from: files, the environment, and what others make of a value on its way."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from dotenv import dotenv_values
from singer_sdk.exceptions import ConfigValidationError

from tap_prolific_export.settings import Settings
from tap_prolific_export.singer.sdk import SdkTap
from tap_prolific_export.tap import TapProlificExport
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "TAP_PROLIFIC_EXPORT_"
TOKEN = "sk-MaRkEr-7"


@pytest.fixture(autouse=True)
def _no_discovery(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make only the configuration: no stream is looked up, and no .env of ours is found."""
    monkeypatch.setattr(SdkTap, "setup_mapper", lambda _: None)
    monkeypatch.setattr(TapProlificExport, "discover_streams", lambda _: [])
    monkeypatch.chdir(tmp_path)


def read(**variables: str) -> TapProlificExport:
    """Make a tap with ``--config ENV``."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            own = name == "PROLIFIC_TOKEN"
            patch.setenv(name if own else PREFIX + name, value)
        return TapProlificExport(parse_env_config=True)


def refused(tap: Any, **given: Any) -> list[str]:
    with pytest.raises(ConfigValidationError) as caught:
        tap(**given)
    assert TOKEN not in str(caught.value) + str(caught.value.errors)
    return [*caught.value.errors]


SOURCE = {"ARCHIVE_PATHS": '["x.zip"]'}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("LOOKBACK_SECONDS", "60.0", 60),
        ("LOOKBACK_SECONDS", " 3600", 3600),
        ("LOOKBACK_SECONDS", "", ""),
        ("FREEZE_SCHEMA", "true", True),
        ("FREEZE_SCHEMA", "On", True),
        ("FREEZE_SCHEMA", "0", False),
        ("FREEZE_SCHEMA", "no", False),
        ("COLLECTION_IDS", "", ""),
        ("FILES_INCLUDE", '["a", "b"]', ["a", "b"]),
        ("FILES_INCLUDE", "a, b", ["a", "b"]),
        ("STREAM_MAPS", '{"files": null}', {"files": None}),
        ("STREAM_MAPS", "", ""),
        ("FLATTENING_MAX_DEPTH", "2", 2),
        ("FLATTENING_ENABLED", "True", True),
        ("FLATTENING_SEPARATOR", "1", "1"),
        ("STUDY_ID", "60", "60"),
    ],
)
def test_a_variable_is_what_its_setting_is(name: str, text: str, value: Any) -> None:
    config = read(**SOURCE, **{name: text}).config
    assert config.get(name.lower(), "") == value


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"FREEZE_SCHEMA": "treu"}, "freeze_schema: must be true or false"),
        ({"FREEZE_SCHEMA": "'true'"}, "freeze_schema: is in quotes"),
        ({"EXPORT_RETRIES": '"2"'}, "export_retries: is in quotes"),
        ({"EXPORT_RETRIES": "two"}, "export_retries: must be a whole number"),
        ({"BATCH_IDS": "'[\"b\"]'"}, "batch_ids: is in quotes"),
        ({"BATCH_IDS": '"b"'}, "batch_ids: is in quotes"),
        ({"BATCH_IDS": '["b"'}, "batch_ids: must be an array"),
        ({"FILES_URI": "'s3://bucket'"}, "files_uri: is in quotes"),
        ({"API_TOKEN": f"'{TOKEN}'"}, "api_token: is in quotes"),
        ({"PROLIFIC_TOKEN": f'"{TOKEN}"'}, "api_token: is in quotes"),
        ({"PROLIFIC_TOKEN": '""'}, "api_token: is in quotes"),
        ({"STREAM_MAPS": "'{\"files\": null}'"}, "stream_maps: is in quotes"),
        ({"STREAM_MAPS": '{"files": null'}, "stream_maps: does not fit its schema (type)"),
        ({"FLATTENING_ENABLED": "'false'"}, "flattening_enabled: is in quotes"),
        ({"FLATTENING_MAX_DEPTH": "deep"}, "flattening_max_depth: does not fit its schema"),
    ],
    ids=str,
)
def test_a_variable_that_is_not_is_refused_with_the_reason(
    variables: dict[str, str], problem: str
) -> None:
    [found] = refused(read, **SOURCE, **variables)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"flattening_max_depth": "1"}, {"flattening_max_depth": 1}),
        ({"flattening_max_depth": Decimal("1.0")}, {"flattening_max_depth": 1}),
        ({"flattening_enabled": "false"}, {"flattening_enabled": False}),
        ({"stream_maps": '{"files": null}'}, {"stream_maps": {"files": None}}),
        ({"stream_map_config": ""}, {}),
        ({"flattening_separator": ""}, {"flattening_separator": ""}),
    ],
    ids=str,
)
def test_the_sdks_own_settings_are_read_as_ours_are(
    given: dict[str, Any], meant: dict[str, Any]
) -> None:
    tap = TapProlificExport(config={"archive_paths": ["x.zip"], **given})
    assert tap.config == {"archive_paths": ["x.zip"], **meant}


def test_an_unknown_setting_is_refused_even_if_it_is_empty() -> None:
    config = {"archive_paths": ["x.zip"], "batch_id": ""}
    [problem] = refused(TapProlificExport, config=config)
    assert problem.startswith("batch_id: unknown setting")


def docker_values(text: str) -> dict[str, str]:
    """Read a file as ``docker run --env-file`` does: nothing is taken off a value."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_the_example_environment_is_the_same_for_meltano_and_docker() -> None:
    path = ROOT / ".env.example"
    values = docker_values(path.read_text(encoding="utf-8"))
    assert values == dotenv_values(path)
    assert values.pop("PROLIFIC_TOKEN") == ""
    variables = {name.removeprefix(PREFIX): value for name, value in values.items()}
    tap = read(PROLIFIC_TOKEN=TOKEN, **variables)
    settings = Settings.from_config(tap.config, {"PROLIFIC_TOKEN": TOKEN})
    assert settings.collection_ids == ("6650d1a2b3c4d5e6f7081920",)
    assert (settings.batch_ids, settings.workspace_ids) == ((), ())
