"""Tool calls: who decides about one whose outcome a crash hid, which go together, and what their ends change."""

from functools import cache

import pytest

from orchestrator.app_loader import load_app
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import StateInvalid
from orchestrator.contracts.session import Cursor, PendingCall, Record, ToolCall
from orchestrator.contracts.tool_questions import ToolQuestion
from orchestrator.kernel.calls import (
    Announce,
    Ask,
    CallPlan,
    End,
    Run,
    announce,
    ask,
    bury_escalation,
    ended,
    keep_asked,
    note_asked,
    plan_calls,
    settle_calls,
    success_outcome,
)
from orchestrator.kernel.change import Change
from tests.stage import EVERYTHING


@cache
def spec() -> AppSpec:
    """Return the test app."""
    return load_app(EVERYTHING, import_code=False)


def plan(tool: str, *, announced: bool = False, **parts: object) -> object:
    """Plan a call that was announced, by this claim or by an earlier one."""
    call = PendingCall.model_validate({"call_id": "c", "tool": f"hands:{tool}", **parts})
    cursor = Cursor(skill="start", stage="tools", calls=(call,))
    record = Record(session_id="S-1", app="everything", spec="d", phase="running", cursor=cursor)
    return plan_calls(spec(), record, {"c": call}, {"c"} if announced else (), 5)


@pytest.mark.parametrize(
    ("tool", "parts", "expected"),
    [
        ("strike", {}, Ask),
        ("strike", {"resolution": "retry"}, Announce),
        ("strike", {"resolution": "happened"}, End),
        ("strike", {"resolution": "failed"}, End),
        ("strike", {"announced": True}, Run),
        ("strike_again", {}, Announce),
        ("strike_never", {}, End),
        ("put", {"effect": "idempotent"}, Announce),
    ],
)
def test_a_call_of_which_nobody_knows_is_never_made_again_unasked(
    tool: str, parts: dict[str, object], expected: type
) -> None:
    """Only what may be repeated, or what somebody or the app said to repeat, is."""
    assert isinstance(plan(tool, **parts), expected)  # type: ignore[arg-type]


def test_what_a_person_found_out_is_the_calls_result() -> None:
    """In the person's words, or in ours where there are none."""
    told, silent = (plan("strike", resolution="happened", rationale=words) for words in ("I saw it", None))

    assert isinstance(told, End)
    assert isinstance(silent, End)
    assert told.ended[0].result == {"happened": True, "note": "I saw it"}
    assert silent.ended[0].result == {"happened": True, "note": "a person found that it was done"}


ASKED = ToolQuestion(round=1, prompt="how many?", keys=("form",))
LOOK = PendingCall(call_id="look", tool="hands:look", effect="read_only")
GUESS = PendingCall(call_id="guess", tool="hands:guess", effect="read_only")
STRIKE = PendingCall(call_id="strike", tool="hands:strike")


def holding(*calls: PendingCall, **cursor: object) -> Record:
    """Return a session with these calls in line."""
    place = Cursor.model_validate({"skill": "start", "stage": "tools", "serial": 2, "calls": calls, **cursor})
    return Record(
        session_id="S-1", app="everything", spec="d", phase="running", cursor=place, state={"plan": "x", "seen": []}
    )


def plan_line(*calls: PendingCall) -> CallPlan:
    """Plan calls of which none was announced."""
    return plan_calls(spec(), holding(*calls), {}, (), 5)


def test_calls_that_only_read_go_together_up_to_the_first_that_does_not() -> None:
    """The order in which the model asked is kept."""
    waits = GUESS.model_copy(update={"action": "approve"})
    asks = GUESS.model_copy(update={"asked": ASKED})

    assert plan_line(LOOK, GUESS, STRIKE, LOOK) == Run((LOOK, GUESS))
    assert plan_line(LOOK, waits, GUESS) == Run((LOOK,))
    assert plan_line(LOOK, asks, GUESS) == Run((LOOK,))
    assert plan_line(LOOK, waits.model_copy(update={"verdict": "approved"})) == Run(
        (LOOK, waits.model_copy(update={"verdict": "approved"}))
    )


