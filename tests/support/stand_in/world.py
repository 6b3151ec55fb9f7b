"""What the stand-in holds: data collections, their submissions, the export jobs."""

from __future__ import annotations

import re
import threading
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal

from tap_prolific_export.prolific.contract import COMPLETE, GENERATING, MAX_JOBS
from tests.support.stand_in import archives

if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap
    from pathlib import Path

Generation = Literal["idempotent", "fresh"]
Kind = Literal["collections", "batches"]


@dataclass
class Submission:
    """One submission.

    Attributes:
        line: As it stands in the archive's JSON Lines (for a batch: nested, with its tasks).
        submitted_at: What the API's `from` and `to` filters look at.
        study_id: What its `study_id` filter looks at.
        active_at: From when on it is in exports; None: from the first.
        uploads: Name below ``files/`` to content.
        expected: The `answers` that the table must have for it, by task id (None: no task).
    """

    line: dict[str, Any]
    submitted_at: datetime
    study_id: str
    active_at: datetime | None = field(default=None, kw_only=True)
    uploads: dict[str, bytes] = field(default_factory=dict)
    expected: dict[str | None, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Hosted:
    """One collection or batch.

    Attributes:
        metadata: What both the API and the archive say of it.
        layout: Its pages, as the API has them (``collection_items`` or ``batch_items``).
        instructions: All questions in a flat list, as the archive has them.
        submissions: By submission id, active ones only.
        lines: A batch's lines: one a submission with its tasks, one a submission and task, or
            only the file by task.
        layout_in_archive: Whether the archive's metadata holds the layout, too.
        extra_lines: Lines that the archive holds beside the submissions.
        archive_on_disk: An archive that is served instead of one made of the submissions.
    """

    kind: Kind
    id: str
    workspace_id: str
    metadata: dict[str, Any]
    layout: list[dict[str, Any]]
    instructions: list[dict[str, Any]]
    submissions: dict[str, Submission] = field(default_factory=dict)
    lines: Literal["nested", "flat", "by task"] = "nested"
    layout_in_archive: bool = True
    extra_lines: list[str] = field(default_factory=list)
    archive_on_disk: mmap | None = None

    @property
    def layout_field(self) -> str:
        """What the layout is called."""
        return "collection_items" if self.kind == "collections" else "batch_items"

    def archive(self, packed_at: datetime | None = None) -> bytes:
        """Return an archive of all submissions, packed at some time (by default, now)."""
        return archives.build(self, [*self.submissions.values()], packed_at)

    def save_archive(self, folder: Path) -> Path:
        """Write an archive of all submissions, named as Prolific names it; return its path."""
        path = folder / f"{self.id}-export-20261123T090000Z.zip"
        path.write_bytes(self.archive())
        return path


@dataclass
class Job:
    """One export job: a snapshot as of when it was requested.

    Attributes:
        of: Kind and id of the data collection.
        snapshot: Every submission that was active then, whatever the filter.
        questions: Every question that there was then.
    """

    export_id: str
    of: tuple[str, str]
    filter: dict[str, str]
    created_at: datetime
    snapshot: list[Submission]
    questions: list[dict[str, Any]]
    archive: bytes
    polls_left: int
    status: str = GENERATING
    finished_at: datetime | None = None


@dataclass(frozen=True)
class Fault:
    """An answer that is given instead of the true one.

    Attributes:
        server: ``api`` or ``archives``.
        request: Regular expression that is searched in "METHOD /path?query".
        times: How often; then the truth again.
        status: Of the answer; 0: none, the connection is closed.
        body: Of the answer.
        headers: Of the answer, beside its length; a Date stands for the true one.
        body_missing: How many bytes of the announced body do not come.
        after: Whether what is asked for is done all the same; only its answer is lost.
        stalls: The connection stays open all the same; this is set once that is so.
        first: How many such requests are told the truth before.
    """

    server: Literal["api", "archives"]
    request: str
    times: int = 1
    status: int = 500
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    body_missing: int = 0
    after: bool = False
    stalls: threading.Event | None = None
    first: int = 0

    def matches(self, request: tuple[str, str]) -> bool:
        """Whether it is of a request to a server, as "METHOD /path?query"."""
        return request[0] == self.server and re.search(self.request, request[1]) is not None


class World:
    """Everything the stand-in knows, and the knobs that tests turn.

    Attributes:
        generation: Which of the two generations of the API is spoken.
        token: The only token that is accepted.
        clock: What time it is.
        takes_time: Whether a job is ``generating`` for `generate_seconds`; else it is complete when
            it is looked at, but is said to have been finished so much later.
        takes_from: Whether `from` is understood; else it is refused.
        takes_ranges: Whether the archives' host understands Range; else it sends the whole archive.
        page_size: How many data collections a list shows at once.
        counts: Whether lists tell how many there are in all.
        takes_limit: Whether lists understand `limit`; else it is refused.
        max_jobs: How many jobs a data collection may have, in the newer generation.
        generating: The word for the status of a job that is being generated.
        polls_to_generate: How many times a job is ``generating`` when looked at.
        reuse_seconds: How long the idempotent generation hands out an archive again.
        generate_seconds: How long it takes to make an archive.
        slow: How long it takes for some data collections, by id.
        refuses_with: The status with which one job too many is refused.
        watch: Told of each request to the API, as "METHOD /path?query".
        url_seconds: How long a presigned URL works.
        forbidden: Ids without workspace access.
        not_enabled: Workspaces without the feature.
        faults: What goes wrong, first match first.
        handed_out: The job of which the archive was handed out last, by kind and id.
        requests: Every request so far, as (server, method, path with query, headers).
        bytes_sent: How many bytes each server has sent, headers included.
    """

    def __init__(self, *, generation: Generation = "fresh", token: str = "stand-in-token") -> None:
        self.generation = generation
        self.token = token
        self.generating = GENERATING
        self.page_size = 500
        self.counts = True
        self.takes_limit = True
        self.max_jobs = MAX_JOBS
        self.polls_to_generate = 0
        self.clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
        self.takes_from = True
        self.takes_ranges = True
        self.takes_time = False
        self.reuse_seconds = 0.0
        self.generate_seconds = 0.0
        self.slow: dict[str, float] = {}
        self.refuses_with = 409
        self.watch: Callable[[str], object] = lambda _: None
        self.url_seconds = 3600
        self.forbidden: set[str] = set()
        self.not_enabled: set[str] = set()
        self.faults: list[Fault] = []
        self._spent: Counter[int] = Counter()
        self.requests: list[tuple[str, str, str, dict[str, str]]] = []
        self.bytes_sent: Counter[str] = Counter()
        self.lock = threading.RLock()
        self.handed_out: dict[tuple[str, str], Job] = {}
        self.hosted: dict[tuple[str, str], Hosted] = {}
        self.jobs: dict[tuple[str, str], list[Job]] = {}

    def fault(self, server: str, request: str) -> Fault | None:
        """Return what is to go wrong with a request, and count it."""
        with self.lock:
            for fault in self.faults:
                left = fault.first + fault.times - self._spent[id(fault)]
                if left and fault.matches((server, request)):
                    self._spent[id(fault)] += 1
                    if left <= fault.times:
                        return fault
        return None

    def asked(self, server: str, method: str = "") -> list[str]:
        """Return the requests that a server has had, or those of a method.

        Each is "METHOD /path?query".
        """
        asked = [f"{method} {path}" for name, method, path, _ in self.requests if name == server]
        return [request for request in asked if request.startswith(method)]

    def now(self) -> datetime:
        return self.clock()

    def host(self, hosted: Hosted) -> Hosted:
        with self.lock:
            self.hosted[hosted.kind, hosted.id] = hosted
            self.jobs.setdefault((hosted.kind, hosted.id), [])
        return hosted

    def submit(self, hosted: Hosted, submission: Submission) -> None:
        with self.lock:
            hosted.submissions[submission.line["submission_id"]] = submission

    def withdraw(self, hosted: Hosted, submission_id: str) -> None:
        with self.lock:
            del hosted.submissions[submission_id]

    def start_job(self, hosted: Hosted, narrowed: dict[str, str]) -> Job | None:
        """Start or find a job; None where there are too many already."""
        with self.lock:
            jobs = self.jobs[hosted.kind, hosted.id]
            if self.generation == "idempotent":
                narrowed = {}
            for job in jobs:
                recent = (
                    self.generation == "idempotent"
                    and job.finished_at
                    and self.now() - job.finished_at < timedelta(seconds=self.reuse_seconds)
                )
                if job.filter == narrowed and (job.status == GENERATING or recent):
                    return job
            if self.generation == "fresh" and len(jobs) >= self.max_jobs:
                return None
            job = Job(
                export_id=str(uuid.uuid4()),
                of=(hosted.kind, hosted.id),
                filter=narrowed,
                snapshot=self.selected(hosted, {}),
                questions=list(hosted.instructions),
                created_at=self.now(),
                archive=archives.build(hosted, self.selected(hosted, narrowed), self.now()),
                polls_left=self.polls_to_generate,
            )
            jobs.insert(0, job)
            return job

    def poll(self, job: Job) -> None:
        with self.lock:
            if job.status != GENERATING:
                return
            seconds = self.slow.get(job.of[1], self.generate_seconds)
            done = job.created_at + timedelta(seconds=seconds)
            if job.polls_left <= 0 and (self.now() >= done or not self.takes_time):
                job.status = COMPLETE
                job.finished_at = max(self.now(), done)
            job.polls_left -= 1

    def selected(self, hosted: Hosted, narrowed: dict[str, str]) -> list[Submission]:
        start = datetime.fromisoformat(narrowed.get("from", "0001-01-01T00:00:00+00:00"))
        end = datetime.fromisoformat(narrowed.get("to", "9999-12-31T00:00:00+00:00"))
        return [
            submission
            for submission in hosted.submissions.values()
            if start <= submission.submitted_at <= end
            and (submission.active_at is None or submission.active_at <= self.now())
            and narrowed.get("study_id") in {None, submission.study_id}
        ]
