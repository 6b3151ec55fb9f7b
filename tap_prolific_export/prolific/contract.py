"""What the tap relies on in Prolific's API, stated once, as data.

The client, the stand-in of the tests and ``scripts/check-api``, which compares this module with an
OpenAPI document of Prolific's, all use it. It says nothing about the archive, because OpenAPI
documents do not describe it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from tap_prolific_export.model import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

API = "/api/v1"
# Templates: `kind` is the value of a `Kind`.
DATA_COLLECTIONS = f"{API}/data-collection/{{kind}}"
DATA_COLLECTION = f"{DATA_COLLECTIONS}/{{id}}"
INSTRUCTIONS = f"{DATA_COLLECTION}/instructions"
EXPORTS = f"{DATA_COLLECTION}/export"
EXPORT = f"{EXPORTS}/{{export_id}}"

# The life of an export job.
GENERATING = "generating"
COMPLETE = "complete"
FAILED = "failed"
# A job with any other status may still be generated, also if the status is unknown.
ENDED = frozenset({COMPLETE, FAILED})
EXPORT_STATUSES = (GENERATING, COMPLETE, FAILED)

# The newer generation allows this many jobs per data collection, over all filters.
MAX_JOBS = 10

# Refusals that the client handles or explains. It fails with the API's own words on any other.
KNOWN_REFUSALS = frozenset({400, 401, 403, 404, 405, 408, 409, 410, 422, 425, 429})


class Group(Enum):
    """Parts of the API that may be missing together, because some documents leave them out."""

    ALWAYS = "every version of the API"
    NEWER = "the newer generation of exports"
    LEGACY = "the instructions of legacy batches, announced to end"
    # Known from help pages, announcements or the vendor's client: may be missing on its own.
    UNPUBLISHED = "known from other sources; not in the document of July 2026 either"


# Instruction types that the tap knows. `rows.answers.column_type_of` gives each its column type;
# any other type is not an error, but its answers are kept as JSON text.
INSTRUCTION_TYPES: Mapping[str, Group] = {
    "free_text": Group.ALWAYS,
    "free_text_with_unit": Group.ALWAYS,
    "multiple_choice": Group.ALWAYS,
    "multiple_choice_with_free_text": Group.ALWAYS,
    "multiple_choice_with_unit": Group.UNPUBLISHED,
    "file_upload": Group.ALWAYS,
    "video_narration": Group.UNPUBLISHED,
    "star_rating": Group.UNPUBLISHED,
}
# Items of a layout that are not instructions, and the kinds of data collection that have them.
CONTENT_BLOCKS: Mapping[str, tuple[Kind, ...]] = {
    "rich_text": tuple(Kind),
    "image": tuple(Kind),
    "dataset_field": (Kind.BATCH,),
}


@dataclass(frozen=True)
class Field:
    """A field of a reply that the tap reads.

    Attributes:
        path: Names from the top of the reply, separated by dots; ``[]`` after a name stands for
            the items of a list, as in ``results[].id``.
        types: JSON types that the tap can use; none: it keeps any value unchanged.
        values: Values that it relies on, each with its group.
        handled: Values that it handles as well, wherever they turn up.
        group: The part of the API that the field belongs to.
    """

    path: str
    types: tuple[str, ...] = ("string",)
    values: Mapping[str, Group] = field(default_factory=dict)
    handled: tuple[str, ...] = ()
    group: Group = Group.ALWAYS


@dataclass(frozen=True)
class Parameter:
    """A query parameter that the tap sends.

    Attributes:
        name: Its name.
        always: Whether every request has it.
        group: The part of the API that it belongs to.
    """

    name: str
    always: bool = False
    group: Group = Group.ALWAYS


@dataclass(frozen=True)
class Reply:
    """A successful reply.

    Attributes:
        status: Its HTTP status.
        fields: What the tap reads of it.
        places: Where these fields may be, best first: at the top, or in the items of a list.
        also_known: By path of an object: further fields that are known there. The fields of other
            objects may be new without being reported.
    """

    status: int
    fields: tuple[Field, ...] = ()
    places: tuple[str, ...] = ("",)
    also_known: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A call that the client makes.

    Attributes:
        method: The HTTP method.
        path: The path's template.
        replies: Successful replies; the API need not give all of them.
        kinds: The kinds of data collection it is made for.
        parameters: The query parameters that the tap sends.
        unsent: Known query parameters that the tap does not send.
        refusals: Statuses of refusals that mean something to the tap.
        group: The part of the API that the call belongs to.
    """

    method: str
    path: str
    replies: tuple[Reply, ...]
    kinds: tuple[Kind, ...] = tuple(Kind)
    parameters: tuple[Parameter, ...] = ()
    unsent: tuple[str, ...] = ()
    refusals: tuple[int, ...] = ()
    group: Group = Group.ALWAYS


