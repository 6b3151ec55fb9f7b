"""The tap: settings, discovery, and a run of `singer.sync`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, cast

import click
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from singer_sdk.singerlib import StateMessage
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE
from singer_sdk.typing import DEFAULT_JSONSCHEMA_VALIDATOR

from tap_prolific_export.errors import ConfigError
from tap_prolific_export.redaction import redact_logs
from tap_prolific_export.rows.labels import AnswerNames
from tap_prolific_export.rows.schema import FILES, answers_schema
from tap_prolific_export.settings import SETTINGS, Settings, config_jsonschema
from tap_prolific_export.signals import deferred
from tap_prolific_export.singer.cli import Command, JsonFile
from tap_prolific_export.singer.metrics import RunMetrics
from tap_prolific_export.singer.report import failure
from tap_prolific_export.singer.sdk import SdkTap
from tap_prolific_export.singer.state import ThrottledStateWriter, parse_state, unwrapped
from tap_prolific_export.singer.stream import ProlificStream
from tap_prolific_export.singer.streams import DEFINITIONS
from tap_prolific_export.singer.sync import Sync
from tap_prolific_export.singer.writer import WholeLineWriter
from tap_prolific_export.snapshots.bookmarks import Bookmarks, readable
from tap_prolific_export.snapshots.progress import Progress
from tap_prolific_export.snapshots.source import SnapshotSource
from tap_prolific_export.uploads.transfer import Transfers
from tap_prolific_export.validation import QUOTED, is_quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from singer_sdk import Stream
    from singer_sdk.helpers.capabilities import CapabilitiesEnum

    from tap_prolific_export.rows.schema import JsonSchema


class TapProlificExport(SdkTap):
    """Singer tap for Prolific data-collection exports."""

    name = "tap-prolific-export"
    config_jsonschema: ClassVar[dict[str, Any]] = config_jsonschema()
    message_writer_class = WholeLineWriter
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

    def __init__(self, **kwargs: Any) -> None:
        """Make the tap; see `singer_sdk.Tap`."""
        self._settings: Settings | None = None
        super().__init__(**kwargs)
        state = cast("dict[str, Any]", self.state)
        self._states = ThrottledStateWriter(
            state, lambda value: self.write_message(StateMessage(value=dict(value)))
        )

    def config_problems(self) -> list[str]:
        """Check the configuration; see `SdkTap`."""
        names = {setting.name for setting in SETTINGS}
        builtin = {k: v for k, v in self.config_jsonschema["properties"].items() if k not in names}
        problems: list[str] = []
        try:
            self._settings = Settings.from_config(self.config, also_known=builtin)
        except ConfigError as error:
            problems += error.problems
        else:
            redact_logs([self._settings.api_token or ""])
        config = {name: self.config[name] for name in builtin if name in self.config}
        problems += [f"{name}: {QUOTED}" for name, value in config.items() if is_quoted(value)]
        unquoted = {name: value for name, value in config.items() if not is_quoted(value)}
        validator = DEFAULT_JSONSCHEMA_VALIDATOR({"type": "object", "properties": builtin})
        for misfit in validator.iter_errors(unquoted):
            path = ".".join(str(part) for part in misfit.absolute_path)
            problems.append(f"{path}: does not fit its schema ({misfit.validator}).")
        return problems

    def load_state(self, state: dict[str, Any]) -> None:
        """Load a state. What cannot be read of it is delivered anew, with a warning."""
        state = unwrapped(state)
        if state is None or state == {}:
            return
        bookmarks, unreadable = readable(
            state.get("bookmarks") if isinstance(state, dict) else None
        )
        if unreadable:
            self.logger.warning(
                "The state has bookmarks that cannot be read, and begins anew for %s.",
                ", ".join(dict.fromkeys(unreadable)),
            )
        super().load_state({"bookmarks": bookmarks})

    def discover_streams(self) -> Sequence[Stream]:
        """Return the streams; without a catalog, with the questions of every source.

        Raises:
            TapError: No source could be looked up.
        """
        answers = {} if self.input_catalog else self._discovered_answers()
        settings = self._settings or Settings.from_config(self.config)
        return [ProlificStream(self, each, settings, answers) for each in DEFINITIONS]

    def _discovered_answers(self) -> JsonSchema:
        if self._settings is None:  # not validated: only what needs no source
            return {}
        collections, failures = SnapshotSource(self._settings).described(self.logger.warning)
        if failures and not collections:
            raise failure(failures, delivered=0)
        return answers_schema(collections, AnswerNames(self._settings.answer_keys))

    def sync_all(self) -> None:  # type: ignore[misc]
        """Deliver everything that is due; see `sync.Sync`.

        Final in the SDK, whose own loop walks stream by stream, not snapshot by snapshot.

        Raises:
            FatalError: Something failed.
        """
        self._sync()

    def run_sync_dry_run(  # type: ignore[misc]
        self, dry_run_record_limit: int | None = 1, streams: Iterable[Stream] | None = None
    ) -> bool:
        """Write a few records of each stream (``--test``). No file is stored, no bookmark moves.

        Final in the SDK, as `sync_all` is.

        Raises:
            FatalError: Something failed.
        """
        for stream in self.streams.values() if streams is None else streams:
            stream.selected = True
        self._sync(limit=dry_run_record_limit)
        return True

    def _sync(self, *, limit: int | None = None) -> None:
        try:
            settings = self._settings or Settings.from_config(self.config)
            named = cast("dict[str, ProlificStream]", self.streams)
            streams = [named[each.columns.name] for each in DEFINITIONS]
            emitted = [stream for stream in streams if stream.is_emitted]
            if limit is None and self._replaces_tables(settings, emitted):
                for stream in emitted:
                    stream.version = self.initialized_at // 1000
            transfers = None
            if named[FILES.name] in emitted:  # fails before anything is requested
                transfers = Transfers.from_settings(settings)
            bookmarks = Bookmarks(cast("dict[str, Any]", self.state))
            progress = Progress(
                bookmarks, streams, settings.lookback_seconds, self._states.write_soon
            )
            run_metrics = RunMetrics()
            Sync(
                settings,
                SnapshotSource(settings, run_metrics.count_request),
                streams,
                progress,
                self._states,
                run_metrics=run_metrics,
                transfers=transfers if limit is None else None,
                limit=limit,
            ).run()
        finally:
            with deferred():
                self._states.write()

    def _replaces_tables(self, settings: Settings, emitted: Sequence[ProlificStream]) -> bool:
        """Whether this run, if all of it succeeds, holds all rows that the tables should have."""
        if not settings.emit_activate_version_messages:
            return False
        narrowing = ("study_id", "start_date", "archive_paths")
        why_not = [f"{name} is set" for name in narrowing if getattr(settings, name)]
        why_not += [
            f"{stream.name} is not FULL_TABLE in the catalog"
            for stream in emitted
            if stream.replication_method != REPLICATION_FULL_TABLE
        ]
        if why_not:
            self.logger.warning(
                "No ACTIVATE_VERSION will be sent, and the target will remove nothing: %s.",
                "; ".join(why_not),
            )
        return not why_not

    @classmethod
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:
        """Read the configuration files; the error about one does not quote it."""
        try:
            return super().cb_config(ctx, param, value)
        except (OSError, ValueError, TypeError):
            msg = "a configuration file is missing or is no JSON object."
            raise click.BadParameter(msg, ctx, param) from None

    @classmethod
    def get_singer_command(cls) -> click.Command:
        """Return the command line."""
        command = super().get_singer_command()
        for option in command.params:
            if option.name == "state":
                option.type = JsonFile(parse_state)
            elif option.name == "catalog":
                option.type = JsonFile(json.loads)
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
