"""Every documented or plausible shape of an answer, through the whole tap.

Each instruction type has one answer, written in every shape that it may come in; each shape is a
submission of its own. Whatever the shape, the kind of data collection and its lines: the typed
value and the long form must be the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tests.support.generations import fresh
from tests.support.stand_in import Hosted, Submission, samples
from tests.support.tap import ids

if TYPE_CHECKING:
    from tests.support.stand_in import World
    from tests.support.tap import Runner

# An archive is the same in both generations of the API.
pytestmark = fresh

Lines = Literal["nested", "flat", "by task"]
PATH = "files/s_photo.png"


@dataclass(frozen=True)
class Case:
    """One question, its answer in every shape, and what the tables must say of it."""

    type: str
    column_types: list[Any]
    typed: Any
    long: list[dict[str, Any]]
    more: dict[str, Any] = field(default_factory=dict)


def one(value: Any) -> list[Any]:
    """Return the shapes that a single value may come in."""
    return [
        value,
        [value],
        {"value": value},
        {"value": [value]},
        {"value": {"value": value}},
        [{"value": value}],
        {"answer": [{"value": value}]},
        {"value": value, "unit": None, "explanation": None},
    ]


def several(*items: dict[str, Any]) -> list[Any]:
    """Return the shapes that a list of objects may come in."""
    return [list(items), {"value": list(items)}, {"answer": list(items)}]


def options(*values: Any) -> dict[str, Any]:
    return {"options": [{"label": f"Label {value}", "value": value} for value in values]}


NUMBER = {"validation": {"type": "number"}}
CASES = {
    "text": Case("free_text", one("Tea, please"), "Tea, please", [{"value": "Tea, please"}]),
    "empty-text": Case("free_text", one(""), "", [{"value": ""}]),
    "number": Case("free_text", one(12.5), 12.5, [{"value": "12.5", "value_number": 12.5}], NUMBER),
    "number-as-text": Case(
        "free_text", one("1e2"), 100.0, [{"value": "1e2", "value_number": 100.0}], NUMBER
    ),
    "choice": Case(
        "multiple_choice",
        one("b"),
        "b",
        [{"value": "b", "value_label": "Label b"}],
        {"answer_limit": 1, **options("a", "b")},
    ),
    "choice-of-numbers": Case(
        "multiple_choice",
        one(2),
        2,
        [{"value": "2", "value_number": 2, "value_label": "Label 2"}],
        {"answer_limit": 1, **options(1, 2)},
    ),
    "choice-of-numbers-as-text": Case(
        "multiple_choice",
        one("2"),
        2,
        [{"value": "2", "value_number": 2, "value_label": "Label 2"}],
        {"answer_limit": 1, **options(1, 2)},
    ),
    "choice-of-booleans": Case(
        "multiple_choice",
        one(False),
        False,
        [{"value": "false", "value_boolean": False, "value_label": "Label False"}],
        {"answer_limit": 1, **options(True, False)},
    ),
    "choice-of-mixed-options": Case(
        "multiple_choice",
        one(2),
        "2",
        [{"value": "2", "value_number": 2, "value_label": "Label 2"}],
        {"answer_limit": 1, **options("a", 2)},
    ),
    "choices": Case(
        "multiple_choice",
        [["a", "c"], {"value": ["a", "c"]}, *several({"value": "a"}, {"value": "c"})],
        ["a", "c"],
        [{"value": "a", "value_label": "Label a"}, {"value": "c", "value_label": "Label c"}],
        {"answer_limit": -1, **options("a", "b", "c")},
    ),
    "choice-with-text": Case(
        "multiple_choice_with_free_text",
        [
            column_type
            for name in ("explanation", "free_text", "text")
            for column_type in several({"value": "a", name: "Because."}, {"value": "b"})
        ],
        [{"value": "a", "explanation": "Because."}, {"value": "b", "explanation": None}],
        [
            {"value": "a", "value_label": "Label a", "explanation": "Because."},
            {"value": "b", "value_label": "Label b"},
        ],
        options("a", "b"),
    ),
    "unit": Case(
        "free_text_with_unit",
        [
            {"value": "40.5", "unit": "g"},
            {"value": {"value": 40.5, "unit": "g"}},
            *several({"value": 40.5, "unit": "g"}),
        ],
        {"value": 40.5, "unit": "g"},
        [{"value": "40.5", "value_number": 40.5, "unit": "g"}],
        {"unit_options": [{"label": "Grams", "value": "g", **NUMBER}]},
    ),
    "upload": Case(
        "file_upload",
        [
            *one(PATH),
            *one({"path": PATH}),
            *several({"file_key": PATH, "file_name": "s_photo.png"}),
            {"path": f"/{PATH}", "file_name": "s_photo.png", "content_type": None},
        ],
        [{"path": PATH, "file_name": "s_photo.png", "content_type": None, "size_bytes": 5}],
        [{"file_path": PATH}],
    ),
    "narration": Case(
        "video_narration",
        one({"path": PATH, "file_name": "a.webm", "content_type": "video/webm"}),
        [{"path": PATH, "file_name": "a.webm", "content_type": "video/webm", "size_bytes": 5}],
        [{"file_path": PATH}],
    ),
    "stars": Case("star_rating", one(4), 4, [{"value": "4", "value_number": 4}]),
    "no-answer": Case(
        "free_text", [None, {"value": None}, {"value": None, "unit": None}], None, []
    ),
    "nothing-chosen": Case(
        "multiple_choice", [[], {"value": []}, {"answer": []}], [], [], options("a")
    ),
}
LONG: dict[str, Any] = dict.fromkeys(
    ["value", "value_number", "value_boolean", "value_label", "unit", "explanation", "file_path"]
)


def hosted(case: Case, lines: Lines | None) -> Hosted:
    """Return a data collection with the case's question; without lines: a collection."""
    question = {"id": "q", "type": case.type, "description": "Well?", "order": 0, **case.more}
    page: dict[str, Any] = {"id": "page", "order": 0, "page_items": [question]}
    if lines:
        page = {"id": "page", "rows": [{"columns": [{"items": [question]}]}]}
    made = Hosted(
        kind="batches" if lines else "collections",
        id="shapes",
        workspace_id=samples.WORKSPACE,
        metadata={"name": "Shapes"},
        layout=[page],
        instructions=[question],
        lines=lines or "nested",
    )
    for number, column_type in enumerate(case.column_types):
        submission_id = f"s-{number:02}"
        line: dict[str, Any] = {"submission_id": submission_id, "responses": {"q": column_type}}
        if lines:
            about = {"task_id": "t", "datapoint": {"n": 1}, "responses": line.pop("responses")}
            line["tasks"] = [about]
        uploads = {"s_photo.png": b"photo"} if number == 0 else {}
        made.submissions[submission_id] = Submission(line, samples.BEGIN, "study", uploads)
    return made


