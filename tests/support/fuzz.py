# ruff: noqa: T201
"""A fuzzer: archives that nobody packed, read the way the tap reads them, and judged by laws.

    python -m tests.support.fuzz --mutations 1000000 --seed 1 --processes 2

Each case follows from a seed and its number, so that any can be had again (``--only NUMBER``). What
is right is known without the tap: archives are packed here, and JSON is read by the standard
library. The laws:

- An archive ends in rows or in a `DataCollectionError`, in seconds and in little memory, however
  its bytes come; neither errors nor logs quote a participant.
- Rows have their stream's columns and types, in texts, numbers and JSON that any table can hold; no
  key comes twice. Uploads are stored below the root, no two in one place.
- ``bytes`` and ``fields`` change the ZIP: the rows are those of the archive as it was, or as it
  would be without some of its members, or with other uploads (names, sizes and dates are the
  directory's word); what is read of an upload was in the archive.
- ``text`` and ``json`` change a member: bad lines are told by their number; of all others each text
  and number is in a row of `responses` or `tasks`, that of an answer in one of `answers`, as it
  came; different responses have different rows; metadata is in `collections` and `instructions`.
- ``members`` packs in odd ways, with odd names: rows and contents are those that were packed.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import multiprocessing
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import unicodedata
import zipfile
import zlib
from collections import Counter
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from itertools import product
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from jsonschema import Draft7Validator

from tap_prolific_export.archive.byte_source import LocalSource
from tap_prolific_export.archive.export_archive import ExportArchive, Limits, Part, archive_ref
from tap_prolific_export.archive.zip_reader import MAX_INFLATED_CHUNK
from tap_prolific_export.errors import DataCollectionError, MemberError
from tap_prolific_export.rows import tables as records
from tap_prolific_export.rows.files import FileFinder
from tap_prolific_export.rows.labels import AnswerNames
from tap_prolific_export.rows.schema import STREAMS, answers_schema
from tap_prolific_export.rows.structs import as_dict
from tap_prolific_export.rows.tables import ExportFacts
from tap_prolific_export.snapshots.snapshot import Snapshot, Tasks
from tap_prolific_export.snapshots.source import _collection
from tap_prolific_export.uploads.names import collision_key, store_keys
from tests.support.json_texts import UNTEXTUAL, escaped
from tests.support.stand_in import archives, samples
from tests.support.zips import Pipe, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from types import FrameType
    from typing import Literal

    from tap_prolific_export.archive.byte_source import ByteSource
    from tap_prolific_export.archive.export_archive import Skipped, Upload
    from tap_prolific_export.rows.answers import AnswerColumn
    from tests.support.stand_in import Hosted

Row = dict[str, Any]
Rows = dict[str, list[Row]]

# Stands in all that participants said, and so may stand in no error and no log.
SAID = "qZq"
FILE_NAME = "x-export-1.zip"
LIMITS = Limits()
SECONDS, POLL = 10, 0.1
# What one case may add to the most that the process has taken, and what a process may take at all.
MEGABYTES, ADDRESS_SPACE = 64, 2 << 30
METADATA = ("collection.json", "batch.json")
LINES = ("responses.jsonl", "responses-by-submission.jsonl", "responses-by-task.jsonl")
SPECIAL = (*METADATA, *LINES)
BOM = b"\xef\xbb\xbf"


class HangError(BaseException):
    """A case takes too long; nothing that handles errors may stop this."""


class Finding(NamedTuple):
    """A law that was broken, and what tells one such case from another."""

    law: str
    detail: str = ""


# Archives, packed here.


@dataclass(frozen=True)
class Entry:
    """A member that is to be packed."""

    name: bytes
    content: bytes
    flags: int = 1 << 11
    deflated: bool = False
    descriptor: bool = False
    zip64: bool = False
    extra: bytes = b""
    local_extra: bytes = b""


def pack_entries(entries: Iterable[Entry], prefix: bytes = b"", comment: bytes = b"") -> bytes:
    """Return a ZIP, in a tenth of the time that zipfile takes."""
    body, directory, at, count = [prefix], b"", 0, 0
    is_large = False
    for entry in entries:
        count += 1
        is_large |= entry.zip64
        data = zlib.compress(entry.content, 1)[2:-4] if entry.deflated else entry.content
        told = (entry.flags | 8 * entry.descriptor, 8 * entry.deflated, 0x4A00, 0x5D7E)
        crc32, sizes = zlib.crc32(entry.content), (len(data), len(entry.content))
        here = (0, 0, 0) if entry.descriptor else (crc32, *sizes)
        lengths = (len(entry.name), len(entry.local_extra))
        head = struct.pack("<4s5H3L2H", b"PK\3\4", 45, *told, *here, *lengths)
        tail = struct.pack("<4s3L", b"PK\7\x08", crc32, *sizes) if entry.descriptor else b""
        body.append(head + entry.name + entry.local_extra + data + tail)
        extra, offset = entry.extra, at
        if entry.zip64:
            extra += struct.pack("<2H3Q", 1, 24, *reversed(sizes), at)
            sizes, offset = (0xFFFFFFFF, 0xFFFFFFFF), 0xFFFFFFFF
        numbers = (45, 45, *told, crc32, *sizes, len(entry.name), len(extra), 0, 0, 0, 0, offset)
        directory += struct.pack("<4s6H3L5H2L", b"PK\1\2", *numbers) + entry.name + extra
        at += len(body[-1])
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), at, len(comment))
    if is_large:
        ends = (44, 45, 45, 0, 0, count, count, len(directory), at)
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", *ends)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, at + len(directory), 1)
        few = min(count, 0xFFFF)
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, few, few, *[0xFFFFFFFF] * 2, len(comment))
        end = record + locator + end
    return b"".join([*body, directory, end, comment])


def packed(members: Mapping[str, bytes]) -> bytes:
    return pack_entries(Entry(name.encode(), content) for name, content in members.items())


# What is mutated.


@dataclass(frozen=True)
class Sample:
    """An archive and, by their path from its root, what its members hold."""

    data: bytes
    members: dict[str, bytes]

    @cached_property
    def rows(self) -> Rows:
        return read(self.data).rows

    @property
    def special(self) -> dict[str, bytes]:
        return {name: self.members[name] for name in SPECIAL if name in self.members}


def _options(*values: Any) -> Row:
    return {"options": [{"label": f"Label {value}", "value": value} for value in values]}


_NUMBER = {"validation": {"type": "number"}}
_PATH = f"files/s0_{SAID}.png"
_FILE = {"path": _PATH, "file_name": f"{SAID}.png", "content_type": "image/png"}
# A question of every type, and its answer in the shapes that are documented.
QUESTIONS: dict[str, tuple[Row, list[Any]]] = {
    "q-text": (
        {"type": "free_text", "description": "Well?"},
        [{"value": f"{SAID} tea"}, f"{SAID} milk", {"answer": [{"value": SAID}]}, None],
    ),
    "q-number": (
        {"type": "free_text", **_NUMBER},
        [{"value": "12.5"}, 7, {"value": "1e2", "type": "free_text"}, [{"value": -0.25}]],
    ),
    "q-one": (
        {"type": "multiple_choice", "answer_limit": 1, **_options("a", "b")},
        [{"value": "a"}, "b", ["a"], {"value": {"value": "b"}}],
    ),
    "q-many": (
        {"type": "multiple_choice", "answer_limit": -1, **_options(1, 2, 3)},
        [{"value": [1, 2]}, [3], {"answer": [{"value": 1}, {"value": 3}]}, []],
    ),
    "q-mixed": (
        {"type": "multiple_choice", "answer_limit": 1, **_options("a", 2, True)},
        [{"value": 2}, True, "a", {"value": f"{SAID} other"}],
    ),
    "q-why": (
        {"type": "multiple_choice_with_free_text", **_options("a", "b")},
        [
            {"value": [{"value": "a", "explanation": f"{SAID} because"}]},
            [{"value": "a", "free_text": f"{SAID} so"}, {"value": "b"}],
            {"answer": [{"value": "b", "text": f"{SAID} hm"}]},
        ],
    ),
    "q-unit": (
        {"type": "free_text_with_unit", "unit_options": [{"value": "g", **_NUMBER}]},
        [{"value": "40.5", "unit": "g"}, {"answer": [{"value": 3, "unit": "oz"}]}, 12],
    ),
    "q-photo": (
        {"type": "file_upload"},
        [{"value": _FILE}, _PATH, {"answer": [{"file_key": f"/x/s0_{SAID}.png", "size": 0.1}]}],
    ),
    "q-stars": ({"type": "star_rating", "max_stars": 5}, [{"value": 4}, 5, "3", {"value": 2.5}]),
    "q-sketch": ({"type": "drawing"}, [{"strokes": [[1, 0.5]]}, f"{SAID} sketch", [SAID]]),
}


def _shapes(*numbers: int) -> dict[str, bytes]:
    """Return a collection with a line of shapes for each number, and one with a list of answers."""
    lines: list[Row] = [
        {
            "submission_id": f"s{number}-{SAID}",
            "participant_id": f"{SAID}-p{number}",
            "study_id": "y",
            "created_at": "2026-11-20T08:30:00Z",
            "responses": {
                id_: entries[number % len(entries)] for id_, (_, entries) in QUESTIONS.items()
            },
            "device": {"kind": f"{SAID} phone", "pixels": [1170, 2532.5 + number]},
        }
        for number in numbers
    ]
    listed = [{"instruction_id": "q-text", "value": SAID}, {"instruction_id": "x", "value": 9.25}]
    lines.append({"submission_id": f"listed-{SAID}", "responses": listed})
    questions: list[Row] = [{"id": id_, **fields} for id_, (fields, _) in QUESTIONS.items()]
    pages = [{"order": 0, "page_items": questions[:3]}, {"page_items": questions[3:5]}]
    metadata = {"id": "shapes", "collection_items": pages, "instructions": questions[2:]}
    return {
        "responses.jsonl": archives.json_lines(lines).encode(),
        "collection.json": json.dumps(metadata).encode(),
        _PATH: b"a photo",
    }


def _other_shapes() -> dict[str, bytes]:
    """Return a batch with lines of the other documented shapes, and a file that is named by key."""
    ids = {"submission_id": f"s9-{SAID}", "participant_id": f"{SAID}-p9"}
    file = {"file_key": f"k/{SAID}", "file_name": f"{SAID}.png", "file_size_mb": 0.1}
    entry: Row = {"instruction_id": "q-text", "value": f"{SAID} water"}
    about = {"datapoint": {"caption": SAID}}
    tasks = {"t1": {**about, "responses": {"q-photo": {"answer": [file]}}}, "t2": [entry]}
    answer: Row = {
        "instruction_id": "q-mixed",
        "type": "multiple_choice",
        "answer": [{"value": "true"}],
    }
    given = [("t3", entry), ("t4", entry), ("t3", answer)]
    lines: list[Row] = [
        {**ids, "tasks": tasks},
        {**ids, "responses": [{"task_id": id_, **each} for id_, each in given]},
        {**ids, "id": f"r-{SAID}", "task_id": "t5", "response": answer},
    ]
    by_task = [{"task_id": "t1", **about, "submissions": {f"s9-{SAID}": tasks["t1"]}}]
    questions = [{"id": id_, **fields} for id_, (fields, _) in QUESTIONS.items()]
    return {
        "responses-by-submission.jsonl": archives.json_lines(lines).encode(),
        "responses-by-task.jsonl": archives.json_lines(by_task).encode(),
        "batch.json": json.dumps({"id": "others", "instructions": questions}).encode(),
        f"files/s9-{SAID}_{SAID}.png": b"a photo",
    }


# What tells the stand-in's participants, and where what they said begins.
_THEIRS = re.compile(rb"6651|6652|5f9[de]|Porridge|Because|A dog|Two cups")


def _of(hosted: Hosted) -> dict[str, bytes]:
    """Return the members of the stand-in's archive, with all that participants said marked."""
    with zipfile.ZipFile(io.BytesIO(hosted.archive())) as it:
        found = {name: it.read(name) for name in it.namelist() if name != "README.md"}
    mark = SAID.encode()
    return {
        name.replace("6651", f"{SAID}6651"): (
            _THEIRS.sub(lambda match: mark + match[0], content) if name in LINES else content
        )
        for name, content in found.items()
    }


