"""``responses``: one row a submission, or in a batch a submission's answers to one task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_prolific_export import records
from tap_prolific_export.archive import Part
from tap_prolific_export.compiled import ResponseRows
from tap_prolific_export.schema import RESPONSES, answers_schema
from tap_prolific_export.streams.base import OF_LINES, ChildStream
from tap_prolific_export.streams.collections import CollectionsStream
from tap_prolific_export.streams.together import LineRows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from singer_sdk.helpers.types import Context, Record

    from tap_prolific_export.delivery import Delivery
    from tap_prolific_export.lines import Response
    from tap_prolific_export.records import ExportFacts
    from tap_prolific_export.schema import JsonSchema


# A schema that grows with every data collection would be written as often, each time longer. From
# this growth on, the questions of all data collections are asked for at once.
FORESEE_AFTER = 4


class ResponsesStream(ChildStream):
    """The responses."""

    _growths = 0
    _prepared_for: ExportFacts | None = None

    columns = RESPONSES
    parent_stream_type = CollectionsStream
    reads = frozenset({Part.LINES})
    shaped_by = (*OF_LINES, "study_id", "start_date", "answer_keys", "freeze_schema")

    def _shape(self) -> list[Any]:
        # With a frozen schema the catalog decides which answers there are.
        frozen = sorted(self._known()) if self.run.settings.freeze_schema else []
        return [*super()._shape(), frozen]

    def preprocess_context(self, context: Context) -> Context:
        """Grow the schema by the questions of the archive; SCHEMA is written after this."""
        if self._prepared_for is self.run.delivery.facts:
            return context
        self._prepared_for = self.run.delivery.facts
        keys = self.run.settings.answer_keys
        needed = answers_schema([self.run.delivery.collection], keys)
        known = self._known()
        new = {name: schema for name, schema in needed.items() if known.get(name) != schema}
        if new and self.run.settings.freeze_schema:
            if left_out := len(new.keys() - known.keys()):
                self.logger.warning(
                    "%s: answers to %d questions that the catalog does not have are left out, as "
                    "freeze_schema is set.",
                    self.run.delivery.collection.ref,
                    left_out,
                )
        elif new:
            self._growths += 1
            if self._growths == FORESEE_AFTER:
                new |= answers_schema(self.run.foreseen(), keys)
            self.grow({"answers": {"properties": new}})
        return context

    def _known(self) -> JsonSchema:
        """Return the properties of ``answers`` that the schema has so far."""
        answers = self.effective_schema.get("properties", {}).get("answers", {})
        known: JsonSchema = answers.get("properties", {})
        return known

    def _shows(self, key: str) -> bool:
        """Whether a property of ``answers`` is in the schema and selected."""
        return key in self._known() and self.mask["properties", "answers", "properties", key]

    def rows(self, delivery: Delivery) -> Iterator[Record]:
        """Yield the responses of a delivery."""
        rows = _Rows(self, delivery)
        for response in delivery.responses():
            yield from rows.of(response)
        rows.end()

    def line_rows(self, delivery: Delivery) -> LineRows | None:
        """Return how the responses are made of lines; what is hidden or chosen goes by itself."""
        rows = _Rows(self, delivery)
        return rows if delivery.is_chosen and not rows.hides else None


class _Rows(LineRows):
    """Makes the rows of a delivery's responses, and counts them."""

    def __init__(self, stream: ResponsesStream, delivery: Delivery) -> None:
        settings = stream.run.settings
        self._columns = records.answer_columns(delivery.collection, settings.answer_keys)
        self.maker = ResponseRows(delivery.facts, self._columns, delivery.uploads)
        self._hidden = {
            id_
            for id_, column in self._columns.items()
            if not stream._shows(column.key)  # noqa: SLF001
        }
        self._hides_unknown = settings.freeze_schema or not stream.mask["properties", "answers"]
        self._count = 0
        self._misfits = 0
        self._stream = stream
        self._delivery = delivery

    @property
    def hides(self) -> bool:
        """Whether some answers may not appear."""
        return bool(self._hidden) or self._hides_unknown

    def of(self, response: Response) -> Iterator[Record]:
        """Yield the row of a response."""
        row, kept = records.response_row(
            self._delivery.facts,
            response,
            self._columns,
            self._delivery.uploads,
            hidden=self._hidden,
            hide_unknown=self._hides_unknown,
        )
        self._count += not response.again
        self._misfits += kept
        yield row

    def of_typed(self, made: Sequence[Any]) -> Sequence[Any]:
        """Return the rows of several lines."""
        self._count += len(made)
        return made

    def end(self) -> None:
        """Say how many there were, and of how many answers something had to be kept beside."""
        self._stream.run.response_count = self._count
        if self._misfits:
            self._stream.logger.warning(
                "%s: %d answers did not fit their columns; as they came they stand in "
                "additional_fields, under answers.",
                self._delivery.collection.ref,
                self._misfits,
            )
