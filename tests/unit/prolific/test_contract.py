"""The contract is what the client does and what the rows know."""

from __future__ import annotations

import ast
import inspect
import json
import re
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tap_prolific_export.errors import DataCollectionError
from tap_prolific_export.http import RETRIED_STATUSES
from tap_prolific_export.model import EVERYTHING, DataCollectionRef, ExportFilter, Kind
from tap_prolific_export.prolific import contract
from tap_prolific_export.prolific.client import ExportStatus, ProlificAPI
from tap_prolific_export.prolific.contract import CALLS, INSTRUCTION_TYPES, Call
from tap_prolific_export.rows import answers, collection
from tap_prolific_export.rows.answers import ColumnKind, column_type_of
from tap_prolific_export.rows.schema import COLLECTIONS
from tests.support.api_clients import make_api
from tests.support.clocks import NOW, MonotonicClock
from tests.support.generations import fresh
from tests.support.questions import question
from tests.support.stand_in import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.stand_in import Hosted, StandIn, World

COLLECTION = DataCollectionRef(Kind.COLLECTION, "c")
FULL = {
    "status": "complete",
    "export_id": "e",
    "url": "https://archives.example/x",
    "expires_at": "2026-11-23T09:00:00Z",
    "created_at": "2026-11-23T08:00:00Z",
    "filter": {"study_id": "s", "from": "2026-11-22T08:00:00Z"},
}


@pytest.fixture
def api(stand_in: StandIn) -> ProlificAPI:
    return make_api(stand_in, MonotonicClock())


def as_in_the_contract(request: str) -> tuple[str, str, Kind]:
    """Return a request's method, the template of its path, and the kind of data collection."""
    method, _, url = request.partition(" ")
    [found] = [
        (call.method, call.path, kind)
        for call in CALLS
        for kind in call.kinds
        if call.method == method
        and re.fullmatch(
            call.path.format(kind=kind.value, id="[^/]+", export_id="[^/]+"), urlsplit(url).path
        )
    ]
    return found


def sent(world: World) -> set[tuple[str, str]]:
    """Return the query parameters that the API was sent, each with the method."""
    return {
        (request.partition(" ")[0], name)
        for request in world.asked("api")
        for name in parse_qs(urlsplit(request).query)
    }


@fresh
def test_the_client_makes_the_calls_of_the_contract_and_no_others(
    api: ProlificAPI, world: World, collection: Hosted, batch: Hosted
) -> None:
    half = {"results": [{"id": "elsewhere"}], "meta": {"count": 2}}
    page = Fault("api", "GET .*collections\\?", status=200, body=json.dumps(half).encode())
    world.faults = [page]
    for kind, hosted in ((Kind.COLLECTION, collection), (Kind.BATCH, batch)):
        ref = DataCollectionRef(kind, hosted.id)
        api.data_collections(kind, hosted.workspace_id)
        api.data_collection(ref)
        asked = ExportFilter("study", datetime(2026, 11, 1, tzinfo=timezone.utc))
        job = api.request_export(ref, asked).export_id
        assert job
        api.export_status(ref, job)
        assert api.export_jobs(ref)
        api.delete_export(ref, job)
    assert api.batch_instructions(ref)
    assert {as_in_the_contract(request) for request in world.asked("api")} == {
        (call.method, call.path, kind) for call in CALLS for kind in call.kinds
    }
    parameters = {(call.method, each.name) for call in CALLS for each in call.parameters}
    assert sent(world) <= parameters
    # These are sent at least; how a list is paged may change.
    assert {("POST", "study_id"), ("POST", "from"), ("GET", "workspace_id")} <= sent(world)


def reply(call: Call, place: str, fields: dict[str, Any]) -> Fault:
    """Return a reply with these fields at a place of the contract."""
    body: Any = [fields] if place.endswith("[]") else fields
    name = place.removesuffix("[]")
    body = json.dumps({name: body} if name else body).encode()
    return Fault("api", f"^{call.method} ", status=call.replies[-1].status, body=body)


