"""What can go wrong, grouped by consequence.

The text of every error here is fit for a log: it names the data collection, what was tried, what
came back and what to do next, and holds neither a secret nor a participant's content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class TapError(Exception):
    """Base of every error that this tap raises on purpose."""


class ConfigError(TapError):
    """Fix the configuration: nothing was requested and nothing was emitted.

    Attributes:
        problems: One sentence for each setting that is wrong.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("Configuration error: " + " ".join(problems))
        self.problems = tuple(problems)


class TryAgainError(TapError):
    """Try again: the cause is expected to pass by itself (network, rate limit, server error).

    Attributes:
        retry_after: Seconds the server asked to wait, if it did.
        status: The HTTP status that it answered with, if it did.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.status = status


class DataCollectionError(TapError):
    """Give up on this data collection; the others go on.

    Attributes:
        what: The data collection or archive it is about, as a log names it.
        problem: What was tried and what came back.
        advice: What the user can do.
    """

    def __init__(self, what: str, problem: str, advice: str) -> None:
        super().__init__(f"{what}: {problem} {advice}".rstrip())
        self.what = what
        self.problem = problem
        self.advice = advice


class ReplacedError(DataCollectionError):
    """The archive has become another one while it was read: read that one, from its begin."""


class MemberError(DataCollectionError):
    """One member of an archive cannot be read; others may be."""

    @classmethod
    def of(cls, error: DataCollectionError) -> MemberError:
        """Return an error as one that is of a member only."""
        return cls(error.what, error.problem, error.advice)


class FilesError(DataCollectionError):
    """Some uploaded files cannot be stored; all else of the data collection can be delivered."""


class StoreError(TapError):
    """An uploaded file cannot be stored, and trying again would not help.

    Attributes:
        is_of_file: Whether that is so for this file only.
    """

    def __init__(self, message: str, *, is_of_file: bool = False) -> None:
        super().__init__(message)
        self.is_of_file = is_of_file


class RefusedError(DataCollectionError):
    """The API refused a request about this data collection for good.

    Attributes:
        status: The HTTP status that it answered with.
    """

    def __init__(self, what: str, problem: str, advice: str, *, status: int) -> None:
        super().__init__(what, problem, advice)
        self.status = status


class FatalError(TapError):
    """Give up: no data collection can succeed, or some have failed and the run is over."""