def _batch(lines: Literal["nested", "flat", "by task"]) -> dict[str, bytes]:
    hosted = samples.caption_check(1)
    hosted.lines = lines
    for submission in hosted.submissions.values():
        del submission.line["tasks"][2:]
    return _of(hosted)


@lru_cache(maxsize=1)
def corpus() -> tuple[Sample, ...]:
    """Return the archives that are mutated: small ones, of every kind, packed in every way."""
    diary = _of(samples.breakfast_diary(1))
    nested, flat, by_task = _batch("nested"), _batch("flat"), _batch("by task")
    column_types = [_shapes(number) for number in range(4)]
    below = {"export c1/": b"", **{f"export c1/{name}": it for name, it in column_types[0].items()}}
    large = {**column_types[2], f"files/{SAID}_large.bin": bytes(MAX_INFLATED_CHUNK * 2)}
    entries = [Entry(name.encode(), it, zip64=True) for name, it in column_types[3].items()]
    bare = [
        {name: it for name, it in made.items() if name not in METADATA}
        for made in (column_types[1], nested, by_task)
    ]
    without_lines = {name: it for name, it in diary.items() if name not in LINES}
    packed_ = [
        (diary, pack(diary)),
        (column_types[0], pack(column_types[0], zipfile.ZIP_STORED)),
        (column_types[1], pack(column_types[1], zip64=True)),
        (large, pack(large, to=Pipe)),
        (column_types[2], pack(column_types[2], zipfile.ZIP_STORED, to=Pipe, zip64=True)),
        (column_types[3], pack_entries(entries)),
        (column_types[0], pack(below, comment=b"made by nobody")),
        (column_types[1], b"something before it" + pack(column_types[1])),
        (nested, pack(nested)),
        (flat, pack(flat, zip64=True)),
        (by_task, pack(by_task, comment=b"!" * 99)),
        *((made, pack(made)) for made in bare),
        (without_lines, pack(without_lines)),
        (made := _shapes(0, 1, 2), pack(made)),
        (made := _other_shapes(), pack(made)),
    ]
    return tuple(Sample(data, members) for members, data in packed_)


# Reading, the way the tap does it.


class Drops:
    """The bytes of an archive, a few at a time; see `ByteSource`."""

    def __init__(self, data: bytes, step: int) -> None:
        self.size = len(data)
        self.last_modified: datetime | None = samples.BEGIN
        self.etag: str | None = None
        self._data = data
        self._step = step

    def read(self, begin: int, end: int, *, keep: bool = False) -> Iterator[bytes]:  # noqa: ARG002
        end = min(end, self.size)
        for at in range(begin, end, self._step):
            yield self._data[at : min(at + self._step, end)]

    def prefetch(self, pieces: Iterable[tuple[int, int]]) -> None:
        assert all(0 <= begin <= end for begin, end in pieces)


@dataclass
class Reading:
    """What has come of an archive; if there was an error, until then."""

    of: bytes
    error: DataCollectionError | None = None
    problem: str | None = None
    rows: Rows = field(default_factory=dict)
    answers: Row = field(default_factory=dict)
    uploads: Mapping[str, Upload] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    skipped: Mapping[str, Skipped] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


def read(
    data: bytes,
    limits: Limits = LIMITS,
    *,
    step: int = 0,
    uploads: Mapping[str, Upload] | None = None,
) -> Reading:
    """Read an archive.

    Args:
        data: The archive.
        limits: As `ExportArchive` has them.
        step: How many bytes come at a time; 0: as many as are asked for.
        uploads: What its uploads are taken for.
    """
    found = Reading(data)
    source: ByteSource = LocalSource(io.BytesIO(data), len(data), samples.BEGIN)
    if step:
        source = Drops(data, step)
    with _listening(found.said):
        try:
            _read(found, source, limits, uploads)
        except DataCollectionError as error:
            found.error = error
            found.said.append(str(error))
    return found


