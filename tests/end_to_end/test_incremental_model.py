"""A law: after each successful run the target holds what Prolific held when it was asked.

Hypothesis makes up a life of two data collections: responses arrive, become active late, are
corrected and withdrawn, questions are added; other people export, settings and selection change,
archives expire from the cache; runs happen, fail and are killed. The stand-in serves over real
HTTP, on a clock of its own; the target upserts and keeps the last STATE that reached it whole.
"""

from __future__ import annotations

import io
import json
import os
from contextlib import redirect_stdout, suppress
from copy import deepcopy
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import tap_prolific_export.singer.state as state_module
from tap_prolific_export.archive.http_source import TAIL
from tap_prolific_export.errors import FatalError
from tests.support.expected import KEYS, OF_RESPONSES
from tests.support.memory_target import MemoryTarget
from tests.support.stand_in import Fault, Hosted, StandIn, Submission, World
from tests.support.tap import Runner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.stand_in.world import Job

BEGIN = datetime(2026, 11, 1, tzinfo=timezone.utc)
STUDIES = ("study-a", "study-b")
# An API that does not filter may hand out an archive that is this old: see deliveries.py.
DOUBT = timedelta(hours=1)


class KilledError(BaseException):
    """The process is no more."""


class Pipe(io.StringIO):
    """A standard output that ends after so many characters, with the process."""

    def __init__(self, limit: int | None) -> None:
        super().__init__()
        self._left = limit

    def write(self, text: str, /) -> int:
        if self._left is not None:
            super().write(text[: self._left])
            self._left = max(0, self._left - len(text))
            if not self._left:
                raise KilledError
            return len(text)
        return super().write(text)


