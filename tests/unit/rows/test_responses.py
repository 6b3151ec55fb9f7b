from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tap_prolific_export.rows.line_ids import decode_ids
from tap_prolific_export.rows.responses import Response, responses
from tap_prolific_export.rows.responses import tasks as tasks_of
from tests.support.questions import scalars

if TYPE_CHECKING:
    from random import Random

Line = dict[str, Any]


def only(line: Line) -> Response:
    [response] = responses(line)
    return response


IDS: dict[str, tuple[Line, list[str]]] = {
    "response-id-before-all": (
        {"response_id": "r", "id": "i", "submission_id": "s", "task_id": "t"},
        ["r"],
    ),
    "id-before-submission": ({"id": "i", "submission_id": "s"}, ["i"]),
    "submission": ({"submission_id": "s", "participant_id": "p"}, ["s"]),
    "submission-and-task": ({"submission_id": "s", "task_id": "t"}, ["s:t"]),
    "response-id-that-is-no-text": ({"response_id": 7, "id": "i"}, ["i"]),
    "ids-that-are-no-text": ({"response_id": 7, "id": None, "submission_id": "s"}, ["s"]),
    "empty-response-id": ({"response_id": "", "id": "i", "submission_id": "s"}, ["i"]),
    "empty-ids": ({"response_id": "", "id": "", "submission_id": "s"}, ["s"]),
    "empty-task": ({"submission_id": "s", "task_id": ""}, ["s"]),
    "tasks": (
        {"submission_id": "s", "tasks": [{"task_id": "t"}, {"task_id": "u"}]},
        ["s:t", "s:u"],
    ),
    "tasks-with-ids": (
        {"submission_id": "s", "tasks": [{"response_id": "r"}, {"id": "i", "task_id": "t"}]},
        ["r", "i"],
    ),
    "id-of-the-line-is-not-its-tasks": (
        {"id": "i", "response_id": "r", "submission_id": "s", "tasks": [{"task_id": "t"}]},
        ["s:t"],
    ),
    "submission-in-the-task": ({"tasks": [{"submission_id": "s", "task_id": "t"}]}, ["s:t"]),
}


@pytest.mark.parametrize(("line", "ids"), IDS.values(), ids=IDS)
def test_a_response_has_the_best_id_that_its_line_has(line: Line, ids: list[str]) -> None:
    assert [response.id for response in responses(line)] == ids


def test_a_line_without_any_id_is_known_by_its_content() -> None:
    said = only({"participant_id": "p", "responses": {"q": 1, "r": 2}}).id
    assert said.startswith("line-")
    assert len(bytes.fromhex(said.removeprefix("line-"))) == 32
    assert only({"responses": {"r": 2, "q": 1}, "participant_id": "p"}).id == said
    assert only({"participant_id": "p", "responses": {"q": 1, "r": 3}}).id != said


def test_tasks_without_any_id_are_known_by_their_content() -> None:
    line: Line = {"participant_id": "p", "tasks": [{"task_id": "t"}, {"task_id": "u"}]}
    other = {**line, "participant_id": "o"}
    ids = [response.id for response in [*responses(line), *responses(other)]]
    assert len(set(ids)) == 4
    assert [response.id for response in responses(line)] == ids[:2]


def test_a_line_of_a_collection_is_one_response() -> None:
    answers = {"q": {"value": "tea"}, "r": None}
    ids = {"submission_id": "s", "participant_id": "p", "study_id": "y"}
    found = only({**ids, "responses": answers, "status": "ACTIVE"})
    assert found == Response(
        "s", "s", "p", "y", None, None, None, None, answers, {"status": "ACTIVE"}
    )


def test_a_flat_line_of_a_batch_is_one_response_to_one_task() -> None:
    about = {"caption": "A dog"}
    found = only({"submission_id": "s", "task_id": "t", "responses": {"q": 1}, "datapoint": about})
    assert found == Response("s:t", "s", None, None, "t", None, None, about, {"q": 1}, {})


def test_a_nested_line_of_a_batch_is_a_response_for_each_task() -> None:
    line = {
        "submission_id": "s",
        "participant_id": "p",
        "device": "phone",
        "tasks": [
            {"task_id": "u", "datapoint": {"n": 1}, "responses": {"q": 1}},
            {"task_id": "t", "metadata": {"n": 2}, "responses": {"q": 2}},
        ],
    }
    assert list(responses(line)) == [
        Response(
            f"s:{task}", "s", "p", None, task, None, None, {"n": n}, {"q": n}, {"device": "phone"}
        )
        for task, n in [("u", 1), ("t", 2)]
    ]


