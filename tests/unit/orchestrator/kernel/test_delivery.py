"""What posts and deadlines do to a session: the table that every answer of a person goes through."""

from functools import cache

import pytest

from orchestrator.app_loader import load_app
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.plugins import PromptField
from orchestrator.contracts.session import Cursor, PendingCall, Post, Record, Wait, args_digest
from orchestrator.contracts.tool_questions import ToolQuestion
from orchestrator.kernel.delivery import KEPT_SIGNALS, Delivery, deliver
from tests.stage import EVERYTHING

NOW = 1_000
CALL = PendingCall(call_id="c", tool="hands:danger", args={"n": 1})
OTHER = PendingCall(call_id="other", tool="hands:look")
DIGEST = args_digest(CALL.tool, CALL.args)


@cache
def spec() -> AppSpec:
    """Return the test app."""
    return load_app(EVERYTHING, import_code=False)


def session(wait: Wait | None = None, **cursor: object) -> Record:
    """Return a session that waits."""
    at = Cursor(skill="start", **{"stage": "tools", "calls": (CALL, OTHER), **cursor})  # type: ignore[arg-type]
    return Record(session_id="S-20260101-001", app="everything", spec="d", phase="running", cursor=at, wait=wait)


def wait(kind: str = "input", **parts: object) -> Wait:
    """Return a wait for a person."""
    return Wait.model_validate({"wait_id": "w", "kind": kind, **parts})


def post(kind: str = "input", **parts: object) -> Post:
    """Return a post by ada to that wait."""
    return Post.model_validate({"post_id": "p", "kind": kind, "actor": "ada", "wait_id": "w", **parts})


def told(done: Delivery) -> str:
    """Return what the last note says."""
    return str(done.notes[-1]["what"])


APPROVAL = wait("approval", call=CALL, digest=DIGEST)
UNCERTAIN = wait("uncertain", call=CALL, digest=DIGEST)
GATE = wait(gate=True, target="last", options=["resume_with_input", "escalate", "stop"])
TOOL = wait(prompt_id="c-1", call=CALL, digest=DIGEST, fields=[PromptField(id="rows", type="integer")])
PROMPT = wait(prompt_id="q", fields=[PromptField(id="rows", type="integer")])


@pytest.mark.parametrize(
    ("asked", "said", "what"),
    [
        (None, post("input", text="x"), "ignored: the session waits for nothing"),
        (wait("timer"), post("input", text="x"), "ignored: the session waits for timer"),
        (wait("timer"), post("decision"), "ignored: the session waits for timer"),
        (wait(), post("decision", verdict="x"), "ignored: the session waits for input"),
        (APPROVAL, post("input", text="x"), "ignored: the session waits for an approval"),
        (APPROVAL, post("decision", verdict="allow", digest=DIGEST), "approved"),
        (APPROVAL, post("decision", verdict="deny"), "rejected"),
        (APPROVAL, post("decision", verdict="allow", digest="x"), "refused: other_arguments"),
        (UNCERTAIN, post("decision", verdict="retry"), "retry"),
        (UNCERTAIN, post("decision", verdict="happened"), "happened"),
        (UNCERTAIN, post("decision", verdict="failed"), "failed"),
        (UNCERTAIN, post("decision", verdict="maybe"), "refused: say one of retry, happened, failed"),
        (UNCERTAIN, post("decision", verdict="retry", wait_id="v"), "refused: it does not answer this question"),
        (UNCERTAIN, post("input", text="retry"), "refused: it does not answer this question"),
        (wait("uncertain"), post("decision", verdict="retry"), "refused: it does not answer this question"),
        (wait(), post("input", text=" \n"), "refused: the input is blank"),
        (wait(), post("input", value=""), "refused: the input is blank"),
        (wait(), post("input", text="x", wait_id="v"), "refused: it does not answer this question"),
        (wait(roster=["grace"]), post("input", text="x"), "refused: it does not answer this question"),
        (wait(), post("input", text="x"), "answered"),
        (wait(), post("input", value=0), "answered"),
        (GATE, post("input", text="x"), "resumed"),
        (GATE, post("decision", verdict="stop"), "stopped"),
        (GATE, post("decision", verdict="stpo"), "refused: wait w: unknown action 'stpo'; did you mean 'stop'?"),
        (TOOL, post("input", text="7"), "answered"),
        (TOOL, post("decision", verdict="stop"), "rejected"),
        (TOOL, post("decision", verdict="go"), "refused: answer the fields, or say stop"),
        (TOOL, post("input", text="seven"), "refused: field 'rows': 'seven' does not fit; give a whole number"),
        (GATE, post("escalate", team="day"), "escalated"),
        (PROMPT, post("input", text="7"), "answered"),
        (PROMPT, post("decision", verdict="stop"), "aborted"),
        (PROMPT, post("decision", verdict="go"), "refused: answer the fields, or say stop"),
        (PROMPT, post("input", text="7", wait_id="v"), "refused: it does not answer this question"),
        (PROMPT, post("signal", name="x"), "kept for later"),
        (PROMPT, post("escalate"), "refused: it does not answer this question"),
    ],
)
def test_a_post_does_what_the_wait_allows(asked: Wait | None, said: Post, what: str) -> None:
    """Every post is noted, taken, and either resolves the wait or leaves it as it is."""
    done = deliver(spec(), session(asked), [said], NOW)

    assert (told(done), done.taken) == (what, 1)
    assert (done.record.wait == asked) is (what.startswith(("refused", "ignored", "kept")))