def _below(path: str, fields: tuple[Field, ...]) -> tuple[Field, ...]:
    return tuple(replace(each, path=f"{path}.{each.path}") for each in fields)


def _status(*relied_on: str) -> Field:
    values = dict.fromkeys(relied_on, Group.ALWAYS)
    return Field("status", values=values, handled=EXPORT_STATUSES)


_TEXT = ("string", "null")
_LIST = ("array", "null")
_COUNT = ("integer", "null")
_SCALAR = ("string", "integer", "number", "boolean")

_EXPORT_ID = Field("export_id")
_URL = Field("url")
_KNOWN_OF_EXPORTS = {"": ("expires_at",)}

_VALIDATION = (
    Field("validation", ("object", "null")),
    Field("validation.type", values={"number": Group.ALWAYS}, handled=("string",)),
)
_INSTRUCTION = (
    Field("id"),
    Field("description", _TEXT),
    Field("options", _LIST),
    Field("options[].label"),
    Field("options[].value", _SCALAR),
    Field("answer_limit", _COUNT),
    Field("unit_options", _LIST),
    *_below("unit_options[]", _VALIDATION),
    Field("default_unit", _TEXT),
    Field("unit_position", _TEXT),
    *_VALIDATION,
    Field("accepted_file_types", _LIST),
    Field("max_file_size_mb", ("integer", "number", "null")),
    Field("min_file_count", _COUNT),
    Field("max_file_count", _COUNT),
    Field("max_stars", _COUNT, group=Group.UNPUBLISHED),
    Field("helper_text", _TEXT),
    Field("placeholder_text_input", _TEXT),
)
_AUTHOR = (Field("created_at", _TEXT), Field("created_by", _TEXT))
_ORDER = Field("order", ("integer", "number", "null"))
_KNOWN_OF_INSTRUCTIONS = ("parent_id", "parent_type", "disable_dropdown")
_KNOWN_OF_BLOCKS = (
    *("content", "content_format"),  # rich_text
    *("url", "alt_text", "caption"),  # image
    "field",  # dataset_field
)


def _item_type(*kinds: Kind) -> Field:
    """Return the type of a layout's item in a kind of data collection; none: of an instruction."""
    blocks = {name: Group.ALWAYS for name, of in CONTENT_BLOCKS.items() if {*kinds} & {*of}}
    return Field("type", values={**INSTRUCTION_TYPES, **blocks})


_METADATA = (
    Field("id"),
    Field("name", _TEXT),
    Field("workspace_id", _TEXT),
    Field("schema_version", ("string", "integer", "null")),
    *_AUTHOR,
    Field("task_details", ()),
)
_COLLECTION_ITEM = "collection_items[].page_items[]"
_BATCH_ITEM = "batch_items[].rows[].columns[].items[]"

