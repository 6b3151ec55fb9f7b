"""Exceptions, grouped by consequence.

Every error text is safe to log. It names the data collection, what was tried, what came back and
what to do next; it contains no secrets and no participant content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class TapError(Exception):
    """Base of every error that this tap raises on purpose."""


class ConfigError(TapError):
    """The configuration is wrong. Nothing was requested and nothing was emitted.

    Attributes:
        problems: One sentence for each wrong setting.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("Configuration error: " + " ".join(problems))
        self.problems = tuple(problems)


class TryAgainError(TapError):
    """A temporary problem (network, rate limit, server error): try again.

    Attributes:
        retry_after: Seconds to wait, if the server asked for a wait.
        status: The HTTP status, if the server answered.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.status = status


class DataCollectionError(TapError):
    """This data collection fails; the run continues with the others.

    Attributes:
        what: The data collection or archive, as logs name it.
        problem: What was tried and what came back.
        advice: What the user can do.
    """

    def __init__(self, what: str, problem: str, advice: str) -> None:
        super().__init__(f"{what}: {problem} {advice}".rstrip())
        self.what = what
        self.problem = problem
        self.advice = advice


class ReplacedError(DataCollectionError):
    """The archive was replaced while it was being read: read the new one from the start."""


class GoneError(ReplacedError):
    """The archive is gone although its job is complete: request another export."""


class MemberError(DataCollectionError):
    """One member of an archive cannot be read; others may be readable."""

    @classmethod
    def of(cls, error: DataCollectionError) -> MemberError:
        """Convert an error that turned out to affect one member only."""
        return cls(error.what, error.problem, error.advice)


class FilesError(DataCollectionError):
    """Some uploaded files cannot be stored; the rest of the data collection can be delivered."""


class StoreError(TapError):
    """An uploaded file cannot be stored, and a retry would not help.

    Attributes:
        is_of_file: Whether only this file is affected.
    """

    def __init__(self, message: str, *, is_of_file: bool = False) -> None:
        super().__init__(message)
        self.is_of_file = is_of_file


class RefusedError(DataCollectionError):
    """The API refused a request about this data collection; a retry would not help.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, what: str, problem: str, advice: str, *, status: int) -> None:
        super().__init__(what, problem, advice)
        self.status = status


class FatalError(TapError):
    """The run stops: no data collection can succeed, or some failed and the run is over."""
