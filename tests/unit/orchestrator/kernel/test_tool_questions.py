"""What a tool asks becomes fields, and the fields' answers become what the tool wants to read."""

from typing import Any

import pytest

from orchestrator.contracts.app import AppSpec, RiskPolicy
from orchestrator.contracts.errors import ToolError
from orchestrator.contracts.session import Cursor, PendingCall, Post, Record, Wait
from orchestrator.contracts.tool_questions import ToolQuestion
from orchestrator.kernel.delivery import deliver
from orchestrator.kernel.tool_questions import (
    MOST_FIELDS,
    MOST_ROUNDS,
    MOST_STATE_CHARS,
    answers_to,
    is_asking,
    question_wait,
    read_question,
    with_answers,
)


def form(properties: dict[str, Any], required: list[str] | None = None, message: str = "Which?") -> dict[str, Any]:
    """Return a request for a form, as a tool server sends it."""
    schema = {"type": "object", "properties": properties, "required": required or []}
    return {
        "method": "elicitation/create",
        "params": {"mode": "form", "message": message, "requested_schema": schema},
    }


SPEC = AppSpec.model_validate(
    {
        "name": "sample",
        "entry_skill": "one",
        "skills": {
            "one": {"kind": "timer", "name": "one", "seconds": 1, "routes": [{"when": "default", "next": "__end__"}]}
        },
    }
)
LINK = {
    "method": "elicitation/create",
    "params": {"mode": "url", "message": "Sign in.", "url": "https://example.org/in"},
}


def ask(requests: dict[str, Any], **more: Any) -> ToolQuestion:
    """Return the question that requests make."""
    return read_question("desk:book", requests, "state", **more)


def answered(question: ToolQuestion, **answers: Any) -> Any:
    """Return what goes back to the tool."""
    call = PendingCall(call_id="c", tool="desk:book", asked=question.model_copy(update={"answers": answers}))
    return answers_to(call)


def test_every_kind_of_field_is_shown_and_goes_back_under_its_own_name() -> None:
    """A person answers what the server asked, by names that the command line can write."""
    properties = {
        "text": {"type": "string", "title": "A text"},
        "how many?": {"type": "integer", "default": 3},
        "share": {"type": "number"},
        "sure": {"type": "boolean", "description": "Really?"},
        "unit": {"type": "string", "enum": ["mm", "in"]},
        "size": {"type": "string", "oneOf": [{"const": "s", "title": "small"}, {"const": "l", "title": "large"}]},
    }
    question = ask({"form": form(properties, ["text"])})

    shown = [(one.id, one.type, one.label, one.required, one.choices) for one in question.fields]
    back = answered(question, text="x", how_many_=4, unit="in")

    assert shown == [
        ("text", "string", "A text", True, ()),
        ("how_many_", "integer", "how many?", False, ()),
        ("share", "number", "share", False, ()),
        ("sure", "boolean", "Really?", False, ()),
        ("unit", "choice", "unit", False, ("mm", "in")),
        ("size", "choice", "size", False, ("s", "l")),
    ]
    assert back.responses == {"form": {"action": "accept", "content": {"text": "x", "how many?": 4, "unit": "in"}}}
    assert back.request_state == "state"


def test_several_requests_are_one_question() -> None:
    """A person is asked once; each request gets its own answer, also where names are the same."""
    question = ask({"a": form({"name": {"type": "string"}}), "b": form({"name": {"type": "string"}}), "c": LINK})

    back = answered(question, name="x", name_2="y", done=True)

    assert [one.id for one in question.fields] == ["name", "name_2", "done"]
    assert question.prompt.splitlines()[-2:] == ["Sign in.", "Open https://example.org/in and say when it is done."]
    assert back.responses == {
        "a": {"action": "accept", "content": {"name": "x"}},
        "b": {"action": "accept", "content": {"name": "y"}},
        "c": {"action": "accept"},
    }


def test_a_link_that_was_not_followed_is_declined() -> None:
    """Only a clear yes counts."""
    assert answered(ask({"c": LINK}), done=False).responses == {"c": {"action": "decline"}}


def test_a_question_that_nobody_has_answered_gives_its_tool_nothing() -> None:
    """An answer made up of nothing would read as a person's consent."""
    asking = PendingCall(call_id="c", tool="desk:book", asked=ask({"a": form({})}))

    assert answers_to(asking) is None
    assert answers_to(asking.model_copy(update={"asked": None})) is None


def test_a_form_without_fields_is_answered_by_agreeing() -> None:
    """Some tools only want to hear that somebody has seen it."""
    assert answered(ask({"a": form({})})).responses == {"a": {"action": "accept", "content": {}}}


def test_a_tool_that_only_wants_to_be_called_again_asks_nobody() -> None:
    """It gave a state and no request: the next step calls it again."""
    question = ask({})

    assert not is_asking(PendingCall(call_id="c", tool="t", asked=question))
    assert answered(question).responses == {}


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        ({"a": {"method": "sampling/createMessage", "params": {}}}, "something that nobody answers here"),
        ({"a": {"method": "roots/list"}}, "something that nobody answers here"),
        ({"url": [1]}, "something that nobody answers here"),
        ({"a": form({"many": {"type": "array"}})}, "'many' has a type that no form here has"),
        ({"a": form({"odd": "text"})}, "'odd' has a type that no form here has"),
        ({"a": form({"odd": {"type": "string", "default": [1]}})}, "'odd' is no field of a form"),
        ({"a": form({f"f{n}": {"type": "string"} for n in range(MOST_FIELDS + 1)})}, "more than 50 fields"),
    ],
)
def test_what_nobody_can_answer_fails_the_call(requests: dict[str, Any], said: str) -> None:
    """A session that waited for it would wait for ever."""
    with pytest.raises(ToolError, match=said):
        ask(requests)


