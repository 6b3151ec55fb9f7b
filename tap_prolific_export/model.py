"""Data collections, export filters and the few text helpers that all packages share; pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

# An id, of whatever: Prolific's are hex digits or UUIDs.
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Kind(str, Enum):
    """The two kinds of data collection. The value is the path segment in the API."""

    COLLECTION = "collections"
    BATCH = "batches"

    @property
    def method(self) -> str:
        """The API's own name, as in a study's ``data_collection_method``."""
        return f"AI_TASK_BUILDER_{self.name}"

    @property
    def noun(self) -> str:
        """The word for one of them."""
        return self.name.lower()


@dataclass(frozen=True)
class DataCollectionRef:
    """Identifies a data collection: its kind and Prolific's id."""

    kind: Kind
    id: str

    def __str__(self) -> str:
        return f"{self.kind.noun} {self.id}"


@dataclass(frozen=True)
class ExportFilter:
    """Limits an export to a study, or to responses of a time; None: no limit.

    Attributes:
        study_id: The study.
        start: The earliest time.
        end: The latest time. Other clients use it; the tap never asks for it.
        other: What else limits an export, according to the API: names and values.
    """

    study_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    other: tuple[tuple[str, str], ...] = ()

    def as_query(self) -> dict[str, str]:
        """Return the API's query parameters."""
        query = {
            "study_id": self.study_id,
            "from": self.start and self.start.isoformat(),
            "to": self.end and self.end.isoformat(),
        }
        return {key: value for key, value in query.items() if value} | dict(self.other)


EVERYTHING = ExportFilter()


def text_or_none(value: object) -> str | None:
    """Return the value if it is a non-empty string, else None."""
    return value if isinstance(value, str) and value else None


def sha256_hex(text: str, length: int) -> str:
    """Return the first hex digits of a text's SHA-256; the text may contain lone surrogates."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def size_text(count: float) -> str:
    """Format a number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004  # that is what k means
            return f"{count:.{0 if unit == 'B' else 1}f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
