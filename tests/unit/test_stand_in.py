"""The stand-in does what is known of Prolific; asked without the tap."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import requests

from tests.support.stand_in import samples

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path

    from tests.support.stand_in import Hosted, StandIn, World


class Client:
    def __init__(self, stand_in: StandIn, hosted: Hosted) -> None:
        self.base = f"{stand_in.api_url}/api/v1/data-collection/{hosted.kind}/{hosted.id}"
        self.token = {"Authorization": f"Token {stand_in.world.token}"}

    def ask(self, method: str, path: str = "", **query: str) -> requests.Response:
        url = self.base + path
        return requests.request(method, url, headers=self.token, params=query, timeout=5)

    def export(self, **query: str) -> dict[str, Any]:
        """Export and return the last answer, complete with its URL."""
        answer = self.ask("POST", "/export", **query).json()
        while answer["status"] == "generating":
            answer = self.ask("GET", f"/export/{answer['export_id']}").json()
        assert isinstance(answer, dict)
        return answer

    def lines(self, **query: str) -> list[dict[str, Any]]:
        archive = fetch(self.export(**query)["url"]).body
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            text = opened.read("responses.jsonl").decode()
        return [json.loads(line) for line in text.splitlines()]


@dataclass(frozen=True)
class Fetched:
    status: int
    headers: Message
    body: bytes


def fetch(url: str, method: str = "GET", **headers: str) -> Fetched:
    """Fetch a URL as it is: requests would encode its query anew."""
    request = Request(  # noqa: S310
        url, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    try:
        with urlopen(request, timeout=5) as answer:  # noqa: S310
            return Fetched(answer.status, answer.headers, answer.read())
    except HTTPError as error:
        with error:
            return Fetched(error.code, error.headers, error.read())


@pytest.fixture
def client(stand_in: StandIn, collection: Hosted) -> Client:
    return Client(stand_in, collection)


def test_a_wrong_token_is_refused_with_the_envelope(client: Client) -> None:
    client.token = {"Authorization": "Token wrong"}
    answer = client.ask("GET")
    assert answer.status_code == 401
    assert answer.json()["error"]["status"] == 401


def test_an_archive_is_served_without_authorization_and_without_head(client: Client) -> None:
    url = client.export()["url"]
    assert fetch(url, **client.token).status == 400
    assert fetch(url, "HEAD").status == 403
    assert fetch(url[:-1] + "x").status == 403
    assert fetch(url.replace("%7E", "~")).status == 403
    assert fetch(url).status == 200


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-9", slice(0, 10)),
        ("bytes=10-", slice(10, None)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=5-999999", slice(5, None)),
    ],
)
def test_ranges_are_honoured(wanted: str, part: slice, client: Client) -> None:
    url = client.export()["url"]
    whole = fetch(url)
    some = fetch(url, Range=wanted)
    assert some.status == 206
    assert some.body == whole.body[part]
    assert some.headers["ETag"] == whole.headers["ETag"]
    assert some.headers["Content-Range"].endswith(f"/{len(whole.body)}")


def test_a_host_without_ranges_sends_the_whole_archive(client: Client, world: World) -> None:
    world.takes_ranges = False
    url = client.export()["url"]
    answer = fetch(url, Range="bytes=0-9")
    assert answer.status == 200
    assert answer.body == fetch(url).body


def test_an_archive_on_disk_is_served_and_its_bytes_are_counted(
    client: Client, world: World, collection: Hosted, tmp_path: Path
) -> None:
    path = tmp_path / "export.zip"
    path.write_bytes(bytes(range(256)) * 1000)
    with path.open("rb") as file:
        collection.archive_on_disk = mmap(file.fileno(), 0, access=ACCESS_READ)
    answer = fetch(client.export()["url"], Range="bytes=1000-200999")
    assert answer.body == path.read_bytes()[1000:201000]
    head = len(str(answer.headers)) + len("HTTP/1.1 206 Partial Content\r\n")
    assert world.bytes_sent["archives"] == pytest.approx(200_000 + head, abs=20)


def test_a_range_outside_and_another_etag_are_refused(client: Client) -> None:
    url = client.export()["url"]
    assert fetch(url, Range="bytes=9999999-").status == 416
    assert fetch(url, If_Match='"other"').status == 412


def test_a_url_expires(client: Client, world: World) -> None:
    world.url_seconds = 0
    assert fetch(client.export()["url"]).status == 403


def test_content_is_added_and_withdrawn_while_it_runs(
    client: Client, stand_in: StandIn, collection: Hosted
) -> None:
    before = client.lines()
    path = f"{stand_in.api_url}/_stand_in/collections/{collection.id}/submissions"
    line = {"submission_id": "new", "participant_id": "p", "responses": {}}
    assert requests.post(path, data=json.dumps(line), timeout=5).status_code == 201
    assert client.lines() == [*before, line]
    assert requests.delete(f"{path}/new", timeout=5).status_code == 204
    assert client.lines() == before


def test_filters_narrow_only_in_the_newer_generation(client: Client, world: World) -> None:
    later = samples.breakfast(5).submitted_at.isoformat()
    narrowed = client.lines(**{"from": later})
    assert len(narrowed) == (3 if world.generation == "fresh" else 8)


def test_jobs_are_listed_limited_and_deleted_in_the_newer_generation(
    client: Client, world: World
) -> None:
    if world.generation == "idempotent":
        assert client.ask("GET", "/export").status_code == 405
        return
    for _ in range(10):
        client.export()
    jobs = client.ask("GET", "/export").json()
    assert len(jobs) == 10
    assert jobs == sorted(jobs, key=lambda job: job["created_at"], reverse=True)
    assert client.ask("POST", "/export").status_code == 409
    assert client.ask("DELETE", f"/export/{jobs[0]['export_id']}").status_code == 204
    assert client.ask("POST", "/export").status_code == 202


def test_a_job_that_is_being_generated_is_shared(client: Client, world: World) -> None:
    world.polls_to_generate = 5
    first = client.ask("POST", "/export").json()["export_id"]
    assert client.ask("POST", "/export").json()["export_id"] == first


def test_the_older_generation_hands_out_a_recent_archive_again(
    client: Client, world: World
) -> None:
    world.reuse_seconds = 60
    client.export()
    again = client.ask("POST", "/export")
    assert again.status_code == (200 if world.generation == "idempotent" else 202)
