"""The streams' columns, and the schema of ``responses.answers`` made from instructions; pure.

`STREAMS` is the only place that describes a column: JSON Schemas and the documentation's tables
are made from it.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tap_prolific_export.rows.answers import ColumnKind, ColumnType, ScalarType, column_type_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tap_prolific_export.rows.collection import DataCollection, Instruction
    from tap_prolific_export.settings import AnswerKeys

JsonSchema = dict[str, Any]
ValueKind = Literal["text", "number", "integer", "boolean", "time", "json", "answers"]

# Goes up when records come out differently from the same archive: then they are delivered anew.
RECORD_FORMAT = 1

# Names over 63 bytes are fatal in PostgreSQL, and flattening makes longer ones of these: of a value
# with a unit `answers__<key>__value`.
MAX_KEY_BYTES = 63 - len("answers__") - len("__value")

_TYPES: dict[str, JsonSchema] = {
    "text": {"type": ["string", "null"]},
    "number": {"type": ["number", "null"]},
    "integer": {"type": ["integer", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "time": {"type": ["string", "null"], "format": "date-time"},
    # Text, not an object of unknown properties: some targets have no column for the latter.
    "json": {"type": ["string", "null"]},
    "answers": {"type": ["object", "null"], "properties": {}},
}


@dataclass(frozen=True)
class Column:
    """One column of a stream.

    Attributes:
        name: Its name; Prolific's own word where there is one.
        type: ``json`` is text that holds JSON; ``answers`` is the derived object.
        description: What it holds.
        example: A value, as a reader of the table sees it.
    """

    name: str
    type: ValueKind
    description: str
    example: str = ""


@dataclass(frozen=True)
class StreamColumns:
    """A stream's name, what a row is, its key and its columns."""

    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    def json_schema(self) -> JsonSchema:
        """Return a fresh JSON Schema. Key columns and `exported_at` are never null."""
        properties: JsonSchema = {}
        for column in self.columns:
            schema = {**_TYPES[column.type], "description": column.description}
            if column.type == "answers":
                schema["properties"] = {}
            if column.name in {*self.key, "exported_at"}:
                schema["type"] = [name for name in schema["type"] if name != "null"]
            properties[column.name] = deepcopy(schema)
        return {"type": "object", "properties": properties, "required": [*self.key, "exported_at"]}


_ID = "6650f1c2a3b4c5d6e7f80912"
_QUESTION = "4f0c9a52-93d1-4c0e-9d5e-1f6b2a7c8d90"
_SUBMISSION = "6651a0b1c2d3e4f5a6b7c8d9"
_PARTICIPANT = "5f9d2c3b4a5e6f7081920a1b"
_UPLOAD = f"files/{_SUBMISSION}_table.png"
_EXPORT = (
    Column("data_collection_id", "text", "The collection's or batch's id.", _ID),
    Column(
        "export_id",
        "text",
        "The export job that the row came with; null where the API names none.",
        "0190a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b",
    ),
    Column(
        "exported_at",
        "time",
        "When the exported data was read by Prolific; never later than the snapshot.",
        "2026-11-23T09:00:00+00:00",
    ),
)

COLLECTIONS = StreamColumns(
    "collections",
    "one collection or batch",
    ("data_collection_id",),
    (
        *_EXPORT,
        Column(
            "data_collection_method",
            "text",
            "`AI_TASK_BUILDER_COLLECTION` or `AI_TASK_BUILDER_BATCH`.",
            "AI_TASK_BUILDER_COLLECTION",
        ),
        Column("name", "text", "Its name.", "Breakfast diary"),
        Column("workspace_id", "text", "The workspace it belongs to.", _ID),
        Column("status", "text", "Its status, as Prolific words it.", "READY"),
        Column("schema_version", "text", "Version of its layout.", "3"),
        Column("created_at", "time", "When it was made.", "2026-11-01T10:00:00+00:00"),
        Column("created_by", "text", "Who made it.", _ID),
        Column("last_modified_at", "time", "When it was changed.", "2026-11-02T10:00:00+00:00"),
        Column("last_modified_by", "text", "Who changed it.", _ID),
        Column("task_details", "json", "Title, introduction and steps shown to participants."),
        Column("datasets", "json", "The datasets of a batch."),
        Column("layout", "json", "Pages and items as they came."),
        Column("instruction_count", "integer", "How many questions it has.", "8"),
        Column(
            "exported_response_count",
            "integer",
            "How many responses this run read; null if it read none of them.",
            "120",
        ),
        Column("exported_file_count", "integer", "How many uploads the archive holds.", "14"),
        Column("archive_bytes", "integer", "Size of the archive.", "5242880"),
        Column("export_filter", "json", "What narrowed the export; null: everything."),
        Column(
            "full_exported_at",
            "time",
            "When the last export of everything that was delivered whole was read: rows of "
            "`responses`, `answers`, `tasks` and `files` that are older have been withdrawn.",
            "2026-11-23T09:00:00+00:00",
        ),
        Column("additional_fields", "json", "Whatever else its metadata held."),
    ),
)

