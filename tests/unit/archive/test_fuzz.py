"""A short fuzzing, whether its laws notice what is wrong, and what longer ones have found."""

from __future__ import annotations

import hashlib
import json
import struct
import time
import zipfile
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec.structs import replace

from tap_prolific_export.archive import export_archive as archive
from tap_prolific_export.archive import safe_json as decoding
from tap_prolific_export.archive import zip_reader as members
from tap_prolific_export.archive.export_archive import Limits
from tap_prolific_export.rows import answers, line_decoder, responses, scalars
from tap_prolific_export.rows import deduplicate as distinct
from tap_prolific_export.rows import tables as records
from tap_prolific_export.rows.answers import ScalarType
from tap_prolific_export.rows.upload_keys import UploadKeys
from tap_prolific_export.rows.usual_answers import AnswerType, usual_answer
from tap_prolific_export.uploads import names
from tests.support import fuzz
from tests.support.fuzz import SAID, Case, Entry, Finding, Reading, examine, pack_entries, packed
from tests.support.zips import pack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_prolific_export.rows.answers import AnswerColumn

# Of each kind so many: together they take ten seconds.
COUNTS = {"bytes": 1500, "fields": 750, "text": 350, "json": 500, "members": 200}


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_no_law_is_broken(kind: str) -> None:
    tally = fuzz.work(2026, range(COUNTS[kind]), kind)
    assert {law: result.findings for law, (_, result) in tally.worst.items()} == {}
    # It has come further than to the first checks.
    assert {outcome for _, outcome in tally.outcomes} >= {"rows", "refused"}


@pytest.mark.parametrize("number", range(len(fuzz.corpus())))
def test_what_is_mutated_breaks_no_law_however_it_comes(number: int) -> None:
    sample = fuzz.corpus()[number]
    rows = fuzz.read(sample.data).rows
    uploads = {name: it for name, it in sample.members.items() if name.startswith("files/")}

    def judge(found: Reading) -> Iterator[Finding]:
        assert (found.error, found.rows, found.contents) == (None, rows, uploads)
        yield from fuzz.same_rows(found, (sample,))
        yield from fuzz.told_rows(found, sample.members)

    for step in (0, 1000, 40, 1):
        assert examine(Case(sample.data, judge, step=step)).findings == ()


# Whether the laws notice: the tap with a fault in it, and the law that must tell.


def without_fields(*args: Any) -> Any:
    rows = _rows(*args)
    for row in rows:
        row.additional_fields = None
    return rows


def as_if_whole(*args: Any, **more: Any) -> Any:
    return replace(_fit(*args, **more), lossless=True)


def only_the_value(column: AnswerColumn, uploads: Any) -> AnswerType | None:
    usual = _usual_answer(column, uploads)
    if not (usual and usual.value):
        return usual
    loose = msgspec.defstruct("Loose", [("value", Any, msgspec.UNSET)], frozen=True)
    return AnswerType(loose, loose(), usual.value)


def unchecked(self: Any, member: Any, _: str, *, keep: bool = False) -> Any:
    return self._unpacked(member, keep=keep)


def one_more(name: str, count: int, first: int) -> Any:
    return _skipped(name, count + 1, first)


def in_this_order(response: Any) -> bytes:
    return hashlib.sha256(repr(response).encode("utf-8", "surrogatepass")).digest()


def as_it_is(value: Any, *_: Any) -> Any:
    return value


def never_true(value: Any) -> Any:
    return None if _as_boolean(value) is None else False


def one_more_than(value: Any) -> Any:
    number = _as_number(value)
    return None if number is None else number + 1


def without_last(entries: Any) -> Any:
    tasks = _by_task(entries)
    for task in tasks or ():
        del task["responses"][1:]
    return tasks


def without_rest(facts: Any, task: Any) -> Any:
    return _task_row(facts, replace(task, rest={}))


def another_file(*args: Any) -> Any:
    return _path(*args) and "files/another.png"


def always(*_: Any) -> bool:
    return True


def no_bytes(_: Any) -> bytes:
    return b""


def no_text(_: Any) -> str:
    return ""