def _read(
    found: Reading, source: ByteSource, limits: Limits, uploads: Mapping[str, Upload] | None
) -> None:
    archive = ExportArchive(source, f"archive {FILE_NAME}", limits)
    archive.digest()
    archive.newest_member()
    archive.prefetch([*Part], lambda *_: True)
    found.skipped = archive.skipped
    found.uploads = archive.uploads = dict(archive.uploads if uploads is None else uploads)
    metadata = archive.metadata()
    found.problem = metadata.problem
    ref = archive_ref(metadata, FILE_NAME)
    assert ref
    collection = _collection(ref, metadata, archive)
    facts = ExportFacts(ref.id, None, samples.BEGIN)
    columns = records.answer_columns(collection, AnswerNames("instruction_id"))
    found.answers = answers_schema([collection], AnswerNames("instruction_id"))
    rows = found.rows
    rows["collections"] = [
        records.collection_row(facts, collection, file_count=1, archive_bytes=1, export_filter=None)
    ]
    rows["instructions"] = records.instruction_rows(
        facts, collection, AnswerNames("instruction_id")
    )
    if archive.lines_name:
        _read_lines(rows, Snapshot(facts, collection, archive, source.size), columns)
    if uploads is None:
        names = Counter(map(collision_key, archive.uploads))
        for path, upload in archive.uploads.items():
            found.keys[path] = store_keys(
                ref.id, path, upload, collides=names[collision_key(path)] > 1
            )
            try:
                found.contents[path] = b"".join(archive.content(path))
            except MemberError as error:
                found.said.append(str(error))


def _read_lines(rows: Rows, snapshot: Snapshot, columns: Mapping[str, AnswerColumn]) -> None:
    """Add the rows of the streams that are made of lines, as `Sync` makes them: in one reading."""
    facts, uploads = snapshot.facts, snapshot.uploads
    tasks, responses, answers, files = (rows.setdefault(stream.name, []) for stream in STREAMS[2:])
    tasks_of = Tasks(snapshot)
    finder = FileFinder(columns, uploads, snapshot.wants)
    of_responses = records.ResponseTable(facts, columns, uploads)
    of_answers = records.AnswerTable(facts, columns, uploads)
    tasks += [records.task_row(facts, task) for task in tasks_of.by_task()]
    for block in snapshot.responses(finder.add, columns):
        tasks += [records.task_row(facts, task) for each in block for task in tasks_of.of(each)]
        responses += map(as_dict, of_responses.rows(block))
        answers += map(as_dict, of_answers.rows(block))
    files += finder.rows(facts, include_unmatched=True)


class _Listener(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


@contextmanager
def _listening(said: list[str]) -> Iterator[None]:
    logger, listener = logging.getLogger("tap-prolific-export"), _Listener(said)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagate


# What JSON says, read by the standard library.

BAD, UNSURE = object(), object()
# Nobody has promised more, or less.
DEEP = 150
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_clean = partial(UNTEXTUAL.sub, "\ufffd")
_NUMERIC = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
IS_NUMBER = "#"
Leaf = tuple[str, str]


def loads(text: bytes) -> Any:
    """Return a JSON value, numbers that nothing holds as text; `BAD`; or `UNSURE`."""
    try:
        value = json.loads(
            text.decode(), parse_float=_float, parse_int=_int, parse_constant=lambda name: name
        )
    except ValueError:
        return BAD
    except RecursionError:
        return UNSURE
    return UNSURE if _is_deep(text) else value


def _float(text: str) -> float | str:
    return text if abs(number := float(text)) == float("inf") else number


def _int(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _is_deep(text: bytes) -> bool:
    """Whether a JSON text is nested deeper than `DEEP`, be it in a name that comes twice."""
    if text.count(b"[") + text.count(b"{") <= DEEP:
        return False
    depth = deepest = 0
    for match in _BRACKETS.finditer(text):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(match[0], 0)
        deepest = max(deepest, depth)
    return deepest > DEEP


@lru_cache(maxsize=256)
def lines_of(text: bytes, limit: int) -> tuple[tuple[int, Any], ...]:
    """Return the lines of a text that are not blank, by number: objects, `BAD` or `UNSURE`."""
    found: list[tuple[int, Any]] = []
    for number, line in enumerate(text.split(b"\n"), 1):
        told = (line.removeprefix(BOM) if number == 1 else line).strip(b" \t\r")
        if len(line) > limit:  # a blank one may be passed over
            found.append((number, BAD if told.strip() else UNSURE))
        elif told.strip() != told:  # form feeds: white space to some
            found.append((number, UNSURE))
        elif told:
            value = loads(told)
            found.append((number, value if isinstance(value, dict) or value is UNSURE else BAD))
    return tuple(found)


def leaves(node: Any) -> Iterator[Leaf]:
    """Yield texts that are not empty, true and false, and numbers after `IS_NUMBER`; with names."""
    stack: list[tuple[str, Any]] = [("", node)]
    while stack:
        name, node = stack.pop()
        kind: Any = type(node)
        if kind is str:
            if node:
                yield name, node
        elif kind is dict:
            stack += node.items()
        elif kind is list:
            stack += [(name, item) for item in node]
        elif kind is bool:
            yield name, "true" if node else "false"
        elif kind in {int, float}:
            yield name, IS_NUMBER + _number_text(node)


def _number_text(number: Any) -> str:
    """Return a number's text, the same for 2 and 2.0."""
    if isinstance(number, float):
        return str(int(number)) if number.is_integer() else repr(number)
    return str(number) if number.bit_length() < 10_000 else hex(number)


def spellings(text: str, mark: str = "") -> tuple[str, ...]:
    """Return how a text may stand in a row: as it is, as a number, as a path from the root."""
    if text[0] in "+-.0123456789 \t" and len(text) < 400 and _NUMERIC.fullmatch(text):
        number = float(text) if {".", "e", "E"} & {*text} else int(text)
        if abs(number) != float("inf"):
            return text, mark + _number_text(number)
    if text[0] in "/.":
        return text, text.removeprefix("/").removeprefix("./")
    return (text,)


def texts_of(rows: Iterable[Row]) -> set[str]:
    """Return the texts and numbers of rows, and of the JSON in them."""
    found: set[str] = set()
    stack: list[Any] = [*rows]
    while stack:
        for _, text in leaves(stack.pop()):
            if text not in found:
                found.update((text, text[1:]) if text[0] == IS_NUMBER else spellings(text))
                if text[0] in '{["':
                    value = loads(text.encode("utf-8", "replace"))
                    if value is not BAD and value is not UNSURE and value != text:
                        stack.append(value)
    return found


def lost(wanted: Iterable[Leaf], found: set[str]) -> list[Leaf]:
    """Return what is not found: a number may have become its text, a text a number but no other."""
    return [
        leaf
        for leaf in wanted
        if found.isdisjoint(
            {text[1:]} if (text := leaf[1])[0] == IS_NUMBER else spellings(escaped(text), IS_NUMBER)
        )
    ]


def is_time(leaf: Leaf) -> bool:
    """Whether a text is likely to be a time, which comes in another spelling."""
    return leaf[0].endswith("_at") and leaf[1].strip()[:4].isdigit()


# The laws of all cases.


def row_laws(found: Reading, *, thoroughly: bool = False) -> Iterator[Finding]:
    for stream in STREAMS:
        rows = found.rows.get(stream.name, [])
        schema, fits, json_columns = _judge_of(stream.name)
        for row in rows:
            if not fits(row):
                yield Finding(f"a row of {stream.name} fits its columns", _misfits(row, schema))
            elif any(row[name] is not None and not _is_json(row[name]) for name in json_columns):
                yield Finding(f"JSON in a row of {stream.name} is JSON")
            elif stream.name == "responses":
                yield from _answer_laws(found, row["answers"])
        if thoroughly:  # in the words of others
            properties = dict(schema["properties"])
            if "answers" in properties:
                properties["answers"] = {"type": "object", "properties": found.answers}
            validator = Draft7Validator({**schema, "properties": properties})
            for error in (error for row in rows for error in validator.iter_errors(row)):
                yield Finding(f"a row of {stream.name} validates", error.json_path)
        keys = [tuple(row[name] for name in stream.key) for row in rows]
        # One of the others is emitted again where another stands in its place.
        if stream.name in {"collections", "instructions", "files"} and len({*keys}) < len(keys):
            yield Finding(f"no key of {stream.name} comes twice")


def _answer_laws(found: Reading, answers: Row) -> Iterator[Finding]:
    types = {row["instruction_id"]: row["type"] for row in found.rows["instructions"]}
    known = {fields["type"] for fields, _ in QUESTIONS.values()} - {"drawing"}
    for name, value in answers.items():
        schema = found.answers.get(name)
        if schema is None or not _compiled_text(json.dumps(schema))(value):
            yield Finding("an answer fits its property", f"{name!r}: {schema}")
        elif types[name] not in {*known, "video_narration"} and value and not _is_json(value):
            yield Finding("an answer of an unknown type is JSON")


_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (float, int),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
    "object": (dict,),
    "array": (list,),
}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00", re.ASCII)


def compiled(schema: Mapping[str, Any]) -> Callable[[Any], bool]:
    """Return whether a value is of a schema, without more, and one that any target can hold."""
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kinds = {kind for name in names for kind in _KINDS[name]}
    properties = {name: compiled(of) for name, of in schema.get("properties", {}).items()}
    required = {*schema.get("required", ())}
    items = compiled(schema["items"]) if "items" in schema else None
    is_date = schema.get("format") == "date-time"

    def fits(value: Any) -> bool:
        kind: Any = type(value)
        if kind not in kinds:
            return False
        if kind is str:
            return not UNTEXTUAL.search(value) and (not is_date or bool(_TIME.fullmatch(value)))
        if kind is dict:
            return required <= value.keys() <= properties.keys() and all(
                properties[name](item) for name, item in value.items()
            )
        if kind is list:
            return items is not None and all(map(items, value))
        if kind is int:
            return bool(-(1 << 63) <= value < 1 << 63)
        return bool(kind is not float or abs(value) < float("inf"))

    return fits


@lru_cache(maxsize=4096)
def _compiled_text(schema: str) -> Callable[[Any], bool]:
    return compiled(json.loads(schema))


@lru_cache(maxsize=16)
def _judge_of(stream: str) -> tuple[Row, Callable[[Any], bool], list[str]]:
    """Return a stream's schema, whether a row is of it, and which columns hold JSON."""
    [of] = [each for each in STREAMS if each.name == stream]
    schema = of.json_schema()
    strict = deepcopy(schema) | {"required": [column.name for column in of.columns]}
    fits = compiled(strict)
    if "answers" in strict["properties"]:  # what is in them is another law's
        strict["properties"]["answers"] = {"type": "null"}
        without = compiled(strict)
        fits = lambda row: isinstance(row["answers"], dict) and without({**row, "answers": None})  # noqa: E731
    return schema, fits, [column.name for column in of.columns if column.type == "json"]


def _misfits(row: Row, schema: Row) -> str:
    properties = schema["properties"]
    odd = [
        n for n in row if n in properties and n != "answers" and not compiled(properties[n])(row[n])
    ]
    return f"{odd or sorted(properties.keys() ^ row.keys())}"


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_int=_int, parse_constant=_refuse)
    except ValueError:
        return False
    except RecursionError:
        return True
    return True


