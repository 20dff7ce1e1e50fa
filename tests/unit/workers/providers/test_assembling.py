"""Streams of events, in whichever pieces they come, become the answer that was meant; or are malformed."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts.ports import Piece
from workers.providers.assembling import MOST_PARTS, AnthropicAssembly, OpenAiAssembly
from workers.providers.sse import iter_data


def read_stream(chunks: list[bytes], *, most: int = 10_000, most_event: int = 1_000) -> list[str]:
    """Return the data of a stream that comes in these chunks."""

    async def come() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def read() -> list[str]:
        return [data async for data in iter_data(come(), most_bytes=most, most_event_bytes=most_event)]

    return asyncio.run(read())


STREAM = 'event: x\r\ndata: {"ä": 1}\r\n\r\n: a comment\n\nid: 7\ndata: two\ndata:lines\n\ndata: last'.encode()


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_do_not_depend_on_how_the_network_cuts_them(cuts: list[int]) -> None:
    """Also in the middle of a character, or of a line's end."""
    places = sorted({0, *cuts, len(STREAM)})

    assert read_stream([STREAM[a:b] for a, b in pairwise(places)]) == ['{"ä": 1}', "two\nlines", "last"]


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([b"data: x\n\n"] * 2000, "over 10000 bytes of events"),
        ([b"data: " + b"x" * 1200], "an event over 1000 bytes"),
        ([b"data: " + b"x" * 300 + b"\n"] * 4, "an event over 1000 bytes"),
        ([b"data: \xff\n\n"], "utf-8"),
    ],
)
def test_a_stream_without_bounds_is_refused(chunks: list[bytes], said: str) -> None:
    """A service that never ends must not fill the worker's memory."""
    with pytest.raises(ValueError, match=said):
        read_stream(chunks)


def delta(**fields: Any) -> dict[str, Any]:
    """Return a chat completion chunk."""
    return {"model": "m", "choices": [{"delta": fields}]}


def test_calls_whose_parts_come_mixed_are_told_apart() -> None:
    """Parallel calls are numbered; each one's arguments are its own."""
    assembly = OpenAiAssembly()
    pieces = []
    for event in (
        delta(content="I "),
        delta(content="look", reasoning_content="hm"),
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "read", "arguments": ""}}]),
        delta(tool_calls=[{"index": 1, "id": "b", "function": {"name": "list", "arguments": '{"n"'}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"p": 1}'}}]),
        delta(tool_calls=[{"index": 1, "function": {"arguments": ": 2}"}}]),
        {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
        {"choices": [], "usage": {"prompt_tokens": 3}},
    ):
        pieces += assembly.add(event)

    answer: Any = assembly.answer()
    message = answer["choices"][0]["message"]
    assert [(call["id"], call["function"]) for call in message["tool_calls"]] == [
        ("a", {"name": "read", "arguments": '{"p": 1}'}),
        ("b", {"name": "list", "arguments": '{"n": 2}'}),
    ]
    assert (message["content"], answer["usage"], answer["model"]) == ("I look", {"prompt_tokens": 3}, "m")
    assert Piece("thinking", "hm") in pieces
    assert [piece.text for piece in pieces if piece.kind == "tool"] == ["read", "list"]


@pytest.mark.parametrize("place", [{"index": 0}, {}], ids=["numbered alike", "not numbered"])
def test_calls_of_a_service_that_does_not_number_them_are_told_apart_by_their_ids(place: dict[str, Any]) -> None:
    """Put into one, their arguments are no JSON, and the call is made wrongly or not at all."""
    assembly, pieces = OpenAiAssembly(), []
    for event in (
        delta(tool_calls=[{**place, "id": "a", "function": {"name": "read", "arguments": '{"p"'}}]),
        delta(tool_calls=[{**place, "id": "a", "function": {"arguments": ": "}}]),
        delta(tool_calls=[{**place, "id": "", "function": {"arguments": "1}"}}]),
        delta(tool_calls=[{**place, "id": "b", "function": {"name": "list", "arguments": "{}"}}]),
        delta(tool_calls=[{"index": 1, "id": "c", "function": {"name": "read", "arguments": "{}"}}]),
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    ):
        pieces += assembly.add(event)

    answer: Any = assembly.answer()
    calls = answer["choices"][0]["message"]["tool_calls"]
    assert [(call["id"], call["function"]["arguments"]) for call in calls] == [
        ("a", '{"p": 1}'),
        ("b", "{}"),
        ("c", "{}"),
    ]
    assert [piece.text for piece in pieces] == ["read", "list", "read"]


def test_an_answer_of_calls_without_end_is_refused() -> None:
    """Ids of its own for each would fill the memory, whatever their number."""
    assembly = OpenAiAssembly()
    for number in range(MOST_PARTS):
        assembly.add(delta(tool_calls=[{"index": 0, "id": f"c{number}", "function": {"name": "read"}}]))
    with pytest.raises(ValueError, match="over 1000 of them"):
        assembly.add(delta(tool_calls=[{"index": 0, "id": "one more", "function": {"name": "read"}}]))


def test_blocks_of_a_message_are_put_together_in_their_order() -> None:
    """Text, thinking that is shown and not kept, a tool's input in parts; usage from head and end together."""
    assembly = AnthropicAssembly()
    pieces = []
    for event in (
        {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 3, "output_tokens": None}}},
        {"type": "ping"},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "a", "name": "read"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"p":'}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ):
        pieces += assembly.add(event)  # type: ignore[arg-type]  # literal mappings are JSON

    assert assembly.answer() == {
        "model": "m",
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "output_tokens": 5},
        "content": [
            {"type": "text", "text": "hi"},
            {"type": "tool_use", "id": "a", "name": "read", "input": {"p": 1}},
        ],
    }
    assert pieces == [Piece("tool", "read"), Piece("text", "hi"), Piece("thinking", "hm")]


@pytest.mark.parametrize("assembly", [OpenAiAssembly(), AnthropicAssembly()], ids=["openai", "anthropic"])
def test_an_answer_without_its_end_is_none(assembly: OpenAiAssembly | AnthropicAssembly) -> None:
    """Half an answer may say the opposite of the whole one."""
    with pytest.raises(ValueError, match="broke off"):
        assembly.answer()


@pytest.mark.parametrize(
    ("assembly", "event"),
    [
        (OpenAiAssembly(), delta(tool_calls=[{"index": 10**9}])),
        (OpenAiAssembly(), delta(tool_calls=[{"index": "one"}])),
        (OpenAiAssembly(), {"error": {"message": "overloaded"}}),
        (AnthropicAssembly(), {"type": "content_block_start", "index": -1, "content_block": {}}),
        (AnthropicAssembly(), {"type": "content_block_delta", "index": 0, "delta": {}}),
        (AnthropicAssembly(), {"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}}),
    ],
)
def test_what_cannot_belong_to_an_answer_is_refused(
    assembly: OpenAiAssembly | AnthropicAssembly, event: dict[str, Any]
) -> None:
    """A defect of the service, told as one, and no silent half of an answer."""
    with pytest.raises(ValueError):  # noqa: PT011 - any text will do: the channel adds where and what to do
        assembly.add(event)
