"""Records are those that the SDK itself would write, and are written in whole lines."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from copy import deepcopy
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest
from singer_sdk import Stream
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.singerlib.json import serialize_json

from tap_prolific_export.archive.export_archive import ExportArchive
from tap_prolific_export.rows.structs import as_dict
from tap_prolific_export.singer import writer as writers
from tap_prolific_export.singer.writer import RecordWriter
from tests.support.stand_in import Submission, World
from tests.support.tap import deselect, ids, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.stand_in import Hosted
    from tests.support.tap import Catalog, Output, Runner

    Both = Callable[..., tuple[Output, Output]]

Row = dict[str, Any]
ALL = ("collections", "instructions", "tasks", "responses", "answers", "files")


def write_as_the_sdk(writer: RecordWriter, rows: Sequence[Any]) -> None:
    """Write rows one by one, as the SDK's own loop does."""
    if writer._left is not None:
        rows = rows[: writer._left]
        writer._left -= len(rows)
    for row in rows:
        record = as_dict(row)
        # A copy: the SDK removes what is deselected from the record itself.
        writer._stream._write_record_message(deepcopy(record))
        writer._count(1)


@pytest.fixture
def world() -> World:
    """A world of one generation: which it is makes no difference to what is written."""
    return World()


@pytest.fixture(params=["instruction_id", "label"])
def keys(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def both(keys: Any, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> Both:
    """Sync twice, our way and the SDK's; return what each has written."""

    def sync(catalog: Catalog | None = None, *, limit: int = 0, **config: Any) -> Any:
        config = {"lookback_seconds": 10**9, "delete_exports": "never", **config}
        found = []
        for write in (RecordWriter.write, write_as_the_sdk):
            with monkeypatch.context() as patch, redirect_stdout(io.StringIO()) as out:
                patch.setattr(RecordWriter, "write", write)
                tap = runner.tap(deepcopy(catalog), answer_keys=keys, **deepcopy(config))
                if limit:
                    tap.run_sync_dry_run(dry_run_record_limit=limit)
                else:
                    tap.sync_all()
            found.append(read(out.getvalue()))
        return tuple(found)

    return sync


def as_text(value: Any) -> str:
    """Return a text in which 1, 1.0 and True are not the same."""
    return json.dumps(value, sort_keys=True)


def records_of(out: Output) -> dict[str, list[str]]:
    """Return the RECORD messages of each stream, as text.

    What tells of the export or of the time is left out: it is another one each time.
    """
    own = {"export_id", "exported_at", "full_exported_at", "modified_at"}
    found: dict[str, list[str]] = {}
    for message in out.of_type("RECORD"):
        assert datetime.fromisoformat(message.pop("time_extracted")).tzinfo
        record = {n: v for n, v in message.pop("record").items() if n not in own}
        version = type(message.pop("version", None)).__name__
        stream = message.pop("stream")
        assert message == {"type": "RECORD"}
        found.setdefault(stream, []).append(as_text([version, record]))
    return found


def check(written: tuple[Output, Output], *streams: str) -> dict[str, list[str]]:
    """Check that all records are the same, and of which streams there are any; return them."""
    ours, sdks = (records_of(out) for out in written)
    assert ours == sdks
    assert {*ours} >= {*streams}
    schemas = [
        [{**m["schema"], "stream": m["stream"]} for m in out.of_type("SCHEMA")] for out in written
    ]
    assert schemas[0] == schemas[1]
    return ours


def answer_key(runner: Runner, hosted: Hosted, keys: Any, instruction_id: str) -> str:
    rows = runner.sync(answer_keys=keys, **ids(hosted)).rows("instructions")
    [key] = [row["answer_key"] for row in rows if row["instruction_id"] == instruction_id]
    assert isinstance(key, str)
    return key


MAPS: dict[str, Row] = {
    "md5": {"responses": {"participant_id": "md5(participant_id)"}},
    "computed": {
        "answers": {
            "two": "value_number * 2 if value_number else None",
            "raw": "str(answer_index)",
        }
    },
    "column-dropped": {"responses": {"answers": None}, "files": {"crc32": None}},
    "else-null": {"responses": {}, "answers": {}, "__else__": None},
    "columns-else-null": {
        "responses": {
            "data_collection_id": "data_collection_id",
            "response_id": "response_id",
            "person": "participant_id",
            "__else__": None,
        }
    },
    "filter": {"answers": {"__filter__": "answer_index == 1"}},
    "filter-all": {"tasks": {"__filter__": "False"}, "files": {"__filter__": "size_bytes < 0"}},
    "alias": {"responses": {"__alias__": "people"}, "answers": {"__alias__": "said"}},
    "two-of-one": {
        "copy": {"__source__": "responses", "participant_id": "None"},
        "responses": {"study_id": "study_id"},
    },
    "objects": {
        "responses": {
            "moment": "datetime.datetime.fromisoformat(submitted_at)",
            "day": "datetime.date(2026, 1, 31)",
            "length": "datetime.timedelta(days=1)",
            "several": "[1, submission_id]",
            "object": "{'id': submission_id, 'answers': answers}",
            "parsed": "json.loads('[1.5, null, {}]')",
            "infinite": "1e999",
            "large": "10 ** 30",
        }
    },
    "another-key": {"responses": {"__key_properties__": ["submission_id"]}},
}


class TestTheSdkWouldWriteTheSame:
    def test_all_records_of_all_streams(
        self, both: Both, world: World, collection: Hosted, batch: Hosted
    ) -> None:
        odd: Row = {
            "submission_id": "odd",
            "extra": "\0",
            "responses": {"q-name": {"value": "a\0"}},
        }
        again: Row = {"submission_id": "odd", "responses": {"q-minutes": {"value": "7"}}}
        large: Row = {"submission_id": "large", "responses": {"q-minutes": {"value": 2**62}}}
        for number, line in enumerate((odd, again, large, {"note": "without an id"})):
            collection.submissions[f"more {number}"] = Submission(line, world.now(), "x")
        written = both(**ids(collection, batch))
        records = check(written, *ALL)
        assert sum(map(len, records.values())) > 100
        kinds = [{m["type"] for m in out.messages} for out in written]
        assert kinds[0] == kinds[1] == {"SCHEMA", "RECORD", "STATE"}

    @pytest.mark.parametrize("lines", ["nested", "flat", "by task"])
    def test_whatever_a_batchs_lines_are(self, lines: Any, both: Both, batch: Hosted) -> None:
        batch.lines = lines
        check(both(**ids(batch)), "tasks", "responses", "answers")

    @pytest.mark.parametrize("name", MAPS)
    def test_with_stream_maps(self, name: str, both: Both, collection: Hosted) -> None:
        plain = records_of(both(**ids(collection))[0])
        found = check(both(stream_maps=MAPS[name], **ids(collection)))
        assert (found == plain) == (name == "another-key")  # only the SCHEMA tells that

    @pytest.mark.parametrize("depth", [1, 2])
    def test_with_flattening(
        self, depth: int, both: Both, collection: Hosted, batch: Hosted
    ) -> None:
        flat = {"flattening_enabled": True, "flattening_max_depth": depth}
        found = check(both(**flat, **ids(collection, batch)), *ALL)
        names = {name for text in found["responses"] for name in json.loads(text)[1]}
        assert {name.count("__") for name in names} == {0, *range(1, depth + 1)}

    def test_with_maps_and_flattening(self, both: Both, collection: Hosted) -> None:
        for name in ("md5", "computed", "column-dropped", "two-of-one"):
            flat = {"flattening_enabled": True, "flattening_max_depth": 2}
            check(both(stream_maps=MAPS[name], **flat, **ids(collection)), "responses", "answers")

    @pytest.mark.parametrize(
        "path",
        [
            ("responses", "study_id"),
            ("responses", "answers"),
            ("responses", "answers", "q-name"),
            ("responses", "answers", "q-weight"),
            ("responses", "answers", "q-weight", "unit"),
            ("answers", "value_number"),
            ("answers", "question"),
            ("files", "crc32"),
            ("instructions", "options"),
        ],
        ids=".".join,
    )
    def test_what_is_deselected_is_left_out(
        self, path: tuple[str, ...], keys: Any, both: Both, runner: Runner, collection: Hosted
    ) -> None:
        if len(path) > 2:
            path = (*path[:2], answer_key(runner, collection, keys, path[2]), *path[3:])
        catalog = runner.catalog(answer_keys=keys, **ids(collection))
        catalog = deselect(catalog, *path)
        for more in ({}, {"stream_maps": MAPS["md5"]}):
            found = check(both(catalog, **more, **ids(collection)), "responses", "answers", "files")
            for text in found[path[0]]:
                record = json.loads(text)[1]
                for name in path[1:-1]:
                    record = record.get(name) or {}
                assert path[-1] not in record

    def test_several_are_deselected_and_flattened(
        self, keys: Any, both: Both, runner: Runner, collection: Hosted
    ) -> None:
        weight, name = (answer_key(runner, collection, keys, q) for q in ("q-weight", "q-name"))
        catalog = runner.catalog(answer_keys=keys, **ids(collection))
        for path in (("answers", weight, "value"), ("answers", name), ("task_id",)):
            catalog = deselect(catalog, "responses", *path)
        flat = {"flattening_enabled": True, "flattening_max_depth": 2}
        for more in ({}, flat):
            [first, *_] = check(both(catalog, **more, **ids(collection)))["responses"]
            assert weight in first
            assert name not in first
            assert "task_id" not in first

    def test_with_versions(self, keys: Any, both: Both, runner: Runner, collection: Hosted) -> None:
        catalog = runner.catalog(answer_keys=keys, **ids(collection))
        for stream in catalog["streams"]:
            stream["replication_method"] = "FULL_TABLE"
        for more in ({}, {"stream_maps": MAPS["md5"]}):
            config = {"emit_activate_version_messages": True, **more, **ids(collection)}
            found = check(both(catalog, **config), "responses", "files")
            versions = {json.loads(text)[0] for texts in found.values() for text in texts}
            assert versions == {"int"}

    @pytest.mark.parametrize("limit", [1, 3])
    @pytest.mark.parametrize("maps", ["", "filter", "two-of-one"])
    def test_with_a_limit(self, maps: str, limit: int, both: Both, collection: Hosted) -> None:
        found = check(both(limit=limit, stream_maps=MAPS.get(maps, {}), **ids(collection)))
        counts = {stream: len(texts) for stream, texts in found.items()}
        assert counts["responses"] == counts["instructions"] == limit
        assert counts["files"] == min(2, limit)
        assert 0 < counts["answers"] <= limit

    def test_with_a_new_question_of_a_later_data_collection(
        self, both: Both, runner: Runner, keys: Any, collection: Hosted, batch: Hosted
    ) -> None:
        catalog = runner.catalog(answer_keys=keys, **ids(batch))
        for frozen in (False, True):
            check(both(catalog, freeze_schema=frozen, **ids(collection, batch)), "responses")


# What stream maps can make, and might one day.
MADE: dict[str, Any] = {
    "moment": datetime(2026, 1, 31, 9, 30, 0, 5, tzinfo=timezone.utc),
    "moment elsewhere": datetime(2026, 1, 31, 9, tzinfo=timezone(timedelta(hours=2))),
    "moment nowhere": datetime(2026, 1, 31, 9),  # noqa: DTZ001
    "day": date(2026, 1, 31),
    "time": time(9, 30),
    "length": timedelta(days=1, seconds=3),
    "Decimal": Decimal("1.50"),
    "large Decimal": Decimal(10) ** 30,
    "list": [1, "a", None],
    "list of Decimals": [Decimal("0.1")],
    "list of moments": [datetime(2026, 1, 31, tzinfo=timezone.utc)],
    "list of lengths": [timedelta(1)],
    "list of days in an object": {"a": [date(2026, 1, 31)]},
    "tuple": (1, "a"),
    "UUID": UUID(int=7),
    "UUID in a list": [UUID(int=7)],
    "set": {1},
    "bytes": b"a",
    "bytes in a list": [b"a"],
    "no number": float("nan"),
    "infinite": float("inf"),
    "infinite in a list": [float("-inf")],
    "large integer": 10**30,
    "large integer in a list": [-(10**30)],
    "half of a pair": "\ud800",
    "half of a pair in a name": {"\ud800": 1},
    "number as a name": {1: 2},
    "no field": {},
    "complex": 1j,
    "text": 'a "text" \\ \u2028 \U0001f600 \x7f \n',
    "number": 1e16,
    "small number": 5e-324,
    "minus nothing": -0.0,
}


class MappedStream:
    """As much of a stream as a writer needs; its map makes one value."""

    name, version, deselected = "responses", None, ()

    def __init__(self, made: Any) -> None:
        record = {"id": "a", "made": made, "more": 1}
        self.record_maps = [SimpleNamespace(stream_alias="people", transform=lambda _: record)]


@pytest.mark.parametrize("name", MADE)
def test_whatever_a_map_makes_is_written_as_the_sdk_writes_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    monkeypatch.setattr(writers, "write_lines", written.append)
    stream: Any = MappedStream(MADE[name])
    writer = RecordWriter(stream, lambda _: None)
    writer.write([{"id": "a"}] * 2)
    writer.flush()
    *lines, rest = b"".join(written).split(b"\n")
    expected = json.loads(serialize_json({"id": "a", "made": MADE[name], "more": 1}))
    assert (len(lines), rest) == (2, b"")
    for line in lines:
        message = json.loads(line)
        assert as_text(message["record"]) == as_text(expected)
        assert (message["type"], message["stream"]) == ("RECORD", "people")


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


def test_nothing_is_said_to_be_delivered_that_was_not_written(
    runner: Runner, collection: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(lines: bytes) -> None:
        if b'"RECORD","stream":"responses"' in lines:
            raise BrokenPipeError

    monkeypatch.setattr(writers, "write_lines", broken)
    tap = runner.tap(**ids(collection))
    with redirect_stdout(io.StringIO()), pytest.raises(BrokenPipeError):
        tap.sync_all()
    assert "instructions" in tap.state["bookmarks"]
    for stream in ("responses", "answers", "files"):
        assert not tap.state["bookmarks"].get(stream, {}).get("partitions")


def test_responses_that_share_an_id_are_told_apart(
    both: Both, world: World, collection: Hosted
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
    names = {shared[0][own], shared[0][f"{own}:2"], shared[0][f"{own}:3"]}
    assert names == {"Porridge", "Toast", "Soup"}
    assert len(shared[0]) == 10
    assert ours.rows("collections")[-1]["exported_response_count"] == 10


def test_where_answers_may_be_hidden_no_other_field_tells_them(
    runner: Runner, world: World, collection: Hosted
) -> None:
    line: Row = {"submission_id": "odd", "extra": {"answers": "SECRET"}, "responses": {}}
    collection.submissions["more"] = Submission(line, world.now(), "x")
    catalog = runner.catalog(**ids(collection))
    out = runner.sync(catalog, freeze_schema=True, **ids(collection))
    assert len(out.rows("responses")) == 9
    assert "SECRET" not in json.dumps(out.rows("responses"))


def counted(caplog: pytest.LogCaptureFixture) -> dict[str, int]:
    """Return how many records the metrics tell of, by stream."""
    said = [record.getMessage().partition("METRIC: ")[2] for record in caplog.records]
    found: dict[str, int] = {}
    for metric in [json.loads(each) for each in said if each]:
        if metric["metric"] == "record_count":
            stream = metric["tags"]["stream"]
            found[stream] = found.get(stream, 0) + metric["value"]
    return found


@pytest.mark.parametrize("limit", [None, 3])
def test_as_many_are_counted_as_are_written(
    limit: int | None, runner: Runner, collection: Hosted, caplog: pytest.LogCaptureFixture
) -> None:
    tap = runner.tap(**ids(collection))
    with redirect_stdout(io.StringIO()) as written:
        if limit:
            tap.run_sync_dry_run(dry_run_record_limit=limit)
        else:
            tap.sync_all()
    out, found = read(written.getvalue()), counted(caplog)
    for stream in ("collections", "instructions", "responses", "answers", "files"):
        assert found[stream] == len(out.rows(stream)) > 0


def test_the_lines_are_read_once_for_all_streams(
    runner: Runner, collection: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = []

    def watch(archive: ExportArchive, *decode: Any) -> Any:
        readings.append(archive.name)
        return lines(archive, *decode)

    lines = ExportArchive.lines
    monkeypatch.setattr(ExportArchive, "lines", watch)
    out = runner.sync(**ids(collection))
    assert len(out.rows("responses")) == 8
    assert len(out.rows("files")) > 0
    assert len(readings) == 2  # the ids alone, and the lines


def test_what_a_frozen_schema_leaves_out_is_said_once(
    runner: Runner, collection: Hosted, batch: Hosted, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = runner.catalog(**ids(batch))
    runner.sync(catalog, freeze_schema=True, **ids(collection))
    assert caplog.text.count("are left out, as freeze_schema is set") == 1


class PlainStream:
    """As much of a stream as a writer needs, without anything that changes its records."""

    name, version, record_maps, deselected = "tasks", None, None, ()


def plain_writer(count: Callable[[int], None], limit: int | None = None) -> RecordWriter:
    stream: Any = PlainStream()
    return RecordWriter(stream, count, limit)


def test_of_no_rows_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    counts: list[int] = []
    monkeypatch.setattr(writers, "write_lines", written.append)
    writer = plain_writer(counts.append)
    for _ in range(10):
        writer.write([])
    assert writer._written == []
    writer.flush()
    assert (written, counts) == ([], [])


def test_rows_are_written_in_whole_lines_and_not_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[bytes] = []
    counts: list[int] = []
    monkeypatch.setattr(writers, "write_lines", written.append)
    writer = plain_writer(counts.append)
    for number in range(3000):
        writer.write([{"number": number}])
    assert 1 < len(written) < 30
    writer.flush()
    assert all(each.endswith(b"\n") for each in written)
    lines = b"".join(written).splitlines()
    assert [json.loads(line)["record"]["number"] for line in lines] == [*range(3000)]
    assert sum(counts) == 3000
    assert len(counts) == len(written)


def test_a_row_that_cannot_be_encoded_is_written_the_sdks_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[bytes] = []
    monkeypatch.setattr(writers, "write_lines", written.append)
    writer = plain_writer(lambda _: None)
    row = msgspec.defstruct("Row", ["id", "text", "gone"])
    writer.write([row("a", "\ud800", msgspec.UNSET), {"id": 10**30}])
    writer.flush()
    records = [json.loads(line)["record"] for line in b"".join(written).splitlines()]
    assert records == [{"id": "a", "text": "\ud800"}, {"id": 10**30}]


def test_of_more_rows_than_the_limit_the_first_are_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[bytes] = []
    counts: list[int] = []
    monkeypatch.setattr(writers, "write_lines", written.append)
    writer = plain_writer(counts.append, 3)
    for number in range(0, 10, 2):
        assert writer.is_full == (number > 3)
        writer.write([{"number": number}, {"number": number + 1}])
    writer.flush()
    lines = b"".join(written).splitlines()
    assert [json.loads(line)["record"]["number"] for line in lines] == [0, 1, 2]
    assert counts == [3]
