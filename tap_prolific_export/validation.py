"""The checks of the settings' values: pure functions that return problems in words."""

from __future__ import annotations

import difflib
import json
import math
import re
from decimal import Decimal
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tap_prolific_export.model import ID
from tap_prolific_export.times import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tap_prolific_export.settings import Setting, Settings

PUBLIC_API_URL = "https://api.prolific.com"

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
# No setting can use more digits, and Python refuses to convert very many.
_WHOLE = re.compile(r"([+-]?[0-9]{1,18})(?:\.0*)?")
_MAX_WHOLE = 10**18
_QUOTES = frozenset("\"'")
QUOTED = (
    "is in quotes, which are part of the value (docker run --env-file keeps them): remove them."
)
_BOOLEANS = {"true": True, "false": False}
# In the environment the SDK has always taken these, too.
_ENVIRONMENT_BOOLEANS = {"1": True, "yes": True, "on": True, "0": False, "no": False, "off": False}
# Settings of other taps that this one leaves out on purpose.
_REFUSED = {"batch_config": "This tap writes no BATCH messages: docs/targets.md says why."}
_JSON_BEGINS: dict[str, str | tuple[()]] = {"array": "[", "object": "{"}


def unknown_settings(config: Mapping[str, Any], known: Sequence[str]) -> Iterator[str]:
    """Yield a problem for each setting that is not known, with the most similar known name."""
    for name in config:
        if name not in known:
            close = difflib.get_close_matches(name.lower(), known, n=1)
            hint = _REFUSED.get(name) or (f"Did you mean {close[0]}?" if close else "")
            hint = f" {hint}" if hint else ""
            yield f"{name}: unknown setting.{hint}"


def as_type(type_: str, value: Any) -> Any:
    """Return what a value unmistakably means in a setting of a JSON type, else the value itself.

    ``meltano config set`` writes a setting that was declared without its kind as text, and the
    environment has only text.
    """
    if isinstance(value, str):
        return _from_text(type_, value)
    if type_ == "integer" and isinstance(value, (float, Decimal)) and math.isfinite(value):
        # Without the bound, the conversion of 1e999999999 would not end.
        return int(value) if abs(float(value)) < _MAX_WHOLE and value == int(value) else value
    return value


def _from_text(type_: str, text: str) -> Any:
    stripped = text.strip()
    if type_ == "integer" and (whole := _WHOLE.fullmatch(stripped)):
        return int(whole[1])
    if type_ == "boolean":
        return _BOOLEANS.get(stripped.lower(), text)
    if stripped.startswith(_JSON_BEGINS.get(type_, ())):
        try:
            return json.loads(stripped)
        except (ValueError, RecursionError):
            pass
    return text


def from_environment(type_: str, text: str) -> Any:
    """Return what a variable holds for a setting of a JSON type; a text if that is not clear.

    Besides the texts of `as_type` that is a list with commas, and a few words for true and false.
    """
    stripped = text.strip()
    if type_ == "boolean":
        return _ENVIRONMENT_BOOLEANS.get(stripped.lower(), text)
    if type_ == "array" and stripped and stripped[0] not in "[\"'":
        return [item.strip() for item in stripped.split(",")]
    return text


def is_quoted(value: object) -> bool:
    """Whether a value is a text in quotes, which whoever wrote it did not mean as a part of it."""
    text = value.strip() if isinstance(value, str) else ""
    return len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES


def read_value(
    setting: Setting, config: Mapping[str, Any], environment: Mapping[str, str]
) -> tuple[Any, str | None]:
    """Return a setting's value and, if it is invalid, the problem."""
    value = config.get(setting.name)
    if setting.environment and (value is None or value == ""):
        value = environment.get(setting.environment)
    if value is None or value == "":
        return (() if setting.type == "array" else setting.default), None
    if is_quoted(value):
        return None, QUOTED
    value = as_type(setting.type, value)
    problem = {
        "string": _string_problem,
        "integer": _integer_problem,
        "array": _array_problem,
        "boolean": _boolean_problem,
    }[setting.type](setting, value)
    if problem:
        return None, problem
    if setting.type == "array":
        return tuple(dict.fromkeys(value)), None
    return (value.strip() if isinstance(value, str) else value), None