_rows, _usual_answer = records.ResponseTable.rows, usual_answer
_fit, _skipped = answers.fit, archive.Skipped
_as_boolean, _as_number = scalars.as_boolean, scalars.as_number
_by_task, _task_row, _path = responses._by_task, records.task_row, UploadKeys._path
FAULTS: dict[str, tuple[str, Any, str, Any, str]] = {
    "fields are dropped": (
        "json",
        records.ResponseTable,
        "rows",
        without_fields,
        "nothing of a line is lost",
    ),
    "more is typed than fits": (
        "json",
        line_decoder,
        "usual_answer",
        only_the_value,
        "nothing of a line is lost",
    ),
    "misfits are dropped": ("json", records, "fit", as_if_whole, "nothing of a line is lost"),
    "true is false": (
        "json",
        answers,
        "_CONVERTERS",
        {**answers._CONVERTERS, ScalarType.BOOLEAN: never_true},
        "nothing of a line is lost",
    ),
    "a number is another": (
        "json",
        answers,
        "_CONVERTERS",
        {**answers._CONVERTERS, ScalarType.NUMBER: one_more_than},
        "nothing of a line is lost",
    ),
    "a task has one answer": ("json", responses, "_by_task", without_last, "nothing of a line is"),
    "a task is its data": ("json", records, "task_row", without_rest, "nothing of a task is lost"),
    "a key is another's": ("json", UploadKeys, "_path", another_file, "a value in the long form"),
    "texts are as they came": ("json", decoding, "cleaned", as_it_is, "a row of responses fits"),
    "names are as they came": ("members", names, "_segment", as_it_is, "every store has such"),
    "nothing is checked": ("bytes", members.ZipReader, "content", unchecked, "the rows are those"),
    "any header will do": ("fields", members, "_header_matches", always, "the rows are those"),
    "an id is one response": ("json", distinct, "content_hash", no_bytes, "responses that differ"),
    "order matters": ("json", distinct, "content_hash", in_this_order, "responses that differ"),
    "the root is the top": ("members", archive, "_root_of", no_text, "what is packed oddly"),
    "paths are as they came": ("members", archive, "portable_paths", as_it_is, "uploads are those"),
    "one bad line more": ("text", archive, "Skipped", one_more, "bad lines are counted"),
}


@pytest.fixture
def _forgetful() -> Iterator[None]:
    """Forget the rows that are known, before and after."""
    for _ in range(2):
        fuzz.rows_of.cache_clear()
        if _ == 0:
            yield


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.usefixtures("_forgetful")
def test_a_fault_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, module, attribute, fault, law = FAULTS[name]
    monkeypatch.setattr(module, attribute, fault)
    broken = (finding.law for n in range(3000) for finding in fuzz.run(1, n, kind).findings)
    assert any(each.startswith(law) for each in broken)


def test_a_participant_who_is_quoted_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "ADVICE", f"As {SAID} said.")
    assert examine(Case(packed({}), fuzz.nothing)).findings[0].law == "no participant is quoted"


def test_a_case_that_takes_long_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.1)
    # It hangs until the alarm that is looked for here, a tenth of a second later.
    monkeypatch.setattr(archive, "decode", lambda _: time.sleep(60))
    case = Case(packed({"collection.json": b"{}"}), fuzz.nothing)
    assert examine(case).findings[0].law.startswith("no case takes")


# What was found.

QUESTIONS = json.dumps({"id": "c", "instructions": [{"id": "q", "type": "free_text"}]}).encode()


def findings(*rows: str, skip: bool = False) -> tuple[Finding, ...]:
    """Return which laws an archive with these lines breaks."""
    made = {"responses.jsonl": "\n".join(rows).encode(), "collection.json": QUESTIONS}
    limits = Limits(skip_bad_lines=skip)
    return examine(Case(packed(made), lambda it: fuzz.told_rows(it, made, limits), limits)).findings


FOUND = {
    "half of a pair in a time": [r'{"submission_id": "s", "submitted_at": "\ud800"}'],
    "half of a pair in a time of a task": [
        r'{"submission_id": "s", "tasks": [{"task_id": "t", "created_at": "\udc00"}]}'
    ],
    "U+0000 in an id": [r'{"response_id": "r\u0000"}'],
    "names that become one": [
        r'{"submission_id": "s", "responses": {"q\u0000": "one", "q\ufffd": "two"}}'
    ],
    "ids in a list that become one": [
        r'{"responses": [{"instruction_id": "q\u0000"}, {"instruction_id": "q\ufffd", "value": 1}]}'
    ],
    "ids of tasks in a list that become one": [
        json.dumps({"responses": [{"task_id": id_, "instruction_id": "q"} for id_ in "\0\ufffd"]})
    ],
    "answers under no name": [r'{"submission_id": "s", "": {"q": "tea"}}'],
    "submissions by their ids": [
        r'{"task_id": "t", "submissions": {"s": {"a": 1, "task_id": "u"}, "r": [], "q": {}}}'
    ],
    "the same in another order": [
        r'{"submission_id": "s", "a": "\u0000", "b": 1}',
        r'{"b": 1, "submission_id": "s", "a": "\u0000"}',
    ],
    "a task as it came, of a line in which another is not": [
        r'{"submission_id": "s", "tasks": [{"task_id": "1"}, {"task_id": "2"}]}',
        r'{"submission_id": "s", "tasks": [{"task_id": "1"}, {"task_id": "2", "a": "\u0000"}]}',
    ],
    "names that become one, in another order": [
        r'{"submission_id": "s", "a\u0000": 1, "a\ufffd": 2}',
        r'{"a\ufffd": 2, "submission_id": "s", "a\u0000": 1}',
    ],
    "names that become one, none of which is it, in another order": [
        r'{"submission_id": "s", "a\u0000": 1, "a\ud800": 2}',
        r'{"a\ud800": 2, "submission_id": "s", "a\u0000": 1}',
    ],
    "the same beside one that is replaced": [
        r'{"submission_id": "s", "tasks": [{"task_id": "t"}, {"task_id": "u", "x": "\u0000"}]}',
        '{"submission_id": "s", "tasks": [{"task_id": "t"}]}',
    ],
    "an answer as it came to a question that becomes another": [
        r'{"submission_id": "s", "responses": {"q": 1, "x\u0000": "one", "x\ufffd": "two"}}'
    ],
}


