"""Decide what a model call's failure says of its service, and who is asked next.

    against the service    it cannot be reached, breaks off, is too slow, or is too busy without saying for how long
    in its favour          any answer, also a refusal of this very request, of this key, of this account
    another service helps  with everything but a request that any service would refuse

A service that is left alone is waited for, and not for ever: `plan_hold` says for how long.

Told by class alone. Pure: counting failures is the store's work (store/model_gate.py), trying again that of
kernel/retry.py.
"""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from orchestrator.contracts.provider_errors import (
    AbortError,
    ConfigurationError,
    ContentFilterError,
    InvalidRequestError,
    InvalidToolCallError,
    LLMError,
    LLMTimeoutError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitError,
    StreamError,
)

Verdict: TypeAlias = Literal["answered", "failed", "unknown"]

_AGAINST: Final = (ProviderUnavailableError, LLMTimeoutError, StreamError)
_HOPELESS: Final = (InvalidRequestError, ContentFilterError, AbortError, InvalidToolCallError)


def judge(error: Exception) -> Verdict:
    """Return what a failure says of the service.

    >>> judge(ProviderUnavailableError("")), judge(InvalidRequestError("")), judge(RateLimitError("", retry_after=9))
    ('failed', 'answered', 'unknown')
    """
    if isinstance(error, QuotaExceededError):
        return "answered"
    if isinstance(error, RateLimitError):  # with a time, it is held for so long; without one it is like any failure
        return "failed" if error.retry_after is None else "unknown"
    if isinstance(error, _AGAINST):
        return "failed"
    if not isinstance(error, LLMError) or isinstance(error, ConfigurationError | AbortError):
        return "unknown"
    return "answered"


def signature_of(error: Exception) -> str:
    """Return what makes two failures the same: the class, and the status where there is one.

    >>> signature_of(ProviderUnavailableError("at 10:00", status_code=503))
    'ProviderUnavailableError:503'
    """
    status = error.status_code if isinstance(error, LLMError) else None
    return type(error).__name__ if status is None else f"{type(error).__name__}:{status}"


def may_fall_back(error: Exception) -> bool:
    """Say whether another service may do better with the same request."""
    return isinstance(error, LLMError) and not isinstance(error, _HOPELESS)


def plan_hold(wait_ms: int, *, now: int, since: int, patience_ms: int, is_asked: bool) -> int | None:
    """Return for how many ms a call waits that no service takes now, or None where the patience with them is over.

    `since` is when the call was first held back, in ms like `now`; `wait_ms` until the soonest service may be asked. The
    patience ends to the millisecond, but for a time that a service asked for itself (`is_asked`): that one is kept to, and
    the patience counts when it is over.

    >>> [plan_hold(30_000, now=at, since=0, patience_ms=60_000, is_asked=False) for at in (0, 50_000, 60_000)]
    [30000, 10000, None]
    >>> plan_hold(3_600_000, now=0, since=0, patience_ms=60_000, is_asked=True)
    3600000
    """
    left = since + patience_ms - now
    if left <= 0:
        return None
    return wait_ms if is_asked else min(wait_ms, left)


def choose_failure(errors: Sequence[LLMError]) -> LLMError:
    """Return the failure that decides when all services have failed: the one that may be tried again soonest.

    Each service is left alone for as long as it asked, whichever is chosen: the gate sees to that.
    """
    return min(errors, key=lambda error: (not error.retryable, error.retry_after or 0.0))
