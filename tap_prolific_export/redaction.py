"""Keep secrets out of logs and errors; pure, but for the log formatter at the end."""

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

# A query string, of a whole URL or of the request line that urllib3 logs at DEBUG. The query of
# a presigned URL is its signature, and which parameters make it one differs between hosts: all
# of it goes.
_QUERY = re.compile(r"""(?<=[^\s"'])\?[^\s"'<>\\]*=[^\s"'<>\\]*""")
# In a log of JSON the quotes around it have a backslash. The name of a shell variable is no secret.
_AUTHORIZATION = re.compile(
    r"""(?i)(authorization(?:\\?["'])?\s*[:=]\s*(?:\\?["'])?\w+\s+)(?!\$\w+\b)[^\s"'<>\\]+"""
)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` without the given secrets, query strings and authorization values.

    Args:
        text: Anything on its way to a log or an error.
        secrets: Literal secrets, such as the API token.
    """
    # The queries first: a secret that has been replaced would end them too early.
    text = _QUERY.sub(f"?{REDACTED}", text)
    for secret in filter(None, secrets):
        # In whatever case: a host's name is logged in small letters.
        text = re.sub(re.escape(secret), REDACTED, text, flags=re.IGNORECASE)
    return _AUTHORIZATION.sub(lambda match: f"{match[1]}{REDACTED}", text)


def host_of(url: str) -> str:
    """Return the host of a URL, which may be logged where the URL itself may not."""
    try:
        return urlsplit(url).hostname or "an unknown host"
    except ValueError:
        return "an unknown host"


def without_text(error: BaseException) -> BaseException:
    """Return an exception that prints like this one, without texts that nobody has checked.

    What a library says of a value that it did not expect quotes it, and the value may be a
    participant's. The texts of this tap's own errors are fit for a log.
    """
    return _namesake(error, {})


def _namesake(error: BaseException, made: dict[int, BaseException]) -> BaseException:
    if id(error) in made:  # contexts may form a circle
        return made[id(error)]
    kind = type(error)
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    text = str(error) if isinstance(error, TapError) else REDACTED
    make = type(kind.__name__, (Exception,), names)
    namesake: BaseException = make(text) if error.args else make()
    made[id(error)] = namesake
    if error.__cause__:
        namesake.__cause__ = _namesake(error.__cause__, made)
    if error.__context__:
        namesake.__context__ = _namesake(error.__context__, made)
    namesake.__suppress_context__ = error.__suppress_context__
    return namesake.with_traceback(error.__traceback__)


def _safe(record: logging.LogRecord) -> logging.LogRecord:
    """Return the record, or a copy of it in which the exception's text is not told."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return record
    record = copy.copy(record)
    namesake = without_text(error)
    record.exc_info = (type(namesake), namesake, namesake.__traceback__)
    record.exc_text = None  # what another formatter made of the exception before
    if not isinstance(error, TapError):
        # Who logs an exception likes to say in the message what it says.
        said = {id(error), *map(id, error.args)}
        name = type(error).__name__
        if id(record.msg) in said:
            record.msg = name
        if isinstance(record.args, tuple):
            record.args = tuple(name if id(arg) in said else arg for arg in record.args)
    return record


class RedactingFormatter(logging.Formatter):
    """Scrubs what another formatter makes of a record: message, traceback, extras and all.

    It sits on the handler, so that what other libraries log passes it, too. Of exceptions that
    are not this tap's own it leaves the names and the traceback.

    Args:
        inner: Makes the text.
        secrets: Literal secrets, such as the API token.
    """

    def __init__(self, inner: logging.Formatter | None, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        while isinstance(inner, RedactingFormatter):
            inner = inner.inner
        self.inner: logging.Formatter = inner or logging.Formatter()
        as_given = [*secrets]
        in_json = [json.dumps(secret)[1:-1] for secret in as_given]
        self.secrets = (*as_given, *in_json)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as scrubbed text."""
        try:
            text = self.inner.format(_safe(record))
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
            last: logging.Handler | None = handler
            while last:  # a MemoryHandler hands the record itself to another
                last.setFormatter(RedactingFormatter(last.formatter, secrets))
                last = getattr(last, "target", None)
