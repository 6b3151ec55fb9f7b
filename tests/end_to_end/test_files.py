"""Uploaded files through the whole tap: what is fetched and stored, and what rows say of it."""

from __future__ import annotations

import json
import logging
import random
import re
import sys
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from singer_sdk.exceptions import ConfigValidationError

from tap_prolific_export.archive.byte_source import SMALL
from tap_prolific_export.errors import ConfigError
from tap_prolific_export.uploads.transfer import Transfers
from tests.support.generations import fresh
from tests.support.processes import run
from tests.support.stand_in import Fault, World, archives, samples
from tests.support.stand_in.samples import add
from tests.support.stores import posix, sha256, tree, unprivileged
from tests.support.tap import deselect, entry, ids, read, submissions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.support.clocks import Clock
    from tests.support.stand_in import Hosted
    from tests.support.tap import Output, Runner

# An archive that is larger than this is fetched piece by piece: what is not asked for is not.
LARGE = SMALL


def large(number: int) -> bytes:
    return random.Random(number).randbytes(LARGE)  # noqa: S311  # not that it deflates


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody wait before trying again to store a file."""
    defaults = Transfers.__init__.__defaults__
    assert defaults
    monkeypatch.setattr(Transfers.__init__, "__defaults__", (lambda _: None, *defaults[1:]))


@pytest.fixture
def both(collection: Hosted, batch: Hosted) -> dict[str, Any]:
    """Two data collections with uploads, as settings."""
    for number, submission in enumerate(batch.submissions.values()):
        submission.uploads[f"{submission.line['submission_id']}_note {number}.txt"] = b"%d" % number
    assert len(uploads(collection)) + len(uploads(batch)) == 2 + 5
    return ids(collection, batch)


def uploads(*hosted: Hosted) -> dict[str, bytes]:
    """Return what must be stored of data collections, by path."""
    return {
        f"{each.id}/{name}": content
        for each in hosted
        for submission in each.submissions.values()
        for name, content in submission.uploads.items()
    }


def of(hosted: Hosted, *submission_ids: str) -> dict[str, bytes]:
    """Return what must be stored of some submissions, by path."""
    made = [hosted.submissions[id_] for id_ in submission_ids]
    return {f"{hosted.id}/{name}": c for each in made for name, c in each.uploads.items()}


def said(rows: Iterable[dict[str, Any]], root: Path) -> dict[str, bytes]:
    """Return what lies where rows say that a file is, by path; of each its last row counts."""
    found = {}
    for row in {row["path"]: row for row in rows}.values():
        path = Path(url2pathname(urlsplit(row["uri"]).path))
        content = path.read_bytes()
        assert row["sha256"] == sha256(content)
        assert row["size_bytes"] == len(content)
        found[path.relative_to(root).as_posix()] = content
    return found


def enlarge(hosted: Hosted, size: int = LARGE) -> None:
    """Have all files of a data collection be large."""
    for number, submission in enumerate(hosted.submissions.values()):
        for name in submission.uploads:
            submission.uploads[name] = large(number)[:size]


def is_fetched(world: World, hosted: Hosted, content: bytes) -> bool:
    """Whether the archives' host has been asked for a file."""
    archive = world.handed_out[hosted.kind, hosted.id].archive
    middle = archive.find(content) + len(content) // 2
    for server, _, _, headers in world.requests:
        if server == "archives":
            begin, last = headers["Range"].removeprefix("bytes=").split("-")
            first = int(begin) if begin else len(archive) - int(last)
            if first <= middle <= (int(last) if begin else len(archive)):
                return True
    return False


def fetched(world: World, hosted: Hosted, files: dict[str, bytes]) -> set[str]:
    return {path for path, content in files.items() if is_fetched(world, hosted, content)}


