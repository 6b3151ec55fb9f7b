from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from singer_sdk.logging import StructuredFormatter

from tap_prolific_export.redaction import REDACTED, RedactingFormatter, host_of, scrub
from tests.stand_in import StandIn, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Log = tuple[logging.Logger, io.StringIO]

TOKEN = "master-key-0123456789"
SIGNATURE = "5f0c1ab7deadbeef"
S3 = "https://exports.s3.eu-west-2.amazonaws.com/9f/archive.zip"
PRESIGNED = {
    "AWS v4": f"{S3}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20261101%2Feu-west-2"
    f"&X-Amz-Security-Token=FwoGZXIv%2F%2F&X-Amz-Signature={SIGNATURE}",
    "AWS v2": f"{S3}?AWSAccessKeyId=AKIA&Signature={SIGNATURE}%2B%3D&Expires=1893456000",
    "GCS": "https://storage.googleapis.com/exports/archive.zip?X-Goog-Algorithm=GOOG4-RSA-SHA256"
    f"&X-Goog-Credential=me%40x.iam&X-Goog-Signature={SIGNATURE}",
    "Azure SAS": "https://exports.blob.core.windows.net/9f/archive.zip"
    f"?sv=2024-11-04&se=2026-11-02T00%3A00%3A00Z&sr=b&sp=r&sig={SIGNATURE}%3D",
    "root": f"https://archives.example.com/?sig={SIGNATURE}",
    "first without a value": f"{S3}?versionless&AWSAccessKeyId=AKIA&Signature={SIGNATURE}",
    "question mark in it": f"{S3}?name=why?&Signature={SIGNATURE}",
}
SECRETS = (TOKEN, SIGNATURE, "AKIA", "FwoGZXIv", "me%40x.iam", "2024-11-04")

urls = pytest.mark.parametrize("url", PRESIGNED.values(), ids=list(PRESIGNED))


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Iterator[Log]:
    """A logger, and what its redacting handler writes."""
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(RedactingFormatter(None, [TOKEN]))
    logger = logging.getLogger(getattr(request, "param", "tests.redaction"))
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield logger, handler.stream
    logger.removeHandler(handler)
    logger.setLevel(level)


def assert_no_secret(text: str) -> None:
    assert not [secret for secret in SECRETS if secret in text]


@urls
@pytest.mark.parametrize(
    "around",
    ["{}", "fetched {} twice", "<{}>", '{{"url": "{}", "n": 1}}', "url='{}'", "Did it? {}\nYes"],
)
def test_a_presigned_url_loses_its_query_and_nothing_else(url: str, around: str) -> None:
    path = url.partition("?")[0]
    assert scrub(around.format(url)) == around.format(f"{path}?{REDACTED}")


@pytest.mark.parametrize(
    "url",
    [f"{S3}??Signature={SIGNATURE}", f"{S3}/{TOKEN}?Signature={SIGNATURE}"],
    ids=["second question mark", "secret before the question mark"],
)
def test_an_odd_path_hides_no_query(url: str) -> None:
    assert_no_secret(scrub(url, [TOKEN]))


@urls
def test_the_request_line_that_urllib3_logs_loses_its_query(url: str) -> None:
    path = url.split("/", 3)[3]
    line = f'https://archives.example.com:443 "GET /{path} HTTP/1.1" 200 123'
    expected = f'"GET /{path.partition("?")[0]}?{REDACTED} HTTP/1.1" 200 123'
    assert scrub(line) == f"https://archives.example.com:443 {expected}"


@pytest.mark.parametrize(
    "header",
    [
        f"Authorization: Token {TOKEN}",
        f"authorization: token {TOKEN}",
        f"{{'Authorization': 'Token {TOKEN}', 'Accept': '*/*'}}",
        f"Authorization: Bearer {TOKEN}.{SIGNATURE}-_~+/==",
        f"Proxy-Authorization: Basic {TOKEN}==",
        f"Authorization:\tToken\t{TOKEN}",
    ],
)
def test_an_authorization_value_is_removed_though_nobody_named_it(header: str) -> None:
    scrubbed = scrub(header)
    assert_no_secret(scrubbed)
    assert scrubbed.startswith(header[:12])


@pytest.mark.parametrize("text", ["{}", "a{}b", '"{}"', "{}{}", "={}&", "Token {}", "x?key={}"])
def test_a_named_secret_is_removed_wherever_it_stands(text: str) -> None:
    assert_no_secret(scrub(text.replace("{}", TOKEN), ["", TOKEN]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Why? Because x = y.",
        "Really?! a=b",
        "Is 2+2=4? Yes.",
        "Did you mean answer_keys?",
        "No token: set api_token (or the environment variable PROLIFIC_TOKEN).",
        "collection 65f1c0ffee: 3 of 3 responses, Token bucket 4",
        "https://api.prolific.com/api/v1/users/me/ answered 401",
        'http://127.0.0.1:8400 "GET /api/v1/users/me/ HTTP/1.1" 200 76',
        "Wie geht's? Gut=schön, 問い?",
        pytest.param("Basic information"),
    ],
)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert scrub(text, ["", TOKEN]) == text