RECORD: Line = {
    "id": "r1",
    "submission_id": "s1",
    "participant_id": "p",
    "task_id": "t1",
    "response": {"instruction_id": "i1", "type": "free_text", "answer": [{"value": "x"}]},
}


def test_a_line_may_be_one_answer() -> None:
    entry = RECORD["response"]
    found = only(RECORD | {"schema_version": 2})
    rest = {"schema_version": 2}
    assert found == Response("r1", "s1", "p", None, "t1", None, None, None, {"i1": entry}, rest)
    assert only(RECORD | {"response": [entry]}) == only(RECORD)
    assert only({**RECORD, "response": {"i1": entry}}) == only(RECORD)
    by_task = {"task_id": "t1", "submissions": [{**RECORD, "task_id": "t1"}]}
    assert only(by_task).answers == {"i1": entry}
    also = {**RECORD, "responses": {"i2": 1}}  # both are there: nothing is lost
    assert (only(also).answers, only(also).rest) == ({"i2": 1}, {"response": entry})


@pytest.mark.parametrize("response", [7, "x", None, {"instruction_id": "i"}, {}], ids=repr)
def test_a_single_response_of_any_kind_is_kept(response: Any) -> None:
    found = only({"submission_id": "s", "response": response})
    kept = found.rest.get("response", next(iter(found.answers.values()), found.answers))
    assert kept == response


def test_answers_that_name_their_tasks_are_a_response_for_each() -> None:
    entry = {"instruction_id": "q", "value": 1}
    other = {"instruction_id": "q", "value": 2}
    more = {"instruction_id": "r", "value": 3}
    answers = [{"task_id": "t", **entry}, {"task_id": "u", **other}, {"task_id": "t", **more}]
    found = responses({"submission_id": "s", "device": "phone", "responses": answers})
    assert [(each.id, each.task_id, each.answers, each.rest) for each in found] == [
        ("s:t", "t", {"q": entry, "r": more}, {"device": "phone"}),
        ("s:u", "u", {"q": other}, {"device": "phone"}),
    ]
    unnamed = [*answers, {"instruction_id": "q", "value": 4}]
    assert only({"submission_id": "s", "responses": unnamed}).rest == {"responses": unnamed}


def test_tasks_and_submissions_may_stand_under_their_ids() -> None:
    entry = {"instruction_id": "q", "value": 1}
    task = {"datapoint": {"n": 1}, "responses": {"q": 1}}
    tasks = {"t": task, "u": {"task_id": "own", "responses": {"q": 2}}, "v": [entry]}
    found = responses({"submission_id": "s", "tasks": tasks})
    assert [(each.id, each.datapoint, each.answers) for each in found] == [
        ("s:t", {"n": 1}, {"q": 1}),
        ("s:own", None, {"q": 2}),
        ("s:v", None, {"q": entry}),
    ]
    by_task = {"task_id": "t", "submissions": {"s": {"participant_id": "p", "responses": {"q": 1}}}}
    assert (only(by_task).id, only(by_task).participant_id) == ("s:t", "p")


@pytest.mark.parametrize("tasks", [[], None, "t", {}, {"t": "x"}, [{"task_id": "t"}, "u"], [[]]])
def test_tasks_that_are_none_leave_one_response_and_stay(tasks: Any) -> None:
    response = only({"submission_id": "s", "tasks": tasks})
    assert (response.id, response.rest) == ("s", {"tasks": tasks})


# Fields of a line and of its task, and what of the line its response has beside its own.
SHADOWED: dict[str, tuple[Line, Line, Line]] = {
    "field": ({"status": "sent"}, {"status": "done"}, {"status": "sent"}),
    "field-alike": ({"status": "sent"}, {"status": "sent"}, {}),
    "answers": ({"responses": {"q": 1}}, {"responses": {"r": 2}}, {"responses": {"q": 1}}),
    "time": ({"created_at": "2026-11-20"}, {"created_at": "soon"}, {"created_at": "2026-11-20"}),
    "own-id": ({"id": "i"}, {"id": "j"}, {"id": "i"}),
    "id-of-the-line": ({"response_id": "r"}, {}, {"response_id": "r"}),
    "participant": ({"participant_id": "p"}, {"participant_id": "o"}, {"participant_id": "p"}),
}


