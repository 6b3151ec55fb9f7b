"""What Prolific may send besides the documented shapes, through the whole tap.

Prolific publishes the schema of one record: an answer, with its question in `response`. Whether
exports use it is not known.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.generations import fresh
from tests.support.tap import deselect
from tests.support.zips import pack

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.tap import Output, Runner

pytestmark = fresh

Json = dict[str, Any]

TEXT: Json = {"id": "i1", "type": "free_text", "description": "What?"}
MORE: Json = {"id": "i2", "type": "free_text", "description": "Why?"}
UPLOAD: Json = {"id": "i3", "type": "file_upload", "description": "Photo?"}
QUESTIONS = [TEXT, MORE, UPLOAD]


def said(text: str, question: str = "i1", **more: Any) -> Json:
    return {"instruction_id": question, "type": "free_text", "answer": [{"value": text}], **more}


def record(id_: str, submission: str, task: str | None = None, **response: Any) -> Json:
    ids = {"id": id_, "submission_id": submission, "participant_id": "p"}
    return {**ids, **({"task_id": task} if task else {}), "response": response}


class Disk:
    """Runs the tap on archives in a folder."""

    def __init__(self, runner: Runner, folder: Path) -> None:
        self._runner = runner
        self._folder = folder

    def run(
        self,
        *lines: Json,
        name: str = "responses",
        questions: list[Json] = QUESTIONS,
        uploads: tuple[str, ...] = (),
        catalog: Json | None = None,
        **config: Any,
    ) -> Output:
        path = self._write(lines, name, questions, uploads)
        return self._runner.sync(archive_paths=[str(path)], catalog=catalog, **config)

    def catalog(self, questions: list[Json], **config: Any) -> Json:
        path = self._write((), "responses", questions, ())
        return self._runner.tap(archive_paths=[str(path)], **config).catalog_dict

    def _write(
        self, lines: tuple[Json, ...], name: str, questions: list[Json], uploads: tuple[str, ...]
    ) -> Path:
        kind = "collection" if name == "responses" else "batch"
        metadata = json.dumps({"id": "c0ffee", "instructions": questions})
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        members = {f"{kind}.json": metadata, f"{name}.jsonl": text, **dict.fromkeys(uploads, "x")}
        path = self._folder / "c0ffee-export.zip"
        path.write_bytes(pack(members, date=(2026, 11, 20, 0, 0, 0)))
        return path


@pytest.fixture
def disk(runner: Runner, tmp_path: Path) -> Disk:
    return Disk(runner, tmp_path)


def answers(out: Output) -> dict[str, Json]:
    """Return the answers of each response, without those that are null."""
    return {
        row["response_id"]: {q: a for q, a in row["answers"].items() if a is not None}
        for row in out.rows("responses")
    }


def values(out: Output) -> set[tuple[str, str, str]]:
    rows = out.rows("answers")
    return {(row["response_id"], row["instruction_id"], row["value"]) for row in rows}


# Records of one answer.

BATCH = "responses-by-submission"


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("responses", [record("r1", "s1", **said("x")), record("r2", "s1", **said("y", "i2"))]),
        (
            BATCH,
            [record("r1", "s1", "t1", **said("x")), record("r2", "s1", "t1", **said("y", "i2"))],
        ),
        (
            "responses-by-task",
            [
                {
                    "task_id": "t1",
                    "submissions": [
                        record("r1", "s1", **said("x")),
                        record("r2", "s1", **said("y", "i2")),
                    ],
                }
            ],
        ),
    ],
    ids=["collection", "batch", "batch by task"],
)
def test_a_record_of_one_answer_is_a_response(disk: Disk, name: str, lines: list[Json]) -> None:
    out = disk.run(*lines, name=name)
    assert answers(out) == {"r1": {"i1": "x"}, "r2": {"i2": "y"}}
    assert values(out) == {("r1", "i1", "x"), ("r2", "i2", "y")}
    assert {row["additional_fields"] for row in out.rows("responses")} == {None}
    assert {row["task_id"] for row in out.rows("responses")} == {
        None if name == "responses" else "t1"
    }


def test_answers_by_task_are_a_response_for_each(disk: Disk) -> None:
    listed = [said("x", task_id="t1"), said("y", task_id="t2"), said("z", "i2", task_id="t1")]
    by_id = {"t1": {"responses": {"i1": said("x")}}, "t2": {"responses": [said("y")]}}
    out = disk.run({"submission_id": "s1", "responses": listed}, name=BATCH)
    assert answers(out) == {"s1:t1": {"i1": "x", "i2": "z"}, "s1:t2": {"i1": "y"}}
    out = disk.run({"submission_id": "s1", "tasks": by_id}, name=BATCH)
    assert answers(out) == {"s1:t1": {"i1": "x"}, "s1:t2": {"i1": "y"}}


def test_what_describes_an_answer_is_kept_and_is_no_misfit(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    about: Json = {"id": "a1", "created_at": "2026-01-01", "created_by": "p", "order": 3}
    again: Json = {"description": TEXT["description"], "instruction_id": "i1", "type": "free_text"}
    entry = {"value": "x", **about, **again}
    out = disk.run({"submission_id": "s", "responses": {"i1": entry, "i2": {"value": "y"}}})
    assert answers(out) == {"s": {"i1": "x", "i2": "y"}}
    [row] = out.rows("responses")
    assert json.loads(row["additional_fields"]) == {"answers": {"i1": entry}}
    assert "did not fit" not in caplog.text
    out = disk.run({"submission_id": "s", "responses": {"i1": {"value": "x", **again}}})
    assert out.rows("responses")[0]["additional_fields"] is None  # the question says all of it


# No answer recognised.


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"submission_id": "s", "given": {"i1": "secret"}}, "fields of the lines: given"),
        ({"submission_id": "s", "a secret": 1, "x": 1}, "fields of the lines: x"),
        ({"submission_id": "s", "responses": {"other": "secret"}}, "1 answers are to other"),
        ({"submission_id": "s", "responses": "secret"}, "fields of the lines: responses"),
    ],
    ids=["another field", "a name that may be a text", "other questions", "no object"],
)
def test_where_no_answer_is_recognised_a_warning_says_so(
    disk: Disk, caplog: pytest.LogCaptureFixture, line: Json, told: str
) -> None:
    out = disk.run(line, {**line, "submission_id": "u"})
    [warning] = [r.getMessage() for r in caplog.records if "was recognised" in r.getMessage()]
    assert "no answer to any of its 3 questions" in warning
    assert told.replace("1 answers", "2 answers") in warning
    assert "secret" not in warning
    assert len(out.rows("responses")) == 2


@pytest.mark.parametrize(
    "lines",
    [
        [{"submission_id": "s", "x": 1}, {"submission_id": "u", "responses": {"i1": "x"}}],
        [{"submission_id": "s", "responses": {}}],
        [],
    ],
    ids=["one is", "nobody answered", "no responses"],
)
def test_nothing_is_said_where_one_is_or_there_is_none(
    disk: Disk, caplog: pytest.LogCaptureFixture, lines: list[Json]
) -> None:
    if lines:
        disk.run(*lines)
    assert "was recognised" not in caplog.text


# Uploads by key.

KEY: Json = {"file_name": "table.png", "file_size_mb": 0.1, "content_type": "image/png"}


def uploaded(key: str, **more: Any) -> Json:
    return {"answer": [{"file_key": f"uploads/6650/{key}.png", **KEY, **more}]}


def paths(out: Output) -> dict[str, list[str]]:
    return {
        row["response_id"]: [each["path"] for each in row["answers"].get("i3") or ()]
        for row in out.rows("responses")
    }


def test_an_upload_that_is_named_by_its_key_is_found(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[Json] = [
        {"submission_id": "s1", "responses": {"i3": uploaded("0190")}},
        {"submission_id": "s2", "responses": {"i3": uploaded("0191")}},
        {"submission_id": "s3", "responses": {"i3": uploaded("0192", file_name="gone.png")}},
    ]
    files = ("files/s1_table.png", "files/s2_table.png")
    out = disk.run(*lines, uploads=files)
    found = {"s1": [files[0]], "s2": [files[1]], "s3": ["uploads/6650/0192.png"]}
    assert paths(out) == found
    assert "did not fit" not in caplog.text
    named = {
        row["path"]: (row["submission_id"], row["instruction_id"]) for row in out.rows("files")
    }
    assert named == {files[0]: ("s1", "i3"), files[1]: ("s2", "i3")}
    assert {row["file_path"] for row in out.rows("answers")} == {*files, "uploads/6650/0192.png"}
    [row] = [row for row in out.rows("responses") if row["response_id"] == "s1"]
    assert row["answers"]["i3"][0]["size_bytes"] == 1


@pytest.mark.parametrize(
    "lines",
    [
        [{"submission_id": "s1", "responses": {"i3": uploaded("a"), "i9": uploaded("b")}}],
        [
            {"submission_id": "s1", "task_id": "t1", "responses": {"i3": uploaded("a")}},
            {"submission_id": "s1", "task_id": "t2", "responses": {"i3": uploaded("b")}},
        ],
        [
            {"submission_id": "s1", "responses": {"i3": uploaded("a")}},
            {"submission_id": "s1", "responses": {"i3": uploaded("b")}},
        ],
    ],
    ids=["of one response", "of two tasks", "of two lines"],
)
def test_of_two_uploads_of_one_name_neither_gets_the_others(disk: Disk, lines: list[Json]) -> None:
    out = disk.run(*lines, name=BATCH, uploads=("files/s1_table.png",))
    assert all(path.startswith("uploads/") for each in paths(out).values() for path in each)
    [row] = out.rows("files")
    assert (row["submission_id"], row["instruction_id"]) == ("s1", None)


def test_one_upload_that_is_named_twice_is_found(disk: Disk) -> None:
    line = {"submission_id": "s1", "responses": {"i3": uploaded("a"), "i9": uploaded("a")}}
    out = disk.run(line, uploads=("files/s1_table.png",))
    assert paths(out) == {"s1": ["files/s1_table.png"]}


# Questions that are gone.


@pytest.mark.parametrize("keys", ["instruction_id", "label"])
def test_an_answer_to_a_question_that_is_gone_goes_where_the_catalog_has_it(
    disk: Disk, keys: str
) -> None:
    catalog = disk.catalog(QUESTIONS, answer_keys=keys)
    line = {"submission_id": "s", "responses": {"i1": "now", "i2": {"value": "then"}, "i9": "x"}}
    out = disk.run(line, questions=[TEXT], catalog=catalog, answer_keys=keys)
    [row] = out.rows("responses")
    assert sorted(filter(None, row["answers"].values())) == ["now", "then"]
    assert json.loads(row["additional_fields"]) == {"answers": {"i9": "x"}}
    assert {*row["answers"]} <= {*out.schema("responses")["properties"]["answers"]["properties"]}
    told = {row["instruction_id"]: row["question"] for row in out.rows("answers")}
    assert told == {"i1": "What?", "i2": None, "i9": None}


def test_what_does_not_fit_there_stays_as_it_came(disk: Disk) -> None:
    number = {**MORE, "validation": {"type": "number"}}
    catalog = disk.catalog([TEXT, number, UPLOAD])
    fits = {"submission_id": "s", "responses": {"i1": "x", "i2": "7", "i3": {"path": "files/a"}}}
    other = {"submission_id": "u", "responses": {"i1": "x", "i2": "seven"}}
    out = disk.run(fits, other, questions=[TEXT, {**MORE, "id": "new"}], catalog=catalog)
    first, second = out.rows("responses")
    assert first["answers"]["i2"] == 7
    assert first["answers"]["i3"][0]["path"] == "files/a"
    assert first["additional_fields"] is None
    assert second["answers"]["i2"] is None
    assert json.loads(second["additional_fields"]) == {"answers": {"i2": "seven"}}


# Deselected stays deselected.


@pytest.mark.parametrize("questions", [[TEXT], [TEXT, {**MORE, "description": "Edited?"}]])
@pytest.mark.parametrize("now", ["instruction_id", "label"])
@pytest.mark.parametrize("keys", ["instruction_id", "label"])
def test_what_the_catalog_deselects_appears_nowhere(
    disk: Disk, keys: str, now: str, questions: list[Json]
) -> None:
    catalog = disk.catalog(QUESTIONS, answer_keys=keys)
    [key] = [name for name in _properties(catalog) if name == "i2" or name.startswith("why_")]
    catalog = deselect(catalog, "responses", "answers", key)
    line = {"submission_id": "s", "responses": {"i1": "x", "i2": "private"}, "tasks": "private"}
    out = disk.run(line, questions=questions, catalog=catalog, answer_keys=now)
    assert "private" not in json.dumps(out.rows("responses"))
    assert "x" in out.rows("responses")[0]["answers"].values()


def _properties(catalog: Json) -> Json:
    [stream] = [each for each in catalog["streams"] if each["tap_stream_id"] == "responses"]
    properties: Json = stream["schema"]["properties"]["answers"]["properties"]
    return properties


# Responses that share an id.


@pytest.mark.parametrize("order", [1, -1])
def test_the_answers_of_a_response_are_those_that_it_has(disk: Disk, order: int) -> None:
    lines: list[Json] = [
        {"submission_id": "s", "responses": {"i1": "a", "i2": "b"}},
        {"submission_id": "s", "responses": {"i1": "c"}},
        {"submission_id": "t", "responses": {"i1": "d"}},
        {"submission_id": "s", "responses": {"i2": "e"}},
    ]
    out = disk.run(*lines[::order])
    told = {(id_, q, a) for id_, given in answers(out).items() for q, a in given.items()}
    assert {id_ for id_, _, _ in told} == {"s", "s:2", "s:3", "t"}
    assert values(out) == told
    assert len(out.rows("answers")) == len(told)  # none was replaced
    assert len(out.rows("responses")) == 4
