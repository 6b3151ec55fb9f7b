"""What may be given as a state, and what is done with one that cannot be read."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from tap_prolific_export.singer.state import parse_state, unwrapped
from tests.support.stand_in import World
from tests.support.tap import entry, ids

if TYPE_CHECKING:
    from tests.support.stand_in import Hosted
    from tests.support.tap import Runner

OLD: dict[str, Any] = {"bookmarks": {"files": {"partitions": []}}}
NEW: dict[str, Any] = {"bookmarks": {"tasks": {"partitions": []}}}
OLD_LINE, NEW_LINE = json.dumps(OLD), json.dumps(NEW)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        pytest.param("", {}, id="empty"),
        pytest.param(" \r\n\n", {}, id="white space"),
        pytest.param("null", {}, id="null"),
        pytest.param("{}", {}, id="object without anything"),
        pytest.param(NEW_LINE + "\n", NEW, id="one line"),
        pytest.param(json.dumps(NEW, indent=2), NEW, id="one value in many lines"),
        pytest.param(f"{OLD_LINE}\n{NEW_LINE}", NEW, id="two lines"),
        pytest.param(f"{OLD_LINE}\r\n{NEW_LINE}\r\n\n", NEW, id="two lines of Windows"),
        pytest.param('{}\n{"x": "\u2028"}', {"x": "\u2028"}, id="line separator inside a text"),
    ],
)
def test_the_last_state_of_a_text_counts(text: str, state: Any) -> None:
    assert parse_state(text) == state


@pytest.mark.parametrize("text", ["{", f"{OLD_LINE}\n{NEW_LINE[:-3]}", "state", "{}{}"])
def test_what_is_no_json_is_no_state(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting|Extra data"):
        parse_state(text)


@pytest.mark.parametrize(
    "wrapped",
    [
        NEW,
        {"type": "STATE", "value": NEW},
        {"singer_state": NEW},
        {"type": "STATE", "value": {"singer_state": NEW}},
        {"completed": {"singer_state": NEW}, "partial": {}},
        {"completed": {"singer_state": OLD}, "partial": {"singer_state": NEW}},
        {"completed": {"singer_state": NEW}, "partial": {"singer_state": {}}},
        {"partial": {"singer_state": NEW}},
    ],
    ids=str,
)
def test_what_others_put_around_a_state_is_taken_off(wrapped: Any) -> None:
    assert unwrapped(wrapped) == NEW


@pytest.fixture
def world() -> World:
    """A world whose archive is the same in every run: only the state decides what is emitted."""
    world = World(generation="idempotent")
    world.reuse_seconds = 10**6
    return world


@pytest.mark.parametrize("wrap", ["value", "singer_state", "completed"])
def test_a_run_goes_on_from_a_state_as_others_keep_it(
    wrap: str, runner: Runner, collection: Hosted, caplog: pytest.LogCaptureFixture
) -> None:
    first = runner.sync(**ids(collection))
    second = runner.sync(state={wrap: first.state}, **ids(collection))
    assert second.of_type("RECORD") == []
    assert second.state["bookmarks"] == first.state["bookmarks"]
    assert "cannot be read" not in caplog.text


def spoilt(state: dict[str, Any], kind: str) -> str:
    """Spoil a state; return the streams that are delivered anew, as the log names them."""
    bookmarks = state["bookmarks"]
    if kind == "no bookmarks":
        state["bookmarks"] = None
        return "all streams"
    if kind == "not a state":
        state["streams"] = state.pop("bookmarks")
        return "all streams"
    if kind == "text for streams":
        bookmarks |= {"responses": ["y"], "answers": "x"}
        return "responses, answers"
    if kind == "null for a partition":
        bookmarks["responses"]["partitions"] = [None]
        return "responses"
    bookmarks["files"]["partitions"][0]["context"] = "diary"
    return "files"


@pytest.mark.parametrize(
    "kind",
    ["no bookmarks", "not a state", "text for streams", "null for a partition", "text for a key"],
)
def test_what_cannot_be_read_is_delivered_anew_with_a_warning_and_nothing_else(
    kind: str, runner: Runner, collection: Hosted, caplog: pytest.LogCaptureFixture
) -> None:
    first = runner.sync(**ids(collection))
    state = json.loads(json.dumps(first.state))
    anew = spoilt(state, kind)
    with caplog.at_level(logging.WARNING):
        second = runner.sync(state=state, **ids(collection))
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [f"The state has bookmarks that cannot be read, and begins anew for {anew}."]
    streams = {message["stream"] for message in second.of_type("RECORD")} - {"collections"}
    everything = {"instructions", "responses", "answers", "files"}
    assert streams == (everything if anew == "all streams" else {*anew.split(", ")})
    third = runner.sync(state=second.state, **ids(collection))
    assert third.of_type("RECORD") == []
    for stream in everything:
        assert entry(third.state, stream, collection)["fingerprint"]
