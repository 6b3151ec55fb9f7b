"""The settings: what each one means, and one frozen object that holds them all, checked.

`SETTINGS` is the only place that describes a setting: the JSON Schema of ``--about``, the checks
and the README's table are made from it.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from tap_prolific_export.errors import ConfigError
from tap_prolific_export.times import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

PUBLIC_API_URL = "https://api.prolific.com"

AnswerKeys = Literal["instruction_id", "label"]
DeleteExports = Literal["created", "never"]
OnBadLine = Literal["fail", "skip"]
SettingType = Literal["string", "integer", "array", "boolean"]

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
# Ids go into the path of a URL: nothing that could leave its segment.
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True)
class Setting:
    """One setting, as documentation, JSON Schema and checks see it.

    Attributes:
        name: Its key in the configuration.
        type: JSON type; an array's items are strings.
        title: Its short name for people.
        description: What it does; Markdown.
        default: Its value where nothing is configured; None if it has no default.
        secret: Whether its value must never be shown.
        minimum: Least integer allowed.
        allowed: The only strings allowed.
        environment: The variable that is read where the setting is absent.
        format: JSON Schema format of a string.
    """

    name: str
    type: SettingType
    title: str
    description: str
    default: str | int | bool | None = None
    secret: bool = False
    minimum: int | None = None
    allowed: tuple[str, ...] = ()
    environment: str | None = None
    format: str | None = None

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of this setting, annotated as the Singer SDK expects."""
        schema: dict[str, Any] = {"type": [self.type, "null"]}
        if self.type == "array":
            schema["items"] = {"type": "string"}
        if self.minimum is not None:
            schema["minimum"] = self.minimum
        if self.allowed:
            schema["enum"] = [*self.allowed, None]
        if self.format:
            schema["format"] = self.format
        if self.secret:
            schema |= {"secret": True, "writeOnly": True}
        if self.default is not None:
            schema["default"] = self.default
        return schema | {"title": self.title, "description": self.description}


