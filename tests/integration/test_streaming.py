"""Answers as they are written: from the service over the worker and the store to a client that comes and goes."""

import asyncio
from collections.abc import Iterator

import pytest

from orchestrator.contracts.errors import InputError
from orchestrator.contracts.messages import Message, ModelRequest, ToolSchema
from orchestrator.contracts.ports import Piece, Provider, StreamingProvider
from orchestrator.contracts.provider_errors import StreamError
from orchestrator.contracts.streaming import StreamPiece
from orchestrator.store.store import Limits, Store
from orchestrator.store.token_stream import TokenStream
from tests.integration.talker import play, submit, talker
from tests.stage import Stage
from workers.providers import build_provider
from workers.stub_llm import running

DIALECTS = ("openai_compat", "anthropic")


@pytest.fixture(scope="module")
def stub() -> Iterator[str]:
    """Give the base URL of a stub model."""
    with running() as url:
        yield f"{url}/v1"


def provider_for(dialect: str, url: str, model: str = "stub") -> Provider:
    """Build a provider that talks to the stub."""
    spec = talker(url if dialect == "openai_compat" else url.removesuffix("/v1"), model)
    return build_provider(
        spec.model_copy(update={"model": spec.model.model_copy(update={"provider": dialect})}), env={}
    )


def request_of(text: str) -> ModelRequest:
    """Return a request with two tools."""
    tools = (
        ToolSchema(name="disk:list", parameters={"type": "object", "properties": {}}),
        ToolSchema(name="disk:read", description="Reads.", parameters={"type": "object"}),
    )
    messages = (Message(role="user", content=text),)
    return ModelRequest(session_id="S", skill="talk", system="You work.", messages=messages, tools=tools)


def text_of(pieces: list[StreamPiece]) -> str:
    """Return the text of pieces."""
    return "".join(piece.text for piece in pieces if piece.kind == "text")


async def stream_of(on: Stage, session_id: str, after: str = "0-0") -> list[StreamPiece]:
    """Return what is kept of a session's stream."""
    return [piece async for piece in on.client.stream(session_id, after=after, follow=False)]


def test_an_answer_is_streamed_and_is_in_the_journal_all_the_same(store_url: str, stub: str) -> None:
    """The stream is for watching; what counts is the journal's, and they say the same."""
    spec = talker(stub)
    spec = spec.model_copy(update={"model": spec.model.model_copy(update={"stream": True})})

    async def scene(on: Stage) -> None:
        session_id = await submit(on)
        following = [piece async for piece in on.client.stream(session_id, follow=False)]
        record = await on.run(on.worker(), session_id)
        pieces = await stream_of(on, session_id)

        assert (following, record.status) == ([], "fine")
        assert [pieces[0].kind, pieces[-1].kind] == ["begin", "end"]
        assert (pieces[0].skill, pieces[0].turn, pieces[0].attempt) == ("talk", 0, 1)
        context = await on.client.context(session_id)
        assert text_of(pieces) == context[-1].content != ""
        turn = [entry async for entry in on.client.events(session_id)][1]
        assert int(str(turn.data["output_tokens"])) > 0

    play(store_url, spec, scene)


def test_a_try_that_breaks_off_is_told_as_such(store_url: str, stub: str) -> None:
    """Half an answer is no answer: the watcher learns that another try begins."""
    spec = talker(stub, "cut-stream-first-1")
    spec = spec.model_copy(update={"model": spec.model.model_copy(update={"stream": True})})

    async def scene(on: Stage) -> None:
        session_id = await submit(on)
        executor = on.worker()
        record = await on.run(executor, session_id)
        assert record.wait is not None
        assert record.wait.reason == "StreamError"
        await on.skip_to_due(session_id)
        assert (await on.run(executor, session_id)).status == "fine"

        kinds = [piece.kind for piece in await stream_of(on, session_id) if piece.kind != "text"]
        attempts = [piece.attempt for piece in await stream_of(on, session_id) if piece.kind == "begin"]
        assert (kinds, attempts) == (["begin", "failed", "begin", "end"], [1, 2])

    play(store_url, spec, scene)


