"""Build the rows of `files`: each uploaded file, with the answer that names it; pure functions.

An archive lists its uploaded files, and answers name them. A file that no answer names belongs to
the submission whose id its name begins with.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tap_prolific_export.archive.export_archive import UPLOADS
from tap_prolific_export.rows.answers import read, upload_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tap_prolific_export.archive.export_archive import Upload
    from tap_prolific_export.rows.responses import Response
    from tap_prolific_export.rows.tables import AnswerColumn, ExportFacts, Row

    Uploads = Mapping[str, Upload]
    # Finds the owners of files, given those that have none yet.
    Find = Callable[[Uploads], Iterable["NamedFile"]]


@dataclass(frozen=True)
class NamedFile:
    """An uploaded file and the response it belongs to.

    Attributes:
        path: Path in the archive.
        submission_id: Submission of the response.
        participant_id: Participant who uploaded the file.
        task_id: Task of the response, in a batch.
        instruction_id: The question; None if no answer names the file.
        described: Fields from the answer: ``file_name``, ``content_type``.
        wanted: Whether the response is wanted.
    """

    path: str
    submission_id: str | None
    participant_id: str | None
    task_id: str | None
    instruction_id: str | None
    described: Mapping[str, str]
    wanted: bool = True


def file_rows(
    facts: ExportFacts, finds: Sequence[Find], uploads: Uploads, *, include_unmatched: bool
) -> Iterator[Row]:
    """Yield a row for each uploaded file, with the answer that names it, if one does.

    Args:
        facts: The columns that all rows of the export share.
        finds: Functions that find the response of a file, tried in order; the first match counts.
        uploads: The uploaded files in the archive, by path.
        include_unmatched: Whether to yield files that belong to no response.
    """
    remaining = dict(uploads)
    for find in finds:
        unwanted: set[str] = set()
        for found in find(remaining) if remaining else ():
            if found.path not in remaining:
                continue
            if found.wanted:
                yield _file_row(facts, found.path, remaining.pop(found.path), found)
            else:
                unwanted.add(found.path)
        for path in unwanted & remaining.keys():
            del remaining[path]
    if include_unmatched:
        for path, upload in remaining.items():
            yield _file_row(facts, path, upload)


def find_by_answers(
    responses: Iterable[Response],
    wants: Callable[[Response], bool],
    columns: Mapping[str, AnswerColumn],
    uploads: Uploads,
) -> Iterator[NamedFile]:
    """Yield the files that answers name.

    Args:
        responses: The responses to search.
        wants: Whether a response's files are wanted.
        columns: The properties of ``answers``, by instruction id.
        uploads: The uploaded files in the archive, by path.
    """
    for response in responses:
        for instruction_id, entry in response.answers.items():
            for path, described in names_in(entry, columns.get(instruction_id), uploads):
                yield _found(response, path, instruction_id, described, wants)


def names_in(
    entry: Any, column: AnswerColumn | None, uploads: Uploads
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the path of each file that an answer names, and the answer's fields about it."""
    for value in read(entry, column.repeated if column else {}) or ():
        path = upload_path(value, uploads)
        if path is not None and path in uploads:
            yield path, value.file or {}


def find_by_file_name(
    responses: Iterable[Response], wants: Callable[[Response], bool], remaining: Uploads
) -> Iterator[NamedFile]:
    """Yield the files whose name begins with the submission id of a response.

    Args:
        responses: The responses to match.
        wants: Whether a response's files are wanted.
        remaining: The files to search, by path; the caller may remove some meanwhile.
    """
    names = sorted(remaining)
    for response in responses:
        prefix = f"{UPLOADS}{response.submission_id}"
        place = bisect_left(names, prefix) if response.submission_id else len(names)
        while place < len(names) and names[place].startswith(prefix):
            if names[place] in remaining:
                yield _found(response, names[place], None, {}, wants)
            place += 1


def _found(
    response: Response,
    path: str,
    instruction_id: str | None,
    described: Mapping[str, str],
    wants: Callable[[Response], bool],
) -> NamedFile:
    return NamedFile(
        path,
        response.submission_id,
        response.participant_id,
        # If no answer names the file, its task is unknown: a submission can have several.
        response.task_id if instruction_id is not None else None,
        instruction_id,
        described,
        wants(response),
    )


def _file_row(facts: ExportFacts, path: str, upload: Upload, found: NamedFile | None = None) -> Row:
    described = found.described if found else {}
    return {
        **facts.as_row(),
        "path": path,
        "submission_id": found.submission_id if found else None,
        "participant_id": found.participant_id if found else None,
        "instruction_id": found.instruction_id if found else None,
        "task_id": found.task_id if found else None,
        "file_name": described.get("file_name") or path.rpartition("/")[2],
        "content_type": described.get("content_type"),
        "size_bytes": upload.size,
        "crc32": f"{upload.crc32:08x}",
        "modified_at": upload.modified_at and upload.modified_at.isoformat(),
        "sha256": None,
        "uri": None,
    }