def _refuse(name: str) -> None:
    raise ValueError(name)


_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)( *|\..*)", re.IGNORECASE)


def key_laws(found: Reading) -> Iterator[Finding]:
    taken: dict[str, str] = {}
    for path, keys in found.keys.items():
        for key in keys:
            folder, *names = key.split("/")
            if not folder or not names or len(key.encode()) > 1000 or not all(map(_is_name, names)):
                yield Finding("every store has such a place for an upload", f"{path!r}: {key!r}")
        place = unicodedata.normalize("NFC", unicodedata.normalize("NFC", keys[0]).casefold())
        if place in taken:
            yield Finding("each upload has a place", f"{path!r} has that of {taken[place]!r}")
        taken[place] = path
    for place, path in taken.items():
        if any(place[:at] in taken for at, letter in enumerate(place) if letter == "/"):
            yield Finding("no upload is where others need a folder", repr(path))


def _is_name(part: str) -> bool:
    return bool(
        part
        and part[-1] not in " ."
        and not re.search(r'[\x00-\x1f\x7f\\:*?"<>|\ud800-\udfff]', part)
        and not _DEVICE.fullmatch(part)
        and len(part.encode()) <= 255
    )


# The laws of the kinds.


def same_rows(found: Reading, of: Sequence[Sample]) -> Iterator[Finding]:
    """Judge an archive of which no member's content was changed."""
    contents = {content for sample in of for content in sample.members.values()}
    if any(content not in contents for content in found.contents.values()):
        yield Finding("what an upload holds was in the archive")
    if found.error:
        return
    choices = [
        [*dict.fromkeys(sample.special[name] for sample in of if name in sample.special), None]
        for name in SPECIAL
    ]
    uploads = tuple(found.uploads.items())
    if not any(rows_of(chosen, uploads) == found.rows for chosen in product(*choices)):
        yield Finding("the rows are those of the archive as it was")


@lru_cache(maxsize=512)
def rows_of(contents: tuple[bytes | None, ...], uploads: tuple[tuple[str, Upload], ...]) -> Rows:
    """Return the rows of the members that are read, in the order of `SPECIAL`, and of uploads."""
    members = {name: it for name, it in zip(SPECIAL, contents, strict=True) if it is not None}
    return read(packed(members), uploads=dict(uploads)).rows


def nothing(_: Reading) -> Iterator[Finding]:
    """Judge by the laws of all cases alone."""
    yield from ()


def told_rows(
    found: Reading, members: Mapping[str, bytes], limits: Limits = LIMITS
) -> Iterator[Finding]:
    """Judge an archive that is packed well by what its members hold."""
    named = [name for name in LINES if name in members]
    texts = {
        name: lines_of(members[name], limits.max_line_bytes)
        for name in {*named[:1], *(named and LINES[2:] if LINES[2] in named else ())}
    }
    unsure = any(line is UNSURE for lines in texts.values() for _, line in lines)
    bad = {
        name: numbers
        for name, lines in texts.items()
        if (numbers := [number for number, line in lines if line is BAD])
    }
    if found.error:
        problem = found.error.problem.lower()
        right = any(f"{name}, line {numbers[0]}," in problem for name, numbers in bad.items())
        is_limit = "; the limit is" in problem
        if not (
            right or unsure or (is_limit and limits.max_member_bytes < LIMITS.max_member_bytes)
        ):
            yield Finding("only what is bad is refused, and named", f"{problem} Bad: {bad}")
        return
    if unsure:
        return
    skipped = {name: (told.count, told.first) for name, told in found.skipped.items()}
    if (bad and not limits.skip_bad_lines) or skipped != {
        name: (len(numbers), numbers[0]) for name, numbers in bad.items()
    }:
        yield Finding("bad lines are counted, the first is named", f"{skipped}, bad: {bad}")
    good = {name: [line for _, line in lines if line is not BAD] for name, lines in texts.items()}
    for name, told in good.items():
        yield from (line_laws if name == named[0] else task_laws)(found, told)
    for name in [name for name in METADATA if name in members][:1]:
        yield from metadata_laws(found, members[name])


def packed_rows(
    found: Reading, of: Sample, uploads: Mapping[str, bytes] | None
) -> Iterator[Finding]:
    """Judge an archive of a sample's members and these uploads; None: their names are no text."""
    if found.error:
        if uploads is not None and any(name in LINES for name in of.special):
            yield Finding("what is packed oddly is read", found.error.problem)
        return
    if found.contents != uploads:
        told = f"{sorted(found.contents)}, not {sorted(uploads or ())}"
        yield Finding("uploads are those that were packed", told)
    contents = tuple(of.special.get(name) for name in SPECIAL)
    if found.rows != rows_of(contents, tuple(found.uploads.items())):
        yield Finding("the names of uploads change no row")


def line_laws(found: Reading, lines: Sequence[Row]) -> Iterator[Finding]:
    rows = found.rows
    # What an entry says again of its question.
    again = {
        (name, row[column])
        for row in rows["instructions"]
        for name, column in (("type", "type"), ("instruction_id", "instruction_id"))
    }
    every = [each for line in lines for each in expanded(line)]
    of_tasks = texts_of(rows["tasks"])
    for told, held in _paired(every, rows["responses"]):
        wanted = {leaf for leaf in leaves(told) if not is_time(leaf)}
        if gone := lost(wanted - again, texts_of(held) | of_tasks):
            yield Finding("nothing of a line is lost", f"{gone[:3]} of {len(gone)}")
    given = [answers_of({**shared, **own}) for own, shared in every]
    # Of an upload that the archive lacks, the long form tells no more than its path.
    wanted = {leaf for leaf in leaves(given) if leaf[0] not in {"file_name", "content_type"}}
    if gone := lost(wanted - again, texts_of(rows["answers"])):
        yield Finding("nothing of an answer is lost in the long form", f"{gone[:3]} of {len(gone)}")
    yield from own_laws(found, given)
    # Two that differ in times' spelling only, or in where they say what, may be taken for one.
    least = {
        frozenset(leaf[1] for leaf in leaves([own, shared]) if not is_time(leaf))
        for own, shared in every
    }
    most = {json.dumps({**shared, "\n": own}, sort_keys=True) for own, shared in every}
    ids = Counter(row["response_id"] for row in rows["responses"])
    if not len(least) <= len(ids) <= len(most):
        law = "responses that differ have rows of their own, and no others have"
        yield Finding(law, f"{len(ids)}, not {len(least)} to {len(most)}")
    if any(count > 2 or (count == 2 and f"{id_}:2" not in ids) for id_, count in ids.items()):
        yield Finding("a response is emitted again only if another has its place")


