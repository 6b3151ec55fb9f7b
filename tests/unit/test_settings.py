"""What is read from a configuration and the environment, and what is refused without a quote."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from singer_sdk.typing import DEFAULT_JSONSCHEMA_VALIDATOR

from tap_prolific_export.errors import ConfigError
from tap_prolific_export.settings import SETTINGS, Setting, Settings, config_jsonschema

TOKEN = "sk-MaRkEr-7"
MINIMAL = {"api_token": TOKEN, "collection_ids": ["c1"]}
SOURCES = ("collection_ids", "batch_ids", "workspace_ids", "archive_paths")
NAMES = [field.name for field in fields(Settings)]


def read(config: dict[str, Any], **environment: str) -> Settings:
    return Settings.from_config(config, environment)


def problems(config: dict[str, Any], **environment: str) -> tuple[str, ...]:
    """Return what is wrong with a configuration, having looked for the token in the error."""
    with pytest.raises(ConfigError) as caught:
        Settings.from_config(config, environment, also_known=["stream_maps"])
    assert TOKEN not in str(caught.value)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


def test_what_is_not_set_has_its_default() -> None:
    unset = {name: value for name, value in asdict(read(MINIMAL)).items() if name not in MINIMAL}
    assert unset == {
        "api_url": "https://api.prolific.com",
        **dict.fromkeys(["batch_ids", "workspace_ids", "archive_paths"], ()),
        **dict.fromkeys(["study_id", "start_date"]),
        "answer_keys": "label",
        "freeze_schema": False,
        "lookback_seconds": 86_400,
        "files_uri": None,
        "files_include": (),
        "files_max_bytes": None,
        "files_concurrency": 4,
        "on_bad_line": "fail",
        "max_line_bytes": 16 * 1024**2,
        "emit_activate_version_messages": False,
        "poll_interval_seconds": 4,
        "export_timeout_seconds": 3600,
        "export_retries": 2,
        "max_pending_exports": 16,
        "delete_exports": "created",
        "request_timeout_seconds": 60,
    }


def test_null_and_empty_text_are_as_if_not_set() -> None:
    texts = {name: "" for name in NAMES if name not in MINIMAL}
    assert read(dict.fromkeys(NAMES) | MINIMAL) == read(MINIMAL) == read(MINIMAL | texts)


def test_archives_alone_need_no_token() -> None:
    alone = read({"archive_paths": ["exports/*.zip"]})
    assert (alone.archive_paths, alone.api_token) == (("exports/*.zip",), None)
    assert not alone.uses_api


@pytest.mark.parametrize("source", SOURCES[:3])
def test_every_source_but_archives_needs_a_token(source: str) -> None:
    config = {source: ["id-1"], "archive_paths": ["x.zip"]}
    (problem,) = problems(config)
    assert all(name in problem for name in ("api_token", "PROLIFIC_TOKEN"))
    assert problems(config | {"api_token": " "}) == (problem,)
    assert read(config, PROLIFIC_TOKEN=TOKEN).uses_api


@pytest.mark.parametrize("config", [{}, {"collection_ids": [], "archive_paths": None}])
def test_without_a_source_all_four_are_named(config: dict[str, Any]) -> None:
    (problem,) = problems(config | {"api_token": TOKEN})
    assert all(source in problem for source in SOURCES)


@pytest.mark.parametrize(
    ("configured", "environment", "used"),
    [
        pytest.param({"api_token": "own"}, {"PROLIFIC_TOKEN": "env"}, "own", id="own first"),
        pytest.param({"api_token": ""}, {"PROLIFIC_TOKEN": "env"}, "env", id="empty: environment"),
        pytest.param({"api_token": None}, {"PROLIFIC_TOKEN": "env"}, "env", id="null: environment"),
        pytest.param({}, {"PROLIFIC_TOKEN": "env\n"}, "env", id="environment, line break after"),
        pytest.param({"api_token": " own\r\n"}, {}, "own", id="white space around"),
    ],
)
def test_the_token_comes_from_the_configuration_else_the_environment(
    configured: dict[str, Any], environment: dict[str, str], used: str
) -> None:
    assert read({"batch_ids": ["b1"]} | configured, **environment).api_token == used


def test_the_environment_is_the_process_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROLIFIC_TOKEN", TOKEN)
    monkeypatch.setenv("PROLIFIC_URL", "https://env.example.com")
    found = Settings.from_config({"batch_ids": ["b1"]})
    assert (found.api_token, found.api_url) == (TOKEN, "https://env.example.com")


@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com:8443/prolific/", "https://api.example.com:8443/prolific"),
        (" https://api.example.com// ", "https://api.example.com"),
        ("http://localhost:8400", "http://localhost:8400"),
        ("http://127.0.0.2", "http://127.0.0.2"),
        ("http://[::1]:8400/", "http://[::1]:8400"),
    ],
)
def test_the_url_comes_from_the_configuration_else_the_environment(url: str, used: str) -> None:
    assert read(MINIMAL, PROLIFIC_URL=url).api_url == used
    assert read(MINIMAL | {"api_url": url}, PROLIFIC_URL="https://env").api_url == used


REFUSED: list[Any] = f"""
    http://api.prolific.com http://localhost.example.com http://127.0.0.1.example.com
    http://0.0.0.0:8400 http://localhost@{TOKEN}.example.com https://user:{TOKEN}@api.prolific.com
    https://{TOKEN}@api.prolific.com https://api.prolific.com?key={TOKEN}
    https://api.prolific.com/#{TOKEN} https://api.prolific.com:{TOKEN} https://api.prolific.com:-1
    https://api.prolific.com:65536 https://[{TOKEN} https:// https:/api.prolific.com
    api.prolific.com ftp://{TOKEN} file:///etc/passwd
