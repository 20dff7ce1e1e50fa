"""How a session ends."""

from typing import cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts.app import AppSpec, StatusDef, TerminalRule
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.session import SUCCESSFUL, ToolCall, ToolOutcome
from orchestrator.kernel.terminal import (
    choose_rule,
    extract,
    keep_terminal_call,
    matches,
    settle,
    settle_escalated,
    settle_over_budget,
    settle_stopped,
)

YES = TerminalRule(tool_name="say", status="accepted", match_args={"word": "yes"})
NO = TerminalRule(tool_name="say", status="turned_down", match_args={"word": "no"})
ANY = TerminalRule(tool_name="say", status="unclear")


def said(word: str, *, outcome: ToolOutcome = "executed", call_id: str = "c") -> ToolCall:
    """Build a call of `say`."""
    return ToolCall(call_id=call_id, tool="srv:say", args={"word": word}, outcome=outcome)


def app(*rules: TerminalRule, **fields: object) -> AppSpec:
    """Build an app with these rules."""
    return AppSpec.model_validate(
        {"name": "demo", "entry_skill": "first", "skills": {}, "terminal_tools": rules, **fields}
    )


def test_the_latest_call_decides() -> None:
    """An agent that changes its mind ends with what it said last."""
    calls = [said("yes", call_id="1"), said("no", call_id="2")]

    assert choose_rule([YES, NO], calls) == (1, calls[1])


def test_the_narrow_rule_goes_first() -> None:
    """Within a call the app's own order decides."""
    assert choose_rule([YES, ANY], [said("yes")]) == (0, said("yes"))
    assert choose_rule([ANY, YES], [said("yes")]) == (0, said("yes"))


@pytest.mark.parametrize("outcome", get_args(ToolOutcome))
def test_only_a_call_that_acted_counts(outcome: ToolOutcome) -> None:
    """A rejected or failed call changed nothing in the world, so it cannot end a session."""
    assert matches(YES, said("yes", outcome=outcome)) is (outcome in SUCCESSFUL)


def test_a_settlement_says_what_decided() -> None:
    """`baton explain` shows the rule and the call."""
    rule = TerminalRule(tool_name="say", status="passed_on", extract_fields={"who": ("args.word",)})
    statuses = {"passed_on": StatusDef(kind="escalation", mirrors={"owner": "who", "team": "nobody"})}

    settlement = settle(rules=[rule], statuses=statuses, default_status=None, calls=[said("ann", call_id="c7")])

    assert settlement is not None
    assert settlement.fields == {"who": "ann", "owner": "ann"}
    assert (settlement.rule, settlement.reason, settlement.call_id) == (0, "rule", "c7")


def test_the_default_settles_without_a_rule() -> None:
    """A session whose agents ended nothing still ends, with the app's word for that."""
    settlement = settle(rules=[YES], statuses={}, default_status="unclear", calls=[said("no")])

    assert settlement is not None
    assert (settlement.status, settlement.fields, settlement.rule, settlement.reason) == (
        "unclear",
        {},
        None,
        "default",
    )


@pytest.mark.parametrize("status", ["accepted", "unclear", "anything", ""])
def test_a_settled_session_is_never_settled_again(status: str) -> None:
    """The finalizer may be delivered twice."""
    spec = app(YES, default_terminal_status="unclear", cancelled_status="called_off")

    settlements = [
        settle(rules=[YES], statuses={}, default_status="unclear", calls=[said("yes")], settled_as=status),
        settle_escalated(spec, "a", status),
        settle_stopped(spec, status),
        settle_over_budget(spec, status),
    ]

    assert settlements == [None] * 4


def test_a_field_without_a_value_is_left_out() -> None:
    """An absent field and a null one would be two ways to say the same."""
    rule = TerminalRule(tool_name="say", status="s", extract_fields={"a": ("args.x", "result.x"), "b": ()})

    assert extract(rule, said("yes")) == {}


def test_a_stopped_session_takes_the_apps_word_for_it() -> None:
    """The runtime has no word of its own for how a session ended."""
    stopped = [
        settle_stopped(app(cancelled_status=own, default_terminal_status=default))
        for own, default in (("called_off", "unclear"), (None, "unclear"), (None, None))
    ]

    assert [s and (s.status, s.reason) for s in stopped] == [("called_off", "stop"), ("unclear", "stop"), None]


def test_an_escalation_without_rule_and_default_changes_nothing() -> None:
    """An app that says nothing about an end is not given one."""
    assert settle_escalated(app(escalate_action_tool_name="say"), "a") is None


words = st.sampled_from(["yes", "no", "hm"])
call_lists = st.lists(
    st.builds(
        lambda tool, word, outcome, serial: ToolCall(
            call_id=str(serial), tool=tool, args=cast("JsonObject", {"word": word}), outcome=outcome
        ),
        st.sampled_from(["say", "srv:say", "x:srv:say", "other"]),
        words,
        st.sampled_from(get_args(ToolOutcome)),
        st.integers(0, 10**6),
    ),
    max_size=6,
)
rule_lists = st.lists(
    st.builds(
        lambda tool, match: TerminalRule(tool_name=tool, status="s", match_args={"word": match} if match else {}),
        st.sampled_from(["say", "srv:say", "other"]),
        st.one_of(st.none(), words),
    ),
    max_size=4,
)


@given(rule_lists, st.lists(call_lists, max_size=5))
def test_the_kept_call_decides_as_all_calls_would(rules: list[TerminalRule], steps: list[list[ToolCall]]) -> None:
    """The record holds one call however long the session; it has to end the same."""
    kept: ToolCall | None = None
    for step in steps:
        kept = keep_terminal_call(app(*rules), kept, step)

    everything = [call for step in steps for call in step]
    assert choose_rule(rules, [kept] if kept else []) == choose_rule(rules, everything)


def test_a_spent_budget_ends_with_its_own_word_or_the_apps_default() -> None:
    """Never with that of a cancelled session: nobody called it off."""
    found = [
        settle_over_budget(app(budget=budget, default_terminal_status=default, cancelled_status="called_off"))
        for budget, default in (({"status": "broke"}, "unclear"), ({}, "unclear"), (None, "unclear"), ({}, None))
    ]

    assert [one and (one.status, one.reason) for one in found] == [
        ("broke", "budget"),
        ("unclear", "budget"),
        ("unclear", "budget"),
        None,
    ]