def task_laws(found: Reading, lines: Sequence[Row]) -> Iterator[Finding]:
    """Judge the tasks of the file by task, beside another; those that have the id of none other."""
    tasks = [line for line in lines if line.get("task_id") and isinstance(line["task_id"], str)]
    ids = Counter(_clean(task["task_id"]) for task in tasks)
    held = texts_of(found.rows["tasks"])
    for task in tasks:
        own, shared = next(expanded(task))
        wanted = leaves(shared or own)
        if ids[_clean(task["task_id"])] == 1 and (gone := lost(wanted, held)):
            yield Finding("nothing of a task is lost", f"{gone[:3]} of {len(gone)}")


def _paired(
    every: Sequence[tuple[Row, Row]], rows: Sequence[Row]
) -> Iterator[tuple[list[Any], list[Row]]]:
    """Yield what a response says, with its row; all with all, where some share an id."""
    ids = {row["response_id"] for row in rows}
    if len(ids) < len(rows) or len(rows) != len(every) or any(id_[-2:-1] == ":" for id_ in ids):
        yield [*every], [*rows]
    else:
        yield from (([own, shared], [row]) for (own, shared), row in zip(every, rows, strict=True))


def expanded(line: Row) -> Iterator[tuple[Row, Row]]:
    """Yield the responses of a line, each with what the line says of all of them."""
    persons = {"submission_id", "participant_id"}
    for name, id_ in (("tasks", "task_id"), ("submissions", "submission_id"), ("responses", "")):
        items = line.get(name)
        if id_ and isinstance(items, dict):  # by their ids
            held = [({"responses": it} if type(it) is list else it) for it in items.values()]
            items = [
                {id_: key, **it} if type(it) is dict else it
                for key, it in zip(items, held, strict=True)
            ]
        if isinstance(items, list) and items and all(isinstance(item, dict) for item in items):
            if name == "responses" and not all(persons & {*item} for item in items):
                items = by_task(items)
            shared = {other: value for other, value in line.items() if other != name}
            yield from ((item, shared) for item in items)
            if items:
                return
    yield line, {}


def by_task(answers: Sequence[Row]) -> list[Row]:
    """Return the tasks of answers; none if it is not plain of each which is its task."""
    tasks: dict[str, list[Row]] = {}
    for own in answers:
        id_ = own.get("task_id")
        if not (isinstance(id_, str) and isinstance(own.get("instruction_id"), str)):
            return []
        tasks.setdefault(id_, []).append({n: it for n, it in own.items() if n != "task_id"})
    # In a table, too, they are several.
    is_plain = len({*map(_clean, tasks)}) == len(tasks)
    return [{"task_id": id_, "responses": own} for id_, own in tasks.items()] if is_plain else []


def answers_of(own: Row) -> Row:
    """Return the answers of a response by their question, as far as it is plain which they are."""
    answers = own.get("responses", own.get("response"))
    if isinstance(answers, dict) and isinstance(answers.get("instruction_id"), str):
        return {answers["instruction_id"]: answers}  # it is one answer
    if not isinstance(answers, list):
        return answers if isinstance(answers, dict) else {}
    ids: list[Any] = [e.get("instruction_id") if isinstance(e, dict) else None for e in answers]
    is_plain = all(isinstance(id_, str) for id_ in ids)
    # In a table, too, they are several.
    is_plain = is_plain and len({*map(_clean, ids)}) == len(ids)
    return dict(zip(ids, answers, strict=True)) if is_plain else {}


def own_laws(found: Reading, given: Sequence[Row]) -> Iterator[Finding]:
    """Judge the long form by what was said to the same questions, in whatever response."""
    said: dict[str, list[Any]] = {}
    for answers in given:
        for id_, entry in answers.items():
            said.setdefault(id_, []).append(entry)
    texts: dict[str, set[str]] = {}
    for row in found.rows["answers"]:
        id_ = row["instruction_id"]
        if id_ not in said:  # cleaned, and with something added if that is another's
            like = [entries for each, entries in said.items() if id_.startswith(_clean(each))]
            said[id_] = [entry for entries in like for entry in entries]
        raw = loads(row["raw"].encode()) if row["raw"] else UNSURE
        if raw is not UNSURE and _by_key(raw) not in _by_key(escaped(said[id_])):
            yield Finding("an answer that is told as it came is its question's", repr(id_))
        if id_ not in texts:
            texts[id_] = {*map(_clean, texts_of([{"": said[id_]}]))}
            texts[id_] |= {text.rpartition("/")[2] for text in texts[id_]}
        told = [row[name] for name in ("value", "unit", "explanation") if row[name]]
        name = (row["file_path"] or "").rpartition("/")[2]
        # That of a file which is named by a key.
        own = f"{row['submission_id']}_" if row["file_path"] in found.uploads else ""
        told += [name] if texts[id_].isdisjoint({name.removeprefix(own)}) else []
        if any(text and texts[id_].isdisjoint(spellings(text)) for text in told):
            yield Finding("a value in the long form is its question's", f"{id_!r}: {told}")


def _by_key(node: Any) -> Any:
    """Return an answer without paths beside keys: the tap may have put them there."""
    if isinstance(node, list):
        return [_by_key(item) for item in node]
    if not isinstance(node, dict):
        return node
    known = {"path"} & {*node} if isinstance(node.get("file_key"), str) else ()
    return {name: _by_key(item) for name, item in node.items() if name not in known}


def metadata_laws(found: Reading, text: bytes) -> Iterator[Finding]:
    value = loads(text.removeprefix(BOM))
    if value is UNSURE:
        return
    if isinstance(value, dict) is bool(found.problem):
        yield Finding("metadata that is no object is said", str(found.problem))
    elif isinstance(value, dict):
        held = texts_of([*found.rows["collections"], *found.rows["instructions"]])
        wanted = {(name, _clean(text)) for name, text in leaves(value) if not is_time((name, text))}
        if gone := lost(wanted, held):
            yield Finding("nothing of the metadata is lost", f"{gone[:3]} of {len(gone)}")


# Mutations.


@dataclass(frozen=True)
class Case:
    """An archive, and the laws of its kind.

    Attributes:
        data: The archive.
        judge: Yields what is wrong with a reading of it.
        limits: To read it with.
        step: How many bytes come at a time.
        known: Rows that need no judge.
    """

    data: bytes
    judge: Callable[[Reading], Iterator[Finding]]
    limits: Limits = LIMITS
    step: int = 0
    known: Rows | None = None


INTERESTING = [0, 1, 2, 7, 8, 9, 14, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF]
INTERESTING += [0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 32, 1 << 62]
INTERESTING += [(1 << 63) - 1, 1 << 63, (1 << 64) - 1]


def mutated_bytes(random: Random, data: bytes, other: bytes) -> bytes:
    """Return bytes of which a few are others, whatever they mean."""
    made = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        at = random.randrange(len(made) + 1)
        length = min(random.choice((1, 1, 2, 4, 8, 30, 46, 300)), len(made) - at)
        action = random.randrange(9)
        if action <= 1 and length:
            made[at] ^= 1 << random.randrange(8)
        elif action == 2 and length:
            made[at] = random.choice((0, 0xFF, 0x0A, 0x22, 0x5C, 0x7B, random.randrange(256)))
        elif action == 3:
            made[at:at] = random.randbytes(length)
        elif action == 4:
            del made[at : at + length]
        elif action == 5:
            del made[at:]
        elif action == 6:
            made[at:at] = made[at : at + length] * random.choice((1, 1, 2, 50))
        elif action == 7:
            begin = random.randrange(len(other) + 1)
            made[at : at + length] = other[begin : begin + length]
        elif random.randrange(2):
            made[at:] = other[random.randrange(len(other) + 1) :]
        else:
            made[:] = made + other if random.randrange(2) else other + made
    return bytes(made)


