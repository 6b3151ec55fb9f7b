"""The fast way to stdout makes the same records as the SDK's, and as the tolerant way."""

from __future__ import annotations

import io
import json
import random
from contextlib import redirect_stdout
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from singer_sdk import Stream
from singer_sdk.mapper import SameRecordTransform

from tap_prolific_export import records
from tap_prolific_export.api import DataCollectionRef, Kind
from tap_prolific_export.archive import Archive, Limits, Line
from tap_prolific_export.collection import parse
from tap_prolific_export.compiled import compiled
from tap_prolific_export.errors import DataCollectionError
from tap_prolific_export.lines import responses
from tap_prolific_export.pieces import LocalBytes
from tap_prolific_export.records import ExportFacts
from tap_prolific_export.streams import base, fast
from tests import fuzz
from tests.stand_in import Hosted, Submission, World, samples
from tests.test_archive import zipped
from tests.test_tap import ids

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Output, Runner

FACTS = ExportFacts("c", "e", datetime(2026, 1, 31, tzinfo=timezone.utc))
Row = dict[str, Any]


def told(out: Output) -> list[Row]:
    """Return all messages, but for when they were made."""
    return [{n: v for n, v in m.items() if n != "time_extracted"} for m in out.messages]


@pytest.fixture(params=["instruction_id", "label"])
def both(
    request: pytest.FixtureRequest, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Output, Output]]:
    """Sync twice, the SDK's way and ours; return what each has written."""

    def sync(**config: Any) -> tuple[Output, Output]:
        config = {"answer_keys": request.param, "lookback_seconds": 10**9, **config}
        config["delete_exports"] = "never"
        ours = runner.sync(**config)
        with monkeypatch.context() as patch:
            patch.setattr(base, "is_plain", lambda _: False)
            sdks = runner.sync(**config)
        return ours, sdks

    return sync


def rows_of(out: Output) -> list[Row]:
    """Return the records, but for what tells of the export, which is another one each time."""
    own = {"export_id", "exported_at", "full_exported_at", "modified_at"}
    return [
        {"stream": m["stream"], **{n: v for n, v in m["record"].items() if n not in own}}
        for m in out.of_type("RECORD")
    ]


