"""What people read of a session: where it is, what it waits for, the exact commands; and nothing that could harm."""

import json
from typing import Any

import pytest

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.failures import FailureRecord
from orchestrator.contracts.messages import Message, ToolRequest
from orchestrator.contracts.session import Cursor, Entry, PendingCall, Record, ToolCall, Wait
from orchestrator.interfaces.cli import output
from orchestrator.interfaces.cli.demo_view import Shown, describe_totals, explain
from orchestrator.interfaces.cli.explain import summarise
from orchestrator.interfaces.cli.following import exit_code_for
from orchestrator.interfaces.cli.shapes import session_shape, wait_shape
from orchestrator.interfaces.cli.wording import (
    describe_entry,
    describe_failure,
    describe_wait,
    describe_where,
    list_commands,
    waits_for_person,
)

ID = "SES-20261120-001"
CALL = PendingCall(call_id="c1", tool="srv:act", args={"on": "x"})
SPEC = AppSpec.model_validate(
    {
        "name": "sample",
        "entry_skill": "look",
        "statuses": {"good": {"kind": "success"}, "bad": {"kind": "failure"}, "passed_on": {"kind": "escalation"}},
        "default_terminal_status": "bad",
        "skills": {"look": {"kind": "timer", "name": "look", "seconds": 1}},
    }
)


def record(**more: object) -> Record:
    """Return a session with these fields."""
    base = {"session_id": ID, "app": "sample", "spec": "0", "phase": "ready", "cursor": Cursor(skill="look")}
    return Record.model_validate({**base, **more})


def waiting(**wait: object) -> Record:
    """Return a session that waits."""
    return record(phase="waiting", wait=Wait.model_validate({"wait_id": "w1", **wait}))


@pytest.mark.parametrize(
    ("wait", "words", "commands"),
    [
        (
            {"kind": "approval", "call": CALL, "deadline_at": 61_000},
            'an approval of srv:act(on="x"), 1m left',
            [f"baton approve {ID}", f"baton deny {ID} --reason TEXT"],
        ),
        (
            {"kind": "approval", "call": CALL, "roster": ["ada o", "bo"]},
            'an approval of srv:act(on="x")',
            [f"baton approve {ID} --as 'ada o'", f"baton deny {ID} --as 'ada o' --reason TEXT"],
        ),
        (
            {"kind": "approval", "hook": "guard", "prompt": "May\nit?", "call": CALL, "deadline_at": 61_000},
            'an answer to hook guard: May it? (srv:act(on="x")), 1m left',
            [f"baton approve {ID}", f"baton deny {ID} --reason TEXT"],
        ),
        (
            {"kind": "approval", "hook": "guard", "prompt": "Begin?"},
            "an answer to hook guard: Begin?",
            [f"baton approve {ID}", f"baton deny {ID} --reason TEXT"],
        ),
        (
            {"kind": "uncertain", "call": CALL, "options": ["retry", "happened"]},
            'a person\'s word on srv:act(on="x"): nobody knows whether it acted',
            [f"baton answer {ID} --verdict retry", f"baton answer {ID} --verdict happened"],
        ),
        ({"kind": "input", "prompt": "What\nnow?"}, "an answer to: What now?", [f"baton answer {ID} TEXT"]),
        (
            {"kind": "input", "gate": True, "options": ["resume_with_input", "escalate", "stop"], "teams": ["a"]},
            "an answer to: its question",
            [f"baton answer {ID} TEXT", f"baton answer {ID} --escalate --team TEAM", f"baton answer {ID} --stop"],
        ),
        ({"kind": "timer", "deadline_at": 5_500}, "a timer, 4s left", []),
        ({"kind": "signal", "signal": "go on"}, "the signal 'go on'", [f"baton signal {ID} 'go on'"]),
        ({"kind": "child", "children": {"A": None, "B": {}}}, "1 of 2 child sessions", []),
        ({"kind": "retry", "deadline_at": 900, "reason": "away"}, "another try, due now: away", []),
    ],
    ids=lambda value: str(value.get("kind")) if isinstance(value, dict) else None,
)
def test_every_wait_is_told_with_the_commands_that_end_it(
    wait: dict[str, object], words: str, commands: list[str]
) -> None:
    """Who is woken at night copies the command from the screen."""
    session = waiting(**wait)

    assert describe_wait(session, now=1_000) == words
    assert list(list_commands(session)) == commands
    assert waits_for_person(session) is (wait["kind"] in {"approval", "uncertain", "input"})


