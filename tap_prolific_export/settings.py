"""The settings: one frozen object with their checked values, and their descriptions.

`Settings` is the only place that describes a setting. The JSON Schema of ``--about``, the checks
and the table in the documentation are generated from it.
"""
# ruff: noqa: RUF009  # `_setting` returns a dataclass field

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from tap_prolific_export.errors import ConfigError
from tap_prolific_export.times import parse_timestamp
from tap_prolific_export.validation import (
    PUBLIC_API_URL,
    cross_checks,
    read_value,
    unknown_settings,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

AnswerKeys = Literal["instruction_id", "label"]
DeleteExports = Literal["created", "never"]
OnBadLine = Literal["fail", "skip"]
SettingType = Literal["string", "integer", "array", "boolean"]


@dataclass(frozen=True)
class Setting:
    """The description of one setting, for documentation, JSON Schema and checks.

    Attributes:
        name: Key in the configuration.
        type: JSON type; an array's items are strings.
        title: Short label for user interfaces.
        description: What the setting does, in Markdown.
        default: Value if nothing is configured; None if there is no default.
        secret: Whether the value must never be shown.
        minimum: Smallest integer allowed.
        allowed: The only strings allowed.
        environment: Environment variable that is read if the setting is absent.
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


def _setting(title: str, description: str, **options: Any) -> Any:
    """Return the field of a setting; the options are those of `Setting`."""
    metadata = {"title": title, "description": description, **options}
    return field(metadata=metadata, repr=not options.get("secret"))


@dataclass(frozen=True)
class Settings:
    """The complete, checked configuration."""

    api_token: str | None = _setting(
        "API token",
        "Prolific API token, created under *Settings > API tokens*. It has all permissions of the "
        "account, so keep it in the environment or a secret store. Not needed if "
        "`archive_paths` is the only source.",
        secret=True,
        environment="PROLIFIC_TOKEN",
    )
    api_url: str = _setting(
        "API URL",
        f"Base URL of the Prolific API (default: `{PUBLIC_API_URL}`). The token is sent to this "
        "host only. Plain `http` is accepted only for a loopback address.",
        environment="PROLIFIC_URL",
    )
    collection_ids: tuple[str, ...] = _setting(
        "Collection ids", "Collections (participants provide data) to export."
    )
    batch_ids: tuple[str, ...] = _setting(
        "Batch ids", "Batches (participants annotate a dataset) to export."
    )
    workspace_ids: tuple[str, ...] = _setting(
        "Workspace ids", "Export every collection and every batch of these workspaces."
    )
    archive_paths: tuple[str, ...] = _setting(
        "Archive paths",
        "Export archives (ZIP files) on disk to read: paths and globs. Needs no token.",
    )
    study_id: str | None = _setting(
        "Study id",
        "Export only responses of this study. If the API ignores the filter, the tap filters by "
        "each response's `study_id`.",
    )
    start_date: datetime | None = _setting(
        "Start date",
        "Export only responses from this ISO 8601 time on. If the API ignores the filter, the tap "
        "filters by `submitted_at` or `completed_at`, and keeps responses that have neither.",
        format="date-time",
    )
    lookback_seconds: int = _setting(
        "Lookback",
        "How many seconds before the last export an incremental run starts, because responses "
        "may become active, or be corrected, after they were submitted. 0: no overlap.",
        default=86_400,
        minimum=0,
    )
    answer_keys: AnswerKeys = _setting(
        "Answer keys",
        "Names of the properties in `responses.answers`. `label`: a readable name made of the "
        "question and a short hash of its id, which every target accepts. `instruction_id`: the id "
        "of the question.",
        default="label",
        allowed=get_args(AnswerKeys),
    )
    freeze_schema: bool = _setting(
        "Freeze schema",
        "Allow only the properties of `responses.answers` that are in the catalog. Answers to new "
        "questions are left out of `responses` until discovery runs again. Useful if answers are "
        "deselected for privacy.",
        default=False,
    )
    files_uri: str | None = _setting(
        "Files URI",
        "Where uploaded files are stored, as `<files_uri>/<data_collection_id>/<name>`: "
        "`file:///...` or a URI that `fsspec` supports (`s3://`, `gs://`, `abfs://`, "
        "`sftp://`: install the extra of that name). If not set, no files are fetched. See "
        "[Uploaded files](docs/files.md).",
    )
    files_include: tuple[str, ...] = _setting(
        "Files to store",
        "Store only files with these content types (`image/*`, `video/mp4`) or file names (globs "
        "such as `*.pdf`). Other files still get a row, with `uri` null.",
    )
    files_max_bytes: int | None = _setting(
        "Maximum file size",
        "Do not store files larger than this many bytes. They still get a row, with `uri` null.",
        minimum=0,
    )
    files_concurrency: int = _setting(
        "Concurrent files",
        "Number of uploaded files that are fetched and stored at the same time.",
        default=4,
        minimum=1,
    )
    on_bad_line: OnBadLine = _setting(
        "Bad lines",
        "How to handle a line that is not a JSON object or is too long. `fail`: its data "
        "collection fails. `skip`: the line is left out and counted at the end of the log.",
        default="fail",
        allowed=get_args(OnBadLine),
    )
    max_line_bytes: int = _setting(
        "Maximum line length",
        "Maximum length of a line in bytes. A longer line is a bad line (see `on_bad_line`).",
        default=16 << 20,
        minimum=1,
    )
    emit_activate_version_messages: bool = _setting(
        "Emit `ACTIVATE_VERSION` messages",
        "After a full run without failures, tell the target to remove rows that the run did not "
        "emit (see *Withdrawn responses*). Works only if all selected streams are `FULL_TABLE` "
        "in the catalog. Do not use it if several runs share a table.",
        default=False,
    )
    poll_interval_seconds: int = _setting(
        "Poll interval",
        "Seconds between two checks of an export that is being generated.",
        default=4,
        minimum=1,
    )
    export_timeout_seconds: int = _setting(
        "Export timeout",
        "Seconds to wait for an export to be generated before its data collection fails.",
        default=3600,
        minimum=1,
    )
    export_retries: int = _setting(
        "Export retries",
        "How many times to request an export again if it fails or disappears.",
        default=2,
        minimum=0,
    )
    max_pending_exports: int = _setting(
        "Pending exports",
        "Maximum number of exports that are requested and waited for at the same time.",
        default=16,
        minimum=1,
    )
    delete_exports: DeleteExports = _setting(
        "Delete exports",
        "`created`: delete an export job after its rows are delivered, if this tap certainly "
        "created it. Prolific keeps at most ten jobs per data collection. `never`: delete none.",
        default="created",
        allowed=get_args(DeleteExports),
    )
    request_timeout_seconds: int = _setting(
        "Request timeout",
        "Seconds without any data after which a request fails.",
        default=60,
        minimum=1,
    )

    @property
    def uses_api(self) -> bool:
        """Whether any source needs the API, and therefore a token."""
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
            config: Setting names and their JSON values.
            environment: Environment variables, for the settings that fall back to one.
            also_known: Names of settings that the Singer SDK reads.

        Raises:
            ConfigError: One problem per invalid setting. No value is quoted, because any value
                may be a secret by mistake.
        """
        known = [*(each.name for each in SETTINGS), *also_known]
        problems = [*unknown_settings(config, known)]
        values: dict[str, Any] = {}
        for setting in SETTINGS:
            value, problem = read_value(setting, config, environment)
            values[setting.name] = value
            if problem:
                problems.append(f"{setting.name}: {problem}")
        if problems:
            raise ConfigError(problems)
        values["api_url"] = (values["api_url"] or PUBLIC_API_URL).rstrip("/")
        values["start_date"] = values["start_date"] and parse_timestamp(values["start_date"])
        settings = cls(**values)
        if problems := [*cross_checks(settings)]:
            raise ConfigError(problems)
        return settings


# The JSON types of the fields that are no strings.
_JSON_TYPES: dict[Any, SettingType] = {
    "bool": "boolean",
    "int": "integer",
    "int | None": "integer",
    "tuple[str, ...]": "array",
}
SETTINGS = tuple(
    Setting(each.name, _JSON_TYPES.get(each.type, "string"), **each.metadata)
    for each in fields(Settings)
)


def config_jsonschema() -> dict[str, Any]:
    """Return a new JSON Schema of all settings."""
    return {
        "type": "object",
        "properties": {setting.name: setting.json_schema() for setting in SETTINGS},
    }
