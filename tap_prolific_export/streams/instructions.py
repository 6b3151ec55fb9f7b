"""``instructions``: one row a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_prolific_export import records
from tap_prolific_export.bookmarks import digest
from tap_prolific_export.decoding import json_text
from tap_prolific_export.schema import INSTRUCTIONS
from tap_prolific_export.streams.base import ChildStream
from tap_prolific_export.streams.collections import CollectionsStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Record

    from tap_prolific_export.delivery import Delivery


class InstructionsStream(ChildStream):
    """The questions."""

    columns = INSTRUCTIONS
    parent_stream_type = CollectionsStream
    shaped_by = ("answer_keys",)

    def content(self, delivery: Delivery) -> str:
        """Return a digest of the questions: every archive has them all, and they seldom change."""
        return digest(json_text([*delivery.collection.instructions]))

    def rows(self, delivery: Delivery) -> Iterator[Record]:
        """Yield the questions of a delivery."""
        keys = self.run.settings.answer_keys
        yield from records.instruction_rows(delivery.facts, delivery.collection, keys)
