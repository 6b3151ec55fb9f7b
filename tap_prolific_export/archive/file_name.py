"""Read the ids in the file name that Prolific's client gives an archive; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tap_prolific_export.model import ID

# The client names an archive <id>-export.zip, <id>-export-<time>.zip or
# <id>-export-<export_id>.zip. Browsers add a number to a second download: "... (1).zip".
_NAME = re.compile(
    rf"(?!-)(?P<id>{ID.pattern}?)-export(?:-(?P<last>[^/]*?))?(?: ?\(\d+\))?\.zip", re.IGNORECASE
)
# An export's id: a UUID, or hex digits of which one at least is a letter. A time is neither.
_EXPORT_ID = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?=\d*[a-f])[0-9a-f]{24,64}", re.IGNORECASE
)


@dataclass(frozen=True)
class FileName:
    """The ids in a file name.

    Attributes:
        id: The data collection's id.
        export_id: The export job's id; None if the name holds a time, or something else.
    """

    id: str
    export_id: str | None


def parse_file_name(name: str) -> FileName | None:
    """Return the ids in a file name; None if it is not of the client's form."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    last = found["last"] or ""
    return FileName(found["id"], last if _EXPORT_ID.fullmatch(last) else None)
