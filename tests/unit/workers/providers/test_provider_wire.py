"""Both dialects: what a request becomes, and what an answer means."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.contracts.messages import Message, ModelRequest, ToolRequest, ToolSchema, Usage
from orchestrator.contracts.provider_errors import InvalidToolCallError
from workers.providers import anthropic, dialect, openai_compat
from workers.providers.options import HttpOptions

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"path": {"type": "string"}}}
TOOLS = (ToolSchema(name="disk:read", description="Reads.", parameters=SCHEMA), ToolSchema(name="disk:list"))
CONTEXT = (
    Message(role="user", content="Look."),
    Message(
        role="assistant",
        content="Looking.",
        skill="work",
        tool_calls=(
            ToolRequest(call_id="c:1", tool="disk:read", args={"path": "ä"}),
            ToolRequest(call_id="c2", tool="disk:list"),
        ),
    ),
    Message(role="system", content="Be quick."),
    Message(role="tool", call_id="c:1", content='{"ok":true}'),
    Message(role="tool", call_id="c2", content="[]"),
    Message(role="user", content="And?"),
)
REQUEST = ModelRequest(
    session_id="SES-20261120-001",
    skill="work",
    system="You work.",
    messages=CONTEXT,
    tools=TOOLS,
    state={"secret_state": 1},
    turn=2,
)
OPTIONS = HttpOptions(max_tokens=100, temperature=0.0, extra_body={"seed": 7})


def test_a_request_in_openai_dialect() -> None:
    """Each role, each call and each answer stands where the service looks for it."""
    body = openai_compat.to_body(REQUEST, model="m", options=OPTIONS)
    messages: Any = body["messages"]
    calls = messages[2]["tool_calls"]

    assert (body["model"], body["max_tokens"], body["temperature"], body["seed"]) == ("m", 100, 0.0, 7)
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "system", "tool", "tool", "user"]
    assert calls[0]["function"] == {"name": "disk__read", "arguments": '{"path":"ä"}'}
    assert messages[4]["tool_call_id"] == calls[0]["id"] != "c:1"
    assert messages[5]["tool_call_id"] == calls[1]["id"] == "c2"
    assert body["tools"] == [
        {"type": "function", "function": {"name": "disk__read", "description": "Reads.", "parameters": SCHEMA}},
        {
            "type": "function",
            "function": {"name": "disk__list", "description": "", "parameters": {"type": "object", "properties": {}}},
        },
    ]
    assert "secret_state" not in str(body)


def test_a_request_in_anthropic_dialect() -> None:
    """Turns alternate, answers go before text, the system prompt is a field of its own."""
    body = anthropic.to_body(REQUEST, model="m", options=OPTIONS)
    turns: Any = body["messages"]

    assert (body["system"], body["max_tokens"], body["seed"]) == ("You work.", 100, 7)
    assert [t["role"] for t in turns] == ["user", "assistant", "user"]
    assert [b["type"] for b in turns[1]["content"]] == ["text", "tool_use", "tool_use"]
    assert turns[1]["content"][1]["input"] == {"path": "ä"}
    assert [b["type"] for b in turns[2]["content"]] == ["tool_result", "tool_result", "text", "text"]
    assert turns[2]["content"][0]["tool_use_id"] == turns[1]["content"][1]["id"] != "c:1"
    assert body["tools"] == [
        {"name": "disk__read", "description": "Reads.", "input_schema": SCHEMA},
        {"name": "disk__list", "description": "", "input_schema": {"type": "object"}},
    ]


def test_anthropic_without_tools_tells_of_earlier_calls_as_text() -> None:
    """The service refuses tool blocks beside no tools; the agent still reads what happened."""
    body = anthropic.to_body(REQUEST.model_copy(update={"tools": ()}), model="m", options=HttpOptions())

    assert "tools" not in body
    assert "tool_use" not in str(body["messages"])
    assert '[called disk:read with {"path":"ä"}]' in str(body["messages"])
    assert '{"ok":true}' in str(body["messages"])


def test_anthropic_gets_a_first_turn_and_no_empty_ones() -> None:
    """A skill that is entered by a route may begin with nothing said by a person."""
    context = (
        Message(role="system", content="Also."),
        Message(role="assistant", content="So far."),
        Message(role="user"),
    )
    body = anthropic.to_body(REQUEST.model_copy(update={"messages": context}), model="m", options=HttpOptions())

    assert body["system"] == "You work.\n\nAlso."
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Begin."}]},
        {"role": "assistant", "content": [{"type": "text", "text": "So far."}]},
    ]


def completion(message: dict[str, Any], finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    """Return an answer with one choice."""
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], **more}


def call_of(name: str, arguments: Any, call_id: str | None = "c9") -> dict[str, Any]:
    """Return a message with one call."""
    return {"content": None, "tool_calls": [{"id": call_id, "function": {"name": name, "arguments": arguments}}]}


def test_an_openai_answer_is_read_whole() -> None:
    """Text, declaration, usage and model name arrive; foreign fields do no harm."""
    text = 'Fine.\n{"confidence": 0.8, "signal": "success"}'
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "details": {}}

    response = openai_compat.from_answer(completion({"content": text, "x": 1}, usage=usage, model="m-1"), REQUEST)
    assert (response.content, response.confidence, response.signal) == ("Fine.", 0.8, "success")
    assert (response.usage, response.model) == (Usage(input_tokens=3, output_tokens=4), "m-1")
    assert response.stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("answer", "stop_reason", "content"),
    [
        (completion({"content": "x"}, "length"), "max_tokens", "x"),
        (completion({"content": None}, "content_filter"), "refusal", ""),
        (completion({"content": None, "refusal": "I won't."}), "refusal", "I won't."),
        (completion({"content": "x"}, None), "end_turn", "x"),
        (completion({"content": "x"}, "eos"), "eos", "x"),
        (completion({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}), "end_turn", "ab"),
        (completion(call_of("disk__read", "{}"), "stop"), "tool_use", ""),
    ],
)
def test_openai_stop_reasons_are_in_our_words(answer: dict[str, Any], stop_reason: str, content: str) -> None:
    """The runtime decides by one vocabulary, whatever the service."""
    response = openai_compat.from_answer(answer, REQUEST)

    assert (response.stop_reason, response.content) == (stop_reason, content)


@pytest.mark.parametrize(
    ("arguments", "args"),
    [('{"path": "a"}', {"path": "a"}), ("", {}), (None, {}), ("null", {}), ({"path": "a"}, {"path": "a"})],
)
def test_openai_arguments_in_every_form_that_services_send(arguments: object, args: dict[str, Any]) -> None:
    """A call without arguments comes as an empty text, as null, or as nothing."""
    response = openai_compat.from_answer(completion(call_of("disk__read", arguments)), REQUEST)

    assert response.tool_calls == (ToolRequest(call_id="c9", tool="disk:read", args=args),)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ({}, "choices"),
        ({"choices": []}, "no choices"),
        ({"error": {"message": "x"}}, "choices"),
        (completion({"content": 7}), "content"),
        (completion({"tool_calls": [{"function": {}}]}), "name"),
    ],
)
def test_a_malformed_openai_answer_is_told_without_its_values(answer: dict[str, Any], what: str) -> None:
    """The message goes to logs; an answer's values may be private."""
    with pytest.raises(ValueError, match=what) as caught:
        openai_compat.from_answer(answer, REQUEST)

    assert what in dialect.reason_of(caught.value)


