"""The settings: their descriptions, and one frozen object with their checked values.

`SETTINGS` is the only place that describes a setting. The JSON Schema of ``--about``, the checks
and the table in the documentation are generated from it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

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


SETTINGS = (
    Setting(
        "api_token",
        "string",
        "API token",
        "Prolific API token, created under *Settings > API tokens*. It has all permissions of the "
        "account, so keep it in the environment or a secret store. Not needed if "
        "`archive_paths` is the only source.",
        secret=True,
        environment="PROLIFIC_TOKEN",
    ),
    Setting(
        "api_url",
        "string",
        "API URL",
        f"Base URL of the Prolific API (default: `{PUBLIC_API_URL}`). The token is sent to this "
        "host only. Plain `http` is accepted only for a loopback address.",
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
        "Export archives (ZIP files) on disk to read: paths and globs. Needs no token.",
    ),
    Setting(
        "study_id",
        "string",
        "Study id",
        "Export only responses of this study. If the API ignores the filter, the tap filters by "
        "each response's `study_id`.",
    ),
    Setting(
        "start_date",
        "string",
        "Start date",
        "Export only responses from this ISO 8601 time on. If the API ignores the filter, the tap "
        "filters by `submitted_at` or `completed_at`, and keeps responses that have neither.",
        format="date-time",
    ),
    Setting(
        "lookback_seconds",
        "integer",
        "Lookback",
        "How many seconds before the last export an incremental run starts, because responses "
        "may become active, or be corrected, after they were submitted. 0: no overlap.",
        default=86_400,
        minimum=0,
    ),
    Setting(
        "answer_keys",
        "string",
        "Answer keys",
        "Names of the properties in `responses.answers`. `label`: a readable name made of the "
        "question and a short hash of its id, which every target accepts. `instruction_id`: the id "
        "of the question.",
        default="label",
        allowed=("instruction_id", "label"),
    ),
    Setting(
        "freeze_schema",
        "boolean",
        "Freeze schema",
        "Allow only the properties of `responses.answers` that are in the catalog. Answers to new "
        "questions are left out of `responses` until discovery runs again. Useful if answers are "
        "deselected for privacy.",
        default=False,
    ),
    Setting(
        "files_uri",
        "string",
        "Files URI",
        "Where uploaded files are stored, as `<files_uri>/<data_collection_id>/<name>`: "
        "`file:///...` or a URI that `fsspec` supports (`s3://`, `gs://`, `abfs://`, "
        "`sftp://`: install the extra of that name). If not set, no files are fetched. See "
        "[Uploaded files](docs/files.md).",
    ),
    Setting(
        "files_include",
        "array",
        "Files to store",
        "Store only files with these content types (`image/*`, `video/mp4`) or file names (globs "
        "such as `*.pdf`). Other files still get a row, with `uri` null.",
    ),
    Setting(
        "files_max_bytes",
        "integer",
        "Maximum file size",
        "Do not store files larger than this many bytes. They still get a row, with `uri` null.",
        minimum=0,
    ),
    Setting(
        "files_concurrency",
        "integer",
        "Concurrent files",
        "Number of uploaded files that are fetched and stored at the same time.",
        default=4,
        minimum=1,
    ),
    Setting(
        "on_bad_line",
        "string",
        "Bad lines",
        "How to handle a line that is not a JSON object or is too long. `fail`: its data "
        "collection fails. `skip`: the line is left out and counted at the end of the log.",
        default="fail",
        allowed=("fail", "skip"),
    ),
    Setting(
        "max_line_bytes",
        "integer",
        "Maximum line length",
        "Maximum length of a line in bytes. A longer line is a bad line (see `on_bad_line`).",
        default=16 << 20,
        minimum=1,
    ),
    Setting(
        "emit_activate_version_messages",
        "boolean",
        "Emit `ACTIVATE_VERSION` messages",
        "After a full run without failures, tell the target to remove rows that the run did not "
        "emit (see *Withdrawn responses*). Works only if all selected streams are `FULL_TABLE` "
        "in the catalog. Do not use it if several runs share a table.",
        default=False,
    ),
    Setting(
        "poll_interval_seconds",
        "integer",
        "Poll interval",
        "Seconds between two checks of an export that is being generated.",
        default=4,
        minimum=1,
    ),
    Setting(
        "export_timeout_seconds",
        "integer",
        "Export timeout",
        "Seconds to wait for an export to be generated before its data collection fails.",
        default=3600,
        minimum=1,
    ),
    Setting(
        "export_retries",
        "integer",
        "Export retries",
        "How many times to request an export again if it fails or disappears.",
        default=2,
        minimum=0,
    ),
    Setting(
        "max_pending_exports",
        "integer",
        "Pending exports",
        "Maximum number of exports that are requested and waited for at the same time.",
        default=16,
        minimum=1,
    ),
    Setting(
        "delete_exports",
        "string",
        "Delete exports",
        "`created`: delete an export job after its rows are delivered, if this tap certainly "
        "created it. Prolific keeps at most ten jobs per data collection. `never`: delete none.",
        default="created",
        allowed=("created", "never"),
    ),
    Setting(
        "request_timeout_seconds",
        "integer",
        "Request timeout",
        "Seconds without any data after which a request fails.",
        default=60,
        minimum=1,
    ),
)


def config_jsonschema() -> dict[str, Any]:
    """Return a new JSON Schema of all settings."""
    return {
        "type": "object",
        "properties": {setting.name: setting.json_schema() for setting in SETTINGS},
    }


@dataclass(frozen=True)
class Settings:
    """The complete, checked configuration; `SETTINGS` describes each field."""

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
    emit_activate_version_messages: bool
    poll_interval_seconds: int
    export_timeout_seconds: int
    export_retries: int
    max_pending_exports: int
    delete_exports: DeleteExports
    request_timeout_seconds: int

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
        known = [*(setting.name for setting in SETTINGS), *also_known]
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