def test_an_answered_wait_asks_nobody_again() -> None:
    """Between the answer and the worker there is a moment in which nothing is to be done."""
    session = waiting(kind="approval", call=CALL).model_copy(update={"answered": True})

    assert list(list_commands(session)) == []
    assert not waits_for_person(session)
    assert describe_where(session) == "waits for approval: answered, and on its way to a worker"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"phase": "ready"}, "in line for look, step 1"),
        ({"phase": "running"}, "in look, step 1"),
        ({"phase": "finalizing"}, "comes to its end"),
        ({"phase": "ended", "status": "good"}, "ended"),
        ({"phase": "dead", "reason": "attempts"}, "dead letter: attempts"),
        (
            {"phase": "dead", "reason": "permanent_error", "failure": FailureRecord(error="QuotaExceededError")},
            "dead letter: permanent_error (QuotaExceededError)",
        ),
    ],
    ids=lambda value: value["phase"] if isinstance(value, dict) else None,
)
def test_every_phase_is_told(more: dict[str, object], words: str) -> None:
    """A phase without words would be a blank on the screen."""
    assert describe_where(record(**more)) == words


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"kind": "submitted"}, "submitted"),
        (
            {"kind": "step", "step": "agent_turn", "skill": "look", "messages": [("asks",)]},
            "agent_turn in look: asks for srv:act(on=1)",
        ),
        (
            {
                "kind": "step",
                "step": "agent_turn",
                "skill": "look",
                "messages": [("says",)],
                "data": {"input_tokens": 7},
            },
            'agent_turn in look: says "well" (7 input tokens)',
        ),
        (
            {"kind": "step", "step": "wait", "skill": "look", "outcome": "suspended", "data": {"wait": "timer"}},
            "wait in look suspended: waits for timer",
        ),
        (
            {
                "kind": "step",
                "step": "finalize",
                "outcome": "succeeded",
                "data": {"status": "good", "reason": "rule", "rule": 0},
            },
            "finalize: good, by rule 1",
        ),
        (
            {"kind": "step", "step": "finalize", "data": {"status": "bad", "reason": "default"}},
            "finalize: bad, by default",
        ),
        (
            {
                "kind": "step",
                "step": "tool_calls",
                "attempt": 2,
                "data": {"announced": "c1", "posts": [{"what": "approved", "actor": "bo"}]},
            },
            "tool_calls (attempt 2): announces c1; approved by bo",
        ),
        ({"kind": "buried", "data": {"reason": "step", "detail": "Boom: x\nTraceback"}}, "buried: step: Boom: x"),
        (
            {"kind": "posted", "data": {"post": {"kind": "input", "text": "yes\x1b[2J"}}},
            "posted: input yes\ufffd[2J by ada",
        ),
        (
            {"kind": "refused", "data": {"refused": "decision", "why": "NotPermitted", "verdict": "allow"}},
            "refused: decision allow of ada: NotPermitted",
        ),
        (
            {
                "kind": "step",
                "step": "agent_turn",
                "data": {
                    "denied": "prompt:submit",
                    "hook": "guard",
                    "reason": "not this",
                    "hooks": [{"event": "prompt:submit", "hook": "guard", "action": "deny", "reason": "not this"}],
                },
            },
            "agent_turn: hook guard denies prompt:submit: not this; hook guard at prompt:submit: deny (not this)",
        ),
        (
            {
                "kind": "submitted",
                "data": {"event": "session:fork", "parent": "S-1", "session_id": "S-2", "at": 9, "state": ["a"]},
            },
            "submitted: forked from S-1 after entry 9, with another state",
        ),
        (
            {
                "kind": "step",
                "step": "agent_turn",
                "data": {"budget": {"warning": {"tool_calls": {"used": "8", "limit": "10"}}}},
            },
            "agent_turn: nearly spent: tool calls, 8 of 10",
        ),
        ({"kind": "replayed", "data": {"note": "again"}}, 'replayed: {"note": "again"}'),
    ],
    ids=lambda value: str(value.get("step") or value["kind"]) if isinstance(value, dict) else None,
)
def test_a_journal_entry_is_one_line(entry: dict[str, object], line: str) -> None:
    """The journal is read by people who look for the one line that explains the rest."""
    said = {
        "asks": Message(role="assistant", tool_calls=(ToolRequest(call_id="c", tool="srv:act", args={"on": 1}),)),
        "says": Message(role="assistant", content="well"),
    }
    messages = entry.pop("messages", ())
    assert isinstance(messages, list | tuple)
    made = Entry.model_validate({"actor": "ada", **entry, "messages": [said[word].to_json() for (word,) in messages]})

    assert describe_entry(made) == line


def test_a_call_tells_its_outcome_and_who_allowed_it() -> None:
    """Why something was done is told where it was done."""
    call = ToolCall(call_id="c", tool="srv:act", args={}, outcome="approved", approver="bo")
    entry = Entry(kind="step", actor="w", step="tool_calls", skill="look", calls=(call,), state={"seen": 1})

    assert describe_entry(entry) == "tool_calls in look: srv:act() approved by bo; state: seen"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"reason": "rule", "rule": 1, "rule_text": {"tool_name": "end", "match_args": {"as": "good"}}, "call_id": "c9"},
         'good, by rule 2: end(as="good"), met by c9'),
        ({"reason": "default"}, "good, the app's default: no call met a terminal rule"),
        ({"reason": "stop", "stop_reason": "cancelled by bo"}, "good: cancelled by bo"),
        ({"reason": "escalation", "stop_reason": "escalated by bo"}, "good: escalated by bo"),
        ({}, "ended without a status: the app declares none for it"),
    ],
    ids=lambda value: str(value.get("reason")) if isinstance(value, dict) else None,
)  # fmt: skip
def test_every_way_to_an_end_is_explained(data: dict[str, object], sentence: str) -> None:
    """`explain` names the rule and the call, or what else settled it."""
    settled = Entry.model_validate({"kind": "step", "actor": "w", "step": "finalize", "data": data})

    assert summarise(record(phase="ended", status="good"), settled) == sentence


