"""The values that modules in one process exchange: what they accept, keep, drop and write."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from orchestrator.contracts import chat, content, modules
from orchestrator.contracts.base import Lenient, Open
from orchestrator.contracts.chat import ChatRequest, ChatResponse, Message, ResponseFormatJsonSchema, Usage
from orchestrator.contracts.content import ContentBlock, TextBlock, ToolCallBlock, ToolResultBlock
from orchestrator.contracts.modules import ModelInfo, SessionStatus
from orchestrator.contracts.streaming import (
    ContentBlockType,
    TextContent,
    ThinkingContent,
    ToolCallContent,
    ToolResultContent,
)
from orchestrator.contracts.tool_result import ToolResult
from tests.property.shapes import JSON, OBJECT

BLOCKS: TypeAdapter[Any] = TypeAdapter(ContentBlock)
SHAPES = [
    shape
    for module in (content, chat, modules)
    for shape in vars(module).values()
    if isinstance(shape, type) and issubclass(shape, Lenient) and shape.__module__ == module.__name__
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_every_value_is_frozen(shape: type[Lenient]) -> None:
    """It is shared between modules: nobody may change it under another."""
    assert shape.model_config.get("frozen") is True
    assert shape.model_config.get("extra") == ("allow" if issubclass(shape, Open) else "ignore")


@pytest.mark.parametrize(
    "body",
    [
        {"type": "text", "text": "a"},
        {"type": "thinking", "thinking": "a", "signature": "s", "content": [1]},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "tool_call", "id": "1", "name": "n", "input": {"a": None}},
        {"type": "tool_result", "tool_call_id": "1", "output": None},
        {"type": "image", "source": {"url": "u"}, "visibility": "user"},
        {"type": "reasoning", "content": [], "summary": ["s"], "cache": {"ttl": 5}},
    ],
)
def test_a_block_is_read_by_its_type_and_written_as_it_came(body: dict[str, Any]) -> None:
    """Fields of a service's own go along."""
    block = BLOCKS.validate_python(body)

    assert block.type == body["type"]
    assert block.model_dump(mode="json", exclude_unset=True) == body


@pytest.mark.parametrize(
    "body",
    [
        {"type": "zzz"},
        {"text": "a"},
        {"type": "text", "text": 1},
        {"type": "text", "text": "a", "visibility": "all"},
        {"type": "tool_call", "id": "1", "name": "n"},
        {"type": "tool_result", "tool_call_id": "1"},
    ],
)
def test_a_block_that_is_none_is_refused(body: dict[str, Any]) -> None:
    """An unknown type is not guessed at; an output must be given, even if it is null."""
    with pytest.raises(ValidationError):
        BLOCKS.validate_python(body)


@given(st.lists(st.sampled_from([TextBlock(text="a"), ToolResultBlock(tool_call_id="1", output=[None])])), OBJECT, JSON)
def test_a_message_survives_its_wire_form(blocks: list[Any], metadata: dict[str, Any], extra: Any) -> None:
    """What one side sends without its Nones the other reads as the same."""
    message = Message.model_validate(
        {"role": "user", "content": blocks, "metadata": metadata, **({} if extra is None else {"x_more": extra})}
    )

    again = Message.model_validate(json.loads(json.dumps(message.to_wire())))

    assert again.to_wire() == message.to_wire()


def test_a_request_writes_only_what_it_says() -> None:
    """None is left out, also within; a null inside of free data is data."""
    block = ToolCallBlock(id="1", name="n", input={"k": None})
    request = ChatRequest(messages=(Message(role="assistant", content=(block,)),), tool_choice="auto")

    assert request.to_wire() == {
        "messages": [
            {"role": "assistant", "content": [{"type": "tool_call", "id": "1", "name": "n", "input": {"k": None}}]}
        ],
        "stream": False,
        "tool_choice": "auto",
    }


def test_a_message_needs_content_and_a_known_role() -> None:
    """An empty text is content; nothing is not."""
    assert Message(role="tool", content="").content == ""
    for wrong in ({"role": "user", "content": None}, {"role": "user"}, {"role": "robot", "content": "x"}):
        with pytest.raises(ValidationError):
            Message.model_validate(wrong)


@pytest.mark.parametrize("name", ["schema", "json_schema"])
def test_a_json_schema_is_read_under_both_names_and_sent_as_schema(name: str) -> None:
    """One engine writes the one, another the other."""
    request = ChatRequest.model_validate(
        {"messages": [], "response_format": {"type": "json_schema", name: {"type": "object"}, "strict": True}}
    )

    assert request.response_format == ResponseFormatJsonSchema(json_schema={"type": "object"}, strict=True)
    assert request.to_wire()["response_format"] == {"type": "json_schema", "schema": {"type": "object"}, "strict": True}