@pytest.mark.parametrize(("shared", "own", "hidden"), SHADOWED.values(), ids=SHADOWED)
def test_a_task_stands_before_its_line_and_hides_nothing_of_it(
    shared: Line, own: Line, hidden: Line
) -> None:
    response = only({"submission_id": "s", **shared, "tasks": [{"task_id": "t", **own}]})
    alone = only({"submission_id": "s", "task_id": "t", **own})
    more = {"submission": hidden} if hidden else shared
    assert (response.id, response.answers) == (alone.id, alone.answers)
    assert response.participant_id == alone.participant_id
    assert response.rest == {**alone.rest, **more}


@pytest.mark.parametrize(("line", "task"), [(True, 1), ([0], [False])], ids=["scalar", "list"])
def test_a_task_hides_nothing_of_its_line_for_looking_alike(line: Any, task: Any) -> None:
    response = only({"submission_id": "s", "seen": line, "tasks": [{"seen": task}]})
    assert {*leaves([line, task])} <= {*said(response)}


TIMES: dict[str, tuple[Line, str | None, set[str]]] = {
    "submitted": ({"submitted_at": "2026-11-20T08:30:00Z"}, "2026-11-20T08:30:00+00:00", set()),
    "completed": ({"completed_at": "2026-11-20T08:30:00Z"}, "2026-11-20T08:30:00+00:00", set()),
    "created": ({"created_at": "2026-11-20T08:30:00Z"}, "2026-11-20T08:30:00+00:00", set()),
    "submitted-before-completed": (
        {"created_at": "2026-11-18", "completed_at": "2026-11-19", "submitted_at": "2026-11-20"},
        "2026-11-20T00:00:00+00:00",
        {"created_at", "completed_at"},
    ),
    "completed-before-created": (
        {"created_at": "2026-11-18", "completed_at": "2026-11-19"},
        "2026-11-19T00:00:00+00:00",
        {"created_at"},
    ),
    "best-that-parses": (
        {"submitted_at": "yesterday", "completed_at": 1763600000, "created_at": "2026-11-18"},
        "2026-11-18T00:00:00+00:00",
        {"submitted_at", "completed_at"},
    ),
    "none-parses": (
        {"submitted_at": "2026-13-01", "created_at": None},
        None,
        {"submitted_at", "created_at"},
    ),
    "offset": ({"submitted_at": "2026-11-20T01:00:00+02:00"}, "2026-11-19T23:00:00+00:00", set()),
    "without-zone": ({"submitted_at": "2026-11-20T08:30:00"}, "2026-11-20T08:30:00+00:00", set()),
}


@pytest.mark.parametrize(("times", "submitted_at", "kept"), TIMES.values(), ids=TIMES)
def test_the_best_time_that_can_be_read_is_taken_and_the_others_stay(
    times: Line, submitted_at: str | None, kept: set[str]
) -> None:
    response = only({"submission_id": "s", **times})
    assert (response.submitted_at and response.submitted_at.isoformat()) == submitted_at
    assert response.rest == {name: times[name] for name in kept}


TEA = {"instruction_id": "q", "value": "tea"}
MILK = {"instruction_id": "r", "value": "milk"}


@pytest.mark.parametrize(
    ("given_", "answers"),
    [({"q": "tea"}, {"q": "tea"}), ([TEA, MILK], {"q": TEA, "r": MILK}), ({}, {}), ([], {})],
    ids=["object", "list", "empty-object", "empty-list"],
)
def test_answers_are_told_apart_by_instruction(given_: Any, answers: Line) -> None:
    response = only({"submission_id": "s", "responses": given_})
    assert (response.answers, response.rest) == (answers, {})


@pytest.mark.parametrize(
    "given_",
    [
        [TEA, {**TEA, "value": "milk"}],
        [TEA, {"value": "milk"}],
        [TEA, {"instruction_id": 7, "value": "milk"}],
        [TEA, "milk"],
        ["tea"],
        "tea",
        7,
        None,
    ],
    ids=repr,
)
def test_answers_that_cannot_be_told_apart_stay_in_the_rest(given_: Any) -> None:
    response = only({"submission_id": "s", "responses": given_})
    assert (response.answers, response.rest) == ({}, {"responses": given_})


def test_a_field_without_a_name_is_a_field_like_others() -> None:
    rest = {"": {"q": "tea"}}
    response = only({"submission_id": "s", **rest})
    assert (response.answers, response.rest) == ({}, rest)


