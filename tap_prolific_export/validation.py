"""The checks of the settings' values: pure functions that return problems in words."""

from __future__ import annotations

import difflib
import re
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
# Ids become a segment of a URL's path, so no character may end or leave that segment.


def unknown_settings(config: Mapping[str, Any], known: Sequence[str]) -> Iterator[str]:
    """Yield a problem for each setting that is not known, with the most similar known name."""
    for name in config:
        if name not in known:
            close = difflib.get_close_matches(name.lower(), known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            yield f"{name}: unknown setting.{hint}"


def read_value(
    setting: Setting, config: Mapping[str, Any], environment: Mapping[str, str]
) -> tuple[Any, str | None]:
    """Return a setting's value and, if it is invalid, the problem."""
    value = config.get(setting.name)
    if setting.environment and (value is None or value == ""):
        value = environment.get(setting.environment)
    if value is None or (value == "" and setting.type == "string"):
        return (() if setting.type == "array" else setting.default), None
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
    if setting.type == "integer":
        return int(value), None
    return (value.strip() if isinstance(value, str) else value), None


def _integer_problem(setting: Setting, value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"must be a whole number, not {_json_type(value)}."
    if isinstance(value, float) and not value.is_integer():
        return "must be a whole number."
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
