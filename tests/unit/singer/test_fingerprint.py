"""Which stream maps apply to a stream, and what its fingerprint makes of them."""

from __future__ import annotations

import logging
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from singer_sdk.mapper import PluginMapper, RemoveRecordTransform

from tap_prolific_export.singer.sdk import applicable_maps
from tap_prolific_export.tap import TapProlificExport

STREAMS = ("collections", "instructions", "tasks", "responses", "answers", "files")
CATALOG = {
    "streams": [
        {
            "tap_stream_id": name,
            "stream": name,
            "schema": {"type": "object", "properties": {}},
            "metadata": [{"breadcrumb": [], "metadata": {"selected": True}}],
        }
        for name in STREAMS
    ]
}
MD5: dict[str, Any] = {"participant_id": "md5(participant_id)"}
SHA = {"participant_id": "sha256(participant_id)"}


def fingerprints(**config: Any) -> dict[str, str]:
    tap = TapProlificExport(
        config={"archive_paths": ["x.zip"], **deepcopy(config)}, catalog=deepcopy(CATALOG)
    )
    return {name: getattr(tap.streams[name], "fingerprint") for name in STREAMS}  # noqa: B009


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Return the streams whose fingerprint tells two values of ``stream_maps`` apart."""
    one, other = fingerprints(stream_maps=before), fingerprints(stream_maps=after)
    return {name for name in STREAMS if one[name] != other[name]}


@pytest.mark.parametrize(
    ("before", "after", "streams"),
    [
        pytest.param({}, {"resp*": MD5}, {"responses"}, id="glob"),
        pytest.param({}, {"[ra]*s": MD5}, {"responses", "answers"}, id="glob of two"),
        pytest.param({}, {"*": {"x": "'x'"}}, {*STREAMS}, id="glob of all"),
        pytest.param(
            {}, {"x": {"__source__": "responses", **MD5}}, {"responses"}, id="another stream of it"
        ),
        pytest.param(
            {"x": {"__source__": "responses", **MD5}},
            {"y": {"__source__": "responses", **MD5}},
            {"responses"},
            id="another name of that stream",
        ),
        pytest.param(
            {}, {"x": {"__source__": "f*s", **MD5}}, {"files"}, id="another stream of a glob"
        ),
        pytest.param(
            {"x": {"__source__": "tasks"}},
            {"x": {"__source__": "tasks"}, "__else__": None},
            {*STREAMS},
            id="else, which leaves only the other stream",
        ),
        pytest.param({"resp*": MD5}, {"resp*": SHA}, {"responses"}, id="another map of a glob"),
        pytest.param({}, {"t*": {"__alias__": "'x'"}}, {"tasks"}, id="glob with an alias"),
        pytest.param(
            {"tasks": MD5, "t*": SHA}, {"t*": SHA, "tasks": MD5}, {"tasks"}, id="order: last counts"
        ),
        pytest.param({"tasks": MD5}, {"t*": MD5}, set(), id="glob with the same effect"),
        pytest.param({"tasks": MD5, "t*": SHA}, {"t*": SHA}, set(), id="map that another replaces"),
        pytest.param({}, {"response": MD5, "Resp*": MD5}, set(), id="of no stream"),
        pytest.param(
            {},
            {"responses": {"__source__": "answers", **MD5}},
            {"answers"},
            id="another stream with the name of one",
        ),
        pytest.param(
            {"responses": MD5}, {"responses": MD5, "__else__": None}, {*STREAMS} - {"responses"},
            id="else, for those without a map",
        ),
    ],
)  # fmt: skip
def test_exactly_the_streams_that_a_map_applies_to_change(
    before: dict[str, Any], after: dict[str, Any], streams: set[str]
) -> None:
    assert changed(before, after) == changed(after, before) == streams


PLAIN = {
    "collections": "f951d580",
    "instructions": "19df8893",
    "tasks": "3570cb7b",
    "responses": "754f83f4",
    "answers": "3570cb7b",
    "files": "9ed4ffb2",
}


@pytest.mark.parametrize(
    ("config", "different"),
    [
        ({}, {}),
        ({"stream_maps": {}}, {}),
        ({"stream_maps": {"responses": SHA}}, {"responses": "620097de"}),
        ({"stream_maps": {"r*": SHA, "responses": SHA}}, {"responses": "620097de"}),
    ],
)
def test_a_state_of_an_earlier_version_is_still_known(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], different: dict[str, str]
) -> None:
    """Written down: with other ones, an update of the tap would deliver everything anew."""
    monkeypatch.setattr("tap_prolific_export.singer.stream.RECORD_FORMAT", 1)  # as it was then
    names = {"answer_keys": "instruction_id"}  # the default of then
    assert fingerprints(**names, **config) == PLAIN | different


def test_what_has_other_names_by_default_is_delivered_anew() -> None:
    before, now = fingerprints(answer_keys="instruction_id"), fingerprints()
    assert {name for name in STREAMS if before[name] != now[name]} == {"responses", "instructions"}
    assert now == fingerprints(answer_keys="label")


NAMES = st.sampled_from(["responses", "resp*", "*", "answers", "[ar]*", "Resp*", "made"])
OPTIONS = st.fixed_dictionaries(
    {}, optional={"__source__": NAMES, "__alias__": st.just("'x'")}
) | st.just(None)


@given(st.dictionaries(NAMES, OPTIONS), st.booleans())
def test_the_maps_that_apply_are_those_that_the_sdk_applies(
    options: dict[str, Any],
    has_else: bool,  # noqa: FBT001
) -> None:
    # Each map adds a column of its own, so that its effect is seen in the schema.
    maps: dict[str, Any] = {"__else__": None} if has_else else {}
    columns = [f"column_{n}" for n in range(len(options))]
    for column, (name, each) in zip(columns, options.items(), strict=True):
        maps[name] = each if each is None else {**each, column: "'x'"}
    found = applicable_maps(maps, "responses")
    mapper = PluginMapper({"stream_maps": deepcopy(maps)}, logging.getLogger())
    schema = {"type": "object", "properties": {"id": {"type": "string"}}}
    mapper.register_raw_stream_schema("responses", schema, ["id"])
    first, *others = mapper.stream_maps["responses"]

    def added(properties: dict[str, Any] | None) -> set[str]:
        return {*(properties or {})} & {*columns}

    made = found.get("__source__", {})
    own = found.get("responses", found.get("__else__", {}))
    assert (own is None) == isinstance(first, RemoveRecordTransform)
    if own is not None:
        assert added(own) == added(first.transformed_schema["properties"])
    # The SDK gives a map whose name is the glob of its source the stream's own name.
    aliases = {name: "responses" if maps[name]["__source__"] == name else name for name in made}
    assert [(aliases[name], added(each)) for name, each in made.items()] == [
        (each.stream_alias, added(each.transformed_schema["properties"])) for each in others
    ]