@pytest.mark.parametrize("lines", [None, "nested", "flat", "by task"], ids=str)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_answer_is_the_same_in_every_shape(
    case: Case, lines: Lines | None, runner: Runner, world: World
) -> None:
    made = world.host(hosted(case, lines))
    out = runner.sync(**ids(made))
    rows = {row["submission_id"]: row for row in out.rows("responses")}
    long: dict[str, list[dict[str, Any]]] = {id_: [] for id_ in rows}
    for row in out.rows("answers"):
        long[row["submission_id"]].append(row)
    assert len(rows) == len(case.column_types)
    for submission_id, row in rows.items():
        column_type = case.column_types[int(submission_id[2:])]
        assert row["answers"] == {"q": case.typed}, column_type
        assert type(row["answers"]["q"]) is type(case.typed), column_type
        assert row["additional_fields"] is None, column_type
        found = [{name: given[name] for name in LONG} for given in long[submission_id]]
        expected = [LONG | one for one in case.long]
        if case.type == "free_text_with_unit" or case.more is NUMBER:
            for each, given in zip(expected, found, strict=True):
                assert float(given["value"]) == each["value_number"], column_type
                each["value"] = given["value"]
        assert found == expected, column_type
        assert [given["answer_index"] for given in long[submission_id]] == [
            *range(1, len(expected) + 1)
        ]
        assert {given["raw"] for given in long[submission_id]} <= {None}


UNFORESEEN: dict[str, tuple[str, Any, Any]] = {
    "text in a column of numbers": ("free_text", {"value": "a few"}, None),
    "two values for one": ("star_rating", {"value": [1, 2]}, None),
    "an object without a value": ("free_text", {"strokes": [[1, 2]]}, None),
    "more beside the value": ("star_rating", {"value": 3, "seconds": 9}, 3),
}


@pytest.mark.parametrize(("type_", "entry", "typed"), UNFORESEEN.values(), ids=UNFORESEEN)
def test_what_does_not_fit_is_kept_as_it_came(
    type_: str, entry: Any, typed: Any, runner: Runner, world: World
) -> None:
    made = world.host(hosted(Case(type_, [entry], None, [], NUMBER), None))
    out = runner.sync(**ids(made))
    [row] = out.rows("responses")
    assert row["answers"] == {"q": typed}
    assert json.loads(row["additional_fields"]) == {"answers": {"q": entry}}
    raws = [json.loads(given["raw"]) for given in out.rows("answers") if given["raw"]]
    assert raws == [entry]
