"""Turn a rate of so many a minute into a bucket that never lets more through in any minute.

A bucket holds a share of the minute's amount, which may go at once after a rest, and fills at a rate that makes up the
remainder: the two together are what any window of a minute can let through. Pure; the counting is the store's
(scripts/admit.lua).
"""

import math
from collections.abc import Mapping
from typing import Final

from orchestrator.contracts.messages import ModelRequest
from orchestrator.contracts.rates import Bucket, Price, RateLimit, Unit

MINUTE_US: Final = 60_000_000
#: English text has about four characters to a token; what was really used is made good after the call.
CHARS_PER_TOKEN: Final = 4
#: What an answer is taken to have before it is known.
ANSWER_TOKENS: Final = 256


def make_bucket(name: str, unit: Unit, per_minute: int, burst: float, *, shared: bool = False) -> Bucket:
    """Return the bucket that lets at most `per_minute` units through in any minute.

    >>> make_bucket("m", "requests", 60, 0.1)
    Bucket(name='m:requests', unit='requests', interval_us=1090910, capacity=6, shared=False)
    >>> make_bucket("m", "requests", 1, 0.5).interval_us
    60000000
    """
    capacity = max(1, int(per_minute * burst))
    # Rounded up: what is slower by a microsecond is never too much.
    interval = math.ceil(MINUTE_US / (per_minute - capacity + 1))
    return Bucket(f"{name}:{unit}", unit, interval, capacity, shared)


def plan_buckets(limits: Mapping[str, RateLimit], provider: str, model: str, where: str = "") -> tuple[Bucket, ...]:
    """Return the buckets that a call goes through: those of its model, and those that the provider's models share.

    `where` tells services of the same kind apart: each has rates of its own.
    """
    buckets = []
    for name, shared in ((f"{provider}/{model}", False), (provider, True)):
        limit = limits.get(name)
        if limit is None:
            continue
        place = f"{name}@{where}" if where else name
        rates: dict[Unit, int | None] = {"requests": limit.requests_per_minute, "tokens": limit.tokens_per_minute}
        for unit, per_minute in rates.items():
            if per_minute is not None:
                buckets.append(make_bucket(place, unit, per_minute, limit.burst, shared=shared))
    return tuple(buckets)


def estimate_tokens(request: ModelRequest) -> int:
    """Return about how many tokens a call will use: what is sent, and some for the answer."""
    chars = len(request.system) + sum(len(tool.description) + 4 * len(tool.name) for tool in request.tools)
    for message in request.messages:
        chars += len(message.content) + sum(len(str(call.args)) for call in message.tool_calls)
        if message.reasoning is not None:
            chars += len(str(message.reasoning.parts))
    return chars // CHARS_PER_TOKEN + ANSWER_TOKENS


def find_price(prices: Mapping[str, Price], provider: str, model: str) -> Price | None:
    """Return what a model costs: its own price, else its provider's, else None."""
    return prices.get(f"{provider}/{model}") or prices.get(provider)
