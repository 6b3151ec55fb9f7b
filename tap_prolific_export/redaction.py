"""Keep secrets out of logs and errors. Pure, except for the log formatter at the end."""

from __future__ import annotations

import copy
import json
import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tap_prolific_export.errors import TapError

if TYPE_CHECKING:
    from collections.abc import Iterable

REDACTED = "<redacted>"

# A query string, in a whole URL or in the request line that urllib3 logs at DEBUG. The query of a
# presigned URL contains its signature, under names that differ between hosts: remove all of it.
_QUERY = re.compile(r"""(?<=[^\s"'])\?[^\s"'<>\\]*=[^\s"'<>\\]*""")
# JSON logs escape the quotes with a backslash. The name of a shell variable is not a secret.
_AUTHORIZATION = re.compile(
    r"""(?i)(authorization(?:\\?["'])?\s*[:=]\s*(?:\\?["'])?\w+\s+)(?!\$\w+\b)[^\s"'<>\\]+"""
)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` without the given (literal) secrets, query strings and authorization values."""
    # Queries first: a secret replaced inside one would end the match too early.
    text = _QUERY.sub(f"?{REDACTED}", text)
    for secret in filter(None, secrets):
        # Ignore case: urllib3 logs host names in lower case.
        text = re.sub(re.escape(secret), REDACTED, text, flags=re.IGNORECASE)
    return _AUTHORIZATION.sub(lambda match: f"{match[1]}{REDACTED}", text)


def host_of(url: str) -> str:
    """Return the host of a URL. The host may be logged; the URL may not."""
    try:
        return urlsplit(url).hostname or "an unknown host"
    except ValueError:
        return "an unknown host"


def without_text(
    error: BaseException, copies: dict[int, BaseException] | None = None
) -> BaseException:
    """Return a copy of an exception that prints the same names and traceback, but no messages.

    Library messages may quote a value from a participant. The tap's own messages are safe to log
    and are kept. `copies` holds the copies made so far, as contexts can form a cycle.
    """
    copies = {} if copies is None else copies
    if id(error) in copies:
        return copies[id(error)]
    kind = type(error)
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    text = str(error) if isinstance(error, TapError) else REDACTED
    same_name = type(kind.__name__, (Exception,), names)
    redacted: BaseException = same_name(text) if error.args else same_name()
    copies[id(error)] = redacted
    if error.__cause__:
        redacted.__cause__ = without_text(error.__cause__, copies)
    if error.__context__:
        redacted.__context__ = without_text(error.__context__, copies)
    redacted.__suppress_context__ = error.__suppress_context__
    return redacted.with_traceback(error.__traceback__)


def _safe(record: logging.LogRecord) -> logging.LogRecord:
    """Return the record, or a copy of it without the text of its exception."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return record
    record = copy.copy(record)
    redacted = without_text(error)
    record.exc_info = (type(redacted), redacted, redacted.__traceback__)
    record.exc_text = None  # cached by another formatter
    if not isinstance(error, TapError):
        # Callers often put the exception, or its text, into the message as well.
        unsafe = {id(error), *map(id, error.args)}
        name = type(error).__name__
        if id(record.msg) in unsafe:
            record.msg = name
        if isinstance(record.args, tuple):
            record.args = tuple(name if id(arg) in unsafe else arg for arg in record.args)
    return record


class RedactingFormatter(logging.Formatter):
    """Scrubs the complete output of another formatter: message, traceback and extras.

    It is set on handlers, so it also covers the logs of other libraries. For exceptions that are
    not the tap's own it keeps the names and the traceback only.
    """

    def __init__(self, inner: logging.Formatter | None, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        while isinstance(inner, RedactingFormatter):
            inner = inner.inner
        self.inner: logging.Formatter = inner or logging.Formatter()
        # As given, and as they are in JSON.
        self.secrets = [form for each in secrets for form in (each, json.dumps(each)[1:-1])]

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as scrubbed text."""
        try:
            text = self.inner.format(_safe(record))
        except Exception:  # noqa: BLE001
            # A malformed logging call: logging itself would print the arguments unscrubbed.
            text = str(record.msg)
        return scrub(text, self.secrets)


def redact_logs(secrets: Iterable[str]) -> None:
    """Scrub everything that any existing handler writes from now on."""
    secrets = tuple(secrets)
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for logger in loggers:
        for handler in logger.handlers if isinstance(logger, logging.Logger) else ():
            last: logging.Handler | None = handler
            while last:  # a MemoryHandler passes records on to another handler
                last.setFormatter(RedactingFormatter(last.formatter, secrets))
                last = getattr(last, "target", None)
