"""Every way in which a call of a model can fail, by what the one who catches it must do.

    ProviderError                      contracts/errors.py: a model service failed
    └── LLMError                       nothing more is known; not tried again
        ├── RateLimitError             too many calls: try again, after `retry_after` where it was told
        │   └── QuotaExceededError     what was paid for is used up: a person must act
        ├── AuthenticationError        the key is missing or wrong
        │   └── AccessDeniedError      the key is good and may not do this
        ├── ContextLengthError         the messages are too long: shorten them
        ├── ContentFilterError         the service refuses what was said
        ├── InvalidRequestError        the service does not accept the request
        ├── NotFoundError              there is no such model or path
        ├── AbortError                 the caller stopped the call
        ├── ConfigurationError         the provider is set up wrongly
        ├── InvalidToolCallError       the model asks for a tool in a way that cannot be read
        ├── ProviderUnavailableError   the service is down or overloaded: try again
        │   ├── NetworkError           it was not reached: try again
        │   └── CircuitOpenError       it was not even asked, for too long: it fails whoever asks it
        ├── LLMTimeoutError            it did not answer in time: try again
        └── StreamError                its answer broke off or made no sense: try again

The class says what happened and whether the same call may succeed later (`retryable`); an error that
knows better overrides that. Nothing here retries: kernel/backoff.py and kernel/retry.py decide.
"""

from typing import ClassVar

from orchestrator.contracts.errors import ProviderError


class LLMError(ProviderError):
    """A call of a model failed.

    `provider` and `model` name who was asked. `status_code` is the HTTP status, where there was one.
    `retryable`: the same call may succeed later; left out, the class decides. `retry_after` is how many
    seconds the service asked to be left alone. `delay_multiplier` stretches the back-off.
    """

    retryable_by_default: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        model: str | None = None,
        status_code: int | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
        delay_multiplier: float = 1.0,
    ) -> None:
        super().__init__(message)
        self.provider, self.model, self.status_code = provider, model, status_code
        self.retryable = self.retryable_by_default if retryable is None else retryable
        self.retry_after, self.delay_multiplier = retry_after, delay_multiplier

    def __repr__(self) -> str:
        parts = [repr(str(self))]
        parts += [f"{name}={value!r}" for name in ("provider", "model") if (value := getattr(self, name)) is not None]
        if self.status_code is not None:
            parts.append(f"status_code={self.status_code!r}")
        if self.retryable:
            parts.append("retryable=True")
        if self.retry_after is not None:
            parts.append(f"retry_after={self.retry_after!r}")
        if self.delay_multiplier != 1.0:
            parts.append(f"delay_multiplier={self.delay_multiplier!r}")
        return f"{type(self).__name__}({', '.join(parts)})"


class RateLimitError(LLMError):
    """Too many calls, or too many tokens, in too short a time."""

    retryable_by_default = True


class QuotaExceededError(RateLimitError):
    """What was paid for is used up; waiting does not help."""

    retryable_by_default = False


class AuthenticationError(LLMError):
    """The key is missing or wrong."""


class AccessDeniedError(AuthenticationError):
    """The key is good, and does not permit this."""


class ContextLengthError(LLMError):
    """The messages are longer than the model takes."""


class ContentFilterError(LLMError):
    """The service refuses the content."""


class InvalidRequestError(LLMError):
    """The service does not accept the request; the same one would fail again."""


class NotFoundError(LLMError):
    """There is no such model, path or resource."""


class AbortError(LLMError):
    """The caller stopped the call."""


class ConfigurationError(LLMError):
    """The provider is set up wrongly; it could not even ask."""


class ProviderUnavailableError(LLMError):
    """The service is down or overloaded."""

    retryable_by_default = True


class NetworkError(ProviderUnavailableError):
    """The service was not reached."""


class CircuitOpenError(ProviderUnavailableError):
    """The service was left alone for longer than its callers have patience: its circuit is open, or it asked for it."""


class LLMTimeoutError(LLMError):
    """The service did not answer in time."""

    retryable_by_default = True


class StreamError(LLMError):
    """The answer broke off, or cannot be read."""

    retryable_by_default = True


class InvalidToolCallError(LLMError):
    """The model asks for a tool in a way that cannot be read; `raw_arguments` is what it wrote."""

    def __init__(
        self,
        message: str,
        *,
        tool_name: str | None = None,
        raw_arguments: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        status_code: int | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message, provider=provider, model=model, status_code=status_code, retryable=retryable)
        self.tool_name, self.raw_arguments = tool_name, raw_arguments


#: Every class of the tree by its name, bases before what derives from them.
ERROR_CLASSES: dict[str, type[LLMError]] = {
    error.__name__: error
    for error in (
        LLMError,
        RateLimitError,
        QuotaExceededError,
        AuthenticationError,
        AccessDeniedError,
        ContextLengthError,
        ContentFilterError,
        InvalidRequestError,
        NotFoundError,
        AbortError,
        ConfigurationError,
        ProviderUnavailableError,
        NetworkError,
        CircuitOpenError,
        LLMTimeoutError,
        StreamError,
        InvalidToolCallError,
    )
}
