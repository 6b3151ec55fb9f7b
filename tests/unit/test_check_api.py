"""`scripts/check-api`: what an OpenAPI document says of what the tap relies on."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from scripts.check_api import Finding, Verdict, compare, main, tables
from scripts.openapi import Document, DocumentError
from tap_prolific_export.model import Kind
from tap_prolific_export.prolific.contract import CALLS, INSTRUCTION_TYPES, Group
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Change = Callable[[dict[str, Any]], object]

FOLDER = ROOT / "tests" / "support" / "openapi"
FIRST = FOLDER / "first_generation.yml"
BASE = "/api/v1/data-collection/collections"
EXPORTS = f"{BASE}/{{collection_id}}/export"
EXPORT = f"{EXPORTS}/{{job}}"
ITEM = "200: collection_items[].page_items[]"


def loaded(path: Path) -> Any:
    """Return a YAML file's content, in which no two places are one object."""
    return json.loads(json.dumps(yaml.safe_load(path.read_text("utf-8"))))


def first() -> dict[str, Any]:
    """Return the document of the older generation."""
    document = loaded(FIRST)
    assert isinstance(document, dict)
    return document


def second() -> dict[str, Any]:
    """Return the document of the newer generation."""
    document = first()
    for path, item in loaded(FOLDER / "second_generation.yml").items():
        document["paths"][path] |= item
    return document


def schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    found = document["components"]["schemas"][name]
    assert isinstance(found, dict)
    return found


def fields(document: dict[str, Any], name: str) -> dict[str, Any]:
    found = schema(document, name)["properties"]
    assert isinstance(found, dict)
    return found


def found(document: dict[str, Any], verdict: Verdict) -> list[Finding]:
    return [each for each in compare(Document(document)) if each.verdict is verdict]


def named(document: dict[str, Any], verdict: Verdict) -> set[tuple[str, str]]:
    """Return the call (with `K` for the kind) and the thing of each finding."""
    return {
        (re.sub(r"/(collections|batches)(?=/|$)", "/K", each.call), each.what)
        for each in found(document, verdict)
    }


def test_the_older_generation_has_all_that_the_tap_relies_on() -> None:
    assert found(first(), Verdict.GONE) == []
    assert found(first(), Verdict.UNKNOWN) == []
    newer = {each for each in found(first(), Verdict.UNDESCRIBED) if each.note == Group.NEWER.value}
    assert {(each.call, each.what) for each in newer} == {
        (f"{method} /api/v1/data-collection/{kind.value}/{{id}}/export{rest}", what)
        for kind in Kind
        for method, rest, what in [
            ("GET", "", "call"),
            ("DELETE", "/{export_id}", "call"),
            ("POST", "", "parameter study_id"),
            ("POST", "", "parameter from"),
        ]
    }


def test_the_newer_generation_has_all_that_the_tap_relies_on() -> None:
    assert found(second(), Verdict.GONE) == []
    assert found(second(), Verdict.UNKNOWN) == []
    there = {each.call for each in found(second(), Verdict.THERE) if each.what == "call"}
    assert there == {
        f"{call.method} {call.path.replace('{kind}', kind.value)}"
        for call in CALLS
        for kind in call.kinds
    }
    # It replies with a job only, never with an archive at once.
    assert ("POST /api/v1/data-collection/K/{id}/export", "status 200") in named(
        second(), Verdict.UNDESCRIBED
    )


def test_what_only_other_sources_know_is_never_gone() -> None:
    left_out = {
        each.what.rpartition(" = ")[2]
        for each in found(second(), Verdict.UNDESCRIBED)
        if each.note == Group.UNPUBLISHED.value and " = " in each.what
    }
    assert left_out == {
        name for name, group in INSTRUCTION_TYPES.items() if group is Group.UNPUBLISHED
    }
    document = first()
    fields(document, "Instruction")["type"]["enum"].append("star_rating")
    assert found(document, Verdict.GONE) == []


