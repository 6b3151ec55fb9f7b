"""End the run on SIGTERM and SIGINT, and when nobody reads stdout, without tearing a line."""

from __future__ import annotations

import atexit
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
# After a signal, a blocked write to stdout or stderr is abandoned after this time.
PATIENCE_SECONDS = 2.0
# Windows has no interval timer. There, a blocked write delays the exit until it is read.
HAS_TIMER = hasattr(signal, "setitimer")


class Terminated(SystemExit):
    """A signal ends the process. The exit code is 128 plus its number, as in shells.

    It derives from SystemExit so that error handlers let it pass and every ``finally`` runs.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signal = signal.Signals(signum)


class OutputClosedError(SystemExit):
    """The reader of stdout has gone away: the process ends with exit code 1.

    It derives from SystemExit because it is no failure of the tap: error handlers let it pass.
    """


class Termination:
    """Handles SIGTERM and SIGINT: raises `Terminated`, but not while a line is being written.

    There is one instance per process, as there is one stdout. Call its methods in the main thread
    only: that is where Python runs signal handlers.

    Attributes:
        output_lost: Whether output was discarded, so that the last line may be incomplete.
    """

    def __init__(self) -> None:
        self.output_lost = False
        self._is_handled = False
        self._is_deferred = False
        self._signum: int | None = None
        self._received_at = 0.0

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals inside the context.

        Raises:
            Terminated: A signal arrived. Raised on leaving even if code inside swallowed it.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers: dict[int, Handler] = dict.fromkeys(SIGNALS, self._on_signal)
        if HAS_TIMER:
            handlers[signal.SIGALRM] = self._on_alarm
        before = {signum: signal.signal(signum, handlers[signum]) for signum in handlers}
        self._is_handled = True
        if HAS_TIMER:
            # Python handles a signal when a blocking call returns, but one that comes just before
            # the call does not interrupt it. The next alarm does.
            signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS, PATIENCE_SECONDS)
            atexit.register(_disarm)
        try:
            yield
        finally:
            self._is_handled = False
            if self._signum is not None:  # keep our handlers: the process is about to exit
                raise Terminated(self._signum)
            if HAS_TIMER:
                signal.setitimer(signal.ITIMER_REAL, 0)
            for signum, handler in before.items():
                signal.signal(signum, handler or signal.SIG_DFL)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Delay `Terminated` until the context is left, so that its body runs completely."""
        was_deferred, self._is_deferred = self._is_deferred, True
        try:
            yield
        finally:
            self._is_deferred = was_deferred
            if self._signum is not None and not was_deferred:
                raise Terminated(self._signum)

    def _on_signal(self, signum: int, _frame: FrameType | None) -> None:
        if self._signum is None:
            self._signum, self._received_at = signum, time.monotonic()
            if HAS_TIMER:
                signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS, PATIENCE_SECONDS)
            if not self._is_deferred:
                raise Terminated(signum)
        elif time.monotonic() - self._received_at > PATIENCE_SECONDS:
            # The shutdown hangs, so exit at once. Ignore a second signal that comes sooner: one
            # Ctrl-C can reach us twice, from the terminal and from the parent process.
            os._exit(128 + signum)

    def _on_alarm(self, _signum: int, _frame: FrameType | None) -> None:
        """Discard the output that blocks the exit: stdout inside a line, otherwise stderr."""
        if self._signum is None:
            return
        # Python retries the blocked write when this handler returns; the write then succeeds.
        if self._is_deferred:
            self.output_lost = True
            discard(sys.stdout)
        elif self._is_handled and not _is_leaving():
            # The first `Terminated` was lost, for example because a finalizer was running.
            raise Terminated(self._signum)
        else:
            discard(sys.stderr)

    @staticmethod
    def ignore_more() -> None:
        """Ignore further signals: Python's own handlers would change the exit code."""
        for signum in SIGNALS:
            signal.signal(signum, signal.SIG_IGN)


def _disarm() -> None:
    """Stop the timer: once Python no longer handles its signal, that would kill the process."""
    with suppress(OSError, ValueError):
        sys.stderr.flush()  # which may still block, and then needs the timer
    signal.setitimer(signal.ITIMER_REAL, 0)


def _is_leaving() -> bool:
    """Whether a `Terminated` is already propagating."""
    error = sys.exc_info()[1]
    while error and not isinstance(error, Terminated):
        error = error.__context__
    return error is not None


def discard(stream: TextIO) -> None:
    """Redirect a stream to the null device."""
    with suppress(OSError, ValueError):  # the stream is closed or has no file descriptor
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


TERMINATION = Termination()
deferred = TERMINATION.deferred