@pytest.mark.parametrize("said", [post("input", text=" "), post("decision", verdict="maybe")])
def test_a_refused_answer_is_asked_for_again(said: Post) -> None:
    """A copy of the wait makes the store accept another answer: the same object would count as answered."""
    asked = wait()
    done = deliver(spec(), session(UNCERTAIN if said.kind == "decision" else asked), [said], NOW)

    assert done.record.wait is not asked
    assert done.record.wait is not UNCERTAIN


def test_a_verdict_is_written_on_the_call_in_question_alone() -> None:
    """Another call of the same turn keeps its own question."""
    said = post("decision", verdict="allow", digest=DIGEST, text="fine")
    first, other = deliver(spec(), session(APPROVAL), [said], NOW).record.cursor.calls

    assert (first.verdict, first.approver, first.rationale) == ("approved", "ada", "fine")
    assert other == OTHER
    assert deliver(spec(), session(APPROVAL), [post("decision", verdict="deny")], NOW).record.cursor.calls[0].rationale


def test_what_a_person_found_out_is_written_on_that_call_alone() -> None:
    """The finaliser counts what happened, and nothing beside it."""
    said = post("decision", verdict="happened", text="I looked")
    first, other = deliver(spec(), session(UNCERTAIN), [said], NOW).record.cursor.calls

    assert (first.resolution, first.approver, first.rationale) == ("happened", "ada", "I looked")
    assert other == OTHER


def test_an_input_goes_into_the_state_and_the_context() -> None:
    """A value that is no text is shown to the model as text, and stays a value in the state."""
    done = deliver(spec(), session(wait(into="answer"), signal="one"), [post("input", value=7)], NOW)

    assert (done.record.state, done.messages[0].content) == ({"answer": 7}, "7")
    assert (done.record.cursor.stage, done.record.cursor.signal) == ("route", None)
    assert deliver(spec(), session(wait()), [post("input", text="x")], NOW).record.state == {}


def test_what_is_said_at_a_gate_is_said_to_the_skill_that_it_leads_to() -> None:
    """Whoever reads the context, or prunes it by skill, finds the words where they count; a plain gate leads nowhere else."""
    skills = [
        deliver(spec(), session(at), [post("input", text="go")], NOW).messages[0].skill
        for at in (GATE, GATE.model_copy(update={"target": None}))
    ]

    assert skills == ["last", "start"]


