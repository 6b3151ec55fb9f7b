"""The columns of each stream, and the JSON Schema of ``responses.answers``; pure functions.

`STREAMS` is the only place that describes a column. JSON Schemas and the tables in the
documentation are generated from it.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tap_prolific_export.rows.answers import ColumnKind, ColumnType, column_type_of
from tap_prolific_export.rows.labels import plain_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tap_prolific_export.rows.collection import DataCollection, Instruction
    from tap_prolific_export.rows.labels import AnswerNames

JsonSchema = dict[str, Any]
ValueKind = Literal["text", "number", "integer", "boolean", "time", "json", "answers"]

# Increase when the same archive gives different records: everything is then delivered again.
RECORD_FORMAT = 2

# What JSON Schema says about a type; all else only describes it.
_STRUCTURE = frozenset({"type", "properties", "items", "format"})
TYPES: dict[str, JsonSchema] = {
    "text": {"type": ["string", "null"]},
    "number": {"type": ["number", "null"]},
    "integer": {"type": ["integer", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "time": {"type": ["string", "null"], "format": "date-time"},
    # Text, because some targets cannot store an object whose properties are unknown.
    "json": {"type": ["string", "null"]},
    "answers": {"type": ["object", "null"], "properties": {}},
}


@dataclass(frozen=True)
class Column:
    """One column of a stream.

    Attributes:
        name: Column name: Prolific's own field name where there is one.
        type: ``json`` is text that holds JSON; ``answers`` is an object, one property per question.
        description: What the column holds.
        example: A typical value, shown in the documentation.
    """

    name: str
    type: ValueKind
    description: str
    example: str = ""


@dataclass(frozen=True)
class StreamColumns:
    """A stream: its name, what one row stands for, its key and its columns."""

    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    def json_schema(self) -> JsonSchema:
        """Return a new JSON Schema. Key columns and `exported_at` are never null."""
        required = [*self.key, "exported_at"]
        properties: JsonSchema = {}
        for column in self.columns:
            schema = deepcopy(TYPES[column.type])
            if column.name in required:
                schema["type"].remove("null")
            properties[column.name] = schema | {"description": column.description}
        return {"type": "object", "properties": properties, "required": required}


_ID = "6650f1c2a3b4c5d6e7f80912"
_QUESTION = "4f0c9a52-93d1-4c0e-9d5e-1f6b2a7c8d90"
_SUBMISSION = "6651a0b1c2d3e4f5a6b7c8d9"
_PARTICIPANT = "5f9d2c3b4a5e6f7081920a1b"
_UPLOAD = f"files/{_SUBMISSION}_table.png"
_EXPORT = (
    Column("data_collection_id", "text", "Id of the collection or batch.", _ID),
    Column(
        "export_id",
        "text",
        "Id of the export job that the row comes from; null if the API gives none.",
        "0190a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b",
    ),
    Column(
        "exported_at",
        "time",
        "Time of the exported snapshot; the data may be slightly newer.",
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
        Column("name", "text", "Name of the collection or batch.", "Breakfast diary"),
        Column("workspace_id", "text", "The workspace it belongs to.", _ID),
        Column("status", "text", "Status, as Prolific reports it.", "READY"),
        Column("schema_version", "text", "Version of the layout's format.", "3"),
        Column("created_at", "time", "When it was created.", "2026-11-01T10:00:00+00:00"),
        Column("created_by", "text", "Id of the user who created it.", _ID),
        Column("last_modified_at", "time", "When it last changed.", "2026-11-02T10:00:00+00:00"),
        Column("last_modified_by", "text", "Id of the user who last changed it.", _ID),
        Column("task_details", "json", "Title, introduction and steps shown to participants."),
        Column("datasets", "json", "The datasets of a batch."),
        Column("layout", "json", "Pages and their items, unchanged."),
        Column("instruction_count", "integer", "Number of questions.", "8"),
        Column(
            "exported_response_count",
            "integer",
            "Number of responses that this run read; null if it did not read responses.",
            "120",
        ),
        Column("exported_file_count", "integer", "Number of uploaded files in the archive.", "14"),
        Column("archive_bytes", "integer", "Size of the archive in bytes.", "5242880"),
        Column("export_filter", "json", "Filter of the export; null if it has none."),
        Column(
            "full_exported_at",
            "time",
            "`exported_at` of the last unfiltered export that was delivered completely. Rows of "
            "`responses`, `answers`, `tasks` and `files` with an older one have been withdrawn.",
            "2026-11-23T09:00:00+00:00",
        ),
        Column("additional_fields", "json", "All other fields of its metadata."),
    ),
)

INSTRUCTIONS = StreamColumns(
    "instructions",
    "one question",
    ("data_collection_id", "instruction_id"),
    (
        *_EXPORT[:1],
        Column("instruction_id", "text", "Id of the question.", _QUESTION),
        *_EXPORT[1:],
        Column("type", "text", "Type of the question.", "multiple_choice"),
        Column("description", "text", "Text of the question.", "What did you have?"),
        Column("position", "integer", "Position among all questions, from 1.", "2"),
        Column("page", "integer", "Number of its page, from 1.", "1"),
        Column(
            "answer_key",
            "text",
            "Name of its property in `responses.answers`.",
            "what_did_you_have_3f2a9c1d",
        ),
        Column("options", "json", "The choices.", '[{"label": "Tea", "value": "tea"}]'),
        Column("answer_limit", "integer", "How many options may be chosen; -1: any number.", "1"),
        Column("unit_options", "json", "The units to choose from."),
        Column("default_unit", "text", "The unit that is selected by default.", "g"),
        Column("unit_position", "text", "Where the unit is shown.", "suffix"),
        Column("validation", "json", "Rules for a text.", '{"type": "number", "min": 0}'),
        Column("accepted_file_types", "json", "Allowed file types.", '["image/png"]'),
        Column("max_file_size_mb", "number", "Maximum size of an uploaded file, in MB.", "25"),
        Column("min_file_count", "integer", "Minimum number of uploaded files.", "1"),
        Column("max_file_count", "integer", "Maximum number of uploaded files.", "10"),
        Column("max_stars", "integer", "Number of stars in a rating.", "5"),
        Column("helper_text", "text", "Help text shown with the question."),
        Column("placeholder_text_input", "text", "Text shown in the empty field."),
        Column("created_at", "time", "When it was created.", "2026-11-01T10:00:00+00:00"),
        Column("created_by", "text", "Id of the user who created it.", _ID),
        Column("additional_fields", "json", "All other fields; values that do not fit a column."),
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
            "Prolific's id of the response; without one, the submission's id (in a batch "
            "`submission:task`); without that, `line-` and a hash of the line.",
            "6651a0b1c2d3e4f5a6b7c8d9",
        ),
        *_EXPORT[1:],
        Column("submission_id", "text", "Id of the submission.", _SUBMISSION),
        Column("participant_id", "text", "Id of the participant who answered.", _PARTICIPANT),
        Column("study_id", "text", "Id of the study.", _ID),
        Column("task_id", "text", "Id of the task; null outside of batches.", "task-0007"),
        Column("submitted_at", "time", "When it was submitted.", "2026-11-20T08:30:00+00:00"),
        Column("answers", "answers", "One property per question, named by its `answer_key`."),
        Column(
            "additional_fields",
            "json",
            "All other fields of the response. Its `answers` holds, by instruction id and "
            "unchanged, every answer that `responses.answers` cannot hold completely.",
        ),
    ),
)

TASKS = StreamColumns(
    "tasks",
    "one annotated datapoint of a batch",
    ("data_collection_id", "task_id"),
    (
        *_EXPORT[:1],
        Column("task_id", "text", "Id of the task.", "task-0007"),
        *_EXPORT[1:],
        Column(
            "datapoint",
            "json",
            "The dataset row that the task is about.",
            '{"caption": "A dog on a beach"}',
        ),
        Column("additional_fields", "json", "All other fields of the task in the export."),
    ),
)

ANSWERS = StreamColumns(
    "answers",
    "one chosen or given value: the long form of `responses.answers`",
    ("data_collection_id", "response_id", "instruction_id", "answer_index"),
    (
        *_EXPORT[:1],
        Column("response_id", "text", "Id of the response.", _SUBMISSION),
        Column("instruction_id", "text", "Id of the question.", _QUESTION),
        Column("answer_index", "integer", "Position among the values of the answer, from 1.", "1"),
        *_EXPORT[1:],
        Column("submission_id", "text", "Id of the submission.", _SUBMISSION),
        Column("participant_id", "text", "Id of the participant who answered.", _PARTICIPANT),
        Column("task_id", "text", "Id of the task; null outside of batches.", "task-0007"),
        Column("instruction_type", "text", "Type of the question.", "free_text_with_unit"),
        Column("question", "text", "Text of the question.", "How much did you eat?"),
        Column("value", "text", "The value as text; null for an upload.", "40.5"),
        Column(
            "value_number",
            "number",
            "The value as a number, if it is one or the question asks for one.",
            "40.5",
        ),
        Column("value_boolean", "boolean", "The value, if it is true or false.", "true"),
        Column("value_label", "text", "The label of the chosen option.", "Coffee"),
        Column("unit", "text", "Unit of the value.", "g"),
        Column("explanation", "text", "Text that explains the choice.", "It was cold."),
        Column("file_path", "text", "For an upload: its `path` in the table `files`.", _UPLOAD),
        Column(
            "raw",
            "json",
            "The whole answer, unchanged, if the other columns or `responses.answers` cannot hold "
            "all of it. Set only in the row of its first value.",
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
        Column("path", "text", "Path of the file in the archive.", _UPLOAD),
        *_EXPORT[1:],
        Column("submission_id", "text", "Id of the submission that it belongs to.", _SUBMISSION),
        Column("participant_id", "text", "Id of the participant who uploaded it.", _PARTICIPANT),
        Column("instruction_id", "text", "Its question; null if no answer names it.", _QUESTION),
        Column("task_id", "text", "Its task in a batch; null if no answer names it.", "task-0007"),
        Column("file_name", "text", "Name of the file, as given in the answer.", "table.png"),
        Column("content_type", "text", "Content type, if the answer gives one.", "image/png"),
        Column("size_bytes", "integer", "Size of the file in bytes.", "48213"),
        Column("crc32", "text", "CRC-32 checksum: 8 hexadecimal digits.", "0a1b2c3d"),
        Column(
            "modified_at",
            "time",
            "Modification time in the archive, read as UTC.",
            "2026-11-20T08:30:00+00:00",
        ),
        Column(
            "sha256",
            "text",
            "SHA-256 of the file once it is stored (see `files_uri`); null until then.",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ),
        Column(
            "uri",
            "text",
            "Where the file is stored; null until then.",
            "s3://lab/uploads/6650f1c2a3b4c5d6e7f80912/6651a0b1c2d3e4f5a6b7c8d9_table.png",
        ),
    ),
)

STREAMS = (COLLECTIONS, INSTRUCTIONS, TASKS, RESPONSES, ANSWERS, FILES)


def answers_schema(collections: Iterable[DataCollection], names: AnswerNames) -> JsonSchema:
    """Return the properties of ``responses.answers`` for these data collections."""
    found: JsonSchema = {}
    for collection in collections:
        keys = names.of(collection.instructions)
        new = {keys[each.id]: answer_schema(each) for each in collection.instructions}
        found = widened(found, new)
    return found


def answer_schema(instruction: Instruction) -> JsonSchema:
    """Return the JSON Schema of an instruction's property, whose title is the plain question."""
    schema = deepcopy(column_schema(column_type_of(instruction)))
    title = plain_text(instruction.question or "")
    return schema | ({"title": title} if title else {})


