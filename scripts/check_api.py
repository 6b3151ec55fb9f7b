"""Compare an OpenAPI document of Prolific's with what the tap relies on. See scripts/check-api.

What the tap relies on is in `tap_prolific_export.prolific.contract`. Exit codes: 0: all of it is in
the document, or in a part of the API that the document leaves out; 1: some of it is gone or has
changed; 2: the file is not an OpenAPI document.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.openapi import (
    METHODS,
    Document,
    DocumentError,
    Operation,
    Paths,
    as_list,
    as_object,
    normal_path,
)
from tap_prolific_export.model import Kind
from tap_prolific_export.prolific.contract import (
    API,
    CALLS,
    CONTENT_BLOCKS,
    EXPORTS,
    INSTRUCTION_TYPES,
    KNOWN_REFUSALS,
    Call,
    Field,
    Group,
    Reply,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SERVER_ERRORS = 500
AUTHORIZATION = "authorization"
NEW_TYPE = "add it to INSTRUCTION_TYPES in contract.py, and its columns to rows/answers.py"


class Verdict(Enum):
    """What the comparison says of one thing; the value is the heading of its table."""

    THERE = "Relied on and there"
    GONE = "Relied on and gone or changed"
    UNKNOWN = "There and not known"
    UNDESCRIBED = "Not described in this document, so not checked"


@dataclass(frozen=True)
class Finding:
    """One line of a table.

    Attributes:
        verdict: The table.
        call: Method and path, as the tap calls it.
        what: The thing that was compared.
        note: What the document says of it.
    """

    verdict: Verdict
    call: str
    what: str
    note: str = ""


class Comparison:
    """Compares the document with one call, for one kind of data collection.

    Args:
        document: The document.
        paths: Its `paths`.
        call: The call.
        kind: The kind of data collection.

    Attributes:
        findings: What was found.
        missing: What is not in the document, with its group: whether it is gone depends on the
            rest of the group.
        groups: The groups of which the document has something.
    """

    def __init__(self, document: Document, paths: Paths, call: Call, kind: Kind) -> None:
        self.document = document
        self.paths = paths
        self.call = call
        self.kind = kind
        self.path = call.path.replace("{kind}", kind.value)
        self.name = f"{call.method} {self.path}"
        self.findings: list[Finding] = []
        self.missing: list[tuple[Group, str, str]] = []
        self.groups: set[Group] = set()

    def run(self) -> None:
        """Make all findings."""
        wanted = normal_path(self.path, API)
        path, item = self.paths.get(wanted) or ("", {})
        operation = self.document.operation(path, item, self.call.method)
        if operation is None:
            # A POST to a path without its slash is redirected, and the tap follows no redirects.
            toggled = wanted.removesuffix("/") if wanted.endswith("/") else f"{wanted}/"
            path, item = self.paths.get(toggled) or (path, item)
            if self.document.operation(path, item, self.call.method):
                self._add(Verdict.GONE, "path", f"is now {path}")
                return
            note = f"{path} has no {self.call.method}" if path else "no such path"
            self.missing.append((self.call.group, "call", note))
            return
        deprecated = ", deprecated" if operation.raw.get("deprecated") is True else ""
        self._there(self.call.group, "call", f"{path}{deprecated}")
        self._authorization(operation)
        self._parameters(operation)
        self._body(operation)
        self._statuses(operation)

    def _add(self, verdict: Verdict, what: str, note: str = "") -> None:
        self.findings.append(Finding(verdict, self.name, what, note))

    def _there(self, group: Group, what: str, note: str = "") -> None:
        self.groups.add(group)
        self._add(Verdict.THERE, what, note)

    def _authorization(self, operation: Operation) -> None:
        what = "header Authorization"
        for each in operation.parameters:
            if each.get("in") == "header" and str(each.get("name")).lower() == AUTHORIZATION:
                self._add(Verdict.THERE, what, "a parameter")
                return
        raw = self.document.raw
        names = {
            name
            for required in as_list(operation.raw.get("security", raw.get("security")))
            for name in as_object(required)
        }
        schemes = as_object(as_object(raw.get("components")).get("securitySchemes"))
        used = {name: as_object(self.document.resolve(schemes.get(name))) for name in sorted(names)}
        for name, scheme in used.items():
            header = str(scheme.get("name")).lower() if scheme.get("in") == "header" else ""
            if scheme.get("type") == "apiKey" and header == AUTHORIZATION:
                self._add(Verdict.THERE, what, f"the security scheme {name}")
                return
        if used:
            said = ", ".join(f"{name}: {scheme.get('type')}" for name, scheme in used.items())
            self._add(Verdict.GONE, what, f"the security schemes are now {said}")
        else:
            self._add(Verdict.UNDESCRIBED, what)

    def _parameters(self, operation: Operation) -> None:
        described = {
            str(each.get("name")): each
            for each in operation.parameters
            if each.get("in") in ("query", "header", "cookie")
            and not (each["in"] == "header" and str(each.get("name")).lower() == AUTHORIZATION)
        }
        sent = {each.name: each for each in self.call.parameters}
        for name, parameter in sent.items():
            what = f"parameter {name}"
            found = described.get(name)
            if found is None or found["in"] != "query":
                self.missing.append((parameter.group, what, "no such query parameter"))
            elif found.get("required") is True and not parameter.always:
                self._add(Verdict.GONE, what, "is now required, but the tap may leave it out")
            else:
                self._there(parameter.group, what, _deprecated(found))
        for name, found in described.items():
            if name in sent:
                continue
            if found.get("required") is True:
                self._add(Verdict.GONE, f"parameter {name}", "is required, but the tap sends none")
            elif name not in self.call.unsent:
                self._add(Verdict.UNKNOWN, f"parameter {name}", f"in the {found['in']}")

    def _body(self, operation: Operation) -> None:
        body = self.document.resolve(operation.raw.get("requestBody"))
        if not isinstance(body, dict):
            return
        if body.get("required") is True:
            self._add(Verdict.GONE, "request body", "is required, but the tap sends none")
        else:
            self._add(Verdict.UNKNOWN, "request body", "optional")

    def _statuses(self, operation: Operation) -> None:
        responses = operation.responses
        found = {
            reply.status: status
            for reply in self.call.replies
            for status in (str(reply.status), f"{reply.status // 100}XX")
            if status in responses
        }
        for reply in self.call.replies:
            what = f"status {reply.status}"
            if reply.status in found:
                self._there(self.call.group, what)
                self._reply(reply, responses[found[reply.status]])
            elif found:
                self._add(Verdict.UNDESCRIBED, what, "the tap takes any of the statuses")
            else:
                self._add(Verdict.GONE, what, f"the statuses are {', '.join(responses) or 'none'}")
        for status in self.call.refusals:
            if {str(status), "4XX"} & {*responses}:
                self._there(self.call.group, f"status {status}")
            else:
                self._add(
                    Verdict.GONE, f"status {status}", f"the statuses are {', '.join(responses)}"
                )
        known = {str(reply.status) for reply in self.call.replies} | {*found.values()}
        for described in responses:
            if described not in known and not _is_known_refusal(described):
                self._add(Verdict.UNKNOWN, f"status {described}")

    def _reply(self, reply: Reply, response: dict[str, Any]) -> None:
        if not reply.fields:
            return
        schema = self.document.json_schema(response)
        if schema is None:
            self._add(Verdict.GONE, f"{reply.status}: body", "no JSON is described")
            return
        place = next((p for p in reply.places if self._find(schema, p)), None)
        if place is None:
            if self.document.describes_content([schema]):
                rows = ", ".join(reply.places)
                self._add(Verdict.GONE, f"{reply.status}: rows", f"not in any of: {rows}")
            else:
                self._add(Verdict.UNDESCRIBED, f"{reply.status}: rows", "a free-form body")
            return
        missing: list[str] = []
        for each in reply.fields:
            path = _joined(place, each.path)
            if not any(path.startswith((f"{parent}.", f"{parent}[")) for parent in missing):
                missing += [] if self._field(reply, schema, each, path) else [path]
        for path, also_known in reply.also_known.items():
            names = {
                field.path.removeprefix(f"{path}." if path else "").partition(".")[0]
                for field in reply.fields
                if field.path.startswith(f"{path}." if path else "")
            }
            known = {name.removesuffix("[]") for name in names} | {*also_known}
            found = self.document.names(self._find(schema, _joined(place, path)))
            for name in sorted(found - known):
                self._add(Verdict.UNKNOWN, f"{reply.status}: {_joined(place, path, name)}", "field")

    def _find(self, schema: Any, path: str) -> list[Any]:
        return self.document.find([schema], _steps(path))

    def _field(self, reply: Reply, schema: Any, each: Field, path: str) -> bool:
        """Compare a field; return whether the document has it."""
        what = f"{reply.status}: {path}"
        group = each.group if each.group is not Group.ALWAYS else self.call.group
        found = self._find(schema, path)
        if not found:
            parent = self.document.find([schema], _steps(path)[:-1])
            if self.document.describes_content(parent):
                self.missing.append((group, what, "no such field"))
            else:
                self._add(Verdict.UNDESCRIBED, what, "what holds it is described as free-form")
            return False
        types = self.document.types(found)
        usable = {*each.types} | ({"integer"} if "number" in each.types else set())
        if each.types and types - usable:
            note = f"was {_either(each.types)}, is {_either(types)}"
            self._add(Verdict.GONE, what, note)
            return True
        self._there(group, what, _either(types) or "any type")
        if each.values:
            self._values(each, what, found)
        return True

    def _values(self, each: Field, what: str, found: list[Any]) -> None:
        values = self.document.values(found)
        if values.is_open and not values.named:
            self._add(Verdict.UNDESCRIBED, f"{what}: values", "any value")
            return
        for value, group in each.values.items():
            if value in values.named:
                self._there(group, f"{what} = {value}")
            elif values.is_open:
                self._add(Verdict.UNDESCRIBED, f"{what} = {value}", "other values are allowed")
            else:
                self.missing.append((group, f"{what} = {value}", "no such value"))
        known = {*each.values, *each.handled}
        is_type = {*INSTRUCTION_TYPES} <= known
        for value in sorted(map(str, values.named - known)):
            note = f"a new instruction type: {NEW_TYPE}" if is_type else "a new value"
            self._add(Verdict.UNKNOWN, f"{what} = {value}", note)


def compare(document: Document) -> list[Finding]:
    """Compare a document with everything that the tap relies on."""
    paths = document.paths(API)
    comparisons = [Comparison(document, paths, call, kind) for call in CALLS for kind in call.kinds]
    there: dict[Kind, set[Group]] = defaultdict(set)
    for each in comparisons:
        each.run()
        there[each.kind] |= each.groups
    findings = []
    for each in comparisons:
        findings += each.findings
        for group, what, note in each.missing:
            is_gone = group is Group.ALWAYS or (
                group is not Group.UNPUBLISHED and group in there[each.kind]
            )
            if is_gone:
                findings.append(Finding(Verdict.GONE, each.name, what, note))
            else:
                findings.append(Finding(Verdict.UNDESCRIBED, each.name, what, group.value))
    findings += _other_operations(paths)
    findings += _other_types(document, findings)
    return findings


def _other_operations(paths: Paths) -> Iterator[Finding]:
    """Yield the operations on exports that the tap does not know."""
    known = {
        (call.method, normal_path(call.path.replace("{kind}", kind.value), API))
        for call in CALLS
        for kind in call.kinds
    }
    exports = tuple(normal_path(EXPORTS.replace("{kind}", kind.value), API) for kind in Kind)
    for normal, (path, item) in paths.items():
        if not normal.startswith(exports):
            continue
        for method in sorted(METHODS & {*item}):
            if (method.upper(), normal.removesuffix("/")) not in known:
                yield Finding(Verdict.UNKNOWN, f"{method.upper()} {path}", "call")


def _other_types(document: Document, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield instruction types that are only in a part of the document that the tap does not read.

    A new type may be described first for those who create questions, or for responses.
    """
    known = {*INSTRUCTION_TYPES, *CONTENT_BLOCKS}
    known |= {each.what.rpartition(" = ")[2] for each in findings}
    found: dict[str, str] = {}
    stack: list[tuple[str, Any]] = [("#", document.raw)]
    seen: set[int] = set()  # YAML's aliases can make an object contain itself
    while stack:
        place, node = stack.pop()
        if id(node) in seen:
            continue
        if isinstance(node, (dict, list)):
            seen.add(id(node))
        if isinstance(node, dict):
            with suppress(DocumentError):  # it is about parts that the tap does not read
                values = document.values(document.find([node], ["type"])).named
                if values & {*INSTRUCTION_TYPES}:
                    found |= dict.fromkeys(map(str, values - known), place)
            stack += [(f"{place}/{name}", below) for name, below in node.items()]
        elif isinstance(node, list):
            stack += [(f"{place}/{index}", below) for index, below in enumerate(node)]
    for value, place in sorted(found.items()):
        yield Finding(Verdict.UNKNOWN, place, f"type = {value}", f"a new type? If so: {NEW_TYPE}")


