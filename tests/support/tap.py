"""The tap run in this process, and what it wrote."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest

from tap_prolific_export.errors import FatalError
from tap_prolific_export.tap import TapProlificExport

if TYPE_CHECKING:
    from tests.support.stand_in import Hosted, StandIn


@dataclass(frozen=True)
class Output:
    """What a run of the tap wrote to standard output.

    Attributes:
        text: All of it.
        error: The text of the error in which the run ended, if it ended in one.
    """

    text: str
    error: str = ""

    @cached_property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.split("\n") if line]

    def of_type(self, type_: str, stream: str | None = None) -> list[dict[str, Any]]:
        return [
            message
            for message in self.messages
            if message["type"] == type_ and stream in {None, message.get("stream")}
        ]

    def rows(self, stream: str) -> list[dict[str, Any]]:
        return [message["record"] for message in self.of_type("RECORD", stream)]

    @property
    def state(self) -> dict[str, Any]:
        """Return what Meltano would keep: the value of the last STATE."""
        states = self.of_type("STATE")
        return states[-1]["value"] if states else {}

    def schema(self, stream: str) -> dict[str, Any]:
        """Return the last SCHEMA of a stream."""
        schema: dict[str, Any] = self.of_type("SCHEMA", stream)[-1]["schema"]
        return schema


class Runner:
    """Runs the tap in this process against the stand-in."""

    def __init__(self, stand_in: StandIn) -> None:
        self.config: dict[str, Any] = {
            "api_token": stand_in.world.token,
            "api_url": stand_in.api_url,
            "poll_interval_seconds": 1,
            # Tests name the properties of answers by the ids of the samples' questions.
            "answer_keys": "instruction_id",
        }

    def tap(
        self,
        catalog: dict[str, Any] | None = None,
        state: dict[str, Any] | None = None,
        **config: Any,
    ) -> TapProlificExport:
        return TapProlificExport(
            config={**self.config, **config}, catalog=catalog, state=deepcopy(state)
        )

    def sync(
        self,
        catalog: dict[str, Any] | None = None,
        state: dict[str, Any] | None = None,
        **config: Any,
    ) -> Output:
        with redirect_stdout(io.StringIO()) as out:
            self.tap(catalog, state, **config).sync_all()
        return read(out.getvalue())

    def sync_and_fail(
        self,
        catalog: dict[str, Any] | None = None,
        state: dict[str, Any] | None = None,
        **config: Any,
    ) -> Output:
        """Sync, which must fail, after the streams have been discovered."""
        tap = self.tap(catalog, state, **config)
        with redirect_stdout(io.StringIO()) as out, pytest.raises(FatalError) as raised:
            tap.sync_all()
        return Output(out.getvalue(), str(raised.value))

    def test(self, **config: Any) -> Output:
        """Run as with ``--test``."""
        with redirect_stdout(io.StringIO()) as out:
            assert self.tap(**config).run_connection_test()
        return read(out.getvalue())

    def catalog(self, **config: Any) -> dict[str, Any]:
        """Discover."""
        return self.tap(**config).catalog_dict


def read(text: str) -> Output:
    return Output(text)


Catalog = dict[str, Any]


def ids(*hosted: Hosted) -> dict[str, Any]:
    found: dict[str, Any] = {"collection_ids": [], "batch_ids": []}
    for each in hosted:
        found["collection_ids" if each.kind == "collections" else "batch_ids"].append(each.id)
    return found


def deselect(catalog: Catalog, stream: str, *path: str) -> Catalog:
    """Return the catalog without a stream, or a property of it."""
    catalog = deepcopy(catalog)
    breadcrumb = [part for name in path for part in ("properties", name)]
    [entry] = [e for e in catalog["streams"] if e["tap_stream_id"] == stream]
    [metadata] = [m for m in entry["metadata"] if m["breadcrumb"] == breadcrumb]
    metadata["metadata"]["selected"] = False
    return catalog


def deselect_streams(catalog: Catalog, *streams: str) -> Catalog:
    """Return the catalog without some streams."""
    for stream in streams:
        catalog = deselect(catalog, stream)
    return catalog


def full_table(catalog: Catalog) -> Catalog:
    """Return the catalog as Meltano makes it of ``replication-method: FULL_TABLE``."""
    catalog = deepcopy(catalog)
    for stream in catalog["streams"]:
        stream["replication_method"] = "FULL_TABLE"
        for metadata in stream["metadata"]:
            if not metadata["breadcrumb"]:
                metadata["metadata"]["replication-method"] = "FULL_TABLE"
    return catalog


def schema_of(catalog: Catalog, stream: str) -> dict[str, Any]:
    [found] = [each["schema"] for each in catalog["streams"] if each["tap_stream_id"] == stream]
    assert isinstance(found, dict)
    return found


def answer_columns(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the properties of `answers` in a schema of `responses`."""
    found = schema["properties"]["answers"]["properties"]
    assert isinstance(found, dict)
    return found


def submissions(out: Output, stream: str = "responses") -> set[str]:
    return {row["submission_id"] for row in out.rows(stream)}


def entry(state: dict[str, Any], stream: str, hosted: Hosted) -> dict[str, Any]:
    """Return a stream's part of the state."""
    context = {"data_collection_id": hosted.id}
    [found] = [e for e in state["bookmarks"][stream]["partitions"] if e["context"] == context]
    assert isinstance(found, dict)
    return found
