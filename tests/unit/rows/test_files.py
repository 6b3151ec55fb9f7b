"""Which response an uploaded file belongs to."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_prolific_export.archive.export_archive import Upload
from tap_prolific_export.model import DataCollectionRef, Kind
from tap_prolific_export.rows.collection import parse
from tap_prolific_export.rows.files import FileFinder
from tap_prolific_export.rows.labels import AnswerNames
from tap_prolific_export.rows.responses import Response, responses
from tap_prolific_export.rows.tables import ExportFacts, answer_columns

Row = dict[str, Any]

FACTS = ExportFacts("c", None, datetime(2026, 2, 1, tzinfo=timezone.utc))
PATHS = ("files/s1_a", "files/s1_b", "files/s2_a", "files/other")
COLUMNS = answer_columns(
    parse(
        DataCollectionRef(Kind.BATCH, "c"),
        {"instructions": [{"id": id_, "type": "file_upload"} for id_ in ("q", "p")]},
    ),
    AnswerNames("instruction_id"),
)


def response(submission_id: str | None, study: str = "y", **answers: Any) -> Response:
    line = {"participant_id": "p", "study_id": study, "task_id": "t", "responses": answers}
    [made] = responses({**line, "submission_id": submission_id})
    return made


def is_wanted(response: Response) -> bool:
    return response.study_id == "y"


def rows_of(
    *given_: Response, paths: tuple[str, ...] = PATHS, unmatched: bool = False
) -> dict[str, Row]:
    finder = FileFinder(COLUMNS, {path: Upload(1, 2, None) for path in paths}, is_wanted)
    for each in given_:
        finder.add([each])
    rows = [*finder.rows(FACTS, include_unmatched=unmatched)]
    found = {row["path"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def owners(rows: dict[str, Row]) -> dict[str, tuple[Any, Any, Any]]:
    names = ("submission_id", "instruction_id", "task_id")
    return {path: tuple(row[name] for name in names) for path, row in rows.items()}


def test_an_answer_counts_more_than_a_name() -> None:
    found = rows_of(response("s1"), response("s3", q=[{"path": "files/s1_a"}]))
    assert owners(found) == {
        "files/s1_a": ("s3", "q", "t"),
        "files/s1_b": ("s1", None, None),
    }


def test_of_a_file_that_no_answer_names_the_task_is_not_told() -> None:
    assert owners(rows_of(response("s2"))) == {"files/s2_a": ("s2", None, None)}


def test_a_file_may_be_called_just_what_its_submission_is() -> None:
    assert owners(rows_of(response("s"), paths=("files/s",))) == {"files/s": ("s", None, None)}


@pytest.mark.parametrize("order", [1, -1])
def test_of_several_ids_that_a_name_begins_with_the_longest_counts(order: int) -> None:
    given_ = [response("s1"), response("s12"), response("s")][::order]
    found = rows_of(*given_, paths=("files/s12_a", "files/s1_a"))
    assert owners(found) == {"files/s12_a": ("s12", None, None), "files/s1_a": ("s1", None, None)}
    of_another_study = [response("s1"), response("s12", "another")][::order]
    assert not rows_of(*of_another_study, paths=("files/s12_a",))


def test_of_several_the_first_that_is_wanted_counts() -> None:
    unwanted, first, second = (
        response("u", "another", q="files/other"),
        response("a", q="files/other"),
        response("b", p="files/other"),
    )
    assert owners(rows_of(first, second)) == {"files/other": ("a", "q", "t")}
    assert owners(rows_of(unwanted, first, second)) == {"files/other": ("a", "q", "t")}
    assert owners(rows_of(first, unwanted)) == {"files/other": ("a", "q", "t")}
    same = response("s2", "another")
    assert owners(rows_of(same, response("s2"))) == {"files/s2_a": ("s2", None, None)}


def test_a_file_of_unwanted_responses_alone_is_left_out() -> None:
    unwanted = [response("s1", "another"), response("u", "another", q="files/other")]
    assert owners(rows_of(*unwanted, unmatched=True)) == {"files/s2_a": (None, None, None)}


def test_a_file_that_two_answers_name_is_that_of_the_first() -> None:
    both = response("x", p=["files/other"], q=["files/other"])
    assert owners(rows_of(both)) == {"files/other": ("x", "p", "t")}


def test_what_an_answer_says_of_its_file_is_told() -> None:
    file = {"path": "files/other", "file_name": "me.png", "content_type": "image/png"}
    [row] = rows_of(response("x", q=[file])).values()
    assert (row["file_name"], row["content_type"]) == ("me.png", "image/png")
    [row] = rows_of(response("x", q="files/other")).values()
    assert (row["file_name"], row["content_type"]) == ("other", None)


@pytest.mark.parametrize("type_", ["free_text", "free_text_with_unit"])
def test_a_number_may_name_a_file(type_: str) -> None:
    number: Row = {"validation": {"type": "number"}}
    question = {"id": "q", "type": type_, **number, "unit_options": [number]}
    ref = DataCollectionRef(Kind.COLLECTION, "c")
    columns = answer_columns(
        parse(ref, {"instructions": [question]}), AnswerNames("instruction_id")
    )
    finder = FileFinder(columns, {"files/7": Upload(1, 2, None)}, is_wanted)
    finder.add([response("s", q={"value": "7"})])
    [row] = finder.rows(FACTS, include_unmatched=False)
    assert row["instruction_id"] == "q"


def test_only_wanted_files_are_counted_as_found() -> None:
    finder = FileFinder(COLUMNS, dict.fromkeys(PATHS, Upload(1, 2, None)), is_wanted)
    finder.add([response("u", "another", q="files/other"), response("s1")])
    assert finder.found == 0
    finder.add([response("s", q="files/other")])
    assert finder.found == 1


def test_of_no_files_no_response_is_asked_after() -> None:
    finder = FileFinder(COLUMNS, {}, lambda _: pytest.fail("asked"))
    finder.add([response("s1", q="files/other")])
    assert [*finder.rows(FACTS, include_unmatched=True)] == []


entries = st.none() | st.sampled_from(PATHS) | st.lists(st.sampled_from(PATHS), max_size=2)
some = st.lists(
    st.builds(response, st.sampled_from(["s1", "s2", "s", None]), st.sampled_from("yn"), q=entries),
    max_size=6,
)


def owner(path: str, given_: list[Response]) -> tuple[Response | None, bool]:
    """Return the response that a file is of, and whether it has any, wanted or not."""
    by_answer = [r for r in given_ if path == r.answers["q"] or path in [*(r.answers["q"] or ())]]
    ids = [r.submission_id or "nobody's" for r in given_]
    id_ = max((id_ for id_ in ids if path.startswith(f"files/{id_}")), key=len, default="")
    found = by_answer or [r for r in given_ if id_ and r.submission_id == id_]
    return next(filter(is_wanted, found), None), bool(found)


@given(given_=some, unmatched=st.booleans())
def test_each_file_is_of_the_response_that_is_right(
    given_: list[Response], *, unmatched: bool
) -> None:
    expected = {}
    for path in PATHS:
        first, any_ = owner(path, given_)
        if first or (unmatched and not any_):
            expected[path] = first.submission_id if first else None
    found = rows_of(*given_, unmatched=unmatched)
    assert {path: row["submission_id"] for path, row in found.items()} == expected