def test_without_being_asked_for_nothing_is_written(store_url: str, stub: str) -> None:
    """A session that nobody wants to watch costs what it did."""

    async def scene(on: Stage) -> None:
        session_id = await submit(on)
        await on.run(on.worker(), session_id)

        assert await stream_of(on, session_id) == []
        assert await on.store.command("EXISTS", on.store.keys.of_session("tokens", session_id)) == 0

    play(store_url, talker(stub), scene)


def test_a_client_that_comes_back_misses_nothing_that_is_kept(store_url: str, stub: str) -> None:
    """It goes on behind its offset; where that is too long ago, it is told that something is missing."""

    async def scene(on: Stage) -> None:
        session_id = await submit(on)
        store = Store(store_url, limits=Limits(stream_pieces=10))
        stream, fence = TokenStream(store), 7
        await store.command("HSET", store.keys.of_session("record", session_id), "fence", fence)
        try:
            for number in range(1, 9):
                await stream.append(session_id, fence, number, [StreamPiece(kind="text", text=str(number))])
            seen = await stream.read(session_id, count=3)
            rest = await stream.read(session_id, seen[-1].offset)
            assert text_of([*seen, *rest]) == "12345678"

            more = [StreamPiece(kind="text", text=letter) for letter in "abcdefgh"]
            assert await stream.append(session_id, fence, 9, more)
            assert await stream.append(session_id, fence, 9, more)  # the reply was lost, and it is written once
            late = await stream.read(session_id, seen[-1].offset)
            assert [piece.kind for piece in late[:2]] == ["gap", "text"]
            assert text_of(list(late)) == "78abcdefgh"
            assert text_of(list(await stream.read(session_id, rest[-1].offset))) == "abcdefgh"
            assert [piece.kind for piece in await stream.read(session_id, rest[-1].offset)] == ["text"] * 8

            # Another holder begins at one again, and a reader goes on without a gap.
            await store.command("HSET", store.keys.of_session("record", session_id), "fence", fence + 1)
            last = late[-1].offset
            assert not await stream.append(session_id, fence, 17, more)
            assert await stream.append(session_id, fence + 1, 1, [StreamPiece(kind="begin")])
            assert [piece.offset for piece in await stream.read(session_id, last)] == [f"{fence + 1}-1"]
            with pytest.raises(InputError, match="not an offset"):
                await stream.read(session_id, "yesterday")
        finally:
            await store.aclose()

    play(store_url, talker(stub), scene)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("said", ["Tell me of the sea.", 'call disk:read {"path": "ä b"}\ncall list'])
def test_a_streamed_answer_is_the_same_as_an_unstreamed_one(stub: str, dialect: str, said: str) -> None:
    """One reader for both: calls, usage, text; and the pieces add up to the text."""

    async def run() -> None:
        provider = provider_for(dialect, stub)
        pieces: list[Piece] = []
        request = request_of(said)
        try:
            whole = await provider.complete(request)
            assert isinstance(provider, StreamingProvider)
            streamed = await provider.stream(request, pieces.append)
        finally:
            await provider.aclose()

        named = [
            call.model_copy(update={"call_id": ""}) for call in whole.tool_calls
        ]  # the stub makes ids of the request
        assert [call.model_copy(update={"call_id": ""}) for call in streamed.tool_calls] == named
        assert streamed.model_copy(update={"tool_calls": whole.tool_calls}) == whole
        assert "".join(piece.text for piece in pieces if piece.kind == "text") == whole.content
        assert len([piece for piece in pieces if piece.kind == "tool"]) == len(whole.tool_calls)

    asyncio.run(run())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_that_breaks_off_may_be_asked_for_again(stub: str, dialect: str) -> None:
    """Nothing of it counts."""

    async def run() -> None:
        provider = provider_for(dialect, stub, "cut-stream")
        try:
            assert isinstance(provider, StreamingProvider)
            with pytest.raises(StreamError) as caught:
                await provider.stream(request_of("Tell me."), lambda _: None)
            assert caught.value.retryable
        finally:
            await provider.aclose()

    asyncio.run(run())
