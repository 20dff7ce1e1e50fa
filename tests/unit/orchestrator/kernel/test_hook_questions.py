"""A hook's question as a wait: what it shows, who may answer, what it is bound to, and what the answer leaves."""

import pytest

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.hook_result import HookResult
from orchestrator.contracts.hooks import Asked, HookMemory, HookSpec
from orchestrator.contracts.session import Cursor, PendingCall, Post, Record, Wait, args_digest
from orchestrator.kernel.approval import Denied, Granted, Stray, check_decision
from orchestrator.kernel.delivery import deliver
from orchestrator.kernel.hook_effects import Question, choose_verdict, choose_verdict_on_timeout
from orchestrator.kernel.hook_questions import answer_question, denial_reason, hook_wait

SPEC = AppSpec.model_validate(
    {
        "name": "a",
        "entry_skill": "s",
        "skills": {"s": {"kind": "timer", "name": "s", "seconds": 1}},
        "gateway": {"approvers": ["ada"]},
    }
)
CALL = PendingCall(call_id="call-3-0", tool="srv:close", args={"n": 1})
HOOK = HookSpec(call="policy.py:guard", event="tool:pre")
MEMORY = HookMemory(asked=Asked(point="tool:pre/call-3-0", event="tool:pre", hook="guard"))
RECORD = Record(session_id="S-1", app="a", spec="d", phase="running", cursor=Cursor(skill="s", serial=7), hooks=MEMORY)


def ask(call: PendingCall | None = CALL, hook: HookSpec = HOOK, **answer: object) -> Wait:
    """Return the wait for a hook's question."""
    result = HookResult.model_validate({"action": "ask_user", **answer})
    return hook_wait(SPEC, RECORD, result, hook, event="tool:pre", call=call, now=1_000)


def say(wait: Wait, **changes: object) -> Post:
    """Return a grant of this wait."""
    given = {"post_id": "p", "kind": "decision", "actor": "ada", "verdict": "allow", "digest": wait.digest}
    return Post.model_validate({"wait_id": wait.wait_id, **given, **changes})


def test_a_question_shows_the_call_as_it_would_be_made() -> None:
    """And is bound to it; where the hook says nothing, the known words stand."""
    wait = ask()

    assert (wait.kind, wait.hook, wait.reason, wait.call) == ("approval", "guard", "tool:pre", CALL)
    assert (wait.prompt, wait.options, wait.default) == ("Allow this operation?", ("Allow", "Deny"), "deny")
    assert (wait.deadline_at, wait.digest) == (301_000, args_digest("srv:close", {"n": 1}))


@pytest.mark.parametrize(("seconds", "deadline"), [(-5, 1_000), (0, 1_000), (2, 3_000), (1e12, 1_000 + 2_592_000_000)])
def test_a_deadline_is_one_that_the_store_can_keep(seconds: float, deadline: int) -> None:
    """Below zero is over at once; the end of time is thirty days."""
    assert ask(approval_timeout=seconds).deadline_at == deadline


def test_long_words_are_cut_before_they_are_bound() -> None:
    """A record is no place for a novel, and what is cut must still be what was shown."""
    wait = ask(None, approval_prompt="x" * 9_000, approval_options=["y" * 200] * 40)

    assert (len(wait.prompt), len(wait.options), len(wait.options[0])) == (4_000, 16, 80)
    assert isinstance(check_decision(wait, say(wait)), Granted)


def test_the_hooks_own_approvers_go_before_the_gateways() -> None:
    """Who may decide about a policy is the policy's to say."""
    assert ask().roster == ("ada",)
    assert ask(hook=HOOK.model_copy(update={"approvers": ("grace",)})).roster == ("grace",)


@pytest.mark.parametrize("call", [CALL, None], ids=["a call", "another event"])
def test_an_answer_is_bound_to_what_was_shown(call: PendingCall | None) -> None:
    """Other arguments, another person, another wait: stray. Denying needs no digest."""
    wait = ask(call)

    assert isinstance(check_decision(wait, say(wait)), Granted)
    assert check_decision(wait, say(wait, digest="0" * 16)) == Stray(reason="other_arguments")
    assert check_decision(wait, say(wait, actor="mallory")) == Stray(reason="not_on_roster")
    assert check_decision(wait, say(wait, wait_id="S-1/hook-6")) == Stray(reason="other_wait")
    assert isinstance(check_decision(wait, say(wait, verdict="yes", digest="")), Denied)


@pytest.mark.parametrize(
    ("answer", "verdict", "actor"),
    [
        ({"verdict": "Allow Once"}, "allowed", "ada"),
        ({"verdict": "deny"}, "denied", "ada"),
        (None, "expired", "system"),
    ],
)
def test_the_answer_is_left_for_the_step(answer: dict[str, object] | None, verdict: str, actor: str) -> None:
    """Whoever goes on finds it in the memory; the wait is over."""
    wait = ask()
    waiting = RECORD.model_copy(update={"wait": wait})
    posts = () if answer is None else (say(wait, **answer),)

    after = deliver(SPEC, waiting, posts, 5_000 if answer else 400_000).record

    assert after.wait is None
    assert after.hooks is not None
    assert after.hooks.asked is not None
    assert (after.hooks.asked.verdict, after.hooks.asked.actor) == (verdict, actor)


def test_silence_is_what_the_hook_says_it_is() -> None:
    """A question whose default allows is allowed when its time is over."""
    waiting = RECORD.model_copy(update={"wait": ask(approval_default="allow")})

    after = deliver(SPEC, waiting, (), 400_000).record

    assert after.hooks is not None
    assert after.hooks.asked is not None
    assert after.hooks.asked.verdict == "allowed"


def test_allow_always_is_remembered_with_the_answer() -> None:
    """In the same commit: there is no moment in which one is known without the other."""
    wait = ask()

    delivery = deliver(SPEC, RECORD.model_copy(update={"wait": wait}), (say(wait, verdict="allow always"),), 5_000)

    assert delivery.record.hooks is not None
    assert [grant.asked_by for grant in delivery.record.hooks.grants] == ["hook:guard@tool:pre"]
    assert delivery.notes[0]["remembered"] == "allowed always"


def test_a_denial_reads_the_same_with_and_without_a_wait() -> None:
    """A model need not know whether the person sat at the terminal or was asked across several processes."""
    question = Question("x" * 999, (), 5.0, "deny")

    assert denial_reason(question.prompt, "denied") == choose_verdict(question, "deny").reason
    assert denial_reason(question.prompt, "expired") == choose_verdict_on_timeout(question).reason


def test_an_answer_without_a_question_ends_the_wait() -> None:
    """Whatever the memory has lost, nobody waits for ever."""
    bare = RECORD.model_copy(update={"hooks": None, "wait": ask()})

    assert answer_question(bare, "allowed", actor="ada", rationale="").wait is None


def test_what_asks_nothing_is_refused() -> None:
    """A wait without a question would be a defect of the caller's."""
    with pytest.raises(ValueError, match="asks nothing"):
        hook_wait(SPEC, RECORD, HookResult(), HOOK, event="tool:pre", call=None, now=0)
