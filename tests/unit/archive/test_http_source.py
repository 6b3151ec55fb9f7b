"""Fetching archives from a host that is not the API's, and that does what hosts do."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tap_prolific_export.archive.byte_source import CHUNK, SMALL
from tap_prolific_export.archive.http_source import TAIL, Downloader, PresignedUrl
from tap_prolific_export.errors import DataCollectionError, GoneError, ReplacedError
from tap_prolific_export.http import BUSY_SECONDS, MAX_TRIES
from tests.support.file_host import (
    ALL,
    BAD,
    BEGIN,
    BYTES,
    END,
    FINAL,
    HALF,
    NO_PIECE,
    PASSING,
    SHORT,
    THE_END,
    TUESDAY,
    Answer,
    Host,
    HostFault,
    all_of,
    cut,
    drip,
    given_up,
    in_chunks,
    of_piece,
    says,
    serving,
)
from tests.support.stand_in import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.stand_in import Hosted, StandIn
    from tests.support.stand_in.world import Job


OTHER = BYTES[::-1]


def each_of(*groups: dict[str, HostFault]) -> pytest.MarkDecorator:
    named = {name: fault for group in groups for name, fault in group.items()}
    return pytest.mark.parametrize("fault", named.values(), ids=named.keys())


def have_been(slept: list[float], waits: tuple[float | None, ...]) -> bool:
    """Whether it was slept so often, and so long where that is known."""
    return len(slept) == len(waits) and all(
        wait in {None, seconds} for wait, seconds in zip(waits, slept, strict=True)
    )


def was_tried_enough(host: Host, asks: int, before: int) -> bool:
    """Whether it was asked so often; 0: for as long as a host that answers that it is busy."""
    asked = len(host.asked) - before
    if asks:
        return asked == asks
    return sum(host.slept) >= BUSY_SECONDS and MAX_TRIES <= asked < 2 * MAX_TRIES + 8


class TestTheEnd:
    """The first request is for the archive's end."""

    @each_of(PASSING, SHORT, NO_PIECE)
    def test_it_is_asked_for_again(self, fault: HostFault) -> None:
        with serving(timeout=fault.timeout) as host:
            host.faults = [fault.twist]
            host.clock.a_read = fault.a_read
            with host.opened() as archive:
                assert host.ranges() == [THE_END] * 2
                assert have_been(host.slept, fault.waits)
                assert all_of(archive) == BYTES

    @each_of(NO_PIECE)
    def test_if_it_is_always_another_piece_all_is_fetched(
        self, fault: HostFault, caplog: pytest.LogCaptureFixture
    ) -> None:
        with serving() as host:
            host.faults = [fault.twist] * 2
            with host.opened() as archive:
                assert all_of(archive) == BYTES
            assert host.ranges() == [THE_END, THE_END, None]
        assert caplog.text.count("does not support range requests") == 1

    @each_of(PASSING, SHORT, FINAL)
    def test_what_never_comes_is_given_up(self, fault: HostFault) -> None:
        with serving(timeout=fault.timeout / 5) as host:
            host.always = fault.twist
            host.clock.a_read = fault.a_read
            with given_up(fault.says), host.opened():
                pass
            assert {*host.ranges()} == {THE_END}
            assert was_tried_enough(host, fault.asks, 0)
            if fault.asks:
                assert len(host.slept) == (0 if fault.asks == 1 else MAX_TRIES - 1)

    def test_an_archive_that_is_no_longer_than_that_takes_one_request(self) -> None:
        for size in (1, TAIL - 1, TAIL):
            with serving(BYTES[:size]) as host, host.opened() as archive:
                assert all_of(archive) == BYTES[:size]
                assert host.ranges() == [THE_END]

    def test_it_tells_of_the_whole(self) -> None:
        with serving() as host, host.opened() as archive:
            assert (archive.size, archive.etag) == (len(BYTES), '"one"')
            assert archive.last_modified == datetime(2026, 2, 2, 12, tzinfo=timezone.utc)
            assert host.counted == ["GET /archive"]

    def test_a_size_that_no_archive_has_is_no_size(self) -> None:
        with serving() as host:
            host.faults = [of_piece(f"bytes {{begin}}-{{last}}/{'9' * 5000}")] * 2
            with host.opened() as archive:
                assert all_of(archive) == BYTES

    def test_a_redirect_to_nowhere_is_a_redirect(self) -> None:
        with serving() as host:
            host.always = says(302, Location="http://[")
            with given_up("it answered 302"), host.opened():
                pass

    def test_it_is_taken_however_slowly_its_last_byte_came(self) -> None:
        with serving(BYTES[:99]) as host:
            host.clock.a_read = 5
            with host.opened() as archive:
                assert all_of(archive) == BYTES[:99]
            assert host.ranges() == [THE_END]