# By signature: how long the fields of a header are, one after the other.
_HEADERS = {
    b"PK\1\2": (4, 2, 2, 2, 2, 2, 2, 4, 4, 4, 2, 2, 2, 2, 2, 4, 4),
    b"PK\3\4": (4, 2, 2, 2, 2, 2, 4, 4, 4, 2, 2),
    b"PK\5\6": (4, 2, 2, 2, 2, 4, 4, 2),
    b"PK\6\6": (4, 8, 2, 2, 4, 4, 8, 8, 8, 8),
    b"PK\6\7": (4, 4, 8, 4),
    b"PK\7\x08": (4, 4, 4, 4),
}
_SIGNATURE = re.compile(b"|".join(map(re.escape, _HEADERS)))
# Where an entry and a header have the lengths of name and extra field, and how long they are.
_NAMED = {b"PK\1\2": (28, 46), b"PK\3\4": (26, 30)}


@lru_cache(maxsize=64)
def fields_of(data: bytes) -> tuple[tuple[int, int], ...]:
    """Return where the numbers in a ZIP's headers lie, and how long they are."""
    found: list[tuple[int, int]] = []
    for match in _SIGNATURE.finditer(data):
        at = match.start()
        for length in _HEADERS[match[0]]:
            found.append((at, length))
            at += length
        lengths, size = _NAMED.get(match[0], (0, 0))
        if size and match.start() + size <= len(data):
            name, extra = struct.unpack_from("<2H", data, match.start() + lengths)
            begin = match.start() + size + name
            if extra >= 4:  # kind and length, and what are most likely sizes
                found += [(begin, 2), (begin + 2, 2)]
                found += [(begin + at, 8) for at in range(4, extra - 7, 8)]
    return tuple((at, length) for at, length in found if at + length <= len(data))


def mutated_fields(random: Random, data: bytes) -> bytes:
    """Return a ZIP whose headers say something else."""
    made = bytearray(data)
    fields = fields_of(data)
    entries = [match.start() for match in re.finditer(b"PK\1\2", data)]
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5))):
        at, length = random.choice(fields)
        before = int.from_bytes(made[at : at + length], "little")
        action = random.randrange(7)
        if action == 0:  # what another field says
            there, as_long = random.choice(fields)
            value = int.from_bytes(made[there : there + as_long], "little")
        elif action == 1:
            value = before + random.choice((-1, 1, -2, 2, -46, 46, 30, 12, 16))
        elif action == 2:
            value = random.choice((len(data), len(data) - 22, at, at - 46)) + random.randrange(
                -1, 2
            )
        elif action == 3:
            value = before ^ (1 << random.randrange(8 * length))
        elif action == 4 and random.randrange(3) == 0:
            _lie(random, made, random.choice(entries), random.choice(entries))
            continue
        else:
            value = random.choice(INTERESTING)
        made[at : at + length] = (value % (1 << 8 * length)).to_bytes(length, "little")
    return bytes(made)


def _lie(random: Random, made: bytearray, entry: int, other: int) -> None:
    """Have the directory say something of a member that fits together."""
    action = random.randrange(4)
    if action == 0 and not made[entry + 8] & 8:  # it is empty; its header says otherwise
        made[entry + 16 : entry + 28] = bytes(12)
    elif action == 1:  # it is another one
        made[entry + 16 : entry + 28] = made[other + 16 : other + 28]
        made[entry + 42 : entry + 46] = made[other + 42 : other + 46]
    elif action == 2:  # its sizes stand elsewhere
        made[entry + 20 : entry + 28] = b"\xff" * 8
    else:  # some of its name is the extra field's, or the other way round
        name, extra = struct.unpack_from("<2H", made, entry + 28)
        moved = random.randrange(-extra, name + 1)
        struct.pack_into("<2H", made, entry + 28, name - moved, extra + moved)


def of_bytes(random: Random) -> Case:
    sample, other = random.choice(corpus()), random.choice(corpus())
    data = mutated_bytes(random, sample.data, other.data)
    return _of_zip(random, data, (sample, other))


def of_fields(random: Random) -> Case:
    sample = random.choice(corpus())
    return _of_zip(random, mutated_fields(random, sample.data), (sample,))


def _of_zip(random: Random, data: bytes, of: tuple[Sample, ...]) -> Case:
    limits = Limits(skip_bad_lines=random.randrange(2) == 0)
    step = random.choice((0, 0, 0, 1000, 40))
    return Case(data, lambda found: same_rows(found, of), limits, step, of[0].rows)


def of_text(random: Random) -> Case:
    members, name = _some_member(random)
    if random.randrange(3):
        other = random.choice([*random.choice(corpus()).special.values()])
        members[name] = mutated_bytes(random, members[name], other)
    else:
        members[name] = _between_lines(random, members[name])
    return _of_members(random, members)


def _between_lines(random: Random, text: bytes) -> bytes:
    """Return a text with lines between its lines."""
    lines = text.split(b"\n")
    odd = [b"", b"\r", b" \t", b"{}", b"[]", b"null", b"{", b'{"a": 1}\r', BOM + b"{}", b"\0"]
    odd += [b'{"a": "\xff"}', f'"{SAID}"'.encode(), *lines]
    for _ in range(random.randrange(1, 4)):
        lines.insert(random.randrange(len(lines) + 1), random.choice(odd))
    begin = random.choice((b"", b"", BOM, b"\xff\xfe"))
    return begin + random.choice((b"\n", b"\n", b"\r\n")).join(lines)


def _some_member(random: Random) -> tuple[dict[str, bytes], str]:
    """Return the members of a sample, and the name of one that is read; rather of its lines."""
    sample = random.choice(corpus())
    lines = [name for name in sample.special if name in LINES]
    names = lines if lines and random.randrange(3) else [*sample.special]
    members = {name: it for name, it in sample.members.items() if len(it) <= MAX_INFLATED_CHUNK}
    return members, random.choice(names)


def _of_members(random: Random, members: dict[str, bytes]) -> Case:
    skips = random.randrange(2) == 0
    limits = Limits(skip_bad_lines=skips)
    if random.randrange(16) == 0:
        lengths = random.choice((1, 100, 700, 2000))
        limits = Limits(random.choice((300, 3000)), lengths, random.choice((1000, 10_000)), skips)
    step = random.choice((0, 0, 0, 1000, 40))
    return Case(packed(members), lambda found: told_rows(found, members, limits), limits, step)


