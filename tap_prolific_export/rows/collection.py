"""``collection.json`` / ``batch.json``, or the API's look-up, as a typed data collection; pure.

Both say much the same in ways that differ: instructions lie in a flat list, nested in the layout,
or both; every field may be missing. What is not known by name is kept in ``rest``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tap_prolific_export.model import DataCollectionRef

LAYOUTS = ("collection_items", "batch_items")
# What stands between instructions in a layout without being one.
CONTENT_BLOCKS = frozenset({"rich_text", "image", "dataset_field"})
# What holds other items is a page, a row or a column, whatever else it has.
_CONTAINER_FIELDS = (*LAYOUTS, "page_items", "rows", "columns", "items")

_INSTRUCTION_FIELDS = (
    "id",
    "type",
    "description",
    "order",
    "options",
    "answer_limit",
    "unit_options",
    "default_unit",
    "unit_position",
    "validation",
    "accepted_file_types",
    "max_file_size_mb",
    "min_file_count",
    "max_file_count",
    "max_stars",
    "helper_text",
    "placeholder_text_input",
    "created_at",
    "created_by",
)


@dataclass(frozen=True)
class Instruction:
    """One question.

    Attributes:
        id: Prolific's id.
        type: ``free_text``, ``multiple_choice``, ...; None where it is not told.
        question: Its ``description``: what participants were asked.
        page: Number of its page in the layout, from 1; None where the layout is not told.
        position: Its place among all instructions, from 1, in the order of the layout.
        fields: The known fields as they came.
        rest: Every other field as it came.
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
    """A collection or batch: what its metadata says.

    Attributes:
        ref: Which one.
        metadata: Everything as it came, but for the instructions and the layout.
        layout: The pages as they came; None where they are not told.
        instructions: In the order of the layout, each once.
    """

    ref: DataCollectionRef
    metadata: Mapping[str, Any]
    layout: Any
    instructions: tuple[Instruction, ...]


def parse(ref: DataCollectionRef, raw: Mapping[str, Any]) -> DataCollection:
    """Make a data collection from its metadata.

    Args:
        ref: Which one it is; the metadata's own id is not trusted over it.
        raw: ``collection.json``, ``batch.json`` or the API's look-up.
    """
    layout = next((name for name in LAYOUTS if raw.get(name)), LAYOUTS[0])
    found = tuple(instructions(raw.get(layout), raw.get("instructions")))
    taken = {"instructions", layout, *(name for name in LAYOUTS if raw.get(name) is None)}
    flat = _list(raw.get("instructions"))
    if len(flat) != len({item["id"] for item in flat if _is_question(item)}):
        taken.discard("instructions")  # not all of it is questions, each once: kept as it came
    return DataCollection(
        ref=ref,
        metadata={name: value for name, value in raw.items() if name not in taken},
        layout=raw.get(layout),
        instructions=found,
    )


def instructions(layout: Any, flat: Any) -> Iterator[Instruction]:
    """Yield every instruction once, in the order of the layout, then those only in the list.

    One that stands in both is the union of its fields; the flat list, which the vendor documents
    as complete, wins.
    """
    nested = {item["id"]: (item, page) for item, page in _nested(layout)}
    listed = {item["id"]: item for item in _list(flat) if _is_question(item)}
    for position, id_ in enumerate(dict.fromkeys([*nested, *listed]), 1):
        item, page = nested.get(id_, ({}, None))
        told = listed.get(id_, {})
        # A null of the list does not hide what the layout says.
        raw = item | {
            name: told[name] for name in told if told[name] is not None or name not in item
        }
        yield Instruction(
            id=id_,
            type=_text(raw.get("type")),
            question=_text(raw.get("description")),
            page=page,
            position=position,
            fields={name: raw[name] for name in _INSTRUCTION_FIELDS if name in raw},
            rest={name: value for name, value in raw.items() if name not in _INSTRUCTION_FIELDS},
        )


def with_instructions(collection: DataCollection, flat: Any) -> DataCollection:
    """Return the data collection with more instructions, from a list the API has apart."""
    more = tuple(instructions(collection.layout, flat))
    return replace(collection, instructions=more or collection.instructions)


def _nested(layout: Any) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the instructions of a layout, each with its page's number from 1.

    Pages hold ``page_items``, or ``rows`` of ``columns`` of ``items``: whatever lists are there
    are walked to their end, however they are nested.
    """
    for page, content in enumerate(_ordered(layout), 1):
        for item in _walk(content):
            yield item, page


def _walk(node: Any) -> Iterator[dict[str, Any]]:
    # An explicit stack: metadata is no more trusted to be shallow than to be right.
    stack = [node]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            lists = [node[name] for name in _CONTAINER_FIELDS if isinstance(node.get(name), list)]
            if lists:
                stack.extend(reversed([item for items in lists for item in _ordered(items)]))
            elif _is_question(node) and _text(node.get("type")):
                yield node
        elif isinstance(node, list):
            stack.extend(reversed(_ordered(node)))


def _is_question(node: Any) -> bool:
    """Whether an item has an id and is no content block."""
    return (
        isinstance(node, dict)
        and _text(node.get("id")) is not None
        and _text(node.get("type")) not in CONTENT_BLOCKS
    )


def _ordered(items: Any) -> list[Any]:
    """Return the items by their ``order``, where all have one; else as they came."""
    if not isinstance(items, list):
        return []
    orders = [item.get("order") if isinstance(item, dict) else None for item in items]
    if not all(isinstance(order, (int, float)) for order in orders):
        return items
    return sorted(items, key=lambda item: item["order"])


def _list(items: Any) -> list[Any]:
    """Return the flat list as it came: its ``order`` is a place on a page, not in the list."""
    return items if isinstance(items, list) else [] if items is None else [items]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