REQUEST_EXPORT = Call(
    "POST",
    EXPORTS,
    (
        Reply(202, (_status(GENERATING), _EXPORT_ID), also_known={"": ()}),
        # Only the older generation replies with an archive at once.
        Reply(200, (_status(COMPLETE), _URL), also_known=_KNOWN_OF_EXPORTS),
    ),
    parameters=(Parameter("study_id", group=Group.NEWER), Parameter("from", group=Group.NEWER)),
    unsent=("to",),
)
GET_EXPORT = Call(
    "GET",
    EXPORT,
    (Reply(200, (_status(*EXPORT_STATUSES), _EXPORT_ID, _URL), also_known=_KNOWN_OF_EXPORTS),),
    refusals=(404,),
)
LIST_EXPORTS = Call(
    "GET",
    EXPORTS,
    (
        Reply(
            200,
            (
                _EXPORT_ID,
                _status(*EXPORT_STATUSES),
                Field("created_at", _TEXT),
                Field("filter", ("object", "null")),
                Field("filter.study_id", _TEXT),
                Field("filter.from", _TEXT),
            ),
            places=("[]", "results[]", "exports[]"),
            also_known={"": (), "filter": ("to",)},
        ),
    ),
    group=Group.NEWER,
)
DELETE_EXPORT = Call("DELETE", EXPORT, (Reply(204),), refusals=(404,), group=Group.NEWER)
LIST_DATA_COLLECTIONS = Call(
    "GET",
    DATA_COLLECTIONS,
    (
        Reply(
            200,
            (
                Field("results", ("array",)),
                Field("results[].id"),
                Field("meta", ("object", "null")),
                Field("meta.count", _COUNT),
            ),
            also_known={"": (), "meta": ()},
        ),
    ),
    parameters=(
        Parameter("workspace_id", always=True),
        Parameter("limit", group=Group.UNPUBLISHED),
        Parameter("offset", group=Group.UNPUBLISHED),
    ),
)
GET_COLLECTION = Call(
    "GET",
    DATA_COLLECTION,
    (
        Reply(
            200,
            (
                *_METADATA,
                Field("last_modified_at", _TEXT),
                Field("last_modified_by", _TEXT),
                Field("collection_items", ("array",)),
                Field("collection_items[].page_items", ("array",)),
                *_below(
                    _COLLECTION_ITEM,
                    (_item_type(Kind.COLLECTION), *_INSTRUCTION, _ORDER, *_AUTHOR),
                ),
            ),
            also_known={
                "": (),
                _COLLECTION_ITEM: (
                    *("schema_version", *_KNOWN_OF_INSTRUCTIONS),
                    *_KNOWN_OF_BLOCKS,
                ),
            },
        ),
    ),
    kinds=(Kind.COLLECTION,),
)
GET_BATCH = Call(
    "GET",
    DATA_COLLECTION,
    (
        Reply(
            200,
            (
                *_METADATA,
                Field("status", _TEXT),
                Field("datasets", ()),
                Field("batch_items", _LIST),
                Field("batch_items[].rows", ("array",)),
                Field("batch_items[].rows[].columns", ("array",)),
                Field("batch_items[].rows[].columns[].items", ("array",)),
                *_below(_BATCH_ITEM, (_item_type(Kind.BATCH), *_INSTRUCTION)),
            ),
            also_known={
                "": (
                    *("total_task_count", "total_instruction_count", "total_task_groups"),
                    *("auto_sync_enabled", "last_modified_at", "last_modified_by"),
                ),
                _BATCH_ITEM: (
                    *("order", "created_at", "created_by", *_KNOWN_OF_INSTRUCTIONS),
                    *_KNOWN_OF_BLOCKS,
                ),
            },
        ),
    ),
    kinds=(Kind.BATCH,),
)
GET_BATCH_INSTRUCTIONS = Call(
    "GET",
    INSTRUCTIONS,
    (
        Reply(
            200,
            (_item_type(), *_INSTRUCTION, *_AUTHOR),
            places=("results[]", "instructions[]", "[]"),
            also_known={"": ("order", *_KNOWN_OF_INSTRUCTIONS)},
        ),
    ),
    kinds=(Kind.BATCH,),
    group=Group.LEGACY,
)

CALLS = (
    REQUEST_EXPORT,
    GET_EXPORT,
    LIST_EXPORTS,
    DELETE_EXPORT,
    LIST_DATA_COLLECTIONS,
    GET_COLLECTION,
    GET_BATCH,
    GET_BATCH_INSTRUCTIONS,
)
