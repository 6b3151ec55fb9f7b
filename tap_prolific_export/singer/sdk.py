"""Every private name of the Singer SDK that the tap touches, each with its reason.

``tests/unit/singer/test_sdk_canary.py`` fails when one of them changes. The rest of the tap uses
the SDK's public names only.
"""

from __future__ import annotations

import json
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from singer_sdk import Stream, Tap
from singer_sdk.configuration._dict_config import parse_environment_config
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers._catalog import get_selected_schema
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.helpers._flattening import flatten_key
from singer_sdk.mapper import (
    MAPPER_ELSE_OPTION,
    MAPPER_SOURCE_OPTION,
    RemoveRecordTransform,
    SameRecordTransform,
)

from tap_prolific_export.validation import as_type, from_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

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


def applicable_maps(maps: Mapping[str, Any], stream: str) -> dict[str, Any]:
    """Return what the setting ``stream_maps`` does to one stream, chosen as the SDK chooses it.

    A map applies by the stream's name or a glob, of which the last one counts, and by
    ``__source__``, of which each makes another stream.

    Returns:
        Under the stream's name its own map, under ``__source__`` the maps of other streams that
        are made from it, by their names, and ``__else__`` if it has no map of its own. A glob and
        a name that have the same effect give the same.
    """
    own: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, definition in maps.items():
        if isinstance(definition, dict) and MAPPER_SOURCE_OPTION in definition:
            rest = dict(definition)
            if _matches(stream, rest.pop(MAPPER_SOURCE_OPTION)):
                others[name] = rest
        elif name != MAPPER_ELSE_OPTION and _matches(stream, name):
            own[stream] = definition
    found = own or {name: maps[name] for name in (MAPPER_ELSE_OPTION,) if name in maps}
    return found | ({MAPPER_SOURCE_OPTION: others} if others else {})


def _matches(stream: str, name_or_glob: str) -> bool:
    return stream == name_or_glob or fnmatch(stream, name_or_glob)


class SdkTap(Tap):
    """A tap that validates its configuration itself and leaves signals to the command line."""

    @classproperty
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805  # as in the SDK
        """Read the settings from the environment as texts.

        The SDK raises on a number that is none, and takes any other word for false.
        """
        types = cls._setting_types()
        texts = parse_environment_config(
            {"properties": {name: {"type": "string"} for name in types}}, cls._env_var_prefix
        )
        return {name: from_environment(types[name], text) for name, text in texts.items()}

    @classmethod
    def _setting_types(cls) -> dict[str, str]:
        """Return the JSON type of each setting, the SDK's own included."""
        cls.append_builtin_config(cls.config_jsonschema)
        types = {}
        for name, schema in cls.config_jsonschema["properties"].items():
            either = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
            [types[name]] = [type_ for type_ in either if type_ != "null"]
        return types

    def config_problems(self) -> list[str]:
        """Return one sentence for each setting that is wrong; none of them quotes a value."""
        raise NotImplementedError

    def setup_mapper(self) -> None:
        """Set up the mapper, after the streams have added to the catalog what it lacks.

        It takes ``__else__`` out of the stream maps, so it gets a copy: fingerprints need all.
        """
        _ = self.streams
        config = self._config
        if maps := config.get("stream_maps"):
            self._config = {**config, "stream_maps": dict(maps)}
        super().setup_mapper()
        self._config = config

    def _setup_signal_handlers(self) -> None:
        """Set up no handlers: `cli.Command` has its own before there is a tap."""

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Replace the SDK's validation, whose errors quote values, secrets included.

        A setting whose text is unmistakably of its type gets that; an empty one is not set.
        """
        types = self._setting_types()
        self._config = {
            name: as_type(types.get(name, ""), value)
            for name, value in self._config.items()
            if value != "" or types.get(name, "string") == "string"
        }
        problems = self.config_problems()
        if problems and raise_errors:
            summary = "Config validation failed"
            raise ConfigValidationError(summary, errors=problems, schema=self.config_jsonschema)
        return problems