class TestTheSdkWouldAddNothing:
    @pytest.mark.parametrize("lines", ["nested", "flat", "by task"])
    def test_all_records_of_all_streams_are_the_same(
        self, lines: Any, both: Any, world: World, collection: Hosted, batch: Hosted
    ) -> None:
        batch.lines = lines
        odd: Row = {
            "submission_id": "odd",
            "extra": "\0",
            "responses": {"q-name": {"value": "a\0"}},
        }
        again: Row = {"submission_id": "odd", "responses": {"q-minutes": {"value": "7"}}}
        for number, line in enumerate((odd, again, {"note": "without an id"})):
            collection.submissions[f"more {number}"] = Submission(line, world.now(), "x")
        ours, sdks = both(**ids(collection, batch))
        assert len(rows_of(ours)) > 100
        assert rows_of(ours) == rows_of(sdks)
        kinds = [{m["type"] for m in out.messages} for out in (ours, sdks)]
        assert kinds[0] == kinds[1] == {"SCHEMA", "RECORD", "STATE"}
        assert told(ours)[0] == told(sdks)[0]

    def test_responses_that_share_an_id_are_told_apart(
        self, both: Any, world: World, collection: Hosted
    ) -> None:
        line = next(iter(collection.submissions.values())).line
        for number, name in enumerate(("Toast", "Soup", "Toast")):
            answers = {**line["responses"], "q-name": {"value": name}}
            again = {**line, "responses": answers}
            collection.submissions[f"more {number}"] = Submission(again, world.now(), "x")
        ours, sdks = both(**ids(collection))
        key = ours.rows("instructions")[0]["answer_key"]
        shared = [
            {row["response_id"]: row["answers"][key] for row in out.rows("responses")}
            for out in (ours, sdks)
        ]
        assert shared[0] == shared[1]
        own = line["submission_id"]
        assert {shared[0][own], shared[0][f"{own}:2"], shared[0][f"{own}:3"]} == {
            "Porridge",
            "Toast",
            "Soup",
        }
        assert len(shared[0]) == 10
        assert ours.rows("collections")[-1]["exported_response_count"] == 10

    def test_nothing_is_said_to_be_delivered_that_was_not_written(
        self, runner: Runner, collection: Hosted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(lines: bytes) -> None:
            if b'"stream":"responses"' in lines:
                raise BrokenPipeError

        monkeypatch.setattr(fast, "write_lines", broken)
        tap = runner.tap(**ids(collection))
        with redirect_stdout(io.StringIO()), pytest.raises(BrokenPipeError):
            tap.sync_all()
        assert "instructions" in tap.state["bookmarks"]
        assert not tap.state["bookmarks"].get("responses", {}).get("partitions")

    def test_versions_are_told(self, both: Any, runner: Runner, collection: Hosted) -> None:
        catalog = runner.catalog(**ids(collection))
        for stream in catalog["streams"]:
            stream["replication_method"] = "FULL_TABLE"
        ours, sdks = both(catalog=catalog, emit_activate_version_messages=True, **ids(collection))
        assert rows_of(ours) == rows_of(sdks)
        versions = [{type(m.get("version")) for m in o.of_type("RECORD")} for o in (ours, sdks)]
        assert versions == [{int}, {int}]


@pytest.mark.parametrize(
    "config",
    [
        {"stream_maps": {"responses": {"participant_id": "md5(participant_id)"}}},
        {"stream_maps": {"responses": {"__filter__": "submission_id != ''"}}},
        {"flattening_enabled": True, "flattening_max_depth": 1},
    ],
    ids=["map", "filter", "flattening"],
)
def test_where_records_are_transformed_they_go_the_sdks_way(
    config: dict[str, Any], runner: Runner, collection: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    went: dict[str, bool] = {}

    def watch(stream: Stream) -> bool:
        went[stream.name] = fast.is_plain(stream)
        return went[stream.name]

    monkeypatch.setattr(base, "is_plain", watch)
    runner.sync(**ids(collection))
    assert went["responses"]
    runner.sync(**config, **ids(collection))
    assert not went["responses"]


def test_what_is_relied_on_in_the_sdk_is_there(runner: Runner, collection: Hosted) -> None:
    tap = runner.tap(**ids(collection))
    for stream in tap.streams.values():
        assert stream.ABORT_AT_RECORD_COUNT is None
        [stream_map] = stream.stream_maps
        assert type(stream_map) is SameRecordTransform
        assert stream_map.flattening_enabled is False
        assert callable(stream.get_record_counter)
        assert callable(stream.get_sync_timer)
        assert callable(Stream._sync_records)


# Lines


def made(sample: dict[str, bytes]) -> tuple[Any, Any]:
    """Return what makes the rows of a collection's lines: in blocks, and the tolerant way."""
    collection = parse(
        DataCollectionRef(Kind.COLLECTION, "c"), json.loads(sample["collection.json"])
    )
    columns = records.answer_columns(collection, "instruction_id")
    archive = Archive(LocalBytes(io.BytesIO(data := zipped(sample)), len(data), None), "x")

    def tolerantly(text: bytes) -> list[Row]:
        packed = zipped(sample | {"responses.jsonl": text})
        source = LocalBytes(io.BytesIO(packed), len(packed), None)
        return [
            records.response_row(FACTS, response, columns, archive.uploads)[0]
            for line in Archive(source, "x").lines()
            for response in responses(line.object, line.as_it_came)
        ]

    return compiled(FACTS, columns, archive.uploads), tolerantly


def in_blocks(rows: Any, text: bytes) -> list[Row] | None:
    found = rows(text)
    return None if found is None else [json.loads(msgspec.json.encode(row)) for row in found]


DIARY = samples.breakfast_diary(8)
SAMPLE = {
    name: content
    for name, content in fuzz._of(DIARY).items()
    if name in {"collection.json", "responses.jsonl"} or name.startswith("files/")
}
LINES = [json.loads(line) for line in SAMPLE["responses.jsonl"].splitlines()]


def test_lines_as_they_should_be_are_taken_in_blocks() -> None:
    rows, tolerantly = made(SAMPLE)
    text = SAMPLE["responses.jsonl"]
    assert in_blocks(rows, text) == tolerantly(text)


TIMES = [
    "2026-01-31T09:00:00Z",
    "2026-01-31T09:00:00.5Z",
    "2026-01-31T09:00:00+02:00",
    "2026-01-31 09:00",
    "2026-01-31",
    "2026-02-30T09:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "2026-01-31T24:00:00Z",
    "2026-01-31T09:60:00Z",
    " 2026-01-31T09:00:00Z",
    "soon",
    "",
]


@pytest.mark.parametrize("time", TIMES)
def test_times_are_read_alike(time: str) -> None:
    rows, tolerantly = made(SAMPLE)
    for _ in range(2):  # some are looked up the second time
        text = json.dumps({"submission_id": "s", "submitted_at": time, "responses": {}}).encode()
        assert in_blocks(rows, text) in (None, tolerantly(text))


def test_whatever_a_line_holds_it_is_read_alike_or_left_to_the_tolerant_way() -> None:
    taken = 0
    names = [*json.loads(SAMPLE["collection.json"]), "value", "unit", "type", "instruction_id"]
    for seed in range(4000):
        chance = random.Random(seed)  # noqa: S311
        line = json.loads(json.dumps(chance.choice(LINES)))
        for _ in range(chance.randint(1, 3)):
            line = fuzz.mutated_json(chance, line, names)
        text = fuzz.dumps(line)
        rows, tolerantly = made_once()
        found = in_blocks(rows(), text)
        if found is not None:
            taken += 1
            assert found == tolerantly(text), text
    assert taken > 100


_MADE: list[Any] = []


def made_once() -> tuple[Any, Any]:
    """Return what `made` does of the sample, made once: the blocks' by a call, as it gives up."""
    if not _MADE:
        _MADE.append(made(SAMPLE)[1])
        collection = parse(
            DataCollectionRef(Kind.COLLECTION, "c"), json.loads(SAMPLE["collection.json"])
        )
        columns = records.answer_columns(collection, "instruction_id")
        data = zipped(SAMPLE)
        uploads = Archive(LocalBytes(io.BytesIO(data), len(data), None), "x").uploads
        _MADE.append(lambda: compiled(FACTS, columns, uploads))
    return _MADE[1], _MADE[0]


VALUES: list[Any] = [None, "", "x", "7", " 7 ", "1e3", "1e400", 7, 7.5, True]
VALUES += [[], [None], ["a"], ["a", 1], [[]], {}, 2**63, -(2**63)]
ENTRIES: list[Any] = [
    None,
    {},
    [],
    "",
    "x",
    "7",
    7,
    7.0,
    2**63,
    True,
    *({"value": value} for value in VALUES),
    {"value": "7", "unit": "g"},
    {"value": None, "unit": "g"},
    {"value": 7, "unit": None},
    {"value": "7", "unit": 7},
    {"value": "a", "type": "free_text"},
    {"value": "a", "type": "another"},
    {"value": "a", "instruction_id": "q-name"},
    *({"value": [{"value": v, "explanation": e}]} for v in (None, 1, "a") for e in (None, "", "x")),
    {"value": [{"value": 1}, {"value": None}]},
    {"value": [{"value": 1, "text": "x"}]},
    {"path": "files/x.png"},
    {"value": {"path": "files/x.png", "file_name": "x"}},
]


@pytest.mark.parametrize("entry", ENTRIES, ids=json.dumps)
def test_whatever_an_answer_is_it_is_read_alike_or_left_to_the_tolerant_way(entry: Any) -> None:
    for question in json.loads(SAMPLE["collection.json"])["instructions"]:
        rows, tolerantly = made(SAMPLE)
        line = {"submission_id": "s", "responses": {question["id"]: entry}}
        text = json.dumps(line).encode()
        assert in_blocks(rows, text) in (None, tolerantly(text)), question


@pytest.mark.parametrize("depth", [190, 197, 198, 199, 200, 300])
def test_so_deep_is_read_alike(depth: int) -> None:
    rows, tolerantly = made(SAMPLE)
    deep = "[" * depth + "]" * depth
    text = f'{{"submission_id": "s", "responses": {{"q-signature": {deep}}}}}'.encode()
    found = in_blocks(rows, text)
    try:
        assert found == tolerantly(text)
    except DataCollectionError:
        assert found is None


def test_after_many_that_do_not_fit_it_is_not_tried_any_more() -> None:
    rows, _ = made(SAMPLE)
    for _ in range(100):
        assert rows(b"{}") is None
    assert rows(SAMPLE["responses.jsonl"]) is None


# Blocks


class TestBlocks:
    """Whole lines are given to the fast way in blocks, and numbered all the same."""

    def lines(self, text: bytes, **limits: Any) -> list[Any]:
        data = zipped({"responses.jsonl": text})
        archive = Archive(LocalBytes(io.BytesIO(data), len(data), None), "x", Limits(**limits))

        def even(block: bytes) -> list[int] | None:
            """Take blocks of an even number of lines only."""
            try:
                found = [json.loads(line)["n"] for line in block.splitlines() if line.strip()]
            except ValueError:
                return None
            return found if len(found) % 2 == 0 else None

        return [
            number
            for found in archive.lines(even)
            for number in ([found.object["n"]] if isinstance(found, Line) else found)
        ]

    def test_all_lines_come_in_order(self) -> None:
        text = b"".join(b'{"n": %d, "x": "%b"}\n' % (n, b"x" * (n % 997)) for n in range(20_000))
        assert self.lines(text) == [*range(20_000)]
        assert self.lines(text[:-1]) == [*range(20_000)]
        assert self.lines(text.replace(b"\n", b"\r\n\n")) == [*range(20_000)]

    @pytest.mark.parametrize("bad", [0, 1, 7_000, 19_999])
    def test_a_bad_line_is_named_by_its_number(self, bad: int) -> None:
        made_ = [b'{"n": %d, "x": "%b"}' % (n, b"x" * (n % 997)) for n in range(20_000)]
        made_[bad] = b"{"
        with pytest.raises(DataCollectionError, match=f"line {bad + 1}, is no valid JSON"):
            self.lines(b"\n".join(made_))
        good = [n for n in range(20_000) if n != bad]
        assert self.lines(b"\n".join(made_), skip_bad_lines=True) == good

    @pytest.mark.parametrize("limit", [40, 10_000, 1 << 20])
    def test_so_is_one_that_is_too_long(self, limit: int) -> None:
        made_ = [b'{"n": %d}' % n for n in range(5000)]
        made_[4000] = b'{"n": 4000, "x": "%b"}' % (b"x" * (limit + 1))
        with pytest.raises(DataCollectionError, match=r"line 4001, holds over .* max_line_bytes"):
            self.lines(b"\n".join(made_), max_line_bytes=limit)
        good = [n for n in range(5000) if n != 4000]
        found = self.lines(b"\n".join(made_), max_line_bytes=limit, skip_bad_lines=True)
        assert found == good