def read(api: ProlificAPI, world: World, call: Call, answer: Fault) -> Any:
    """Return what the client makes of a reply; the error, if it is of no use."""
    world.faults = [answer]
    calls: dict[tuple[str, str], Callable[[], Any]] = {
        ("POST", contract.EXPORTS): lambda: api.request_export(COLLECTION, EVERYTHING),
        ("GET", contract.EXPORT): lambda: api.export_status(COLLECTION, "e"),
        ("GET", contract.EXPORTS): lambda: api.export_jobs(COLLECTION),
    }
    try:
        result = calls[call.method, call.path]()
    except DataCollectionError as error:
        return str(error)
    return replace(result, date=NOW) if isinstance(result, ExportStatus) else result


def without(fields: dict[str, Any], path: str) -> dict[str, Any]:
    """Return a copy of the fields without one."""
    name, _, below = path.partition(".")
    if below:
        return {**fields, name: without(fields[name], below)}
    return {key: value for key, value in fields.items() if key != name}


@fresh
@pytest.mark.parametrize(
    ("call", "place"),
    [
        pytest.param(call, place, id=f"{call.method} {call.path} {place}")
        for call in (contract.REQUEST_EXPORT, contract.GET_EXPORT, contract.LIST_EXPORTS)
        for place in call.replies[0].places
    ],
)
def test_the_client_reads_the_fields_of_the_contract_and_no_others(
    call: Call, place: str, api: ProlificAPI, world: World
) -> None:
    paths = {each.path for answer in call.replies for each in answer.fields}
    names = {path.partition(".")[0] for path in paths}
    whole = read(api, world, call, reply(call, place, FULL))
    known = {name: value for name, value in FULL.items() if name in names}
    assert whole == read(api, world, call, reply(call, place, known))
    for path in paths:
        assert whole != read(api, world, call, reply(call, place, without(FULL, path))), path


@pytest.mark.parametrize("name", INSTRUCTION_TYPES)
def test_every_instruction_type_of_the_contract_has_a_column_type_of_its_own(name: str) -> None:
    assert column_type_of(question(name)).kind is not ColumnKind.JSON


def test_every_instruction_type_with_a_column_type_is_in_the_contract() -> None:
    module = ast.parse(inspect.getsource(answers))
    texts = {
        node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    known = {text for text in texts if column_type_of(question(text)).kind is not ColumnKind.JSON}
    assert known == {*INSTRUCTION_TYPES}


def fields_below(call: Call, item: str) -> set[str]:
    """Return the names of the fields that the tap reads of an object in a reply."""
    [answer] = call.replies
    paths = {each.path for each in answer.fields if each.path.startswith(item)}
    return {re.split(r"[.\[]", path.removeprefix(item))[0] for path in paths}


def test_the_rows_know_the_fields_of_the_contract() -> None:
    read_of_instructions = (
        fields_below(contract.GET_COLLECTION, "collection_items[].page_items[].")
        | fields_below(contract.GET_BATCH, "batch_items[].rows[].columns[].items[].")
        | fields_below(contract.GET_BATCH_INSTRUCTIONS, "")
    )
    assert read_of_instructions == {*collection._INSTRUCTION_FIELDS}
    of_metadata = fields_below(contract.GET_COLLECTION, "") | fields_below(contract.GET_BATCH, "")
    ours = {
        *("data_collection_id", "export_id", "exported_at", "data_collection_method"),
        *("layout", "instruction_count", "exported_response_count", "exported_file_count"),
        *("archive_bytes", "export_filter", "full_exported_at", "additional_fields"),
    }
    columns = {each.name for each in COLLECTIONS.columns}
    assert of_metadata == columns - ours | {"id", *collection.LAYOUTS}
    assert {*contract.CONTENT_BLOCKS} == collection.CONTENT_BLOCKS


def test_what_is_tried_again_is_a_known_refusal() -> None:
    assert RETRIED_STATUSES <= contract.KNOWN_REFUSALS
