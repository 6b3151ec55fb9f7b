"""What a data collection and an export filter are; pure data, shared by all packages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class Kind(str, Enum):
    """The two kinds of data collection; the value is the API's path segment."""

    COLLECTION = "collections"
    BATCH = "batches"

    @property
    def method(self) -> str:
        """The API's own name, as in a study's ``data_collection_method``."""
        return {
            Kind.COLLECTION: "AI_TASK_BUILDER_COLLECTION",
            Kind.BATCH: "AI_TASK_BUILDER_BATCH",
        }[self]

    @property
    def noun(self) -> str:
        """The word for one of them."""
        return {Kind.COLLECTION: "collection", Kind.BATCH: "batch"}[self]


@dataclass(frozen=True)
class DataCollectionRef:
    """Which data collection: its kind and Prolific's id."""

    kind: Kind
    id: str

    def __str__(self) -> str:
        return f"{self.kind.noun} {self.id}"


@dataclass(frozen=True)
class ExportFilter:
    """What narrows an export; all None: everything."""

    study_id: str | None = None
    start: datetime | None = None

    def as_query(self) -> dict[str, str]:
        """Return the API's query parameters."""
        query = {"study_id": self.study_id, "from": self.start and self.start.isoformat()}
        return {key: value for key, value in query.items() if value}


EVERYTHING = ExportFilter()
