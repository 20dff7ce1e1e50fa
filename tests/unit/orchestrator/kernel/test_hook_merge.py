"""One answer of many."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.contracts.hook_result import HookResult
from orchestrator.kernel.hook_merge import JOINT, NOTHING, choose_result, fold_result, fold_results, merge_injections

OWN = {"own": True}
DENY = HookResult(action="deny", reason="no", data={"kept": 1}, user_message="shown")
ASK = HookResult(action="ask_user", approval_prompt="one")
ASK_AGAIN = HookResult(action="ask_user", approval_prompt="two")
INJECT = HookResult(action="inject_context", context_injection="A", user_message="um", reason="why")
MODIFY = HookResult(action="modify", data={"m": 1})

results = st.builds(
    HookResult,
    action=st.sampled_from(["continue", "deny", "modify", "inject_context", "ask_user"]),
    data=st.none() | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    reason=st.none() | st.text(max_size=2),
    context_injection=st.none() | st.text(max_size=3),
    context_injection_role=st.sampled_from(["system", "user", "assistant"]),
    ephemeral=st.booleans(),
    suppress_output=st.booleans(),
    user_message=st.none() | st.text(max_size=2),
    append_to_last_tool_result=st.booleans(),
)
injections = results.filter(lambda result: result.context_injection is not None).map(
    lambda result: result.model_copy(update={"action": "inject_context"})
)


def fold(*given: HookResult) -> HookResult:
    """Fold these over the event's own data."""
    return fold_results(given, OWN)


@pytest.mark.parametrize("others", [(), (ASK,), (INJECT, MODIFY), (ASK, INJECT, MODIFY)])
def test_a_denial_beats_everything_as_it_is(others: tuple[HookResult, ...]) -> None:
    """Nobody can be talked over."""
    assert fold(*others, DENY) is DENY
    assert fold(DENY, *others) is DENY


def test_the_first_question_is_asked_and_what_would_be_injected_is_lost() -> None:
    """An injection must never take the place of a question: that would bypass the approval."""
    assert fold(INJECT, MODIFY, ASK, ASK_AGAIN, INJECT) is ASK


def test_one_injection_is_passed_on_as_it_is() -> None:
    """Its message is shown too."""
    assert fold(MODIFY, INJECT) is INJECT


def test_several_injections_become_one() -> None:
    """None of the texts is lost; how they are shown is the first one's to say."""
    first = HookResult(
        action="inject_context",
        context_injection="B",
        context_injection_role="user",
        ephemeral=True,
        suppress_output=True,
    )
    last = HookResult(action="inject_context", context_injection="", append_to_last_tool_result=True)

    assert fold(first, INJECT, last) == HookResult(
        action="inject_context",
        context_injection="B\n\nA\n\n",
        context_injection_role="user",
        ephemeral=True,
        suppress_output=True,
        append_to_last_tool_result=True,
    )


@pytest.mark.parametrize(
    ("given_", "data"),
    [
        ((), OWN),
        ((HookResult(data={"x": 1}, user_message="lost"),), OWN),
        ((MODIFY,), {"m": 1}),
        ((MODIFY, HookResult(action="modify", data={"n": 2})), {"n": 2}),
        ((MODIFY, HookResult(action="modify")), {"m": 1}),
        ((HookResult(action="modify", data={}),), {}),
        ((HookResult(action="inject_context"),), OWN),
    ],
)
def test_otherwise_it_goes_on_with_the_data(given_: tuple[HookResult, ...], data: dict[str, Any]) -> None:
    """Changed data replaces all of it, later over earlier; nothing else of these answers is kept."""
    assert fold(*given_) == HookResult(data=data)


RANK = {"deny": 0, "ask_user": 1, "inject_context": 2, "continue": 3}


@settings(deadline=None)
@given(st.lists(results, max_size=6))
def test_the_strongest_action_wins_and_it_is_never_modify(given_: list[HookResult]) -> None:
    """deny > ask_user > inject_context > modify > continue, whatever the order."""
    acting = [r for r in given_ if r.action != "inject_context" or r.context_injection is not None]
    actions = {"continue", *(r.action for r in acting if r.action != "modify")}

    assert fold(*given_).action == min(actions, key=RANK.__getitem__)


@settings(deadline=None)
@given(st.lists(results, max_size=4), st.lists(results, max_size=4))
def test_nothing_after_a_denial_counts(before: list[HookResult], after: list[HookResult]) -> None:
    """A process that folds on, because it had begun already, comes to the same."""
    assert fold(*before, DENY, *after) == fold(*before, DENY)


@settings(deadline=None)
@given(st.lists(results, max_size=6))
def test_folding_step_by_step_is_folding_at_once(given_: list[HookResult]) -> None:
    """What has been collected can be kept between steps."""
    collected = NOTHING
    for result in given_:
        collected = fold_result(collected, result)

    assert choose_result(collected, OWN) == fold(*given_)


@settings(deadline=None)
@given(st.lists(injections, min_size=1, max_size=5), st.data())
def test_merging_is_associative(given_: list[HookResult], data: st.DataObject) -> None:
    """Groups of hooks may be merged by themselves first."""
    cut = data.draw(st.integers(min_value=1, max_value=len(given_)))

    merged = merge_injections([merge_injections(given_[:cut]), *given_[cut:]])

    assert merged == merge_injections(given_)
    assert merged.context_injection == JOINT.join(result.context_injection or "" for result in given_)