SETTINGS = (
    Setting(
        "api_token",
        "string",
        "API token",
        "Prolific API token, made under *Settings > API tokens*. It carries the whole account's "
        "permissions: keep it in the environment or a secret store. Not needed if "
        "`archive_paths` is the only source.",
        secret=True,
        environment="PROLIFIC_TOKEN",
    ),
    Setting(
        "api_url",
        "string",
        "API URL",
        f"Base URL of the Prolific API (default: `{PUBLIC_API_URL}`). The token is sent to this "
        "host only; plain `http` is accepted for a loopback address alone.",
        environment="PROLIFIC_URL",
    ),
    Setting(
        "collection_ids",
        "array",
        "Collection ids",
        "Collections (participants provide data) to export.",
    ),
    Setting(
        "batch_ids",
        "array",
        "Batch ids",
        "Batches (participants annotate a dataset) to export.",
    ),
    Setting(
        "workspace_ids",
        "array",
        "Workspace ids",
        "Export every collection and every batch of these workspaces.",
    ),
    Setting(
        "archive_paths",
        "array",
        "Archive paths",
        "Export ZIPs that are on disk already: paths and globs. Needs no token.",
    ),
    Setting(
        "study_id",
        "string",
        "Study id",
        "Only responses of this study. Where the API ignores the filter, responses are chosen "
        "by their own `study_id`.",
    ),
    Setting(
        "start_date",
        "string",
        "Start date",
        "Only responses from this ISO 8601 time on. Where the API ignores the filter, responses "
        "are chosen by their own `submitted_at` or `completed_at`; those without either are kept.",
        format="date-time",
    ),
    Setting(
        "lookback_seconds",
        "integer",
        "Lookback",
        "How far before the last export an incremental run asks for responses again: they may "
        "become active, or be corrected, so long after their own time. 0: not at all.",
        default=86_400,
        minimum=0,
    ),
    Setting(
        "answer_keys",
        "string",
        "Answer keys",
        "Names of the properties in `responses.answers`: the `instruction_id`, or a readable "
        "`label` made of the question and a short hash of the id.",
        default="instruction_id",
        allowed=("instruction_id", "label"),
    ),
    Setting(
        "freeze_schema",
        "boolean",
        "Freeze schema",
        "Keep `responses.answers` to the properties of the catalog: answers to questions that "
        "were added later are left out of `responses` until the catalog is made anew. For those "
        "who deselect answers for privacy.",
        default=False,
    ),
    Setting(
        "files_uri",
        "string",
        "Files URI",
        "Where uploaded files are stored, as `<files_uri>/<data_collection_id>/<name>`: "
        "`file:///...`, or what `fsspec` has a backend for (`s3://`, `gs://`, `abfs://`, "
        "`sftp://`: install the extra of that name). Without it none is fetched. See "
        "[Uploaded files](docs/files.md).",
    ),
    Setting(
        "files_include",
        "array",
        "Files to store",
        "Store only these: content types (`image/*`, `video/mp4`) and globs of file names "
        "(`*.pdf`). The others have their row, with `uri` null.",
    ),
    Setting(
        "files_max_bytes",
        "integer",
        "Largest file",
        "Store no file that is larger. It has its row, with `uri` null.",
        minimum=0,
    ),
    Setting(
        "files_concurrency",
        "integer",
        "Files at once",
        "How many uploaded files are fetched and stored at once.",
        default=4,
        minimum=1,
    ),
    Setting(
        "on_bad_line",
        "string",
        "Bad lines",
        "What a line does that is no JSON object, or too long. `fail`: its data collection fails. "
        "`skip`: it is left out, and counted at the end of the log.",
        default="fail",
        allowed=("fail", "skip"),
    ),
    Setting(
        "max_line_bytes",
        "integer",
        "Longest line",
        "A line that is longer is a bad one.",
        default=16 << 20,
        minimum=1,
    ),
    Setting(
        "max_metadata_bytes",
        "integer",
        "Largest metadata",
        "A data collection whose metadata file, or whose archive's directory, is larger fails.",
        default=64 << 20,
        minimum=1,
    ),
    Setting(
        "max_member_bytes",
        "integer",
        "Largest member",
        "A data collection of which any other file in the archive is larger, unpacked, fails as "
        "far as that file is read.",
        default=64 << 30,
        minimum=1,
    ),
    Setting(
        "emit_activate_version_messages",
        "boolean",
        "Emit `ACTIVATE_VERSION` messages",
        "After a full run in which everything succeeded, tell the target to remove what did not "
        "come again (see *Withdrawn responses*). Only where all selected streams are `FULL_TABLE` "
        "in the catalog; never where several runs share a table.",
        default=False,
    ),
    Setting(
        "poll_interval_seconds",
        "integer",
        "Poll interval",
        "Seconds between two looks at an export that is being generated.",
        default=4,
        minimum=1,
    ),
    Setting(
        "export_timeout_seconds",
        "integer",
        "Export timeout",
        "Seconds after which an export that is still being generated is given up.",
        default=3600,
        minimum=1,
    ),
    Setting(
        "export_retries",
        "integer",
        "Export retries",
        "How often an export that failed, or vanished, is requested again.",
        default=2,
        minimum=0,
    ),
    Setting(
        "max_pending_exports",
        "integer",
        "Pending exports",
        "How many exports are requested and waited for at once.",
        default=16,
        minimum=1,
    ),
    Setting(
        "delete_exports",
        "string",
        "Delete exports",
        "`created`: an export job is deleted once its rows are delivered, if this tap has "
        "certainly created it; Prolific keeps at most ten for each data collection. `never`: none "
        "is.",
        default="created",
        allowed=("created", "never"),
    ),
    Setting(
        "request_timeout_seconds",
        "integer",
        "Request timeout",
        "Seconds without a byte after which a request is given up.",
        default=60,
        minimum=1,
    ),
)


def config_jsonschema() -> dict[str, Any]:
    """Return a fresh JSON Schema of all settings."""
    return {
        "type": "object",
        "properties": {setting.name: setting.json_schema() for setting in SETTINGS},
    }