def test_a_task_keeps_a_field_without_a_name() -> None:
    [found] = tasks_of({"task_id": "t", "": "tea"})
    assert found.rest == {"": "tea"}


def test_a_task_keeps_its_id_as_it_came() -> None:
    [found] = tasks_of({"task_id": "t\ufffd"}, {"task_id": "t\0"})
    assert (found.id, found.rest) == ("t\ufffd", {"task_id": "t\0"})


@pytest.mark.parametrize("name", ["submission_id", "participant_id", "study_id", "task_id"])
@pytest.mark.parametrize("value", ["", 7, None, ["s"], {"id": "s"}], ids=repr)
def test_an_id_that_is_no_text_stays_in_the_rest(name: str, value: Any) -> None:
    response = only({"response_id": "r", name: value})
    assert (getattr(response, name), response.rest) == (None, {name: value})


# The one spelling of a time that a response gives back as it came.
TIME = st.datetimes(timezones=st.just(timezone.utc)).map(datetime.isoformat)
NAMES = ["id", "response_id", "submission_id", "participant_id", "study_id", "task_id"]
NAMES += ["responses", "submitted_at", "completed_at", "created_at", "instruction_id", "datapoint"]
numbers: st.SearchStrategy[Any] = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | st.text() | TIME,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.fixed_dictionaries({"instruction_id": st.text()}, optional={"value": inner}))
        | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=4)
    ),
    max_leaves=6,
)
lines = st.dictionaries(st.sampled_from(NAMES) | st.text(), values, max_size=6)


@st.composite
def nested_lines(draw: st.DrawFn) -> Line:
    """Return a line with tasks that have some of its fields, with the same values and others."""
    line = draw(lines)
    tasks = draw(st.lists(lines, max_size=3))
    alike = [
        {name: line[name] if line.get(name, ...) == value else value for name, value in t.items()}
        for t in tasks
    ]
    return {**line, "tasks": alike}


def leaves(node: Any) -> list[str]:
    """Return every scalar of a JSON value as JSON text."""
    return [json.dumps(each) for each in scalars(node)]


def said(response: Response) -> list[str]:
    """Return every scalar that a response holds."""
    time = response.submitted_at and response.submitted_at.isoformat()
    ids = [response.id, response.submission_id, response.participant_id, response.study_id]
    held = [response.task_id, time, response.datapoint, response.answers, response.rest]
    return leaves([*ids, *held])


@settings(max_examples=200)
@given(lines)
def test_whatever_a_line_says_its_response_says_as_often(line: Line) -> None:
    found = responses(line)
    assume(len(found) == 1)  # several submissions may be said in the line
    [response] = found
    assert not Counter(leaves(line)) - Counter(said(response))
    assert response.id


@settings(max_examples=200)
@given(nested_lines())
def test_whatever_a_line_with_tasks_says_its_responses_say(line: Line) -> None:
    found = list(responses(line))
    assert not {*leaves(line)} - {leaf for response in found for leaf in said(response)}
    assert all(response.id for response in found)


@given(lines, st.randoms())
def test_the_order_of_a_lines_fields_does_not_matter(line: Line, random: Random) -> None:
    names = list(line)
    random.shuffle(names)
    assert list(responses({name: line[name] for name in names})) == list(responses(line))


usual_lines: st.SearchStrategy[Line] = st.fixed_dictionaries(
    {"submission_id": st.sampled_from(["s", "", None, 7])},
    optional={
        **{name: st.sampled_from(["x", "", None, 7]) for name in ("id", "response_id", "task_id")},
        "responses": st.sampled_from([{}, {"q": 1}, [], [{"submission_id": "o"}], None]),
        "response": st.just({"instruction_id": "q"}),
        "submissions": st.sampled_from([[], {}, [{"submission_id": "o"}]]),
        "tasks": st.lists(lines, max_size=3) | st.just({"t": {}}) | st.none(),
    },
)


@settings(max_examples=500)
@given(lines | nested_lines() | usual_lines)
def test_the_ids_that_are_read_first_are_those_of_the_responses(line: Line) -> None:
    if (ids := decode_ids(json.dumps(line).encode())) is not None:
        assert ids == [response.id for response in responses(line)]


def test_ids_are_read_of_the_usual_lines() -> None:
    task: Line = {"task_id": "t", "responses": {"q": 1}, "datapoint": {"x": 1}}
    for line in ({"submission_id": "s", "responses": {}}, {"submission_id": "s", "tasks": [task]}):
        assert decode_ids(json.dumps(line).encode())