@pytest.mark.parametrize(
    ("given_", "kept"),
    [("0.0470", "0.0470"), (Decimal("1.20"), "1.20"), (0, "0"), ("-1", "-1"), (None, None)],
)
def test_a_cost_keeps_every_digit(given_: Any, kept: str | None) -> None:
    """Unknown differs from free, and 0.0470 from 0.047."""
    usage = Usage(input_tokens=1, output_tokens=2, total_tokens=3, cost_usd=given_)

    assert json.loads(usage.model_dump_json())["cost_usd"] == kept
    assert SessionStatus(session_id="s", cost_usd=given_).model_dump(mode="json")["cost_usd"] == kept


@pytest.mark.parametrize("wrong", [0.1, 1.0, True, "x", "NaN"])
def test_a_cost_that_is_not_exact_is_refused(wrong: Any) -> None:
    """A float has lost the amount already."""
    with pytest.raises(ValidationError, match=r"cost_usd"):
        Usage(input_tokens=1, output_tokens=2, total_tokens=3, cost_usd=wrong)
    with pytest.raises(ValidationError, match="must be Decimal, not float"):
        SessionStatus(session_id="s", cost_usd=0.5)  # type: ignore[arg-type]


def test_a_response_holds_what_a_model_said() -> None:
    """Usage is not added up: a total is the service's own word."""
    response = ChatResponse.model_validate(
        {
            "content": [{"type": "text", "text": "a"}],
            "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 9},
            "degradation": {"requested": "big", "actual": "small", "reason": "busy"},
            "x_request": "7",
        }
    )

    assert response.usage is not None
    assert (response.usage.total_tokens, response.to_wire()["x_request"]) == (9, "7")


def test_descriptions_drop_what_they_do_not_know() -> None:
    """A newer module describes more than this version shows."""
    info = ModelInfo.model_validate(
        {"id": "i", "display_name": "d", "context_window": 1, "max_output_tokens": 2, "more": 3}
    )

    assert "more" not in info.model_dump()
    assert (info.capabilities, info.defaults) == ((), {})
    assert modules.WELL_KNOWN_CAPABILITIES[0] == "tools"
    assert len(set(modules.WELL_KNOWN_CAPABILITIES)) == 16


def test_a_session_starts_running_at_an_aware_time() -> None:
    """A time without its zone is a guess on another machine."""
    status = SessionStatus(session_id="s")

    assert status.started_at.tzinfo is not None
    assert status.status == "running"
    assert set(status.to_dict()) & {"ended_at", "cost_usd", "last_error"} == set()


def test_a_failed_result_speaks_by_its_error() -> None:
    """Where a tool gave no output of its own."""
    assert ToolResult(success=False, error={"message": "m"}).output == "m"
    assert ToolResult(success=False, output=0, error={"message": "m"}).output == 0
    assert ToolResult(success=True, error={"message": "m"}).output is None
    assert ToolResult(success=False, error={"message": "m"}).model_dump(exclude_unset=True)["output"] == "m"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"output": "x"}, "x"),
        ({"output": [1]}, "[1]"),
        ({"output": 0}, "Success"),
        ({}, "Success"),
        ({"success": False}, "Failed"),
        ({"success": False, "error": {"code": 1}}, "Error: Unknown error"),
        ({"success": False, "error": {"message": "m"}}, "Error: m"),
    ],
)
def test_a_result_reads_as_one_line(fields: dict[str, Any], text: str) -> None:
    """For people; a model gets kernel/tool_output.py."""
    assert str(ToolResult(**fields)) == text


def test_streamed_pieces_show_what_they_are_and_never_the_raw_answer() -> None:
    """An event's payload; the raw answer may hold anything."""
    raw = {"secret": "x"}
    pieces = [
        TextContent(text="a", raw=raw),
        ThinkingContent(text="b", raw=raw),
        ToolCallContent(id="1", name="n", arguments={"a": 1}, raw=raw),
        ToolCallContent(id="1"),
        ToolResultContent(tool_call_id="1", output=3, error="e", raw=raw),
        ToolResultContent(tool_call_id="1", error=""),
    ]

    assert [piece.to_dict() for piece in pieces] == [
        {"type": "text", "text": "a"},
        {"type": "thinking", "text": "b"},
        {"type": "tool_call", "id": "1", "name": "n", "arguments": {"a": 1}},
        {"type": "tool_call", "id": "1", "name": "", "arguments": None},
        {"type": "tool_result", "tool_call_id": "1", "output": 3, "error": "e"},
        {"type": "tool_result", "tool_call_id": "1", "output": None},
    ]
    assert "secret" not in repr(pieces)
    assert pieces[0].type is ContentBlockType.TEXT
