"""Find the files that answers name by a key, or in another Unicode form; pure functions.

Prolific names an uploaded file in the archive after its submission and its own name. An answer may
name it by the key under which Prolific stores it, which is nowhere in the archive. An archive's
paths are in NFC; an answer may name the same file in NFD.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from tap_prolific_export.archive.export_archive import UPLOADS
from tap_prolific_export.archive.member_names import composed
from tap_prolific_export.rows.answers import path_in
from tap_prolific_export.rows.deduplicate import SeenIds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from tap_prolific_export.rows.responses import Response


class UploadKeys:
    """Puts paths in the archive in place of the names that answers give uploads.

    A key is replaced only where it is sure which file is meant.

    Args:
        uploads: The uploaded files in the archive, by path.
        read: Starts a new reading of all responses. They are read only if a file is named by a key.
    """

    def __init__(
        self, uploads: Collection[str], read: Callable[[], Iterable[list[Response]]]
    ) -> None:
        self._uploads = uploads
        self._read = read
        self._shared: set[str] | None = None

    def resolved(self, responses: list[Response]) -> list[Response]:
        """Return the responses, with the archive's paths in place of keys and other forms."""
        if not self._uploads:
            return responses
        return [self._resolved(each) if each.answers else each for each in responses]

    def _resolved(self, response: Response) -> Response:
        if not _may_name_otherwise(response.answers):
            return response
        answers = {id_: self._with_paths(e, response) for id_, e in response.answers.items()}
        return response if answers == response.answers else replace(response, answers=answers)

    def _with_paths(self, entry: Any, response: Response) -> Any:
        """Return an entry with the archive's paths for what it names."""
        if isinstance(entry, str):
            return in_archives_form(entry, self._uploads)
        if isinstance(entry, list):
            return [self._with_paths(each, response) for each in entry]
        if not isinstance(entry, dict):
            return entry
        found = {name: self._with_paths(value, response) for name, value in entry.items()}
        path = self._path(found, response)
        return found if path is None or path in self._shared_paths() else {"path": path, **found}

    def _path(self, entry: dict[str, Any], response: Response) -> str | None:
        """Return the path that an upload's file should have in the archive; None if it has none."""
        key, name = entry.get("file_key"), entry.get("file_name")
        if not (isinstance(key, str) and isinstance(name, str) and response.submission_id):
            return None
        path = in_archives_form(f"{UPLOADS}{response.submission_id}_{name}", self._uploads)
        is_found = "path" in entry or path_in(key, self._uploads) in self._uploads
        return path if path in self._uploads and not is_found else None

    def _keys(self, response: Response) -> Iterator[tuple[str, str]]:
        """Yield the path and the key of each upload of a response."""
        left: list[Any] = [*response.answers.values()]
        while left:
            entry = left.pop()
            if isinstance(entry, list):
                left += entry
            elif isinstance(entry, dict):
                left += entry.values()
                if (path := self._path(entry, response)) is not None:
                    yield path, entry["file_key"]

    def _shared_paths(self) -> set[str]:
        """Return the paths that several keys lead to: it cannot be told which file is whose."""
        if self._shared is None:
            self._shared = set()
            paths, keys = SeenIds(), SeenIds()
            for response in (each for block in self._read() for each in block):
                for path, key in self._keys(response):
                    is_new_key = not keys.add_all([f"{path} {key}"])
                    if paths.add_all([path]) and is_new_key:
                        self._shared.add(path)
        return self._shared


def in_archives_form(text: str, uploads: Collection[str]) -> str:
    """Return a text in the Unicode form in which it names an upload, if it names one."""
    if text.isascii() or path_in(text, uploads) in uploads:
        return text
    form = composed(text)
    return form if path_in(form, uploads) in uploads else text


def _may_name_otherwise(answers: Mapping[str, Any]) -> bool:
    """Whether any answer may have a key, or a text that may have another Unicode form."""
    text = msgspec.json.encode(answers)
    return not text.isascii() or b'"file_key"' in text
