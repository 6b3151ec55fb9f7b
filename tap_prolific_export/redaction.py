"""Keep secrets out of logs and errors; pure, but for the logging filter at the end."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

REDACTED = "<redacted>"

# A query string, of a whole URL or of the request line that urllib3 logs at DEBUG. The query of
# a presigned URL is its signature, and which parameters make it one differs between hosts: all
# of it goes.
_QUERY = re.compile(r"""(?<=[^\s?"'<>])\?[^\s"'<>?]*=[^\s"'<>]*""")
_AUTHORIZATION = re.compile(r"(?i)\b(token|bearer|basic)\s+[\w.~+/=-]{8,}")


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` without the given secrets, query strings and authorization values.

    Args:
        text: Anything on its way to a log or an error.
        secrets: Literal secrets, such as the API token.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, REDACTED)
    text = _QUERY.sub(f"?{REDACTED}", text)
    return _AUTHORIZATION.sub(lambda match: f"{match[1]} {REDACTED}", text)


def host_of(url: str) -> str:
    """Return the host of a URL, which may be logged where the URL itself may not."""
    return urlsplit(url).hostname or "an unknown host"


class RedactingFilter(logging.Filter):
    """Scrubs every log record that passes, other libraries' records and tracebacks included.

    It sits on the handler, not on a logger: a logger's filters do not see what its children log.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self.secrets = tuple(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the record's message and traceback by their scrubbed text."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # a malformed call of another library
            message = str(record.msg)
        record.msg = scrub(message, self.secrets)
        record.args = None
        if record.exc_info:
            text = record.exc_text or logging.Formatter().formatException(record.exc_info)
            record.exc_text = scrub(text, self.secrets)
        return True
