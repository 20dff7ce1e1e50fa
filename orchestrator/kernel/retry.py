"""Decide whether a failure is tried again, and after how long.

What an error means is told by its class and by what it says of itself, never by its text. Whether a tool call may be repeated is
another matter: that is its declared effect. Pure; the wait itself is a due entry of the store.
"""

import math
from typing import Final, Literal, NamedTuple, TypeAlias, assert_never

from pydantic import ValidationError

from orchestrator.contracts.app import RetryPolicy
from orchestrator.contracts.errors import (
    ConfigError,
    InputError,
    StoreUnreachable,
    ToolTimeout,
    ToolUnavailable,
    Unreadable,
)
from orchestrator.contracts.provider_errors import LLMError
from orchestrator.kernel.backoff import grow_delay, stretch_delay

FailureKind: TypeAlias = Literal["transient", "permanent", "unclassified"]
RetryReason: TypeAlias = Literal[
    "auto_retry", "max_retries_exceeded", "permanent_error", "low_confidence_no_retry", "transient_disabled"
]

#: Thirty days: a wait is an entry of the store, and its time must be one that the store can keep.
LONGEST_RETRY_SECONDS: Final = 2_592_000.0

# OSError covers the built-in TimeoutError and ConnectionError.
_TRANSIENT = (ToolTimeout, ToolUnavailable, StoreUnreachable, OSError)
_PERMANENT = (ConfigError, InputError, Unreadable, ValidationError)


class RetryDecision(NamedTuple):
    """Whether to try again, and why (not)."""

    retry: bool
    reason: RetryReason


def classify_failure(error: BaseException | None) -> FailureKind:
    """Return what kind of failure an error is: passing, lasting, or not known.

    A model's error says so itself, by its class or better (`retryable`); any other is told by its class.

    >>> [classify_failure(e) for e in (TimeoutError(), LLMError("p: no key; set it"), RuntimeError(), None)]
    ['transient', 'permanent', 'unclassified', 'unclassified']
    """
    if isinstance(error, LLMError):
        return "transient" if error.retryable else "permanent"
    if isinstance(error, _TRANSIENT):
        return "transient"
    return "permanent" if isinstance(error, _PERMANENT) else "unclassified"


def retry_after_of(error: BaseException | None) -> float | None:
    """Return the seconds that a service itself asked to be left alone, where it did."""
    return error.retry_after if isinstance(error, LLMError) else None


def delay_multiplier_of(error: BaseException | None) -> float | None:
    """Return by how much an error stretches the back-off, where it says so."""
    return error.delay_multiplier if isinstance(error, LLMError) else None


def should_retry(
    kind: FailureKind, *, retries_done: int, confidence: float | None, policy: RetryPolicy
) -> RetryDecision:
    """Say whether a failed step is tried again. What is not known to pass by itself is not retried.

    A low confidence stops no transient failure: that says nothing about the agent's work.
    """
    if retries_done >= policy.max_retries:
        return RetryDecision(retry=False, reason="max_retries_exceeded")
    match kind:
        case "permanent":
            return RetryDecision(retry=False, reason="permanent_error")
        case "transient":
            if policy.retry_on_transient:
                return RetryDecision(retry=True, reason="auto_retry")
            return RetryDecision(retry=False, reason="transient_disabled")
        case "unclassified":
            if confidence is not None and confidence < policy.retry_low_confidence_threshold:
                return RetryDecision(retry=False, reason="low_confidence_no_retry")
            return RetryDecision(retry=False, reason="permanent_error")
        case _:
            assert_never(kind)


def plan_retry_seconds(
    attempt: int,
    *,
    base_seconds: float = 1.0,
    maximum_seconds: float = 60.0,
    jitter: float = 0.5,
    retry_after_seconds: float | None = None,
    delay_multiplier: float | None = None,
    unit_random: float = 0.5,
) -> float:
    """Return the seconds to wait after the `attempt`-th try, counted from 1.

    The delay doubles up to the maximum, is stretched by `delay_multiplier`, beyond it if need be, and is
    then spread by ±`jitter` of itself (0 to 1), at the maximum too, or else all would meet there;
    `unit_random` (0 to 1) picks the place. It never undercuts `retry_after_seconds`, which the maximum
    does not cap: there the spread goes upwards only, so that sessions that were told the same second do
    not all come back in it. A number that is not finite is ignored. No delay is over
    LONGEST_RETRY_SECONDS, whatever was asked for.

    >>> [plan_retry_seconds(n, jitter=0) for n in (1, 2, 3, 7, 2000)]
    [1.0, 2.0, 4.0, 60.0, 60.0]
    >>> plan_retry_seconds(1, retry_after_seconds=100, unit_random=0)
    100.0
    """
    if attempt < 1:
        raise ValueError(f"plan_retry_seconds: attempt {attempt}; count attempts from 1")
    # Past the 64th doubling any base is over any maximum; with a base of 0 the power must stay finite.
    delay = stretch_delay(grow_delay(base_seconds, 2.0, min(attempt - 1, 64), maximum_seconds), delay_multiplier)
    delay *= 1 + jitter * (2 * unit_random - 1)
    if retry_after_seconds is not None and math.isfinite(retry_after_seconds):
        delay = max(delay, retry_after_seconds * (1 + jitter * unit_random))
    return min(delay, LONGEST_RETRY_SECONDS)