def drop(path: str, *keys: Any) -> Change:
    """Return a change that deletes what keys lead to, from a path or a schema on."""

    def change(document: dict[str, Any]) -> None:
        node = document["paths"][path] if path.startswith("/") else schema(document, path)
        for key in keys[:-1]:
            node = node[key]
        del node[keys[-1]]

    return change


def put(path: str, *keys_and_value: Any) -> Change:
    """Return a change that sets what keys lead to, from a path or a schema on."""

    def change(document: dict[str, Any]) -> None:
        node = document["paths"][path] if path.startswith("/") else schema(document, path)
        *keys, last, value = keys_and_value
        for key in keys:
            node = node.setdefault(key, {})
        node[last] = value

    return change


def rename(path: str, new: str) -> Change:
    def change(document: dict[str, Any]) -> None:
        document["paths"][new] = document["paths"].pop(path)

    return change


TYPES = [name for name, group in INSTRUCTION_TYPES.items() if group is Group.ALWAYS]
GONE = [
    ("a path", rename(EXPORT, "/elsewhere"), "GET …/K/{id}/export/{export_id}", "call"),
    ("a method", drop(EXPORTS, "post"), "POST …/K/{id}/export", "call"),
    (
        "the slash at the end, which makes a POST a redirect",
        rename(EXPORTS, f"{EXPORTS}/"),
        "POST …/K/{id}/export",
        "path",
    ),
    ("a version", rename(BASE, BASE.replace("v1", "v2")), "GET …/K", "call"),
    ("a parameter", put(BASE, "get", "parameters", []), "GET …/K", "parameter workspace_id"),
    (
        "a parameter, moved into a header",
        put(BASE, "get", "parameters", [{"name": "workspace_id", "in": "header"}]),
        "GET …/K",
        "parameter workspace_id",
    ),
    (
        "a parameter that is required now",
        put(EXPORTS, "post", "parameters", [{"name": "why", "in": "query", "required": True}]),
        "POST …/K/{id}/export",
        "parameter why",
    ),
    (
        "a filter that is required now",
        put(EXPORTS, "post", "parameters", [{"name": "from", "in": "query", "required": True}]),
        "POST …/K/{id}/export",
        "parameter from",
    ),
    (
        "a body that is required now",
        put(EXPORTS, "post", "requestBody", {"required": True}),
        "POST …/K/{id}/export",
        "request body",
    ),
    (
        "the way to authenticate",
        lambda document: document["components"]["securitySchemes"].update(
            token={"type": "http", "scheme": "bearer"}
        ),
        "GET …/K",
        "header Authorization",
    ),
    (
        "the status of a success",
        put(EXPORT, "get", "responses", {"206": {}, "404": {}}),
        "GET …/K/{id}/export/{export_id}",
        "status 200",
    ),
    (
        "the status of a refusal",
        drop(EXPORT, "get", "responses", "404"),
        "GET …/K/{id}/export/{export_id}",
        "status 404",
    ),
    (
        "the type of a body",
        put(EXPORT, "get", "responses", "200", "content", {"application/xml": {}}),
        "GET …/K/{id}/export/{export_id}",
        "200: body",
    ),
    (
        "a field",
        drop("Complete", "properties", "url"),
        "GET …/K/{id}/export/{export_id}",
        "200: url",
    ),
    (
        "a field's type",
        put("Generating", "properties", "export_id", {"type": "integer"}),
        "GET …/K/{id}/export/{export_id}",
        "200: export_id",
    ),
    (
        "a field that may be null now",
        put("Complete", "properties", "url", "type", ["string", "null"]),
        "GET …/K/{id}/export/{export_id}",
        "200: url",
    ),
    (
        "a value",
        put("Complete", "properties", "status", "enum", ["done"]),
        "GET …/K/{id}/export/{export_id}",
        "200: status = complete",
    ),
    (
        "an instruction type",
        put("Instruction", "properties", "type", "enum", TYPES[1:]),
        "GET …/K/{id}",
        f"{ITEM}.type = {TYPES[0]}",
    ),
    (
        "where the questions are",
        drop("Collection", "properties", "collection_items"),
        "GET …/K/{id}",
        "200: collection_items",
    ),
    (
        "where the rows are",
        put(
            f"{BASE.replace('collections', 'batches')}/{{batch_id}}/instructions",
            *("get", "responses", "200", "content", "application/json", "schema"),
            {"properties": {"data": {"type": "array"}}},
        ),
        "GET …/K/{id}/instructions",
        "200: rows",
    ),
]