def column_schema(column_type: ColumnType) -> JsonSchema:
    """Return the JSON Schema of a column of answers, without the question as its title."""
    kind, text = column_type.kind, TYPES["text"]
    scalar = {"type": [column_type.scalar.value, "null"]}
    if kind is ColumnKind.SCALAR:
        return scalar
    if kind is ColumnKind.SCALARS:
        return {"type": ["array", "null"], "items": {"type": column_type.scalar.value}}
    if kind is ColumnKind.EXPLAINED:
        return _array({"value": scalar, "explanation": text})
    if kind is ColumnKind.WITH_UNIT:
        return {"type": ["object", "null"], "properties": {"value": scalar, "unit": text}}
    if kind is ColumnKind.FILES:
        texts = dict.fromkeys(("path", "file_name", "content_type"), text)
        return _array({**texts, "size_bytes": TYPES["integer"]})
    return TYPES["integer" if kind is ColumnKind.RATING else "json"]


def _array(properties: JsonSchema) -> JsonSchema:
    return {"type": ["array", "null"], "items": {"type": "object", "properties": properties}}


def widened(known: Mapping[str, JsonSchema], new: Mapping[str, JsonSchema]) -> JsonSchema:
    """Return the union of two sets of properties of ``answers``; both may be of one question.

    A property has one type for all records. If neither of two types covers the other, it is text:
    targets break on unions of types.
    """
    return {**known, **{n: _wider(known[n], s) if n in known else s for n, s in new.items()}}