class TestAPiece:
    """A piece comes whole, whatever goes wrong, and goes on where it broke off."""

    @each_of(PASSING, SHORT, NO_PIECE, ALL)
    def test_it_goes_on_where_it_broke_off(self, fault: HostFault) -> None:
        with serving(timeout=fault.timeout) as host, host.opened() as archive:
            host.faults = [cut(HALF), fault.twist]
            host.clock.a_read = fault.a_read
            assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]
            assert have_been(host.slept, (None, *fault.waits))
            *before, last = host.ranges()
            went_on = int(str(last).removesuffix(f"-{END - 1}"))
            rest = f"{BEGIN + HALF}-{END - 1}"
            assert before == [THE_END, f"{BEGIN}-{END - 1}", rest]
            assert (went_on == BEGIN + HALF) == (fault.twist != drip)
            assert [headers.get("If-Match") for headers in host.asked] == [None, *['"one"'] * 3]

    @each_of(PASSING, SHORT, NO_PIECE, ALL, FINAL)
    def test_what_never_comes_is_given_up(self, fault: HostFault) -> None:
        with serving(timeout=fault.timeout / 5) as host, host.opened() as archive:
            host.faults = [cut(HALF)]
            host.always = fault.twist
            host.clock.a_read = fault.a_read
            got = b""
            with given_up(fault.says):
                for chunk in archive.read(BEGIN, END):
                    got += chunk
            assert BYTES[BEGIN:END].startswith(got)
            assert (len(got) == HALF) == (fault.twist != drip)
            assert was_tried_enough(host, fault.asks_after_one, 2)

    def test_what_breaks_off_again_and_again_comes_as_long_as_it_goes_on(self) -> None:
        with serving() as host, host.opened() as archive:
            host.faults = [cut(10_000)] * 20
            assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]
            begins = range(BEGIN, BEGIN + 200_001, 10_000)
            assert host.ranges() == [THE_END, *(f"{begin}-{END - 1}" for begin in begins)]

    def test_what_stalls_again_and_again_is_given_up_unless_it_goes_on_fast_enough(self) -> None:
        with serving(timeout=0.05) as host, host.opened() as archive:
            host.faults = [cut(10, "stall")] * 10
            with given_up("bytes arrived in|it broke off"):
                b"".join(archive.read(BEGIN, END))

    def test_a_host_that_was_fast_may_have_become_slow(self) -> None:
        end = BEGIN + 5 * CHUNK
        with serving() as host, host.opened() as archive:
            host.faults = [lambda answer: replace(answer, comes=4 * CHUNK, then="drip")]
            host.clock.a_read = 1
            assert b"".join(archive.read(BEGIN, end)) == BYTES[BEGIN:end]
            dripped = int(str(host.ranges()[2]).partition("-")[0]) - BEGIN - 4 * CHUNK
            assert 0 < dripped < 5000

    def test_it_may_come_in_chunks(self) -> None:
        with serving() as host, host.opened() as archive:
            host.faults = [lambda answer: in_chunks(cut(HALF)(answer))]
            host.always = in_chunks
            assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]
            assert len(host.ranges()) == 3

    def test_a_host_that_is_fast_enough_is_let_be(self) -> None:
        with serving() as host, host.opened() as archive:
            host.clock.a_read = 1
            assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]
            assert host.slept == []

    def test_a_reader_that_takes_its_time_is_no_slow_host(self) -> None:
        with serving() as host, host.opened() as archive:
            for _ in archive.read(BEGIN, END):
                host.clock.now += 10**9
            assert host.slept == []

    def test_more_than_was_asked_for_is_not_taken(self) -> None:
        with serving() as host, host.opened() as archive:
            host.faults = [lambda answer: replace(answer, body=answer.body + OTHER)] * 2
            for _ in range(2):
                assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]
            assert host.slept == []

    @pytest.mark.parametrize("etag", ['"one"', 'W/"one"', None])
    def test_only_a_strong_etag_is_one_to_match(self, etag: str | None) -> None:
        with serving() as host:
            host.etag = etag
            with host.opened() as archive:
                assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]
            strong = etag if etag == '"one"' else None
            assert [headers.get("If-Match") for headers in host.asked] == [None, strong]


