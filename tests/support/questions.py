"""Questions as the tap knows them, and what a JSON value consists of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_prolific_export.rows.collection import Instruction, instructions

if TYPE_CHECKING:
    from collections.abc import Iterator


def question(type_: str | None = None, **fields: Any) -> Instruction:
    """Return a question with the id ``q``, unless another is given."""
    [made] = instructions(None, [{"id": "q", "type": type_, **fields}])
    return made


def options(values: list[Any]) -> list[dict[str, Any]]:
    return [{"label": f"Option {value}", "value": value} for value in values]


def scalars(node: Any) -> Iterator[Any]:
    """Yield every scalar of a JSON value."""
    if isinstance(node, (dict, list)):
        for value in node.values() if isinstance(node, dict) else node:
            yield from scalars(value)
    else:
        yield node
