"""Build the rows of `files`: each uploaded file, with the answer that names it; pure functions.

An archive lists its uploaded files, and answers name them. A file that no answer names belongs to
the submission whose id its name begins with; of several, to that of the longest id.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import to_builtins

from tap_prolific_export.archive.export_archive import UPLOADS
from tap_prolific_export.archive.member_names import composed, is_composed
from tap_prolific_export.rows.answers import ColumnKind, ScalarType, path_in, upload_path
from tap_prolific_export.rows.entries import read

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from tap_prolific_export.archive.export_archive import Upload
    from tap_prolific_export.rows.answers import AnswerColumn
    from tap_prolific_export.rows.responses import Response
    from tap_prolific_export.rows.tables import ExportFacts, Row

    Uploads = Mapping[str, Upload]


# The texts of a typed answer that may name files.
_TEXTS_OF: Mapping[ColumnKind, Callable[[Any], list[str]]] = {
    ColumnKind.SCALARS: lambda answer: answer,
    ColumnKind.EXPLAINED: lambda answer: [each.value for each in answer],
    ColumnKind.WITH_UNIT: lambda answer: [answer.value],
}


class NamedFile(msgspec.Struct, frozen=True, gc=False):
    """The response that an uploaded file belongs to.

    Attributes:
        submission_id: Submission of the response.
        participant_id: Participant who uploaded the file.
        task_id: Task of the response, in a batch; None if no answer names the file, because a
            submission can have several.
        instruction_id: The question; None if no answer names the file.
        described: Fields from the answer: ``file_name``, ``content_type``.
        wanted: Whether the response is wanted.
    """

    submission_id: str | None
    participant_id: str | None
    task_id: str | None
    instruction_id: str | None
    described: Mapping[str, Any]
    wanted: bool


# A file that belongs to no response.
_UNMATCHED = NamedFile(None, None, None, None, {}, wanted=True)


class FileFinder:
    """Finds the responses that uploaded files belong to.

    A response whose answer names a file counts more than one whose submission id the file's name
    begins with, and of these the longest id counts; of several, the first that is wanted counts.

    Args:
        columns: The properties of ``answers``, by instruction id.
        uploads: The uploaded files in the archive, by path.
        wants: Whether a response's files are wanted.
    """

    def __init__(
        self,
        columns: Mapping[str, AnswerColumn],
        uploads: Uploads,
        wants: Callable[[Response], bool],
    ) -> None:
        self._columns = columns
        self._uploads = uploads
        self._wants = wants
        self._by_answer: dict[str, NamedFile] = {}
        self._by_name: dict[str, NamedFile] = {}
        self._names = {path.rpartition("/")[2] for path in uploads}
        # Nearly all answers are told by their last characters to name no file.
        self._tail = itemgetter(slice(-min(map(len, self._names), default=1), None))
        self._tails = {*map(self._tail, self._names)}
        self._sorted = sorted(uploads)
        self._texts: list[tuple[int, str, Callable[[Any], list[str]]]] = [
            (place, id_, _TEXTS_OF.get(column.column_type.kind, lambda answer: [answer]))
            for place, (id_, column) in enumerate(columns.items())
            if column.column_type.scalar is ScalarType.STRING
            and column.column_type.kind is not ColumnKind.FILES
        ]
        self._files = [
            (place, id_)
            for place, (id_, column) in enumerate(columns.items())
            if column.column_type.kind is ColumnKind.FILES
        ]

    @property
    def found(self) -> int:
        """How many wanted files answers have named so far."""
        return sum(file.wanted for file in self._by_answer.values())

    def add(self, responses: Iterable[Response]) -> None:
        """Look for the files of responses.

        Raises:
            DataCollectionError: See `wants`.
        """
        if not self._uploads:
            return
        for response in responses:
            if response.typed:
                self._add_typed(response, response.typed)
            for instruction_id, answer in response.answers.items():
                if may_name_file(answer, self._names):
                    self._add_named(response, instruction_id, answer)
            if response.submission_id:
                self._add_by_name(response)

    def _add_typed(self, response: Response, typed: Sequence[Any]) -> None:
        for place, id_ in self._files:
            for file in typed[place] or ():
                if file.path in self._uploads:
                    described = {"file_name": file.file_name, "content_type": file.content_type}
                    self._add(self._by_answer, file.path, response, id_, described)
        for instruction_id, answer in self._typed_names(typed):
            self._add_named(response, instruction_id, to_builtins(answer))

    def _typed_names(self, typed: Sequence[Any]) -> Iterator[tuple[str, Any]]:
        """Yield the typed answers that may name a file, with their questions' ids."""
        tail, tails = self._tail, self._tails
        texts: list[str] = []
        for place, _, texts_of in self._texts:
            answer = typed[place]
            if answer.__class__ is str:
                texts.append(answer)
            elif answer:  # neither UNSET nor None
                texts += texts_of(answer)
        if tails.isdisjoint(map(tail, texts)) and all(map(is_composed, texts)):
            return  # nearly always; without a function of Python's called for a text
        for place, id_, texts_of in self._texts:
            answer = typed[place]
            if answer and not tails.isdisjoint(tail(composed(text)) for text in texts_of(answer)):
                yield id_, answer

    def _add_named(self, response: Response, instruction_id: str, entry: Any) -> None:
        column = self._columns.get(instruction_id)
        for value in read(entry, column.repeated if column else {}) or ():
            path = upload_path(value, self._uploads)
            if path is not None and path not in self._uploads:  # in another Unicode form?
                path = path_in(composed(path), self._uploads)
            if path is not None and path in self._uploads:
                self._add(self._by_answer, path, response, instruction_id, value.file or {})

    def _add_by_name(self, response: Response) -> None:
        id_ = response.submission_id or ""
        names, prefix = self._sorted, f"{UPLOADS}{id_}"
        place = bisect_left(names, prefix)
        while place < len(names) and names[place].startswith(prefix):
            # A file of s12 is none of s1, although its name begins with both.
            known = self._by_name.get(names[place])
            other = known.submission_id or "" if known else id_
            if len(other) < len(id_):
                del self._by_name[names[place]]
            if len(other) <= len(id_):
                self._add(self._by_name, names[place], response, None, {})
            place += 1

    def _add(
        self,
        files: dict[str, NamedFile],
        path: str,
        response: Response,
        instruction_id: str | None,
        described: Mapping[str, Any],
    ) -> None:
        """Keep the first response of a file, or the first that is wanted."""
        ids = response.submission_id, response.participant_id
        task_id = None if instruction_id is None else response.task_id
        file = NamedFile(*ids, task_id, instruction_id, described, self._wants(response))
        known = files.get(path)
        if known is None or (file.wanted and not known.wanted):
            files.pop(path, None)  # so that files are in the order in which they were found
            files[path] = file

    def rows(self, facts: ExportFacts, *, include_unmatched: bool) -> Iterator[Row]:
        """Yield a row for each uploaded file that is wanted.

        Args:
            facts: The columns that all rows of the export share.
            include_unmatched: Whether to yield files that belong to no response.
        """
        files = self._by_name | self._by_answer
        for path, file in files.items():
            if file.wanted:
                yield _file_row(facts, path, self._uploads[path], file)
        for path, upload in self._uploads.items() if include_unmatched else ():
            if path not in files:
                yield _file_row(facts, path, upload, _UNMATCHED)


def may_name_file(entry: Any, names: Collection[str]) -> bool:
    """Whether an answer may name one of some files; if in doubt, it may.

    Args:
        entry: The answer.
        names: The files' names, without folders.
    """
    if entry.__class__ is str:
        name = entry.rpartition("/")[2] if "/" in entry else entry
        return name in names or (not name.isascii() and composed(name) in names)
    left = [entry]
    while left:
        value = left.pop()
        if value.__class__ is str:
            if may_name_file(value, names):
                return True
        elif value.__class__ is dict:
            left += value.values()
        elif value.__class__ is list:
            left += value
    return False


def _file_row(facts: ExportFacts, path: str, upload: Upload, file: NamedFile) -> Row:
    return {
        **facts.as_row(),
        "path": path,
        "submission_id": file.submission_id,
        "participant_id": file.participant_id,
        "instruction_id": file.instruction_id,
        "task_id": file.task_id,
        "file_name": file.described.get("file_name") or path.rpartition("/")[2],
        "content_type": file.described.get("content_type"),
        "size_bytes": upload.size,
        "crc32": f"{upload.crc32:08x}",
        "modified_at": upload.modified_at and upload.modified_at.isoformat(),
        "sha256": None,
        "uri": None,
    }
