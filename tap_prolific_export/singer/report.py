"""What a run says at its end: deliveries, totals, skipped lines, a table of failures; pure."""

from __future__ import annotations

import textwrap
from itertools import zip_longest
from typing import TYPE_CHECKING

from tap_prolific_export.errors import DataCollectionError, FatalError, TapError
from tap_prolific_export.model import size_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tap_prolific_export.archive.export_archive import Skipped
    from tap_prolific_export.snapshots.snapshot import Snapshot

WIDTH = 100
GAP = "  "
HEADINGS = ("id", "what failed", "what to do")
# An id that is longer, such as the path of an archive, gets a line of its own.
MAX_ID = 44
# The column of problems needs more room than that of advice.
SHARE_OF_PROBLEM = 0.55
_LOOK = "Look at them in the export."


def delivered_line(snapshot: Snapshot, rows: Mapping[str, int]) -> str:
    """Return what was delivered of one snapshot; `rows`: how many were written, by stream."""
    of = f"archive of {snapshot.collection.ref}" if snapshot.on_disk else snapshot.collection.ref
    counts = [
        _count(rows[name], noun)
        for name, noun in (("answers", "answer"), ("files", "file"), ("tasks", "task"))
        if rows.get(name)
    ]
    if "responses" in rows:
        first = _count(rows["responses"], "response")
        what = f"{first} ({', '.join(counts)})" if counts else first
    else:
        what = ", ".join(counts) or "no responses"
    as_of = f"{snapshot.facts.exported_at:%Y-%m-%d %H:%M} UTC"
    read = snapshot.bytes_read()
    return f"{of}: {what} as of {as_of}" + (f"; {size_text(read)} read." if read else ".")


def totals_line(
    outcomes: Mapping[str, int], failed: int, rows: Mapping[str, int], seconds: float
) -> str:
    """Return what a whole run did: numbers of data collections by outcome, of rows by stream."""
    names = ("delivered", "unchanged", "passed over")
    parts = [f"{outcomes[name]} {name}" for name in names if outcomes.get(name)]
    parts += [f"{failed} failed"] if failed or not parts else []
    written = ", ".join(f"{name} {count}" for name, count in sorted(rows.items())) or "none"
    return f"Data collections: {', '.join(parts)}. Rows: {written}. Took {seconds:.0f} s."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def failure(failures: Sequence[TapError], delivered: int) -> FatalError:
    """Return the error that ends a run: a summary, and a table with a row for each failure."""
    summary = f"Failed: {len(failures)}, as listed below. Delivered: {delivered}."
    return FatalError("\n".join([summary, *table([_row(error) for error in failures])]))


def skipped(found: Sequence[tuple[str, Skipped]]) -> str:
    """Return the text on skipped lines, by data collection: a summary and a table."""
    total = sum(each.count for _, each in found)
    rows = [
        (of, f"{each.count} lines of {each.name}, the first of them line {each.first}.", _LOOK)
        for of, each in found
    ]
    headings = ("id", "left out", HEADINGS[2])
    return "\n".join([f"Lines left out, as on_bad_line is skip: {total}.", *table(rows, headings)])


def table(
    rows: Sequence[tuple[str, str, str]], headings: tuple[str, str, str] = HEADINGS
) -> list[str]:
    """Return the lines of a table that wraps what is long and cuts nothing off."""
    ids = max(len(id_) for id_, _, _ in [headings, *rows] if len(id_) <= MAX_ID)
    problems = int((WIDTH - ids) * SHARE_OF_PROBLEM) - len(GAP)
    widths = (ids, problems, WIDTH - ids - problems - 2 * len(GAP))
    lines = []
    for id_, *texts in [headings, tuple("-" * width for width in widths), *rows]:
        cells = [
            # Do not break words: ids must stay in one piece, even if lines get ragged.
            textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
            for text, width in zip(texts, widths[1:], strict=True)
        ]
        if len(id_) > ids:
            lines.append(id_)
            id_ = ""  # noqa: PLW2901
        for parts in zip_longest([id_], *cells, fillvalue=""):
            padded = (part.ljust(width) for part, width in zip(parts, widths, strict=True))
            lines.append(GAP.join(padded).rstrip())
    return lines


def _row(error: TapError) -> tuple[str, str, str]:
    if isinstance(error, DataCollectionError):
        return " ".join(error.what.split()), error.problem, error.advice
    return "the whole run", str(error), "See to that, and run again."
