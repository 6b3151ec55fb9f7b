"""The API client against real HTTP."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tap_prolific_export.errors import DataCollectionError, FatalError, TapError
from tap_prolific_export.http import BUSY_SECONDS, MAX_TRIES, MAX_WAIT_SECONDS
from tap_prolific_export.model import DataCollectionRef, ExportFilter, Kind
from tap_prolific_export.prolific.client import CLOCK_DOUBT, ProlificAPI
from tests.support.clocks import MonotonicClock
from tests.support.stand_in import Fault, samples

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stand_in import Hosted, StandIn, World

OUR_CLOCK = datetime(2031, 1, 1, tzinfo=timezone.utc)


class Client(ProlificAPI):
    """The client, with a clock that stands still and a sleep that only counts."""

    def __init__(self, url: str, token: str) -> None:
        self.time = MonotonicClock()
        self.slept = self.time.slept
        super().__init__(
            url,
            token,
            timeout=5,
            sleep=self.time.sleep,
            clock=lambda: OUR_CLOCK,
            monotonic=self.time,
            max_retry_after=3600,
        )


@pytest.fixture
def api(stand_in: StandIn) -> Client:
    return Client(stand_in.api_url, stand_in.world.token)


@pytest.fixture
def ref(collection: Hosted) -> DataCollectionRef:
    return DataCollectionRef(Kind.COLLECTION, collection.id)


def test_the_token_and_our_user_agent_go_with_every_call(
    api: Client, ref: DataCollectionRef, world: World
) -> None:
    api.data_collection(ref)
    [(_, _, _, headers)] = world.requests
    assert headers["Authorization"] == f"Token {world.token}"
    assert headers["User-Agent"].startswith("tap-prolific-export")


def test_a_netrc_entry_does_not_replace_the_token(
    api: Client,
    ref: DataCollectionRef,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    api.data_collection(ref)
    assert [headers["Authorization"] for *_, headers in world.requests] == [f"Token {world.token}"]


def test_a_proxy_of_the_environment_is_used(
    world: World, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", stand_in.api_url)
    api = Client("http://api.prolific.invalid", world.token)
    with pytest.raises(DataCollectionError, match="404"):  # the stand-in knows no such address
        api.data_collection(DataCollectionRef(Kind.COLLECTION, "x"))
    assert world.asked("api")[0] == (
        "GET http://api.prolific.invalid/api/v1/data-collection/collections/x"
    )


def test_redirects_are_not_followed(api: Client, ref: DataCollectionRef, world: World) -> None:
    elsewhere = {"Location": f"{api.url}/api/v1/users/me/"}
    world.faults = [Fault("api", "GET .*", status=302, headers=elsewhere)]
    with pytest.raises(DataCollectionError, match=r"302.*Redirects are not followed"):
        api.data_collection(ref)
    assert len(world.requests) == 1


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        pytest.param(
            Fault("api", "", status=401, body=b'{"error": {"title": "Bad token"}}'),
            FatalError,
            r"401 \(Bad token\).*Settings > API tokens.*PROLIFIC_TOKEN",
            id="401 says where tokens are made",
        ),
        pytest.param(
            Fault(
                "api",
                "",
                status=403,
                body=b'{"error": {"title": "Forbidden", "detail": "Feature not enabled"}}',
            ),
            DataCollectionError,
            r"403 \(Forbidden: Feature not enabled\).*member of the workspace.*early access",
            id="403 names access and the feature",
        ),
        pytest.param(
            Fault("api", "", status=404, body=b'{"error": {"detail": ["a", {"b": ["c"]}]}}'),
            DataCollectionError,
            r"404 \(a; b: c\).*there is no batch of this id either",
            id="404 looks whether it is a batch's id",
        ),
        pytest.param(
            Fault("api", "", status=400, body=b"<html>Bad</html>"),
            DataCollectionError,
            "400 without the API's error envelope",
            id="an error in HTML",
        ),
        pytest.param(
            Fault("api", "", status=400, body=b'{"error": "in words"}'),
            DataCollectionError,
            r"400 \(in words\)",
            id="an error that is only text",
        ),
        pytest.param(
            Fault(
                "api",
                "",
                status=403,
                body=b'{"message": "Forbidden", "detail": "You cannot access this feature"}',
            ),
            DataCollectionError,
            r"403 \(Forbidden: You cannot access this feature\).*early access",
            id="an error without the envelope",
        ),
        pytest.param(
            Fault("api", "", status=404, body=b'{"detail": "Not found."}'),
            DataCollectionError,
            r"404 \(Not found\.\)",
            id="an error that is only a detail",
        ),
        pytest.param(
            Fault("api", "", status=200, body=b"<html>Sign in</html>"),
            DataCollectionError,
            "a body that is not JSON.*proxy",
            id="HTML for JSON",
        ),
        pytest.param(
            Fault("api", "", status=200, body=b""),
            DataCollectionError,
            "a body that is not JSON",
            id="nothing for JSON",
        ),
        pytest.param(
            Fault("api", "", status=200, body=b"[1]"),
            DataCollectionError,
            "JSON that is not an object",
            id="a list for an object",
        ),
    ],
)
def test_an_answer_that_is_final_is_explained_at_once(  # noqa: PLR0917
    fault: Fault,
    error: type[TapError],
    says: str,
    api: Client,
    ref: DataCollectionRef,
    world: World,
) -> None:
    world.faults = [fault]
    with pytest.raises(error, match=says) as raised:
        api.data_collection(ref)
    assert str(ref) in str(raised.value)
    assert "look up the collection" in str(raised.value)
    assert len(world.requests) == 1 + (fault.status == 404)
    assert api.slept == []


def test_an_id_of_the_other_kind_is_named(api: Client, batch: Hosted) -> None:
    with pytest.raises(DataCollectionError, match="It is a batch's id: move it to batch_ids"):
        api.data_collection(DataCollectionRef(Kind.COLLECTION, batch.id))


def test_an_error_does_not_echo_the_token(
    api: Client, ref: DataCollectionRef, world: World
) -> None:
    body = json.dumps({"error": {"title": "Bad", "detail": f"header was Token {world.token}"}})
    world.faults = [Fault("api", "", status=400, body=body.encode())]
    with pytest.raises(DataCollectionError) as raised:
        api.data_collection(ref)
    assert world.token not in str(raised.value)


@pytest.mark.parametrize(
    "body",
    [
        {"message": "Bad", "detail": "header was Token {}"},
        {"detail": {"header": ["Token {}"]}},
        {"type": "t", "message": "Bad", "issues": [{"path": ["Token {}"], "message": "{}"}]},
        {"Token {}": ["https://s3.example/x.zip?X-Amz-Signature=s3cret"]},
        ["https://s3.example/x.zip?X-Amz-Signature=s3cret and {}"],
    ],
)
@pytest.mark.parametrize("status", [400, 401, 409])
def test_no_shape_of_an_error_echoes_a_secret(
    status: int, body: object, api: Client, ref: DataCollectionRef, world: World
) -> None:
    text = json.dumps(body).replace("{}", world.token)
    world.faults = [Fault("api", "", status=status, body=text.encode())]
    with pytest.raises(TapError, match="redacted") as raised:
        api.data_collection(ref)
    assert world.token not in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_the_last_try_quotes_an_error_without_the_envelope(
    api: Client, ref: DataCollectionRef, world: World
) -> None:
    body = b'{"message": "Slow down", "detail": "100 requests a minute"}'
    world.faults = [Fault("api", "", times=99, status=429, body=body)]
    with pytest.raises(DataCollectionError, match=r"429 \(Slow down: 100 requests a minute\)"):
        api.data_collection(ref)


@pytest.mark.parametrize("status", [0, 408, 429, 500, 502, 503, 504])
def test_what_passes_by_itself_is_tried_again(
    status: int, api: Client, ref: DataCollectionRef, world: World
) -> None:
    world.faults = [Fault("api", "", times=2, status=status)]
    assert api.data_collection(ref).body["id"] == ref.id
    assert len(world.requests) == 3
    assert len(api.slept) == 2
    assert all(0 <= wait <= 2**place for place, wait in enumerate(api.slept))


def test_no_answer_at_all_is_given_up_after_five_tries(
    api: Client, ref: DataCollectionRef, world: World
) -> None:
    world.faults = [Fault("api", "", times=99, status=0)]
    with pytest.raises(DataCollectionError, match=r", 5 times; no answer from .*status\.prol"):
        api.data_collection(ref)
    assert len(world.requests) == MAX_TRIES


class TestABusyAPI:
    """The API answers, but with 429 or 5xx."""

    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    @pytest.mark.parametrize("minutes", [1, 1.9])
    def test_is_waited_for(
        self, minutes: float, status: int, api: Client, ref: DataCollectionRef, world: World
    ) -> None:
        until(api, world, status, 60 * minutes)
        assert api.data_collection(ref).body["id"] == ref.id
        assert 60 * minutes <= sum(api.slept) <= 60 * minutes + MAX_WAIT_SECONDS

    @pytest.mark.parametrize("status", [429, 502])
    def test_that_stays_so_is_given_up(
        self, status: int, api: Client, ref: DataCollectionRef, world: World
    ) -> None:
        world.faults = [Fault("api", "", times=99, status=status)]
        says = rf" times over \d+ s; the API answered {status}.*status\.prol"
        with pytest.raises(DataCollectionError, match=says):
            api.data_collection(ref)
        assert BUSY_SECONDS <= sum(api.slept) <= BUSY_SECONDS + MAX_WAIT_SECONDS
        assert max(api.slept) <= MAX_WAIT_SECONDS
        assert len(world.requests) == len(api.slept) + 1 < 16

    @pytest.mark.parametrize("header", ["0", "1", "Tue, 01 Jan 2030 00:00:00 GMT"])
    def test_that_asks_for_too_short_a_wait_is_not_asked_without_end(
        self, header: str, api: Client, ref: DataCollectionRef, world: World
    ) -> None:
        busy = Fault("api", "", times=99, status=429, headers={"Retry-After": header})
        world.faults = [busy]
        with pytest.raises(DataCollectionError, match="429"):
            api.data_collection(ref)
        assert sum(api.slept) >= BUSY_SECONDS
        assert len(world.requests) < 16

    def test_that_breaks_off_now_and_then_is_still_busy(
        self, api: Client, ref: DataCollectionRef, world: World
    ) -> None:
        world.faults = [
            Fault("api", "", times=3, status=429),
            Fault("api", "", times=4, status=0),
            Fault("api", "", status=503),
        ]
        assert api.data_collection(ref).body["id"] == ref.id

    @pytest.mark.parametrize(
        ("header", "waited"),
        [
            ("7", 7.0),
            ("300", 300.0),
            ("3000", 3000.0),
            ("Wed, 01 Jan 2031 00:00:09 GMT", 9.0),
            ("Wed, 01 Jan 2031 00:10:00 GMT", 600.0),
            ("Tue, 01 Jan 2030 00:00:00 GMT", 0.0),
            ("86400", 3600.0),
        ],
    )
    def test_is_left_alone_for_as_long_as_it_asks(  # noqa: PLR0917
        self,
        header: str,
        waited: float,
        api: Client,
        ref: DataCollectionRef,
        world: World,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        world.faults = [Fault("api", "", status=429, headers={"Retry-After": header})]
        with caplog.at_level(logging.INFO):
            api.data_collection(ref)
        assert api.slept == [waited]
        [line] = caplog.messages
        assert "429" in line
        assert f"Trying again in {waited:.1f} s" in line
        assert ("asks for 86400 s" in line) is (header == "86400")

    @pytest.mark.parametrize("header", ["500", "3600", "86400"])
    def test_that_asks_again_and_again_is_given_up_when_the_time_is_over(
        self, header: str, api: Client, ref: DataCollectionRef, world: World
    ) -> None:
        busy = Fault("api", "", times=99, status=429, headers={"Retry-After": header})
        world.faults = [busy]
        for _ in range(3):
            with pytest.raises(DataCollectionError, match="429"):
                api.data_collection(ref)
        # All three together: the second and the third do not wait anew.
        assert sum(api.slept) <= 3600 + MAX_WAIT_SECONDS

    def test_is_asked_by_nobody_before_its_time(
        self, api: Client, world: World, collection: Hosted, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One that is given up leaves its last wait to the next."""
        refs = [DataCollectionRef(Kind.COLLECTION, id_) for id_ in ("gone", collection.id)]
        busy = Fault("api", "/gone", times=99, status=429, headers={"Retry-After": "50"})
        world.faults = [busy]
        asked: list[float] = []
        world.watch = lambda _: asked.append(api.time.now)
        with pytest.raises(DataCollectionError, match="429"):
            api.data_collection(refs[0])
        with caplog.at_level(logging.INFO):
            api.data_collection(refs[1])
        assert min(later - earlier for earlier, later in pairwise(asked)) == 50
        [line] = [line for line in caplog.messages if line.startswith(f"{refs[1]}: waiting")]
        assert "waiting 50.0 s" in line
        api.data_collection(refs[1])
        assert asked[-1] == asked[-2]

    def test_and_then_answers_has_all_of_its_time_anew(
        self, api: Client, ref: DataCollectionRef, world: World
    ) -> None:
        for _ in range(3):
            world.faults = [Fault("api", "", status=429, headers={"Retry-After": "2000"})]
            api.data_collection(ref)
        assert api.slept == [2000] * 3


