"""The Singer streams: they turn a delivery's rows into messages and do nothing else."""

from __future__ import annotations

from tap_prolific_export.streams.base import ProlificStream, Run
from tap_prolific_export.streams.collections import CollectionsStream
from tap_prolific_export.streams.instructions import InstructionsStream
from tap_prolific_export.streams.responses import ResponsesStream

# The parent first: its children run while one of its data collections is open.
STREAM_TYPES: tuple[type[ProlificStream], ...] = (
    CollectionsStream,
    InstructionsStream,
    ResponsesStream,
)

__all__ = ["STREAM_TYPES", "CollectionsStream", "ProlificStream", "Run"]