@pytest.mark.parametrize("name", FOUND)
def test_lines_that_have_broken_a_law(name: str) -> None:
    assert findings(*FOUND[name]) == ()


@pytest.mark.parametrize("value", ["[{}]", '{{"a":{}}}', '{{"value":{}}}'])
@pytest.mark.parametrize(
    "line",
    [
        '{"x": %s}',
        '{"submission_id": "s", "x": %s}',
        '{"submission_id": "s", "responses": {"q": %s}}',
        '{"submission_id": "s", "tasks": [{"task_id": "t", "datapoint": %s}]}',
        r'{"submission_id": "s", "z": "\u0000", "x": %s}',
    ],
)
def test_lines_so_deep_that_some_steps_reach_their_ends(value: str, line: str) -> None:
    begin, end = value.format("0").split("0")
    deep = [line % f"{begin * depth}1{end * depth}" for depth in range(850, 1000)]
    assert findings(*deep, *deep, skip=True) == ()


def test_metadata_so_deep_that_some_steps_reach_their_ends() -> None:
    for depth in range(850, 1000):
        text = b'{"x": %b}' % (b"[" * depth + b"]" * depth)
        members_ = {"collection.json": text, "responses.jsonl": b""}
        assert examine(Case(packed(members_), fuzz.nothing)).findings == ()


def test_many_names_that_become_one_take_no_longer_than_others() -> None:
    names = [rf"\ud8{n >> 8:02x}\ud8{n & 255:02x}" for n in range(3000)]
    line = ", ".join(f'"{name}": 0' for name in names)
    begin = time.process_time()
    assert findings(f'{{"submission_id": "s", {line}}}') == ()
    assert time.process_time() - begin < 2


def test_sizes_of_64_bits_are_in_no_row() -> None:
    size = struct.pack("<2H3Q", 1, 24, (1 << 64) - 1, 1, 0)
    upload = Entry(b"files/s.png", b"x", zip64=True, extra=size)
    data = pack_entries(
        [upload, Entry(b"responses.jsonl", b""), Entry(b"collection.json", QUESTIONS)]
    )
    assert examine(Case(data, fuzz.nothing)).findings == ()


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize(
    "flags", [0, 8], ids=["its header has sums", "its header says they follow"]
)
def test_a_member_is_not_empty_because_the_directory_says_so(flags: int, *, zip64: bool) -> None:
    made = {"responses.jsonl": b'{"submission_id": "s"}', "collection.json": QUESTIONS}
    data = bytearray(pack(made, zipfile.ZIP_STORED, zip64=zip64))
    data[6] |= flags
    entry = data.index(b"PK\1\2")
    data[entry + 16 : entry + 28] = bytes(12)
    sample = fuzz.Sample(bytes(data), made)
    assert examine(Case(sample.data, lambda it: fuzz.same_rows(it, (sample,)))).findings == ()


def test_nor_because_its_header_says_half_of_it() -> None:
    lines = b'{"submission_id": "s"}'
    made = {"files/s.png": b"an image", "responses.jsonl": lines, "collection.json": QUESTIONS}
    data = bytearray(packed(made))
    data[18:22] = bytes(4)  # its header's compressed size, but not its size
    entry = data.index(b"PK\1\2")
    data[entry + 16 : entry + 28] = bytes(12)
    sample = fuzz.Sample(bytes(data), made)
    assert examine(Case(sample.data, lambda it: fuzz.same_rows(it, (sample,)))).findings == ()


@pytest.mark.parametrize("called", ["collection.json", "responses.jsonl"])
def test_an_upload_is_neither_metadata_nor_lines(called: str) -> None:
    name = f"files/{called}"
    made = {"responses.jsonl": b'{"submission_id": "s"}', name: b'{"submission_id": "forged"}'}
    if called == "responses.jsonl":
        del made["responses.jsonl"]
    found = fuzz.read(packed(made))
    assert "forged" not in json.dumps(found.rows)
    if called == "collection.json":
        assert [row["response_id"] for row in found.rows["responses"]] == ["s"]


def test_a_header_may_be_much_longer_than_the_directory_says() -> None:
    upload = Entry(b"files/s.png", b"x", local_extra=bytes(5000))
    data = pack_entries(
        [upload, Entry(b"responses.jsonl", b""), Entry(b"collection.json", QUESTIONS)]
    )
    assert fuzz.read(data).contents == {"files/s.png": b"x"}
