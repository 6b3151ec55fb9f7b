"""Every private name of the Singer SDK that the tap touches, each with its reason.

``tests/unit/singer/test_sdk_canary.py`` fails when one of them changes. The rest of the tap uses
the SDK's public names only.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from singer_sdk import Stream, Tap
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers._catalog import get_selected_schema
from singer_sdk.helpers._flattening import flatten_key
from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from singer_sdk.helpers.types import Record
    from singer_sdk.mapper import StreamMap


class SdkStream(Stream):
    """A stream whose messages are written by `sync`, not by the SDK's own loop."""

    def get_records(self, context: Any) -> Iterable[Record]:  # noqa: ARG002  # abstract in the SDK
        """Return nothing: `sync` makes the rows."""
        return ()

    @property
    def is_dropped(self) -> bool:
        """Whether the stream maps remove the stream, as ``null`` and ``__else__: null`` do."""
        return all(isinstance(each, RemoveRecordTransform) for each in self.stream_maps)

    @property
    def record_maps(self) -> Sequence[StreamMap] | None:
        """What transforms the stream's records; None if that would change nothing."""
        for each in self.stream_maps:
            if each.flattening_enabled:
                each.flatten_record = flattener(each)  # type: ignore[assignment,method-assign]
        first = self.stream_maps[0]
        changes_nothing = (
            len(self.stream_maps) == 1
            and type(first) is SameRecordTransform
            and not first.flattening_enabled
        )
        return None if changes_nothing else self.stream_maps

    @property
    def flattened_columns(self) -> int:
        """How many columns flattening makes; 0 without flattening."""
        maps = [each for each in self.stream_maps if each.flattening_enabled]
        return max((len(each.transformed_schema["properties"]) for each in maps), default=0)

    @property
    def deselected(self) -> list[tuple[str, ...]]:
        """The fields that the catalog deselects, each as the names that lead to it."""
        return [crumb[1::2] for crumb, selected in self.mask.items() if crumb and not selected]

    @property
    def version(self) -> int | None:
        """The version of the table that every RECORD carries; None for no version."""
        return self._stream_version  # the SDK puts it into each RECORD, too

    @version.setter
    def version(self, version: int) -> None:
        self._stream_version = version

    def write_schema(self) -> None:
        """Write SCHEMA, one for each alias that the stream maps make."""
        self._write_schema_message()

    def write_activate_version(self) -> None:
        """Tell the target that the rows of this run's version are all that there are."""
        if self.version is not None:
            self._write_activate_version_message(self.version)

    def replace_schema(self, schema: dict[str, Any]) -> None:
        """Replace the schema; the SDK itself has no schemas that grow during a run."""
        self._schema = schema
        if self._input_schema is not None:
            self._input_schema = schema
        # The SDK's mapper, and so the SCHEMA message, must follow.
        selected = get_selected_schema(self.name, schema, self.mask)
        # Some targets have no objects without fields: the catalog may deselect all of them.
        properties = selected["properties"].items()
        selected["properties"] = {n: each for n, each in properties if each.get("properties", True)}
        self._tap.mapper.register_raw_stream_schema(self.name, selected, self.primary_keys)
        self._stream_maps = None  # cached, with the old schema


def flattener(stream_map: StreamMap) -> Callable[[Record], Record]:
    """Return a function that flattens records as the SDK does, in a quarter of its time.

    The SDK makes each key anew for each record, and a JSON encoder for each list.
    """
    options = stream_map.flattening_options
    properties = stream_map.transformed_schema.get("properties", {})
    if options is None:
        return stream_map.flatten_record
    known: dict[tuple[str, ...], dict[str, str]] = {}

    def flatten(node: Record, parents: tuple[str, ...], into: Record) -> Record:
        keys = known.setdefault(parents, {})
        for name, value in node.items():
            if (key := keys.get(name)) is None:
                key = keys[name] = flatten_key(
                    name, [*parents], options.separator, max_key_length=options.max_key_length
                )
            if value.__class__ is not dict and value.__class__ is not list:
                into[key] = value
            elif (
                value.__class__ is dict
                and len(parents) < options.max_level
                and key not in properties
            ):
                flatten(value, (*parents, name), into)
            else:
                into[key] = json.dumps(value, separators=(",", ":"))
        return into

    return lambda record: flatten(record, (), {})


class SdkTap(Tap):
    """A tap that validates its configuration itself and leaves signals to the command line."""

    @classmethod
    def environment_variable(cls, setting: str) -> str:
        """Return the variable that ``--config ENV`` reads a setting from."""
        prefix: str = cls._env_var_prefix
        return prefix + setting.upper()

    def config_problems(self) -> list[str]:
        """Return one sentence for each setting that is wrong; none of them quotes a value."""
        raise NotImplementedError

    def _setup_signal_handlers(self) -> None:
        """Set up no handlers: `cli.Command` has its own before there is a tap."""

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Replace the SDK's validation, whose errors quote values, secrets included."""
        self.append_builtin_config(self.config_jsonschema)
        problems = self.config_problems()
        if problems and raise_errors:
            summary = "Config validation failed"
            raise ConfigValidationError(summary, errors=problems, schema=self.config_jsonschema)
        return problems
