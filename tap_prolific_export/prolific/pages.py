"""Read a list of the API to its end, whether or not the API says where that is; no HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from requests import codes

from tap_prolific_export.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True)
class Listing:
    """A list, read to its end.

    Attributes:
        rows: Its rows, without repeated ids.
        count: How many there are according to the API; None if it does not say.
    """

    rows: list[Any]
    count: int | None


def read_pages(
    get: Callable[[Mapping[str, str]], Any],
    *,
    names: Sequence[str],
    id_name: str,
    limit: int | None = None,
) -> Listing | None:
    """Read pages until all rows are there that the API counts, or a page brings nothing new.

    Args:
        get: Requests a page with the given query parameters and returns its body.
        names: Under which of its fields a body may have the rows. A body that is a list is all.
        id_name: The field with a row's id.
        limit: How many rows to ask for at once. An API that refuses this is asked without.

    Returns:
        None if there is no list.

    Raises:
        RefusedError: A page is refused.
    """
    rows: list[Any] = []
    ids: set[str] = set()
    size = {} if limit is None else {"limit": str(limit)}
    while True:
        offset = {"offset": str(len(ids))} if ids else {}
        try:
            body = get(size | offset)
        except RefusedError as error:
            if not size or error.status not in {codes.bad_request, codes.unprocessable_entity}:
                raise
            size = {}
            body = get(offset)
        if isinstance(body, list) and not ids:
            return Listing(body, None)
        page = _rows(body, names)
        if page is None:
            return Listing(rows, None) if ids else None
        before = len(ids)
        new = _new_rows(page, id_name, ids)
        if not before or len(ids) > before:
            rows += new
        count = _count(body)
        if count is not None and count < len(ids):
            count = None  # it is not of all rows
        if len(ids) in {before, count}:
            return Listing(rows, count)


def id_of(row: object, id_name: str) -> str | None:
    """Return the id of a row; None if it has none."""
    id_ = row.get(id_name) if isinstance(row, dict) else None
    return id_ if isinstance(id_, str) else None


def _rows(body: object, names: Sequence[str]) -> list[Any] | None:
    if not isinstance(body, dict):
        return None
    rows = next((body[name] for name in names if name in body), None)
    return rows if isinstance(rows, list) else None


def _new_rows(page: Sequence[Any], id_name: str, ids: set[str]) -> list[Any]:
    """Return the rows whose ids are not known, and those without an id; add the ids."""
    new = []
    for row in page:
        id_ = id_of(row, id_name)
        if id_ not in ids:
            new.append(row)
        if id_ is not None:
            ids.add(id_)
    return new


def _count(body: Mapping[str, Any]) -> int | None:
    meta = body.get("meta")
    count = meta.get("count") if isinstance(meta, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) else None