@pytest.mark.parametrize(
    ("records", "code"),
    [
        ([record(phase="ended", status="good")], 0),
        ([record(phase="ended", status="passed_on")], 0),
        ([record(phase="ended", status="bad")], 1),
        ([record(phase="dead")], 1),
        ([record(phase="running")], 1),
        ([waiting(kind="approval", call=CALL)], 4),
        ([waiting(kind="timer")], 1),
        ([waiting(kind="approval", call=CALL), record(phase="ended", status="good")], 4),
        ([waiting(kind="approval", call=CALL), record(phase="dead")], 1),
    ],
)
def test_the_exit_code_of_a_wait_is_that_of_its_worst_session(records: list[Record], code: int) -> None:
    """A script that waits for many learns whether it may go on."""
    assert exit_code_for(SPEC, records) == code


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"message": "by nothing"}, "E: by nothing"),
        ({"message": "a\nb", "provider": "p", "model": "m", "status_code": 429}, "E of p/m, status 429: a b"),
        ({"message": "busy", "model": "m", "retry_after": 2.5}, "E of m, asks for 2.5 s: busy"),
    ],
)
def test_a_failure_is_one_line(fields: dict[str, Any], words: str) -> None:
    """Who failed, with what, and what it asks for."""
    assert describe_failure(FailureRecord(error="E", **fields)) == words


def test_a_failure_is_shown_whole_to_programs() -> None:
    """With nulls, so that a program finds every key."""
    shown = session_shape(record(failure=FailureRecord(error="E", message="m")))["failure"]

    assert isinstance(shown, dict)
    assert (shown["error"], shown["status_code"], shown["retryable"]) == ("E", None, None)
    assert session_shape(record())["failure"] is None


def test_shapes_are_json_and_keep_their_keys() -> None:
    """Programs read these; a key that goes away breaks them silently."""
    session = waiting(kind="approval", call=CALL)

    shape, wait = session_shape(session), wait_shape(session)

    assert json.loads(json.dumps(shape)) == shape
    assert sorted(shape) == [
        "actor", "always_allowed", "app", "attempts", "cancel", "cancel_immediate", "compacted", "created_at", "cursor", "entries",
        "failure", "fence", "fields", "forked_at", "holder", "level", "parent",
        "phase", "priority", "queue", "reason", "replays", "rev", "session_id", "since_at", "skill", "spec", "spent", "state", "status",
        "text", "updated_at", "wait", "waits_for",
    ]  # fmt: skip
    assert sorted(wait or {}) == [
        "answer_with", "answered", "call", "children", "deadline_at", "default", "digest", "fields", "hook", "kind", "options", "prompt",
        "prompt_id", "reason", "roster", "signal", "since_at", "teams", "wait_id",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["a\x1b]0;x\x07", "a\x9b2J", "a\x7f", "a\r\x00"])
def test_what_a_model_wrote_cannot_move_the_cursor(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal obeys control characters; neither tables nor JSON let them through."""
    output.print_json("text", text)

    raw = capsys.readouterr().out
    controls = {*range(10), *range(11, 32), *range(127, 160)}
    assert not controls & {ord(char) for char in raw + output.clean(text)}
    assert json.loads(raw) == {"text": text}


def test_markup_in_a_text_stays_text(capsys: pytest.CaptureFixture[str]) -> None:
    """A commit's title may hold brackets; they are not ours to interpret."""
    table = output.make_table("A", "B")
    table.add_row("[red]x[/red]", ":smile:")

    output.print_table(table)

    assert capsys.readouterr().out == "A             B\n[red]x[/red]  :smile:\n"


def test_off_a_terminal_a_long_cell_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """grep and awk read lines."""
    table = output.make_table("A", "B")
    table.add_row("x" * 500, "y")

    output.print_table(table)

    assert capsys.readouterr().out.splitlines()[1] == f"{'x' * 500}  y"


def test_the_demo_counts_the_apps_own_words() -> None:
    """Its totals are statuses where there are any, and phases where there is none."""
    ended = Shown(SPEC, ID, "a", record(phase="ended", status="good"))
    dead = Shown(SPEC, ID, "b", record(phase="dead", reason="attempts"))

    assert describe_totals([ended, ended, dead]) == "3 sessions: 2 good, 1 dead"
    assert explain(dead) == "dead letter: attempts"