def in_xml(code: str, message: str = "No.") -> bytes:
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<Error>'
    return f"{head}<Code>{code}</Code><Message>{message}</Message></Error>".encode()


EXPIRIES = {
    "403": replace(BAD, status=403),
    "expired token": replace(BAD, status=400, body=in_xml("ExpiredToken")),
    "invalid token": replace(BAD, status=400, body=in_xml("InvalidToken")),
    "token to be refreshed": replace(BAD, status=400, body=in_xml("TokenRefreshRequired")),
    "R2": replace(BAD, status=400, body=in_xml("ExpiredRequest")),
    "only the message": replace(
        BAD, status=400, body=in_xml("InvalidRequest", "Request has expired")
    ),
    "401": replace(BAD, status=401, body=in_xml("RequestExpired")),
    "JSON": replace(BAD, status=400, body=b'{"error": {"code": "ExpiredToken", "a": 1}}'),
    "a long document": replace(
        BAD, status=400, body=in_xml("ExpiredToken") + b"<HostId>s3cret</HostId>" * 10_000
    ),
    "in chunks": in_chunks(replace(BAD, status=400, body=in_xml("ExpiredToken"))),
}


class TestAnExpiredURL:
    """A URL that has expired is had anew, and all goes on where it was."""

    @pytest.mark.parametrize("expiry", EXPIRIES.values(), ids=EXPIRIES)
    def test_in_the_middle_of_a_piece(self, expiry: Answer) -> None:
        with serving() as host, host.opened() as archive:
            host.expiry = expiry

            def expire(answer: Answer) -> Answer:
                host.expired.update(host.signed)
                return cut(10_000)(answer)

            host.faults = [expire] * 2
            paths: list[str] = []
            host.each = paths.append
            assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]
            one, two, three = host.signed
            begins = [BEGIN, BEGIN + 10_000, BEGIN + 10_000, BEGIN + 20_000, BEGIN + 20_000]
            assert host.ranges()[1:] == [f"{begin}-{END - 1}" for begin in begins]
            assert paths == [one, one, two, two, three]
            assert len(host.slept) == 2

    @pytest.mark.parametrize("expiry", EXPIRIES.values(), ids=EXPIRIES)
    def test_one_that_had_expired_before_the_first_request(self, expiry: Answer) -> None:
        with serving() as host:
            host.expiry = expiry
            host.expired.add("/x.zip?Signature=0")
            with host.opened() as archive:
                assert all_of(archive) == BYTES
            assert host.refused == ["/x.zip?Signature=0"]
            assert host.slept == []

    @pytest.mark.parametrize(
        ("answer", "says"),
        [
            (replace(BAD, status=400), r"it answered 400\. "),
            (replace(BAD, status=400, body=b""), r"it answered 400\. "),
            (replace(BAD, status=400, body=in_xml("InvalidArgument")), r"400 \(InvalidArgument\)"),
            (replace(BAD, status=400, body=in_xml("Sig=nature1")), r"it answered 400\. "),
            (replace(BAD, status=400, body=b" " * 5000 + in_xml("ExpiredToken")), "answered 400"),
            (replace(BAD, status=401, body=in_xml("AccessDenied")), r"401 \(AccessDenied\)"),
        ],
    )
    def test_what_has_another_meaning_is_final(self, answer: Answer, says: str) -> None:
        with serving() as host:
            host.always = lambda _: answer
            with given_up(says), host.opened():
                pass
            assert len(host.asked) == len(host.signed) == 1

    def test_one_that_expires_again_and_again_is_given_up_without_quoting_the_document(
        self,
    ) -> None:
        body = in_xml("ExpiredToken", "The provided token s3cret has expired.")
        with serving() as host:
            host.always = lambda _: replace(BAD, status=400, body=body)
            with (
                pytest.raises(DataCollectionError, match=r"it answered 400 \(Exp") as raised,
                host.opened(),
            ):
                pass
            assert "s3cret" not in str(raised.value)
            assert len(host.asked) == 2 * MAX_TRIES

    def test_an_error_that_breaks_off_may_be_any(self) -> None:
        with serving() as host:
            broken = replace(BAD, status=400, body=in_xml("ExpiredToken"), comes=5, then="hang up")
            host.faults = [lambda _: broken]
            with host.opened() as archive:
                assert all_of(archive) == BYTES
            assert len(host.slept) == 1

    def test_if_there_is_no_other_the_reason_is_told(self) -> None:
        with serving() as host:
            error = DataCollectionError("collection x", "Its export is gone.", "Run again.")

            def renew() -> str:
                raise error

            host.always = says(403)
            where = PresignedUrl(host.sign(), renew)
            with (
                pytest.raises(DataCollectionError) as raised,
                host.downloader.open(where, "collection x"),
            ):
                pass
            assert raised.value is error
            assert len(host.asked) == 1

    def test_many_threads_have_it_anew_once(self) -> None:
        threads, size, asked = 8, 3 * CHUNK, iter(range(10**6))

        def renew() -> str:
            threading.Event().wait(0.01)  # long enough for another to do so, too
            return host.sign()

        with (
            serving() as host,
            host.downloader.open(PresignedUrl(host.sign(), renew), "collection x") as archive,
        ):
            first, together = host.signed[0], threading.Barrier(threads, timeout=5)
            host.expired.add(first)

            def each(path: str) -> None:
                if path == first:
                    together.wait()  # so that each thread has been refused before one renews
                with host.lock:
                    if next(asked) % 20 == 19:
                        host.expired.update(host.signed)

            host.each = each
            host.always = cut(100_000)
            pieces = [(begin, begin + size) for begin in range(0, threads * CHUNK, CHUNK)]
            with ThreadPoolExecutor(threads) as pool:
                got = [*pool.map(lambda piece: b"".join(archive.read(*piece)), pieces)]
            assert got == [BYTES[begin:end] for begin, end in pieces]
            assert host.refused.count(first) == threads
            assert host.signed[:-1] == sorted({*host.refused}, key=host.signed.index)
            assert len(host.signed) > 3