@pytest.mark.parametrize(("arguments", "what"), [("[1]", "not a JSON object"), ('{"path": ', "not JSON: EOF")])
def test_arguments_that_cannot_be_read_are_kept_beside_the_message(arguments: str, what: str) -> None:
    """The message goes to logs without them; who looks for the cause finds what the model wrote."""
    with pytest.raises(InvalidToolCallError, match=what) as caught:
        openai_compat.from_answer(completion(call_of("disk__read", arguments)), REQUEST)

    assert arguments not in str(caught.value)
    assert (caught.value.tool_name, caught.value.raw_arguments) == ("disk__read", arguments)
    assert caught.value.retryable


TOOL_USE: dict[str, Any] = {"type": "tool_use", "id": "t", "name": "disk__read", "input": {}}


@pytest.mark.parametrize(
    "read",
    [
        lambda: openai_compat.from_answer(completion(call_of("disk__read", ""), "length"), REQUEST),
        lambda: openai_compat.from_answer(completion(call_of("disk__read", '{"pa'), "length"), REQUEST),
        lambda: anthropic.from_answer({"content": [TOOL_USE], "stop_reason": "max_tokens"}, REQUEST),
        lambda: anthropic.from_answer({"content": [TOOL_USE], "stop_reason": "model_context_window_exceeded"}, REQUEST),
    ],
    ids=["nothing yet", "half", "max_tokens", "window"],
)
def test_a_call_that_was_cut_is_not_made(read: Callable[[], object]) -> None:
    """Without what was still to be written it looks whole: a tool that deletes what matches would delete everything."""
    with pytest.raises(InvalidToolCallError, match="max_tokens") as caught:
        read()

    assert caught.value.tool_name == "disk__read"


def test_call_ids_stay_unique_in_the_session() -> None:
    """An id that the service repeats would pair an old answer with a new call."""
    response = openai_compat.from_answer(completion(call_of("disk__read", "{}", "c2")), REQUEST)
    missing = openai_compat.from_answer(completion(call_of("nope", "{}", None)), REQUEST)

    assert response.tool_calls[0].call_id not in ("c:1", "c2", "")
    assert missing.tool_calls[0].call_id.startswith("call_")
    assert missing.tool_calls[0].tool == "nope"


def test_an_anthropic_answer_is_read_whole() -> None:
    """Thinking is passed over; tokens read from a cache were read all the same."""
    answer: dict[str, Any] = {
        "model": "m-1",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "x"},
            {"type": "text", "text": "Look"},
            {"type": "text", "text": "ing."},
            {"type": "tool_use", "id": "toolu_1", "name": "disk__read", "input": {"path": "a"}},
        ],
        "stop_reason": "tool_use",
        "usage": {
            "input_tokens": 1,
            "output_tokens": 2,
            "cache_read_input_tokens": 30,
            "cache_creation_input_tokens": None,
        },
    }

    response = anthropic.from_answer(answer, REQUEST)
    assert (response.content, response.stop_reason, response.model) == ("Looking.", "tool_use", "m-1")
    assert response.tool_calls == (ToolRequest(call_id="toolu_1", tool="disk:read", args={"path": "a"}),)
    assert response.usage == Usage(input_tokens=31, output_tokens=2)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"content": "x"},
        {"content": [{"type": "tool_use", "input": {}}]},
        {"content": [{"type": "tool_use", "name": "a", "input": []}]},
    ],
)
def test_a_malformed_anthropic_answer_is_a_value_error(answer: dict[str, Any]) -> None:
    """The provider turns it into a transient error: the next answer may be whole."""
    with pytest.raises(ValueError, match=r".+"):
        anthropic.from_answer(answer, REQUEST)