def covers(known: JsonSchema, new: JsonSchema) -> bool:
    """Whether every value that has the one type has the other, known type, too."""
    if "type" not in known or "type" not in new:
        return True
    types = {*_type_names(known), *(["integer"] if "number" in _type_names(known) else [])}
    inner, wanted = known.get("properties", {}), new.get("properties", {})
    return (
        types.issuperset(_type_names(new))
        and all(name in inner and covers(inner[name], each) for name, each in wanted.items())
        and covers(known.get("items", {}), new.get("items", {}))
    )


def holds(known: JsonSchema, new: JsonSchema) -> bool:
    """Whether a known property holds answers of a type: as they are, or as texts."""
    return covers(known, new) or covers(known, TYPES["text"])


def _type_names(schema: JsonSchema) -> list[str]:
    types = schema["type"]
    return [types] if isinstance(types, str) else types


def _wider(known: JsonSchema, new: JsonSchema) -> JsonSchema:
    if covers(new, known):
        return _merged(known, new)
    titles = {name: each for name, each in (known | new).items() if name not in _STRUCTURE}
    return (_merged(new, known) if covers(known, new) else TYPES["text"]) | titles


def merged(older: Mapping[str, Any], newer: Mapping[str, Any]) -> JsonSchema:
    """Return the union of two schemas' properties, merged at every level.

    If both have a property, the newer type wins, because the current records have that type.
    """
    return {**older, **{name: _merged(older.get(name, {}), new) for name, new in newer.items()}}


def _merged(older: JsonSchema, newer: JsonSchema) -> JsonSchema:
    result = {**older, **newer}
    for name, merge in (("properties", merged), ("items", _merged)):
        if name in older and name in newer:
            result[name] = merge(older[name], newer[name])
    return result
