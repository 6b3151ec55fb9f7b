"""The Singer streams: they turn a delivery's rows into messages and do nothing else."""

from __future__ import annotations

from tap_prolific_export.streams.answers import AnswersStream
from tap_prolific_export.streams.base import ProlificStream, Run
from tap_prolific_export.streams.collections import CollectionsStream
from tap_prolific_export.streams.files import FilesStream
from tap_prolific_export.streams.instructions import InstructionsStream
from tap_prolific_export.streams.responses import ResponsesStream
from tap_prolific_export.streams.tasks import TasksStream

# The parent first: its children run while one of its data collections is open, in this order.
STREAM_TYPES: tuple[type[ProlificStream], ...] = (
    CollectionsStream,
    InstructionsStream,
    TasksStream,
    ResponsesStream,
    AnswersStream,
    FilesStream,
)

__all__ = ["STREAM_TYPES", "CollectionsStream", "ProlificStream", "Run"]