@given(st.lists(st.sampled_from([*"?=&<>' aé", "Token ", "basic\t", TOKEN, S3])).map("".join))
def test_scrubbing_twice_changes_nothing_more(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        (PRESIGNED["AWS v2"], "exports.s3.eu-west-2.amazonaws.com"),
        (f"https://me:{TOKEN}@Exports.Example.com:8443/x", "exports.example.com"),
        ("/no/host", "an unknown host"),
        ("", "an unknown host"),
        pytest.param("https://[::", "an unknown host"),
    ],
)
def test_the_host_of_a_url_may_be_told_and_nothing_else(url: str, host: str) -> None:
    assert host_of(url) == host


def test_what_a_child_logger_logs_is_scrubbed(log: Log) -> None:
    logger, written = log
    child = logger.getChild("http.client")
    child.debug("sent %s to %s", TOKEN, PRESIGNED["AWS v4"])
    child.warning(PRESIGNED["Azure SAS"])
    child.error({"Authorization": f"Token {TOKEN}"})
    child.error(ValueError(TOKEN))
    child.info("%(what)s is 100%%", {"what": TOKEN})
    assert_no_secret(written.getvalue())
    assert len(written.getvalue().splitlines()) == 5
    assert written.getvalue().endswith(f"{REDACTED} is 100%\n")


@pytest.mark.parametrize("log", ["urllib3"], indirect=True)
def test_a_real_request_leaves_no_secret_in_the_debug_log(log: Log) -> None:
    _, written = log
    with StandIn(World(token=TOKEN)) as prolific, requests.Session() as session:
        session.trust_env = False
        query = PRESIGNED["AWS v4"].partition("?")[2]
        session.get(f"{prolific.archives_url}/exports/{TOKEN}.zip?{query}", timeout=10)
    assert f'"GET /exports/{REDACTED}.zip?{REDACTED} HTTP/1.1" 403' in written.getvalue()
    assert_no_secret(written.getvalue())


def log_a_failure(logger: logging.Logger) -> None:
    """Log an exception whose text, and whose cause's text, hold secrets."""
    try:
        try:
            json.loads(TOKEN)
        except ValueError as error:
            raise RuntimeError(f"sent {TOKEN} to {PRESIGNED['GCS']}") from error
    except RuntimeError:
        logger.exception("It failed with %s.", TOKEN)


def test_a_traceback_is_scrubbed_and_stays_a_traceback(log: Log) -> None:
    logger, written = log
    log_a_failure(logger)
    assert_no_secret(written.getvalue())
    assert written.getvalue().startswith(f"It failed with {REDACTED}.\nTraceback")
    assert "json.decoder.JSONDecodeError: Expecting value" in written.getvalue()
    assert f"RuntimeError: sent {REDACTED} to https://storage" in written.getvalue()


@pytest.mark.parametrize(
    "write",
    [log_a_failure, lambda logger: logger.info("Sent.", extra={"url": PRESIGNED["GCS"]})],
    ids=["exception", "extra"],
)
def test_the_sdks_structured_log_holds_no_secret(
    log: Log, write: Callable[[logging.Logger], None]
) -> None:
    logger, written = log
    logger.handlers[0].setFormatter(RedactingFormatter(StructuredFormatter(), [TOKEN]))
    write(logger)
    assert_no_secret(written.getvalue())


class Unprintable:
    def __str__(self) -> str:
        raise AttributeError(TOKEN)


@pytest.mark.parametrize(
    ("message", "argument"),
    [
        pytest.param("%d bytes", TOKEN, id="no number"),
        pytest.param("%s and %s", TOKEN, id="too few"),
        pytest.param("none", TOKEN, id="too many"),
        pytest.param("100%", TOKEN, id="lone percent"),
        pytest.param(f"%q {TOKEN}", "x", id="no such conversion"),
        pytest.param("%(a)s", {"b": TOKEN}, id="no such key"),
        pytest.param("%s", Unprintable(), id="unprintable"),
    ],
)
def test_a_malformed_log_call_is_written_and_raises_nothing(
    log: Log, message: str, argument: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger, written = log
    # Ours alone: pytest's handlers raise where a call is malformed.
    ours = [h for h in logger.handlers if isinstance(h.formatter, RedactingFormatter)]
    monkeypatch.setattr(logger, "handlers", ours)
    monkeypatch.setattr(logger, "propagate", False)
    logger.info(message, argument)
    assert_no_secret(written.getvalue())
    assert written.getvalue().rstrip() == message.replace(TOKEN, REDACTED)
