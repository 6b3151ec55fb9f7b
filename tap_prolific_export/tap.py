"""The tap: settings, discovery, failures, command line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

import click
from singer_sdk import Tap
from singer_sdk.exceptions import (
    ConfigValidationError,
)
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE
from singer_sdk.typing import DEFAULT_JSONSCHEMA_VALIDATOR

from tap_prolific_export.errors import ConfigError, DataCollectionError
from tap_prolific_export.redaction import redact_logs
from tap_prolific_export.rows.schema import FILES, answers_schema
from tap_prolific_export.settings import SETTINGS, Settings, config_jsonschema
from tap_prolific_export.signals import TERMINATION
from tap_prolific_export.singer.cli import Command
from tap_prolific_export.singer.metrics import RequestMetrics
from tap_prolific_export.singer.report import failure
from tap_prolific_export.singer.state import ThrottledStateWriter
from tap_prolific_export.singer.stream import ProlificStream
from tap_prolific_export.singer.streams import STREAM_TYPES
from tap_prolific_export.singer.sync import Run
from tap_prolific_export.singer.writer import WholeLines
from tap_prolific_export.snapshots.source import SnapshotSource
from tap_prolific_export.uploads.transfer import Transfers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from singer_sdk import Stream
    from singer_sdk.helpers.capabilities import CapabilitiesEnum
    from singer_sdk.plugin_base import _ConfigInput

    from tap_prolific_export.rows.schema import JsonSchema


class TapProlificExport(Tap):
    """Singer tap for Prolific data-collection exports."""

    name = "tap-prolific-export"
    config_jsonschema: ClassVar[dict[str, Any]] = config_jsonschema()
    message_writer_class = WholeLines
    # The schema of the answers is made from the questions of the configured data collections.
    dynamic_catalog = True
    # Without BATCH, whose files bypass selection and stream maps.
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        TapCapabilities.CATALOG,
        TapCapabilities.STATE,
        TapCapabilities.DISCOVER,
        TapCapabilities.ACTIVATE_VERSION,
        PluginCapabilities.ABOUT,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.STRUCTURED_LOGGING,
    ]

    def __init__(self, *, parse_env_config: bool = False, **kwargs: Any) -> None:
        """Make the tap.

        Args:
            parse_env_config: Whether to read ``TAP_PROLIFIC_EXPORT_*``.
            **kwargs: As the SDK's.
        """
        self._settings: Settings | None = None
        self._run: Run | None = None
        self._requests = RequestMetrics("collections")
        try:
            super().__init__(parse_env_config=parse_env_config, **kwargs)
        except ValueError:
            # The SDK parses a whole number from the environment with a bare int().
            problems = self._malformed_integers() if parse_env_config else []
            if not problems:
                raise
            raise ConfigValidationError("", errors=problems, schema={}) from None
        self._state_writer = self._calm = ThrottledStateWriter(self.message_writer)

    @classmethod
    def _malformed_integers(cls) -> list[str]:
        problems = []
        for setting, schema in cls.config_jsonschema["properties"].items():
            name = cls._env_var_prefix + setting.upper()
            if "integer" in schema["type"] and name in os.environ:
                try:
                    int(os.environ[name])
                except ValueError:
                    problems.append(f"{setting}: {name} is no whole number.")
        return problems

    @property
    def run(self) -> Run:
        """The sync that this tap is for."""
        if self._run is None:
            settings = self._settings or Settings.from_config(self.config)
            self._run = Run(
                settings,
                SnapshotSource.from_settings(settings, self._requests),
                checkpoint=lambda: self.state_writer.write_state(self.state),
                urgent=lambda: self._calm.write_soon(self.state),
            )
        return self._run

    def _setup_signal_handlers(self) -> None:
        """Set up none: `Command` has done so before there was a tap."""

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Check the configuration ourselves: the SDK's errors quote values, secrets included."""
        self.append_builtin_config(self.config_jsonschema)
        ours = {setting.name for setting in SETTINGS}
        builtin = {k: v for k, v in self.config_jsonschema["properties"].items() if k not in ours}
        problems: list[str] = []
        try:
            self._settings = Settings.from_config(self.config, also_known=builtin)
        except ConfigError as error:
            problems += error.problems
        validator = DEFAULT_JSONSCHEMA_VALIDATOR({"type": "object", "properties": builtin})
        for misfit in validator.iter_errors(self._config):
            path = ".".join(str(part) for part in misfit.absolute_path)
            problems.append(f"{path}: does not fit its schema ({misfit.validator}).")
        if problems and raise_errors:
            summary = "Config validation failed"
            raise ConfigValidationError(summary, errors=problems, schema=self.config_jsonschema)
        if self._settings:
            redact_logs([self._settings.api_token or ""])
        return problems

    def setup_mapper(self) -> None:
        """Apply the catalog to the streams first: they add to it what it lacks."""
        _ = self.streams
        super().setup_mapper()

    def discover_streams(self) -> Sequence[Stream]:
        """Return the streams; without a catalog, with the questions of every source.

        Raises:
            TapError: No source could be looked up.
        """
        answers = {} if self.input_catalog else self._discovered_answers()
        return [stream_type(self, self.run, answers) for stream_type in STREAM_TYPES]

    def _discovered_answers(self) -> JsonSchema:
        if self._settings is None:  # not validated: only what needs no source
            return {}
        snapshots = SnapshotSource.from_settings(self._settings)
        collections = []
        failures: list[DataCollectionError] = []
        for source in snapshots.sources():
            try:
                collections.append(snapshots.describe(source))
            except DataCollectionError as error:
                self.logger.warning("%s", error)
                failures.append(error)
        if failures and not collections:
            raise failure(failures, delivered=0)
        return answers_schema(collections, self._settings.answer_keys)

    def sync_all(self) -> None:  # type: ignore[misc]
        """Sync all streams, and fail at the end if any data collection did.

        Final in the SDK; there is no other place after the last stream.
        """
        selected = [stream for stream in self._prolific_streams if stream.selected]
        if self._replaces(selected):
            for stream in selected:
                stream.use_version(self.initialized_at // 1000)
        if self.streams[FILES.name].selected:  # said before anything is requested
            self.run.transfers = Transfers.from_settings(self.run.settings)
        try:
            with self._requests:
                super().sync_all()
            self.run.say_skipped()
            self.run.raise_failures()
            # Else there is nothing that could stand in the rows' place, or not all of it.
            if self.run.delivered and not self.run.passed_over:
                for stream in selected:
                    stream.activate_version()
        finally:
            with TERMINATION.held():
                self._calm.flush(self.state)

    @property
    def _prolific_streams(self) -> list[ProlificStream]:
        return [stream for stream in self.streams.values() if isinstance(stream, ProlificStream)]

    def _replaces(self, selected: Sequence[ProlificStream]) -> bool:
        """Whether this run, if all of it succeeds, holds all rows that the tables should have."""
        settings = self.run.settings
        if not settings.emit_activate_version_messages:
            return False
        narrowing = ("study_id", "start_date", "archive_paths")
        why_not = [f"{name} is set" for name in narrowing if getattr(settings, name)]
        why_not += [
            f"{stream.name} is not FULL_TABLE in the catalog"
            for stream in selected
            if stream.replication_method != REPLICATION_FULL_TABLE
        ]
        if why_not:
            self.logger.warning(
                "No ACTIVATE_VERSION will be sent, and the target will remove nothing: %s.",
                "; ".join(why_not),
            )
        return not why_not

    def run_sync_dry_run(  # type: ignore[misc]
        self, dry_run_record_limit: int | None = 1, streams: Iterable[Stream] | None = None
    ) -> bool:
        """Sync a few records (``--test``), and fail if any data collection did.

        Final in the SDK, which reports no failure of a data collection. No file is stored.
        """
        if self.streams[FILES.name].selected:
            Transfers.from_settings(self.run.settings)
        with self._requests:
            result = super().run_sync_dry_run(dry_run_record_limit, streams)
        self._calm.flush(self.state)
        self.run.say_skipped()
        self.run.raise_failures()
        return result

    @classmethod
    def cb_config(
        cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]
    ) -> _ConfigInput:
        """Read the configuration files.

        Raises:
            click.BadParameter: One of them cannot be read.
        """
        try:
            return super().cb_config(ctx, param, value)
        except (OSError, ValueError, TypeError):  # their texts may quote the file
            msg = "a configuration file is missing or is no JSON object."
            raise click.BadParameter(msg, ctx, param) from None

    @classmethod
    def get_singer_command(cls) -> click.Command:
        """Return the command line."""
        command = super().get_singer_command()
        return Command(
            name=command.name,
            callback=command.callback,
            context_settings=command.context_settings,
            params=command.params,
            help=command.help,
            logger=cls.logger,
        )


if __name__ == "__main__":
    TapProlificExport.cli()
