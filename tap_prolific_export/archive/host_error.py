"""Read from the error of an archive's host what it means: has only the URL expired?"""

from __future__ import annotations

import re

# An error document is far shorter; the rest is ignored.
MAX_ERROR_BYTES = 4096
# S3, Google Cloud Storage and R2 name the error in XML, others in JSON. Only letters: a code is a
# word, and whatever is longer or has digits may be a secret.
_CODE = re.compile(
    rb"<(?:\w+:)?Code\s*>\s*([A-Za-z]{1,40})\s*<|\"code\"\s*:\s*\"([A-Za-z]{1,40})\"", re.IGNORECASE
)
# Codes without the word "expired" that say the same: the credentials that signed the URL are too
# old. (ExpiredToken, ExpiredRequest, RequestExpired and others have the word.)
_RENEWED_CODES = frozenset({"invalidtoken", "tokenrefreshrequired"})
# A general code such as InvalidRequest or AccessDenied leaves it to the message.
_SAYS_EXPIRED = re.compile(
    rb"\b(?:request|token|signature|url|link|credentials?)\b[^<\"]{0,40}\bexpired\b", re.IGNORECASE
)


def error_code(body: bytes) -> str | None:
    """Return the error code in an error document, such as ``NoSuchKey``; None if there is none."""
    found = _CODE.search(body[:MAX_ERROR_BYTES])
    return (found[1] or found[2]).decode() if found else None


def is_expiry(body: bytes) -> bool:
    """Whether an error document says that the URL, or what signed it, has expired.

    A URL signed with temporary credentials dies with them, often before its own time. S3 then
    answers 400, not 403.
    """
    code = (error_code(body) or "").lower()
    if "expired" in code or code in _RENEWED_CODES:
        return True
    return _SAYS_EXPIRED.search(body[:MAX_ERROR_BYTES]) is not None