class Life(RuleBasedStateMachine):
    """What happens to the data collections, and to the runs."""

    # How they begin:

    @initialize(
        generation=st.sampled_from(["fresh", "idempotent"]),
        time_field=st.sampled_from(["submitted_at", "completed_at", "created_at", None]),
        lookback=st.sampled_from([0, 3600, 86_400]),
        reuse=st.sampled_from([0, 1800, 7200]),
        takes_from=st.booleans(),
        lines=st.sampled_from(["nested", "flat"]),
    )
    def begin(  # noqa: PLR0917
        self,
        generation: Any,
        time_field: str | None,
        lookback: int,
        reuse: int,
        takes_from: bool,  # noqa: FBT001
        lines: Any,
    ) -> None:
        self.now = BEGIN
        self.world = World(generation=generation)
        self.world.clock = lambda: self.now
        self.world.reuse_seconds = reuse
        self.world.takes_from = takes_from
        self.world.generate_seconds = 600
        self.time_field = time_field
        self.lookback = timedelta(seconds=lookback)
        self.hosted = [
            self.world.host(
                Hosted(
                    kind=kind,
                    id=f"the-{kind}",
                    workspace_id="w",
                    metadata={"name": kind},
                    layout=[],
                    instructions=[],
                    lines=lines,
                )
            )
            for kind in ("collections", "batches")
        ]
        self.count = 0
        for hosted in self.hosted:
            self.ask(hosted)
        self.stand_in = StandIn(self.world).__enter__()
        self.runner = Runner(self.stand_in)
        self.config: dict[str, Any] = {
            "collection_ids": ["the-collections"],
            "batch_ids": ["the-batches"],
            "lookback_seconds": lookback,
        }
        self.catalog = self.runner.catalog(**self.config)
        self.selected = set(KEYS)
        self.target = MemoryTarget()

    def teardown(self) -> None:
        if hasattr(self, "stand_in"):
            self.stand_in.__exit__(None, None, None)

    # What happens at Prolific:

    @rule(minutes=st.sampled_from([1, 20, 90, 60 * 23, 60 * 49]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(
        which=st.integers(0, 1),
        late=st.sampled_from([0, 0, 0, 0.5, 1]),
        study=st.sampled_from(STUDIES),
        upload=st.booleans(),
    )
    def somebody_responds(
        self,
        which: int,
        late: float,
        study: str,
        upload: bool,  # noqa: FBT001
    ) -> None:
        self.count += 1
        id_ = f"s{self.count}"
        uploads = {f"{id_}_photo.png": id_.encode()} if upload else {}
        submission = Submission(
            {}, self.now, study, uploads, active_at=self.now + late * self.lookback
        )
        self.hosted[which].submissions[id_] = submission
        self.write(self.hosted[which], id_, "first")

    @rule(which=st.integers(0, 1), pick=st.integers(0, 99))
    def a_response_is_corrected(self, which: int, pick: int) -> None:
        found = self.hosted[which].submissions
        recent = [id_ for id_ in found if self.now - found[id_].submitted_at < self.lookback]
        if recent:
            self.count += 1
            self.write(self.hosted[which], recent[pick % len(recent)], f"corrected {self.count}")

    @rule(which=st.integers(0, 1), pick=st.integers(0, 99))
    def a_response_is_withdrawn(self, which: int, pick: int) -> None:
        found = [*self.hosted[which].submissions]
        if found:
            del self.hosted[which].submissions[found[pick % len(found)]]

    @rule(which=st.integers(0, 1))
    def a_question_is_added(self, which: int) -> None:
        self.ask(self.hosted[which])

    @rule(which=st.integers(0, 1), polls=st.integers(0, 1))
    def somebody_else_exports(self, which: int, polls: int) -> None:
        job = self.world.start_job(self.hosted[which], {})
        if job and polls:
            self.world.poll(job)

    # What happens to the tap:

    @rule(streams=st.sets(st.sampled_from([*OF_RESPONSES, "instructions"])))
    def streams_are_selected(self, streams: set[str]) -> None:
        self.selected = {"collections", *streams}

    @rule()
    def all_streams_are_selected(self) -> None:
        self.selected = set(KEYS)

    @rule(study=st.sampled_from([None, *STUDIES]))
    def the_study_changes(self, study: str | None) -> None:
        self.config["study_id"] = study

    @rule(start=st.sampled_from([None, None, BEGIN + timedelta(hours=30)]))
    def the_start_date_changes(self, start: datetime | None) -> None:
        self.config["start_date"] = start and start.isoformat()

    @rule(keys=st.sampled_from(["label", "instruction_id"]))
    def the_answer_keys_change(self, keys: str) -> None:
        self.config["answer_keys"] = keys

    @rule()
    def the_state_is_withheld(self) -> None:
        self.target.state = {}

    @rule(full=st.sampled_from([False, False, False, True]))
    def a_run_succeeds(self, full: bool) -> None:  # noqa: FBT001
        self.run(full=full)
        self.check()

    @rule(
        fault=st.sampled_from(
            [
                Fault("api", "POST .*collections", status=403),
                Fault("api", "POST .*batches", status=403),
                Fault("archives", "", times=1, status=403),
                Fault("archives", "", times=1, status=200, body=b"no ZIP"),
            ]
        )
    )
    def a_run_fails(self, fault: Fault) -> None:
        self.world.faults = [fault]
        with suppress(FatalError):  # what is unchanged may not get as far as its fault
            self.run()
        self.world.faults = []

    @rule(share=st.floats(0, 1))
    def a_run_is_killed(self, share: float) -> None:
        before, jobs = deepcopy(self.target), deepcopy(self.world.jobs)
        self.run()
        length = self.written
        self.target, self.world.jobs = before, jobs
        self.run(limit=max(1, int(length * share)))

    @precondition(lambda self: self.target.state)
    @rule()
    def a_run_follows_at_once(self) -> None:
        """It has nothing to say, but for what lies within the lookback."""
        self.run()
        self.check()
        newest = {of: job.created_at for of, job in self.world.handed_out.items()}
        self.world.requests.clear()
        self.run()
        self.check()
        if not self.selected & set(OF_RESPONSES):
            return
        archives = [request for request in self.world.requests if request[0] == "archives"]
        if self.world.generation == "idempotent" and self.world.reuse_seconds:
            assert self.target.loaded == {}
            assert all(headers.get("Range") == f"bytes=-{TAIL}" for _, _, _, headers in archives)
            assert len(archives) == len(self.hosted)
        chooses = self.world.generation == "fresh" and self.world.takes_from
        if chooses or self.time_field in {"submitted_at", "completed_at"}:
            reach = self.lookback + (timedelta() if chooses else DOUBT)
            for hosted in self.hosted:
                begin = newest[hosted.kind, hosted.id] - reach
                for id_ in self.emitted.get(hosted.id, ()):
                    assert hosted.submissions[id_].submitted_at >= begin

    # What must be so:

    @invariant()
    def what_is_known_to_be_withdrawn_is_so(self) -> None:
        """Whatever the runs have come to: nothing that lives looks withdrawn."""
        for hosted in self.hosted if hasattr(self, "target") else ():
            full = self.full_exported_at(hosted)
            for stream in ("responses",) if full else ():
                for row in self.rows(stream, hosted):
                    if row["submission_id"] in hosted.submissions:
                        assert row["exported_at"] >= full, row

    def check(self) -> None:
        for hosted in self.hosted:
            if not self.selected & set(OF_RESPONSES):
                continue
            job = self.world.handed_out[hosted.kind, hosted.id]
            wanted = {s.line["submission_id"]: s for s in job.snapshot if self.wants(s)}
            full = self.full_exported_at(hosted)
            for stream in self.selected & set(OF_RESPONSES):
                self.check_rows(stream, hosted, job, wanted, full)
            if "instructions" in self.selected:
                found = {row["instruction_id"] for row in self.rows("instructions", hosted)}
                assert {question["id"] for question in job.questions} <= found

    def check_rows(
        self,
        stream: str,
        hosted: Hosted,
        job: Job,
        wanted: dict[str, Submission],
        full: str | None,
    ) -> None:
        expected = self.expected(stream, wanted)
        found = {self.key(stream, row): row for row in self.rows(stream, hosted)}
        for key, text in expected.items():
            assert key in found, f"{stream}: {key} is not there"
            assert text is None or text in json.dumps(found[key]), f"{stream}: {found[key]}"
            if full:
                assert found[key]["exported_at"] >= full, f"{stream}: {key} looks withdrawn"
        [row] = self.rows("collections", hosted)
        just_now = full == row["exported_at"] and row["export_filter"] is None
        if just_now and job.filter == {}:  # all that was exported lives, and nothing else does
            living = {key for key, row in found.items() if row["exported_at"] >= full}
            assert living == expected.keys(), stream

    def expected(
        self, stream: str, wanted: dict[str, Submission]
    ) -> dict[tuple[str, ...], str | None]:
        rows: dict[tuple[str, ...], str | None] = {}
        for id_, submission in wanted.items():
            tasks = submission.line.get("tasks", [submission.line])
            for task in tasks:
                task_id = task.get("task_id", "")
                response = f"{id_}:{task_id}" if task_id else id_
                if stream == "responses":
                    rows[response,] = next(iter(task["responses"].values()))["value"]
                elif stream == "answers":
                    for question, entry in task["responses"].items():
                        rows[response, question] = entry["value"]
                elif stream == "tasks" and task_id:
                    rows[task_id,] = None
            if stream == "files":
                rows |= {(f"files/{name}",): id_ for name in submission.uploads}
        return rows

    def key(self, stream: str, row: dict[str, Any]) -> tuple[str, ...]:
        names = {"responses": ("response_id",), "answers": ("response_id", "instruction_id")}
        names |= {"tasks": ("task_id",), "files": ("path",)}
        return tuple(row[name] for name in names[stream])

    # How it is done:

    def ask(self, hosted: Hosted) -> None:
        number = len(hosted.instructions)
        id_ = f"q-{hosted.kind}-{number}"
        hosted.instructions.append(
            {"id": id_, "type": "free_text", "description": f"Question {number}?"}
        )
        hosted.layout = [{"page_items": hosted.instructions}]

    def write(self, hosted: Hosted, id_: str, text: str) -> None:
        """Write a submission's line; an export that was made before keeps what it had."""
        old = hosted.submissions[id_]
        answers = {q["id"]: {"value": f"{id_} {text}"} for q in hosted.instructions}
        line: dict[str, Any] = {"submission_id": id_, "study_id": old.study_id}
        if self.time_field:
            line[self.time_field] = old.submitted_at.isoformat()
        if hosted.kind == "collections":
            line["responses"] = answers
        else:
            names = ("t1", f"t{len(id_) % 2 + 2}")
            line["tasks"] = [
                {"task_id": name, "datapoint": {"n": name}, "responses": answers} for name in names
            ]
        hosted.submissions[id_] = Submission(
            line, old.submitted_at, old.study_id, old.uploads, active_at=old.active_at
        )

    def wants(self, submission: Submission) -> bool:
        study, start = self.config.get("study_id"), self.config.get("start_date")
        return (study is None or submission.study_id == study) and (
            start is None or submission.submitted_at >= datetime.fromisoformat(start)
        )

    def run(self, *, full: bool = False, limit: int | None = None) -> None:
        for jobs in self.world.jobs.values():  # the researcher makes room
            if self.world.generation == "fresh":
                jobs[:] = [job for job in jobs if job.status == "generating"]
        catalog = deepcopy(self.catalog)
        for each in catalog["streams"]:
            if full:
                each["replication_method"] = "FULL_TABLE"
            for metadata in each["metadata"]:
                if metadata["breadcrumb"] == []:
                    metadata["metadata"]["selected"] = each["tap_stream_id"] in self.selected
        self.now += timedelta(seconds=1)
        out = Pipe(limit)
        try:
            tap = self.runner.tap(catalog, self.target.state, **self.config)
            with redirect_stdout(out):
                tap.sync_all()
        except KilledError:
            note("killed")
        finally:
            text = out.getvalue()
            self.written = len(text)
            self.target.load(text)
            self.emitted: dict[str, set[str]] = {}
            for line in text.splitlines()[: text.count("\n")]:
                message = json.loads(line)
                if message.get("stream") == "responses" and message["type"] == "RECORD":
                    row = message["record"]
                    found = self.emitted.setdefault(row["data_collection_id"], set())
                    found.add(row["submission_id"])
            note(f"{self.now}: {dict(self.target.loaded)}")

    def rows(self, stream: str, hosted: Hosted) -> Iterator[dict[str, Any]]:
        for row in self.target.rows(stream):
            if row["data_collection_id"] == hosted.id:
                yield row

    def full_exported_at(self, hosted: Hosted) -> str | None:
        found = [row["full_exported_at"] for row in self.rows("collections", hosted)]
        return found[0] if found else None


@pytest.mark.usefixtures("_every_state")
def test_the_target_holds_what_prolific_held() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=int(os.environ.get("LIVES", "40")),
            stateful_step_count=20,
            deadline=None,
            phases=[Phase.reuse, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def _every_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """STATE is written after each data collection, however soon after the last."""
    monkeypatch.setattr(state_module, "INTERVAL_SECONDS", 0.0)
