"""What a test run leaves behind and should not: processes, open ports and temporary files."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

# All processes of a test run have it in their environment, with the same value.
VARIABLE = "TESTS_OF_TAP_PROLIFIC_EXPORT"


@contextmanager
def watched() -> Iterator[None]:
    """Give all that runs within a temporary folder of its own, and look at what stays.

    Raises:
        AssertionError: Something stays.
    """
    folder = Path(tempfile.mkdtemp(prefix="tests-"))
    folder.chmod(0o711)  # PostgreSQL runs under another account
    before = {name: os.environ.get(name) for name in ("TMPDIR", VARIABLE)}
    os.environ |= {"TMPDIR": str(folder), VARIABLE: uuid.uuid4().hex}
    tempfile.tempdir = None  # so that it is looked up anew
    open_before = {*_ports()}  # the SDK's own tests are served from their collection on
    try:
        yield
        left = [*_files(folder), *_processes(os.environ[VARIABLE]), *({*_ports()} - open_before)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        tempfile.tempdir = None
    assert not left, f"The tests left behind: {', '.join(left)}"


def _files(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        if not path.name.startswith("pytest-of-"):  # what pytest itself keeps
            yield f"the temporary file {path.name}"


def _processes(mark: str) -> Iterator[str]:
    """Find those that have inherited our environment, or are our children."""
    ours = psutil.Process()
    for process in {*psutil.process_iter(), *ours.children(recursive=True)} - {ours}:
        try:
            is_child = ours in process.parents()
            if is_child or process.environ().get(VARIABLE) == mark:
                yield f"the process {process.pid} ({' '.join(process.cmdline())})"
        except psutil.Error:
            continue


def _ports() -> Iterator[str]:
    for connection in psutil.Process().net_connections("inet"):
        if connection.status == psutil.CONN_LISTEN:
            yield f"the port {connection.laddr.port}, on which something still listens"
