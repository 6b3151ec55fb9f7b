"""The fast way to stdout makes the same records as the SDK's, and as the tolerant way."""

from __future__ import annotations

import io
import json
import random
from contextlib import redirect_stdout
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from singer_sdk import Stream
from singer_sdk.mapper import SameRecordTransform

from tap_prolific_export.archive.export_archive import Block, ExportArchive, Limits, Line, Upload
from tap_prolific_export.errors import DataCollectionError
from tap_prolific_export.model import DataCollectionRef, Kind
from tap_prolific_export.rows.collection import parse
from tap_prolific_export.rows.compiled import AnswerRows, NamedFiles, NoTasks, ResponseRows
from tap_prolific_export.rows.responses import responses
from tap_prolific_export.rows.tables import ExportFacts, answer_columns, answer_rows, response_row
from tap_prolific_export.rows.typed import LOOKED_AT, MAX_OTHERS, MAX_QUESTIONS, TypedLines
from tap_prolific_export.singer import sync
from tap_prolific_export.singer import writer as fast
from tap_prolific_export.singer.sdk import SdkStream
from tap_prolific_export.singer.writer import MappedWriter
from tests.support import fuzz
from tests.support.memory_archives import open_archive
from tests.support.stand_in import Hosted, Submission, World, samples
from tests.support.tap import ids
from tests.support.zips import pack

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_prolific_export.rows.typed import Maker
    from tests.support.tap import Output, Runner

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
            patch.setattr(SdkStream, "is_plain", property(lambda _: False))
            sdks = runner.sync(**config)
        return ours, sdks

    return sync


def rows_of(out: Output) -> list[Row]:
    """Return the records, but for what tells of the export, which is another one each time.

    Streams, and a response's answers, come in any order: they are sorted.
    """
    own = {"export_id", "exported_at", "full_exported_at", "modified_at"}
    rows = [
        {"stream": m["stream"], **{n: v for n, v in m["record"].items() if n not in own}}
        for m in out.of_type("RECORD")
    ]
    return sorted(
        rows, key=lambda row: (row["stream"], (row["stream"] == "answers" and place_of(row)) or ())
    )


