"""Build the rows of each stream from parsed objects; pure functions.

A row has exactly the columns in `schema`; all other fields go to ``additional_fields``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from tap_prolific_export.archive.safe_json import cleaned_names, cleaned_text, json_text
from tap_prolific_export.rows.answer_values import NOT_REPLACED, VALUE_COLUMNS, teller, value_rows
from tap_prolific_export.rows.answers import AnswerColumn, column_type_of, fit
from tap_prolific_export.rows.catalog_answers import CatalogAnswers
from tap_prolific_export.rows.line_decoder import can_be_typed
from tap_prolific_export.rows.metadata_fields import json_or_none, with_columns
from tap_prolific_export.rows.responses import ANSWER_FIELDS, NESTS, add_renamed
from tap_prolific_export.rows.schema import COLLECTIONS, INSTRUCTIONS
from tap_prolific_export.rows.structs import row_type, typed_answers
from tap_prolific_export.times import utc_isoformat

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from tap_prolific_export.archive.export_archive import Upload
    from tap_prolific_export.model import ExportFilter
    from tap_prolific_export.rows.collection import DataCollection, Instruction
    from tap_prolific_export.rows.labels import AnswerNames
    from tap_prolific_export.rows.responses import Response, Task

Row = dict[str, Any]


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


def answer_columns(collection: DataCollection, names: AnswerNames) -> dict[str, AnswerColumn]:
    """Return the properties of a data collection's answers, by instruction id."""
    keys = names.of(collection.instructions)
    return {
        instruction.id: AnswerColumn(
            keys[instruction.id],
            column_type_of(instruction),
            instruction,
            {"instruction_id": instruction.id, **_said_by(instruction)},
            {
                json_text(option.get("value")): option["label"]
                for option in instruction.list_of("options")
                if isinstance(option.get("label"), str)
            },
        )
        for instruction in collection.instructions
    }


def _said_by(instruction: Instruction) -> Row:
    """Return the fields of a question that an answer may repeat."""
    names = ("description", "order", "created_at", "created_by")
    fields = {name: instruction.fields.get(name) for name in names}
    return {"type": instruction.type} | {n: value for n, value in fields.items() if value}


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
        "layout": json_or_none(collection.layout),
        "instruction_count": len(collection.instructions),
        "exported_response_count": None,
        "exported_file_count": file_count,
        "archive_bytes": archive_bytes,
        "export_filter": json_or_none(query or None),
        "full_exported_at": None,
    }
    if fields.get("data_collection_method") == own["data_collection_method"]:
        del fields["data_collection_method"]
    if fields.get("id") == facts.data_collection_id:
        del fields["id"]
    return with_columns(COLLECTIONS, own, fields)


def instruction_rows(
    facts: ExportFacts, collection: DataCollection, names: AnswerNames
) -> list[Row]:
    """Return the rows of a data collection's questions."""
    rows = []
    keys = names.of(collection.instructions)
    for instruction in collection.instructions:
        fields = {**instruction.rest, **instruction.fields}
        del fields["id"]
        own = {
            **facts.as_row(),
            "instruction_id": instruction.id,
            "position": instruction.position,
            "page": instruction.page,
            "answer_key": keys[instruction.id],
        }
        rows.append(with_columns(INSTRUCTIONS, own, fields))
    return rows


