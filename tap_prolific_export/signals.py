"""How a run leaves by stdout: in whole lines, and where a signal ends it, between two of them."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    Handler = Callable[[int, FrameType | None], None]

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Once we are told to end, nobody who reads from us is waited for longer than this.
PATIENCE_SECONDS = 2.0
# Windows has no timer that sends signals: there, whoever reads from us is waited for.
HAS_TIMER = hasattr(signal, "setitimer")


class Terminated(SystemExit):
    """A signal ends the process, with exit code 128 and its number, as shells have it.

    Nothing that handles errors stops it on its way out, and every ``finally`` on it runs.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signal = signal.Signals(signum)


class OutputClosedError(SystemExit):
    """Nobody reads stdout any more: the process ends, with exit code 1.

    As with `Terminated`, nothing that handles errors stops it: it is none of ours.
    """

    def __init__(self) -> None:
        super().__init__(1)


class Termination:
    """What SIGTERM and SIGINT do: they raise `Terminated` wherever the run is, but not in a line.

    There is one in a process, as there is one stdout. Its methods are the main thread's, which is
    where Python runs signal handlers.

    Attributes:
        output_lost: Whether nobody read stdout any more, so that a line may be incomplete.
    """

    def __init__(self) -> None:
        self.output_lost = False
        self._is_handled = False
        self._is_held = False
        self._told: int | None = None
        self._told_at = 0.0

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals until the context is left.

        Raises:
            Terminated: There was one, whatever has become of the error that it raised.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers: dict[int, Handler] = dict.fromkeys(SIGNALS, self._on_signal)
        if HAS_TIMER:
            handlers[signal.SIGALRM] = self._on_alarm
        before = {signum: signal.signal(signum, handlers[signum]) for signum in handlers}
        self._is_handled = True
        try:
            yield
        finally:
            self._is_handled = False
            if self._told is not None:  # the process is ending, and stays deaf until it has
                raise Terminated(self._told)
            for signum, handler in before.items():
                signal.signal(signum, handler or signal.SIG_DFL)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have a signal wait until the context is left: what is done in it is done whole."""
        was_held, self._is_held = self._is_held, True
        try:
            yield
        finally:
            self._is_held = was_held
            if self._told is not None and not was_held:
                raise Terminated(self._told)

    def _on_signal(self, signum: int, _frame: FrameType | None) -> None:
        if self._told is None:
            self._told, self._told_at = signum, time.monotonic()
            if HAS_TIMER:
                signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS, PATIENCE_SECONDS)
            if not self._is_held:
                raise Terminated(signum)
        elif time.monotonic() - self._told_at > PATIENCE_SECONDS:
            # We should have been gone by now. One that comes sooner is not out of impatience: a
            # terminal's Ctrl-C reaches us twice where our parent passes it on.
            os._exit(128 + signum)

    def _on_alarm(self, _signum: int, _frame: FrameType | None) -> None:
        """Let go of what keeps us: whoever reads our lines, or else whoever reads our log.

        A write that waits for them is tried again when this returns, and gets through.
        """
        if self._is_held:
            self.output_lost = True
            discard(sys.stdout)
        elif self._told is not None and self._is_handled and not _is_leaving():
            # What was raised has come to nothing: a finalizer, say, was at work just then.
            raise Terminated(self._told)
        else:
            discard(sys.stderr)

    @staticmethod
    def ignore_more() -> None:
        """Be deaf to further signals: while Python ends, its own handlers would change the code."""
        for signum in SIGNALS:
            signal.signal(signum, signal.SIG_IGN)


def _is_leaving() -> bool:
    """Whether what a signal has raised is on its way out."""
    error = sys.exc_info()[1]
    while error and not isinstance(error, Terminated):
        error = error.__context__
    return error is not None


def discard(stream: TextIO) -> None:
    """Have whatever is still written to a stream go nowhere."""
    with suppress(OSError, ValueError):  # closed, or no file at all
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


TERMINATION = Termination()
