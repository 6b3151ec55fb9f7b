"""Read an OpenAPI document, 3.0 or 3.1: its operations, and what their schemas say of a field."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})

JSON_TYPES = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}

Schemas = list[Any]
# Path and path item, by the normal form of the path.
Paths = dict[str, tuple[str, dict[str, Any]]]


class DocumentError(Exception):
    """The file cannot be read as an OpenAPI document."""


@dataclass(frozen=True)
class Values:
    """The values that a field may have.

    Attributes:
        named: Those that the document names.
        is_open: Whether it may have others.
    """

    named: frozenset[Any]
    is_open: bool


ANY_VALUE = Values(frozenset(), is_open=True)


@dataclass(frozen=True)
class Operation:
    """An operation, with its references resolved one level deep.

    Attributes:
        path: The path as the document has it.
        parameters: The objects of its parameters, those of the path included.
        responses: Its responses by status, as text.
        raw: The operation's own object.
    """

    path: str
    parameters: list[dict[str, Any]]
    responses: dict[str, dict[str, Any]]
    raw: dict[str, Any]


class Document:
    """An OpenAPI document.

    Args:
        raw: Its top object.
    """

    def __init__(self, raw: Any) -> None:
        version = str(raw.get("openapi", "")) if isinstance(raw, dict) else ""
        if not re.fullmatch(r"3\.[01](\..*)?", version):
            found = f"its `openapi` is {version!r}" if version else "it has no `openapi`"
            raise DocumentError(f"not an OpenAPI document of version 3.0 or 3.1: {found}")
        if not isinstance(raw.get("paths"), dict):
            raise DocumentError("not an OpenAPI document of an API: it has no `paths`")
        self.raw: dict[str, Any] = raw

    @classmethod
    def read(cls, path: Path) -> Document:
        """Read a file of YAML or JSON.

        Raises:
            DocumentError: It cannot be read, or is not an OpenAPI document.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not a text in UTF-8"
            raise DocumentError(f"cannot be read: {reason}") from None
        try:
            return cls(json.loads(text))
        except (ValueError, RecursionError):
            pass  # JSON that is not quite JSON is often YAML
        try:
            # Not the loader in C: it crashes on a text that is nested too deep.
            return cls(yaml.safe_load(text))
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            where = getattr(error, "problem_mark", None)
            line = f" (line {where.line + 1})" if where else ""
            raise DocumentError(f"neither YAML nor JSON{line}") from None

    def resolve(self, node: Any) -> Any:
        """Return the target of a local reference, with what stands beside it; else the node.

        Raises:
            DocumentError: The reference leads to another file or nowhere.
        """
        seen = set()
        beside: dict[str, Any] = {}
        while isinstance(node, dict) and isinstance(node.get("$ref"), str):
            reference = node["$ref"]
            beside = {**node, **beside}
            if reference in seen:  # it refers to itself and says nothing
                node = {}
                break
            seen.add(reference)
            node = self._at(reference)
        beside.pop("$ref", None)
        return {**node, **beside} if beside and isinstance(node, dict) else node

    def _at(self, reference: str) -> Any:
        if not reference.startswith("#"):
            raise DocumentError(
                f"the reference {reference!r} leads to another file: bundle them into one first"
            )
        node: Any = self.raw
        for part in reference.removeprefix("#").split("/")[1:]:
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and name.isdecimal() and int(name) < len(node):
                node = node[int(name)]
            elif isinstance(node, dict) and name in node:
                node = node[name]
            else:
                raise DocumentError(f"the reference {reference!r} leads nowhere")
        return node

    def paths(self, prefix: str) -> Paths:
        """Return the path items by the normal form of their path; see `normal_path`."""
        found: Paths = {}
        for path, raw in self.raw["paths"].items():
            item = as_object(self.resolve(raw))
            servers = as_list(item.get("servers")) or as_list(self.raw.get("servers")) or [{}]
            for server in servers:
                url = re.sub(r"\{[^}]*\}", "x", str(as_object(server).get("url") or ""))
                base = urlsplit(url).path.rstrip("/")
                found.setdefault(normal_path(f"{base}{path}", prefix), (str(path), item))
        return found

    def operation(self, path: str, item: dict[str, Any], method: str) -> Operation | None:
        """Return an operation of a path item; None if it has no such method."""
        raw = self.resolve(item.get(method.lower()))
        if not isinstance(raw, dict):
            return None
        listed = [*as_list(item.get("parameters")), *as_list(raw.get("parameters"))]
        parameters = [as_object(self.resolve(each)) for each in listed]
        responses = as_object(raw.get("responses"))
        return Operation(
            path=path,
            # A parameter of the operation replaces the path's own of the same name and place.
            parameters=[
                *{
                    (str(each.get("in")), str(each.get("name"))): each for each in parameters
                }.values()
            ],
            responses={
                str(status): as_object(self.resolve(each)) for status, each in responses.items()
            },
            raw=raw,
        )

    def json_schema(self, response: dict[str, Any]) -> Any:
        """Return the schema of a response's JSON body; None if it has none."""
        for name, media in as_object(response.get("content")).items():
            if re.search(r"[/+]json\b", str(name)):
                return as_object(media).get("schema", {})
        return None

    def find(self, schemas: Schemas, path: Sequence[str]) -> Schemas:
        """Return the schemas of what a path leads to, in any variant; none: it leads nowhere.

        Args:
            schemas: Where to start.
            path: Names of fields, and ``[]`` for the items of a list.
        """
        for step in path:
            below: Schemas = []
            for part in self._all_parts(schemas):
                if step == "[]":
                    below += [part["items"]] if "items" in part else []
                    continue
                fields = as_object(part.get("properties"))
                below += [fields[step]] if step in fields else []
                discriminator = as_object(part.get("discriminator"))
                mapping = as_object(discriminator.get("mapping"))
                if mapping and discriminator.get("propertyName") == step:
                    below.append({"enum": [*mapping]})
            schemas = below
        return schemas

    def names(self, schemas: Schemas) -> set[str]:
        """Return the names of an object's fields, of all its variants."""
        return {
            str(name)
            for part in self._all_parts(schemas)
            for name in as_object(part.get("properties"))
        }

    def describes_content(self, schemas: Schemas) -> bool:
        """Whether an object's fields or a list's items are described, and not just free."""
        return any(part.get("properties") or "items" in part for part in self._all_parts(schemas))

    def types(self, schemas: Schemas) -> set[str]:
        """Return the JSON types that the schemas allow; empty: any."""
        found: set[str] = set()
        for part in self._all_parts(schemas):
            stated = part.get("type")
            if isinstance(stated, str):
                found.add(stated)
            elif isinstance(stated, list):
                found |= {str(each) for each in stated}
            elif "properties" in part:
                found.add("object")
            elif "items" in part:
                found.add("array")
            else:
                found |= {JSON_TYPES[type(each)] for each in _enumeration(part) or ()}
            if part.get("nullable") is True:
                found.add("null")
        return found

    def values(self, schemas: Schemas) -> Values:
        """Return the values that the schemas name."""
        return _union(self._values(schema, frozenset()) for schema in schemas)

    def _values(self, schema: Any, within: frozenset[str]) -> Values:
        if not isinstance(schema, dict):
            return ANY_VALUE
        limits = []
        own = _enumeration(schema)
        if own is not None:
            named = frozenset(each for each in own if isinstance(each, (str, int, float, bool)))
            limits.append(Values(named, is_open=False))
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference not in within:
            limits.append(self._values(self._at(reference), within | {reference}))
        limits += [self._values(part, within) for part in as_list(schema.get("allOf"))]
        for name in ("oneOf", "anyOf"):
            variants = [
                self._values(part, within)
                for part in as_list(schema.get(name))
                if not (isinstance(part, dict) and part.get("type") == "null")
            ]
            limits += [_union(variants)] if variants else []
        return _intersection(limits)

    def _all_parts(self, schemas: Schemas) -> Iterator[dict[str, Any]]:
        for schema in schemas:
            yield from self._parts(schema, frozenset())

    def _parts(self, schema: Any, within: frozenset[str]) -> Iterator[dict[str, Any]]:
        """Yield a schema and everything that it refers to or is composed of."""
        if not isinstance(schema, dict):
            return
        yield schema
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference not in within:
            yield from self._parts(self._at(reference), within | {reference})
        for name in ("allOf", "oneOf", "anyOf"):
            for part in as_list(schema.get(name)):
                yield from self._parts(part, within)