def test_calls_that_nobody_allowed_end_at_once_and_keep_the_reason() -> None:
    """Wherever they stand in the line: the model hears of them together."""
    refused = STRIKE.model_copy(update={"call_id": "a", "verdict": "rejected", "rationale": "no", "approver": "ada"})
    late = STRIKE.model_copy(update={"call_id": "b", "verdict": "timeout", "rationale": "nobody came"})
    plan = plan_line(LOOK, refused, late)

    assert isinstance(plan, End)
    assert [(call.call_id, call.outcome, call.approver) for call in plan.ended] == [
        ("a", "rejected", "ada"),
        ("b", "timeout", None),
    ]
    assert [call.result for call in plan.ended] == [
        {"rejected": True, "rationale": "no"},
        {"timeout": True, "rationale": "nobody came"},
    ]


def test_a_tool_that_asks_is_answered_before_its_call_is_made() -> None:
    """Also where it only reads: it said that it will not act without."""
    plan = plan_line(LOOK.model_copy(update={"asked": ASKED}))

    assert isinstance(plan, Ask)
    assert (plan.wait.kind, plan.wait.prompt, plan.wait.prompt_id) == ("input", "hands:look: how many?", "look-1")


def test_an_approval_waits_for_those_who_may_and_as_long_as_the_gateway_says() -> None:
    """Without a gateway an hour, and whoever may approve at all."""
    call = STRIKE.model_copy(update={"action": "approve", "risk": "high"})
    guarded = plan_line(call)
    plain = plan_calls(
        spec().model_copy(update={"gateway": None}), holding(call.model_copy(update={"risk": None})), {}, (), 5
    )

    assert isinstance(guarded, Ask)
    assert isinstance(plain, Ask)
    assert (guarded.wait.wait_id, guarded.wait.kind, guarded.wait.since_at) == ("S-1/approve-strike", "approval", 5)
    assert (guarded.wait.roster, guarded.wait.deadline_at) == (("ada", "grace"), 3_600_005)
    assert guarded.wait.prompt == "start wants to call hands:strike (risk high)"
    assert (plain.wait.roster, plain.wait.deadline_at) == ((), 3_600_005)
    assert plain.wait.prompt == "start wants to call hands:strike (risk unrated)"


def test_an_announced_call_uses_up_the_word_to_repeat_it() -> None:
    """Should this attempt be lost as well, a person is asked again."""
    again = STRIKE.model_copy(update={"resolution": "retry"})
    change = announce(holding(again, LOOK), again)

    assert change.intents == (STRIKE,)
    assert change.record.cursor.calls == (STRIKE, LOOK)
    assert (change.record.cursor.serial, change.data, change.directive) == (3, {"announced": "strike"}, "continue")


def test_who_waits_for_a_person_says_what_for() -> None:
    """People look for sessions by it."""
    plan = plan_line(STRIKE.model_copy(update={"action": "approve"}))
    assert isinstance(plan, Ask)
    change = ask(holding(STRIKE), plan.wait)
    bare = ask(holding(STRIKE), plan.wait.model_copy(update={"call": None}))

    assert change.record.wait is not None
    assert change.record.wait.model_copy(update={"wait_id": plan.wait.wait_id}) == plan.wait
    assert change.record.wait.wait_id.startswith(f"{plan.wait.wait_id}-")
    assert (change.directive, change.step) == ("waiting", "wait")
    assert change.data == {"wait": "approval", "call": "strike"}
    assert bare.data == {"wait": "approval", "call": ""}


def test_calls_that_asked_are_kept_with_their_question_and_announced_anew() -> None:
    """They have not acted; a crash from here on is none in the middle of them."""
    asking = STRIKE.model_copy(update={"asked": ASKED})
    record = keep_asked(holding(LOOK, STRIKE), [asking])
    change = note_asked(Change(record, "tool_calls", cleared=("look",), data={"n": 1}), [asking])

    assert record.cursor.calls == (LOOK, asking)
    assert change.cleared == ("look", "strike")
    assert change.data == {"n": 1, "asked": ["strike"]}


def test_how_a_call_came_to_be_allowed_is_its_outcome() -> None:
    """Reports count the three apart."""
    noted = STRIKE.model_copy(update={"action": "notify"})

    assert success_outcome(STRIKE) == "executed"
    assert success_outcome(noted) == "executed_with_notify"
    assert success_outcome(noted.model_copy(update={"verdict": "approved"})) == "approved"


def fits(_: JsonObject) -> None:
    """Let every state pass."""


def settle(record: Record, *calls: ToolCall, **app: object) -> Change:
    """Return what the ends of calls change."""
    return settle_calls(spec().model_copy(update=app), record, calls, fits, 9)


