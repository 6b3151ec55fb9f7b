"""Build the rows of each stream from parsed objects; pure functions.

A row has exactly the columns in `schema`; all other fields go to ``additional_fields``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tap_prolific_export.archive.safe_json import INT64, cleaned_names, cleaned_text, json_text
from tap_prolific_export.rows.answers import (
    ColumnKind,
    ColumnType,
    Value,
    column_type_of,
    fit,
    is_elsewhere,
    number_of,
    read,
    text_of,
    upload_path,
)
from tap_prolific_export.rows.responses import NESTS, add_renamed
from tap_prolific_export.rows.schema import COLLECTIONS, INSTRUCTIONS, StreamColumns, answer_key
from tap_prolific_export.times import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    from tap_prolific_export.archive.export_archive import Upload
    from tap_prolific_export.model import ExportFilter
    from tap_prolific_export.rows.collection import DataCollection, Instruction
    from tap_prolific_export.rows.responses import Response, Task
    from tap_prolific_export.settings import AnswerKeys

Row = dict[str, Any]

# The columns of `answers` that describe one value.
VALUE_COLUMNS = (
    *("value", "value_number", "value_boolean", "value_label"),
    *("unit", "explanation", "file_path", "raw"),
)
_NOT_REPLACED = object()


@dataclass(frozen=True)
class ExportFacts:
    """The export that a row comes from."""

    data_collection_id: str
    export_id: str | None
    exported_at: datetime

    def as_row(self) -> Row:
        """Return the columns that all streams share."""
        return {
            "data_collection_id": self.data_collection_id,
            "export_id": self.export_id,
            "exported_at": self.exported_at.isoformat(),
        }


@dataclass(frozen=True)
class AnswerColumn:
    """One property of ``responses.answers``.

    Attributes:
        key: Name of the property.
        column_type: Type of the property.
        instruction: The question.
        repeated: Fields of an entry that only repeat the question, with their values.
        labels: The options' labels, by the JSON text of their values.
    """

    key: str
    column_type: ColumnType
    instruction: Instruction
    repeated: Mapping[str, Any]
    labels: Mapping[str, str]


def answer_columns(collection: DataCollection, keys: AnswerKeys) -> dict[str, AnswerColumn]:
    """Return the properties of a data collection's answers, by instruction id."""
    return {
        instruction.id: AnswerColumn(
            answer_key(instruction, keys),
            column_type_of(instruction),
            instruction,
            {"type": instruction.type, "instruction_id": instruction.id},
            {
                json_text(option.get("value")): option["label"]
                for option in instruction.list_of("options")
                if isinstance(option.get("label"), str)
            },
        )
        for instruction in collection.instructions
    }


def collection_row(
    facts: ExportFacts,
    collection: DataCollection,
    *,
    file_count: int | None,
    archive_bytes: int | None,
    export_filter: ExportFilter | None,
) -> Row:
    """Return the row of a collection or batch.

    ``exported_response_count`` and ``full_exported_at`` are None, because the responses have not
    been read yet.
    """
    fields = dict(collection.metadata)
    query = export_filter.as_query() if export_filter else {}
    own = {
        **facts.as_row(),
        "data_collection_method": collection.ref.kind.method,
        "layout": _json(collection.layout),
        "instruction_count": len(collection.instructions),
        "exported_response_count": None,
        "exported_file_count": file_count,
        "archive_bytes": archive_bytes,
        "export_filter": _json(query or None),
        "full_exported_at": None,
    }
    if fields.get("data_collection_method") == own["data_collection_method"]:
        del fields["data_collection_method"]
    if fields.get("id") == facts.data_collection_id:
        del fields["id"]
    return _with_columns(COLLECTIONS, own, fields)


