"""Uploaded files -> the rows of `files`, each with the answer that names it; pure.

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
    # Finds files, of those that are left.
    Find = Callable[[Uploads], Iterable["Found"]]


@dataclass(frozen=True)
class Found:
    """An uploaded file, and where it belongs.

    Attributes:
        path: In the archive.
        submission_id: Of its response, as are the following.
        participant_id: Who uploaded it.
        task_id: To which task of a batch.
        instruction_id: The question; None where no answer names the file.
        described: What the answer says of it: ``file_name``, ``content_type``.
        wanted: Whether its response is wanted.
    """

    path: str
    submission_id: str | None
    participant_id: str | None
    task_id: str | None
    instruction_id: str | None
    described: Mapping[str, str]
    wanted: bool = True


def file_rows(
    facts: ExportFacts, finds: Sequence[Find], uploads: Uploads, *, strays: bool
) -> Iterator[Row]:
    """Yield a row for each uploaded file, with the answer that names it, as far as one does.

    Args:
        facts: Of the export.
        finds: Find where files belong, one after the other; the first that finds one is right.
        uploads: The uploaded files in the archive, by path.
        strays: Whether a file that belongs to no response is wanted.
    """
    left = dict(uploads)
    for find in finds:
        others: set[str] = set()
        for found in find(left) if left else ():
            if found.path not in left:
                continue
            if found.wanted:
                yield _file_row(facts, found.path, left.pop(found.path), found)
            else:
                others.add(found.path)
        for path in others & left.keys():
            del left[path]
    if strays:
        for path, upload in left.items():
            yield _file_row(facts, path, upload)


def named_in(
    responses: Iterable[Response],
    wants: Callable[[Response], bool],
    columns: Mapping[str, AnswerColumn],
    uploads: Uploads,
) -> Iterator[Found]:
    """Yield the files that answers name.

    Args:
        responses: They.
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
    """Yield the files that an answer names, and what it says of each."""
    for value in read(entry, column.repeated if column else {}) or ():
        path = upload_path(value, uploads)
        if path is not None and path in uploads:
            yield path, value.file or {}


def begun_with(
    responses: Iterable[Response], wants: Callable[[Response], bool], left: Uploads
) -> Iterator[Found]:
    """Yield those files of `left`, from which they may be taken, whose name begins with an id.

    Args:
        responses: With the submissions whose ids they are.
        wants: Whether a response's files are wanted.
        left: The files to look among, by path.
    """
    names = sorted(left)
    for response in responses:
        begin = f"{UPLOADS}{response.submission_id}"
        place = bisect_left(names, begin) if response.submission_id else len(names)
        while place < len(names) and names[place].startswith(begin):
            if names[place] in left:
                yield _found(response, names[place], None, {}, wants)
            place += 1


def _found(
    response: Response,
    path: str,
    instruction_id: str | None,
    described: Mapping[str, str],
    wants: Callable[[Response], bool],
) -> Found:
    return Found(
        path,
        response.submission_id,
        response.participant_id,
        # To which of its tasks a file belongs that no answer names, nothing tells.
        response.task_id if instruction_id is not None else None,
        instruction_id,
        described,
        wants(response),
    )


def _file_row(facts: ExportFacts, path: str, upload: Upload, found: Found | None = None) -> Row:
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
