"""What a session and an app may use up, and what a session has used so far.

A session's use is kept in its record, and only where its app declares a budget. Whether it is spent is decided by
kernel/budgets.py; what the sessions of an app have used together is counted by the store.
"""

from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from orchestrator.contracts.base import Frozen, Seconds
from orchestrator.contracts.rates import Count, Money

Resource: TypeAlias = Literal["turns", "tool_calls", "tokens", "cost", "wall_seconds"]
Period: TypeAlias = Literal["hour", "day", "month"]
Fraction: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class SessionBudget(Frozen):
    """The most that one session may use; what is left out has no limit."""

    turns: Count | None = Field(default=None, description="Model calls that were answered.")
    tool_calls: Count | None = Field(default=None, description="Tool calls that were made.")
    tokens: Count | None = Field(default=None, description="Tokens, read and written together.")
    cost: Money | None = Field(
        default=None, description="Money, by the prices in the settings (`models.prices`).", examples=["2.50"]
    )
    wall_seconds: Seconds | None = Field(
        default=None, description="Time from its submission on, whatever it waits for."
    )


class AppBudget(SessionBudget):
    """The most that all sessions of an app may use together in an hour, a day or a month (UTC)."""

    wall_seconds: Seconds | None = Field(default=None, description="Time that their steps took, added up.")
    per: Period = Field(default="day", description="The calendar's hour, day or month, in UTC, that is counted.")


class BudgetSpec(Frozen):
    """An app's budgets: when to warn, and with which status a session ends that would go beyond one."""

    session: SessionBudget = Field(default=SessionBudget(), description="What one session may use.")
    app: AppBudget | None = Field(default=None, description="What all sessions of the app may use together.")
    warn_at: Fraction = Field(default=0.8, description="Share of a limit at which the journal warns, once.")
    status: str | None = Field(
        default=None,
        description="How a session ends that would go beyond a budget; as `default_terminal_status` if left out.",
        examples=["out_of_budget"],
    )


class Spent(Frozen):
    """What a session has used so far. `warned` names the limits that the journal has warned of, `app.NAME` for the app's."""

    turns: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)
    warned: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.input_tokens + self.output_tokens