def instruction_rows(facts: ExportFacts, collection: DataCollection, keys: AnswerKeys) -> list[Row]:
    """Return the rows of a data collection's questions."""
    rows = []
    for instruction in collection.instructions:
        fields = {**instruction.rest, **instruction.fields}
        del fields["id"]
        own = {
            **facts.as_row(),
            "instruction_id": instruction.id,
            "position": instruction.position,
            "page": instruction.page,
            "answer_key": answer_key(instruction, keys),
        }
        rows.append(_with_columns(INSTRUCTIONS, own, fields))
    return rows


def response_row(
    facts: ExportFacts,
    response: Response,
    columns: Mapping[str, AnswerColumn],
    uploads: Mapping[str, Upload],
    *,
    hidden: Collection[str] = (),
    hide_unknown: bool = False,
) -> tuple[Row, int]:
    """Return the row of a response, and how many of its answers did not fit their columns.

    Args:
        facts: The export that the row comes from.
        response: The response, as read from its line.
        columns: The properties of ``answers``, by instruction id.
        uploads: The uploaded files in the archive, by path.
        hidden: Instructions whose answers must not appear in any column. If there are any, fields
            with answers to unknown instructions are removed, too.
        hide_unknown: Whether to hide the answers to instructions without a column, too.
    """
    answers: Row = {}
    unfitted: Row = {}
    for instruction_id, entry in response.answers.items():
        column = columns.get(instruction_id)
        if instruction_id in hidden or (column is None and hide_unknown):
            continue
        if column is None:
            unfitted[instruction_id] = entry
            continue
        fitted = fit(entry, column.column_type, uploads, column.repeated)
        answers[column.key] = fitted.value
        if not fitted.lossless:
            unfitted[instruction_id] = entry
    for id_, original, entry in _replaced(response):
        if id_ not in hidden and not (hide_unknown and id_ not in columns):
            unfitted.pop(id_, None)
            unfitted[original] = entry
    extra = _additional_fields(response)
    if hidden or hide_unknown:
        extra = _without_answers(extra)
    if unfitted:
        own = extra.pop("answers", None)
        extra["answers"] = unfitted
        if own is not None:  # the line has a field of that name: keep both
            add_renamed(extra, "answers", own)
    row = {
        **facts.as_row(),
        "response_id": response.id,
        **_person_columns(response),
        "study_id": response.study_id,
        "task_id": response.task_id,
        "submitted_at": response.submitted_at and response.submitted_at.isoformat(),
        "answers": answers,
        "additional_fields": _json(extra or None),
    }
    return row, len(unfitted)


def _replaced(response: Response) -> Iterator[tuple[str, str, Any]]:
    """Yield each answer with replaced characters: its id, its original id and original entry."""
    originals = response.as_it_came.answers if response.as_it_came else {}
    ids = cleaned_names(originals)
    for original, entry in originals.items():
        id_ = ids[original]
        if id_ != original or response.answers.get(id_) != entry:
            yield id_, original, entry


def _without_answers(fields: Row) -> Row:
    """Return the fields without those that may hold answers to unknown instructions.

    Hidden answers may be among them, so it is safer to remove too much than too little.
    """
    return {
        name: _without_answers(value) if isinstance(value, dict) else value
        for name, value in fields.items()
        if name not in {*NESTS, "answers"}
    }


def _additional_fields(response: Response) -> Row:
    """Return the fields without a column, and the originals of ids with replaced characters."""
    original = response.as_it_came or response
    extra = dict(original.rest)
    for name in ("submission_id", "participant_id", "study_id", "task_id"):
        value = getattr(original, name)
        if value != getattr(response, name):
            add_renamed(extra, name, value)
    if cleaned_text(original.id) != original.id != original.submission_id:
        add_renamed(extra, "response_id", original.id)
    return extra


