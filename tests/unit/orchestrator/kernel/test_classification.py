"""What a service's words and status stand for, where it gave nothing better."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts.provider_errors import ERROR_CLASSES
from orchestrator.kernel.classification import classify_error_category, classify_error_message


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (401, "AuthenticationError"),
        (403, "AccessDeniedError"),
        (404, "NotFoundError"),
        (413, "ContextLengthError"),
        (429, "RateLimitError"),
        (500, "ProviderUnavailableError"),
        (529, "ProviderUnavailableError"),
        (600, "ProviderUnavailableError"),
    ],
)
@pytest.mark.parametrize("text", ["", "context length", "blocked: not found"])
def test_a_status_that_says_enough_goes_before_the_text(status: int, name: str, text: str) -> None:
    """A proxy's error page may talk about anything."""
    assert classify_error_message(text, status_code=status).__name__ == name


@pytest.mark.parametrize("status", [None, 0, 200, 302, 400, 402, 408, 409, 422, 499])
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Maximum CONTEXT is 8192", "ContextLengthError"),
        ("too many tokens", "ContextLengthError"),
        ("rate limit on your api key", "RateLimitError"),
        ("Too Many Requests", "RateLimitError"),
        ("authentication: not found", "AuthenticationError"),
        ("unauthorized", "AuthenticationError"),
        ("not found by the content filter", "NotFoundError"),
        ("blocked for safety", "ContentFilterError"),
    ],
)
def test_otherwise_the_first_phrase_decides(status: int | None, text: str, name: str) -> None:
    """Many services wrap an overlong prompt or a rate limit in a plain 400."""
    assert classify_error_message(text, status_code=status, provider="any").__name__ == name


@pytest.mark.parametrize(
    ("status", "name"),
    [(400, "InvalidRequestError"), (422, "InvalidRequestError"), (402, "LLMError"), (None, "LLMError")],
)
def test_without_a_phrase_a_refused_request_is_told_by_its_status(status: int | None, name: str) -> None:
    """Nothing else is guessed."""
    assert classify_error_message("rate_limit timeout 429 too long", status_code=status).__name__ == name


CATEGORIES = {
    "context_length": ["context length", "too many tokens", "maximum context", "token limit", "too long"],
    "rate_limit": ["rate limit", "rate_limit", "too many requests", "429"],
    "timeout": ["timeout", "timed out"],
    "authentication": ["authentication", "api key", "unauthorized", "401"],
    "content_filter": ["content filter", "safety", "blocked"],
    "not_found": ["not found", "404"],
    "provider_unavailable": ["overloaded", "503", "502", "unavailable"],
}


@pytest.mark.parametrize(
    ("category", "phrase"), [(name, one) for name, phrases in CATEGORIES.items() for one in phrases]
)
def test_a_category_is_known_by_each_of_its_phrases(category: str, phrase: str) -> None:
    """In any case, anywhere in the text."""
    assert classify_error_category(f"It said: {phrase.upper()}!") == category


@given(st.lists(st.sampled_from([(n, p) for n, ps in CATEGORIES.items() for p in ps]), min_size=1, max_size=4))
def test_of_several_categories_the_earlier_in_the_list_wins(found: list[tuple[str, str]]) -> None:
    """The order of the list decides, not the order in the text."""
    order = list(CATEGORIES)

    assert classify_error_category("; ".join(phrase for _, phrase in found)) == min(
        (name for name, _ in found), key=order.index
    )


def test_what_says_nothing_is_unknown() -> None:
    """500 and 504 are on no list."""
    assert [classify_error_category(text) for text in ("", "error 500", "504 gateway", "broken")] == ["unknown"] * 4


@given(st.text(), st.none() | st.integers(-1, 700))
def test_every_message_has_a_class_and_a_category(text: str, status: int | None) -> None:
    """Classifying never fails, whatever a service says."""
    assert classify_error_message(text, status_code=status).__name__ in ERROR_CLASSES
    assert classify_error_category(text) in {*CATEGORIES, "unknown"}
