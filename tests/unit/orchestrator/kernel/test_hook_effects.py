"""What each answer does, as plans."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.contracts.errors import InjectionRefused
from orchestrator.contracts.hook_result import HookResult
from orchestrator.kernel.approval import is_granted
from orchestrator.kernel.hook_effects import (
    Limits,
    Question,
    choose_verdict,
    choose_verdict_on_timeout,
    hides_output,
    plan_injection,
    plan_notice,
    plan_question,
    read_limit,
    to_message,
    wants_injection,
)

AT = datetime(2030, 1, 2, tzinfo=UTC)
INJECT = HookResult(action="inject_context", context_injection="text", context_injection_role="user")
OTHERS = ("continue", "deny", "modify", "inject_context")


@pytest.mark.parametrize(("value", "limit"), [(None, None), (0, 0), (7, 7), (True, 1)])
def test_a_limit_is_an_integer_or_none(value: object, limit: int | None) -> None:
    """None is no limit; 0 is one."""
    assert read_limit(value) == limit


@pytest.mark.parametrize(("value", "error"), [("4", TypeError), (4.0, TypeError), (-1, OverflowError)])
def test_a_limit_that_is_none_stops_everything(value: object, error: type[Exception]) -> None:
    """A limit that cannot be read must not be no limit."""
    with pytest.raises(error):
        read_limit(value)


@pytest.mark.parametrize(
    ("result", "wants"),
    [
        (INJECT, True),
        (HookResult(action="inject_context"), False),
        (HookResult(action="inject_context", context_injection=""), False),
        (HookResult(context_injection="text"), False),
        (HookResult(action="ask_user", context_injection="text"), False),
    ],
)
def test_only_inject_context_with_a_text_injects(result: HookResult, wants: bool) -> None:
    """A text beside another action is ignored."""
    assert wants_injection(result) is wants


@settings(deadline=None)
@given(st.text(max_size=40), st.none() | st.integers(0, 40), st.none() | st.integers(0, 10), st.integers(0, 10))
def test_an_injection_fits_or_is_refused(text: str, size: int | None, budget: int | None, spent: int) -> None:
    """The size is a wall, the budget a warning; four code points count as a token."""
    if size is not None and len(text) > size:
        with pytest.raises(ValueError, match=f"^Context injection exceeds {size} characters$"):
            plan_injection(INJECT, text, Limits(size, budget), spent)
        return
    plan = plan_injection(INJECT, text, Limits(size, budget), spent)

    assert (plan.content, plan.tokens) == (text, len(text) // 4)
    assert plan.is_over_budget is (budget is not None and spent + len(text) // 4 > budget)


def test_the_size_is_counted_in_code_points() -> None:
    """A limit means the same in every script."""
    assert plan_injection(INJECT, "漢字😀漢", Limits(4), 0).tokens == 1
    with pytest.raises(InjectionRefused):
        plan_injection(INJECT, "漢字😀漢字", Limits(4), 0)


def test_a_message_says_where_it_came_from() -> None:
    """Whoever reads the context can tell a hook's words from a person's."""
    message = to_message(plan_injection(INJECT, "text", Limits(), 0), hook_name="audit", event="tool:pre", at=AT)

    assert message == {
        "role": "user",
        "content": "text",
        "metadata": {
            "source": "hook",
            "hook_name": "audit",
            "event": "tool:pre",
            "timestamp": "2030-01-02T00:00:00.000000+00:00",
        },
    }


@pytest.mark.parametrize("action", OTHERS)
@pytest.mark.parametrize(("source", "shown"), [(None, "hook:audit"), ("src", "hook:src"), ("", "hook:")])
def test_a_message_is_shown_with_every_action_but_a_question(action: Any, source: str | None, shown: str) -> None:
    """A denial may say why; a question speaks for itself."""
    text = {"user_message": "m", "user_message_level": "error", "user_message_source": source}

    assert plan_notice(HookResult(action=action, **text), "audit") == ("m", "error", shown)
    assert plan_notice(HookResult(action="ask_user", **text), "audit") is None


@pytest.mark.parametrize("action", [*OTHERS, "ask_user"])
def test_an_empty_message_is_none(action: Any) -> None:
    """There is nothing to show."""
    assert plan_notice(HookResult(action=action, user_message=""), "audit") is None


def test_output_is_hidden_except_for_a_question() -> None:
    """A person has to see what he is asked."""
    assert hides_output(HookResult(suppress_output=True))
    assert not hides_output(HookResult(action="ask_user", suppress_output=True))


@pytest.mark.parametrize(
    ("fields", "question"),
    [
        ({}, Question("Allow this operation?", ("Allow", "Deny"), 300.0, "deny")),
        ({"approval_prompt": "", "approval_options": []}, Question("", (), 300.0, "deny")),
        (
            {"approval_prompt": "p", "approval_options": ["Yes"], "approval_timeout": -5, "approval_default": "allow"},
            Question("p", ("Yes",), -5.0, "allow"),
        ),
    ],
)
def test_a_question_is_the_hooks_or_the_usual_one(fields: dict[str, Any], question: Question) -> None:
    """Only what is missing is filled in; what is empty was meant."""
    assert plan_question(HookResult(action="ask_user", **fields)) == question


@pytest.mark.parametrize("action", OTHERS)
def test_no_other_action_asks(action: Any) -> None:
    """A prompt beside another action is ignored."""
    assert plan_question(HookResult(action=action, approval_prompt="p")) is None


@settings(deadline=None)
@given(st.text() | st.sampled_from(["allow", "Allow Once", "ALLOW ALWAYS", "deny", " allow", "allow  once"]))
def test_a_reply_grants_only_by_the_one_vocabulary(reply: str) -> None:
    """There is no second list of words, and the options that were shown are none either."""
    question = Question("p" * 201, (reply,), 5.0, "allow")

    verdict = choose_verdict(question, reply)

    denied = HookResult(action="deny", reason="User denied: " + "p" * 200 + "...[truncated]")
    assert verdict == (HookResult() if is_granted(reply) else denied)


def test_silence_is_answered_by_the_questions_default() -> None:
    """Whoever asked knows what is safe."""
    allowed = choose_verdict_on_timeout(Question("p", (), 5.0, "allow"))
    denied = choose_verdict_on_timeout(Question("p", (), 5.0, "deny"))

    assert allowed == HookResult()
    assert denied == HookResult(action="deny", reason="Approval timeout - denied by default: p")
