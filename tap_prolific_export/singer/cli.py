"""The command line: an expected end is a message and an exit code, not a traceback."""

from __future__ import annotations

import gc
import io
import json
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
from singer_sdk.exceptions import ConfigValidationError, MapExpressionError, StreamMapConfigError
from singer_sdk.plugin_base import SingerCommand

from tap_prolific_export.errors import TapError
from tap_prolific_export.redaction import redact_logs
from tap_prolific_export.signals import TERMINATION, OutputClosedError, Terminated

if sys.platform == "linux":
    import fcntl
if TYPE_CHECKING:
    from collections.abc import Callable


# What a pipe has on Linux, and the most that everybody may give it. With the usual size, tap and
# target wake each other all the time.
USUAL_PIPE, LARGE_PIPE = 1 << 16, 1 << 20


def _spare_time() -> None:
    """Spare the process what costs time and changes nothing."""
    gc.freeze()  # what was imported stays to the end: no collection has to look at it
    if sys.platform == "linux":
        with suppress(OSError, ValueError):  # it is no pipe, or the user has too many
            out = sys.stdout.fileno()
            if fcntl.fcntl(out, fcntl.F_GETPIPE_SZ) == USUAL_PIPE:
                fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, LARGE_PIPE)


class JsonFile(click.File):
    """The file of an option, which must hold a JSON object.

    Args:
        parse: Returns what a text holds; raises ValueError if it is no JSON.
    """

    def __init__(self, parse: Callable[[str], Any]) -> None:
        super().__init__("rb")
        self._parse = parse

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> io.StringIO:
        """Return the file's JSON object as the SDK reads it: as a file.

        Raises:
            TapError: The file holds none. The error names option and file, and quotes neither
                the file nor the parser, whose errors may quote it.
        """
        file = super().convert(value, param, ctx)
        what = f"{param.opts[0] if param else ''} {file.name}:".strip()
        try:
            content = file.read()
            # Some shells write UTF-16, and some editors a byte order mark.
            found = self._parse(content.decode(json.detect_encoding(content)))
        except (ValueError, RecursionError):
            raise TapError(f"{what} is no valid JSON.") from None
        if not isinstance(found, dict):
            raise TapError(f"{what} is no JSON object.")
        return io.StringIO(json.dumps(found))


class Command(SingerCommand):
    """The command line: an expected end is a message and an exit code, not a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and end with exit code 143 or 130 where SIGTERM or SIGINT told us to.

        With 1 where nobody reads on.
        """
        _spare_time()
        try:
            with TERMINATION.handled():
                return self._main(*args, **kwargs)
        except OutputClosedError as end:
            self.logger.error(  # noqa: TRY400  # there is nothing to trace
                "Nobody reads the output any more. The next run goes on from the last state that "
                "was read."
            )
            sys.exit(end.code)
        except Terminated as end:
            code, name = end.code, end.signal.name
        # Everything that the run had open is closed now: only the exception held it.
        if TERMINATION.output_lost:
            what = "Nobody read the output, so the last state is not in it: the next run goes on "
            what += "from the last one that is."
        else:
            what = "The state so far is kept: the next run goes on from there."
        self.logger.warning("Ended by %s. %s", name, what)
        TERMINATION.ignore_more()
        sys.exit(code)

    def _main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and end with exit code 1 where the tap failed.

        A failure that it can name is a message. Any other goes to the log, too: what Python itself
        prints passes no redaction, and the texts of exceptions may quote a participant.
        """
        # The settings are not known yet, and errors about them may quote them.
        redact_logs([os.environ.get("PROLIFIC_TOKEN", "").strip()])
        try:
            return super().main(*args, **kwargs)
        except ConfigValidationError as error:  # raised where the SDK does not catch it
            for problem in error.errors:
                self.logger.error("%s", problem)  # noqa: TRY400
        except TapError as error:
            self.logger.error("%s", error)  # noqa: TRY400
        except (MapExpressionError, StreamMapConfigError) as error:
            self.logger.error("stream_maps: %s", error)  # noqa: TRY400
        except Exception as error:
            self.logger.exception("An unforeseen %s: please report it.", type(error).__name__)
        sys.exit(1)
