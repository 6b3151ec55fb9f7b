"""Read ``collection.json`` / ``batch.json``, or the API's reply, as a data collection; pure.

The sources differ: instructions are in a flat list, nested in the layout, or both, and any field
may be missing. Fields that are not known by name are kept in ``rest``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tap_prolific_export.model import text_or_none

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tap_prolific_export.model import DataCollectionRef

LAYOUTS = ("collection_items", "batch_items")
# Layout items that are not instructions.
CONTENT_BLOCKS = frozenset({"rich_text", "image", "dataset_field"})
# An item with any of these fields is a page, a row or a column.
_CONTAINER_FIELDS = (*LAYOUTS, "page_items", "rows", "columns", "items")

_INSTRUCTION_FIELDS = (
    *("id", "type", "description", "order", "options", "answer_limit"),
    *("unit_options", "default_unit", "unit_position", "validation"),
    *("accepted_file_types", "max_file_size_mb", "min_file_count", "max_file_count"),
    *("max_stars", "helper_text", "placeholder_text_input", "created_at", "created_by"),
)


@dataclass(frozen=True)
class Instruction:
    """One question.

    Attributes:
        id: Prolific's id.
        type: ``free_text``, ``multiple_choice``, ...; None if unknown.
        question: The text that participants saw (``description``).
        page: Number of its page in the layout, from 1; None if it is not in the layout.
        position: Position among all instructions, from 1, in the order of the layout.
        fields: The known fields, unchanged.
        rest: All other fields, unchanged.
    """

    id: str
    type: str | None
    question: str | None
    page: int | None
    position: int
    fields: Mapping[str, Any]
    rest: Mapping[str, Any]

    def list_of(self, field: str) -> list[dict[str, Any]]:
        """Return the objects of a field that should be a list of them."""
        value = self.fields.get(field)
        return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


@dataclass(frozen=True)
class DataCollection:
    """The metadata of a collection or batch.

    Attributes:
        ref: Its kind and id.
        metadata: All fields except instructions and layout, unchanged.
        layout: The pages, unchanged; None if unknown.
        instructions: The questions in the order of the layout, each once.
    """

    ref: DataCollectionRef
    metadata: Mapping[str, Any]
    layout: Any
    instructions: tuple[Instruction, ...]


def parse(ref: DataCollectionRef, raw: Mapping[str, Any]) -> DataCollection:
    """Make a data collection from its metadata.

    Args:
        ref: Its kind and id; they take precedence over an id in the metadata.
        raw: ``collection.json``, ``batch.json`` or the API's reply.
    """
    layout = next((name for name in LAYOUTS if raw.get(name)), LAYOUTS[0])
    found = tuple(instructions(raw.get(layout), raw.get("instructions")))
    taken = {"instructions", layout, *(name for name in LAYOUTS if raw.get(name) is None)}
    flat = _list(raw.get("instructions"))
    if len(flat) != len({item["id"] for item in flat if _is_question(item)}):
        taken.discard("instructions")  # keep a list with duplicates or items that are no questions
    return DataCollection(
        ref=ref,
        metadata={name: value for name, value in raw.items() if name not in taken},
        layout=raw.get(layout),
        instructions=found,
    )


def instructions(layout: Any, flat: Any) -> Iterator[Instruction]:
    """Yield every instruction once: first those in the layout, then those only in the flat list.

    The fields of an instruction in both are merged. The flat list wins, because Prolific documents
    it as complete.
    """
    nested = {item["id"]: (item, page) for item, page in _nested(layout)}
    listed = {item["id"]: item for item in _list(flat) if _is_question(item)}
    for position, id_ in enumerate(dict.fromkeys([*nested, *listed]), 1):
        item, page = nested.get(id_, ({}, None))
        # A null in the flat list does not override a value from the layout.
        raw = item | {
            name: value
            for name, value in listed.get(id_, {}).items()
            if value is not None or name not in item
        }
        yield Instruction(
            id=id_,
            type=text_or_none(raw.get("type")),
            question=text_or_none(raw.get("description")),
            page=page,
            position=position,
            fields={name: raw[name] for name in _INSTRUCTION_FIELDS if name in raw},
            rest={name: value for name, value in raw.items() if name not in _INSTRUCTION_FIELDS},
        )


def with_instructions(collection: DataCollection, flat: Any) -> DataCollection:
    """Return the data collection with the instructions of a separate list in the API."""
    more = tuple(instructions(collection.layout, flat))
    return replace(collection, instructions=more or collection.instructions)


def _nested(layout: Any) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the instructions of a layout, each with its page's number from 1.

    Pages hold ``page_items``, or ``rows`` of ``columns`` of ``items``. All of these lists are
    searched, however they are nested.
    """
    # An explicit stack, because deeply nested metadata would exceed the recursion limit.
    stack = [*reversed([*enumerate(_ordered(layout), 1)])]
    while stack:
        page, node = stack.pop()
        lists = [node] if isinstance(node, list) else []
        if isinstance(node, dict):
            lists = [node[name] for name in _CONTAINER_FIELDS if isinstance(node.get(name), list)]
            if not lists and _is_question(node) and text_or_none(node.get("type")):
                yield node, page
        stack += [(page, item) for items in reversed(lists) for item in reversed(_ordered(items))]


def _is_question(node: Any) -> bool:
    """Whether an item has an id and is not a content block."""
    return (
        isinstance(node, dict)
        and text_or_none(node.get("id")) is not None
        and text_or_none(node.get("type")) not in CONTENT_BLOCKS
    )


def _ordered(items: Any) -> list[Any]:
    """Return the items sorted by ``order`` if all have one, else in their given order."""
    if not isinstance(items, list):
        return []
    orders = [item.get("order") if isinstance(item, dict) else None for item in items]
    if not all(isinstance(order, (int, float)) for order in orders):
        return items
    return sorted(items, key=lambda item: item["order"])


def _list(items: Any) -> list[Any]:
    """Return the flat list unsorted: its ``order`` is a position on a page, not in the list."""
    return items if isinstance(items, list) else [] if items is None else [items]