def answer_rows(
    facts: ExportFacts,
    response: Response,
    columns: Mapping[str, AnswerColumn],
    uploads: Mapping[str, Upload],
) -> Iterator[Row]:
    """Yield the rows of a response's answers: one for each chosen or given value.

    An answer of unknown shape gives one row, with the whole answer in ``raw``.
    """
    replaced = {id_: entry for id_, _, entry in _replaced(response)}
    for instruction_id, entry in response.answers.items():
        column = columns.get(instruction_id)
        rows = value_rows(entry, column, uploads, replaced.get(instruction_id, _NOT_REPLACED))
        for index, values in enumerate(rows, 1):
            yield {
                **facts.as_row(),
                "response_id": response.id,
                "instruction_id": instruction_id,
                "answer_index": index,
                **_person_columns(response),
                "task_id": response.task_id,
                "instruction_type": column.instruction.type if column else None,
                "question": column.instruction.question if column else None,
                **values,
            }


def value_rows(
    entry: Any,
    column: AnswerColumn | None,
    uploads: Mapping[str, Upload],
    as_it_came: Any = _NOT_REPLACED,
) -> Iterator[Row]:
    """Yield `VALUE_COLUMNS` for each value of an answer.

    Args:
        entry: The answer.
        column: The question's column; None for an unknown question.
        uploads: The uploaded files in the archive, by path.
        as_it_came: The original answer, if characters in it were replaced.
    """
    values = read(entry, column.repeated if column else {})
    lossless = values is not None and not any(
        value.has_extra or (value.file and is_elsewhere(value, uploads)) for value in values
    )
    if column and not fit(entry, column.column_type, uploads, column.repeated).lossless:
        lossless = False
    raw = None
    if not lossless or as_it_came is not _NOT_REPLACED:
        raw = json_text(entry if as_it_came is _NOT_REPLACED else as_it_came)
    for value in values or ([] if lossless else [Value()]):
        yield {**_value_columns(value, column, uploads), "raw": raw}
        raw = None


def _value_columns(value: Value, column: AnswerColumn | None, uploads: Mapping[str, Upload]) -> Row:
    column_type = column.column_type if column else ColumnType(ColumnKind.JSON)
    labels = column.labels if column else {}
    number = number_of(value, column_type)
    is_file = value.file or column_type.kind is ColumnKind.FILES
    path = upload_path(value, uploads) if is_file else None
    label = labels.get(json_text(value.value))
    if label is None and number is not None:
        label = labels.get(json_text(number))
    return {
        "value": None if path is not None else text_of(value),
        "value_number": number,
        "value_boolean": value.value if isinstance(value.value, bool) else None,
        "value_label": label,
        "unit": value.unit,
        "explanation": value.explanation,
        "file_path": path,
    }


def task_row(facts: ExportFacts, task: Task) -> Row:
    """Return the row of a task."""
    return {
        **facts.as_row(),
        "task_id": task.id,
        "datapoint": _json(task.datapoint),
        "additional_fields": _json(dict(task.rest) or None),
    }


def _person_columns(response: Response) -> Row:
    return {
        "submission_id": response.submission_id,
        "participant_id": response.participant_id,
    }


def _with_columns(stream: StreamColumns, own: Row, fields: Row) -> Row:
    """Return a complete row: `own`, the fields that fit a column, and the others as JSON text."""
    row = dict(own)
    for column in stream.columns:
        if column.name in row or column.name == "additional_fields":
            continue
        value = _FITTERS[column.type](fields.get(column.name))
        row[column.name] = value
        if value is not None:
            del fields[column.name]
    extra = {name: value for name, value in fields.items() if value is not None}
    row["additional_fields"] = _json(extra or None)
    return row


def _json(value: Any) -> str | None:
    return None if value is None else json_text(value)


def _time(value: Any) -> str | None:
    moment = parse_timestamp(value)
    return moment.isoformat() if moment else None


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return json_text(value) if isinstance(value, (bool, int, float)) else None


def _integer(value: Any) -> int | None:
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return value if is_integer and value in INT64 else None


def _number(value: Any) -> float | int | None:
    return value if isinstance(value, float) else _integer(value)


_FITTERS = {"text": _text, "number": _number, "integer": _integer, "time": _time, "json": _json}
