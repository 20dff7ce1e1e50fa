"""One turn of a model: what it is asked, and what its answer changes."""

from functools import cache

from orchestrator.app_loader import load_app
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.messages import Message, ModelRequest, ModelResponse, Reasoning, ToolRequest, ToolSchema
from orchestrator.contracts.session import Cursor, Record
from orchestrator.contracts.skill import Responsive, Route
from orchestrator.kernel.change import Change
from orchestrator.kernel.turns import SHOWN_STATE_CHARS, build_request, settle_turn
from tests.stage import EVERYTHING

SCHEMAS = {
    name: ToolSchema(name=name, parameters={"type": "object", "properties": {"session": {}, "value": {}}})
    for name in ("hands:look", "hands:danger", "feet:run")
}
LOOK = ToolRequest(call_id="theirs", tool="hands:look", args={"value": 1})
SKILL = Responsive(name="start", prompt="Look around.", tools={"hands": ("look", "danger")})


@cache
def spec() -> AppSpec:
    """Return the test app."""
    return load_app(EVERYTHING, import_code=False)


def at(**cursor: object) -> Record:
    """Return a session in its first skill."""
    place = Cursor.model_validate({"skill": "start", "stage": "model", "serial": 3, **cursor})
    return Record(session_id="S-1", app="everything", spec="d", phase="running", cursor=place, state={"plan": "x"})


def settle(record: Record, app: AppSpec | None = None, **said: object) -> Change:
    """Return what a model's answer changes."""
    return settle_turn(app or spec(), SKILL, record, ModelResponse.model_validate(said), SCHEMAS, 7)


def asked(**state: object) -> ModelRequest:
    """Return what a model is asked about a state."""
    return build_request(spec(), SKILL, at().model_copy(update={"state": state}), (), SCHEMAS)


def test_a_model_is_shown_the_skills_tools_without_what_is_filled_in_for_it() -> None:
    """It cannot choose the session's id, and knows of no tool that it may not call."""
    request = asked(plan="x")

    assert [tool.name for tool in request.tools] == ["hands:look", "hands:danger"]
    assert all(tool.parameters["properties"] == {"value": {}} for tool in request.tools)
    assert request.system == 'Look around.\n\nSession S-1\nState: {"plan":"x"}'


def test_a_state_that_is_too_long_is_shown_cut_and_kept_whole() -> None:
    """A model's window is dear; whoever reads the prompt sees that something is missing."""
    just, over = (asked(plan="x" * (SHOWN_STATE_CHARS - size)) for size in (len('{"plan":""}'), len('{"plan":""}') - 1))

    assert just.system.endswith('x"}')
    assert over.system.endswith('x" (cut)')
    assert over.system.count("x") == SHOWN_STATE_CHARS - len('{"plan":""}') + 1
    assert over.state == {"plan": "x" * (SHOWN_STATE_CHARS - len('{"plan":""}') + 1)}


def test_calls_get_ids_of_the_session_and_those_that_cannot_be_made_are_answered() -> None:
    """Providers repeat their ids; a model that is told what is wrong tries again."""
    change = settle(at(), tool_calls=[LOOK, {**LOOK.model_dump(), "tool": "hands:lok"}])

    assert [(call.call_id, call.tool, call.key) for call in change.record.cursor.calls] == [
        ("call-3-0", "hands:look", "S-1/call-3-0")
    ]
    assert [(call.call_id, call.outcome) for call in change.calls] == [("call-3-1", "failed")]
    assert change.calls[0].result == {"error": "start: no tool 'hands:lok'; did you mean 'hands:look'?"}
    assert [message.call_id for message in change.messages] == [None, "call-3-1"]
    assert (change.record.cursor.stage, change.record.cursor.serial, change.record.cursor.turn) == ("tools", 4, 1)


def test_a_model_whose_calls_are_all_wrong_is_asked_again() -> None:
    """There is nothing to make, and its turn is not over."""
    change = settle(at(failures=1), tool_calls=[{"call_id": "c", "tool": "feet:run"}])

    assert (change.record.cursor.stage, change.record.cursor.calls) == ("model", ())
    assert (change.record.cursor.failures, change.directive) == (0, "continue")


def test_what_a_model_declares_of_its_turn_is_kept_and_told() -> None:
    """Gates and routes go by it, and the journal says why."""
    declared = {"confidence": 0.5, "rationale": "thin", "signal": "one"}
    change = settle(at(), tool_calls=[LOOK], model="m", usage={"input_tokens": 3, "output_tokens": 2}, **declared)
    cursor = change.record.cursor

    assert (cursor.confidence, cursor.rationale, cursor.signal) == (0.5, "thin", "one")
    assert change.data == {"model": "m", "input_tokens": 3, "output_tokens": 2, **declared}


def test_a_turn_that_declares_nothing_leaves_what_was_declared_before() -> None:
    """An empty rationale is none, and a word that is no signal chooses no route."""
    before = at(confidence=0.4, rationale="old", signal="two")
    change = settle(before, tool_calls=[LOOK], rationale="", signal="no_such_word")

    assert (change.record.cursor.confidence, change.record.cursor.rationale) == (0.4, "old")
    assert change.record.cursor.signal == "two"


def test_what_a_terminal_tool_said_is_not_talked_away() -> None:
    """A confidence that was read of its arguments is locked; the signal is not."""
    before = at(confidence=0.4, rationale="old", locked=True)
    change = settle(before, tool_calls=[LOOK], confidence=0.9, rationale="new", signal="two")
    cursor = change.record.cursor

    assert (cursor.confidence, cursor.rationale, cursor.signal) == (0.4, "old", "two")


def test_an_agent_that_would_go_on_for_ever_has_failed() -> None:
    """Its calls are not made, no message announces them, and the route for failures is taken."""
    routes = (Route(when="failed", next="__end__"), Route(when="default", next="last"))
    start = SKILL.model_copy(update={"routes": routes})
    app = spec().model_copy(update={"max_turns": 2, "skills": {**spec().skills, "start": start}})
    last, over = (settle(at(turn=turn), app, content="again", tool_calls=[LOOK]) for turn in (1, 2))

    assert (len(last.messages[0].tool_calls), len(last.record.cursor.calls), last.directive) == (1, 1, "continue")
    assert "turn_limit" not in last.data
    assert (over.messages[0].tool_calls, over.messages[0].content) == ((), "again")
    assert (over.record.cursor.calls, over.record.cursor.signal) == ((), "failed")
    assert (over.data["turn_limit"], over.directive) == (2, "finalizing")


def test_what_a_model_thought_is_kept_with_its_calls_alone() -> None:
    """Its service wants it back with their answers; where nothing is called, or nothing is made any more, nobody does."""
    thought = {"by": "p/m", "parts": {"blocks": [{"type": "thinking"}]}}
    sealed = {**LOOK.model_dump(), "seal": {"s": 1}}
    asked_for = settle(at(), tool_calls=[sealed], reasoning=thought).messages[0]

    assert asked_for.reasoning == Reasoning.model_validate(thought)
    assert [(call.call_id, call.seal) for call in asked_for.tool_calls] == [("call-3-0", {"s": 1})]
    assert Message.from_json(asked_for.to_json()) == asked_for
    assert settle(at(), content="done", reasoning=thought).messages[0].reasoning is None
    over = settle(at(turn=spec().max_turns), tool_calls=[sealed], reasoning=thought).messages[0]
    assert (over.tool_calls, over.reasoning) == ((), None)