def test_a_gate_leads_to_its_target_or_to_a_team() -> None:
    """What was asked for goes on in the skill that the gate names."""
    resumed = deliver(spec(), session(GATE), [post("input", value={"a": 1})], NOW)
    escalated = deliver(spec(), session(GATE), [post("escalate", team="day", text="help")], NOW).record

    assert (resumed.record.cursor.skill, resumed.messages[0].content) == ("last", '{"a":1}')
    assert deliver(spec(), session(GATE), [post("input", value="go")], NOW).messages[0].content == "go"
    assert (escalated.cursor.stop, escalated.cursor.calls) == ("escalated", ())
    assert escalated.fields["escalated"] == {"team": "day", "by": "ada", "reason": "help"}


def test_signals_wait_for_who_waits_for_them() -> None:
    """The newest are kept, and the journal names the one that had to go."""
    many = [post("signal", name=f"s{number}") for number in range(KEPT_SIGNALS + 1)]
    done = deliver(spec(), session(), many, NOW)

    assert done.record.cursor.signals == tuple(f"s{number}" for number in range(1, KEPT_SIGNALS + 1))
    assert "dropped" not in done.notes[-2]
    assert done.notes[-1]["dropped"] == "s0"
    signalled = deliver(spec(), session(wait("signal", signal="go")), [post("signal", name="go")], NOW)
    assert (told(signalled), signalled.record.wait, signalled.record.cursor.stage) == ("signalled", None, "route")


@pytest.mark.parametrize(
    ("asked", "verdict", "what"),
    [(UNCERTAIN, "failed", "failed"), (APPROVAL, "allow", "approved"), (None, "x", "ignored")],
)
def test_what_is_asked_about_the_call_of_an_escalation_is_answered(asked: Wait | None, verdict: str, what: str) -> None:
    """The session has been handed over, but nobody has heard of it yet: it would wait for ever. Nothing else reaches it."""
    done = deliver(spec(), session(asked, stop="escalated"), [post("decision", verdict=verdict, digest=DIGEST)], NOW)

    assert (told(done).partition(":")[0], done.record.wait) == (what, None)
    assert (done.record.cursor.stop, done.record.cursor.stage) == ("escalated", "tools")


@pytest.mark.parametrize(("stage", "stop"), [("end", None), ("tools", "stopped"), ("tools", "cancelled")])
def test_nothing_but_a_cancel_reaches_a_session_whose_work_is_done(stage: str, stop: str | None) -> None:
    """An answer that is late must not open what is closed."""
    done = deliver(spec(), session(wait(), stage=stage, stop=stop), [post("input", text="x")], NOW)

    assert told(done) == "ignored: the session's work is done"


def test_a_second_cancel_makes_the_first_one_no_milder() -> None:
    """At once stays at once."""
    cancels = [post("cancel", immediate=how) for how in (False, True, False)]
    done = deliver(spec(), session(wait()), cancels, NOW)

    assert [note["what"] for note in done.notes] == ["cancelled", "cancelled already", "cancelled already"]
    assert (done.record.cursor.stop_reason, done.record.cancel_immediate) == ("cancelled", True)
    assert not deliver(spec(), session(wait()), cancels[:1], NOW).record.cancel_immediate


@pytest.mark.parametrize(
    ("asked", "stage", "signal", "verdict"),
    [
        (APPROVAL, "tools", None, "timeout"),
        (wait("retry"), "tools", None, None),
        (wait("limit", target="svc"), "tools", None, None),
        (wait("timer"), "route", None, None),
        (wait("child"), "route", None, None),
        (wait("signal", signal="go"), "route", "failed", None),
        (wait("input"), "route", "failed", None),
        (PROMPT, "tools", None, None),
        (TOOL, "tools", None, "timeout"),
    ],
)
def test_a_deadline_ends_a_wait_as_its_kind_says(
    asked: Wait, stage: str, signal: str | None, verdict: str | None
) -> None:
    """Silence is an answer, and another one for each kind of question; a moment before it is none yet."""
    late = asked.model_copy(update={"deadline_at": NOW})
    done = deliver(spec(), session(late), [], NOW)

    assert done.record.wait is None
    assert (done.record.cursor.stage, done.record.cursor.signal) == (stage, signal)
    assert done.record.cursor.calls[0].verdict == verdict
    assert done.record.cursor.admitted == ("svc" if asked.kind == "limit" else None)
    assert done.notes == ({"what": "deadline", "wait": "w", "kind": asked.kind},)
    assert deliver(spec(), session(late), [], NOW - 1).record.wait == late