def until(api: Client, world: World, status: int, seconds: float) -> None:
    """Answer with a status for some time."""
    fault = Fault("api", "", times=99, status=status)
    world.faults = [fault]
    end = api.time.now + seconds

    def watch(_: str) -> None:
        if api.time.now >= end:
            world.faults = []

    world.watch = watch


def test_an_answer_is_dated_by_the_apis_own_clock(
    api: Client, ref: DataCollectionRef, world: World
) -> None:
    before = world.now().replace(microsecond=0)
    assert before <= api.data_collection(ref).date <= world.now()


def test_without_a_date_our_clock_less_its_doubt_has_to_do(
    api: Client, ref: DataCollectionRef, world: World
) -> None:
    body = b'{"status": "generating", "export_id": "e"}'
    world.faults = [Fault("api", "", status=202, body=body, headers={"Date": "no date"})]
    assert api.request_export(ref, ExportFilter()).date == OUR_CLOCK - CLOCK_DOUBT
    assert timedelta(minutes=5) == CLOCK_DOUBT


def test_a_filter_is_sent_as_the_api_names_it(
    api: Client, ref: DataCollectionRef, world: World
) -> None:
    start = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    api.request_export(ref, ExportFilter("study-1", start))
    api.request_export(ref, ExportFilter())
    path = f"POST /api/v1/data-collection/collections/{ref.id}/export"
    assert world.asked("api") == [
        f"{path}?study_id=study-1&from=2026-01-02T03%3A04%3A05%2B00%3A00",
        path,
    ]


