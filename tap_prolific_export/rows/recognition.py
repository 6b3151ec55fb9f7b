"""Whether any answer of an archive was recognised: silence would look like no answers; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import UNSET

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_prolific_export.rows.responses import Response

_MOST = 20
# A name that looks otherwise may be a participant's own text.
_NAME = re.compile(r"[A-Za-z][\w.-]{0,39}", re.ASCII)


class Recognition:
    """Looks for an answer to a known question.

    Args:
        questions: The ids of the questions.

    Attributes:
        found: Whether there was any.
        unknown: How many answers to other questions there were.
    """

    def __init__(self, questions: Iterable[str]) -> None:
        self.found = False
        self.unknown = 0
        self._questions = frozenset(questions)
        self._names: dict[str, None] = {}

    def add(self, responses: Iterable[Response]) -> None:
        """Look at responses."""
        if self.found or not self._questions:
            return
        for response in responses:
            typed = any(value is not UNSET for value in response.typed or ())
            if typed or not self._questions.isdisjoint(response.answers):
                self.found = True
                return
            self.unknown += len(response.answers)
            for name in response.rest:
                if len(self._names) < _MOST and _NAME.fullmatch(name):
                    self._names[name] = None

    @property
    def unrecognised(self) -> str | None:
        """What there was in place of answers; None if one was recognised, or there was nothing."""
        told = [f"{self.unknown} answers are to other questions"] if self.unknown else []
        if self._names:
            told.append(f"fields of the lines: {', '.join(self._names)}")
        return None if self.found else "; ".join(told) or None