def as_object(node: Any) -> dict[str, Any]:
    """Return an object; an empty one for anything else, as if it were absent."""
    return node if isinstance(node, dict) else {}


def as_list(node: Any) -> list[Any]:
    """Return a list; an empty one for anything else, as if it were absent."""
    return node if isinstance(node, list) else []


def normal_path(path: str, prefix: str) -> str:
    """Return a path without the prefix, and without the names of its parameters."""
    while path.startswith(f"{prefix}/"):
        path = path.removeprefix(prefix)
    return re.sub(r"\{[^}]*\}", "{}", path)


def _enumeration(schema: dict[str, Any]) -> list[Any] | None:
    if isinstance(schema.get("enum"), list):
        return [each for each in schema["enum"] if type(each) in JSON_TYPES]
    return [schema["const"]] if "const" in schema else None


def _union(each: Iterable[Values]) -> Values:
    variants = [*each]
    named = frozenset(name for variant in variants for name in variant.named)
    return Values(named, is_open=any(variant.is_open for variant in variants) or not variants)


def _intersection(limits: list[Values]) -> Values:
    closed = [limit.named for limit in limits if not limit.is_open]
    if closed:
        return Values(frozenset.intersection(*closed), is_open=False)
    return Values(frozenset(name for limit in limits for name in limit.named), is_open=True)
