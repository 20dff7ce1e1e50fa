"""What a model service allows, and what it costs: what an operator says of it in the settings.

Names in the settings are `PROVIDER` (all of its models together) or `PROVIDER/MODEL`. Money is Decimal, in whatever
currency the prices are written in; nothing here knows which.
"""

from decimal import Decimal
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

from pydantic import Field

from orchestrator.contracts.base import Frozen

Unit: TypeAlias = Literal["requests", "tokens"]
Count: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000_000)]
Money: TypeAlias = Annotated[Decimal, Field(ge=0, le=1_000_000_000, allow_inf_nan=False)]

#: Prices are written for so many tokens.
PRICED_TOKENS: Final = 1_000_000


class RateLimit(Frozen):
    """The most that goes to a service in any minute, from all workers together. `burst` is the share that may go at once."""

    requests_per_minute: Count | None = Field(default=None, description="Model calls in any minute; none: no limit.")
    tokens_per_minute: Count | None = Field(
        default=None, description="Tokens in any minute, read and written together; none: no limit."
    )
    burst: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.1, description="Share of a minute's amount that may go at once after a rest."
    )


class Price(Frozen):
    """What a model costs for a million tokens: those it reads, and those it writes."""

    input: Money = Field(description="A million tokens read.", examples=["3.00"])
    output: Money = Field(description="A million tokens written.", examples=["15.00"])

    def cost(self, input_tokens: int, output_tokens: int) -> Decimal:
        """Return what so many tokens cost, exactly.

        >>> Price(input=Decimal("3"), output=Decimal("15")).cost(1000, 100)
        Decimal('0.0045')
        """
        return (self.input * input_tokens + self.output * output_tokens) / PRICED_TOKENS


class Bucket(NamedTuple):
    """One rate of one service: `capacity` units at once, one more each `interval_us`."""

    name: str
    unit: Unit
    interval_us: int
    capacity: int
    shared: bool = False