""".split()
ODD = ["https://h?", "https://h/#", "https://a b", "https://h/\nx", "http://local\thost"]


@pytest.mark.parametrize("url", REFUSED + ODD)
def test_a_url_that_could_leak_the_token_or_is_none_is_refused(url: str) -> None:
    for (problem,) in (problems(MINIMAL | {"api_url": url}), problems(MINIMAL, PROLIFIC_URL=url)):
        assert problem.startswith("api_url: ")


@pytest.mark.parametrize("break_", ["\n", "\r\n", " ", "\t", "\0", "\u2028", "é"])
def test_a_token_that_no_header_can_carry_is_refused_unseen(break_: str) -> None:
    (problem,) = problems(MINIMAL | {"api_token": f"{TOKEN}{break_}{TOKEN}"})
    assert problem.startswith("api_token: ")
    assert problems({"batch_ids": ["b"]}, PROLIFIC_TOKEN=f"{TOKEN}{break_}{TOKEN}") == (problem,)


BAD_IDS = ["", " ", f"{TOKEN}/b", "..", f"{TOKEN}?", "a b", " a", "%2F", "#", "é", "a\n", 129 * "x"]


@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize("setting", SOURCES[:3])
def test_an_id_that_could_leave_its_place_in_a_url_is_refused(setting: str, bad: str) -> None:
    (problem,) = problems({"api_token": TOKEN, setting: ["fine", bad]})
    assert problem.startswith(f"{setting}: item 2 ")
    if bad and bad == bad.strip():  # a text on its own is trimmed
        assert problems(MINIMAL | {"study_id": bad})[0].startswith("study_id: ")


def test_an_id_in_both_lists_is_refused() -> None:
    (problem,) = problems(MINIMAL | {"batch_ids": ["b1", "c1"]})
    assert all(name in problem for name in ("collection_ids", "batch_ids"))


def test_an_id_that_stands_twice_in_one_list_is_meant_once() -> None:
    assert read(MINIMAL | {"batch_ids": ["b1", "B-2_", "b1"]}).batch_ids == ("b1", "B-2_")


def test_a_token_in_both_lists_is_not_quoted() -> None:
    problems({"api_token": TOKEN, "collection_ids": [TOKEN], "batch_ids": [TOKEN]})


WRONG: dict[str, tuple[object, ...]] = {
    "boolean": (TOKEN, "yes", "1", "tru", 0, 1, [True], {"a": TOKEN}),
    "string": (5, 1.5, True, [TOKEN], {"a": TOKEN}),
    "integer": (TOKEN, "4 s", "1.5", "1e3", "٤", "9" * 5000, 1.5, True, [4], {"a": TOKEN}, -1),
    "array": (
        TOKEN,
        '["a"',
        '{"a": "b"}',
        5,
        True,
        {"a": TOKEN},
        [5],
        [None],
        [[TOKEN]],
        [{"a": TOKEN}],
        [" "],
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_value_of_another_type_is_refused_unseen(name: str) -> None:
    for value in WRONG[config_jsonschema()["properties"][name]["type"][0]]:
        found = problems({"archive_paths": ["x.zip"], name: value})
        assert [problem.partition(": ")[0] for problem in found] == [name]


TEXTS: dict[str, tuple[tuple[Any, Any], ...]] = {
    "boolean": (("true", True), ("False", False), (" TRUE\n", True)),
    "integer": (
        *(("3600", 3600), ("+7", 7), (" 60.0 ", 60), ("007", 7), ("5.", 5)),
        *((60.0, 60), (Decimal("60.0"), 60), (Decimal("6E+1"), 60)),
    ),
    "array": (('["a", "b"]', ("a", "b")), (" [] ", ()), ('["a"]\n', ("a",))),
}


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.type in TEXTS], ids=lambda s: s.name)
def test_what_means_one_value_only_is_that_value(setting: Setting) -> None:
    """As `meltano config set` writes it, and JSON may write a whole number."""
    for text, value in TEXTS[setting.type]:
        config = {"api_token": TOKEN, "archive_paths": ["x.zip"], setting.name: text}
        if setting.name == "archive_paths":
            config["batch_ids"] = ["b"]
        assert getattr(read(config), setting.name) == value


@pytest.mark.parametrize("number", [1e300, float("inf"), float("nan"), Decimal("1e999999999")])
def test_a_number_beyond_all_use_is_refused(number: Any) -> None:
    (problem,) = problems(MINIMAL | {"lookback_seconds": number})
    assert problem == "lookback_seconds: must be a whole number."


@pytest.mark.parametrize(
    "setting", [s for s in SETTINGS if s.type == "string"], ids=lambda s: s.name
)
@pytest.mark.parametrize("text", ["true", "60", '["a"]', '{"a": "b"}'])
def test_a_text_stays_a_text(setting: Setting, text: str) -> None:
    try:
        found = getattr(read(MINIMAL | {setting.name: text}), setting.name)
    except ConfigError:
        return  # no URL, no date: refused as what it is
    assert found == text


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.name)
@pytest.mark.parametrize("quoted", ['"{}"', "'{}'", ' "{}"\n'])
def test_a_value_in_quotes_is_refused_with_that_reason(setting: Setting, quoted: str) -> None:
    inside = {"integer": "60", "boolean": "true", "array": '["a"]'}.get(setting.type, TOKEN)
    for text in (quoted.format(inside), quoted.format("")):
        config = {"archive_paths": ["x.zip"], setting.name: text}
        if setting.name == "archive_paths":
            config["batch_ids"] = ["b"]
            config["api_token"] = TOKEN
        (problem,) = problems(config)
        assert problem.startswith(f"{setting.name}: is in quotes")
        assert "docker run --env-file" in problem
        if setting.environment:
            del config[setting.name]
            assert problems(config, **{setting.environment: text}) == (problem,)


@pytest.mark.parametrize("token", [f'"{TOKEN}', f"{TOKEN}'", '"'])
def test_a_token_with_half_of_its_quotes_is_refused(token: str) -> None:
    for (problem,) in (
        problems(MINIMAL | {"api_token": token}),
        problems({"batch_ids": ["b"]}, PROLIFIC_TOKEN=token),
    ):
        assert problem.startswith("api_token: is in quotes")


@pytest.mark.parametrize(
    "setting", [s for s in SETTINGS if s.minimum is not None], ids=lambda s: s.name
)
def test_the_least_number_is_accepted_and_a_lesser_is_not(setting: Setting) -> None:
    assert setting.minimum is not None
    read(MINIMAL | {setting.name: setting.minimum})
    [problem] = problems(MINIMAL | {setting.name: setting.minimum - 1})
    assert problem == f"{setting.name}: must be at least {setting.minimum}."


@pytest.mark.parametrize("date", ["2026-01-31", "2026-01-31T00:00:00", "2026-01-31T01:00:00+01:00"])
def test_a_start_date_without_zone_is_utc(date: str) -> None:
    start = read(MINIMAL | {"start_date": date}).start_date
    assert start == datetime(2026, 1, 31, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        *(("start_date", text, "2026-01-31") for text in (TOKEN, "2026-02-30", "31/01/2026", " ")),
        *(("answer_keys", text, "instruction_id, label") for text in (TOKEN, "Label", " ")),
    ],
)
def test_a_text_of_no_allowed_form_is_refused_with_a_hint(name: str, value: str, hint: str) -> None:
    (problem,) = problems(MINIMAL | {name: value})
    assert problem.startswith(f"{name}: ")
    assert hint in problem


@pytest.mark.parametrize(
    ("name", "meant"),
    [("colection_ids", "collection_ids"), ("token", "api_token"), ("stream_map", "stream_maps")],
)
def test_an_unknown_setting_is_named_with_the_likely_one(name: str, meant: str) -> None:
    (problem,) = problems(MINIMAL | {name: TOKEN, "stream_maps": {}})
    assert problem == f"{name}: unknown setting. Did you mean {meant}?"
    assert problems(MINIMAL | {"zzz": TOKEN}) == ("zzz: unknown setting.",)


def test_every_problem_is_reported_at_once() -> None:
    wrong = {"colour": 1, "api_token": 5, "start_date": "x", "batch_ids": "b", "answer_keys": 1}
    assert {problem.partition(":")[0] for problem in problems(wrong)} == {*wrong}
    assert len(problems({"collection_ids": ["a", "b"], "batch_ids": ["b", "a"]})) == 3


around = st.text(max_size=3)
shapes = st.sampled_from(["https://u:{}@h", "https://h:{}", "http://{}", "2026-01-31T{}", "{}\n{}"])
texts = st.one_of(
    st.builds("{}{}{}".format, around, st.just(TOKEN), around),
    shapes.map(lambda shape: shape.replace("{}", TOKEN)),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200)
@given(
    st.dictionaries(st.sampled_from([*NAMES, "colour"]), values, max_size=4),
    st.dictionaries(st.sampled_from(["PROLIFIC_TOKEN", "PROLIFIC_URL"]), texts),
)
def test_whatever_is_configured_is_read_or_refused_and_never_quoted(
    config: dict[str, Any], environment: dict[str, str]
) -> None:
    assume(not {"collection_ids", "batch_ids"} <= config.keys())  # the bug above
    try:
        Settings.from_config(MINIMAL | config, environment)
    except ConfigError:
        assert problems(MINIMAL | config, **environment)


def test_the_schema_tells_what_each_setting_is() -> None:
    schema = config_jsonschema()
    DEFAULT_JSONSCHEMA_VALIDATOR.check_schema(schema)
    assert [*schema["properties"]] == NAMES
    for name, setting in schema["properties"].items():
        assert setting["title"].strip()
        assert len(setting["description"]) > len(setting["title"])
        assert setting.get("secret", False) is (name == "api_token")
        assert setting.get("writeOnly", False) is (name == "api_token")


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_agrees_with_what_is_read(name: str) -> None:
    validator = DEFAULT_JSONSCHEMA_VALIDATOR(config_jsonschema())
    setting = config_jsonschema()["properties"][name]
    assert validator.is_valid(MINIMAL | {name: setting.get("default")})
    for value in WRONG[setting["type"][0]]:
        assert value == [" "] or not validator.is_valid({name: value})
    if "default" in setting:
        assert read(MINIMAL | {name: setting["default"]}) == read(MINIMAL)