@pytest.mark.parametrize(
    ("change", "call", "what"),
    [pytest.param(*rest, id=name) for name, *rest in GONE],
)
def test_what_is_gone_or_has_changed_fails(
    change: Change, call: str, what: str, tmp_path: Path
) -> None:
    document = first()
    change(document)
    assert (call.replace("…", "/api/v1/data-collection"), what) in named(document, Verdict.GONE)
    assert run(document, tmp_path) == 1


UNKNOWN = [
    (
        "an instruction type",
        put("Instruction", "properties", "type", "enum", [*TYPES, "slider"]),
        "GET …/K/{id}",
        f"{ITEM}.type = slider",
    ),
    (
        "an instruction type that is one more variant",
        lambda document: schema(document, "Collection")["properties"]["collection_items"]["items"][
            "properties"
        ]["page_items"]["items"]["anyOf"].append({"properties": {"type": {"enum": ["slider"]}}}),
        "GET …/K/{id}",
        f"{ITEM}.type = slider",
    ),
    (
        "an instruction type that only a discriminator names",
        put("Instruction", "discriminator", {"propertyName": "type", "mapping": {"slider": "#/x"}}),
        "GET …/K/{id}",
        f"{ITEM}.type = slider",
    ),
    (
        "an instruction type that is only in a part of the document that the tap does not read",
        lambda document: document["components"]["schemas"].update(
            NewQuestion={"properties": {"type": {"enum": [TYPES[0], "slider"]}}}
        ),
        "#/components/schemas/NewQuestion",
        "type = slider",
    ),
    (
        "a parameter",
        put(EXPORTS, "post", "parameters", [{"name": "format", "in": "query"}]),
        "POST …/K/{id}/export",
        "parameter format",
    ),
    (
        "a body",
        put(EXPORTS, "post", "requestBody", {"content": {}}),
        "POST …/K/{id}/export",
        "request body",
    ),
    (
        "a status of an export",
        put("Generating", "properties", "status", "enum", ["generating", "queued"]),
        "GET …/K/{id}/export/{export_id}",
        "200: status = queued",
    ),
    (
        "an HTTP status",
        put(EXPORTS, "post", "responses", "402", {}),
        "POST …/K/{id}/export",
        "status 402",
    ),
    (
        "a field of a question",
        put("Instruction", "properties", "max_length", {"type": "integer"}),
        "GET …/K/{id}",
        f"{ITEM}.max_length",
    ),
    (
        "a call on exports",
        put(EXPORT, "patch", {"responses": {}}),
        f"PATCH {EXPORT.replace('collections', 'K')}",
        "call",
    ),
]


@pytest.mark.parametrize(
    ("change", "call", "what"),
    [pytest.param(*rest, id=name) for name, *rest in UNKNOWN],
)
def test_what_is_new_is_shown_and_does_not_fail(
    change: Change, call: str, what: str, tmp_path: Path
) -> None:
    document = first()
    change(document)
    assert (call.replace("…", "/api/v1/data-collection"), what) in named(document, Verdict.UNKNOWN)
    assert run(document, tmp_path) == 0


def test_a_part_of_the_newer_generation_that_goes_alone_is_gone() -> None:
    document = second()
    del document["paths"][EXPORTS]["get"]
    assert [(each.call, each.what) for each in found(document, Verdict.GONE)] == [
        (f"GET {BASE}/{{id}}/export", "call")
    ]


def test_a_legacy_call_that_goes_is_not_gone() -> None:
    document = first()
    del document["paths"]["/api/v1/data-collection/batches/{batch_id}/instructions"]
    assert found(document, Verdict.GONE) == []


