"""When a budget is spent, what the next step would take of it, and how uses add up."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts.app import AppSpec, ModelSpec, StatusDef
from orchestrator.contracts.budgets import BudgetSpec, SessionBudget, Spent
from orchestrator.contracts.session import Cursor, Record, ToolCall, ToolOutcome
from orchestrator.contracts.skill import Responsive, Route, Supervisor, TimerStep
from orchestrator.kernel.budgets import (
    NANO,
    Use,
    add,
    as_counts,
    calls_left,
    count_calls,
    ends_at,
    find_near,
    find_spent,
    next_needs,
    period_of,
    previous_period,
    time_is_over,
    used_by_app,
    used_of,
)

END = (Route(when="default", next="__end__"),)
NOW = 1_795_219_200_000


def app(**session: Any) -> AppSpec:
    """Return an app with an agent and a timer, and this budget for a session."""
    return AppSpec(
        name="sample",
        entry_skill="talk",
        statuses={"done": StatusDef(kind="success")},
        default_terminal_status="done",
        skills={
            "talk": Responsive(name="talk", prompt="Talk.", routes=END),
            "rest": TimerStep(name="rest", seconds=5, routes=END),
            "by_model": Supervisor(name="by_model", subordinates=("rest",)),
            "by_rule": Supervisor(name="by_rule", subordinates=("rest",), dispatch_strategy="rule"),
            "by_item": Supervisor(name="by_item", subordinates=("rest",), for_each="items"),
        },
        model=ModelSpec(provider="scripted"),
        budget=BudgetSpec(session=SessionBudget(**session)) if session else None,
    )


def record(spent: Spent | None = None, **cursor: Any) -> Record:
    """Return a session that was submitted at NOW."""
    at = Cursor.model_validate({"skill": "talk", **cursor})
    return Record(
        session_id="S", app="sample", spec="d", phase="running", text="", cursor=at, created_at=NOW, spent=spent
    )


@pytest.mark.parametrize(
    ("cursor", "needs"),
    [
        ({"stage": "enter"}, {"turns", "tokens", "cost", "wall_seconds"}),
        ({"stage": "model"}, {"turns", "tokens", "cost", "wall_seconds"}),
        ({"stage": "route"}, {"wall_seconds"}),
        ({"stage": "tools", "calls": [{"call_id": "c", "tool": "s:t"}]}, {"tool_calls", "wall_seconds"}),
        ({"stage": "tools"}, {"wall_seconds"}),
        ({"skill": "by_model", "stage": "enter"}, {"turns", "tokens", "cost", "wall_seconds"}),
        ({"skill": "by_rule", "stage": "enter"}, {"wall_seconds"}),
        ({"skill": "by_item", "stage": "enter"}, {"wall_seconds"}),
        ({"skill": "rest", "stage": "enter"}, {"wall_seconds"}),
        ({"stage": "end"}, set()),
        ({"stage": "model", "stop": "cancelled"}, set()),
    ],
    ids=lambda one: str(
        sorted(one) if isinstance(one, set) else one
    ),  # a set's own order is another one in each process of a run
)
def test_a_step_needs_what_it_would_use(cursor: dict[str, Any], needs: set[str]) -> None:
    """A session out of tokens may still route and end: only what it would overdraw stops it."""
    assert next_needs(app(turns=1), record(**cursor)) == needs


def test_a_limit_stops_only_the_step_that_needs_it() -> None:
    """At the limit, not behind it: nothing is left to use."""
    budget = SessionBudget(turns=3, tool_calls=5, cost=Decimal("0.10"))
    used = used_of(Spent(turns=3, tool_calls=5, cost=Decimal("0.1")), 0)

    assert find_spent(budget, used, frozenset({"turns"})) == "turns"
    assert find_spent(budget, used, frozenset({"tool_calls"})) == "tool_calls"
    assert find_spent(budget, used, frozenset({"cost"})) == "cost"
    assert find_spent(budget, used, frozenset({"tokens", "wall_seconds"})) is None
    assert find_spent(budget, used_of(Spent(turns=2), 0), frozenset({"turns"})) is None
    assert find_near(budget, used_of(Spent(turns=2, tool_calls=4), 0), 0.8) == ("tool_calls",)


@pytest.mark.parametrize(
    ("outcome", "approver", "counts"),
    [
        ("executed", None, 1),
        ("failed", None, 1),
        ("approved", "ada", 1),
        ("timeout", None, 1),
        ("rejected", "ada", 0),
        ("timeout", "system", 0),
    ],
)
def test_a_call_that_was_not_made_is_not_counted(outcome: ToolOutcome, approver: str | None, counts: int) -> None:
    """What a person refused cost nothing."""
    call = ToolCall(call_id="c", tool="s:t", args={}, result=None, outcome=outcome, skill="talk", approver=approver)

    assert count_calls("tool_calls", (call,)) == counts
    assert count_calls("route", (call,)) == 0


def test_only_the_calls_that_are_left_are_made() -> None:
    """A model that asks for ten at once does not get ten."""
    assert calls_left(app(tool_calls=5), record(Spent(tool_calls=3))) == 2
    assert calls_left(app(tool_calls=5), record(Spent(tool_calls=7))) == 0
    assert calls_left(app(turns=5), record()) is None
    assert calls_left(app(), record()) is None
    assert calls_left(app(tool_calls=5), record(Spent(tool_calls=5), stop="cancelled")) is None


def test_time_goes_on_from_the_submission() -> None:
    """Whatever the session waits for."""
    spec = app(wall_seconds=2.5)

    assert ends_at(spec, record()) == NOW + 2500
    assert [time_is_over(spec, record(), NOW + ms) for ms in (2499, 2500)] == [False, True]
    assert not time_is_over(spec, record(stage="end"), NOW + 9999)
    assert ends_at(spec, record(stop="over_budget")) is None
    assert ends_at(app(turns=1), record()) is None


@pytest.mark.parametrize(
    ("per", "period", "previous"),
    [("hour", "2026112100", "2026112023"), ("day", "20261121", "20261120"), ("month", "202611", "202610")],
)
def test_periods_are_the_calendars(per: Any, period: str, previous: str) -> None:
    """In UTC, so that all workers count in the same one."""
    assert (period_of(per, NOW), previous_period(per, NOW)) == (period, previous)


uses = st.builds(
    Use,
    turns=st.integers(0, 9),
    tool_calls=st.integers(0, 9),
    input_tokens=st.integers(0, 10**6),
    output_tokens=st.integers(0, 10**6),
    cost=st.integers(0, 10**15).map(lambda nano: Decimal(nano) / NANO),
    ms=st.integers(0, 10**6),
)


@given(st.lists(uses))
def test_what_a_session_used_and_what_its_app_used_are_the_same(taken: list[Use]) -> None:
    """Two ways of counting, one sum: money without a rounding."""
    spent: Spent | None = None
    counts: dict[str, int] = {}
    for use in taken:
        spent = add(spent, use)
        for name, count in as_counts(use).items():
            counts[name] = counts.get(name, 0) + count

    ms = sum(use.ms for use in taken)
    assert used_by_app(counts) == used_of(spent or Spent(), ms)