INSTRUCTIONS = StreamColumns(
    "instructions",
    "one question",
    ("data_collection_id", "instruction_id"),
    (
        *_EXPORT[:1],
        Column("instruction_id", "text", "The question's id.", _QUESTION),
        *_EXPORT[1:],
        Column("type", "text", "Its type.", "multiple_choice"),
        Column("description", "text", "What participants were asked.", "What did you have?"),
        Column("position", "integer", "Its place among all questions, from 1.", "2"),
        Column("page", "integer", "Its page, from 1.", "1"),
        Column(
            "answer_key",
            "text",
            "Its property in `responses.answers`.",
            "what_did_you_have_3f2a9c1d",
        ),
        Column("options", "json", "The choices.", '[{"label": "Tea", "value": "tea"}]'),
        Column("answer_limit", "integer", "How many may be chosen; -1: any number.", "1"),
        Column("unit_options", "json", "The units to choose from."),
        Column("default_unit", "text", "The unit chosen beforehand.", "g"),
        Column("unit_position", "text", "Where the unit stands.", "suffix"),
        Column("validation", "json", "What a text must be.", '{"type": "number", "min": 0}'),
        Column("accepted_file_types", "json", "Which files may be uploaded.", '["image/png"]'),
        Column("max_file_size_mb", "number", "Largest upload.", "25"),
        Column("min_file_count", "integer", "Fewest uploads.", "1"),
        Column("max_file_count", "integer", "Most uploads.", "10"),
        Column("max_stars", "integer", "Stars of a rating.", "5"),
        Column("helper_text", "text", "Help shown beside it."),
        Column("placeholder_text_input", "text", "Text shown in the empty field."),
        Column("created_at", "time", "When it was made.", "2026-11-01T10:00:00+00:00"),
        Column("created_by", "text", "Who made it.", _ID),
        Column("additional_fields", "json", "Whatever else it held, and what did not fit."),
    ),
)

RESPONSES = StreamColumns(
    "responses",
    "one submission, or in a batch one submission's answers to one task",
    ("data_collection_id", "response_id"),
    (
        *_EXPORT[:1],
        Column(
            "response_id",
            "text",
            "Prolific's response id, else the submission's, else `submission:task`, else `line-` "
            "and a digest of the line.",
            "6651a0b1c2d3e4f5a6b7c8d9",
        ),
        *_EXPORT[1:],
        Column("submission_id", "text", "The submission.", _SUBMISSION),
        Column("participant_id", "text", "Who answered.", _PARTICIPANT),
        Column("study_id", "text", "In which study.", _ID),
        Column("task_id", "text", "To which task of a batch.", "task-0007"),
        Column("submitted_at", "time", "When it was submitted.", "2026-11-20T08:30:00+00:00"),
        Column("answers", "answers", "One property per question, by its `answer_key`."),
        Column(
            "additional_fields",
            "json",
            "Whatever else the line held; under `answers`, by instruction id, every answer that "
            "did not fit its column, as it came.",
        ),
    ),
)

TASKS = StreamColumns(
    "tasks",
    "one annotated datapoint of a batch",
    ("data_collection_id", "task_id"),
    (
        *_EXPORT[:1],
        Column("task_id", "text", "The task.", "task-0007"),
        *_EXPORT[1:],
        Column(
            "datapoint",
            "json",
            "The fields of the dataset's row.",
            '{"caption": "A dog on a beach"}',
        ),
        Column("additional_fields", "json", "Whatever else the file by task says of it."),
    ),
)

ANSWERS = StreamColumns(
    "answers",
    "one chosen or given value: the long form of `responses.answers`",
    ("data_collection_id", "response_id", "instruction_id", "answer_index"),
    (
        *_EXPORT[:1],
        Column("response_id", "text", "The response.", _SUBMISSION),
        Column("instruction_id", "text", "The question.", _QUESTION),
        Column("answer_index", "integer", "Its place among the answer's values, from 1.", "1"),
        *_EXPORT[1:],
        Column("submission_id", "text", "The submission.", _SUBMISSION),
        Column("participant_id", "text", "Who answered.", _PARTICIPANT),
        Column("task_id", "text", "To which task of a batch.", "task-0007"),
        Column("instruction_type", "text", "The question's type.", "free_text_with_unit"),
        Column("question", "text", "What was asked.", "How much did you eat?"),
        Column("value", "text", "The value as text; null for an upload.", "40.5"),
        Column(
            "value_number",
            "number",
            "The value, where it is a number or the question asks for one.",
            "40.5",
        ),
        Column("value_boolean", "boolean", "The value, where it is true or false.", "true"),
        Column("value_label", "text", "The label of the chosen option.", "Coffee"),
        Column("unit", "text", "Its unit.", "g"),
        Column("explanation", "text", "What was written beside a choice.", "It was cold."),
        Column("file_path", "text", "The upload's `path` in `files`.", _UPLOAD),
        Column(
            "raw",
            "json",
            "The whole answer as it came, where its shape was not foreseen or it does not fit "
            "its column in `responses.answers`; only beside its first value.",
            '{"strokes": [[0, 0.5]]}',
        ),
    ),
)