class TestABusyHost:
    """One that is told to wait holds up the others, so that they do not fail, too."""

    @pytest.mark.parametrize("status", [429, 503])
    def test_is_not_asked_for_another_archive_before_its_time(
        self, status: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        with serving() as host:
            host.always = says(status, Retry_After="50")
            with given_up(f"it answered {status}"), host.opened():
                pass
            host.always = lambda answer: answer
            before = len(host.slept)
            with caplog.at_level(logging.INFO), host.opened():
                pass
            assert host.slept[before:] == [pytest.approx(50)]
            assert caplog.messages == ["collection x: waiting 50.0 s, as the host is busy."]

    def test_that_is_no_longer_busy_is_asked_at_once(self) -> None:
        with serving() as host:
            host.faults = [says(503, Retry_After="50")]
            for _ in range(2):
                with host.opened() as archive:
                    assert all_of(archive) == BYTES
            assert host.slept == [50]


class TestAnArchiveThatIsGone:
    """Its host does not have it any more: an error of its own, as another export may be had."""

    @pytest.mark.parametrize("status", [404, 410])
    @pytest.mark.parametrize("takes_ranges", [True, False], ids=["", "ignores Range"])
    def test_from_the_first(self, status: int, *, takes_ranges: bool) -> None:
        with serving() as host:
            host.takes_ranges = takes_ranges
            host.always = says(status)
            with pytest.raises(GoneError, match=rf"^collection x: .*{status}") as raised:
                host.opened().__enter__()
            assert "Signature" not in str(raised.value)
            assert len(host.asked) == 1
            assert host.slept == []

    @pytest.mark.parametrize("status", [404, 410])
    def test_in_the_middle_of_a_piece(self, status: int) -> None:
        with serving() as host, host.opened() as archive:
            host.faults = [cut(HALF), says(status)]
            got = b""
            with pytest.raises(GoneError):  # noqa: PT012
                for chunk in archive.read(BEGIN, END):
                    got += chunk
            assert got == BYTES[BEGIN : BEGIN + HALF]

    def test_when_its_url_has_expired(self) -> None:
        with serving() as host, host.opened() as archive:
            host.expired.update(host.signed)
            host.always = says(404)
            with pytest.raises(GoneError):
                all_of(archive)


class TestAnotherArchive:
    """Of an archive that has become another one, no byte comes behind one of the former."""

    # What the host is like before that, and what it is like then.
    became = pytest.mark.parametrize(
        ("before", "then"),
        [
            pytest.param({}, {"etag": '"two"'}, id="another ETag"),
            pytest.param(
                {"takes_if_match": False}, {"etag": '"two"'}, id="another ETag in its answer"
            ),
            pytest.param({"takes_if_match": False}, {"etag": None}, id="no ETag any more"),
            pytest.param({"etag": 'W/"one"'}, {"etag": 'W/"two"'}, id="another weak ETag"),
            pytest.param({"etag": None}, {"modified": TUESDAY}, id="another date"),
            pytest.param({"etag": None}, {"archive": OTHER + b"1"}, id="another size"),
            pytest.param({}, {"archive": OTHER + b"1"}, id="another size only"),
            pytest.param({"etag": None}, {"archive": OTHER[:BEGIN]}, id="416"),
        ],
    )

    @staticmethod
    def make(host: Host, what: dict[str, Any]) -> None:
        for name, value in what.items():
            setattr(host, name, value)

    @pytest.mark.parametrize("keep", [False, True], ids=["", "keep"])
    @became
    def test_in_the_middle_of_a_piece(
        self, before: dict[str, Any], then: dict[str, Any], *, keep: bool
    ) -> None:
        with serving() as host:
            self.make(host, before)

            def become(answer: Answer) -> Answer:
                self.make(host, {"archive": OTHER} | then)
                return cut(HALF)(answer)

            with host.opened() as archive:
                host.faults = [become]
                half = BYTES[BEGIN : BEGIN + HALF]
                for expected in (half, half if keep else b""):
                    got = b""
                    with pytest.raises(ReplacedError, match=r"^collection x: .* replaced"):  # noqa: PT012
                        for chunk in archive.read(BEGIN, END, keep=keep):
                            got += chunk
                    assert got == expected
                assert len(host.asked) == 4
            with host.opened() as archive:
                assert all_of(archive) == host.archive

    @became
    def test_while_a_small_one_is_fetched(
        self, before: dict[str, Any], then: dict[str, Any]
    ) -> None:
        with serving(BYTES[: SMALL - 1]) as host:
            self.make(host, before)
            with host.opened() as archive:
                self.make(host, {"archive": OTHER[: SMALL - 1]} | then)
                with pytest.raises(ReplacedError):
                    archive.prefetch([(BEGIN, END)])
                with pytest.raises(ReplacedError):
                    next(archive.read(BEGIN, END))
                tail = b"".join(archive.read(SMALL - TAIL, SMALL))
                assert tail == BYTES[SMALL - TAIL : SMALL - 1]

    def test_the_date_of_another_machine_does_not_make_another_archive(self) -> None:
        with serving() as host, host.opened() as archive:
            host.modified = TUESDAY
            assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]