def _is_known_refusal(status: str) -> bool:
    if status.isdecimal():
        return int(status) in KNOWN_REFUSALS or int(status) >= SERVER_ERRORS
    return status in {"default", "4XX", "5XX"}


def _steps(path: str) -> list[str]:
    return re.findall(r"\[\]|[^.\[\]]+", path)


def _joined(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _either(types: Iterable[str]) -> str:
    return " or ".join(sorted(types))


def _deprecated(node: dict[str, Any]) -> str:
    return "deprecated" if node.get("deprecated") is True else ""


def tables(findings: list[Finding]) -> Iterator[str]:
    """Yield the lines of the tables, and a line with their totals."""
    for verdict in Verdict:
        chosen = [each for each in findings if each.verdict is verdict]
        yield f"{verdict.value}: {len(chosen)}"
        for call in dict.fromkeys(each.call for each in chosen):
            lines = [each for each in chosen if each.call == call]
            width = max(len(each.what) for each in lines)
            yield f"  {call}"
            yield from (f"    {each.what:{width}}  {each.note}".rstrip() for each in lines)
        yield ""


def main(arguments: list[str] | None = None) -> int:
    """Print the tables for a file; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/check-api", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="OpenAPI 3.0 or 3.1, YAML or JSON")
    path = parser.parse_args(arguments).file
    try:
        findings = compare(Document.read(path))
    except DocumentError as error:
        print(f"scripts/check-api: {path}: {error}.", file=sys.stderr)
        return 2
    except RecursionError:
        print(f"scripts/check-api: {path}: it contains itself, or is too deep.", file=sys.stderr)
        return 2
    print("\n".join(tables(findings)))
    gone = sum(each.verdict is Verdict.GONE for each in findings)
    print(f"{gone} gone or changed." if gone else "Nothing that the tap relies on is gone.")
    return 1 if gone else 0


if __name__ == "__main__":
    sys.exit(main())
