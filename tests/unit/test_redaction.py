"""What logs, errors and tracebacks may tell, and what is removed from them."""

from __future__ import annotations

import io
import json
import logging
import traceback
from logging.handlers import MemoryHandler
from typing import TYPE_CHECKING

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from singer_sdk.logging import StructuredFormatter

from tap_prolific_export.errors import TapError
from tap_prolific_export.redaction import (
    REDACTED,
    RedactingFormatter,
    host_of,
    redact_logs,
    scrub,
    without_text,
)
from tests.support.stand_in import StandIn, World

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
        json.dumps(json.dumps({"Authorization": f"Token {TOKEN}", "Accept": "*/*"}))[3:],
    ],
)
def test_an_authorization_value_is_removed_though_nobody_named_it(header: str) -> None:
    scrubbed = scrub(header)
    assert_no_secret(scrubbed)
    assert scrubbed.startswith(header[:12])


def test_a_log_of_json_stays_json() -> None:
    text = json.dumps({"text": json.dumps({"Authorization": f"Token {TOKEN}", "url": S3})})
    assert json.loads(json.loads(scrub(text))["text"]) == {
        "Authorization": f"Token {REDACTED}",
        "url": S3,
    }


@pytest.mark.parametrize("text", ["{}", "a{}b", '"{}"', "{}{}", "={}&", "Token {}", "x?key={}"])
def test_a_named_secret_is_removed_wherever_it_stands(text: str) -> None:
    assert_no_secret(scrub(text.replace("{}", TOKEN), ["", TOKEN]))
    # In a host's name, capitals are lost.
    assert scrub(text.replace("{}", TOKEN), [TOKEN.upper()]) == scrub(
        text.replace("{}", TOKEN), [TOKEN]
    )


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
        'curl -X DELETE -H "Authorization: Token $PROLIFIC_TOKEN" https://api.prolific.com/x',
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
    assert "in log_a_failure\n" in written.getvalue()
    assert f"\njson.decoder.JSONDecodeError: {REDACTED}\n" in written.getvalue()
    assert "The above exception was the direct cause of" in written.getvalue()
    assert written.getvalue().endswith(f"\nRuntimeError: {REDACTED}\n")


def throw(error: Exception, cause: Exception | None = None) -> None:
    raise error from cause


def log_exception(
    logger: logging.Logger, error: Exception, *args: object, cause: Exception | None = None
) -> None:
    """Log an exception; without a message, the way that the SDK does."""
    try:
        throw(error, cause)
    except Exception as raised:
        logger.exception(*(args or ("%s", raised.args[0])))


ANSWER = "I was sad"


@pytest.mark.parametrize("formatter", [None, StructuredFormatter()], ids=["text", "structured"])
@pytest.mark.parametrize(
    "args",
    [
        (),
        ("It failed: %s", ValueError(ANSWER)),
        (ValueError(ANSWER),),
        (ANSWER,),
        ("%(why)s", {"why": "Why?"}),
        ("It failed.",),
    ],
    ids=repr,
)
def test_what_an_exception_says_of_a_value_is_not_told(
    args: tuple[object, ...], formatter: logging.Formatter | None, log: Log
) -> None:
    logger, written = log
    logger.handlers[0].setFormatter(RedactingFormatter(formatter, [TOKEN]))
    error = next((arg for arg in args if isinstance(arg, ValueError)), ValueError(ANSWER))
    log_exception(logger, error, *args)
    assert ANSWER not in written.getvalue()
    assert "ValueError" in written.getvalue()
    assert "log_exception" in written.getvalue()
    assert error.args == (ANSWER,)  # whoever else logs it


def test_what_this_taps_own_errors_say_is_told_but_for_secrets(log: Log) -> None:
    logger, written = log
    problem = TapError(f"collection x: sent {TOKEN}")
    log_exception(logger, problem, cause=ValueError(ANSWER))
    assert written.getvalue().startswith(f"collection x: sent {REDACTED}\n")
    assert written.getvalue().endswith(f"TapError: collection x: sent {REDACTED}\n")
    assert f"ValueError: {REDACTED}\n" in written.getvalue()
    assert ANSWER not in written.getvalue()


def test_an_exception_prints_like_itself_without_its_text() -> None:
    def lines(error: BaseException) -> list[str]:
        return traceback.format_exception(type(error), error, error.__traceback__)

    def raised(error: Exception, cause: Exception | None) -> Exception:
        try:
            try:
                throw(KeyError())
            except KeyError:
                throw(error, cause)
        except Exception as caught:  # noqa: BLE001
            return caught
        raise AssertionError

    for cause in (None, OSError(ANSWER)):
        error = raised(requests.ConnectionError(ANSWER), cause)
        assert lines(without_text(error)) == [
            line.replace(ANSWER, REDACTED) for line in lines(error)
        ]
    circle = [ValueError(ANSWER), TypeError(ANSWER)]
    circle[0].__context__, circle[1].__cause__ = circle[1], circle[0]
    assert ANSWER not in "".join(lines(without_text(circle[0])))


def test_what_other_handlers_make_of_an_exception_is_their_own(log: Log) -> None:
    logger, written = log
    before, after = (logging.StreamHandler(io.StringIO()) for _ in range(2))
    logger.handlers[:] = [before, *logger.handlers, after]
    log_exception(logger, ValueError(ANSWER), "It failed.")
    logger.removeHandler(before)
    logger.removeHandler(after)
    assert ANSWER in before.stream.getvalue()
    assert ANSWER not in written.getvalue()
    assert before.stream.getvalue() == after.stream.getvalue()


def test_handlers_behind_other_handlers_are_scrubbed(log: Log) -> None:
    logger, _ = log
    last = logging.StreamHandler(io.StringIO())
    first = MemoryHandler(1000, target=MemoryHandler(1000, target=last))
    logger.addHandler(first)
    before = {handler: handler.formatter for handler in logging.getLogger().handlers}
    try:
        redact_logs([TOKEN])
        logger.info("sent %s", TOKEN)
        for handler in (first, first.target):
            assert isinstance(handler, MemoryHandler)
            handler.flush()
    finally:
        logger.removeHandler(first)
        for handler, formatter in before.items():
            handler.setFormatter(formatter)
    assert last.stream.getvalue() == f"sent {REDACTED}\n"


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


def test_a_secret_that_json_writes_in_another_way_is_found(log: Log) -> None:
    logger, written = log
    secret = 'a"b\\c'
    logger.handlers[0].setFormatter(RedactingFormatter(StructuredFormatter(), [secret]))
    logger.info("sent %s", secret)
    assert json.loads(written.getvalue())["message"] == f"sent {REDACTED}"


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