class TestAHostThatIgnoresRange:
    """All is fetched into a temporary file, once."""

    @pytest.fixture
    def host(self) -> Iterator[Host]:
        with serving() as host:
            host.takes_ranges = False
            yield host

    def test_with_one_request_and_one_warning(
        self, host: Host, caplog: pytest.LogCaptureFixture
    ) -> None:
        with host.opened() as archive:
            archive.prefetch([(BEGIN, END)])
            assert b"".join(archive.read(BEGIN, END, keep=True)) == BYTES[BEGIN:END]
            assert all_of(archive) == BYTES
            assert (archive.size, archive.etag) == (len(BYTES), '"one"')
            assert archive.last_modified == datetime(2026, 2, 2, 12, tzinfo=timezone.utc)
        assert host.ranges() == [THE_END]
        [warning] = caplog.messages
        assert warning.startswith("collection x: 127.0.0.1 does not support range requests")

    @each_of(PASSING)
    def test_and_from_the_start_where_that_breaks_off(
        self, fault: HostFault, caplog: pytest.LogCaptureFixture
    ) -> None:
        with serving(timeout=fault.timeout) as host:
            host.takes_ranges = False
            host.faults = [cut(HALF), fault.twist]
            host.clock.a_read = fault.a_read
            with host.opened() as archive:
                assert all_of(archive) == BYTES
            assert host.ranges() == [THE_END, None, None]
            assert have_been(host.slept, (None, *fault.waits))
        assert caplog.text.count("does not support range requests") == 1

    @each_of(PASSING, FINAL)
    def test_what_never_comes_is_given_up(self, fault: HostFault) -> None:
        with serving(timeout=fault.timeout / 5) as host:
            host.takes_ranges = False
            host.faults = [cut(HALF)]
            host.always = fault.twist
            host.clock.a_read = fault.a_read
            with given_up(fault.says), host.opened():
                pass
            assert {*host.ranges()[1:]} == {None}
            assert was_tried_enough(host, fault.asks_after_one, 1)

    def test_never_two_archives_in_one(self, host: Host) -> None:
        def become(answer: Answer) -> Answer:
            host.archive, host.etag = OTHER[:1000], '"two"'
            return cut(HALF)(answer)

        host.faults = [become]
        with host.opened() as archive:
            assert (archive.size, archive.etag) == (1000, '"two"')
            assert b"".join(archive.read(0, HALF)) == OTHER[:1000]

    @pytest.mark.parametrize("status", [206, 412, 416])
    def test_what_is_not_all_of_it_is_not_taken(self, status: int) -> None:
        with serving() as host:
            host.always = says(status)
            with given_up("it did not answer|it answered"), host.opened():
                pass