FILES = StreamColumns(
    "files",
    "one uploaded file",
    ("data_collection_id", "path"),
    (
        *_EXPORT[:1],
        Column("path", "text", "Where it lies in the archive.", _UPLOAD),
        *_EXPORT[1:],
        Column("submission_id", "text", "With which submission it came.", _SUBMISSION),
        Column("participant_id", "text", "Who uploaded it.", _PARTICIPANT),
        Column(
            "instruction_id", "text", "To which question; null if no answer names it.", _QUESTION
        ),
        Column("task_id", "text", "To which task of a batch.", "task-0007"),
        Column("file_name", "text", "Its name, as the answer has it.", "table.png"),
        Column("content_type", "text", "Its type, where the answer tells.", "image/png"),
        Column("size_bytes", "integer", "Its size.", "48213"),
        Column("crc32", "text", "Its checksum, 8 hex digits.", "0a1b2c3d"),
        Column(
            "modified_at",
            "time",
            "Its date in the archive, read as UTC.",
            "2026-11-20T08:30:00+00:00",
        ),
        Column(
            "sha256",
            "text",
            "Its digest, once it is stored (see `files_uri`); null until then.",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ),
        Column(
            "uri",
            "text",
            "Where it is stored; null until then.",
            "s3://lab/uploads/6650f1c2a3b4c5d6e7f80912/6651a0b1c2d3e4f5a6b7c8d9_table.png",
        ),
    ),
)

STREAMS = (COLLECTIONS, INSTRUCTIONS, TASKS, RESPONSES, ANSWERS, FILES)


def answer_key(instruction: Instruction, keys: AnswerKeys) -> str:
    """Return the name of an instruction's property in ``responses.answers``.

    Either its id, or the question as an ASCII slug and 8 hex digits of the id's sha256: at most
    `MAX_KEY_BYTES`, lower case, and dependent on nothing but the instruction.
    """
    if keys == "instruction_id":
        return instruction.id
    digest = hashlib.sha256(instruction.id.encode()).hexdigest()[:8]
    ascii_ = unicodedata.normalize("NFKD", instruction.question or "").encode("ascii", "ignore")
    slug = re.sub(r"[^a-z0-9]+", "_", ascii_.decode().lower()).strip("_")
    slug = slug[: MAX_KEY_BYTES - len(digest) - 1].rstrip("_")
    return f"{slug or 'question'}_{digest}"


def answers_schema(collections: Iterable[DataCollection], keys: AnswerKeys) -> JsonSchema:
    """Return the properties of ``responses.answers`` for some data collections."""
    return {
        answer_key(instruction, keys): answer_schema(instruction)
        for collection in collections
        for instruction in collection.instructions
    }


def answer_schema(instruction: Instruction) -> JsonSchema:
    """Return the JSON Schema of one instruction's property; its title is the question."""
    schema = deepcopy(_shape_schema(column_type_of(instruction)))
    return schema | ({"title": instruction.question} if instruction.question else {})


def _shape_schema(column_type: ColumnType) -> JsonSchema:
    scalar = _TYPES[{ScalarType.STRING: "text"}.get(column_type.scalar, column_type.scalar.value)]
    text = _TYPES["text"]
    if column_type.kind is ColumnKind.SCALAR:
        return dict(scalar)
    if column_type.kind is ColumnKind.SCALARS:
        return {"type": ["array", "null"], "items": {"type": column_type.scalar.value}}
    if column_type.kind is ColumnKind.EXPLAINED:
        return _array({"value": scalar, "explanation": text})
    if column_type.kind is ColumnKind.WITH_UNIT:
        return {"type": ["object", "null"], "properties": {"value": dict(scalar), "unit": text}}
    if column_type.kind is ColumnKind.FILES:
        size = _TYPES["integer"]
        fields = ("path", "file_name", "content_type")
        return _array({**dict.fromkeys(fields, text), "size_bytes": size})
    return dict(_TYPES["integer" if column_type.kind is ColumnKind.RATING else "json"])


def _array(properties: JsonSchema) -> JsonSchema:
    return {"type": ["array", "null"], "items": {"type": "object", "properties": properties}}


def merged(older: Mapping[str, Any], newer: Mapping[str, Any]) -> JsonSchema:
    """Return a schema's properties grown by another's, to any depth; nothing is dropped.

    Where both have a property, the newer type is taken: the records at hand are of that type.
    """
    result = dict(older)
    for name, schema in newer.items():
        known = result.get(name, {})
        result[name] = {**known, **schema}
        if "properties" in known and "properties" in schema:
            result[name]["properties"] = merged(known["properties"], schema["properties"])
        if "items" in known and "items" in schema:
            result[name]["items"] = merged({"": known["items"]}, {"": schema["items"]})[""]
    return result
