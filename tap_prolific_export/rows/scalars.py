"""What a single value of an answer says: a number, true or false, an option; pure functions."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING

from tap_prolific_export.archive.safe_json import INT64, json_text

if TYPE_CHECKING:
    from collections.abc import Iterable

Scalar = str | int | float | bool | None

# Floats hold every integer up to here. Columns of numbers take none beyond it: some targets store
# a number as a float, and those that write Parquet refuse an integer that a float cannot hold.
LARGE = 1 << 53
# JSON's numbers, and how people write them: `.5`, `5.`, `05`, `+3`. A comma may mean two things.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
# A float gives back so many digits of any number without an exponent.
_EXACT_DIGITS = 15
# Longer texts hold no number that a float holds, and are slow to parse.
_MAX_DIGITS = 400


def as_number(value: Scalar) -> float | int | None:
    """Return a number, or the number that a text holds; None for anything else.

    None, too, for what a column of numbers would not hold exactly: an integer beyond `LARGE`, and a
    text of more digits than its float gives back.
    """
    number = _number(value)
    is_large = isinstance(number, int) and not -LARGE <= number <= LARGE
    return None if is_large else number


def as_integer(value: Scalar) -> int | None:
    """Return the 64-bit integer that a number or a text is; None for anything else.

    None, too, for a float beyond `LARGE`: other digits than its own may have been written.
    """
    number = _number(value)
    if isinstance(number, float) and not (number.is_integer() and -LARGE <= number <= LARGE):
        return None
    return int(number) if number is not None and int(number) in INT64 else None


def _number(value: Scalar) -> float | int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = _parsed(value.strip())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _parsed(text: str) -> float | int | None:
    if len(text) > _MAX_DIGITS or not _NUMBER.fullmatch(text):
        return None
    if text.lstrip("+-").isdigit():
        return int(text)
    number = float(text)
    is_exact = len(text) <= _EXACT_DIGITS and "e" not in text.lower()
    return number if is_exact or Decimal(text) == Decimal(repr(number)) else None


def as_boolean(value: Scalar) -> bool | None:
    """Return a boolean, or the one that a text holds as JSON; None for anything else."""
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip())
    return value if isinstance(value, bool) else None


def scalar_text(value: Scalar) -> str:
    """Return a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json_text(value)


def by_text(options: Iterable[Scalar]) -> dict[str, Scalar]:
    """Return options by their texts, without those whose text is that of another option, too.

    An answer may spell an option in another JSON type: `1` for `"1"`, `"true"` for `true`.
    """
    found: dict[str, dict[str, Scalar]] = {}
    for option in options:
        found.setdefault(scalar_text(option), {})[json_text(option)] = option
    return {text: next(iter(same.values())) for text, same in found.items() if len(same) == 1}
