"""Whether a failure is tried again, and after how long."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts.errors import (
    BatonError,
    ConfigError,
    LeaseLost,
    StoreUnreachable,
    ToolError,
    ToolTimeout,
    ToolUnavailable,
    Unreadable,
)
from orchestrator.contracts.provider_errors import AuthenticationError, LLMError, QuotaExceededError, RateLimitError
from orchestrator.kernel.retry import (
    LONGEST_RETRY_SECONDS,
    classify_failure,
    delay_multiplier_of,
    plan_retry_seconds,
    retry_after_of,
)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RateLimitError("p: 429; wait"), "transient"),
        (ToolTimeout("t: too slow; wait"), "transient"),
        (ToolUnavailable("t: away; wait"), "transient"),
        (StoreUnreachable("s: away; wait"), "transient"),
        (ConnectionRefusedError(), "transient"),
        (AuthenticationError("p: 401; set the key"), "permanent"),
        (QuotaExceededError("p: 429; pay"), "permanent"),
        (LLMError("p: it broke; look"), "permanent"),
        (LLMError("p: 409; wait", retryable=True), "transient"),
        (RateLimitError("p: 429; pay", retryable=False), "permanent"),
        (ConfigError("f: wrong; mend it"), "permanent"),
        (Unreadable("s: broken; replay it"), "permanent"),
        (ToolError("t: no such thing; look again"), "unclassified"),
        (LeaseLost("S-1", 3), "unclassified"),
        (BatonError("connection timed out"), "unclassified"),
        (KeyError("429"), "unclassified"),
        (None, "unclassified"),
    ],
)
def test_the_class_of_an_error_decides(error: BaseException | None, kind: str) -> None:
    """A message is for people; a tool that talks about timeouts has not timed out."""
    assert classify_failure(error) == kind


def test_a_services_own_word_is_taken_from_its_error() -> None:
    """Only a model's error can carry one."""
    assert retry_after_of(RateLimitError("p: 429; wait", retry_after=7.0)) == 7.0
    assert retry_after_of(ConnectionError("t: away")) is None
    assert delay_multiplier_of(RateLimitError("p: 529; wait", delay_multiplier=10)) == 10
    assert delay_multiplier_of(ConnectionError("t: away")) is None


delays = st.floats(0, 1e6)
units = st.floats(0, 1)


@given(st.integers(1, 10**9), delays, delays, units, st.one_of(st.none(), delays), units)
def test_a_delay_stays_within_its_bounds(
    attempt: int, base: float, maximum: float, jitter: float, retry_after: float | None, unit: float
) -> None:
    """No attempt, however late, waits forever, and none comes before the service allowed it."""
    delay = plan_retry_seconds(
        attempt,
        base_seconds=base,
        maximum_seconds=maximum,
        jitter=jitter,
        retry_after_seconds=retry_after,
        unit_random=unit,
    )

    floor = retry_after or 0.0
    assert floor <= delay <= max(maximum, floor) * (1 + jitter) + 1e-6


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -1.0, 0.0])
def test_a_retry_after_that_says_nothing_is_ignored(nonsense: float) -> None:
    """A service's header must not stop a session for good."""
    assert plan_retry_seconds(2, jitter=0, retry_after_seconds=nonsense) == 2.0


def test_sessions_that_were_told_the_same_second_come_back_apart() -> None:
    """The spread of a retry_after goes upwards only."""
    told = [plan_retry_seconds(1, retry_after_seconds=100, jitter=0.5, unit_random=unit) for unit in (0, 0.5, 1)]

    assert told == [100, 125, 150]


def test_the_random_number_picks_the_place_in_the_spread() -> None:
    """The smallest one waits shortest: who sets it, in a test or a replay, can say beforehand which of two comes back first."""
    waits = [plan_retry_seconds(3, jitter=0.5, unit_random=unit) for unit in (0, 0.25, 1)]

    assert waits == [2, 3, 6]


@pytest.mark.parametrize(
    ("multiplier", "seconds"), [(None, 2.0), (1.0, 2.0), (100.0, 200.0), (0.0, 2.0), (-1.0, 2.0), (math.nan, 2.0)]
)
def test_an_error_may_ask_for_more_patience_than_the_maximum(multiplier: float | None, seconds: float) -> None:
    """An overloaded service; a multiplier that says nothing is ignored."""
    assert plan_retry_seconds(5, maximum_seconds=2, jitter=0, delay_multiplier=multiplier) == seconds


@given(st.floats(1e-6, LONGEST_RETRY_SECONDS), st.floats(0, 1e3), units, units)
def test_a_services_word_is_never_undercut(told: float, multiplier: float, jitter: float, unit: float) -> None:
    """Whatever the spread and the multiplier do: to come back sooner is to be refused again."""
    found = plan_retry_seconds(
        1, jitter=jitter, retry_after_seconds=told, delay_multiplier=multiplier, unit_random=unit
    )

    assert found >= told


@pytest.mark.parametrize("asked", [{"retry_after_seconds": 1e300}, {"delay_multiplier": 1e300}])
def test_no_wait_is_longer_than_the_store_can_keep(asked: dict[str, float]) -> None:
    """A wait of that length is somebody's mistake, and it must not break the commit."""
    assert plan_retry_seconds(1, **asked) == LONGEST_RETRY_SECONDS


def test_attempts_are_counted_from_one() -> None:
    """Attempt 0 is a caller's mistake, and would wait half as long as is meant."""
    with pytest.raises(ValueError, match="count attempts from 1"):
        plan_retry_seconds(0)
