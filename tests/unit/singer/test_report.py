"""The table of what failed, which a run ends with."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tap_prolific_export.errors import DataCollectionError, FatalError
from tap_prolific_export.singer.report import GAP, MAX_ID, WIDTH, failure, table

WORDS = st.text(st.sampled_from("abc-/:"), min_size=1, max_size=24)
TEXTS = st.lists(WORDS, min_size=1, max_size=60).map(" ".join)


@given(st.lists(st.tuples(WORDS.map(lambda word: word * 3), TEXTS, TEXTS), min_size=1, max_size=4))
def test_a_table_fits_its_width_and_cuts_nothing_off(rows: list[tuple[str, str, str]]) -> None:
    _, rule, *lines = table(rows)
    assert len(rule) == WIDTH
    ids, problems, _ = (len(dashes) for dashes in rule.split())
    begin = ids + len(GAP)
    middle = begin + problems + len(GAP)
    told: list[list[str]] = []
    for line in lines:
        assert len(line) <= max(WIDTH, len(line.split()[0]))
        if line[0] != " ":
            told.append([line if ids < len(line.split()[0]) else line[:begin].strip(), "", ""])
            if told[-1][0] == line:
                continue
        told[-1][1] += " " + line[begin:middle].strip()
        told[-1][2] += " " + line[middle:].strip()
    assert [tuple(" ".join(cell.split()) for cell in row) for row in told] == rows


def test_a_long_id_has_a_line_of_its_own_and_no_word_is_broken() -> None:
    path = f"archive /{'x' * MAX_ID}.zip"
    job = "0f8c1c1e-5a53-4b5b-8d50-6a7c3c1f9b10"
    url = f"https://api.prolific.com/{'y' * WIDTH}"
    lines = table([(path, f"Job {job} failed.", f"Ask\n{url}\nagain."), ("batch x", "Broken.", "")])
    assert path in lines
    assert any(job in line for line in lines)
    assert any(url in line for line in lines)
    assert lines[-1].startswith("batch x  Broken.")


def test_what_ends_the_run_says_how_much_failed() -> None:
    error = failure([DataCollectionError("batch x", "Broken.", "Mend it.")], 1)
    assert isinstance(error, FatalError)
    assert re.search(r"Failed: 1,.*Delivered: 1\.", str(error))
