"""Fails when the internals of the SDK that we touch have moved; move the pin only with it.

Each test names what the tap relies on, and where.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import singer_sdk.helpers._catalog as sdk_catalog
from singer_sdk import Stream, Tap
from singer_sdk.helpers._state import StateWriter
from singer_sdk.mapper import PluginMapper, SameRecordTransform
from singer_sdk.plugin_base import BaseSingerWriter, PluginBase, SingerCommand
from singer_sdk.singerlib import SelectionMask
from singer_sdk.singerlib.encoding import SimpleSingerWriter

if TYPE_CHECKING:
    from collections.abc import Callable


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def source(function: Callable[..., Any]) -> str:
    return inspect.getsource(function)


def test_the_schema_message_can_be_withheld() -> None:
    """streams/base.py overrides _write_schema_message and takes its messages from the SDK."""
    assert "_generate_schema_messages" in source(Stream._write_schema_message)
    assert "self._write_schema_message()" in source(Stream.sync)


def test_the_mapper_follows_a_schema_that_grows() -> None:
    """streams/base.py registers a grown schema and drops the cached stream maps."""
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


def test_the_context_is_prepared_before_the_schema_is_written() -> None:
    """streams/responses.py grows the schema in preprocess_context."""
    sync = source(Stream.sync)
    assert sync.index("preprocess_context") < sync.index("_write_schema_message")


def test_children_run_before_the_parents_record_is_written() -> None:
    """streams/collections.py fills in what only the children know."""
    assert "_sync_children" in source(Stream._process_record)
    assert parameters(Stream._process_record)[1:] == [
        "record",
        "child_context",
        "partition_context",
    ]
    sync = source(Stream._sync_records)
    assert sync.index("self._process_record(") < sync.index("self._write_record_message(")


def test_partitions_are_walked_lazily() -> None:
    """Run.contexts opens a delivery when the SDK comes to it."""
    assert "for context_element in context_list or [{}]" in source(Stream._sync_records)


def test_the_runs_that_fail_at_their_end_are_where_they_were() -> None:
    """tap.py overrides two methods that are final only for type checkers."""
    assert "tap.sync_all()" in source(Tap.invoke)
    assert "run_sync_dry_run(" in source(Tap.run_connection_test)


def test_the_configuration_is_validated_in_one_place() -> None:
    """tap.py checks the configuration itself: the SDK's errors quote values."""
    assert "self._validate_config(raise_errors=validate_config)" in source(PluginBase.__init__)
    assert parameters(SingerCommand.__init__) == ["self", "args", "logger", "kwargs"]


def test_every_state_goes_through_the_taps_state_writer() -> None:
    """tap.py puts a calmer one in its place."""
    assert "self._state_writer: StateWriter" in source(Tap.__init__)
    assert "self._state_writer.write_state(self.state)" in source(Tap.sync_all)
    assert "self._tap.state_writer.write_state(self.tap_state)" in source(
        Stream._write_state_message
    )
    assert parameters(StateWriter.write_state) == ["self", "state"]


def test_the_signal_handlers_are_set_up_in_one_place() -> None:
    """tap.py sets up none in the tap: the command line has its own."""
    assert "self._setup_signal_handlers()" in source(PluginBase.__init__)
    assert source(PluginBase).count("signal.signal(") == 2
    assert source(PluginBase._setup_signal_handlers).count("signal.signal(") == 2


def test_an_exit_passes_what_handles_errors() -> None:
    """streams/output.py ends a run by a SystemExit."""
    for function in (Stream.sync, Stream._sync_records, Stream._sync_children, Tap.sync_all):
        assert re.findall(r"except:|BaseException|SystemExit", source(function)) == []


def test_every_message_goes_through_the_taps_message_writer() -> None:
    """streams/output.py puts another in its place, which writes what format_message returns."""
    assert "self.message_writer_class," in source(BaseSingerWriter.__init__)
    assert "self.message_writer.write_message(message)" in source(BaseSingerWriter.write_message)
    assert "sys.stdout" not in source(Stream) + source(Tap)
    assert "self._message_writer.write_message(" in source(StateWriter.write_state)
    write = source(SimpleSingerWriter.write_message)
    assert 'sys.stdout.write(self.format_message(message) + "\\n")' in write


def test_records_go_the_way_that_is_known() -> None:
    """streams/fast.py takes them past all of this, and would take them past what is new."""
    known: dict[Callable[..., Any], set[str]] = {
        Stream._sync_records: {
            *("get_record_counter", "get_sync_timer", "partitions", "selected"),
            *("get_records", "_check_max_record_limit", "post_process", "_process_record"),
            "_write_record_message",
            # Of the state, which `Progress` keeps instead:
            *("_get_state_partition_context", "_write_starting_replication_value"),
            *("_increment_stream_state", "STATE_MSG_FREQUENCY", "_write_state_message"),
            *("get_context_state", "_finalize_state", "stream_state", "state_manager"),
        },
        Stream._write_record_message: {"_generate_record_messages", "_tap", "state_manager"},
        Stream._generate_record_messages: {
            *("effective_schema", "schema", "mask", "name", "TYPE_CONFORMANCE_LEVEL", "logger"),
            *("stream_maps", "_stream_version"),
        },
    }
    for function, names in known.items():
        assert set(re.findall(r"self\.(\w+)", source(function))) == names
    assert "return super().transform(record)" in source(SameRecordTransform.transform)
    assert "ABORT_AT_RECORD_COUNT" in source(Stream._check_max_record_limit)
