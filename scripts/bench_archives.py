"""Archives for the benchmarks: varied answers to questions of every type, from a fixed seed."""

from __future__ import annotations

import os
import random
import zipfile
import zlib
from datetime import timedelta
from enum import Enum
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from msgspec.json import encode

from tests.support.stand_in import Hosted, archives
from tests.support.stand_in.samples import BEGIN, DIARY, STUDY, WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

Json = dict[str, Any]

TASKS = 5  # of each submission of a batch; as many submissions have the same tasks
UPLOADED = 8  # one of so many responses has an uploaded file
VARIANTS = 256  # of the answer to a question
PACKED_AT = (2026, 11, 20, 12, 0, 0)
TEXT = """\
Porridge with honey and a small cup of tea that had gone cold before anybody sat down; two slices
of toast & jam, because there was no time for more. We call it a "full English", which it is not:
eggs, beans and mushrooms, größtenteils ohne Fleisch, und dazu Müsli. 朝ごはん は パン でした。
Nothing much on weekdays, though on Sundays the whole family cooks together and it takes hours."""


class Kind(Enum):
    """What the lines of an archive are, and an unusual answer, in each or in every tenth line."""

    COLLECTION = "one per submission"
    NESTED = "of a batch, one per submission, with its tasks"
    FLAT = "of a batch, one per submission and task"
    OTHER_SHAPE = "one per submission, each with an answer of another documented shape"
    UNKNOWN_SHAPE = "one per submission, every tenth with an answer of unknown shape"


BATCHES = {Kind.NESTED, Kind.FLAT}
UNUSUAL: dict[Kind, tuple[int, Json]] = {
    Kind.OTHER_SHAPE: (1, {"type": "free_text_with_unit", "value": {"value": "12.5", "unit": "g"}}),
    Kind.UNKNOWN_SHAPE: (10, {"strokes": [[12, 0.5]]}),
}


def _options(values: Iterable[Any]) -> list[Json]:
    return [{"label": f"Choice {number}", "value": value} for number, value in enumerate(values)]


NUMBER: Json = {"validation": {"type": "number", "min": 0, "max": 600}}
UNITS: list[Json] = [{"label": "Grams", "value": "g"}, {"label": "Ounces", "value": "oz"}]
TEXTS = _options(["tea", "coffee", "water", "something else"])
NUMBERS, BOOLEANS = _options([-1, 0, 1, 2.5]), _options([True, False])
ASKED: tuple[tuple[str, Json], ...] = (
    ("free_text_with_unit", {"unit_options": [{**unit, **NUMBER} for unit in UNITS]}),
    ("free_text_with_unit", {"unit_options": UNITS}),
    *[("free_text", {})] * 6,
    *[("free_text", NUMBER)] * 2,
    ("multiple_choice", {"answer_limit": 1, "options": TEXTS}),
    ("multiple_choice", {"answer_limit": 1, "options": NUMBERS}),
    ("multiple_choice", {"answer_limit": 1, "options": BOOLEANS}),
    ("multiple_choice", {"answer_limit": -1, "options": TEXTS}),
    ("multiple_choice", {"answer_limit": 3, "options": NUMBERS}),
    ("multiple_choice_with_free_text", {"answer_limit": 1, "options": TEXTS}),
    ("multiple_choice_with_free_text", {"answer_limit": 2, "options": NUMBERS}),
    *[("star_rating", {"max_stars": 5})] * 2,
    ("file_upload", {"max_file_count": 1, "accepted_file_types": ["image/png"]}),
)
QUESTIONS: list[Json] = [
    {"id": f"4f0c9a52-93d1-4c0e-9d5e-{number:012x}", "type": type_, "order": number}
    | {"description": f"Question {number}: what did you have?", **fields}
    for number, (type_, fields) in enumerate(ASKED)
]
LAYOUT: list[Json] = [{"id": "page-0", "order": 0, "page_items": QUESTIONS}]
COLLECTION = Hosted("collections", DIARY, WORKSPACE, {"name": "Breakfast"}, LAYOUT, QUESTIONS)


