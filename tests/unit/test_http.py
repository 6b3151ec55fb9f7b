"""The pause of a busy host, which all who send requests to it share."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tap_prolific_export.errors import DataCollectionError, TryAgainError
from tap_prolific_export.http import BUSY_SECONDS, MAX_TRIES, Cooldown, RetryPolicy, retry

if TYPE_CHECKING:
    from tests.support.clocks import MonotonicClock

LONGEST = 1000.0


@pytest.fixture
def cooldown(time: MonotonicClock) -> Cooldown:
    return Cooldown(time.sleep, time, LONGEST)


@pytest.fixture
def policy(time: MonotonicClock, cooldown: Cooldown) -> RetryPolicy:
    return RetryPolicy(time.sleep, "collection x", "do it", cooldown=cooldown)


def busy(retry_after: float | None = None) -> TryAgainError:
    return TryAgainError("it answered 429.", retry_after=retry_after, status=429)


def test_whoever_comes_later_waits_for_the_rest_of_it(
    cooldown: Cooldown, time: MonotonicClock, caplog: pytest.LogCaptureFixture
) -> None:
    cooldown.extend(30)
    time.now += 10
    with caplog.at_level(logging.INFO):
        cooldown.wait_for_others("collection y")
        cooldown.wait_for_others("collection z")
    assert time.slept == [20]
    assert caplog.messages == ["collection y: waiting 20.0 s, as the host is busy."]


def test_a_pause_that_is_over_holds_up_nobody(cooldown: Cooldown, time: MonotonicClock) -> None:
    cooldown.sleep(30)
    cooldown.extend(5)
    time.now += 5
    cooldown.wait_for_others("collection y")
    assert time.slept == [30]


def test_a_shorter_pause_does_not_end_a_longer_one(
    cooldown: Cooldown, time: MonotonicClock
) -> None:
    cooldown.extend(30)
    cooldown.sleep(10)
    cooldown.wait_for_others("collection y")
    assert time.slept == [10, 20]


def test_pauses_at_the_same_time_count_once(cooldown: Cooldown) -> None:
    for seconds in (30, 30, 40):
        cooldown.extend(seconds)
    assert cooldown.remaining == LONGEST - 40
    cooldown.answered()
    assert cooldown.remaining == LONGEST


def test_what_gets_no_answer_holds_up_nobody(
    policy: RetryPolicy, cooldown: Cooldown, time: MonotonicClock
) -> None:
    for _ in range(MAX_TRIES - 1):
        policy.wait(TryAgainError("it broke off."))
    with pytest.raises(DataCollectionError, match=r"5 times; it broke off\."):
        policy.wait(TryAgainError("it broke off."))
    cooldown.wait_for_others("collection y")
    assert len(time.slept) == MAX_TRIES - 1


@pytest.mark.parametrize("retry_after", [None, 0, 0.001, 20, 700, 10**9])
def test_a_host_that_stays_busy_is_given_up_in_time(
    retry_after: float | None, policy: RetryPolicy, time: MonotonicClock
) -> None:
    def always_busy() -> None:
        assert len(time.slept) < 99
        raise busy(retry_after)

    with pytest.raises(DataCollectionError, match=r"times over \d+ s; it answered 429\."):
        retry(always_busy, policy)
    assert BUSY_SECONDS <= sum(time.slept) <= LONGEST + 30


def test_each_wait_is_one_line_that_says_how_long(
    policy: RetryPolicy, time: MonotonicClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        policy.wait(busy(90))
        policy.wait(busy())
    one = "collection x: tried to do it; it answered 429."
    assert caplog.messages == [
        f"{one} Trying again in 90.0 s (try 2 over 0 s).",
        f"{one} Trying again in {time.slept[1]:.1f} s (try 3 over 90 s).",
    ]
