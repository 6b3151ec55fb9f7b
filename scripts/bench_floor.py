"""The floor: the least that any tap has to do to write the records of an archive.

It inflates, decodes, wraps, encodes and writes the responses as they are. For all streams it also
makes the rows of `answers` and `tasks` that the tap makes. It imports only what it needs. Started
as `python -m scripts.bench_floor responses|all ARCHIVE`.
"""

from __future__ import annotations

import sys
import zipfile
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

CHUNK, BUFFER = 1 << 18, 1 << 16
NOW = "2026-11-23T09:00:00.000000+00:00"
decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode


def floor(streams: str, path: str) -> None:
    with zipfile.ZipFile(path) as archive, open(1, "wb", BUFFER, closefd=False) as out:
        write = out.write
        is_batch = "batch.json" in archive.namelist()
        metadata = decode(archive.read("batch.json" if is_batch else "collection.json"))
        id_ = metadata["id"]
        questions = {
            question["id"]: (
                question["type"],
                question["description"],
                {option["value"]: option["label"] for option in question.get("options", ())},
            )
            for question in metadata["instructions"]
        }
        name = "responses-by-submission.jsonl" if is_batch else "responses.jsonl"
        for line in map(decode, lines_of(archive, name)):
            for response in responses_of(line) if is_batch else (line,):
                write(message("responses", response))
                for row in answer_rows(id_, questions, response) if streams == "all" else ():
                    write(message("answers", row))
        if is_batch and streams == "all":
            for line in map(decode, lines_of(archive, "responses-by-task.jsonl")):
                write(message("tasks", task_row(id_, line)))


def lines_of(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    with archive.open(name) as member:
        rest = b""
        while chunk := member.read(CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines


def message(stream: str, record: Json) -> bytes:
    fields = {"type": "RECORD", "stream": stream, "record": record, "time_extracted": NOW}
    return encode(fields) + b"\n"


def responses_of(line: Json) -> Iterator[Json]:
    """Yield the responses of a batch's line: one for each task, without what `tasks` holds."""
    for task in line.pop("tasks", ({},)):
        response = {**line, **task}
        del response["datapoint"]
        yield response


def task_row(id_: str, line: Json) -> Json:
    return {
        "data_collection_id": id_,
        "task_id": line["task_id"],
        "export_id": None,
        "exported_at": NOW,
        "datapoint": encode(line["datapoint"]).decode(),
        "additional_fields": None,
    }


def answer_rows(
    id_: str, questions: dict[str, tuple[str, str, Json]], response: Json
) -> Iterator[Json]:
    """Yield a row for each value of each answer."""
    submission_id, participant_id = response["submission_id"], response["participant_id"]
    task_id = response.get("task_id")
    response_id = f"{submission_id}:{task_id}" if task_id else submission_id
    for instruction_id, entry in response["responses"].items():
        type_, question, labels = questions[instruction_id]
        values = entry["value"]
        for index, item in enumerate(values if type(values) is list else (values,), 1):
            value, explanation, path = item, None, None
            if type(item) is dict:
                value, explanation, path = map(item.get, ("value", "explanation", "path"))
            kind = type(value)
            yield {
                "data_collection_id": id_,
                "response_id": response_id,
                "instruction_id": instruction_id,
                "answer_index": index,
                "export_id": None,
                "exported_at": NOW,
                "submission_id": submission_id,
                "participant_id": participant_id,
                "task_id": task_id,
                "instruction_type": type_,
                "question": question,
                "value": value if kind is str or path else encode(value).decode(),
                "value_number": value if kind is int or kind is float else None,
                "value_boolean": value if kind is bool else None,
                "value_label": labels.get(value),
                "unit": entry.get("unit"),
                "explanation": explanation,
                "file_path": path,
                "raw": None,
            }


if __name__ == "__main__":
    floor(*sys.argv[1:])