def came(call: PendingCall, outcome: str, result: object = None) -> ToolCall:
    """Return a call with its outcome."""
    return ended(holding(call), call, outcome, result)  # type: ignore[arg-type]


def test_only_a_call_that_acted_changes_the_state() -> None:
    """What a failed one gave is no result."""
    seen = settle(holding(LOOK), came(LOOK, "executed", {"value": 4}))
    failed = settle(holding(LOOK), came(LOOK, "failed", {"value": 4}))

    assert seen.record.state == {"plan": "x", "seen": [4]}
    assert failed.record.state == {"plan": "x", "seen": []}
    assert [message.content for message in failed.messages] == ['{"value":4}']


def test_a_result_that_does_not_fit_the_state_makes_its_call_a_failed_one() -> None:
    """The others count; the model is told, and the state is as before."""

    def refuse_five(state: JsonObject) -> None:
        if 5 in state["seen"]:  # type: ignore[operator]
            raise StateInvalid("state: seen: 5 is refused; give another")

    calls = [came(LOOK.model_copy(update={"call_id": f"l{n}"}), "executed", {"value": n}) for n in (4, 5, 6)]
    record = holding(*(LOOK.model_copy(update={"call_id": f"l{n}"}) for n in (4, 5, 6)))
    change = settle_calls(spec(), record, calls, refuse_five, 9)

    assert change.record.state["seen"] == [4, 6]
    assert [call.outcome for call in change.calls] == ["executed", "failed", "executed"]
    assert change.calls[1].result == {"error": "state: seen: 5 is refused; give another"}
    assert change.cleared and set(change.cleared) == {"l4", "l5", "l6"}


def test_an_escalation_that_was_not_made_is_made_anew_by_whoever_sends_the_session_again() -> None:
    """The call that was denied, or found not to have acted, is no longer in line; the session is still to be handed over."""
    record = holding(STRIKE, stop="escalated")
    change = bury_escalation(record, [came(STRIKE, "rejected", {"rejected": True, "rationale": "not today"})])

    assert (change.directive, change.cleared, [call.outcome for call in change.calls]) == (
        "dead",
        (STRIKE.call_id,),
        ["rejected"],
    )
    assert "not today" in change.detail
    cursor = change.record.cursor
    assert (cursor.stop, cursor.stage, cursor.calls) == ("escalated", "tools", ())
    assert cursor.serial == record.cursor.serial + 1


def test_a_line_is_worked_off_and_then_the_model_goes_on() -> None:
    """A session that was asked to stop does not."""
    half = settle(holding(LOOK, STRIKE, failures=2), came(LOOK, "executed"))
    done = settle(holding(LOOK), came(LOOK, "executed"))
    stopped = settle(holding(LOOK, stop="escalated"), came(LOOK, "executed"))

    assert (half.record.cursor.stage, half.record.cursor.calls, half.directive) == ("tools", (STRIKE,), "continue")
    assert (half.record.cursor.failures, half.record.cursor.serial) == (0, 3)
    assert (done.record.cursor.stage, done.directive) == ("model", "continue")
    assert (stopped.record.cursor.stage, stopped.directive) == ("end", "finalizing")


@pytest.mark.parametrize(
    ("outcome", "signal", "directive"), [("executed", None, "continue"), ("failed", "failed", "finalizing")]
)
def test_a_plain_tool_step_leaves_by_how_its_call_ended(outcome: str, signal: str | None, directive: str) -> None:
    """No model is there to make something of a failure; an agent's is told and decides itself."""
    step = settle(holding(LOOK, skill="plain_tool"), came(LOOK, outcome))
    agent = settle(holding(LOOK), came(LOOK, outcome))

    assert step.directive == directive
    assert step.record.cursor.skill == ("plain_tool" if signal else "last")
    assert step.record.cursor.signal == signal
    assert (agent.record.cursor.stage, agent.record.cursor.signal) == ("model", None)


@pytest.mark.parametrize(("outcome", "signal"), [("executed", None), ("failed", "failed")])
def test_a_monitor_judges_what_it_saw_and_knows_that_it_saw_nothing(outcome: str, signal: str | None) -> None:
    """It goes on to its judgement in any case."""
    gauge = PendingCall(call_id="g", tool="hands:gauge", effect="read_only")
    change = settle(holding(gauge, skill="watch"), came(gauge, outcome))

    assert (change.record.cursor.stage, change.record.cursor.signal) == ("model", signal)
