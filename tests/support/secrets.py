"""Content in which all that is secret or personal bears a mark, and a search for the marks.

`Scene` runs the tap against it, as a process at DEBUG, and keeps all that the process writes.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.support.processes import run_tap
from tests.support.stand_in import Fault, StandIn, World, samples
from tests.support.tap import Output, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from tests.support.stand_in import Hosted, Submission
    from tests.support.stand_in.world import Generation, Job


MARK = "mArKeD7"


# All over it, so that a piece of it is found, too.
TOKEN = "sk-" + "-".join([MARK] * 6)
OPTIONS = [(), ("--discover",), ("--test",)]
LOG = "tap.log"


# An answer that may take its time is given at once.
AWAKE = "import time\ntime.sleep = lambda seconds: None\n"


def marked_text(what: str, number: int = 0) -> str:
    return f"{what}-{MARK}-{number}"


def marks_in(text: str) -> list[str]:
    """Return the words that bear the mark, whatever became of their case."""
    return sorted({*re.findall(rf"""[^\s"',{{}}]*{MARK}[^\s"',{{}}]*""", text, re.IGNORECASE)})


class MarkedWorld(World):
    """A world whose export jobs are named after their data collections.

    Attributes:
        damage: What becomes of the archive of a data collection.
    """

    def __init__(self, generation: Generation) -> None:
        super().__init__(generation=generation, token=TOKEN)
        self.damage: dict[str, Callable[[bytes], bytes]] = {}

    def start_job(self, hosted: Hosted, narrowed: dict[str, str]) -> Job | None:
        job = super().start_job(hosted, narrowed)
        if job and not job.export_id.startswith(f"{hosted.id}."):
            job.export_id = f"{hosted.id}.{job.export_id}"
            job.archive = self.damage.get(hosted.id, bytes)(job.archive)
        return job

    def spoil(self, id_: str, damage: Callable[[bytes], bytes] | Fault | None = None) -> Hosted:
        """Host a collection with which something is wrong."""
        if isinstance(damage, Fault):
            self.faults.append(damage)
        elif damage:
            self.damage[id_] = damage
        return self.host(mark_all(samples.breakfast_diary(2, id_=id_)))


class MarkedStandIn(StandIn):
    """Signs with a query of which every value bears the mark."""

    def presign(self, job: Job) -> tuple[str, datetime]:
        url, expires = super().presign(job)
        place, _, query = url.partition("?")
        known = self.signed.pop(query)
        query = "&".join(f"{part}{MARK}".replace("=", f"={MARK}", 1) for part in query.split("&"))
        self.signed[query] = known
        return f"{place}?{query}", expires


def mark_all(hosted: Hosted) -> Hosted:
    """Mark whatever comes from participants."""
    submissions = [*hosted.submissions.values()]
    hosted.submissions.clear()
    for number, submission in enumerate(submissions):
        mark_submission(submission, number)
        hosted.submissions[submission.line["submission_id"]] = submission
    return hosted


def mark_submission(submission: Submission, number: int) -> Submission:
    """Mark whatever a participant has said, sent, or is called."""
    line = submission.line
    line |= {
        "submission_id": marked_text("submission", number),
        "participant_id": marked_text("participant", number),
        "note": marked_text("note", number),  # a field that nobody knows
        "created_at": marked_text("when", number),
    }
    for task in line.get("tasks", ()):
        task["datapoint"]["caption"] = marked_text("caption", number)
        task["responses"]["b-better"] = {"value": marked_text("answer", number)}
        task["responses"]["b-fits"] = {"value": marked_text("answer", number)}  # no boolean
    if "responses" in line:
        photo = f"{marked_text('submission', number)}_{marked_text('upload', number)} 1.png"
        submission.uploads = {photo: samples.png(number), f"{MARK}/stray-{number}.png": b"?"}
        line["responses"] |= {
            "q-name": {"value": marked_text("answer", number)},
            "q-minutes": {"value": marked_text("answer", number)},  # no number
            "q-drink": {"value": marked_text("answer", number)},  # no option
            "q-mood": {"value": [{"value": 1, "explanation": marked_text("why", number)}]},
            "q-weight": {"value": "3", "unit": marked_text("unit", number)},
            "q-photo": {"value": {"path": f"files/{photo}", "file_name": f"{MARK} 1.png"}},
            "q-stars": {"value": {marked_text("answer", number): {}}},  # no stars
            marked_text("answer", number): {"value": 1},  # to a question that nobody knows
        }
    return submission


@dataclass(frozen=True)
class Written:
    """What a process wrote.

    Attributes:
        code: Its exit code.
        out: To stdout.
        err: To stderr.
        files: Name to content of the files that it left.
    """

    code: int
    out: str
    err: str
    files: Mapping[str, str]

    @property
    def messages(self) -> Output:
        return read(self.out)

    @property
    def told(self) -> str:
        """Everything but RECORD messages."""
        lines = [line for line in self.out.splitlines() if not is_record(line)]
        return "\n".join([*lines, self.err, *self.files.values()])

    @property
    def records(self) -> str:
        return "\n".join(filter(is_record, self.out.splitlines()))

    def said_of(self, id_: str) -> str:
        """What the log says of a collection."""
        lines = self.err.splitlines()
        return "\n".join(line for line in lines if f"collection {id_}: " in line)


def is_record(line: str) -> bool:
    try:
        message = json.loads(line)
    except ValueError:
        return False
    return isinstance(message, dict) and message.get("type") == "RECORD"


def assert_tells_nothing(*written: Written) -> None:
    for each in written:
        assert marks_in(each.told) == []
        assert not [name for name in each.files if name != LOG]


@dataclass
class Scene:
    """The real tap against a world of marks."""

    stand_in: StandIn
    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(
        self,
        *args: str,
        config: Mapping[str, Any] | None = None,
        files: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Written:
        """Run the tap at DEBUG.

        Args:
            *args: Options.
            config: Settings beside, or in the place of, those that work.
            files: Written to the working directory first.
            env: Variables beside ours.
        """
        folder = self.folder / str(next(self.numbers))
        (folder / "tmp").mkdir(parents=True)
        path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        config = {**self.config, **(config or {})}
        files = {"sitecustomize.py": AWAKE, **(files or {})}
        for name, content in files.items():
            (folder / name).write_text(content)
        environment = {
            "PYTHONPATH": os.pathsep.join(path),
            "TMPDIR": str(folder / "tmp"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TAP_PROLIFIC_EXPORT_LOGLEVEL": "DEBUG",
            **(env or {}),
        }
        done = run_tap(*args, config=config, folder=folder, **environment)
        left = {
            found.name: found.read_text(errors="replace")
            for found in folder.rglob("*")
            if found.is_file() and found.name not in {*files, "config.json"}
        }
        return Written(done.returncode, done.stdout, done.stderr, left)

    def with_each_option(
        self,
        *args: str,
        config: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> list[Written]:
        """Sync, discover and test."""
        return self.run_all(
            *(partial(self.run, *o, *args, config=config, env=env) for o in OPTIONS)
        )

    def run_all(self, *runs: Callable[[], Written]) -> list[Written]:
        """Run several at a time."""
        with ThreadPoolExecutor(2) as executor:
            return [future.result() for future in [executor.submit(run) for run in runs]]


def rewritten(archive: bytes, name: str, content: bytes | None) -> bytes:
    """Return an archive with other content in a member, or without it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(buffer, "w") as new:
        for info in old.infolist():
            if info.filename != name:
                new.writestr(info, old.read(info))
            elif content is not None:
                new.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def with_lines(content: bytes) -> Callable[[bytes], bytes]:
    return lambda archive: rewritten(archive, "responses.jsonl", content)
