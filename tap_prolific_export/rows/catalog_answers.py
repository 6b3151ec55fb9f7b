"""The properties of ``responses.answers`` in a catalog, by the ids of their questions; pure.

A catalog outlives its questions: a collection that is edited has others, but answers to the old
ones are still exported.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from tap_prolific_export.rows.answers import AnswerColumn, ColumnKind, ColumnType, ScalarType
from tap_prolific_export.rows.collection import Instruction
from tap_prolific_export.rows.labels import KnownNames
from tap_prolific_export.rows.schema import TYPES, column_schema, covers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tap_prolific_export.rows.schema import JsonSchema

_NO_TITLE = {"title", "description"}


def _shape(schema: JsonSchema) -> str:
    return json.dumps({n: v for n, v in schema.items() if n not in _NO_TITLE}, sort_keys=True)


# The first of a schema counts: what may be any text is a plain text.
_TYPES = {
    _shape(column_schema(ColumnType(kind, scalar))): ColumnType(kind, scalar)
    for kind in reversed(ColumnKind)
    for scalar in ScalarType
}


def as_written(
    columns: Mapping[str, AnswerColumn], known: Mapping[str, JsonSchema]
) -> dict[str, AnswerColumn]:
    """Return the properties of a data collection's answers with the types that the schema has.

    The schema is that of all data collections, and of the catalog: one of them may have the same
    question with another type.

    Args:
        columns: The properties, by instruction id.
        known: The properties of ``answers`` in the schema.
    """
    return {id_: _as_written(column, known.get(column.key, {})) for id_, column in columns.items()}


def _as_written(column: AnswerColumn, schema: JsonSchema) -> AnswerColumn:
    own = column.column_type
    if covers(schema, column_schema(own)):
        return column
    if covers(schema, TYPES["text"]):
        type_ = replace(own, as_text=True)
    else:  # a frozen schema
        type_ = _TYPES.get(_shape(schema), own)
    return replace(column, column_type=type_, is_foreign=True)


class CatalogAnswers:
    """Finds the properties of questions.

    Args:
        known: The properties of ``answers`` in the catalog.
        deselected: The names of those that it deselects.
    """

    def __init__(
        self, known: Mapping[str, JsonSchema] | None = None, deselected: Collection[str] = ()
    ) -> None:
        self._known = known or {}
        self._names = KnownNames(self._known)
        self._deselected = KnownNames(deselected)
        self._found: dict[str, AnswerColumn | None] = {}

    @property
    def deselects_any(self) -> bool:
        """Whether the catalog deselects any property."""
        return bool(self._deselected.names)

    def deselects(self, id_: str) -> bool:
        """Whether the catalog deselects a question, under whatever name."""
        return bool(self._deselected.of(id_))

    def column(self, id_: str) -> AnswerColumn | None:
        """Return the column of a question that is known by its id only; None if there is none."""
        if id_ not in self._found:
            key = next(iter(self._names.of(id_)), "")
            type_ = _TYPES.get(_shape(self._known.get(key, {})))
            self._found[id_] = None
            if key and type_:
                gone = Instruction(id_, None, None, None, 0, {}, {})
                self._found[id_] = AnswerColumn(key, type_, gone, {"instruction_id": id_}, {})
        return self._found[id_]