def test_a_value_is_not_gone_where_any_other_is_allowed() -> None:
    document = first()
    status = fields(document, "Complete")["status"]
    fields(document, "Complete")["status"] = {
        "anyOf": [{"type": "string"}, {"type": "string", "enum": ["done"]}]
    }
    assert status["enum"] == ["complete"]
    assert found(document, Verdict.GONE) == []
    assert {what for _, what in named(document, Verdict.UNKNOWN)} == {"200: status = done"}


def test_both_parts_of_an_all_of_limit_the_values() -> None:
    document = first()
    every = {"type": "string", "enum": ["generating", "complete", "failed", "queued"]}
    document["components"]["schemas"]["Status"] = every
    fields(document, "Complete")["status"] = {
        "allOf": [{"$ref": "#/components/schemas/Status"}, {"enum": ["complete"]}]
    }
    assert found(document, Verdict.UNKNOWN) == []
    assert found(document, Verdict.GONE) == []


def test_an_object_that_is_described_as_free_form_is_not_checked() -> None:
    document = second()
    listed = document["paths"][EXPORTS]["get"]["responses"]["200"]["content"]["application/json"]
    listed["schema"]["items"]["properties"]["filter"] = {"type": "object"}
    assert found(document, Verdict.GONE) == []
    assert {
        each.what
        for each in found(document, Verdict.UNDESCRIBED)
        if each.note == "what holds it is described as free-form"
    } == {"200: [].filter.study_id", "200: [].filter.from"}


def as_version_3_0(node: Any) -> Any:
    """Return a document's node as OpenAPI 3.0 has it."""
    if isinstance(node, list):
        return [as_version_3_0(each) for each in node if each != {"type": "null"}]
    if not isinstance(node, dict):
        return node
    node = {name: as_version_3_0(value) for name, value in node.items()}
    if isinstance(node.get("type"), list):
        [node["type"]] = {*node["type"]} - {"null"}
        node["nullable"] = True
    if "const" in node:
        node["enum"] = [node.pop("const")]
    return node


def without_base(document: dict[str, Any], **servers: Any) -> dict[str, Any]:
    """Return a document whose paths do not begin with a version."""
    paths = {path.removeprefix("/api/v1"): item for path, item in document["paths"].items()}
    return document | {"paths": paths} | servers


def test_the_versions_and_bases_of_a_document_make_no_difference() -> None:
    document = as_version_3_0(second()) | {"openapi": "3.0.3"}
    document["paths"] = {
        re.sub(r"\{\w+\}", "{x}", path): item for path, item in document["paths"].items()
    }
    document = without_base(
        document, servers=[{"url": "https://{region}.prolific.example/api/v1/"}]
    )
    # Where the path or a type is quoted, the spelling differs.
    assert {(each.verdict, each.call, each.what) for each in compare(Document(document))} == {
        (each.verdict, each.call, each.what) for each in compare(Document(second()))
    }
    [batch_items] = {
        each.note for each in found(document, Verdict.THERE) if each.what == "200: batch_items"
    }
    assert batch_items == "array or null"


def test_a_server_of_another_version_is_another_api() -> None:
    assert found(without_base(first(), servers=[]), Verdict.GONE) == []
    document = without_base(first(), servers=[{"url": "https://api.prolific.example/api/v2"}])
    assert ("GET /api/v1/data-collection/K", "call") in named(document, Verdict.GONE)


@pytest.mark.parametrize(
    "endless",
    [
        {"$ref": "#/components/schemas/Complete"},
        {"allOf": [{"$ref": "#/components/schemas/Complete"}]},
        {"oneOf": [{"$ref": "#/components/schemas/Complete"}, {"type": "object"}]},
    ],
)
def test_a_schema_that_refers_to_itself_ends(endless: dict[str, Any]) -> None:
    document = first()
    document["components"]["schemas"]["Complete"] = endless
    fields(document, "Details")["more"] = {"$ref": "#/components/schemas/Details"}
    document["paths"]["/loop"] = {"$ref": "#/paths/~1loop"}
    assert ("POST /api/v1/data-collection/K/{id}/export", "200: url") in named(
        document, Verdict.UNDESCRIBED
    )