@dataclass(frozen=True)
class Settings:
    """The configuration, complete and checked; see `SETTINGS` for the meaning of each field."""

    api_token: str | None = field(repr=False)
    api_url: str
    collection_ids: tuple[str, ...]
    batch_ids: tuple[str, ...]
    workspace_ids: tuple[str, ...]
    archive_paths: tuple[str, ...]
    study_id: str | None
    start_date: datetime | None
    lookback_seconds: int
    answer_keys: AnswerKeys
    freeze_schema: bool
    files_uri: str | None
    files_include: tuple[str, ...]
    files_max_bytes: int | None
    files_concurrency: int
    on_bad_line: OnBadLine
    max_line_bytes: int
    max_metadata_bytes: int
    max_member_bytes: int
    emit_activate_version_messages: bool
    poll_interval_seconds: int
    export_timeout_seconds: int
    export_retries: int
    max_pending_exports: int
    delete_exports: DeleteExports
    request_timeout_seconds: int

    @property
    def uses_api(self) -> bool:
        """Whether any source needs the API, and so a token."""
        return bool(self.collection_ids or self.batch_ids or self.workspace_ids)

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        environment: Mapping[str, str] = os.environ,
        *,
        also_known: Collection[str] = (),
    ) -> Settings:
        """Read a configuration.

        Args:
            config: Setting names to values, as JSON has them.
            environment: Environment variables, for the settings that fall back to one.
            also_known: Names of settings that somebody else reads.

        Raises:
            ConfigError: With one problem per setting that is wrong. No value is quoted: a
                secret may stand in any place by mistake.
        """
        problems = [*_unknown(config, also_known)]
        values: dict[str, Any] = {}
        for setting in SETTINGS:
            value, problem = _read(setting, config, environment)
            values[setting.name] = value
            if problem:
                problems.append(f"{setting.name}: {problem}")
        if problems:
            raise ConfigError(problems)
        values["api_url"] = (values["api_url"] or PUBLIC_API_URL).rstrip("/")
        values["start_date"] = values["start_date"] and parse_timestamp(values["start_date"])
        settings = cls(**values)
        if problems := [*_cross_checks(settings)]:
            raise ConfigError(problems)
        return settings


def _unknown(config: Mapping[str, Any], also_known: Collection[str]) -> Iterator[str]:
    names = [setting.name for setting in SETTINGS]
    for name in config:
        if name not in names and name not in also_known:
            close = difflib.get_close_matches(name.lower(), [*names, *also_known], n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            yield f"{name}: unknown setting.{hint}"


def _read(
    setting: Setting, config: Mapping[str, Any], environment: Mapping[str, str]
) -> tuple[Any, str | None]:
    """Return a setting's value and, if it is wrong, what is wrong with it."""
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
            "holds characters that no token has (spaces, line breaks or non-ASCII). Copy it anew."
        )
    if setting.name == "api_url":
        return _url_problem(text)
    if setting.name == "files_uri":
        return _files_uri_problem(text)
    return None


def _id_problem(text: str) -> str | None:
    if _ID.fullmatch(text):
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
        host, port = url.hostname or "", url.port  # only here does a malformed port raise
    except ValueError:
        return "is not a URL."
    # What stands beside host and port would be read one way here and another by the client.
    plain = (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
    if url.scheme not in {"http", "https"} or not host or url.netloc.lower() != plain:
        return f"must be a URL such as {PUBLIC_API_URL}."
    if url.scheme == "http" and not is_loopback(text):
        return "must be https: the token would be readable on the way."
    return None


def _files_uri_problem(text: str) -> str | None:
    # Neither may a URL's parser drop a character, nor a name in a store begin with one.
    if not text.isprintable() or {*text} & {*"?#\\"}:
        return "must be a plain URI, without query, fragment, backslash or line break."
    scheme, found, rest = text.partition("://")
    if not found or not _SCHEME.fullmatch(scheme):
        return "must be a URI such as file:///data/uploads or s3://bucket/uploads."
    host, _, path = rest.partition("/")
    if scheme == "file" and (host not in {"", "localhost"} or not path):
        return "must be file:/// and an absolute path, such as file:///data/uploads."
    if scheme != "file" and not host:
        return f"names no bucket or host behind {scheme}://."
    if ":" in host.rpartition("@")[0]:
        return (
            "holds a password, which every row would tell. Give the backend its credentials in "
            "its own environment variables or files."
        )
    return None


def is_loopback(url: str) -> bool:
    """Return whether the URL's host is this machine."""
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


def _cross_checks(settings: Settings) -> Iterator[str]:
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
            yield f"collection_ids: item {place} stands in batch_ids, too."