def test_the_older_generation_has_no_list_of_jobs(
    api: Client, ref: DataCollectionRef, world: World
) -> None:
    requested = api.request_export(ref, ExportFilter("study-1"))
    jobs = api.export_jobs(ref)
    if world.generation == "idempotent":
        assert jobs is None
    else:
        assert jobs is not None
        [job] = jobs
        assert job.export_id == requested.export_id
        assert job.filter == {"study_id": "study-1"}
        assert job.created_at is not None


def test_a_workspace_is_listed_to_its_end(api: Client, world: World, collection: Hosted) -> None:
    pages = [
        {"results": [{"id": "a"}, {"id": "b"}], "meta": {"count": 3}},
        {"results": [{"id": "b"}, {"id": "c"}], "meta": {"count": 3}},
    ]
    world.faults = [Fault("api", "", status=200, body=json.dumps(p).encode()) for p in pages]
    found = api.data_collections(Kind.BATCH, "w")
    assert [ref.id for ref in found] == ["a", "b", "c"]
    first, second = world.asked("api")
    assert first.endswith("?workspace_id=w&limit=200")
    assert second.endswith("?workspace_id=w&limit=200&offset=2")
    assert collection.id not in {ref.id for ref in found}


class TestListsWithoutACount:
    @pytest.fixture
    def many(self, world: World) -> list[str]:
        """Five collections in a workspace, of which two are shown at once, uncounted."""
        world.page_size, world.counts = 2, False
        return [world.host(samples.breakfast_diary(1, id_=f"d{n}")).id for n in range(5)]

    def found(self, api: Client) -> list[str]:
        return [ref.id for ref in api.data_collections(Kind.COLLECTION, samples.WORKSPACE)]

    def test_they_are_read_until_a_page_brings_nothing_new(
        self, api: Client, world: World, many: list[str]
    ) -> None:
        assert self.found(api) == many
        offsets = [request.partition("offset=")[2] for request in world.asked("api")]
        assert offsets == ["", "2", "4", "5"]

    @pytest.mark.parametrize("meta", [None, {}, {"count": None}, {"count": "2"}, {"count": True}])
    def test_neither_is_there_one_in_an_odd_meta(
        self, meta: object, api: Client, world: World
    ) -> None:
        pages = [{"results": [{"id": id_}], "meta": meta} for id_ in "abbb"]
        world.faults = [Fault("api", "", status=200, body=json.dumps(p).encode()) for p in pages]
        assert self.found(api) == ["a", "b"]
        assert len(world.asked("api")) == 3

    def test_a_count_below_what_was_shown_is_none(self, api: Client, world: World) -> None:
        pages = [["a", "b"], ["c"], []]
        world.faults = [
            Fault("api", "", status=200, body=json.dumps(body).encode())
            for page in pages
            if (body := {"results": [{"id": id_} for id_ in page], "meta": {"count": 1}})
        ]
        assert self.found(api) == ["a", "b", "c"]

    def test_where_offset_is_ignored_the_first_page_is_all(self, api: Client, world: World) -> None:
        page = json.dumps({"results": [{"id": "a"}, {"id": "b"}]}).encode()
        world.faults = [Fault("api", "", times=99, status=200, body=page)]
        assert self.found(api) == ["a", "b"]
        assert len(world.asked("api")) == 2

    def test_an_empty_workspace_costs_one_request(self, api: Client, world: World) -> None:
        world.counts = False
        assert self.found(api) == []
        assert len(world.asked("api")) == 1

    def test_a_later_page_that_is_refused_is_an_error(
        self, api: Client, world: World, many: list[str]
    ) -> None:
        world.faults = [Fault("api", "offset=2", times=9, status=403)]
        with pytest.raises(DataCollectionError, match="list its collections"):
            self.found(api)
        assert len(many) == 5

    @pytest.mark.parametrize("rows", [[{"id": "a"}, {"name": "b"}], [{"id": 5}], ["a"], [None]])
    @pytest.mark.parametrize("meta", [{}, {"meta": {"count": 1}}])
    def test_what_has_no_id_is_an_error(
        self, rows: list[object], meta: dict[str, object], api: Client, world: World
    ) -> None:
        page = json.dumps({"results": rows, **meta}).encode()
        world.faults = [Fault("api", "", times=9, status=200, body=page)]
        with pytest.raises(DataCollectionError, match="without an id"):
            self.found(api)


