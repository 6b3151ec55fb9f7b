"""What the loop promises: streams do not touch each other, and withdrawn means withdrawn."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from tap_prolific_export.errors import FatalError
from tests.support.stand_in import archives, samples
from tests.support.tap import entry, full_table, ids, read
from tests.support.zips import pack_export

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stand_in import Hosted, World
    from tests.support.tap import Output, Runner

LOGGER = "tap-prolific-export"
OTHER = "6650d1a2b3c4d5e6f7081999"
OTHERS = ("instructions", "responses", "answers", "files")
ALL = ("collections", *OTHERS, "tasks")


def activated(out: Output) -> set[str]:
    return {message["stream"] for message in out.of_type("ACTIVATE_VERSION")}


@pytest.mark.parametrize(
    "maps",
    [
        {"collections": None},
        {"collections": {"__filter__": "data_collection_id == 'another'"}},
        {"collections": {"__alias__": "surveys"}},
        {"collections": {"name": None}},
    ],
    ids=["null", "filter", "alias", "column"],
)
def test_what_a_map_does_to_the_row_of_collections_touches_no_other_stream(
    maps: dict[str, Any], runner: Runner, collection: Hosted
) -> None:
    plain = runner.sync(**ids(collection))
    out = runner.sync(stream_maps=deepcopy(maps), **ids(collection))
    for stream in OTHERS:
        assert len(out.rows(stream)) == len(plain.rows(stream)) > 0


def test_with_else_null_the_mapped_stream_alone_is_emitted(
    runner: Runner, collection: Hosted
) -> None:
    maps = {"responses": {"participant_id": "md5(participant_id)"}, "__else__": None}
    out = runner.sync(stream_maps=deepcopy(maps), **ids(collection))
    assert {message["stream"] for message in out.of_type("RECORD")} == {"responses"}
    assert len(out.rows("responses")) == len(collection.submissions)


def test_a_stream_that_a_map_drops_is_delivered_once_the_map_is_gone(
    runner: Runner, collection: Hosted
) -> None:
    first = runner.sync(stream_maps={"answers": None}, **ids(collection))
    second = runner.sync(state=first.state, **ids(collection))
    assert len(second.rows("answers")) == len(runner.sync(**ids(collection)).rows("answers")) > 0


def test_nothing_is_requested_where_maps_drop_all_streams_and_that_is_said(
    runner: Runner, world: World, collection: Hosted, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = runner.catalog(**ids(collection))
    world.requests.clear()
    out = runner.sync(catalog, stream_maps=dict.fromkeys(ALL), **ids(collection))
    assert out.of_type("RECORD") == []
    assert world.requests == []
    assert "Nothing to deliver" in caplog.text


class TestWithdrawn:
    """Whatever is not certainly complete says of no row that it is gone."""

    @pytest.mark.parametrize(
        "maps", [{"collections": None}, {"files": None}, {"responses": {}, "__else__": None}]
    )
    def test_a_map_that_drops_a_stream_replaces_no_table(
        self, maps: dict[str, Any], runner: Runner, collection: Hosted
    ) -> None:
        out = runner.sync(
            full_table(runner.catalog(**ids(collection))),
            emit_activate_version_messages=True,
            stream_maps=deepcopy(maps),  # the SDK takes __else__ out of it
            **ids(collection),
        )
        assert activated(out) == set()
        assert [row["full_exported_at"] for row in out.rows("collections")] in ([], [None])

    def test_a_skipped_line_keeps_its_row(
        self, runner: Runner, world: World, collection: Hosted, caplog: pytest.LogCaptureFixture
    ) -> None:
        catalog = full_table(runner.catalog(**ids(collection)))
        collection.extra_lines = ["no JSON"]
        out = runner.sync(
            catalog,
            emit_activate_version_messages=True,
            on_bad_line="skip",
            **ids(collection),
        )
        assert len(out.rows("responses")) == len(collection.submissions)
        assert activated(out) == set()
        assert "lines were skipped" in caplog.text
        assert out.rows("collections")[0]["full_exported_at"] is None
        assert "full_exported_at" not in entry(out.state, "collections", collection)
        assert world.requests

    def test_an_archive_without_lines_withdraws_nothing(
        self, runner: Runner, world: World, collection: Hosted
    ) -> None:
        catalog = full_table(runner.catalog(**ids(collection)))
        first = runner.sync(catalog, emit_activate_version_messages=True, **ids(collection))
        assert activated(first)
        collection.submissions.clear()
        out = runner.sync(catalog, emit_activate_version_messages=True, **ids(collection))
        assert activated(out) == set()
        assert out.rows("collections")[0]["full_exported_at"] is None
        assert world.requests

    def test_an_archive_of_metadata_alone_withdraws_nothing(
        self,
        runner: Runner,
        collection: Hosted,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        catalog = runner.catalog(**ids(collection))
        full = full_table(catalog)
        first = runner.sync(catalog, **ids(collection))
        [before] = first.rows("collections")
        assert before["full_exported_at"]
        metadata = pack_export(collection='{"name": "Not yet answered"}')
        monkeypatch.setattr(archives, "build", lambda *_: metadata)
        out = runner.sync(catalog, state=first.state, **ids(collection))
        [row] = out.rows("collections")
        assert row["name"] == "Not yet answered"
        assert row["exported_response_count"] == 0
        assert row["full_exported_at"] == before["full_exported_at"]
        assert out.rows("responses") == []
        assert "zero responses" in caplog.text
        out = runner.sync(full, emit_activate_version_messages=True, **ids(collection))
        assert activated(out) == set()

    @pytest.mark.parametrize("empty", [0, 1])
    def test_one_archive_without_lines_is_enough_to_withdraw_nothing(
        self, empty: int, runner: Runner, world: World, collection: Hosted
    ) -> None:
        both = [collection, world.host(samples.breakfast_diary(2, id_=OTHER))]
        catalog = full_table(runner.catalog(**ids(*both)))
        both[empty].submissions.clear()
        out = runner.sync(catalog, emit_activate_version_messages=True, **ids(*both))
        assert out.rows("responses")
        assert activated(out) == set()

    def test_skipped_lines_of_one_data_collection_leave_the_others_theirs(
        self, runner: Runner, world: World, collection: Hosted
    ) -> None:
        other = world.host(samples.caption_check(2))
        collection.extra_lines = ["[]"]
        out = runner.sync(on_bad_line="skip", **ids(collection, other))
        full = {r["data_collection_id"]: r["full_exported_at"] for r in out.rows("collections")}
        assert full[collection.id] is None
        assert full[other.id] is not None


def test_a_reading_that_breaks_off_counts_no_responses(runner: Runner, collection: Hosted) -> None:
    collection.extra_lines = ["no JSON"]
    tap = runner.tap(**ids(collection))
    with redirect_stdout(io.StringIO()) as out, pytest.raises(FatalError):
        tap.sync_all()
    [row] = read(out.getvalue()).rows("collections")
    assert row["exported_response_count"] is None


def test_a_run_says_what_it_delivered_and_what_in_all(
    runner: Runner,
    collection: Hosted,
    batch: Hosted,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    runner.sync(**ids(collection, batch))
    ours = [each.getMessage() for each in caplog.records if each.name == LOGGER]
    [line] = [text for text in ours if text.startswith(f"collection {collection.id}: 8 responses")]
    assert "(72 answers, " in line
    assert " as of 20" in line
    assert line.endswith(" read.")
    assert caplog.records[-1].getMessage() == ours[-1]  # even after the SDK's metrics
    assert "Data collections: 2 delivered." in ours[-1]
    assert "responses 28" in ours[-1]
    # Each is requested, complete and delivered; the totals follow.
    assert len([text for text in ours if "parse of env" not in text]) == 3 * 2 + 1
    assert sum("METRIC" in each.getMessage() for each in caplog.records) < 40
    path = tmp_path / "old.zip"
    path.write_bytes(pack_export(collection='{"id": "c1"}', responses='{"submission_id": "s"}'))
    caplog.clear()
    runner.sync(archive_paths=[str(path)])
    assert any("archive of collection c1: 1 response" in each.message for each in caplog.records)