class TestASignedURL:
    """The request is as it was signed, and nothing else goes with it."""

    @pytest.fixture
    def world(self) -> World:
        return World()

    @pytest.fixture
    def job(self, world: World, collection: Hosted) -> Job:
        job = world.start_job(collection, {})
        assert job is not None
        job.archive = BYTES
        return job

    @pytest.fixture
    def where(self, stand_in: StandIn, job: Job) -> PresignedUrl:
        return PresignedUrl(stand_in.presign(job)[0], lambda: stand_in.presign(job)[0])

    @pytest.fixture
    def downloader(self) -> Iterator[Downloader]:
        downloader = Downloader(timeout=5, sleep=lambda _: None)
        yield downloader
        downloader._session.close()

    def test_it_is_sent_as_it_was_signed(
        self, downloader: Downloader, where: PresignedUrl, world: World
    ) -> None:
        with downloader.open(where, "x") as archive:
            assert all_of(archive) == BYTES
        assert "%7E" in where.url
        assert world.asked("archives") == [f"GET {where.url.partition('localhost')[2][6:]}"] * 2

    def test_and_so_is_the_one_that_takes_its_place_when_it_expires(
        self, downloader: Downloader, where: PresignedUrl, world: World
    ) -> None:
        with downloader.open(where, "x") as archive:
            first = where.url
            later = datetime.now(timezone.utc) + timedelta(seconds=world.url_seconds)
            world.clock = lambda: later
            assert b"".join(archive.read(BEGIN, END)) == BYTES[BEGIN:END]
        urls = [first, first, where.url]
        assert len({*urls}) == 2
        assert world.asked("archives") == [
            f"GET {url.partition('localhost')[2][6:]}" for url in urls
        ]

    def test_no_authorization_goes_with_it(
        self,
        downloader: Downloader,
        where: PresignedUrl,
        world: World,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("default login somebody password else\n")
        monkeypatch.setenv("NETRC", str(netrc))
        with downloader.open(where, "x") as archive:
            assert all_of(archive) == BYTES
        assert len(world.requests) == 2
        for _, method, _, headers in world.requests:
            assert method == "GET"
            assert "Authorization" not in headers
            assert headers["Accept-Encoding"] == "identity"
            assert headers["User-Agent"].startswith("tap-prolific-export")

    def test_a_proxy_of_the_environment_is_used(
        self,
        downloader: Downloader,
        where: PresignedUrl,
        stand_in: StandIn,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", stand_in.archives_url)
        where.url = where.url.replace(stand_in.archives_url, "http://archives.invalid")
        with downloader.open(where, "x") as archive:
            assert all_of(archive) == BYTES
