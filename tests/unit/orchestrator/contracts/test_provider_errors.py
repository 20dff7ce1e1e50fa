"""Model errors: what each class says of itself, and that it says the same on the other side of a pickle."""

import copy
import pickle
from typing import Any

import pytest

from orchestrator.contracts import provider_errors
from orchestrator.contracts.errors import BatonError, ProviderError
from orchestrator.contracts.provider_errors import (
    ERROR_CLASSES,
    InvalidToolCallError,
    LLMError,
    LLMTimeoutError,
    QuotaExceededError,
    RateLimitError,
)

#: Class → its base and whether the same call may succeed later, from the reference's table.
TREE = {
    "LLMError": ("ProviderError", False),
    "RateLimitError": ("LLMError", True),
    "QuotaExceededError": ("RateLimitError", False),
    "AuthenticationError": ("LLMError", False),
    "AccessDeniedError": ("AuthenticationError", False),
    "ContextLengthError": ("LLMError", False),
    "ContentFilterError": ("LLMError", False),
    "InvalidRequestError": ("LLMError", False),
    "NotFoundError": ("LLMError", False),
    "AbortError": ("LLMError", False),
    "ConfigurationError": ("LLMError", False),
    "ProviderUnavailableError": ("LLMError", True),
    "NetworkError": ("ProviderUnavailableError", True),
    "CircuitOpenError": ("ProviderUnavailableError", True),
    "LLMTimeoutError": ("LLMError", True),
    "StreamError": ("LLMError", True),
    "InvalidToolCallError": ("LLMError", False),
}


@pytest.mark.parametrize("name", TREE)
def test_a_class_has_its_place_and_its_word_on_retries(name: str) -> None:
    """Who catches a base catches what derives from it, and the default decides most retries."""
    base, retryable = TREE[name]
    error = ERROR_CLASSES[name]("msg")

    assert type(error).__bases__[0].__name__ == base
    assert error.retryable is retryable
    assert isinstance(error, ProviderError)
    assert isinstance(error, BatonError)
    assert (error.provider, error.model, error.status_code, error.retry_after) == (None, None, None, None)
    assert error.delay_multiplier == 1.0


def test_every_class_is_in_the_table() -> None:
    """A record names a class by this table; one that is missing would come back as its base."""
    declared = {
        name for name, value in vars(provider_errors).items() if isinstance(value, type) and issubclass(value, LLMError)
    }

    assert declared == set(ERROR_CLASSES) == set(TREE)


def test_an_error_may_know_better_than_its_class() -> None:
    """A rate limit that will not pass, a refusal that will."""
    assert RateLimitError("m", retryable=False).retryable is False
    assert LLMError("m", retryable=True).retryable is True


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (LLMError("it's"), 'LLMError("it\'s")'),
        (RateLimitError("m"), "RateLimitError('m', retryable=True)"),
        (RateLimitError("m", retryable=False), "RateLimitError('m')"),
        (LLMError("m", provider="", model=""), "LLMError('m', provider='', model='')"),
        (LLMError("m", status_code=0, retry_after=0.0), "LLMError('m', status_code=0, retry_after=0.0)"),
        (LLMError("m", delay_multiplier=1), "LLMError('m')"),
        (
            LLMTimeoutError("m", provider="p", model="x", status_code=408, retry_after=3, delay_multiplier=2.0),
            (
                "LLMTimeoutError('m', provider='p', model='x', status_code=408, retryable=True, retry_after=3, "
                "delay_multiplier=2.0)"
            ),
        ),
        (InvalidToolCallError("m", tool_name="t", raw_arguments="{"), "InvalidToolCallError('m')"),
    ],
)
def test_a_representation_shows_what_is_not_usual(error: LLMError, text: str) -> None:
    """What a log line shows; what a model wrote is not in it."""
    assert repr(error) == text


@pytest.mark.parametrize("remade", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_a_copy_has_the_same_type_and_the_same_attributes(remade: Any) -> None:
    """Process pools and task queues pickle what is raised."""
    errors: list[LLMError] = [
        QuotaExceededError("spent", provider="p", model="m", status_code=429, retry_after=2.5, delay_multiplier=3.0),
        InvalidToolCallError("odd", tool_name="t", raw_arguments="{", retryable=True),
    ]

    for error in errors:
        again = remade(error)
        assert type(again) is type(error)
        assert again.args == error.args
        assert vars(again) == vars(error)


def test_a_tool_call_error_takes_no_word_on_delays() -> None:
    """There is nobody to leave alone: the model answered."""
    with pytest.raises(TypeError):
        InvalidToolCallError("m", retry_after=3.0)  # type: ignore[call-arg]
