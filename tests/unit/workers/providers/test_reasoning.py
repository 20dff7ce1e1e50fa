"""Reasoning of models: kept with the calls that came of it, as it came, and shown to who wrote it alone."""

from typing import Any

import pytest

from orchestrator.contracts.messages import Message, ModelRequest, ModelResponse, Reasoning, ToolRequest, ToolSchema
from workers.providers import anthropic, openai_compat
from workers.providers.assembling import AnthropicAssembly, OpenAiAssembly
from workers.providers.options import HttpOptions
from workers.providers.reasoning import leave_own, sign

REQUEST = ModelRequest(session_id="S", skill="work", tools=(ToolSchema(name="disk:list"),))
CALL = {"id": "c", "function": {"name": "disk__list", "arguments": "{}"}}
SEAL = {"google": {"thought_signature": "abc"}}


def completion(**message: Any) -> Any:
    """Return a chat completion."""
    return {"choices": [{"message": message, "finish_reason": "stop"}]}


def context(reasoning: Reasoning | None, seal: Any = None) -> ModelRequest:
    """Return a request whose model has thought, called a tool and been answered."""
    call = ToolRequest(call_id="c", tool="disk:list", seal=seal)
    said = Message(role="assistant", content="Let me see.", tool_calls=(call,), reasoning=reasoning)
    answered = Message(role="tool", call_id="c", content="[]")
    return REQUEST.model_copy(update={"messages": (Message(role="user", content="Look."), said, answered)})


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ({"reasoning_content": "Hm."}, {"reasoning_content": "Hm."}),
        ({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}, {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}),
        ({"reasoning_content": None, "reasoning": "Hm."}, None),
        ({"reasoning_content": ["Hm."], "reasoning_details": "Hm."}, None),
    ],
)  # fmt: skip
def test_a_completions_reasoning_is_kept_with_its_calls(said: Any, parts: Any) -> None:
    """Of the fields that are known, and of the type that they have; without calls nobody wants it back."""
    found = openai_compat.from_answer(completion(content="", tool_calls=[CALL], **said), REQUEST)
    silent = openai_compat.from_answer(completion(content="Done.", **said), REQUEST)

    assert found.reasoning == (None if parts is None else Reasoning(parts=parts))
    assert silent.reasoning is None


def test_a_calls_seal_is_kept_with_it_and_goes_back() -> None:
    """Gemini seals calls; what is no object is no seal."""
    found = openai_compat.from_answer(completion(tool_calls=[{**CALL, "extra_content": SEAL}]), REQUEST)
    odd = openai_compat.from_answer(completion(tool_calls=[{**CALL, "extra_content": "x"}]), REQUEST)

    assert [call.seal for call in found.tool_calls] == [SEAL]
    assert [call.seal for call in odd.tool_calls] == [None]
    assert sign(found, "openai_compat/g").reasoning == Reasoning(by="openai_compat/g")
    body: Any = openai_compat.to_body(context(Reasoning(by="openai_compat/g"), SEAL), model="g", options=HttpOptions())
    assert body["messages"][1]["tool_calls"][0]["extra_content"] == SEAL


def test_who_thought_nothing_signs_nothing() -> None:
    """Most models' answers are what they were."""
    plain = ModelResponse(content="x", tool_calls=(ToolRequest(call_id="c", tool="t"),))
    wordy = ModelResponse(content="x", reasoning=Reasoning(parts={"blocks": []}))

    assert sign(plain, "a/b") is plain
    assert sign(wordy, "a/b").reasoning is None