def _integer_problem(setting: Setting, value: object) -> str | None:
    if isinstance(value, (float, Decimal)):
        return "must be a whole number."
    if isinstance(value, bool) or not isinstance(value, int):
        return f"must be a whole number, not {_json_type(value)}."
    if setting.minimum is not None and value < setting.minimum:
        return f"must be at least {setting.minimum}."
    return None


def _boolean_problem(_: Setting, value: object) -> str | None:
    return None if isinstance(value, bool) else f"must be true or false, not {_json_type(value)}."


def _array_problem(setting: Setting, value: object) -> str | None:
    if not isinstance(value, (list, tuple)):
        return f"must be an array of strings, not {_json_type(value)}."
    for place, item in enumerate(value, 1):
        if not isinstance(item, str):
            return f"item {place} must be a string, not {_json_type(item)}."
        if not item.strip() or "\0" in item:
            return f"item {place} is empty or holds a NUL character."
        if setting.name.endswith("_ids") and (problem := _id_problem(item)):
            return f"item {place} {problem}"
    return None


def _string_problem(setting: Setting, value: object) -> str | None:
    if not isinstance(value, str):
        return f"must be a string, not {_json_type(value)}."
    text = value.strip()
    if setting.allowed and text not in setting.allowed:
        return f"must be one of {', '.join(setting.allowed)}."
    if setting.format == "date-time" and parse_timestamp(text) is None:
        return "must be an ISO 8601 date or time, such as 2026-01-31 or 2026-01-31T09:00:00Z."
    if setting.name == "study_id" and (problem := _id_problem(text)):
        return problem
    if setting.name == "api_token" and {text[:1], text[-1:]} & _QUOTES:
        return QUOTED
    if setting.name == "api_token" and not (
        text.isascii() and text.isprintable() and " " not in text
    ):
        return (
            "holds characters that no token has (spaces, line breaks or non-ASCII). Copy it again."
        )
    if setting.name == "api_url":
        return _url_problem(text)
    if setting.name == "files_uri":
        return _files_uri_problem(text)
    return None


def _id_problem(text: str) -> str | None:
    if ID.fullmatch(text):
        return None
    return (
        "is not an id: an id is 1 to 128 letters, digits, '-' and '_', such as the one at the "
        "end of its address in Prolific's web app."
    )


def _url_problem(text: str) -> str | None:
    if not text.isascii() or not text.isprintable() or {*text} & {*" ?#@\\"}:
        return "must be a plain URL, without spaces, user, password, query or fragment."
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port  # a malformed port raises only here
    except ValueError:
        return "is not a URL."
    # Anything but host and port could be parsed differently here and by the HTTP client.
    plain = (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
    if url.scheme not in {"http", "https"} or not host or url.netloc.lower() != plain:
        return f"must be a URL such as {PUBLIC_API_URL}."
    if url.scheme == "http" and not is_loopback(text):
        return "must be https: with http, others could read the token."
    return None


def _files_uri_problem(text: str) -> str | None:
    # URL parsers drop some of these characters, and others would start a query or fragment.
    if not text.isprintable() or {*text} & {*"?#\\"}:
        return "must be a plain URI, without query, fragment, backslash or line break."
    scheme, separator, location = text.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        return "must be a URI such as file:///data/uploads or s3://bucket/uploads."
    host, _, path = location.partition("/")
    if scheme == "file" and (host not in {"", "localhost"} or not path):
        return "must be file:/// and an absolute path, such as file:///data/uploads."
    if scheme != "file" and not host:
        return f"names no bucket or host after {scheme}://."
    if ":" in host.rpartition("@")[0]:
        return (
            "holds a password, which every row would show. Give the backend its credentials in "
            "its own environment variables or files."
        )
    return None


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    names[Decimal] = "a number"  # the SDK reads numbers with a point as such
    return names.get(type(value), "an array" if isinstance(value, (list, tuple)) else "an object")


def cross_checks(settings: Settings) -> Iterator[str]:
    """Yield the problems that concern several settings at once."""
    if not (settings.uses_api or settings.archive_paths):
        yield (
            "No source: set at least one of collection_ids, batch_ids, workspace_ids and "
            "archive_paths."
        )
    if settings.uses_api and not settings.api_token:
        yield (
            "No token: set api_token (or the environment variable PROLIFIC_TOKEN); only "
            "archive_paths works without one."
        )
    for place, id_ in enumerate(settings.collection_ids, 1):
        if id_ in settings.batch_ids:
            yield f"collection_ids: item {place} is in batch_ids, too."
