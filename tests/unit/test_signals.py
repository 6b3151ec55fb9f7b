"""What becomes of signals in this process."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tap_prolific_export import signals
from tap_prolific_export.signals import Terminated, Termination
from tests.support.processes import run

if TYPE_CHECKING:
    from collections.abc import Iterator


TERM, INT = signal.SIGTERM, signal.SIGINT
CODES = {TERM: 143, INT: 130}


@pytest.fixture
def _no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "HAS_TIMER", False)


@pytest.fixture
def _handlers() -> Iterator[None]:
    before = {signum: signal.getsignal(signum) for signum in CODES}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.usefixtures("_no_timer", "_handlers")
class TestTermination:
    def test_the_handlers_of_before_come_back(self) -> None:
        before = signal.getsignal(INT)
        with Termination().handled():
            assert signal.getsignal(INT) != before
        assert signal.getsignal(INT) == before

    def test_another_thread_than_the_main_one_handles_none(self) -> None:
        handlers = []

        def run() -> None:
            with Termination().handled():
                handlers.append(signal.getsignal(TERM))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert handlers == [signal.getsignal(TERM)]

    def test_what_is_held_is_done_whole(self) -> None:
        termination = Termination()
        done = []

        def run() -> None:
            with termination.handled(), termination.deferred():
                with termination.deferred():
                    done.append("inner")
                signal.raise_signal(TERM)
                done.append("outer")
                with termination.deferred():
                    done.append("another")
                done.append("outer still")

        with pytest.raises(Terminated):
            run()
        assert done == ["inner", "outer", "another", "outer still"]

    def test_its_end_is_final_whatever_stops_the_exception(self) -> None:
        with pytest.raises(Terminated) as caught, Termination().handled(), suppress(Terminated):
            signal.raise_signal(INT)
        assert caught.value.code == CODES[INT]

    def test_what_is_no_file_is_left_alone(self) -> None:
        text = io.StringIO()
        signals.discard(text)
        assert text.write("x") == 1

    def test_who_insists_is_obeyed_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: now)
        exits: list[int] = []
        monkeypatch.setattr(os, "_exit", exits.append)
        with pytest.raises(Terminated), Termination().handled():
            signal.raise_signal(TERM)
        signal.raise_signal(TERM)
        assert exits == []
        now += signals.PATIENCE_SECONDS + 1
        signal.raise_signal(INT)
        assert exits == [CODES[INT]]


LOST = """
import os, signal, threading
from tap_prolific_export import signals as output

output.PATIENCE_SECONDS = 0.2

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):  # the handler runs in here, and nobody hears of what it raises
            pass

try:
    with output.TERMINATION.handled():
        Finalized()
        threading.Event().wait(60)
except output.Terminated as end:
    raise SystemExit(end.code)
"""


@pytest.mark.skipif(not signals.HAS_TIMER, reason="needs a timer that sends signals")
def test_what_is_raised_where_nothing_comes_of_it_is_raised_once_more(tmp_path: Path) -> None:
    done = run(sys.executable, "-c", LOST, cwd=tmp_path)
    assert "ignored" in done.stderr
    assert done.returncode == 143


SLOW_TO_END = """
import signal, threading
from tap_prolific_export import signals as output

output.PATIENCE_SECONDS = 0.05

class Last:
    wait = threading.Event().wait

    def __del__(self):  # when Python clears its modules, and no longer handles signals
        self.wait(0.3)

last = Last()
try:
    with output.TERMINATION.handled():
        signal.raise_signal(signal.SIGTERM)
except output.Terminated as end:
    raise SystemExit(end.code)
"""


@pytest.mark.skipif(not signals.HAS_TIMER, reason="needs a timer that sends signals")
def test_the_exit_code_is_right_however_long_python_takes_to_end(tmp_path: Path) -> None:
    assert run(sys.executable, "-c", SLOW_TO_END, cwd=tmp_path).returncode == 143


NOT_INTERRUPTED = """
import os, signal, socket, threading
from pathlib import Path
from tap_prolific_export import signals as output

output.PATIENCE_SECONDS = 0.05
blocked, other = socket.socketpair()
main = Path(f"/proc/self/task/{os.getpid()}/stat")

def send():  # to this thread, so that it does not interrupt the main one
    while main.read_text().split()[2] != "S":
        pass
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

with output.TERMINATION.handled():
    threading.Thread(target=send).start()
    blocked.recv(1)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux")
def test_one_that_does_not_interrupt_what_blocks_is_noticed_all_the_same(tmp_path: Path) -> None:
    assert run(sys.executable, "-c", NOT_INTERRUPTED, cwd=tmp_path).returncode == 143
