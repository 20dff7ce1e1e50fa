"""Tell what went wrong from what a model service said, where it gave nothing better than a text.

This is the last resort, and the one place where an error's words are searched: many services wrap a
rate limit or an overlong prompt in a plain message. Whoever has a class of its own (a library's
exception, an HTTP status) uses that first. There are two lists, and they differ on purpose: the first
gives a class of contracts/provider_errors.py, the second a word for logs and figures.
"""

from typing import Final, Literal, TypeAlias

from orchestrator.contracts.provider_errors import (
    AccessDeniedError,
    AuthenticationError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    LLMError,
    NotFoundError,
    ProviderUnavailableError,
    RateLimitError,
)

ErrorCategory: TypeAlias = Literal[
    "context_length",
    "rate_limit",
    "timeout",
    "authentication",
    "content_filter",
    "not_found",
    "provider_unavailable",
    "unknown",
]

_BY_STATUS: Final[dict[int, type[LLMError]]] = {
    401: AuthenticationError,
    403: AccessDeniedError,
    404: NotFoundError,
    413: ContextLengthError,
    429: RateLimitError,
}
#: In this order: the first phrase that is found decides.
_BY_TEXT: Final[tuple[tuple[type[LLMError], tuple[str, ...]], ...]] = (
    (ContextLengthError, ("context length", "too many tokens", "maximum context")),
    (RateLimitError, ("rate limit", "too many requests")),
    (AuthenticationError, ("authentication", "api key", "unauthorized")),
    (NotFoundError, ("not found",)),
    (ContentFilterError, ("content filter", "safety", "blocked")),
)
_REFUSALS: Final = frozenset({400, 422})

_CATEGORIES: Final[tuple[tuple[ErrorCategory, tuple[str, ...]], ...]] = (
    ("context_length", ("context length", "too many tokens", "maximum context", "token limit", "too long")),
    ("rate_limit", ("rate limit", "rate_limit", "too many requests", "429")),
    ("timeout", ("timeout", "timed out")),
    ("authentication", ("authentication", "api key", "unauthorized", "401")),
    ("content_filter", ("content filter", "safety", "blocked")),
    ("not_found", ("not found", "404")),
    ("provider_unavailable", ("overloaded", "503", "502", "unavailable")),
)


def classify_error_message(
    message: str, *, status_code: int | None = None, provider: str | None = None
) -> type[LLMError]:
    """Return the class of the error that a service's message and HTTP status stand for.

    The status goes first where it says enough; then the text; then 400 and 422 are a refused request.
    `provider` changes nothing yet: it is there for a service whose words mean something else.

    >>> classify_error_message("Maximum context is 8192", status_code=400).__name__
    'ContextLengthError'
    >>> classify_error_message("slow down", status_code=429).__name__
    'RateLimitError'
    """
    del provider
    if status_code is not None:
        if status_code in _BY_STATUS:
            return _BY_STATUS[status_code]
        if status_code >= 500:
            return ProviderUnavailableError
    text = message.lower()
    for error, phrases in _BY_TEXT:
        if any(phrase in text for phrase in phrases):
            return error
    return InvalidRequestError if status_code in _REFUSALS else LLMError


def classify_error_category(message: str) -> ErrorCategory:
    """Return the word under which a failure with this message is counted.

    >>> classify_error_category("HTTP 503: overloaded"), classify_error_category("it broke")
    ('provider_unavailable', 'unknown')
    """
    text = message.lower()
    for category, phrases in _CATEGORIES:
        if any(phrase in text for phrase in phrases):
            return category
    return "unknown"