class ResponseTable:
    """Makes the rows of ``responses``.

    Args:
        facts: The export that the rows come from.
        columns: The properties of ``answers``, by instruction id.
        uploads: The uploaded files in the archive, by path.
        catalog: The properties of ``answers`` that the catalog has. An answer to a question that
            is gone goes into its property, if it has one.
        hidden: Instructions whose answers must not appear in any column, besides those that the
            catalog deselects. If there are any of both, fields with answers to unknown
            instructions are removed, too.
        hide_unknown: Whether to hide the answers to instructions without a property, too.
        has_answers: Whether there is a column ``answers`` at all.

    Attributes:
        misfits: How many answers did not fit their columns so far.
    """

    def __init__(
        self,
        facts: ExportFacts,
        columns: Mapping[str, AnswerColumn],
        uploads: Mapping[str, Upload],
        *,
        catalog: CatalogAnswers | None = None,
        hidden: Collection[str] = (),
        hide_unknown: bool = False,
        has_answers: bool = True,
    ) -> None:
        self.misfits = 0
        self._has_answers = has_answers
        self._columns = columns
        self._catalog = catalog or CatalogAnswers()
        self._hidden = {*hidden, *filter(self._catalog.deselects, columns)}
        self._hide_unknown = hide_unknown
        self._hides_any = bool(self._hidden) or self._catalog.deselects_any or hide_unknown
        self._uploads = uploads
        ids = ("response_id", "submission_id", "participant_id", "study_id", "task_id")
        names = (*ids, "submitted_at", "answers", "additional_fields")
        self._row = row_type(names, facts.as_row())
        self._typed_answers: Any = typed_answers(columns) if can_be_typed(columns) else None
        # Names of its fields.
        self._names = {column.key: f"a{n}" for n, column in enumerate(columns.values())}
        self._hidden_names = [
            self._names[columns[id_].key] for id_ in self._hidden if id_ in columns
        ]

    def rows(self, responses: Iterable[Response]) -> list[Any]:
        """Return the row of each response."""
        return [*map(self._row_of, responses)]

    def _row_of(self, response: Response) -> Any:
        answers: Any = {}
        unfitted: Row = {}
        if response.answers:
            answers, unfitted = self._answers(response.answers)
        if response.typed:
            answers = self._with_typed(response.typed, answers)
        if unfitted or response.rest or response.as_it_came:
            extra = self._extra(response, unfitted)
        else:
            extra = None
        submitted_at = response.submitted_at
        return self._row(
            response.id,
            response.submission_id,
            response.participant_id,
            response.study_id,
            response.task_id,
            submitted_at and utc_isoformat(submitted_at),
            answers if self._has_answers else UNSET,
            extra,
        )

    def _answers(self, entries: Mapping[str, Any]) -> tuple[Row, Row]:
        """Return ``answers``, and the entries that it does not hold completely."""
        answers: Row = {}
        unfitted: Row = {}
        for id_, entry in entries.items():
            if self._hides_any and self._is_hidden(id_):
                continue
            column = self._columns.get(id_) or self._catalog.column(id_)
            if column is None:
                unfitted[id_] = entry
                self.misfits += 1
                continue
            fitted = fit(entry, column.column_type, self._uploads, column.repeated)
            answers[column.key] = fitted.value
            if not fitted.lossless:
                unfitted[id_] = entry
                self.misfits += fitted.is_misfit
        if len(answers) == 1:
            return answers, unfitted
        # In one order, however the answers came.
        ordered = {key: answers[key] for key in self._names if key in answers}
        return ordered | answers, unfitted

    def _is_hidden(self, id_: str) -> bool:
        if id_ in self._columns:
            return id_ in self._hidden
        is_unknown = self._hide_unknown and self._catalog.column(id_) is None
        return is_unknown or self._catalog.deselects(id_)

    def _with_typed(self, typed: tuple[Any, ...], others: Row) -> Any:
        """Return ``answers`` of those that came typed and of the others."""
        answers = self._typed_answers(*typed)
        for name in self._hidden_names:
            setattr(answers, name, UNSET)
        for key, value in others.items():
            if key not in self._names:  # to a question that is gone
                return msgspec.to_builtins(answers) | others
            setattr(answers, self._names[key], value)
        return answers

    def _extra(self, response: Response, unfitted: Row) -> str | None:
        """Return ``additional_fields``: all that the columns do not hold."""
        for id_, original, entry in _replaced(response):
            if not self._is_hidden(id_):
                self.misfits += id_ not in unfitted
                unfitted.pop(id_, None)
                unfitted[original] = entry
        extra = _additional_fields(response)
        if self._hides_any:
            extra = _without_answers(extra)
        if unfitted:
            own = extra.pop("answers", None)
            extra["answers"] = dict(sorted(unfitted.items()))
            if own is not None:  # the line has a field of that name: keep both
                add_renamed(extra, "answers", own)
        return json_or_none(dict(sorted(extra.items())) or None)


