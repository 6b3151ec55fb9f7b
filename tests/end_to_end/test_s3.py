"""Uploads go to a real S3, and archives come from one."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import random
import re
import time
import zlib
from contextlib import redirect_stdout
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tap_prolific_export.archive.http_source import TAIL
from tap_prolific_export.errors import ConfigError, FatalError
from tap_prolific_export.uploads.store import BLOCK
from tests.support import s3
from tests.support.clocks import Clock
from tests.support.secrets import (
    MARK,
    TOKEN,
    MarkedStandIn,
    MarkedWorld,
    Scene,
    assert_tells_nothing,
    mark_all,
)
from tests.support.stand_in import Fault, StandIn, World, archives, samples
from tests.support.tap import Output, Runner, ids, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.s3 import Asked, Bucket, Credentials, S3Server
    from tests.support.stand_in import Hosted
    from tests.support.stand_in.world import Job

PREFIX = "some/prefix"
PHOTO = next(iter(samples.breakfast(0).uploads))
FILM = random.Random(7).randbytes(18_000_000)  # noqa: S311
# Everything lies within it.
LOOKBACK = 10**9


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3.running_s3() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_other_s3(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "FSSPEC_")):
            monkeypatch.delenv(name)
    use(monkeypatch, server, s3.ANYBODY)


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)


@pytest.fixture
def bucket(server: S3Server) -> Bucket:
    return server.new_bucket()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(autouse=True)
def clock(world: World) -> Clock:
    """Two archives differ only if the time does, and a ZIP knows that to two seconds."""
    world.clock = clock = Clock()
    clock.now = datetime.now(timezone.utc)
    return clock


@pytest.fixture
def diary(world: World) -> Hosted:
    """A diary with a photo and a film."""
    diary = samples.breakfast_diary(1)
    [submission] = diary.submissions.values()
    submission.uploads["film.mp4"] = FILM
    return world.host(diary)


def use(monkeypatch: pytest.MonkeyPatch, server: S3Server, credentials: Credentials) -> None:
    for name, value in s3.environment(server, credentials).items():
        monkeypatch.setenv(name, value)


def key_of(hosted: Hosted, name: str) -> str:
    return f"{PREFIX}/{hosted.id}/{name}"


def uploads_of(*hosted: Hosted) -> dict[str, bytes]:
    """Return what should be stored, by key."""
    return {
        key_of(each, name): content
        for each in hosted
        for submission in each.submissions.values()
        for name, content in submission.uploads.items()
    }


def told(out: Output) -> dict[str, str]:
    """Return sha256 by URI, as the rows tell them."""
    return {row["uri"]: row["sha256"] for row in out.rows("files")}


def sums(bucket: Bucket, contents: dict[str, bytes]) -> dict[str, str]:
    """Return sha256 by URI, as they are."""
    return {bucket.uri(key): hashlib.sha256(data).hexdigest() for key, data in contents.items()}


def spans(asked: list[str]) -> list[int]:
    """Return how long the ranges were that were asked for."""
    found = [re.fullmatch(r"bytes=(\d*)-(\d+)", range_) for range_ in asked]
    return [int(f[2]) - int(f[1]) + 1 if f[1] else int(f[2]) for f in found if f]


class TestStoring:
    def test_every_upload_is_stored_and_its_row_tells_where(
        self, runner: Runner, bucket: Bucket, collection: Hosted, batch: Hosted
    ) -> None:
        annotation = next(iter(batch.submissions.values()))
        annotation.uploads = {"scan (1), é.pdf": b"%PDF", "empty.txt": b""}
        uploads = uploads_of(collection, batch)
        out = runner.sync(files_uri=bucket.uri(PREFIX), **ids(collection, batch))
        assert len(uploads) == 4
        assert bucket.contents() == uploads
        assert told(out) == sums(bucket, uploads)

    def test_the_next_run_neither_fetches_nor_writes_nor_reads_them(
        self, runner: Runner, bucket: Bucket, world: World, clock: Clock, diary: Hosted
    ) -> None:
        config = {"files_uri": bucket.uri(PREFIX), "lookback_seconds": LOOKBACK, **ids(diary)}
        first = runner.sync(**config)
        before = len(bucket.asked())
        world.requests.clear()
        clock.advance(minutes=1)
        second = runner.sync(state=first.state, **config)
        photo, film = uploads = uploads_of(diary)
        assert told(second) == told(first) == sums(bucket, uploads)
        asked = [(a.key, a.method, a.query) for a in bucket.asked()[before:] if a.key in uploads]
        assert sorted(asked) == sorted(
            [(photo, "HEAD", ""), (film, "HEAD", ""), (film, "GET", "tagging")]
        )
        assert all(len(bucket.versions(key)) == 1 for key in uploads)
        ranges = [headers["Range"] for name, _, _, headers in world.requests if name != "api"]
        assert sum(spans(ranges)) < 2 * TAIL

    def test_a_small_one_bears_its_checksums(
        self, runner: Runner, bucket: Bucket, collection: Hosted
    ) -> None:
        runner.sync(files_uri=bucket.uri(PREFIX), **ids(collection))
        content = samples.png(0)
        assert bucket.head(key_of(collection, PHOTO))["Metadata"] == {
            "size": str(len(content)),
            "crc32": f"{zlib.crc32(content):08x}",
            "sha256": hashlib.sha256(content).hexdigest(),
        }

    def test_a_large_one_goes_in_blocks_and_gets_its_sha256_as_a_tag(
        self, runner: Runner, bucket: Bucket, diary: Hosted
    ) -> None:
        runner.sync(files_uri=bucket.uri(PREFIX), **ids(diary))
        key = key_of(diary, "film.mp4")
        assert bucket[key] == FILM
        assert bucket.head(key)["ETag"].endswith('-3"')
        assert bucket.head(key)["Metadata"] == {
            "size": str(len(FILM)),
            "crc32": f"{zlib.crc32(FILM):08x}",
        }
        assert bucket.tags(key) == {"sha256": hashlib.sha256(FILM).hexdigest()}
        assert bucket.unfinished() == []

    def test_all_blocks_but_the_last_are_of_one_size_as_some_s3_demand(
        self, runner: Runner, bucket: Bucket, diary: Hosted
    ) -> None:
        runner.sync(files_uri=bucket.uri(PREFIX), **ids(diary))
        key = key_of(diary, "film.mp4")
        parts = [bucket.head(key, PartNumber=number)["ContentLength"] for number in (1, 2, 3)]
        assert parts == [BLOCK, BLOCK, len(FILM) - 2 * BLOCK]

    @pytest.mark.parametrize("size", [BLOCK, BLOCK + 1])
    def test_none_is_too_large_for_one_block_and_too_small_for_two(
        self, size: int, runner: Runner, bucket: Bucket, diary: Hosted
    ) -> None:
        [submission] = diary.submissions.values()
        submission.uploads = {"film.mp4": FILM[:size]}
        out = runner.sync(files_uri=bucket.uri(PREFIX), **ids(diary))
        assert bucket.contents() == uploads_of(diary)
        assert told(out) == sums(bucket, uploads_of(diary))

    def test_one_that_is_damaged_at_its_end_leaves_nothing_behind(
        self,
        runner: Runner,
        bucket: Bucket,
        diary: Hosted,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def damaged(*args: Any) -> bytes:
            return build(*args).replace(FILM[-8:], bytes(8))

        build = archives.build
        config = {"files_uri": bucket.uri(PREFIX), **ids(diary)}
        with monkeypatch.context() as patched:
            patched.setattr(archives, "build", damaged)
            with pytest.raises(FatalError):
                runner.sync(**config)
        assert "1 of its uploaded files could not be stored." in caplog.text
        assert "is damaged: its checksum differs" in caplog.text
        self.assert_abandoned(bucket, diary)
        assert [*bucket.contents()] == [key_of(diary, PHOTO)]
        assert told(runner.sync(**config)) == sums(bucket, uploads_of(diary))

    def test_one_that_breaks_off_for_good_leaves_nothing_behind(
        self,
        runner: Runner,
        bucket: Bucket,
        world: World,
        diary: Hosted,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        [submission] = diary.submissions.values()
        del submission.uploads[PHOTO]
        runner.sync(**ids(diary))
        archive = archives.build(diary, [submission], world.now())
        # The end of the film has come with the end of the archive.
        begin, end = archive.index(b"files/film.mp4") - 30, len(archive) - TAIL
        etag = hashlib.md5(archive, usedforsecurity=False).hexdigest()
        breaks_off = Fault(
            "archives",
            "",
            first=len(world.asked("archives")),
            status=206,
            body=archive[begin:end],
            body_missing=len(FILM) // 3,
            headers={
                "ETag": f'"{etag}"',
                "Content-Range": f"bytes {begin}-{end - 1}/{len(archive)}",
            },
        )
        world.faults = [breaks_off, Fault("archives", "", first=breaks_off.first, times=99)]
        config = {"files_uri": bucket.uri(PREFIX), **ids(diary)}
        with pytest.raises(FatalError):
            runner.sync(**config)
        assert re.search(
            r"1 of its uploaded .* from localhost, \d+ times over \d+ s; it answered 500",
            caplog.text,
        )
        self.assert_abandoned(bucket, diary)
        assert bucket.contents() == {}
        world.faults = []
        assert told(runner.sync(**config)) == sums(bucket, uploads_of(diary))

    def assert_abandoned(self, bucket: Bucket, diary: Hosted) -> None:
        """See whether some of the film has come, and is gone."""
        of_film = [each for each in bucket.asked() if each.key == key_of(diary, "film.mp4")]
        assert any(each.method == "PUT" and "partNumber=1" in each.query for each in of_film)
        assert (of_film[-1].method, of_film[-1].query[:9]) == ("DELETE", "uploadId=")
        assert bucket.unfinished() == []
        assert bucket.versions(key_of(diary, "film.mp4")) == []


@pytest.mark.parametrize("name", [PHOTO, "film.mp4"])
class TestWhatSomebodyElseHasPutThere:
    @pytest.fixture(autouse=True)
    def _only_this(self, name: str, diary: Hosted) -> None:
        [submission] = diary.submissions.values()
        submission.uploads = {name: submission.uploads[name]}

    def test_is_known_by_reading_it_if_it_is_the_same(
        self, runner: Runner, bucket: Bucket, diary: Hosted
    ) -> None:
        [(key, content)] = uploads_of(diary).items()
        bucket[key] = content
        out = runner.sync(files_uri=bucket.uri(PREFIX), **ids(diary))
        assert told(out) == sums(bucket, {key: content})
        assert bucket.contents() == {key: content}
        assert len(bucket.versions(key)) == 1

    def test_stays_as_it_is_if_it_is_not(
        self, runner: Runner, bucket: Bucket, clock: Clock, diary: Hosted
    ) -> None:
        [(key, content)] = uploads_of(diary).items()
        stem, _, ending = key.rpartition(".")
        other = f"{stem}-crc32-{zlib.crc32(content):08x}.{ending}"
        bucket[key] = content[::-1]
        config = {"files_uri": bucket.uri(PREFIX), "lookback_seconds": LOOKBACK, **ids(diary)}
        first = runner.sync(**config)
        clock.advance(minutes=1)
        second = runner.sync(state=first.state, **config)
        assert told(first) == told(second) == sums(bucket, {other: content})
        assert bucket.contents() == {key: content[::-1], other: content}
        assert [len(bucket.versions(each)) for each in (key, other)] == [1, 1]


class TestWhoMayNot:
    def refused(self, runner: Runner, world: World, hosted: Hosted, uri: str) -> str:
        """Run with a catalog; return what is said before anything is requested."""
        catalog = runner.catalog(**ids(hosted))
        world.requests.clear()
        with pytest.raises(ConfigError, match=f"files_uri: cannot write to {uri}: ") as raised:
            runner.sync(catalog, files_uri=uri, **ids(hosted))
        assert world.requests == []
        return str(raised.value)

    def test_a_missing_bucket_is_said_before_anything_is_requested(
        self, runner: Runner, world: World, collection: Hosted
    ) -> None:
        said = self.refused(runner, world, collection, "s3://no-such-bucket/x")
        assert "failed (NoSuchBucket)" in said

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"AWS_ACCESS_KEY_ID": "AKIANOBODY"}, "refused it (InvalidAccessKeyId)"),
            ({"AWS_SECRET_ACCESS_KEY": "another"}, "refused it (SignatureDoesNotMatch)"),
            ({}, "refused it (AccessDenied)"),
        ],
        ids=["key", "secret", "rights"],
    )
    def test_so_are_credentials_that_do_not_let_us_write(  # noqa: PLR0917
        self,
        change: dict[str, str],
        says: str,
        runner: Runner,
        bucket: Bucket,
        world: World,
        collection: Hosted,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with bucket.server.guarded("another-bucket/*") as credentials:
            use(monkeypatch, bucket.server, credentials)
            for name, value in change.items():
                monkeypatch.setenv(name, value)
            assert says in self.refused(runner, world, collection, bucket.uri(PREFIX))
        assert bucket.contents() == {}

    def test_those_that_do_are_taken(
        self, runner: Runner, bucket: Bucket, diary: Hosted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with bucket.server.guarded(bucket.name, f"{bucket.name}/{PREFIX}/*") as credentials:
            use(monkeypatch, bucket.server, credentials)
            out = runner.sync(files_uri=bucket.uri(PREFIX), **ids(diary))
        assert told(out) == sums(bucket, uploads_of(diary))
        assert bucket.contents() == uploads_of(diary)

    @pytest.mark.parametrize("right", ["s3:PutObjectTagging", "s3:GetObjectTagging"])
    def test_without_tags_a_large_one_is_read_once_more(  # noqa: PLR0917
        self,
        right: str,
        runner: Runner,
        bucket: Bucket,
        clock: Clock,
        diary: Hosted,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.INFO)
        config = {"files_uri": bucket.uri(PREFIX), "lookback_seconds": LOOKBACK, **ids(diary)}
        resources = (bucket.name, f"{bucket.name}/{PREFIX}/*")
        with bucket.server.guarded(*resources, but_not=right) as credentials:
            use(monkeypatch, bucket.server, credentials)
            first = runner.sync(**config)
            clock.advance(minutes=1)
            second = runner.sync(state=first.state, **config)
        read_of = {
            each.key for each in bucket.asked() if (each.method, each.status) == ("GET", 206)
        }
        assert read_of == {key_of(diary, "film.mp4")}
        assert told(first) == told(second) == sums(bucket, uploads_of(diary))
        assert all(len(bucket.versions(key)) == 1 for key in uploads_of(diary))
        is_said = "The store refuses tags (AccessDenied)" in caplog.text
        assert is_said is (right == "s3:PutObjectTagging")

    def test_what_is_refused_later_fails_the_files_only(
        self,
        runner: Runner,
        bucket: Bucket,
        diary: Hosted,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        with bucket.server.guarded(f"{bucket.name}/{PREFIX}/.tap-*") as credentials:
            use(monkeypatch, bucket.server, credentials)
            out = runner.sync_and_fail(files_uri=bucket.uri(PREFIX), **ids(diary))
        assert "Tried to store one; the store (s3://) refused it (403)." in caplog.text
        assert (len(out.rows("responses")), out.rows("files")) == (1, [])
        assert bucket.contents() == {}


class InS3(StandIn):
    """Its archives lie in S3.

    Attributes:
        bucket: Where.
        urls: Those that were handed out.
    """

    def __init__(
        self, world: World, bucket: Bucket, version: str, credentials: Credentials = s3.ANYBODY
    ) -> None:
        super().__init__(world)
        self.bucket = bucket
        self.urls: list[str] = []
        self._client = bucket.server.client("s3", credentials, signature_version=version)

    def key(self, job: Job) -> str:
        return f"exports/{job.export_id}~1.zip"

    def presign(self, job: Job) -> tuple[str, datetime]:
        key, seconds = self.key(job), self.world.url_seconds
        if not self.bucket.versions(key):
            self.bucket[key] = job.archive
        name = f'attachment; filename="{MARK} & {key}"'
        where = {"Bucket": self.bucket.name, "Key": key, "ResponseContentDisposition": name}
        self.urls.append(self._client.generate_presigned_url("get_object", where, seconds))
        return self.urls[-1], self.world.now() + timedelta(seconds=seconds)

    def asked(self) -> list[Asked]:
        """Return what was asked of the archives with a URL that was handed out."""
        asked = [a for a in self.bucket.asked() if a.key.startswith("exports/") and a.query]
        return [each for each in asked if each.method == "GET"]


class Watched(io.StringIO):
    """What the tap writes to, which has something happen at the first row of a stream."""

    def __init__(self, stream: str, happens: Callable[[], None]) -> None:
        super().__init__()
        self._stream = stream
        self._happens: Callable[[], None] | None = happens

    def write(self, text: str) -> int:
        said = {(message["type"], message.get("stream")) for message in read(text).messages}
        if ("RECORD", self._stream) in said and self._happens:
            self._happens()
            self._happens = None
        return super().write(text)


class TestArchivesFromThere:
    @pytest.fixture(params=["s3v4", "s3"])
    def stand_in(
        self, request: pytest.FixtureRequest, world: World, bucket: Bucket
    ) -> Iterator[InS3]:
        with InS3(world, bucket, request.param) as serving:
            yield serving

    def rows(self, out: Output) -> list[dict[str, Any]]:
        """Return all rows, without what differs between two exports."""
        rows = [message["record"] for message in out.of_type("RECORD")]
        differs = {"export_id", "exported_at", "full_exported_at"}
        return [{k: v for k, v in row.items() if k not in differs} for row in rows]

    def test_the_rows_are_those_of_any_host(
        self, stand_in: InS3, runner: Runner, world: World, collection: Hosted, batch: Hosted
    ) -> None:
        with StandIn(world) as another:
            expected = Runner(another).sync(**ids(collection, batch))
        world.requests.clear()
        out = runner.sync(**ids(collection, batch))
        assert self.rows(out) == self.rows(expected)
        assert len(out.rows("responses")) == 8 + 20
        assert world.asked("archives") == []
        asked = stand_in.asked()
        assert [each.status for each in asked] == [206] * len(asked)
        assert {stand_in.bucket.server.url + each.target for each in asked} == {*stand_in.urls}
        assert not any("Authorization" in each.headers for each in asked)

    def test_a_large_upload_is_fetched_only_if_it_is_to_be_stored(
        self, stand_in: InS3, runner: Runner, bucket: Bucket, diary: Hosted
    ) -> None:
        out = runner.sync(**ids(diary))
        assert len(out.rows("responses")) == 1
        assert [row["uri"] for row in out.rows("files")] == [None, None]
        ranges = [each.headers["Range"] for each in stand_in.asked()]
        assert sum(spans(ranges)) < 2 * TAIL

        out = runner.sync(files_uri=bucket.uri(PREFIX), **ids(diary))
        assert told(out) == sums(bucket, uploads_of(diary))
        ranges = [each.headers["Range"] for each in stand_in.asked()][len(ranges) :]
        assert len(FILM) < sum(spans(ranges)) < len(FILM) + 2 * TAIL

    @pytest.mark.parametrize("stand_in", ["s3v4"], indirect=True)
    @pytest.mark.parametrize("stream", ["instructions", "responses"])
    def test_one_that_is_replaced_meanwhile_is_read_anew(  # noqa: PLR0917
        self,
        stream: str,
        stand_in: InS3,
        runner: Runner,
        bucket: Bucket,
        world: World,
        diary: Hosted,
    ) -> None:
        def replace() -> None:
            world.submit(diary, samples.breakfast(4))
            [job] = world.jobs[diary.kind, diary.id]
            bucket[stand_in.key(job)] = diary.archive(world.now())

        with redirect_stdout(Watched(stream, replace)) as written:
            runner.tap(files_uri=bucket.uri(PREFIX), **ids(diary)).sync_all()
        out = read(written.getvalue())
        asked = stand_in.asked()
        assert len(bucket.versions(asked[0].key)) == 2
        assert 412 in [each.status for each in asked]
        tags = {each.headers["If-Match"] for each in asked if "If-Match" in each.headers}
        assert len(tags) == 2
        again = [each["submission_id"] for each in out.rows("responses")]
        assert again[-2:] == [*diary.submissions]
        assert told(out) == sums(bucket, uploads_of(diary))
        assert bucket.contents().items() >= uploads_of(diary).items()


def test_the_log_of_a_process_tells_nothing(
    server: S3Server, bucket: Bucket, tmp_path: Path
) -> None:
    secret = s3.Credentials(f"AKIA{MARK}", f"secret-{MARK}")
    world = MarkedWorld("fresh")
    diary = world.host(mark_all(samples.breakfast_diary(2)))
    [submission, _] = diary.submissions.values()
    submission.uploads[f"film-{MARK}.mp4"] = FILM[: BLOCK + 1]
    config = {"api_token": TOKEN, "files_uri": bucket.uri(PREFIX), **ids(diary)}
    with InS3(world, bucket, "s3v4", secret) as stand_in:
        scene = Scene(stand_in, tmp_path, {"api_url": stand_in.api_url, **config})
        stored, known = [scene.run(env=s3.environment(server, secret)) for _ in range(2)]
    with MarkedStandIn(world) as own, server.guarded(f"{bucket.name}/{PREFIX}/.tap-*") as other:
        scene = Scene(own, tmp_path / "refused", {"api_url": own.api_url, **config})
        refused = scene.run(env=s3.environment(server, other))
    assert_tells_nothing(stored, known, refused)
    assert [each.code for each in (stored, known, refused)] == [0, 0, 1]
    flat = {key: content for key, content in uploads_of(diary).items() if "stray" not in key}
    assert bucket.contents().items() >= flat.items()
    assert f"film-{MARK}.mp4" in stored.records
    assert re.search(r'"GET /bucket-\d+/exports/\S+\.zip\?<redacted> HTTP/1.1" 206', stored.err)
    assert "(5 already stored)" in known.err
    assert "the store (s3://) refused it (403)" in refused.err
    assert other.secret not in refused.told
