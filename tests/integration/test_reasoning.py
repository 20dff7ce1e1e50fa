"""Models that think before they call tools: their services want to be shown what was thought, unchanged, and nobody else is."""

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.messages import Message, ModelRequest, ModelResponse, Reasoning, ToolSchema
from orchestrator.contracts.ports import Piece, StreamingProvider
from orchestrator.contracts.provider_errors import InvalidRequestError
from workers.providers import build_provider
from workers.stub_llm import running

TOOLS = tuple(ToolSchema(name=f"disk:{name}", parameters={"type": "object"}) for name in ("list", "read"))
ASKED = Message(role="user", content='call disk:read {"path": "ä"}\ncall list')


@pytest.fixture(scope="module")
def stub() -> Iterator[str]:
    """Give the base URL of a stub model."""
    with running() as url:
        yield url


def provider_for(dialect: str, url: str) -> StreamingProvider:
    """Build a provider of the model that thinks."""
    options = {"base_url": f"{url}/v1" if dialect == "openai_compat" else url}
    spec = AppSpec.model_validate(
        {
            "name": "demo",
            "entry_skill": "work",
            "skills": {"work": {"kind": "responsive", "name": "work"}},
            "model": {"provider": dialect, "model": "thinking", "options": options},
        }
    )
    provider = build_provider(spec, env={})
    assert isinstance(provider, StreamingProvider)
    return provider


def request_of(*messages: Message) -> ModelRequest:
    """Return a request with two tools."""
    return ModelRequest(session_id="S", skill="work", messages=messages, tools=TOOLS, timeout_seconds=60)


def context_of(first: ModelResponse, reasoning: Reasoning | None) -> tuple[Message, ...]:
    """Return what a session holds after a turn with calls: under ids of its own, their answers behind them."""
    calls = tuple(call.model_copy(update={"call_id": f"call-0-{n}"}) for n, call in enumerate(first.tool_calls))
    said = Message(role="assistant", content=first.content, tool_calls=calls, reasoning=reasoning)
    return (ASKED, said, *(Message(role="tool", call_id=call.call_id, content="[42]") for call in calls))


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("dialect", ["openai_compat", "anthropic"])
def test_what_a_model_thought_goes_back_to_it_with_the_answers(stub: str, dialect: str, *, is_streamed: bool) -> None:
    """The service refuses the answers without it, and what is changed; so nothing but the same will do."""
    pieces: list[Piece] = []

    async def scene() -> None:
        provider = provider_for(dialect, stub)

        async def ask(*messages: Message) -> ModelResponse:
            request = request_of(*messages)
            return await (provider.stream(request, pieces.append) if is_streamed else provider.complete(request))

        try:
            first = await ask(ASKED)
            thought = first.reasoning
            assert thought is not None
            assert (thought.by, len(first.tool_calls)) == (f"{dialect}/thinking", 2)
            assert (first.content, [call.seal is None for call in first.tool_calls]) == (
                "",
                [dialect == "anthropic"] * 2,
            )

            last = await ask(*context_of(first, Reasoning.from_json(thought.to_json())))
            assert "[42]" in last.content
            assert last.reasoning is None

            for none in (None, Reasoning(by="openai_compat/another", parts=thought.parts)):
                with pytest.raises(InvalidRequestError, match="400"):
                    await ask(*context_of(first, none))
        finally:
            await provider.aclose()

    asyncio.run(scene())
    shown = "".join(piece.text for piece in pieces if piece.kind == "thinking")
    assert shown == ("I should ask 2 of my tools." if is_streamed else "")


@pytest.mark.parametrize("is_streamed", [False, True])
def test_the_official_client_reads_what_the_stub_thinks(stub: str, *, is_streamed: bool) -> None:
    """It knows no such field, and hands it on; a call's seal too."""
    client = openai.OpenAI(base_url=f"{stub}/v1", api_key="none")
    tools: Any = [{"type": "function", "function": {"name": "disk__list", "parameters": {"type": "object"}}}]
    asked: Any = {"model": "thinking", "messages": [{"role": "user", "content": "call disk__list"}], "tools": tools}
    if is_streamed:
        deltas = [one.choices[0].delta for one in client.chat.completions.create(**asked, stream=True) if one.choices]
        thought = "".join((delta.model_extra or {}).get("reasoning_content", "") for delta in deltas)
        [call] = [call for delta in deltas for call in delta.tool_calls or ()]
    else:
        message = client.chat.completions.create(**asked).choices[0].message
        thought = (message.model_extra or {})["reasoning_content"]
        [call] = message.tool_calls or ()
    client.close()

    assert thought == "I should ask 1 of my tools."
    assert "thought_signature" in str((call.model_extra or {})["extra_content"])