# fmt: off
# Values in JSON text, texts in them, names of fields, and of uploads.
_TEXTS = [
    "", " ", "0", "1", "12.5", " 7 ", "1e2", "1e400", "-0", "NaN", "true", "null", "[]", "{}", '"',
    "a", "b", "g", "value", "free_text", "multiple_choice", "star_rating", "rich_text",
    "2026-02-30", "file_upload", "2026-11-20", "2026-11-20T08:30", "0001-01-01T00:00:00+14:00",
    "../x", "files/", "9999-12-31T23:59:59-12:00", "\u0662\u0660-\u0661-\u0662", "q-text", "task-0",
    _PATH, f"/{_PATH}", f"./{_PATH}", f"x/s0_{SAID}.png", f"{SAID}\0", "\0", "\ud800", "\udc00",
    f"{SAID}\ud800", "\ufffd", "\ufffd\ufffd", f"{SAID}\u2028\x85", f"{SAID} \xe9", "e\u0301",
    SAID * 300, "\x7f\x1b[0m", "9" * 400, "9" * 401,
]
ODD = [
    "null", "true", "false", "0", "-0", "-0.0", "1", "-1", "2.5", "1.0", "4.0", "0.1", "1E+2",
    "1e22", "1e400", "-1e400", "1e-400", "NaN", "Infinity", "-Infinity", "1" * 400,
    "-" + "7" * 5000, "[]", "{}", "[null]", "[[]]", "[true, 1, 1.0]", '{"": null}',
    '{"value": null}', '{"answer": 1}', '{"value": []}', '{"value": {"value": [{"value": [1]}]}}',
    '[{"value": 1, "unit": "g"}, null]', '"\\ud83d\\ude00"', '"\\ud83d\\ud83d"', '"\\ude00\\ud83d"',
    '"\\u0000\\ufffd"', f'"{SAID}\U0001f600"', *map(json.dumps, _TEXTS),
    *(f"{sign * 2**bits + more}" for bits in (53, 63, 64) for sign in (1, -1) for more in (-1, 0)),
]
_SHALLOW = len(ODD)
ODD += [
    begin * depth + "1" + end * depth
    for depth in (3, 5, 20, 100, 240, 320, 480, 900, *range(950, 1000, 4), 1500, 100_000)
    for begin, end in (("[", "]"), ('{"a":', "}"), ('{"value":', "}"))
]
NAMES = [
    "", "\0", "\ufffd", "\ud800", "id", "response_id", "submission_id", "participant_id",
    "study_id", "task_id", "responses", "response", "tasks", "submissions", "submitted_at",
    "completed_at", "created_at", "datapoint", "metadata", "submission", "answers",
    "instruction_id", "type", "value", "answer", "unit", "explanation", "free_text", "text", "path",
    "file_key", "file_name", "content_type", "q-text", "q-photo", f"{SAID} x",
]
OF_METADATA = [
    "", "\0", "id", "type", "description", "order", "options", "label", "value", "instructions",
    "collection_items", "batch_items", "page_items", "rows", "columns", "items", "validation",
    "unit_options", "answer_limit", "created_at", "name", "layout", "answer_key", "position",
    "additional_fields", "data_collection_id", "max_stars", "max_file_size_mb", "datasets",
]
CALLED = [
    "a", "A", "a/b", "a.png", "..", ".", "../x", "/x", "x//y", "x/", " ", "x ", "x.", "CON", "*",
    "nul.a.txt", "a\\b", "..\\x", "c:x", "\xe9", "e\u0301", "\xc9", "\xdf", "ss", "\u212a", "k",
    "x\ny", "\U0001f600", "x\0y", "x\ufffdy", "x" * 180, "x" * 181, "x" * 300, "\xe9" * 90,
    "\xe9" * 91, "-x", ".x", "~", "a-00000000", "x/../../y", "a?b", "responses.jsonl",
    "collection.json", "\u202e", "\u2028", "x\x7f",
]
# fmt: on
_PLACEHOLDER = re.compile(r'"@odd ([0-9]+)@"')


def _odd(random: Random) -> str:
    """Return what stands for an odd value until `dumps` writes it."""
    is_deep = random.randrange(40) == 0
    return (
        f"@odd {random.randrange(_SHALLOW, len(ODD)) if is_deep else random.randrange(_SHALLOW)}@"
    )


def dumps(value: Any) -> bytes:
    """Return JSON with odd values, and with names that come twice, as they are."""
    text = json.dumps(value).replace('@twice@"', '"')
    return _PLACEHOLDER.sub(lambda match: ODD[int(match[1])], text).encode()


def mutated_json(random: Random, value: Any, names: Sequence[str]) -> Any:
    """Return a JSON value, which may be changed itself, with a few nodes that are others."""
    root = [value]
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        holder, key = _place(random, root)
        if random.randrange(3) == 0 or holder is root:
            holder[key] = _odd(random)
        elif random.randrange(4) == 0:
            there, at = _place(random, root)
            # Copies: one that held itself would have no end.
            holder[key], there[at] = deepcopy(there[at]), deepcopy(holder[key])
        elif isinstance(holder, dict):
            _mutate_field(random, holder, key, names)
        else:
            _mutate_item(random, holder, key, names)
    return root[0]


# What names that differ may end in, and not differ in a table.
_ENDS = ("\0", "\ufffd", "\ud800", "\ufffd\ufffd")


def _mutate_field(random: Random, holder: Row, key: str, names: Sequence[str]) -> None:
    node = holder[key]
    other = random.choice((_odd(random), deepcopy(node)))
    action = random.randrange(7)
    if action == 0:
        del holder[key]
    elif action == 1:
        holder[key] = random.choice(([node], {"value": node}, {"answer": [node]}, [node, node]))
    elif action == 2:
        holder[random.choice(names)] = holder.pop(key)
    elif action == 3:
        holder[random.choice(names)] = other
    elif action == 4:
        holder[f"{key}@twice@"] = other
    elif action == 5:
        holder.update({key + end: f"{SAID} {random.random()}" for end in random.sample(_ENDS, 2)})
    elif isinstance(node, dict):
        node[random.choice(names)] = _odd(random)


def _mutate_item(random: Random, holder: list[Any], at: int, names: Sequence[str]) -> None:
    node = holder[at]
    action = random.randrange(5)
    if action == 0:
        del holder[at]
    elif action == 1:
        holder[at] = random.choice(([node], {"value": node}, {random.choice(names): node}))
    elif action == 2:
        holder += [deepcopy(node)] * random.choice((1, 1, 2, 30))
    elif action == 3 and isinstance(node, dict) and node:
        name = random.choice([*node])
        for end in random.sample(_ENDS, 2):
            holder.append({**deepcopy(node), name: f"{node[name]}{end}", "": random.random()})
    elif isinstance(node, dict):
        node[random.choice(names)] = _odd(random)


def _place(random: Random, root: list[Any]) -> tuple[Any, Any]:
    """Return a node's holder and its key there."""
    holder: Any = root
    key: Any = 0
    while True:
        node = holder[key]
        if not isinstance(node, (dict, list)) or not node or random.randrange(6) == 0:
            return holder, key
        holder = node
        if isinstance(node, list):
            key = random.randrange(len(node))
        else:  # most of what is done with a line is done with its answers
            is_line = "responses" in node and random.randrange(2)
            key = "responses" if is_line else random.choice([*node])


def of_json(random: Random) -> Case:
    members, name = _some_member(random)
    if name in METADATA:
        members[name] = dumps(mutated_json(random, json.loads(members[name]), OF_METADATA))
        return _of_members(random, members)
    lines = [json.loads(line) for line in members[name].splitlines() if line]
    at = random.randrange(len(lines))
    mutated = mutated_json(random, deepcopy(lines[at]), [*NAMES, *lines[at]])
    if random.randrange(4):
        lines[at] = mutated
    else:  # beside what it was, and maybe once more, in another order
        lines.append(mutated)
        if isinstance(mutated, dict) and random.randrange(2):
            lines.append(dict(random.sample([*mutated.items()], len(mutated))))
        random.shuffle(lines)
    members[name] = b"\n".join(map(dumps, lines))
    return _of_members(random, members)


_EXTRAS = (
    b"",
    b"",
    b"",
    b"UT\5\0\1abcd",
    b"\1\0\0\0",
    b"\1",
    b"xx\xff\xff",
    b"\1\0\x08\0" + b"\xff" * 8,
)


def of_members(random: Random) -> Case:
    sample = random.choice(corpus())
    top = random.choice(("", "", "top/", f"{SAID} x/"))
    entries = [
        Entry(f"{top}{name}".encode(), it, **_oddly(random)) for name, it in sample.special.items()
    ]
    uploads: dict[str, bytes] | None = {}
    called = b"x"
    for number in range(random.randrange(6)):
        called = called.swapcase() if random.randrange(4) == 0 else random.choice(CALLED).encode()
        if random.randrange(4) == 0:
            called = mutated_bytes(random, called, b"files/../") or b"x"
        name = f"{top}files/{random.choice((SAID, ''))}".encode() + called
        flags = random.choice((0, 1 << 11, 1 << 11))
        entries.append(Entry(name, b"photo %d" % (number % 3), flags, **_oddly(random)))
        try:
            path = _clean(name.decode())
        except UnicodeDecodeError:
            path = _clean(name.decode("cp437"))
            if flags:  # nobody can tell what is meant
                uploads = None
        if uploads is not None and not path.endswith("/"):
            uploads[path.removeprefix(top)] = entries[-1].content
    if uploads is not None:
        forms = Counter(unicodedata.normalize("NFC", path) for path in uploads)
        uploads = {
            form if forms[form := unicodedata.normalize("NFC", path)] == 1 else path: content
            for path, content in uploads.items()
        }
    prefix, comment = random.choice((b"", b"", b"#!")), random.choice((b"", b"", b"PK\1\2 comment"))
    return Case(
        pack_entries(entries, prefix, comment),
        lambda found: packed_rows(found, sample, uploads),
        step=random.choice((0, 0, 0, 1000, 40)),
    )


