"""Decide what a model call's failure says of its service, and who is asked next.

    against the service    it cannot be reached, breaks off, is too slow, or is too busy without saying for how long
    in its favour          any answer, also a refusal of this very request, of this key, of this account
    another service helps  with everything but a request that any service would refuse

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


def choose_failure(errors: Sequence[LLMError]) -> LLMError:
    """Return the failure that decides when all services have failed: the one that may be tried again soonest.

    Each service is left alone for as long as it asked, whichever is chosen: the gate sees to that.
    """
    return min(errors, key=lambda error: (not error.retryable, error.retry_after or 0.0))