sizes = pytest.mark.parametrize("size", [LARGE, LARGE // 4], ids=["large", "in a small archive"])


class TestWhatIsStored:
    def test_every_upload_lies_in_its_place_and_rows_say_where(
        self, runner: Runner, both: dict[str, Any], collection: Hosted, batch: Hosted, root: Path
    ) -> None:
        out = runner.sync(files_uri=root.as_uri(), **both)
        expected = uploads(collection, batch)
        assert tree(root) == expected
        rows = out.rows("files")
        assert len(rows) == len(expected)
        assert said(rows, root) == expected
        assert {row["uri"].rpartition("/")[0] for row in rows} == {
            f"{root.as_uri()}/{hosted.id}" for hosted in (collection, batch)
        }

    def test_but_for_where_they_are_rows_say_the_same_without_a_store(
        self, runner: Runner, both: dict[str, Any], clock: Clock, world: World, root: Path
    ) -> None:
        assert clock() == world.now()
        without = runner.sync(**both)
        with_one = runner.sync(files_uri=root.as_uri(), **both)
        assert {(row["uri"], row["sha256"]) for row in without.rows("files")} == {(None, None)}
        for stream in ("responses", "answers", "files", "tasks"):
            both_rows = [
                sorted(json.dumps({**row, "uri": 0, "sha256": 0, "export_id": 0}) for row in rows)
                for rows in (without.rows(stream), with_one.rows(stream))
            ]
            assert both_rows[0] == both_rows[1] != []

    @sizes
    def test_without_a_store_nothing_is_fetched(
        self, size: int, runner: Runner, world: World, collection: Hosted
    ) -> None:
        enlarge(collection, size)
        out = runner.sync(**ids(collection))
        assert [row["uri"] for row in out.rows("files")] == [None, None]
        assert fetched(world, collection, uploads(collection)) == set()

    @sizes
    def test_what_is_not_selected_is_not_fetched(
        self, size: int, runner: Runner, world: World, collection: Hosted, root: Path
    ) -> None:
        enlarge(collection, size)
        [one, other] = uploads(collection)
        glob = f"*{one[-5:]}"
        out = runner.sync(files_uri=root.as_uri(), files_include=[glob], **ids(collection))
        assert tree(root).keys() == {one}
        assert fetched(world, collection, uploads(collection)) == {one}
        assert len(out.rows("files")) == 2
        [row] = [row for row in out.rows("files") if row["uri"] is None]
        assert other.endswith(row["path"].removeprefix("files"))

    def test_a_test_run_stores_none(self, runner: Runner, collection: Hosted, root: Path) -> None:
        runner.test(files_uri=root.as_uri(), **ids(collection))
        assert tree(root) == {}

    def test_files_that_nobody_wants_need_no_store(
        self, runner: Runner, collection: Hosted, root: Path
    ) -> None:
        root.write_bytes(b"where no file can be stored")
        catalog = deselect(runner.catalog(**ids(collection)), "files")
        out = runner.sync(catalog, files_uri=root.as_uri(), **ids(collection))
        assert len(out.rows("responses")) == 8

    @fresh
    def test_archives_on_disk_have_files_too(
        self, runner: Runner, world: World, collection: Hosted, root: Path, tmp_path: Path
    ) -> None:
        made = collection.archive()
        (tmp_path / "export.zip").write_bytes(made)
        out = runner.sync(files_uri=root.as_uri(), archive_paths=[str(tmp_path / "*.zip")])
        assert tree(root) == said(out.rows("files"), root) == uploads(collection)
        assert world.requests == []

    @fresh
    @pytest.mark.parametrize("id_", ["../../x", "/etc", "..", "C:\\x", "a/../../../b"])
    def test_an_id_that_is_a_path_leads_nowhere_else(
        self, id_: str, runner: Runner, root: Path, tmp_path: Path
    ) -> None:
        hosted = samples.breakfast_diary(1, id_=id_)
        hosted.submissions.popitem()
        made = samples.breakfast(0)
        made.uploads = {"../../../up.png": b"up", "/abs.png": b"abs", "ok.png": b"ok"}
        hosted.submissions["s"] = made
        archive = tmp_path / "deep" / "c1-export-1.zip"  # no id comes from the metadata
        archive.parent.mkdir()
        archive.write_bytes(archives.build(hosted, [made]))
        below = root / "so" / "deep"
        before = tree(tmp_path).keys()
        out = runner.sync(files_uri=below.as_uri(), archive_paths=[str(archive)])
        assert tree(below) == said(out.rows("files"), below)
        assert sorted(tree(below).values()) == [b"abs", b"ok", b"up"]
        assert len({path.partition("/")[0] for path in tree(below)}) == 1
        new = tree(tmp_path).keys() - before
        assert {path for path in new if not path.startswith("uploads/so/deep/")} == set()


class TestTheNextRun:
    def test_it_says_nothing_of_an_archive_that_was_delivered(
        self, runner: Runner, world: World, clock: Clock, collection: Hosted, root: Path
    ) -> None:
        world.reuse_seconds = 10**6
        first = runner.sync(files_uri=root.as_uri(), **ids(collection))
        written = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
        clock.advance(days=2)
        second = runner.sync(state=first.state, files_uri=root.as_uri(), **ids(collection))
        assert len(first.rows("files")) == 2
        assert second.rows("files") == []
        assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == written

    def test_it_fetches_the_files_of_new_responses_and_no_others(
        self, runner: Runner, world: World, clock: Clock, collection: Hosted, root: Path
    ) -> None:
        enlarge(collection)
        recent = add(world, collection, 100, clock.now)
        enlarge(collection)
        old = uploads(collection)
        first = runner.sync(files_uri=root.as_uri(), **ids(collection))
        rows = {row["path"]: row for row in first.rows("files")}
        assert tree(root) == old
        clock.advance(minutes=1)
        new = add(world, collection, 104, clock.now)
        [name] = collection.submissions[new].uploads
        collection.submissions[new].uploads[name] = large(104)
        world.requests.clear()
        second = runner.sync(state=first.state, files_uri=root.as_uri(), **ids(collection))
        assert submissions(second, "files") == {recent, new}
        assert said(second.rows("files"), root) == of(collection, recent, new)
        for row in second.rows("files"):
            if row["submission_id"] == recent:
                before = rows[row["path"]]
                assert (row["uri"], row["sha256"]) == (before["uri"], before["sha256"])
        assert tree(root) == uploads(collection)
        assert fetched(world, collection, uploads(collection)) == of(collection, new).keys()

    def test_it_does_not_store_again_what_somebody_has_removed(
        self, runner: Runner, world: World, clock: Clock, collection: Hosted, root: Path
    ) -> None:
        first = runner.sync(files_uri=root.as_uri(), **ids(collection))
        for path in [*(root / collection.id).iterdir()]:
            path.unlink()
        clock.advance(days=2)
        new = add(world, collection, 100, clock.now)
        runner.sync(state=first.state, files_uri=root.as_uri(), **ids(collection))
        assert tree(root) == of(collection, new)

    @pytest.mark.parametrize(
        ("before", "now"),
        [
            ({"files_include": ["*0.png"]}, {}),
            ({"files_include": ["*.pdf", "*0.png"]}, {"files_include": ["image/*"]}),
            ({"files_max_bytes": LARGE}, {"files_max_bytes": LARGE + 1}),
            ({"files_max_bytes": LARGE}, {}),
        ],
        ids=["any name", "by type", "larger", "any size"],
    )
    def test_a_wider_choice_stores_what_is_missing_and_only_that(  # noqa: PLR0917
        self,
        before: dict[str, Any],
        now: dict[str, Any],
        runner: Runner,
        world: World,
        clock: Clock,
        collection: Hosted,
        root: Path,
    ) -> None:
        enlarge(collection)
        [one, other] = uploads(collection)
        for submission in collection.submissions.values():
            for name in submission.uploads:
                if other.endswith(name):
                    submission.uploads[name] += b"!"
        world.reuse_seconds = 10**6
        settings = {"files_uri": root.as_uri(), **ids(collection)}
        first = runner.sync(**settings, **before)
        assert tree(root).keys() == {one}
        clock.advance(days=2)
        world.requests.clear()
        second = runner.sync(state=first.state, **settings, **now)
        assert tree(root) == said(second.rows("files"), root) == uploads(collection)
        assert fetched(world, collection, uploads(collection)) == {other}

    def test_a_new_place_gets_all_of_them(
        self, runner: Runner, world: World, clock: Clock, collection: Hosted, root: Path
    ) -> None:
        world.reuse_seconds = 10**6
        without = runner.sync(**ids(collection))
        for place in (root, root / "below"):
            clock.advance(days=2)
            out = runner.sync(state=without.state, files_uri=place.as_uri(), **ids(collection))
            assert said(out.rows("files"), place) == uploads(collection)
            again = runner.sync(state=out.state, files_uri=place.as_uri(), **ids(collection))
            assert again.rows("files") == []
            without = out
        for path in [*(root / "below").rglob("*.png")]:
            path.unlink()
        assert tree(root) == uploads(collection)

    def test_another_content_under_the_same_name_lies_beside_it(
        self, runner: Runner, clock: Clock, collection: Hosted, root: Path
    ) -> None:
        first = runner.sync(files_uri=root.as_uri(), **ids(collection))
        before = tree(root)
        for submission in collection.submissions.values():
            for name, content in submission.uploads.items():
                submission.uploads[name] = content[::-1]
        clock.advance(minutes=1)
        catalog = runner.catalog(**ids(collection))
        second = runner.sync(catalog, files_uri=root.as_uri(), **ids(collection))
        contents = sorted(said(second.rows("files"), root).values())
        assert contents == sorted(uploads(collection).values())
        assert said(first.rows("files"), root) == before
        assert len(tree(root)) == 4


MISTAKES: dict[str, tuple[str, str]] = {
    "no URI": ("nonsense", r"must be a URI such as file:///data/uploads"),
    "no authority": ("s3:/x", r"must be a URI such as .* s3://bucket/uploads"),
    "relative": ("file://relative", r"must be file:/// and an absolute path"),
    "no bucket": ("s3://", r"names no bucket"),
    "a password": ("sftp://me:hunter2@host/x", r"holds a password.* environment variables"),
    "a query": ("s3://bucket/x?y=z", r"must be a plain URI, without query"),
    "a scheme that nobody knows": ("ftp2://x", r"ftp2:// has no backend in fsspec"),
    "no backend": ("gs://bucket", r"gs:// needs gcsfs: pip install 'tap-prolific-export\[gs\]'"),
}


def problems(error: Exception) -> Sequence[str]:
    if isinstance(error, ConfigError):
        return error.problems
    assert isinstance(error, ConfigValidationError)
    return error.errors


@fresh
class TestAStoreThatIsNone:
    """It is said before anything is requested; discovery apart, which a catalog saves.

    In which places it is none: see the tests of stores.
    """

    @pytest.fixture
    def catalog(self, runner: Runner, world: World, collection: Hosted) -> dict[str, Any]:
        catalog = runner.catalog(**ids(collection))
        world.requests.clear()
        return catalog

    @pytest.mark.parametrize(("uri", "says"), MISTAKES.values(), ids=MISTAKES)
    def test_a_uri_that_names_none(  # noqa: PLR0917
        self,
        uri: str,
        says: str,
        catalog: dict[str, Any],
        runner: Runner,
        world: World,
        collection: Hosted,
    ) -> None:
        if uri.startswith("gs:") and find_spec("gcsfs"):
            pytest.skip("gcsfs is installed")
        with pytest.raises((ConfigError, ConfigValidationError)) as raised:
            runner.sync(catalog, files_uri=uri, **ids(collection))
        [problem] = problems(raised.value)
        assert re.match(f"files_uri: {says}", problem)
        assert "hunter2" not in problem
        assert world.requests == []

    def test_no_export_is_requested_without_a_catalog_either(
        self, runner: Runner, world: World, collection: Hosted, root: Path
    ) -> None:
        root.write_bytes(b"x")
        with pytest.raises(ConfigError):
            runner.sync(files_uri=root.as_uri(), **ids(collection))
        assert not [request for request in world.asked("api") if "/export" in request]

    def test_a_file(
        self,
        catalog: dict[str, Any],
        runner: Runner,
        world: World,
        collection: Hosted,
        root: Path,
    ) -> None:
        root.write_bytes(b"x")
        with pytest.raises(ConfigError, match=f"files_uri: cannot write to {root}"):
            runner.sync(catalog, files_uri=(root / "below").as_uri(), **ids(collection))
        assert world.requests == []

    @posix
    def test_a_directory_that_is_closed_to_us(
        self,
        catalog: dict[str, Any],
        runner: Runner,
        world: World,
        collection: Hosted,
        closed: Path,
    ) -> None:
        place = closed / "below"
        with (
            unprivileged(),
            pytest.raises(ConfigError, match=rf"files_uri: cannot write to {place} \(Permission"),
        ):
            runner.sync(catalog, files_uri=place.as_uri(), **ids(collection))
        assert world.requests == []
        assert [*closed.iterdir()] == []

    def test_a_test_run_says_so_too(
        self, catalog: dict[str, Any], runner: Runner, collection: Hosted, root: Path
    ) -> None:
        root.write_bytes(b"x")
        with pytest.raises(ConfigError, match="files_uri: cannot write to"):
            runner.tap(catalog, files_uri=root.as_uri(), **ids(collection)).run_sync_dry_run()


class Trouble:
    """What keeps a data collection's files from being stored.

    Args:
        of: The data collection.
        root: The store.
        patch: Changes how archives are packed.
    """

    def __init__(self, of: Hosted, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.of = of
        self.folder = root / of.id
        self.patch = patch

    def begin(self) -> None: ...
    def end(self) -> None: ...


class Taken(Trouble):
    """A file lies where their directory must be."""

    def begin(self) -> None:
        self.folder.rename(self.folder.with_name("aside"))
        self.folder.write_bytes(b"x")

    def end(self) -> None:
        self.folder.unlink()
        self.folder.with_name("aside").rename(self.folder)


class Damaged(Trouble):
    """They are not in the archive as its directory says."""

    def begin(self) -> None:
        self.build = archives.build
        self.patch.setattr(archives, "build", self.damaged)

    def damaged(self, *args: Any) -> bytes:
        archive = self.build(*args)
        for content in uploads(self.of).values():
            archive = archive.replace(content, content[:-1] + b"!")
        return archive

    def end(self) -> None:
        self.patch.setattr(archives, "build", self.build)


class TestWhatCannotBeStored:
    @pytest.mark.usefixtures("impatient")
    @pytest.mark.parametrize("trouble", [Taken, Damaged])
    def test_it_fails_the_files_alone_and_the_next_run_has_them(  # noqa: PLR0917
        self,
        trouble: type[Trouble],
        runner: Runner,
        world: World,
        clock: Clock,
        both: dict[str, Any],
        collection: Hosted,
        batch: Hosted,
        root: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        both["files_uri"] = root.as_uri()
        first = runner.sync(**both)
        clock.advance(days=2)
        new = add(world, collection, 100, clock.now)
        [name] = collection.submissions[new].uploads
        note = add(world, batch, 100, clock.now)
        batch.submissions[note].uploads["6652_note.txt"] = b"note"
        it = trouble(collection, root, monkeypatch)
        it.begin()
        caplog.clear()
        failed = runner.sync_and_fail(None, first.state, **both)
        it.end()
        assert name not in caplog.text
        assert name not in failed.error
        [said_so] = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
        assert said_so.startswith(f"collection {collection.id}: 1 of its uploaded files could not ")
        assert failed.error.startswith("Failed: 1, as listed below. Delivered: 1.\n")
        assert f"collection {collection.id}  1 of its uploaded" in failed.error
        for stream in ("responses", "answers"):
            assert submissions(failed, stream) == {new, note}
            for hosted in (collection, batch):
                assert moved(stream, hosted, first, failed)
        assert len(failed.rows("collections")) == 2
        assert submissions(failed, "files") == {None}  # the batch's, which no answer names
        assert moved("files", batch, first, failed)
        assert not moved("files", collection, first, failed)
        assert of(collection, new).items().isdisjoint(tree(root).items())

        clock.advance(minutes=1)
        last = runner.sync(state=failed.state, **both)
        rows = [row for row in last.rows("files") if row["submission_id"] == new]
        assert said(rows, root) == of(collection, new)
        assert tree(root) == uploads(collection, batch)
        assert moved("files", collection, failed, last)

    @pytest.mark.usefixtures("impatient")
    def test_so_it_does_where_there_was_no_run_before(
        self, runner: Runner, collection: Hosted, root: Path
    ) -> None:
        root.mkdir()
        (root / collection.id).write_bytes(b"x")
        out = runner.sync_and_fail(files_uri=root.as_uri(), **ids(collection))
        assert len(out.rows("responses")) == 8
        assert out.rows("files") == []
        [row] = out.rows("collections")
        assert row["exported_response_count"] == 8
        assert row["full_exported_at"] is None
        assert entry(out.state, "responses", collection)
        assert "files" not in out.state["bookmarks"]


def moved(stream: str, hosted: Hosted, before: Output, after: Output) -> bool:
    """Whether a stream's bookmark has moved from one run to another."""
    values = [entry(out.state, stream, hosted)["replication_key_value"] for out in (before, after)]
    return bool(values[0] < values[1])


@dataclass(frozen=True)
class Watch(Fault):
    """No fault: does something when the archives' host has been asked so often."""

    world: World | None = None
    number: int = 0
    do: Callable[[], object] = list

    def matches(self, request: tuple[str, str]) -> bool:
        asked = self.world.asked("archives") if self.world else []
        if request[0] == self.server and len(asked) == self.number:
            self.do()
        return False


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_an_archive_that_is_replaced_meanwhile_is_read_anew_and_not_mixed(  # noqa: PLR0917
    number: int,
    runner: Runner,
    world: World,
    clock: Clock,
    collection: Hosted,
    root: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    enlarge(collection)
    old = uploads(collection)

    def replace() -> None:
        add(world, collection, 100, clock.now)
        for submission in collection.submissions.values():
            for name, content in submission.uploads.items():
                submission.uploads[name] = content[::-1]
            submission.line["responses"]["q-name"]["value"] = "Brunch"
        made = collection.archive(clock.now)
        world.handed_out[collection.kind, collection.id].archive = made

    world.faults = [Watch("archives", "", world=world, number=number, do=replace)]
    out = runner.sync(files_uri=root.as_uri(), files_concurrency=1, **ids(collection))
    assert sum("replaced by another one" in text for text in caplog.messages) == 1
    new = uploads(collection)
    assert len(new) == len(old) + 1
    assert sorted(said(out.rows("files"), root).values()) == sorted(new.values())
    assert {*tree(root).values()} <= {*old.values(), *new.values()}
    last = {row["submission_id"]: row["answers"]["q-name"] for row in out.rows("responses")}
    assert last == dict.fromkeys(collection.submissions, "Brunch")
    [row] = out.rows("collections")[-1:]
    assert row["exported_response_count"] == 9


CHILD = """
import sys
from pathlib import Path
from tap_prolific_export.tap import TapProlificExport
try:
    TapProlificExport.cli(["--config", "config.json", "--catalog", "catalog.json"])
finally:
    print(Path("/proc/self/status").read_text(), file=sys.stderr)
"""


@fresh
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_memory_does_not_grow_with_a_file(
    method: int, runner: Runner, root: Path, tmp_path: Path
) -> None:
    size = 300 << 20
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w", method, compresslevel=1) as packed:
        packed.writestr("collection.json", '{"id": "films"}')
        packed.writestr("responses.jsonl", "")
        with packed.open("files/s1_film.mp4", "w") as member:
            for _ in range(size >> 20):
                member.write(bytes(1 << 20))
    config = {"files_uri": root.as_uri(), "archive_paths": [str(archive)]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "catalog.json").write_text(json.dumps(runner.catalog(**config)))
    done = run(sys.executable, "-c", CHILD, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    film = root / "films" / "s1_film.mp4"
    assert film.stat().st_size == size
    [row] = read(done.stdout).rows("files")
    assert row["uri"] == film.as_uri()
    film.unlink()
    archive.unlink()
    peak = re.search(r"VmHWM:\s+(\d+) kB", done.stderr)  # of this process, unlike ru_maxrss
    assert peak
    assert int(peak[1]) < 150 << 10