def _oddly(random: Random) -> dict[str, Any]:
    return {
        "deflated": random.randrange(2) == 0,
        "descriptor": random.randrange(4) == 0,
        "zip64": random.randrange(8) == 0,
        "extra": random.choice(_EXTRAS[:4]),
        "local_extra": random.choice((*_EXTRAS, bytes(300))),
    }


KINDS: dict[str, Callable[[Random], Case]] = {
    "bytes": of_bytes,
    "fields": of_fields,
    "text": of_text,
    "json": of_json,
    "members": of_members,
}
# Most of a ZIP's mutations are refused soon.
WEIGHTS = {"bytes": 30, "fields": 30, "text": 10, "json": 25, "members": 5}


# Running.


@dataclass(frozen=True)
class Result:
    """What came of a case."""

    kind: str
    outcome: str
    reason: str
    findings: tuple[Finding, ...]
    data: bytes


def run(seed: int, number: int, kind: str | None = None) -> Result:
    """Make the case of a number, read it and judge it."""
    random = Random(seed * 1_000_003 + number)  # noqa: S311
    [drawn] = random.choices([*WEIGHTS], [*WEIGHTS.values()])
    kind = kind or drawn
    return examine(KINDS[kind](random), kind, thoroughly=number % 64 == 0)


def examine(case: Case, kind: str = "", *, thoroughly: bool = True) -> Result:
    """Read a case and judge it."""
    before = _memory()
    found = None
    try:
        with _alarm():
            found = read(case.data, case.limits, step=case.step)
            findings = _judged(case, found, thoroughly=thoroughly)
    except HangError as error:
        findings = [Finding(f"no case takes {SECONDS} seconds: {_where(error)}")]
    except Exception as error:  # noqa: BLE001
        law = f"no other error is raised: {type(error).__name__} in {_where(error)}"
        findings = [Finding(law, repr(error)[:200])]
    if _memory() - before > MEGABYTES << 20:
        findings.append(Finding("no case takes much memory"))
    outcome, reason = "forbidden", ""
    if found and not findings:
        outcome = "rows, lines left out" if found.skipped else "rows"
        if found.error:
            outcome, reason = "refused", re.sub("[0-9,]*[0-9]", "N", found.error.problem)
    return Result(kind, outcome, reason, tuple(findings), case.data)


def _judged(case: Case, found: Reading, *, thoroughly: bool) -> list[Finding]:
    findings = [*case.judge(found)]
    if found.rows != case.known:
        findings += [*row_laws(found, thoroughly=thoroughly), *key_laws(found)]
    if any(SAID.lower() in text.lower() for text in found.said):
        findings.append(Finding("no participant is quoted", str(found.said)))
    return findings


def _memory() -> int:
    """Return the most bytes that this process has taken so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


@contextmanager
def _alarm() -> Iterator[None]:
    alarms = 0

    def hang(_signum: int, _frame: FrameType | None) -> None:
        nonlocal alarms
        alarms += 1
        if alarms == 2:
            raise HangError
        signal.setitimer(signal.ITIMER_REAL, SECONDS / 2)

    before = signal.signal(signal.SIGALRM, hang)
    # In two halves: the first may pass while somebody has stopped this process.
    signal.setitimer(signal.ITIMER_REAL, SECONDS / 2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "tap_prolific_export" in frame.filename] or frames
    return f"{Path(ours[-1].filename).name}, {ours[-1].name}"


@dataclass
class Tally:
    """What came of many cases; of each law that was broken, the smallest."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    laws: Counter[str] = field(default_factory=Counter)
    worst: dict[str, tuple[int, Result]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(self.outcomes.values())

    def add(self, number: int, result: Result) -> None:
        self.outcomes[result.kind, result.outcome] += 1
        self.reasons.update([result.reason] if result.reason else [])
        for law in {finding.law for finding in result.findings}:
            self.laws[law] += 1
            self._keep(law, number, result)

    def merge(self, other: Tally) -> None:
        self.outcomes += other.outcomes
        self.reasons += other.reasons
        self.laws += other.laws
        for law, (number, result) in other.worst.items():
            self._keep(law, number, result)

    def _keep(self, law: str, number: int, result: Result) -> None:
        if law not in self.worst or len(result.data) < len(self.worst[law][1].data):
            self.worst[law] = (number, result)


def work(seed: int, numbers: Iterable[int], kind: str | None = None) -> Tally:
    tally = Tally()
    for number in numbers:
        tally.add(number, run(seed, number, kind))
    return tally


class _Worker:
    """A process that works on every so many-th number; one that dies is started again."""

    def __init__(self, options: argparse.Namespace, first: int) -> None:
        self._options = options
        self._context = multiprocessing.get_context("spawn")
        self._next = self._context.Value("q", first)
        self._seen, self._idle = first, 0
        self._start()

    def _start(self) -> None:
        self._receiver, sender = self._context.Pipe(duplex=False)
        arguments = (self._options, self._next, sender)
        self._process = self._context.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        sender.close()

    def tallies(self) -> Iterator[Tally | None]:
        """Yield what it has told since; None when it is done."""
        while self._receiver.poll(POLL):
            try:
                yield self._receiver.recv()
            except EOFError:
                self._process.join()
                if self._next.value >= self._options.mutations:
                    yield None
                    return
                law = f"no process ends: {self._process.exitcode}"
                died = Tally()
                died.add(self._next.value, Result("?", "forbidden", "", (Finding(law),), b""))
                self._next.value += self._options.processes
                self._start()
                yield died
        # In polls, and not by the clock: somebody may stop all processes for a while.
        self._idle = 0 if self._next.value != self._seen else self._idle + 1
        self._seen = self._next.value
        if self._idle * POLL > 6 * SECONDS:
            self._process.kill()  # no signal gets through to it


def _work(options: argparse.Namespace, next_: Any, sender: Any) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    tally = Tally()
    while (number := next_.value) < options.mutations:
        tally.add(number, run(options.seed, number, options.kind))
        next_.value += options.processes
        if tally.count == 500 or next_.value >= options.mutations:
            sender.send(tally)
            tally = Tally()


def main() -> int:
    parser = argparse.ArgumentParser(description="Read archives that nobody packed.")
    parser.add_argument("--mutations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kind", choices=KINDS, help="of mutations; all, if none is named")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="one case")
    parser.add_argument("--out", type=Path, help="where archives are written that break a law")
    options = parser.parse_args()
    options.out = options.out or Path(tempfile.mkdtemp(prefix="tap-fuzz-"))
    options.out.mkdir(parents=True, exist_ok=True)
    if options.only is not None:
        tally = work(options.seed, [options.only], options.kind)
    else:
        tally = _run_all(options)
    for (kind, outcome), count in sorted(tally.outcomes.items()):
        print(f"{count:9,} {kind:8} {outcome}")
    for reason, count in tally.reasons.most_common(50):
        print(f"{count:9,} refused: {reason}")
    for law, count in tally.laws.most_common():
        print(f"{count:9,} times {_told(options, law, *tally.worst[law])}")
    with suppress(OSError):
        options.out.rmdir()  # if nothing was written
    return 1 if tally.laws else 0


def _run_all(options: argparse.Namespace) -> Tally:
    tally = Tally()
    assert all(sample.rows for sample in corpus())  # else no process would get anywhere
    begin = said = time.monotonic()
    workers = [_Worker(options, first) for first in range(options.processes)]
    while workers:
        for worker in list(workers):
            for more in worker.tallies():
                if more is None:
                    workers.remove(worker)
                    continue
                new = more.laws.keys() - tally.laws.keys()
                tally.merge(more)
                for law in new:
                    print(f"new: {_told(options, law, *tally.worst[law])}", flush=True)
        if (now := time.monotonic()) - said > 60 or not workers:
            said = now
            rate = tally.count / (now - begin)
            print(f"{tally.count:,} cases in {now - begin:,.0f} s: {rate:,.0f}/s", flush=True)
    return tally


def _told(options: argparse.Namespace, law: str, number: int, result: Result) -> str:
    """Return what there is to say of a broken law, having written the archive to a file."""
    path = options.out / f"{options.seed}-{number}.zip"
    path.write_bytes(result.data)
    details = {finding.detail[:400] for finding in result.findings if finding.law == law}
    more = "".join(f"\n          {detail}" for detail in sorted(details)[:3] if detail)
    return f"{law}: case {number} of seed {options.seed} ({result.kind}), {path}{more}"


if __name__ == "__main__":
    sys.exit(main())