@pytest.mark.parametrize("asked", [wait("child", children={"S-1": None}), UNCERTAIN])
def test_what_only_others_know_no_deadline_decides(asked: Wait) -> None:
    """The step looks at its children itself, and of an uncertain call only a person knows."""
    late = asked.model_copy(update={"deadline_at": NOW})

    assert deliver(spec(), session(late), [], NOW) == Delivery(session(late))


def test_an_answer_that_came_before_the_deadline_counts() -> None:
    """The mailbox is read first: who answered in time is not told that nobody did."""
    late = wait(deadline_at=NOW)

    assert deliver(spec(), session(late), [post("input", text="x")], NOW).record.cursor.signal is None


def test_a_number_of_any_length_is_a_number() -> None:
    """Asking whether it is finite must not fail on a whole number that is longer than any float."""
    asked = wait(prompt_id="q", fields=[PromptField(id="n", type="number")])

    assert told(deliver(spec(), session(asked), [post("input", value={"n": 10**400})], NOW)) == "answered"
    assert told(deliver(spec(), session(asked), [post("input", text="nan")], NOW)).startswith("refused: field 'n'")


@pytest.mark.parametrize("asked", [wait("child", children={"S-2": None}), UNCERTAIN])
def test_some_waits_no_silence_can_end(asked: Wait) -> None:
    """The step looks at the children itself; what a crash hid only a person can find out."""
    late = asked.model_copy(update={"deadline_at": NOW})
    done = deliver(spec(), session(late), [], NOW)

    assert (done.record.wait, done.notes) == (late, ())


def test_a_tools_answer_is_kept_at_its_call_and_at_no_other() -> None:
    """The call is made again with it; that of a refusal is not made."""
    question = ToolQuestion(round=1, fields=TOOL.fields)
    asking = CALL.model_copy(update={"asked": question})
    before = session(TOOL, calls=(asking, OTHER))
    first, other = deliver(spec(), before, [post("input", text="7")], NOW).record.cursor.calls
    stop, silent = post("decision", verdict="stop", text="no need"), post("decision", verdict="stop")
    refused = [deliver(spec(), before, [said], NOW).record.cursor.calls[0] for said in (stop, silent)]

    assert (first.asked, other) == (question.model_copy(update={"answers": {"rows": 7}}), OTHER)
    assert [(call.verdict, call.approver, call.rationale) for call in refused] == [
        ("rejected", "ada", "no need"),
        ("rejected", "ada", "nobody answers what it asks"),
    ]


def test_a_childs_end_reaches_the_wait_for_it() -> None:
    """It is no person's answer, and the journal has the child's own."""
    asked = wait("child", children={"S-2": None}, into="ends")
    done = deliver(spec(), session(asked), [post("child_ended", name="S-2", value={"status": "fine"})], NOW)

    assert (done.record.wait, done.record.cursor.stage, done.notes) == (None, "route", ())
    assert done.record.state == {"ends": {"S-2": {"status": "fine"}}}


def test_what_was_accepted_as_an_answer_and_is_none_leaves_the_question_open() -> None:
    """The store accepts one answer to a wait; a wait that was not resolved by it is made anew, so that it accepts another."""
    asked = wait("input")

    strays = [
        deliver(spec(), session(asked).model_copy(update={"answered": answered}), [post("decision")], NOW)
        for answered in (True, False)
    ]

    assert [done.record.wait is asked for done in strays] == [False, True]
    assert [done.record.wait == asked for done in strays] == [True, True]