class TestLimits:
    @pytest.mark.parametrize("lists", [{"counts": True}, {"counts": False}])
    def test_one_that_is_refused_is_left_out(
        self, lists: dict[str, bool], api: Client, world: World, collection: Hosted
    ) -> None:
        world.takes_limit, world.counts = False, lists["counts"]
        [ref] = api.data_collections(Kind.COLLECTION, samples.WORKSPACE)
        assert ref.id == collection.id
        assert ["limit=" in request for request in world.asked("api")][:2] == [True, False]
        assert not any("limit=" in request for request in world.asked("api")[1:])

    def test_also_on_a_later_page(self, api: Client, world: World) -> None:
        world.page_size = 1
        made = [world.host(samples.breakfast_diary(1, id_=f"d{n}")).id for n in range(3)]
        world.faults = [Fault("api", "limit=.*offset=1", status=422)]
        found = api.data_collections(Kind.COLLECTION, samples.WORKSPACE)
        assert [ref.id for ref in found] == made

    @pytest.mark.parametrize("status", [400, 422])
    def test_what_is_refused_without_one_too_is_an_error(
        self, status: int, api: Client, world: World
    ) -> None:
        world.faults = [Fault("api", "", times=9, status=status)]
        with pytest.raises(DataCollectionError, match=f"workspace w.*{status}"):
            api.data_collections(Kind.COLLECTION, "w")
        assert len(world.asked("api")) == 2

    @pytest.mark.parametrize("status", [403, 404])
    def test_other_refusals_have_other_causes(self, status: int, api: Client, world: World) -> None:
        world.faults = [Fault("api", "", times=9, status=status)]
        with pytest.raises(DataCollectionError, match=f"workspace w.*{status}"):
            api.data_collections(Kind.COLLECTION, "w")
        assert len(world.asked("api")) == 1