def make(
    path: Path, count: int, kind: Kind = Kind.COLLECTION, uploads: Sequence[int] = (1,) * 500
) -> None:
    """Write an archive.

    Args:
        path: The file to write.
        count: Number of responses.
        kind: What its lines are.
        uploads: Sizes of the uploaded files. They are sparse: they need little disk space.
    """
    metadata = {"id": DIARY, **COLLECTION.metadata, "instructions": QUESTIONS}
    lines = _submissions(count, kind)
    with path.open("w+b") as file, zipfile.ZipFile(file, "w") as archive:
        if kind in BATCHES:
            by_submission = archives.flat(lines) if kind is Kind.FLAT else lines
            _add(archive, "responses-by-submission.jsonl", by_submission)
            _add(archive, "responses-by-task.jsonl", _by_task(_submissions(count, kind)))
            _add(archive, "batch.json", [{**metadata, "batch_items": LAYOUT}])
        else:
            _add(archive, "responses.jsonl", lines)
            _add(archive, "collection.json", [{**metadata, "collection_items": LAYOUT}])
        for number, size in enumerate(uploads):
            info = zipfile.ZipInfo(_upload_path(number * UPLOADED, kind), PACKED_AT)
            info.file_size = info.compress_size = size
            info.CRC = _checksum_of_zeros(size)
            info.header_offset = file.tell()
            file.write(info.FileHeader())
            file.seek(size, os.SEEK_CUR)
            archive.filelist.append(info)
            archive.start_dir = file.tell()


def _add(archive: zipfile.ZipFile, name: str, lines: Iterable[Json]) -> None:
    info = zipfile.ZipInfo(name, PACKED_AT)
    info.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(info, "w", force_zip64=True) as member:
        for line in lines:
            member.write(encode(line) + b"\n")


@cache
def _checksum_of_zeros(size: int) -> int:
    return zlib.crc32(bytes(size))


def _submissions(count: int, kind: Kind) -> Iterator[Json]:
    """Yield submissions as lines; those of a batch are nested."""
    chance = random.Random(1)  # noqa: S311  # test data, not a secret
    *asked, photo = QUESTIONS
    variants = {each["id"]: [_entry(each, chance) for _ in range(VARIANTS)] for each in asked}
    every, unusual = UNUSUAL.get(kind, (1, {}))

    def answers(number: int) -> Json:
        given = {id_: chance.choice(entries) for id_, entries in variants.items()}
        if unusual and number % every == 0:
            given[asked[0]["id"]] = unusual
        if number % UPLOADED == 0:
            file = {"path": _upload_path(number, kind), "file_name": "table.png"}
            given[photo["id"]] = {"value": {**file, "content_type": "image/png"}}
        return given

    for first in range(0, count, TASKS if kind in BATCHES else 1):
        id_ = _submission_id(first, kind)
        line: Json = {"submission_id": id_, "participant_id": f"5f9d{id_[4:]}", "study_id": STUDY}
        line["submitted_at"] = f"{BEGIN + timedelta(seconds=first):%Y-%m-%dT%H:%M:%SZ}"
        if kind in BATCHES:
            numbers = range(first, min(first + TASKS, count))
            line["tasks"] = [{**_task(number), "responses": answers(number)} for number in numbers]
        else:
            line["responses"] = answers(first)
        yield line


def _submission_id(response: int, kind: Kind) -> str:
    return f"6651{response // TASKS if kind in BATCHES else response:020x}"


def _upload_path(response: int, kind: Kind) -> str:
    return f"files/{_submission_id(response, kind)}_table.png"


def _task(response: int) -> Json:
    number = response // TASKS**2 * TASKS + response % TASKS
    return {"task_id": f"task-{number}", "datapoint": {"caption": f"Breakfast {number}"}}


def _by_task(lines: Iterator[Json]) -> Iterator[Json]:
    """Yield a line for each task, with its submissions."""
    while submissions := [*islice(lines, TASKS)]:
        yield from archives.by_task(submissions)


def _entry(question: Json, chance: random.Random) -> Json:
    """Return an answer in the usual shape of its question type."""
    type_, options = question["type"], question.get("options", [])
    text = " ".join(chance.choices(TEXT.split(), k=chance.randint(4, 18)))
    number = chance.choice([chance.randint(0, 600), round(chance.uniform(0, 600), 1)])
    if type_ == "star_rating":
        return {"value": chance.randint(1, 5)}
    if type_ == "free_text":
        return {"value": number if "validation" in question else text}
    if type_ == "free_text_with_unit":
        units = question["unit_options"]
        value = number if "validation" in units[0] else f"about {number}"
        return {"value": value, "unit": chance.choice(units)["value"]}
    limit = question["answer_limit"] % (len(options) + 1)
    chosen = [option["value"] for option in chance.sample(options, chance.randint(1, limit))]
    if type_ == "multiple_choice":
        return {"value": chosen[0] if limit == 1 else chosen}
    return {"value": [{"value": value, "explanation": text[:40]} for value in chosen]}
