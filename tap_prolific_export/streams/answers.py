"""``answers``: the long form, one row a chosen or given value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_prolific_export.archive import Part
from tap_prolific_export.compiled import AnswerRows
from tap_prolific_export.records import answer_columns, answer_rows
from tap_prolific_export.schema import ANSWERS
from tap_prolific_export.streams.base import OF_LINES, ChildStream
from tap_prolific_export.streams.collections import CollectionsStream
from tap_prolific_export.streams.together import LineRows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from singer_sdk.helpers.types import Record

    from tap_prolific_export.delivery import Delivery
    from tap_prolific_export.lines import Response


class AnswersStream(ChildStream):
    """The answers."""

    columns = ANSWERS
    parent_stream_type = CollectionsStream
    reads = frozenset({Part.LINES})
    shaped_by = (*OF_LINES, "study_id", "start_date")

    def rows(self, delivery: Delivery) -> Iterator[Record]:
        """Yield the answers of a delivery."""
        rows = _Rows(self, delivery)
        for response in delivery.responses():
            yield from rows.of(response)

    def line_rows(self, delivery: Delivery) -> LineRows | None:
        """Return how the answers are made of lines; what is chosen from goes by itself."""
        return _Rows(self, delivery) if delivery.is_chosen else None


class _Rows(LineRows):
    def __init__(self, stream: AnswersStream, delivery: Delivery) -> None:
        columns = answer_columns(delivery.collection, stream.run.settings.answer_keys)
        self.maker = AnswerRows(delivery.facts, columns, delivery.uploads)
        self._columns = columns
        self._delivery = delivery

    def of(self, response: Response) -> Iterator[Record]:
        """Yield the answers of a response."""
        delivery = self._delivery
        return answer_rows(delivery.facts, response, self._columns, delivery.uploads)

    def of_typed(self, made: Sequence[Any]) -> Sequence[Any]:
        """Return the answers of several lines."""
        return [row for rows in made for row in rows]
