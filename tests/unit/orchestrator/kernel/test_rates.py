"""A rate becomes a bucket that no minute can overrun, and a request a number of tokens."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts.messages import Message, ModelRequest, Reasoning, ToolRequest, ToolSchema
from orchestrator.contracts.rates import Price, RateLimit
from orchestrator.kernel.rates import ANSWER_TOKENS, MINUTE_US, estimate_tokens, find_price, make_bucket, plan_buckets


@given(st.integers(1, 1_000_000_000), st.floats(0, 1))
def test_any_minute_holds_the_rate_at_most(per_minute: int, burst: float) -> None:
    """What goes at once and what comes after it: together never more than the contract says, wherever the minute begins."""
    bucket = make_bucket("m", "requests", per_minute, burst)

    assert 1 <= bucket.capacity <= per_minute
    assert bucket.interval_us >= 1
    most = bucket.capacity + (MINUTE_US - 1) // bucket.interval_us  # a minute without its last instant
    assert most <= per_minute or (per_minute > MINUTE_US and bucket.interval_us == 1)


def test_a_call_goes_through_its_models_rates_and_its_providers() -> None:
    """An account's limit counts for all of its models, a model's for itself; services of one kind are told apart."""
    limits = {
        "p": RateLimit(requests_per_minute=100),
        "p/big": RateLimit(requests_per_minute=10, tokens_per_minute=1000),
        "q": RateLimit(requests_per_minute=1),
    }

    assert [(one.name, one.shared) for one in plan_buckets(limits, "p", "big", "host")] == [
        ("p/big@host:requests", False),
        ("p/big@host:tokens", False),
        ("p@host:requests", True),
    ]
    assert [one.name for one in plan_buckets(limits, "p", "small")] == ["p:requests"]
    assert plan_buckets({}, "p", "big") == ()


def test_tokens_are_guessed_from_what_is_sent() -> None:
    """Four characters are a token; and something is kept for the answer."""
    request = ModelRequest(
        session_id="S", skill="talk", system="s" * 400, messages=(Message(role="user", content="m" * 40),), tools=()
    )

    assert estimate_tokens(request) == 110 + ANSWER_TOKENS


def test_tools_and_what_was_asked_of_them_count() -> None:
    """They are sent with every call: a session with many tools must not be let through as if it had none."""
    tools = (ToolSchema(name="n" * 25, description="d" * 60), ToolSchema(name="n" * 10))
    call = ToolRequest(call_id="c", tool="t", args={"text": "x" * 388})
    words = (
        Message(role="assistant", content="w" * 40, tool_calls=(call, call)),
        Message(role="user", content="w" * 8),
    )
    request = ModelRequest(session_id="S", skill="talk", system="s" * 12, messages=words, tools=tools)

    assert estimate_tokens(request) == (12 + 60 + 4 * 35 + 48 + 2 * 400) // 4 + ANSWER_TOKENS
    thoughtful = words[0].model_copy(update={"reasoning": Reasoning(parts={"blocks": "x" * 386})})  # 400 with the rest
    request = request.model_copy(update={"messages": (thoughtful, words[1])})
    assert estimate_tokens(request) == (12 + 60 + 4 * 35 + 48 + 3 * 400) // 4 + ANSWER_TOKENS


def test_a_models_own_price_goes_first() -> None:
    """The provider's counts for the models without one; a model without any has none, and is not free by mistake."""
    one, other = Price(input=Decimal(1), output=Decimal(2)), Price(input=Decimal(3), output=Decimal(4))
    prices = {"p/big": one, "p": other}

    assert (find_price(prices, "p", "big"), find_price(prices, "p", "x"), find_price(prices, "q", "x")) == (
        one,
        other,
        None,
    )