def test_yaml_that_contains_itself_where_it_does_not_matter_is_read(tmp_path: Path) -> None:
    path = tmp_path / "openapi.yml"
    path.write_text(FIRST.read_text("utf-8") + "x-endless: &endless [*endless]\n", encoding="utf-8")
    assert main([str(path)]) == 0


def run(document: dict[str, Any], folder: Path) -> int:
    path = folder / "openapi.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return main([str(path)])


def test_the_tables_name_everything_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(FIRST)]) == 0
    printed = capsys.readouterr().out
    findings = compare(Document(first()))
    assert printed.startswith("\n".join(tables(findings)))
    for verdict in Verdict:
        count = sum(each.verdict is verdict for each in findings)
        assert f"{verdict.value}: {count}\n" in printed
    assert len({(each.call, each.what) for each in findings}) == len(findings)
    lines = [line.strip().split("  ")[0] for line in printed.splitlines() if line[:4] == " " * 4]
    assert sorted(lines) == sorted(each.what for each in findings)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(None, "cannot be read: No such file or directory", id="no file"),
        pytest.param(b"\xff\xfe\x00", "cannot be read: not a text in UTF-8", id="no text"),
        pytest.param(b"openapi: '3.1.0\npaths: {", r"neither YAML nor JSON \(line \d\)", id="torn"),
        pytest.param(b"", "it has no `openapi`", id="nothing"),
        pytest.param(b"[1, 2]", "it has no `openapi`", id="a list"),
        pytest.param(b'{"swagger": "2.0", "paths": {}}', "it has no `openapi`", id="Swagger"),
        pytest.param(
            b"openapi: 4.0.0\npaths: {}", "its `openapi` is '4.0.0'", id="another version"
        ),
        pytest.param(b"openapi: 3.1.0\nwebhooks: {}", "it has no `paths`", id="no paths"),
        pytest.param(
            b"openapi: 3.1.0\npaths: {/x: {$ref: 'other.yml#/x'}}",
            "'other.yml#/x' leads to another file: bundle them",
            id="another file",
        ),
        pytest.param(
            b"openapi: 3.1.0\npaths: {/x: {$ref: '#/y'}}", "'#/y' leads nowhere", id="no target"
        ),
        pytest.param(b"[" * 100_000, "neither YAML nor JSON", id="too deep"),
        pytest.param(
            b"openapi: 3.0.0\npaths: {/api/v1/data-collection/collections: {get: {responses: "
            b"{200: {content: {application/json: {schema: &a {allOf: [*a]}}}}}}}}",
            "it contains itself, or is too deep",
            id="YAML that contains itself",
        ),
    ],
)
def test_a_file_that_is_no_openapi_document_is_an_error_of_its_own(
    content: bytes | None, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "openapi.yml"
    if content is not None:
        path.write_bytes(content)
    assert main([str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.search(says, printed.err)
    assert str(path) in printed.err
    assert "Traceback" not in printed.err


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a document: what holds it, and its key."""
    for key, below in node.items() if isinstance(node, dict) else enumerate(node):
        yield node, key
        if isinstance(below, (dict, list)):
            yield from places(below)


JUNK: list[Any] = [None, 7, "junk", [7], {"junk": None}]


@pytest.mark.parametrize(
    "begin", [0, *(pytest.param(each, marks=pytest.mark.slow) for each in range(1, len(JUNK)))]
)
def test_a_document_with_junk_anywhere_ends_without_a_traceback(begin: int) -> None:
    document = second()
    for place, (holder, key) in enumerate([*places(document)], begin):
        kept, holder[key] = holder[key], JUNK[place % len(JUNK)]
        try:
            compare(Document(document))
        except DocumentError:
            pass
        finally:
            holder[key] = kept
    assert found(document, Verdict.GONE) == []