def place_of(row: Row) -> tuple[Any, ...]:
    return row["response_id"], row["instruction_id"], row["answer_index"]


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
            if b'"RECORD","stream":"responses"' in lines:
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

    def test_where_answers_may_be_hidden_no_other_field_tells_them(
        self, runner: Runner, world: World, collection: Hosted
    ) -> None:
        line: Row = {"submission_id": "odd", "extra": {"answers": "SECRET"}, "responses": {}}
        collection.submissions["more"] = Submission(line, world.now(), "x")
        catalog = runner.catalog(**ids(collection))
        out = runner.sync(catalog, freeze_schema=True, **ids(collection))
        assert len(out.rows("responses")) == 9
        assert "SECRET" not in json.dumps(out.rows("responses"))

    def test_as_many_are_counted_as_are_written(
        self, runner: Runner, collection: Hosted, caplog: pytest.LogCaptureFixture
    ) -> None:
        out = runner.sync(**ids(collection))
        said_ = [r.getMessage().partition("METRIC: ")[2] for r in caplog.records]
        metrics = [json.loads(each) for each in said_ if each]
        counted: dict[str, int] = {}
        for metric in metrics:
            if metric["metric"] == "record_count":
                stream = metric["tags"]["stream"]
                counted[stream] = counted.get(stream, 0) + metric["value"]
        for stream in ("responses", "answers", "files"):
            assert counted[stream] == len(out.rows(stream)) > 0

    def test_the_lines_are_read_once(
        self, runner: Runner, collection: Hosted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        catalog = runner.catalog(**ids(collection))
        catalog["streams"] = [s for s in catalog["streams"] if s["tap_stream_id"] != "files"]
        readings = []

        def watch(archive: ExportArchive, *made: Any) -> Any:
            readings.append(archive.name)
            return lines(archive, *made)

        lines = ExportArchive.lines
        monkeypatch.setattr(ExportArchive, "lines", watch)
        out = runner.sync(catalog, **ids(collection))
        assert len(out.rows("responses")) == 8
        assert len(readings) == 1

    def test_what_a_frozen_schema_leaves_out_is_said_once(
        self, runner: Runner, collection: Hosted, batch: Hosted, caplog: pytest.LogCaptureFixture
    ) -> None:
        catalog = runner.catalog(**ids(batch))
        runner.sync(catalog, freeze_schema=True, **ids(collection))
        assert caplog.text.count("are left out, as freeze_schema is set") == 1

    def test_one_that_is_transformed_is_not_written_with_the_others(
        self, both: Any, collection: Hosted
    ) -> None:
        maps = {"responses": {"participant_id": "md5(participant_id)"}}
        ours, sdks = both(stream_maps=maps, **ids(collection))
        assert rows_of(ours) == rows_of(sdks)


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
    went: list[str] = []

    class Watched(MappedWriter):
        def __init__(self, stream: SdkStream, count: Callable[[int], None]) -> None:
            went.append(stream.name)
            super().__init__(stream, count)

    monkeypatch.setattr(sync, "MappedWriter", Watched)
    runner.sync(**ids(collection))
    assert went == []
    runner.sync(**config, **ids(collection))
    assert "responses" in went


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

DIARY = samples.breakfast_diary(8)
SAMPLE = {
    name: content
    for name, content in fuzz._of(DIARY).items()
    if name in {"collection.json", "responses.jsonl"} or name.startswith("files/")
}
LINES = [json.loads(line) for line in SAMPLE["responses.jsonl"].splitlines()]
QUESTIONS = json.loads(SAMPLE["collection.json"])
COLUMNS = answer_columns(
    parse(DataCollectionRef(Kind.COLLECTION, "c"), QUESTIONS), "instruction_id"
)


def packed_with(text: bytes, questions: Row = QUESTIONS) -> bytes:
    questions_text = json.dumps(questions).encode()
    return pack({**SAMPLE, "responses.jsonl": text, "collection.json": questions_text})


def made_fast(text: bytes, questions: Row = QUESTIONS) -> int:
    """Return of how many responses the fast way has made the rows; all streams' are the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fuzz, "READ_FAST", 1)
        found = fuzz.read(packed_with(text, questions))
    assert found.otherwise == []
    return found.made_fast


def said(**fields: Any) -> bytes:
    return fuzz.dumps({"submission_id": "s", "responses": {}, **fields}) + b"\n"


def test_lines_as_they_should_be_are_taken() -> None:
    assert made_fast(SAMPLE["responses.jsonl"]) == len(LINES)


def test_one_that_is_odd_makes_the_others_no_slower() -> None:
    lines = SAMPLE["responses.jsonl"].splitlines(keepends=True)
    for odd in (b"{}\n", b'{"submission_id": "o", "responses": {"q-none": 1}}\n', b"\r\n", b"\n"):
        assert made_fast(b"".join([lines[0], odd, *lines[1:]])) == len(lines)


ONE = b'{"submission_id": "%d", "responses": {}}'
HALVES = b'{"submission_id": "9", "responses":', b"{}}"


@pytest.mark.parametrize(
    "lines",
    [
        (ONE % 1 + ONE % 2,),
        (ONE % 1 + b" " + ONE % 2, b""),
        (ONE % 1 + ONE % 2, b" ", ONE % 3),
        (b"", ONE % 1 + ONE % 2),
        HALVES,
        (*HALVES, ONE % 1 + ONE % 2),
        (ONE % 1 + ONE % 2, *HALVES),
        (ONE % 1, HALVES[0] + b"{}", b"}" + ONE % 2),
        (ONE % 1 + b",", ONE % 2),
        (b"[" + ONE % 1, ONE % 2 + b"]"),
    ],
)
def test_a_line_is_one_object(lines: tuple[bytes, ...]) -> None:
    lossless = SAMPLE["responses.jsonl"]
    for end in (b"", b"\n"):
        for before in (b"", lossless):
            text = before + b"\n".join(lines) + end
            assert fuzz.read(packed_with(text)).error
            assert TypedLines(COLUMNS, NoTasks())(text) is None


TIMES = [
    "2026-01-31T09:00:00Z",
    "2026-01-31T09:00:00.5Z",
    "2026-01-31T09:00:00.000000Z",
    "2026-01-31T09:00:00.1234567Z",
    "2026-01-31T09:00:00+02:00",
    "2026-01-31T09:00:00-00:00",
    "2026-01-31T09:00:00",
    "2026-01-31t09:00:00z",
    "2026-01-31 09:00",
    "2026-01-31",
    "2026-02-30T09:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-00:01",
    "2026-01-31T24:00:00Z",
    "2026-01-31T09:60:00Z",
    " 2026-01-31T09:00:00Z",
    "soon",
    "",
    None,
    7,
]


@pytest.mark.parametrize("name", ["submitted_at", "completed_at", "created_at"])
def test_times_are_read_alike(name: str) -> None:
    for time in TIMES:
        made_fast(said(**{name: time}))
    assert made_fast(said(**{name: TIMES[0]})) == 1


@given(st.datetimes(timezones=st.timezones() | st.just(timezone.utc)))
def test_so_is_any_time(moment: datetime) -> None:
    made_fast(said(submitted_at=moment.isoformat()))


TWO = {"submitted_at": TIMES[0], "completed_at": TIMES[1]}


@pytest.mark.parametrize(
    ("lines", "fast"),
    [
        ([TWO, {**TWO, "created_at": "x"}], 1),
        ([TWO, {"completed_at": TIMES[0]}], 1),  # which then is the response's time
        ([TWO, {"submitted_at": TIMES[0]}], 2),
        ([TWO, {}], 1),
        ([{"completed_at": TIMES[0]}, {"submitted_at": TIMES[0]}], 1),
        ([{"completed_at": TIMES[0]}, {}], 2),
    ],
)
def test_so_are_several_times(lines: list[Row], fast: int) -> None:
    text = b"".join(said(submission_id=f"s{n}", **line) for n, line in enumerate(lines))
    made_fast(text)
    # What comes later than those that are looked at was not foreseen.
    first = b"".join(said(submission_id=f"f{n}", **lines[0]) for n in range(LOOKED_AT))
    assert made_fast(first + text) == LOOKED_AT + fast


OTHERS: list[Row] = [
    {"status": "APPROVED"},
    {"status": None, "reward": 1.5, "bonus": 10**400},
    {"device": {"b": [1, {"c": "\ud800"}], "a": "\0"}, "": "", "é": "é"},
    {"deep": json.loads("[" * 150 + "]" * 150)},
    {"deep": json.loads("[" * 199 + "]" * 199)},
    {"tags": ["["] * 300},
    {'a"b': 1},
    {"a\\b": 1},
    {"id": "r"},
    {"response_id": "r", "id": 7},
    {"task_id": "t", "datapoint": {}},
    {"datapoint": {"x": 1}, "metadata": 1},
    {"tasks": []},
    {"tasks": [{"task_id": "t", "responses": {}}]},
    {"submissions": "x"},
    {"answers": {"q-name": 1}},
    {"answers_": 1, "responses_": {}},
    {"participant_id": None, "study_id": 7},
    {"participant_id": "", "study_id": "x"},
    {"submission_id": None},
    {"responses": []},
    {"responses": [{"instruction_id": "q-name", "value": "x"}]},
    {f"field {n}": n for n in range(MAX_OTHERS + 1)},
]


@pytest.mark.parametrize("other", OTHERS, ids=range(len(OTHERS)))
def test_whatever_else_a_line_holds_it_is_read_alike(other: Row) -> None:
    made_fast(said(**other))
    more = b"".join(
        said(**{"submission_id": f"s{n}", **(other if n % 2 else {})}) for n in range(9)
    )
    made_fast(more)
    made_fast(SAMPLE["responses.jsonl"] + more)


def test_what_else_is_usual_is_learnt_from_the_first_lines() -> None:
    line = LINES[0] | {"status": "APPROVED", "device": {"kind": "phone"}, "reward": 1.5}
    lines = [line | {"submission_id": f"s{n}"} for n in range(300)]
    del lines[7]["device"], lines[200]["status"]
    assert made_fast(b"".join(fuzz.dumps(line) + b"\n" for line in lines)) == 300


def test_whatever_is_mutated_is_read_alike() -> None:
    fast = 0
    names = [*QUESTIONS, "value", "unit", "type", "instruction_id"]
    for seed in range(400):
        chance = random.Random(seed)  # noqa: S311
        lines = json.loads(json.dumps(chance.choices(LINES, k=2)))
        for _ in range(chance.randint(1, 3)):
            lines[1] = fuzz.mutated_json(chance, lines[1], names)
        lines[1:] = [{**line, "submission_id": "other"} for line in lines[1:] if type(line) is dict]
        fast += made_fast(b"".join(fuzz.dumps(line) + b"\n" for line in lines)) == 2
    assert fast > 40


VALUES: list[Any] = [None, "", "x", "7", " 7 ", "1e3", "1e400", 7, 7.5, True, -1, "tea", "g"]
VALUES += [[], [None], ["a"], ["a", 1], [1, "1"], [[]], {}, 2**63, -(2**63), ["tea", "tea"]]
UPLOADED = next(name for name in SAMPLE if name.startswith("files/"))
FILE = {"path": UPLOADED, "file_name": "x", "content_type": "image/png"}
FILES: list[Any] = [
    FILE,
    {"path": f"/{UPLOADED}"},
    {"path": f"./{UPLOADED}", "file_name": "", "content_type": None},
    {"path": UPLOADED.removeprefix("files/")},
    {"path": f"elsewhere/{UPLOADED}", "size_mb": 1},
    {"path": "files/x.png"},
    {"file_key": UPLOADED},
    UPLOADED,
    f"https://elsewhere.example/{UPLOADED}",
]
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
    *VALUES,
    {"value": "7", "unit": "g"},
    {"value": None, "unit": "g"},
    {"value": None, "unit": None},
    {"value": 7, "unit": None},
    {"value": "7", "unit": 7},
    {"value": "a", "type": "free_text"},
    {"value": "a", "type": "another"},
    {"value": "a", "instruction_id": "q-name"},
    *({"value": [{"value": v, "explanation": e}]} for v in (None, 1, "a") for e in (None, "", "x")),
    *([{"value": v, "explanation": e}] for v in (None, 1, "a") for e in (None, "", "x")),
    *({"value": v, "explanation": e} for v in (None, 1, "a", [1], []) for e in (None, "", "x")),
    {"value": [{"value": 1}], "explanation": ""},
    {"value": [{"value": 1}, {"value": None}]},
    {"value": [{"value": 1, "text": "x"}]},
    *FILES,
    *([file] for file in FILES),
    *({"value": file} for file in FILES),
    *({"value": [file, FILE]} for file in FILES),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=range(len(ENTRIES)))
def test_whatever_an_answer_is_it_is_read_alike(entry: Any) -> None:
    ids_ = [question["id"] for question in QUESTIONS["instructions"]]
    made_fast(b"".join(said(submission_id=id_, responses={id_: entry}) for id_ in ids_))
    made_fast(said(responses=dict.fromkeys(ids_, entry)))


FACTS = ExportFacts("c", None, datetime(2026, 2, 1, tzinfo=timezone.utc))
SIZES = {UPLOADED: Upload(1, 2, None)}


@pytest.mark.parametrize("entry", ENTRIES, ids=range(len(ENTRIES)))
def test_so_it_is_for_one_stream_alone(entry: Any) -> None:
    for id_ in COLUMNS:
        line = said(responses={id_: entry})
        [response] = responses(json.loads(line))
        row, _ = response_row(FACTS, response, COLUMNS, SIZES)
        ways: list[tuple[Maker, list[Row]]] = [
            (ResponseRows(FACTS, COLUMNS, SIZES), [row]),
            (AnswerRows(FACTS, COLUMNS, SIZES), [*answer_rows(FACTS, response, COLUMNS, SIZES)]),
        ]
        for maker, rows in ways:
            if block := TypedLines(COLUMNS, maker)(line):
                [[made]] = block.made
                made_ = fuzz.plain(made if isinstance(made, list) else [made])
                assert fuzz.in_any_order(made_) == fuzz.in_any_order(rows)


LABELLED: Row = {
    "type": "multiple_choice",
    "options": [
        {"value": value, "label": value and f"as {value}"} for value in ("7", "tea", "", "null")
    ],
}
NUMBERED: Row = {
    "type": "multiple_choice",
    "options": [{"value": value, "label": f"as {value}"} for value in (7, 7.5, 1e16, -1, 2**63)],
}
BOTH_KINDS: Row = {"options": [*NUMBERED["options"], *LABELLED["options"], {"value": True}]}


@pytest.mark.parametrize("limit", [1, -1])
@pytest.mark.parametrize("free", ["", "_with_free_text"])
@pytest.mark.parametrize("entry", [*VALUES, 1e16, "1e16", "null", FILE], ids=json.dumps)
def test_so_is_what_options_say(entry: Any, free: str, limit: int) -> None:
    kinds = [LABELLED, NUMBERED, LABELLED | BOTH_KINDS, LABELLED | {"options": [{"value": True}]}]
    kinds += [LABELLED | {"type": "file_upload"}, LABELLED | {"type": "of the future"}]
    for kind in kinds:
        question = {"id": "q", "answer_limit": limit, **kind, "type": f"{kind['type']}{free}"}
        lines = [
            said(submission_id=f"{n}", responses={"q": given})
            for n, given in enumerate((entry, {"value": entry}, {"value": [entry]}))
        ]
        made_fast(b"".join(lines), {"id": "c", "instructions": [question]})


@pytest.mark.parametrize(
    "id_", ['a"b', "a\\b", "a\nb", "é", "", "value", "a b", "\ud800", "x" * 9999]
)
def test_whatever_a_question_is_called_it_is_read_alike(id_: str) -> None:
    question = {"id": id_, "type": "free_text", "description": id_}
    made_fast(said(responses={id_: {"value": "x"}}), {"id": "c", "instructions": [question]})


def test_too_many_questions_are_not_compiled() -> None:
    for count, taken in ((MAX_QUESTIONS, 1), (MAX_QUESTIONS + 1, 0)):
        questions = [{"id": f"q{n}", "type": "free_text"} for n in range(count)]
        text = said(responses={"q7": {"value": "x"}})
        assert made_fast(text, {"id": "c", "instructions": questions}) == taken


@pytest.mark.parametrize("depth", [190, 195, 198, 199, 200, 300])
def test_so_deep_is_read_alike(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    text = f'{{"submission_id": "s", "responses": {{"q-signature": {deep}}}}}'.encode()
    assert made_fast(text) == (depth <= 199)


def files_of(line: bytes, upload: str, *questions: Row) -> list[Row]:
    """Return the rows of `files`, which are the same both ways."""
    metadata = fuzz.dumps({"id": "b", "instructions": questions})
    members = {"responses-by-submission.jsonl": line, "batch.json": metadata, upload: b"x"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fuzz, "READ_FAST", 1)
        found = fuzz.read(pack(members))
    assert found.otherwise == []
    return found.rows["files"]


@pytest.mark.parametrize("type_", ["free_text", "free_text_with_unit"])
def test_a_number_may_name_a_file(type_: str) -> None:
    number: Row = {"validation": {"type": "number"}}
    question = {"id": "q", "type": type_, **number, "unit_options": [number]}
    [file] = files_of(said(responses={"q": {"value": "7"}}), "files/7", question)
    assert file["instruction_id"] == "q"


def test_of_a_file_that_no_answer_names_the_task_is_not_told() -> None:
    [file] = files_of(said(task_id="t"), "files/s_x.txt")
    assert (file["submission_id"], file["task_id"]) == ("s", None)


def test_a_file_may_be_called_just_what_its_submission_is() -> None:
    [file] = files_of(said(), "files/s")
    assert file["submission_id"] == "s"


def tasks_of(line: bytes, by_task: bytes) -> list[Any]:
    """Return what the rows of `tasks`, which are the same both ways, say of each."""
    members = {"responses-by-submission.jsonl": line, "responses-by-task.jsonl": by_task}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fuzz, "READ_FAST", 1)
        found = fuzz.read(pack({**members, "batch.json": b'{"id": "b"}'}))
    assert found.otherwise == []
    return [json.loads(row["datapoint"]) for row in found.rows["tasks"]]


def test_a_task_that_is_told_twice_is_one() -> None:
    told_ = fuzz.dumps({"task_id": "t", "datapoint": 1}) + b"\n"
    assert tasks_of(b"", 2 * told_) == [1]
    assert tasks_of(said(task_id="t"), told_) == [1]
    assert tasks_of(said(task_id="t", datapoint=1), told_) == [1]
    assert tasks_of(said(task_id="t", datapoint=2), told_) == [1, 2]
    one, other = said(task_id="t", datapoint=2), said(submission_id="o", task_id="t", datapoint=1)
    assert tasks_of(one + other + one, b"") == [2, 1]


def test_what_a_task_is_about_stays_as_it_came() -> None:
    assert tasks_of(said(task_id="t", datapoint="\0"), b"") == ["\0"]


def test_a_file_that_two_answers_of_a_line_name_is_the_same_ones() -> None:
    questions: list[Row] = [{"id": id_, "type": "file_upload"} for id_ in ("a", "b")]
    files_of(
        said(responses={"b": {"value": ["files/x"]}, "a": {"value": ["files/x"]}}),
        "files/x",
        *questions,
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"x": json.loads("[" * 250 + "]" * 250)},
        {"responses": {"q-signature": json.loads("[" * 250 + "]" * 250)}},
    ],
    ids=["beside", "answer"],
)
def test_no_stream_takes_a_line_that_is_too_deep(fields: Row) -> None:
    makers = (NoTasks(), NamedFiles(COLUMNS, SIZES), AnswerRows(FACTS, COLUMNS, SIZES))
    for maker in (*makers, ResponseRows(FACTS, COLUMNS, SIZES)):
        assert TypedLines(COLUMNS, maker)(said(**fields)) is None


def test_two_questions_of_one_key_are_read_the_tolerant_way() -> None:
    questions = [{"id": id_, "type": "free_text"} for id_ in ("q47044", "q53798")]
    ref = DataCollectionRef(Kind.COLLECTION, "c")
    columns = answer_columns(parse(ref, {"instructions": questions}), "label")
    assert len({column.key for column in columns.values()}) == 1
    assert TypedLines(columns, ResponseRows(FACTS, columns, {}))(said()) is None


def test_options_of_a_file_question_make_lines_without_an_answer_no_slower() -> None:
    question = {**LABELLED, "id": "q", "type": "file_upload"}
    assert made_fast(said(), {"id": "c", "instructions": [question]}) == 1


def test_what_is_usual_is_learnt_beside_a_line_that_holds_a_nul() -> None:
    lines = [said(submission_id="first")]
    lines += [said(submission_id=f"s{n}", status="APPROVED") for n in range(50)]
    lines.append(said(submission_id="odd", status="\0"))
    assert made_fast(b"".join(lines)) == 51


# Blocks


def test_of_no_rows_nothing_is_kept() -> None:
    writer = fast.PlainWriter("tasks", None, lambda _: None)
    for _ in range(10):
        writer.write([])
    assert writer._written == []


class TestBlocks:
    """Whole lines are given to the fast way in blocks, and numbered all the same."""

    def lines(self, text: bytes, **limits: Any) -> list[Any]:
        archive = open_archive(pack({"responses.jsonl": text}), Limits(**limits))

        def even(block: bytes) -> Block | None:
            """Take blocks of an even number of lines only."""
            try:
                found = [json.loads(line)["n"] for line in block.splitlines()]
            except ValueError:
                return None
            return None if len(found) % 2 else Block([""] * len(found), [found])

        return [
            number
            for found in archive.lines(even)
            for number in ([found.object["n"]] if isinstance(found, Line) else found.made[0])
        ]

    @pytest.mark.parametrize("blank", [b"\n", b"\r\n", b" \n\n"])
    def test_blank_lines_are_counted(self, blank: bytes) -> None:
        archive = open_archive(pack({"responses.jsonl": blank + b"{"}))
        with pytest.raises(DataCollectionError, match=f"line {blank.count(10) + 1}, is no valid"):
            list(archive.lines(TypedLines(COLUMNS, NoTasks())))

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

    @pytest.mark.parametrize("limit", [40, 10_000])
    def test_what_may_hold_one_is_not_tried(self, limit: int) -> None:
        text = b"".join(b'{"n": %d, "x": "%b"}\n' % (n, b"x" * (n % 97)) for n in range(999))
        limits = Limits(max_line_bytes=limit, skip_bad_lines=True)
        archive = open_archive(pack({"responses.jsonl": text}), limits)
        tried: list[bytes] = []
        assert [*archive.lines(tried.append)]
        assert 0 < max(len(line) for block in tried for line in block.splitlines()) <= limit