def test_a_tool_asks_ten_times_in_one_call_and_keeps_no_library_in_its_state() -> None:
    """Every loop and every value has an end."""
    question = ask({})
    for _ in range(MOST_ROUNDS - 1):
        question = ask({}, before=question)

    with pytest.raises(ToolError, match="asked 10 times"):
        ask({}, before=question)
    with pytest.raises(ToolError, match="request state is over"):
        read_question("t", {}, "x" * (MOST_STATE_CHARS + 1))
    assert question.round == MOST_ROUNDS


def test_a_state_of_the_longest_length_goes_back_whole() -> None:
    """The limit is what a tool may use, not what is already too much."""
    state = "x" * MOST_STATE_CHARS

    assert read_question("t", {}, state).request_state == state


def test_a_long_label_is_cut_and_the_tool_is_answered_all_the_same() -> None:
    """A server may describe a field in a whole paragraph; that is no reason to fail its call."""
    question = ask({"a": form({"n": {"type": "integer", "description": "n" * 300}})})

    assert question.fields[0].label == "n" * 200


def test_fields_of_one_long_name_have_ids_that_can_be_read_again() -> None:
    """A question outlives its worker: what is kept has to be one that the next worker can read."""
    name = "1" + "x" * 80
    question = ask({f"form-{number}": form({name: {"type": "string"}}) for number in range(MOST_FIELDS)})

    assert ToolQuestion.from_json(question.to_json()) == question
    assert len({one.id for one in question.fields}) == MOST_FIELDS


@pytest.mark.parametrize("shape", [{"type": "array"}, {"type": "string", "default": [1]}])
def test_a_refusal_quotes_no_more_than_the_beginning_of_a_name(shape: dict[str, Any]) -> None:
    """A model reads it: a server's name must not fill its context."""
    with pytest.raises(ToolError, match=f"its field '{'y' * 100}' "):
        ask({"a": form({"y" * 300: shape})})


@pytest.mark.parametrize(
    ("post", "noted"),
    [
        (Post(post_id="p", kind="decision", actor="ada", wait_id="w", digest="d", verdict="retry"), "say stop"),
        (Post(post_id="p", kind="input", actor="ada", wait_id="v", digest="d", value={"n": 1}), "does not answer"),
        (Post(post_id="p", kind="input", actor="ada", wait_id="w", digest="d", value={"n": "x"}), "does not fit"),
    ],
)
def test_what_does_not_answer_leaves_the_question_open(post: Post, noted: str) -> None:
    """Whether an answer counts is decided where it is taken, whoever let it through."""
    question = ask({"a": form({"n": {"type": "integer"}}, ["n"])})
    call = PendingCall(call_id="c", tool="desk:book", asked=question)
    wait = Wait(wait_id="w", kind="input", prompt_id="c-1", call=call, digest="d", fields=question.fields)
    record = Record(
        session_id="SES-20261121-001",
        app="a",
        spec="s",
        phase="waiting",
        cursor=Cursor(skill="one", stage="tools", calls=(call,)),
        wait=wait,
    )

    delivery = deliver(SPEC, record, [post], 1)

    assert delivery.record.wait == wait
    assert noted in str(delivery.notes[0]["what"])


def test_a_question_waits_as_long_as_an_approval_and_shows_no_earlier_answers() -> None:
    """Its id names the call and the round: an answer to the first question is none to the second."""
    asked = ask({"a": form({"n": {"type": "integer"}})}, before=ask({}))
    call = PendingCall(call_id="c", tool="desk:book", asked=asked)
    record = Record(session_id="S-1", app="a", spec="s", phase="running", cursor=Cursor(skill="one", calls=(call,)))
    plain = question_wait(SPEC, record, call, 5)
    guarded = question_wait(
        SPEC.model_copy(update={"gateway": RiskPolicy(approval_timeout_seconds=2)}), record, call, 5
    )

    assert (plain.wait_id, plain.prompt_id, plain.kind) == ("S-1/input-c-2", "c-2", "input")
    assert (plain.since_at, plain.deadline_at, guarded.deadline_at) == (5, 3_600_005, 2_005)
    assert (plain.prompt, plain.fields, plain.reason) == (f"desk:book: {asked.prompt}", asked.fields, "tool_input")
    assert plain.call == call.model_copy(update={"asked": None})


def test_a_call_that_asks_nothing_has_no_question() -> None:
    """A wait without one could never be answered."""
    call = PendingCall(call_id="c", tool="desk:book")
    record = Record(session_id="S-1", app="a", spec="s", phase="running", cursor=Cursor(skill="one", calls=(call,)))

    with pytest.raises(ToolError, match=r"^desk:book: it asks nothing; this is a defect, report it$"):
        question_wait(SPEC, record, call, 5)


def test_answers_go_to_the_call_that_asked() -> None:
    """Neither to another call with a question of its own, nor to one that has none."""
    asked = ask({"a": form({"n": {"type": "integer"}})})
    first, second = (PendingCall(call_id=name, tool="desk:book", asked=asked) for name in ("c", "d"))
    bare = PendingCall(call_id="e", tool="desk:book")
    wait = Wait(wait_id="w", kind="input", call=second)
    record = Record(
        session_id="S-1",
        app="a",
        spec="s",
        phase="waiting",
        cursor=Cursor(skill="one", calls=(first, second, bare)),
        wait=wait,
    )
    after = with_answers(record, wait, {"n": 1})
    nobody = with_answers(record, wait.model_copy(update={"call": None}), {"n": 1})

    assert [call.asked and call.asked.answers for call in after.cursor.calls] == [None, {"n": 1}, None]
    assert (after.wait, nobody.wait) == (None, None)
    assert nobody.cursor == record.cursor
