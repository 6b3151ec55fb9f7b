"""JSON text that stands in a column."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_prolific_export.archive.safe_json import json_text
from tests.support.json_texts import UNTEXTUAL, escaped

characters = st.sampled_from(["\0", "\ud800", "\udfff", "\\", "u0000", '"', "é", "\U0001f600"])
texts = st.lists(characters, max_size=4).map("".join)
values = st.recursive(
    texts | st.none() | st.booleans() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\0b", r'"a\\u0000b"'),
        ("\ud83d", r'"\\ud83d"'),
        ("\udc00\ud83d", r'"\\udc00\\ud83d"'),
        ({"\0": [{"\udfff": "\0\0"}]}, r'{"\\u0000":[{"\\udfff":"\\u0000\\u0000"}]}'),
        (r"\u0000", r'"\\u0000"'),
        (r"\\u0000", r'"\\\\u0000"'),
        ("\U0001f600\x01", '"\U0001f600\\u0001"'),
        ([1.5, 10**30, None, True], f"[1.5,{10**30},null,true]"),
    ],
)
def test_what_jsonb_cannot_hold_stands_as_its_escape(value: Any, text: str) -> None:
    assert json_text(value) == text


@given(values)
def test_whatever_comes_is_told_without_it(value: Any) -> None:
    found = json.loads(json_text(value))
    assert not UNTEXTUAL.search(json.dumps(found, ensure_ascii=False))
    assert len(_leaves(found)) == len(_leaves(value))
    assert _leaves(found) == _leaves(escaped_values(value))


def escaped_values(value: Any) -> Any:
    """Return a value with its texts escaped; names stay, as two of them may become one."""
    if isinstance(value, list):
        return [escaped_values(item) for item in value]
    if isinstance(value, dict):
        return {name: escaped_values(item) for name, item in value.items()}
    return escaped(value)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, (list, dict)):
        items = value.values() if isinstance(value, dict) else value
        return [leaf for item in items for leaf in _leaves(item)]
    return [value]


def test_names_that_become_one_stay_two() -> None:
    found = json.loads(json_text({"\0": 1, r"\u0000": 2, "\ud800": 3, r"\ud800": 4}))
    assert sorted(found.values()) == [1, 2, 3, 4]
    assert found[r"\u0000"] == 2
