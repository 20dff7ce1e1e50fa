"""What a failure says of a service, and of whom is asked next."""

import pytest

from orchestrator.contracts.provider_errors import (
    AbortError,
    AuthenticationError,
    ConfigurationError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    LLMError,
    LLMTimeoutError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitError,
    StreamError,
)
from orchestrator.kernel.failover import choose_failure, judge, may_fall_back, plan_hold, signature_of


@pytest.mark.parametrize(
    ("error", "verdict", "falls_back"),
    [
        (ProviderUnavailableError("p: 503; wait"), "failed", True),
        (LLMTimeoutError("p: slow; wait"), "failed", True),
        (StreamError("p: broke off; ask again"), "failed", True),
        (RateLimitError("p: 429; wait"), "failed", True),
        (RateLimitError("p: 429; wait", retry_after=1), "unknown", True),
        (QuotaExceededError("p: 429; pay"), "answered", True),
        (AuthenticationError("p: 401; set the key"), "answered", True),
        (ContextLengthError("p: too long; shorten it"), "answered", True),
        (InvalidRequestError("p: 400; mend it"), "answered", False),
        (ContentFilterError("p: filtered; say it otherwise"), "answered", False),
        (ConfigurationError("p: no key; set it"), "unknown", True),
        (AbortError("p: stopped; begin anew"), "unknown", False),
        (ValueError("not of a model"), "unknown", False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_class_says_it_all(error: Exception, verdict: str, falls_back: bool) -> None:
    """An answer that refuses is an answer: one wrong request must not close a service for everybody."""
    assert (judge(error), may_fall_back(error)) == (verdict, falls_back)


def test_failures_are_the_same_by_class_and_status() -> None:
    """Texts have times and ids in them; two failures of one sort would never be the same."""
    first = ProviderUnavailableError("at 10:00", status_code=503)

    assert signature_of(first) == signature_of(ProviderUnavailableError("at 10:01", status_code=503))
    assert signature_of(first) != signature_of(ProviderUnavailableError("at 10:00", status_code=502))
    assert signature_of(LLMTimeoutError("slow")) == "LLMTimeoutError"


def test_the_failure_that_may_pass_soonest_decides() -> None:
    """A session is buried only where no service may ever answer."""
    away = ProviderUnavailableError("away", retry_after=30)
    limited = RateLimitError("limited", retry_after=5)
    wrong: LLMError = AuthenticationError("wrong key")

    assert choose_failure([wrong, away, limited]) is limited
    assert choose_failure([wrong]) is wrong


@pytest.mark.parametrize(("at", "wait_ms"), [(0, 500), (499, 500), (501, 499), (999, 1), (1_000, None), (1_001, None)])
def test_a_service_that_is_left_alone_is_waited_for_to_the_millisecond(at: int, wait_ms: int | None) -> None:
    """Without an end, sessions would wait for a service that is gone, and nobody would hear of it."""
    assert plan_hold(500, now=7_000 + at, since=7_000, patience_ms=1_000, is_asked=False) == wait_ms


@pytest.mark.parametrize(("at", "wait_ms"), [(0, 5_000), (999, 5_000), (1_000, None), (1_001, None)])
def test_a_time_that_a_service_asked_for_is_kept_to(at: int, wait_ms: int | None) -> None:
    """It said when it is back; whoever still finds it closed then has waited for long enough."""
    assert plan_hold(5_000, now=at, since=0, patience_ms=1_000, is_asked=True) == wait_ms


def test_without_patience_nobody_waits() -> None:
    """An app that would rather fail at once says 0."""
    assert plan_hold(500, now=9, since=9, patience_ms=0, is_asked=False) is None
