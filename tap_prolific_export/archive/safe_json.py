"""JSON text that strangers have written -> values that any target can hold; pure.

What JSON allows, or what is often taken for JSON, is more than tables take:

- U+0000, which PostgreSQL refuses, and halves of surrogate pairs, which are no text, become U+FFFD
  in texts and in names of fields. Who needs them as they came has them beside it.
- Numbers that no float holds (``1e400``), whole ones of thousands of digits, ``NaN`` and
  ``Infinity`` become their text.
- Of fields of one name the last one stands, as everywhere.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

# The whole numbers that any target can hold.
INT64 = range(-(1 << 63), 1 << 63)
# What is nested more deeply would take some step to the end of Python's stack.
MAX_DEPTH = 200
REPLACEMENT = "\ufffd"
_UNTEXTUAL = re.compile("[\0\ud800-\udfff]")


class NoJsonError(Exception):
    """The text is no JSON, not in UTF-8, or nested deeper than anybody means."""


@dataclass(frozen=True)
class Decoded:
    """A JSON value.

    Attributes:
        value: Fit for any target.
        as_it_came: The same with what was replaced in it; None where nothing was.
    """

    value: Any
    as_it_came: Any = None


def decode(text: bytes) -> Decoded:
    """Decode one JSON text.

    Raises:
        NoJsonError: It is none.
    """
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        value = _decode_tolerantly(text)
        is_textual = False
    else:
        is_textual = b"\\u0000" not in text
    # Brackets are counted first: that is far faster, and there are seldom so many.
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and depth_of(value) > MAX_DEPTH:
        raise NoJsonError
    if is_textual:
        return Decoded(value)
    clean = cleaned(value)
    return Decoded(clean, None if clean == value else value)


def depth_of(value: Any) -> int:
    """Return how deeply a value is nested."""
    depth = 0
    level = [value]
    while level := [
        item
        for each in level
        if isinstance(each, (list, dict))
        for item in (each.values() if isinstance(each, dict) else each)
    ]:
        depth += 1
    return depth


def _decode_tolerantly(text: bytes) -> Any:
    """Decode what a strict decoder refuses, as far as its meaning is plain."""
    try:
        return json.loads(text.decode(), parse_float=_float, parse_int=_int, parse_constant=str)
    except (ValueError, RecursionError):
        raise NoJsonError from None


def _float(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _int(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:  # Python refuses thousands of digits, to be safe from who sends them
        return text


def cleaned(value: Any) -> Any:
    """Return a JSON value in which every text is one that any target can hold."""
    if isinstance(value, str):
        return cleaned_text(value)
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if isinstance(value, dict):
        names = cleaned_names(value)
        return {names[name]: cleaned(item) for name, item in value.items()}
    return value


def cleaned_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each name of an object's fields one that any target can hold, and a different one.

    Which one that is does not depend on the order of the names.
    """
    found = {name: cleaned_text(name) for name in names}
    alike = Counter(found.values())
    for name, clean in found.items():
        if name != clean and alike[clean] > 1:
            digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
            found[name] = f"{clean}-{digest[:16]}"
    return found


def cleaned_text(text: str) -> str:
    """Return a text that any target can hold."""
    return _UNTEXTUAL.sub(REPLACEMENT, text)


def json_text(value: Any) -> str:
    """Return a JSON value as text, which is always one that any target can hold."""
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, ValueError, RecursionError):
        # Halves of surrogate pairs are escaped; a float that is none cannot come.
        return json.dumps(value, separators=(",", ":"))