@pytest.mark.parametrize("name", ["results", "exports"])
def test_a_list_of_jobs_may_come_in_pages(
    name: str, api: Client, ref: DataCollectionRef, world: World
) -> None:
    pages = [[{"export_id": "a"}], [{"export_id": "b"}], []]
    world.faults = [
        Fault("api", "", status=200, body=json.dumps({name: page}).encode()) for page in pages
    ]
    jobs = api.export_jobs(ref)
    assert [job.export_id for job in jobs or ()] == ["a", "b"]


@pytest.mark.parametrize("name", ["results", "instructions"])
def test_a_list_of_instructions_may_come_in_pages(
    name: str, api: Client, ref: DataCollectionRef, world: World
) -> None:
    pages: list[list[object]] = [[{"id": "a"}, {"odd": 1}], [{"id": "b"}], [{"id": "b"}]]
    world.faults = [
        Fault("api", "", status=200, body=json.dumps({name: page}).encode()) for page in pages
    ]
    assert api.batch_instructions(ref) == [{"id": "a"}, {"odd": 1}, {"id": "b"}]


@pytest.mark.parametrize("rows", [[{"export_id": "a", "id": "a"}], []])
def test_a_list_without_an_object_around_it_is_all(
    rows: list[object], api: Client, ref: DataCollectionRef, world: World
) -> None:
    world.faults = [Fault("api", "", times=9, status=200, body=json.dumps(rows).encode())]
    assert len(api.export_jobs(ref) or ()) == len(rows)
    assert api.batch_instructions(ref) == rows
    assert len(world.asked("api")) == 2


def test_a_workspace_that_is_not_shown_whole_is_an_error(api: Client, world: World) -> None:
    page = json.dumps({"results": [{"id": "a"}], "meta": {"count": 3}}).encode()
    world.faults = [Fault("api", "", times=9, status=200, body=page)]
    with pytest.raises(DataCollectionError, match=r"workspace w.*counts 3 but shows only 1"):
        api.data_collections(Kind.BATCH, "w")