def _replaced(response: Response) -> Iterator[tuple[str, str, Any]]:
    """Yield each answer with replaced characters: its id, its original id and original entry."""
    if response.as_it_came is None:
        return
    originals = response.as_it_came.answers
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
        if name not in {*NESTS, *ANSWER_FIELDS, "answers"}
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


class AnswerTable:
    """Makes the rows of ``answers``: one for each chosen or given value.

    An answer of unknown shape gives one row, with the whole answer in ``raw``.

    Args:
        facts: The export that the rows come from.
        columns: The properties of ``responses.answers``, by instruction id.
        uploads: The uploaded files in the archive, by path.
    """

    def __init__(
        self,
        facts: ExportFacts,
        columns: Mapping[str, AnswerColumn],
        uploads: Mapping[str, Upload],
    ) -> None:
        self._columns = columns
        self._uploads = uploads
        ids = ("response_id", "submission_id", "participant_id", "task_id")
        about = ("instruction_id", "instruction_type", "question")
        self._row = row_type((*ids, *about, "answer_index"), facts.as_row(), VALUE_COLUMNS)
        # For each question a class of rows, which has what is the same in all of them.
        self._typed = [
            (
                row_type(
                    (*ids, "answer_index"),
                    {**facts.as_row(), **dict(zip(about, self._about(id_), strict=True))},
                    VALUE_COLUMNS,
                ),
                *teller(column, uploads),
            )
            for id_, column in columns.items()
        ]

    def _about(self, instruction_id: str) -> tuple[str, str | None, str | None]:
        column = self._columns.get(instruction_id)
        if column is None:
            return instruction_id, None, None
        return instruction_id, column.instruction.type, column.instruction.question

    def rows(self, responses: Iterable[Response]) -> list[Any]:
        """Return the rows of the answers of responses."""
        rows: list[Any] = []
        add = rows.append
        for response in responses:
            id_, submission_id = response.id, response.submission_id
            person, task_id = response.participant_id, response.task_id
            for (row, tell, values_of), value in zip(
                self._typed, response.typed or (), strict=False
            ):
                if value is UNSET or value is None:
                    continue
                if tell is None:
                    add(row(id_, submission_id, person, task_id, 1, value))
                    continue
                if values_of is None:
                    add(row(id_, submission_id, person, task_id, 1, *tell(value)))
                    continue
                for index, each in enumerate(values_of(value), 1):
                    add(row(id_, submission_id, person, task_id, index, *tell(each)))
            if response.answers:
                rows += self._untyped(response)
        return rows

    def _untyped(self, response: Response) -> Iterator[Any]:
        """Yield the rows of answers that did not come typed."""
        replaced = {i: entry for i, _, entry in _replaced(response)}
        ids = response.id, response.submission_id, response.participant_id, response.task_id
        for instruction_id, entry in response.answers.items():
            about = self._about(instruction_id)
            column = self._columns.get(instruction_id)
            as_it_came = replaced.get(instruction_id, NOT_REPLACED)
            values = value_rows(entry, column, self._uploads, as_it_came)
            for index, told in enumerate(values, 1):
                yield self._row(*ids, *about, index, *told)


def task_row(facts: ExportFacts, task: Task) -> Row:
    """Return the row of a task."""
    return {
        **facts.as_row(),
        "task_id": task.id,
        "datapoint": json_or_none(task.datapoint),
        "additional_fields": json_or_none(dict(task.rest) or None),
    }