def test_nobody_is_shown_what_another_one_thought() -> None:
    """A fallback, or another model of the skill, would refuse it; the session keeps it for who comes back."""
    mine = Reasoning(by="anthropic/one", parts={"blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}]})
    request = context(mine, SEAL)

    assert leave_own(request, "anthropic/one") is request
    shown = leave_own(request, "anthropic/two").messages[1]
    assert (shown.reasoning, shown.tool_calls[0].seal) == (None, None)
    assert (shown.content, shown.tool_calls[0].tool) == ("Let me see.", "disk:list")
    assert request.messages[1].reasoning == mine


def test_thinking_blocks_stand_in_front_of_calls() -> None:
    """Sealed ones too, unchanged; what this module does not know is left out, and without tools they make no sense."""
    blocks: Any = [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "redacted_thinking", "data": "zzz"},
    ]
    calls = {"type": "tool_use", "id": "c", "name": "disk__list", "input": {}}
    answer: Any = {"content": [*blocks, {"type": "text", "text": "Let me see."}, calls], "stop_reason": "tool_use"}
    found = anthropic.from_answer(answer, REQUEST)
    assert found.reasoning == Reasoning(parts={"blocks": blocks})
    assert anthropic.from_answer({"content": blocks}, REQUEST).reasoning is None

    request = context(found.reasoning)
    body: Any = anthropic.to_body(request, model="m", options=HttpOptions())
    assert [block["type"] for block in body["messages"][1]["content"]] == [
        "thinking",
        "redacted_thinking",
        "text",
        "tool_use",
    ]
    assert body["messages"][1]["content"][:2] == blocks
    bare: Any = anthropic.to_body(request.model_copy(update={"tools": ()}), model="m", options=HttpOptions())
    assert {block["type"] for turn in bare["messages"] for block in turn["content"]} == {"text"}


@pytest.mark.parametrize("parts", [{}, {"blocks": "x"}, {"blocks": ["x"]}])
def test_reasoning_of_another_form_is_left_out(parts: Any) -> None:
    """What is stored may be older than this module."""
    body: Any = anthropic.to_body(context(Reasoning(parts=parts)), model="m", options=HttpOptions())

    assert [block["type"] for block in body["messages"][1]["content"]] == ["text", "tool_use"]


def test_a_streamed_answer_has_the_same_reasoning() -> None:
    """Parts that belong together are joined; a seal ends a text, and another kind or place begins a part."""
    assembly = OpenAiAssembly()
    details = [
        [{"type": "reasoning.text", "index": 0, "text": "I ", "signature": None}],
        [{"type": "reasoning.text", "index": 0, "text": "see.", "signature": "s"}],
        [{"type": "reasoning.text", "index": 0, "text": "More.", "signature": None}],
        [{"type": "reasoning.summary", "index": 1, "summary": "In "}, {"type": "reasoning.summary", "index": 1, "summary": "short."}],
        [{"type": "reasoning.encrypted", "index": 2, "data": "a"}, {"type": "reasoning.encrypted", "index": 2, "data": "b"}],
    ]  # fmt: skip
    for chunk in details:
        assembly.add({"choices": [{"delta": {"reasoning_details": chunk, "reasoning_content": "."}}]})
    assembly.add({"choices": [{"delta": {"tool_calls": [{"index": 0, **CALL, "extra_content": SEAL}]}}]})
    assembly.add({"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": " "}}]}}]})
    assembly.add({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})

    found = openai_compat.from_answer(assembly.answer(), REQUEST)
    assert found.reasoning is not None
    assert found.reasoning.parts == {
        "reasoning_content": ".....",
        "reasoning_details": [
            {"type": "reasoning.text", "index": 0, "text": "I see.", "signature": "s"},
            {"type": "reasoning.text", "index": 0, "text": "More.", "signature": None},
            {"type": "reasoning.summary", "index": 1, "summary": "In short."},
            {"type": "reasoning.encrypted", "index": 2, "data": "a"},
            {"type": "reasoning.encrypted", "index": 2, "data": "b"},
        ],
    }
    assert [call.seal for call in found.tool_calls] == [SEAL]


def test_parts_of_reasoning_do_not_fill_the_memory() -> None:
    """Nobody has so many that do not belong together."""
    assembly = OpenAiAssembly()
    for number in range(1_000):
        assembly.add({"choices": [{"delta": {"reasoning_details": [{"index": number}]}}]})

    with pytest.raises(ValueError, match="over 1000"):
        assembly.add({"choices": [{"delta": {"reasoning_details": [{"index": -1}]}}]})


def test_streamed_thinking_blocks_are_whole_again() -> None:
    """A block may begin with words, its seal comes in parts, a sealed one at once, and an empty one is kept."""
    assembly = AnthropicAssembly()
    assembly.add({"type": "message_start", "message": {"model": "m"}})
    blocks: Any = [
        {"type": "thinking", "thinking": "I ", "signature": ""},
        {"type": "redacted_thinking", "data": "zzz"},
        {"type": "thinking", "thinking": ""},
        {"type": "tool_use", "id": "c", "name": "disk__list", "input": {}},
    ]
    pieces = []
    for index, block in enumerate(blocks):
        pieces += assembly.add({"type": "content_block_start", "index": index, "content_block": block})
    deltas: Any = [(0, {"thinking": "see."}), (0, {"signature": "a"}), (0, {"signature": "b"}), (2, {"signature": "c"})]
    for index, delta in deltas:
        pieces += assembly.add({"type": "content_block_delta", "index": index, "delta": delta})
    assembly.add({"type": "message_delta", "delta": {"stop_reason": "tool_use"}})
    assembly.add({"type": "message_stop"})

    found = anthropic.from_answer(assembly.answer(), REQUEST)
    assert found.reasoning is not None
    assert found.reasoning.parts["blocks"] == [
        {"type": "thinking", "thinking": "I see.", "signature": "ab"},
        {"type": "redacted_thinking", "data": "zzz"},
        {"type": "thinking", "thinking": "", "signature": "c"},
    ]
    assert [(piece.kind, piece.text) for piece in pieces] == [
        ("thinking", "I "),
        ("tool", "disk__list"),
        ("thinking", "see."),
    ]
