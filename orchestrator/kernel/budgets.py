"""Decide whether a session's budget, or its app's, is spent, and count what a step has used.

A step is begun only while every limit that it could touch has something left; a model call may then use more tokens
than were left, for nobody knows before. A session that would go beyond a limit is stopped, and ends with the status that
its app declares. Pure: time and the app's total come in as values.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, NamedTuple

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.budgets import Period, Resource, SessionBudget, Spent
from orchestrator.contracts.session import Record, StepKind, ToolCall

#: Money is counted by the store in whole billionths.
NANO: Final = Decimal(1_000_000_000)
_FORMATS: Final[dict[Period, str]] = {"hour": "%Y%m%d%H", "day": "%Y%m%d", "month": "%Y%m"}
_MODEL: Final[frozenset[Resource]] = frozenset({"turns", "tokens", "cost"})


class Use(NamedTuple):
    """What one step used; `ms` is how long it took."""

    turns: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)
    ms: int = 0


def period_of(per: Period, now: int) -> str:
    """Return the name of the hour, day or month, in UTC, of a time in milliseconds.

    >>> period_of("day", 0), period_of("month", 1_795_219_200_000)
    ('19700101', '202611')
    """
    return datetime.fromtimestamp(now / 1000, UTC).strftime(_FORMATS[per])


def previous_period(per: Period, now: int) -> str:
    """Return the name of the period before that of `now`: what is older has no more use.

    >>> previous_period("month", 1_795_219_200_000)
    '202610'
    """
    begin = datetime.strptime(period_of(per, now), _FORMATS[per]).replace(tzinfo=UTC)
    return period_of(per, int(begin.timestamp() * 1000) - 1)


def next_needs(spec: AppSpec, record: Record) -> frozenset[Resource]:
    """Return what the next step takes of a budget; every step takes time."""
    cursor = record.cursor
    if record.phase == "finalizing" or cursor.stage == "end" or cursor.stop is not None:
        return frozenset()
    needs: set[Resource] = {"wall_seconds"}
    skill = spec.skills[cursor.skill]
    if cursor.stage == "tools" and cursor.calls:
        needs.add("tool_calls")
    elif cursor.stage in {"enter", "model"} and (
        skill.kind == "responsive"
        or (skill.kind == "supervisor" and skill.for_each is None and skill.dispatch_strategy == "llm")
    ):
        needs |= _MODEL
    return frozenset(needs)


def used_of(spent: Spent, elapsed_ms: int) -> dict[Resource, Decimal]:
    """Return what is used of each resource, in its budget's unit."""
    return {
        "turns": Decimal(spent.turns),
        "tool_calls": Decimal(spent.tool_calls),
        "tokens": Decimal(spent.tokens),
        "cost": spent.cost,
        "wall_seconds": Decimal(elapsed_ms) / 1000,
    }


def limits_of(budget: SessionBudget) -> dict[Resource, Decimal]:
    """Return the limits that a budget sets."""
    found: dict[Resource, int | float | Decimal | None] = {
        "turns": budget.turns,
        "tool_calls": budget.tool_calls,
        "tokens": budget.tokens,
        "cost": budget.cost,
        "wall_seconds": budget.wall_seconds,
    }
    return {name: Decimal(str(limit)) for name, limit in found.items() if limit is not None}


def find_spent(budget: SessionBudget, used: Mapping[Resource, Decimal], needs: frozenset[Resource]) -> Resource | None:
    """Return the first limit that leaves nothing for a step that needs these, or None."""
    limits = limits_of(budget)
    return next((name for name, limit in limits.items() if name in needs and used[name] >= limit), None)


def find_near(budget: SessionBudget, used: Mapping[Resource, Decimal], share: float) -> tuple[Resource, ...]:
    """Return the limits of which at least this share is used."""
    part = Decimal(str(share))
    return tuple(name for name, limit in limits_of(budget).items() if used[name] >= limit * part)


def describe_limit(resource: Resource, used: Decimal, limit: Decimal) -> str:
    """Return a limit and what is used of it, as a person reads it.

    >>> describe_limit("tokens", Decimal(1200), Decimal(1000))
    'tokens: 1200 of 1000 used'
    """
    return f"{resource.replace('_', ' ')}: {used.normalize():f} of {limit.normalize():f} used"


def time_is_over(spec: AppSpec, record: Record, now: int) -> bool:
    """Say whether the session's own time is spent: then it waits no longer, whatever for."""
    until = ends_at(spec, record)
    return until is not None and until <= now and record.cursor.stage != "end"


def ends_at(spec: AppSpec, record: Record) -> int | None:
    """Return when the session's own time is spent, in milliseconds, or None where it has no limit."""
    if spec.budget is None or spec.budget.session.wall_seconds is None or record.cursor.stop is not None:
        return None
    return record.created_at + int(spec.budget.session.wall_seconds * 1000)


def calls_left(spec: AppSpec, record: Record) -> int | None:
    """Return how many tool calls the session may still make, or None where it has no limit."""
    limit = spec.budget.session.tool_calls if spec.budget is not None and record.cursor.stop is None else None
    return None if limit is None else max(limit - (record.spent or Spent()).tool_calls, 0)


def count_calls(step: StepKind, calls: tuple[ToolCall, ...]) -> int:
    """Return how many tool calls a step made: those that somebody refused, or nobody allowed in time, were not made."""
    if step != "tool_calls":
        return 0
    return sum(
        1
        for call in calls
        if call.outcome != "rejected" and not (call.outcome == "timeout" and call.approver == "system")
    )


def add(spent: Spent | None, use: Use) -> Spent:
    """Return what is used with what one step used."""
    before = spent or Spent()
    return before.model_copy(
        update={
            "turns": before.turns + use.turns,
            "tool_calls": before.tool_calls + use.tool_calls,
            "input_tokens": before.input_tokens + use.input_tokens,
            "output_tokens": before.output_tokens + use.output_tokens,
            "cost": before.cost + use.cost,
        }
    )


def as_counts(use: Use) -> dict[str, int]:
    """Return a use as whole numbers, without the zeros: what the store adds up for an app."""
    counts = {
        "turns": use.turns,
        "tool_calls": use.tool_calls,
        "tokens": use.input_tokens + use.output_tokens,
        "cost_nano": int((use.cost * NANO).to_integral_value()),
        "ms": use.ms,
    }
    return {name: count for name, count in counts.items() if count}


def used_by_app(counts: Mapping[str, int]) -> dict[Resource, Decimal]:
    """Return what all sessions of an app used, from the numbers of `as_counts` added up."""
    return {
        "turns": Decimal(counts.get("turns", 0)),
        "tool_calls": Decimal(counts.get("tool_calls", 0)),
        "tokens": Decimal(counts.get("tokens", 0)),
        "cost": Decimal(counts.get("cost_nano", 0)) / NANO,
        "wall_seconds": Decimal(counts.get("ms", 0)) / 1000,
    }
