"""Decode untrusted JSON into values that every target can store; pure functions.

JSON, and what is often accepted as JSON, allows more than tables can store:

- U+0000, which PostgreSQL rejects, and lone surrogates, which are not valid text, become U+FFFD in
  strings and field names. `decode` returns the original value, too; `json_text` writes it.
- Numbers that overflow a float (``1e400``), integers of thousands of digits, ``NaN`` and
  ``Infinity`` become strings.
- If several fields have the same name, the last one wins, as is usual.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from tap_prolific_export.model import sha256_hex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# The integers that every target can store.
INT64 = range(-(1 << 63), 1 << 63)
# Deeper nesting could exhaust Python's stack in a later step.
MAX_DEPTH = 200
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_NOT_DECODED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_ESCAPED_NUL = b"\\u0000"
_INVALID_CHARACTERS = re.compile("[\0\ud800-\udfff]")


class InvalidJsonError(Exception):
    """The text is not JSON, not UTF-8, or nested more deeply than `MAX_DEPTH`."""


def decode_usual(text: bytes) -> dict[str, Any]:
    """Decode an object without U+0000 that holds nothing odd.

    Raises:
        InvalidJsonError: It does, or is none; see what `decode` makes of it.
    """
    try:
        value: dict[str, Any] = _decode_object(text)
    except _NOT_DECODED:
        raise InvalidJsonError from None
    if may_be_deep(text):
        raise InvalidJsonError
    return value


def decode(text: bytes) -> tuple[Any, Any]:
    """Decode one JSON text.

    Returns:
        The value in a form that every target can store, and the original value; None in place of
        the latter if nothing was replaced.

    Raises:
        InvalidJsonError: The text cannot be decoded.
    """
    is_clean = _ESCAPED_NUL not in text
    try:
        value = msgspec.json.decode(text)
    except _NOT_DECODED:
        value = _decode_tolerantly(text)
        is_clean = False
    if may_be_deep(text) and depth_of(value) > MAX_DEPTH:
        raise InvalidJsonError
    clean = value if is_clean else cleaned(value)
    return clean, None if is_clean or clean == value else value


def may_be_deep(text: bytes) -> bool:
    """Whether a text has so many brackets; to count them is faster than to follow the nesting."""
    return text.count(b"[") + text.count(b"{") > MAX_DEPTH


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
    """Decode what the strict decoder rejects although its meaning is clear, such as ``NaN``."""
    try:
        return json.loads(text.decode(), parse_float=_float, parse_int=_int, parse_constant=str)
    except (ValueError, RecursionError):
        raise InvalidJsonError from None


def _float(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _int(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:  # Python rejects thousands of digits, to prevent denial of service
        return text


def cleaned_text(text: str) -> str:
    """Return the text with U+FFFD for each character that some target cannot store."""
    return _INVALID_CHARACTERS.sub("\ufffd", text)


def cleaned(value: Any, replace: Callable[[str], str] = cleaned_text) -> Any:
    """Return a JSON value whose strings and names of fields are replaced by what can be stored."""
    if isinstance(value, str):
        return replace(value)
    if isinstance(value, list):
        return [cleaned(item, replace) for item in value]
    if isinstance(value, dict):
        names = cleaned_names(value, replace)
        return {names[name]: cleaned(item, replace) for name, item in value.items()}
    return value


def cleaned_names(
    names: Iterable[str], replace: Callable[[str], str] = cleaned_text
) -> dict[str, str]:
    """Map the names of an object's fields to distinct names that every target can store.

    The result does not depend on the order of the names.
    """
    found = {name: replace(name) for name in names}
    counts = Counter(found.values())
    for name, new in found.items():
        if name != new and counts[new] > 1:
            found[name] = f"{new}-{sha256_hex(name, 16)}"
    return found


def json_text(value: Any) -> str:
    r"""Return a JSON value as a text that every target can store and PostgreSQL casts to jsonb.

    jsonb takes neither U+0000 nor lone surrogates, even if they are escaped. In their place stand
    the six characters of the escape: a backslash, ``u`` and four digits.
    """
    try:
        text = msgspec.json.encode(value)
    except UnicodeEncodeError:  # lone surrogates
        text = _ESCAPED_NUL
    if _ESCAPED_NUL in text:
        text = msgspec.json.encode(cleaned(value, _escaped_text))
    return text.decode()


def _escaped_text(text: str) -> str:
    return _INVALID_CHARACTERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
