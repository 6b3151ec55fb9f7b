"""Fails when the internals of the SDK that we touch have moved; move the pin only with it.

Each test names what the tap relies on, and where.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import singer_sdk.helpers._catalog as sdk_catalog
from singer_sdk import Stream, Tap
from singer_sdk.configuration._dict_config import parse_environment_config
from singer_sdk.mapper import PluginMapper, SameRecordTransform
from singer_sdk.plugin_base import BaseSingerWriter, PluginBase, SingerCommand
from singer_sdk.singerlib import SelectionMask
from singer_sdk.singerlib.encoding import SimpleSingerWriter

from tap_prolific_export.tap import TapProlificExport
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def source(function: Callable[..., Any]) -> str:
    return inspect.getsource(function)


def test_what_sdk_py_overrides_and_calls_is_there() -> None:
    """singer/sdk.py is the only module that touches private names of the SDK."""
    assert parameters(Stream._write_schema_message) == ["self"]
    assert parameters(Stream._write_record_message) == ["self", "record"]
    assert parameters(Stream._write_activate_version_message) == ["self", "full_table_version"]
    assert "version=self._stream_version" in source(Stream._generate_record_messages)


def test_the_mapper_follows_a_schema_that_grows() -> None:
    """`SdkStream.replace_schema` registers a grown schema and drops the cached stream maps."""
    assert parameters(sdk_catalog.get_selected_schema) == ["stream_name", "schema", "mask"]
    assert parameters(PluginMapper.register_raw_stream_schema)[1:] == [
        "stream_name",
        "schema",
        "key_properties",
    ]
    assert "self._stream_maps" in source(vars(Stream)["stream_maps"].fget)
    assert "_input_schema" in source(vars(Stream)["effective_schema"].fget)


def test_a_property_that_the_catalog_lacks_inherits_its_parents_selection() -> None:
    mask = SelectionMask({(): True, ("properties", "answers"): False})
    assert mask["properties", "answers", "properties", "new"] is False
    assert mask["properties", "new"] is True


def test_the_command_line_calls_the_two_runs_that_the_tap_replaces() -> None:
    """tap.py overrides two methods that are final only for type checkers."""
    assert "tap.sync_all()" in source(Tap.invoke)
    assert "run_sync_dry_run(" in source(Tap.run_connection_test)


def test_the_environment_is_read_in_one_place() -> None:
    """`SdkTap` reads it as texts, which `Settings` turns into what they mean."""
    assert "config_dict.update(self._env_var_config)" in source(PluginBase.__init__)
    assert TapProlificExport._env_var_prefix == "TAP_PROLIFIC_EXPORT_"
    assert parameters(parse_environment_config)[:2] == ["config_schema", "prefix"]


def test_the_configuration_is_validated_in_one_place() -> None:
    """`SdkTap` checks the configuration itself: the SDK's errors quote values."""
    assert "self._validate_config(raise_errors=validate_config)" in source(PluginBase.__init__)
    assert parameters(SingerCommand.__init__) == ["self", "args", "logger", "kwargs"]


def test_the_signal_handlers_are_set_up_in_one_place() -> None:
    """`SdkTap` sets up none: the command line has its own."""
    assert "self._setup_signal_handlers()" in source(PluginBase.__init__)
    assert source(PluginBase).count("signal.signal(") == 2
    assert source(PluginBase._setup_signal_handlers).count("signal.signal(") == 2


def test_every_message_goes_through_the_taps_message_writer() -> None:
    """singer/writer.py puts another in its place, which writes what format_message returns."""
    assert "self.message_writer_class," in source(BaseSingerWriter.__init__)
    assert "self.message_writer.write_message(message)" in source(BaseSingerWriter.write_message)
    assert "sys.stdout" not in source(Stream) + source(Tap)
    write = source(SimpleSingerWriter.write_message)
    assert 'sys.stdout.write(self.format_message(message) + "\\n")' in write


def test_the_sdk_does_to_a_record_only_what_is_known() -> None:
    """`RecordWriter` takes records past most of this, and would take them past what is new."""
    known: dict[Callable[..., Any], set[str]] = {
        Stream._write_record_message: {"_generate_record_messages", "_tap", "state_manager"},
        Stream._generate_record_messages: {
            *("effective_schema", "schema", "mask", "name", "TYPE_CONFORMANCE_LEVEL", "logger"),
            *("stream_maps", "_stream_version"),
        },
    }
    for function, names in known.items():
        assert set(re.findall(r"self\.(\w+)", source(function))) == names
    assert "return super().transform(record)" in source(SameRecordTransform.transform)


def test_no_other_module_touches_a_private_name_of_the_sdk() -> None:
    root = ROOT / "tap_prolific_export"
    private = re.compile(r"\b(?:tap|stream|super\(\)|cls)\._(?!_)\w+")
    for path in root.rglob("*.py"):
        if path.name != "sdk.py" and path.parent.name in {"singer", root.name}:
            text = path.read_text()
            assert private.findall(text) == []
            assert "import _" not in text
            assert "singer_sdk.helpers._" not in text
