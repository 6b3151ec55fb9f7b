"""Keep secrets out of logs and errors; pure, but for the log formatter at the end."""

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
_QUERY = re.compile(r"""(?<=[^\s"'])\?[^\s"'<>\\]*=[^\s"'<>\\]*""")
_AUTHORIZATION = re.compile(r"""(?i)(authorization["']?\s*[:=]\s*["']?\w+\s+)[^\s"'<>]+""")


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` without the given secrets, query strings and authorization values.

    Args:
        text: Anything on its way to a log or an error.
        secrets: Literal secrets, such as the API token.
    """
    # The queries first: a secret that has been replaced would end them too early.
    text = _QUERY.sub(f"?{REDACTED}", text)
    text = _AUTHORIZATION.sub(lambda match: f"{match[1]}{REDACTED}", text)
    for secret in filter(None, secrets):
        text = text.replace(secret, REDACTED)
    return text


def host_of(url: str) -> str:
    """Return the host of a URL, which may be logged where the URL itself may not."""
    try:
        return urlsplit(url).hostname or "an unknown host"
    except ValueError:
        return "an unknown host"


class RedactingFormatter(logging.Formatter):
    """Scrubs what another formatter makes of a record: message, traceback, extras and all.

    It sits on the handler, so that what other libraries log passes it, too.

    Args:
        inner: Makes the text.
        secrets: Literal secrets, such as the API token.
    """

    def __init__(self, inner: logging.Formatter | None, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        while isinstance(inner, RedactingFormatter):
            inner = inner.inner
        self.inner: logging.Formatter = inner or logging.Formatter()
        self.secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as scrubbed text."""
        try:
            text = self.inner.format(record)
        except Exception:  # noqa: BLE001
            # A malformed call, of whatever library: logging would print its arguments, unscrubbed.
            text = str(record.msg)
        return scrub(text, self.secrets)


def redact_logs(secrets: Iterable[str]) -> None:
    """Scrub everything that any handler writes from now on."""
    secrets = tuple(secrets)
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for logger in loggers:
        for handler in logger.handlers if isinstance(logger, logging.Logger) else ():
            handler.setFormatter(RedactingFormatter(handler.formatter, secrets))
