"""Both HTTP providers, and the official OpenAI client, against the stub server over real sockets."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import openai
import pytest

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import ConfigError
from orchestrator.contracts.messages import Message, ModelRequest, ModelResponse, ToolSchema
from orchestrator.contracts.ports import Provider
from orchestrator.contracts.provider_errors import (
    AccessDeniedError,
    AuthenticationError,
    ContextLengthError,
    InvalidRequestError,
    InvalidToolCallError,
    LLMError,
    LLMTimeoutError,
    NetworkError,
    NotFoundError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitError,
    StreamError,
)
from workers.providers import anthropic, build_provider, openai_compat
from workers.providers.http import MAX_DETAIL, MAX_RESPONSE_BYTES, make_client
from workers.providers.recording import RecordingProvider
from workers.providers.scripted import ScriptedProvider, load_transcript
from workers.stub_llm import running, serve
from workers.stub_replies import StubCall, StubReply

KEY = "sk-very-secret-1234"
TOOLS = (
    ToolSchema(name="disk:list", parameters={"type": "object", "properties": {}}),
    ToolSchema(name="disk:read", description="Reads.", parameters={"type": "object"}),
)
DIALECTS = ("openai_compat", "anthropic")
T = TypeVar("T")


@pytest.fixture(scope="module")
def stub() -> Iterator[str]:
    """Give the base URL of one stub for all tests: only counters are shared, by model name."""
    replies = [StubReply(match="the weather", tool_calls=(StubCall(tool="read", args={"path": "w"}),))]
    with running(replies) as url:
        yield url


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    """Run a test once in each dialect."""
    return str(request.param)


def provider_for(dialect: str, url: str, model: str = "stub", **options: Any) -> Provider:
    """Build a provider that talks to `url`."""
    base_url = f"{url}/v1" if dialect == "openai_compat" else url
    spec = AppSpec.model_validate(
        {
            "name": "demo",
            "entry_skill": "work",
            "skills": {"work": {"kind": "responsive", "name": "work"}},
            "model": {"provider": dialect, "model": model, "options": {"base_url": base_url, **options}},
        }
    )
    return build_provider(spec, env={"KEY": KEY})


def request_of(*messages: Message, **more: Any) -> ModelRequest:
    """Return a request with two tools."""
    fields: dict[str, Any] = {"system": "You work.", "tools": TOOLS, "timeout_seconds": 10.0, **more}
    return ModelRequest(session_id="SES-20261120-001", skill="work", messages=messages, **fields)


def user(text: str) -> Message:
    """Return what a person said."""
    return Message(role="user", content=text)


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Run one coroutine in a loop of its own."""

    async def main() -> T:
        return await work()

    return asyncio.run(main())


def ask(provider: Provider, *requests: ModelRequest) -> list[ModelResponse]:
    """Return the provider's answers, and close it."""

    async def work() -> list[ModelResponse]:
        try:
            return [await provider.complete(request) for request in requests]
        finally:
            await provider.aclose()

    return run(work)


def failure_of(provider: Provider, request: ModelRequest | None = None) -> LLMError:
    """Return the error that a call ends in."""
    with pytest.raises(LLMError) as caught:
        ask(provider, request or request_of(user("hi")))
    return caught.value


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(handle: Handler) -> AsyncIterator[str]:
    """Serve bytes by hand: what no well-behaved server sends. Every connection has ended at the exit."""
    ended: list[asyncio.Event] = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(asyncio.Event())
        event = ended[-1]
        try:
            await reader.readuntil(b"\r\n\r\n")
            await handle(reader, writer)
            writer.close()
            await writer.wait_closed()
        except ConnectionError:
            writer.close()
        finally:
            event.set()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()
        await server.wait_closed()
        async with asyncio.timeout(60):
            for event in ended:
                await event.wait()


def test_a_turn_with_tools_goes_there_and_back(stub: str, dialect: str) -> None:
    """The whole round: a call asked for, its answer sent, the last word read."""

    async def work() -> tuple[ModelResponse, ModelResponse]:
        provider = provider_for(dialect, stub)
        try:
            first = await provider.complete(request_of(user('call disk:read {"path": "ä"}\ncall list')))
            context = (
                user('call disk:read {"path": "ä"}\ncall list'),
                Message(role="assistant", content=first.content, tool_calls=first.tool_calls),
                *(Message(role="tool", call_id=call.call_id, content="[42]") for call in first.tool_calls),
            )
            return first, await provider.complete(request_of(*context, turn=1))
        finally:
            await provider.aclose()

    first, last = run(work)
    assert [(c.tool, c.args) for c in first.tool_calls] == [("disk:read", {"path": "ä"}), ("disk:list", {})]
    assert len({c.call_id for c in first.tool_calls}) == 2
    assert (first.stop_reason, last.stop_reason) == ("tool_use", "end_turn")
    assert "the tool said: " in last.content
    assert "[42]" in last.content
    assert last.usage.output_tokens > 0
    assert last.model == "stub"


def test_the_session_model_wins_over_the_app_one(stub: str, dialect: str) -> None:
    """A skill may name a model of its own."""
    (response,) = ask(provider_for(dialect, stub), request_of(user("hi"), model="envelope"))

    assert response == ModelResponse(
        content="echo: hi",
        confidence=0.9,
        rationale="the stub is sure",
        signal="success",
        usage=response.usage,
        model="envelope",
    )


def test_a_context_with_notes_ids_and_other_skills_is_accepted(stub: str, dialect: str) -> None:
    """The stub refuses what services refuse: ids with colons, roles out of turn, calls without answers."""
    (call,) = ask(provider_for(dialect, stub), request_of(user("call read")))[0].tool_calls
    call = call.model_copy(update={"call_id": "SES-20261120-001:3:0"})
    context = (
        Message(role="system", content="A note."),
        user("call read"),
        Message(role="assistant", tool_calls=(call,), skill="other"),
        Message(role="tool", call_id=call.call_id, content="42"),
        Message(role="system", content="Another note."),
        user("and now?"),
        user("well?"),
    )

    with_tools, without = ask(provider_for(dialect, stub), request_of(*context), request_of(*context, tools=()))
    assert "well?" in with_tools.content
    assert "well?" in without.content


TRANSIENT: list[tuple[str, int, type[LLMError]]] = [
    ("overloaded-529", 529, ProviderUnavailableError),
    ("status-500", 500, ProviderUnavailableError),
    ("status-503", 503, ProviderUnavailableError),
    ("status-408", 408, LLMTimeoutError),
    ("status-409", 409, LLMError),
]
REFUSED: list[tuple[str, int, type[LLMError]]] = [
    ("unauthorized", 401, AuthenticationError),
    ("context-length", 400, ContextLengthError),
    ("status-400", 400, InvalidRequestError),
    ("status-402", 402, QuotaExceededError),
    ("status-403", 403, AccessDeniedError),
    ("status-404", 404, NotFoundError),
    ("status-413", 413, ContextLengthError),
    ("status-422", 422, InvalidRequestError),
    ("status-307", 307, LLMError),
]


@pytest.mark.parametrize(("model", "status", "kind"), TRANSIENT)
def test_what_may_pass_is_transient(stub: str, dialect: str, model: str, status: int, kind: type[LLMError]) -> None:
    """The runtime tries again on exactly these."""
    error = failure_of(provider_for(dialect, stub, model))

    assert (type(error), error.retryable) == (kind, True)
    assert (error.status_code, error.provider, error.model, error.retry_after) == (status, dialect, model, None)


@pytest.mark.parametrize(("model", "status", "kind"), REFUSED)
def test_what_will_not_pass_is_refused(stub: str, dialect: str, model: str, status: int, kind: type[LLMError]) -> None:
    """Trying again would cost money and change nothing; a redirect is not followed with a key in hand."""
    error = failure_of(provider_for(dialect, stub, model))

    assert (type(error), error.retryable) == (kind, False)
    assert error.status_code == status
    assert f"status {status}" in str(error)


def test_a_rate_limit_says_when_to_come_back(stub: str, dialect: str) -> None:
    """The finer of the two headers is taken."""
    error = failure_of(provider_for(dialect, stub, "rate-limited"))

    assert type(error) is RateLimitError
    assert (error.status_code, error.retryable, error.retry_after) == (429, True, 0.25)


@pytest.mark.parametrize(("model", "what"), [("bad-json", "not JSON"), ("cut-stream", "RemoteProtocolError")])
def test_a_body_that_cannot_be_read_is_transient(stub: str, dialect: str, model: str, what: str) -> None:
    """A proxy that broke an answer does not end a session."""
    error = failure_of(provider_for(dialect, stub, model))

    assert (type(error), error.retryable) == (StreamError, True)
    assert what in str(error)


def test_nothing_is_retried_by_the_provider(stub: str, dialect: str) -> None:
    """Retries belong to the runtime: one call, one request, every second one of `flaky` a 503."""
    provider = provider_for(dialect, stub, "flaky-first-1" if dialect == "anthropic" else "status-503-first-1")

    with pytest.raises(ProviderUnavailableError):
        ask(provider, request_of(user("hi")))
    assert ask(provider, request_of(user("hi")))[0].content == "echo: hi"


def test_every_second_call_of_flaky_fails() -> None:
    """The fault is as regular as the stub says, so that a demo of retries is the same each time."""

    async def work(url: str) -> list[bool]:
        provider, seen = provider_for("openai_compat", url, "flaky"), []
        for _ in range(4):
            try:
                await provider.complete(request_of(user("hi")))
            except ProviderUnavailableError:
                seen.append(False)
            else:
                seen.append(True)
        await provider.aclose()
        return seen

    with running() as url:
        assert run(lambda: work(url)) == [True, False, True, False]


def test_a_slow_answer_is_transient_when_the_time_is_over(stub: str, dialect: str) -> None:
    """A session does not wait longer than its app allows."""
    error = failure_of(provider_for(dialect, stub, "slow-5000ms"), request_of(user("hi"), timeout_seconds=0.1))

    assert type(error) is LLMTimeoutError
    assert "no answer within 0.1 s" in str(error)
    assert ask(provider_for(dialect, stub, "slow-20ms"), request_of(user("hi")))[0].content == "echo: hi"


def test_an_answer_that_trickles_is_stopped_by_the_whole_time(dialect: str) -> None:
    """A byte now and then would keep a limit per read happy for ever."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n")
        while not reader.at_eof():
            writer.write(b" ")
            await writer.drain()
            with suppress(TimeoutError):  # a byte every 10 ms until the client goes
                await asyncio.wait_for(reader.read(65536), 0.01)

    async def work() -> None:
        async with raw_server(trickle) as url:
            provider = provider_for(dialect, url)
            with pytest.raises(LLMTimeoutError, match=r"no answer within 0\.2 s"):
                await provider.complete(request_of(user("hi"), timeout_seconds=0.2))
            await provider.aclose()

    run(work)


def test_cancelling_a_call_closes_its_connection(dialect: str) -> None:
    """A cancelled session must not leave a model at work, and billed, behind its back."""

    async def work() -> None:
        arrived, closed = asyncio.Event(), asyncio.Event()

        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            del writer
            arrived.set()
            while await reader.read(65536):
                pass
            closed.set()

        async with raw_server(hang) as url:
            provider = provider_for(dialect, url)
            call = asyncio.ensure_future(provider.complete(request_of(user("hi"))))
            async with asyncio.timeout(60):
                await arrived.wait()
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                await closed.wait()
            await provider.aclose()

    run(work)


def test_an_endless_answer_is_refused_at_its_limit(dialect: str) -> None:
    """What a wrong URL sends must not fill the worker's memory."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()

    async def work() -> None:
        async with raw_server(flood) as url:
            provider = provider_for(dialect, url)
            with pytest.raises(InvalidRequestError, match=f"over {MAX_RESPONSE_BYTES} bytes"):
                await provider.complete(request_of(user("hi")))
            await provider.aclose()

    run(work)


SPENT = {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": None}}
UNREADABLE = {"message": {"tool_calls": [{"id": "c", "function": {"name": "read", "arguments": "{path:"}}]}}


def answering(status: int, body: dict[str, Any]) -> Handler:
    """Answer every request with a status and a JSON body."""
    content = json.dumps(body).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        writer.write(
            b"HTTP/1.1 %d X\r\nretry-after: 9\r\ncontent-length: %d\r\n\r\n%b" % (status, len(content), content)
        )
        await writer.drain()

    return answer


def test_a_spent_quota_is_not_waited_for() -> None:
    """It comes with the status of a rate limit; only a person ends it, and the service's code says so."""

    async def work() -> LLMError:
        async with raw_server(answering(429, SPENT)) as url:
            provider = provider_for("openai_compat", url)
            with pytest.raises(QuotaExceededError) as caught:
                await provider.complete(request_of(user("hi")))
            await provider.aclose()
            return caught.value

    error = run(work)
    assert (error.retryable, error.retry_after, error.status_code) == (False, None, 429)


def test_a_tool_call_that_cannot_be_read_says_what_the_model_wrote() -> None:
    """It is asked again: models seldom write the same nonsense twice. What it wrote is kept for a person."""

    async def work() -> InvalidToolCallError:
        async with raw_server(answering(200, {"choices": [UNREADABLE]})) as url:
            provider = provider_for("openai_compat", url, "m")
            with pytest.raises(InvalidToolCallError) as caught:
                await provider.complete(request_of(user("hi")))
            await provider.aclose()
            return caught.value

    error = run(work)
    assert (error.tool_name, error.raw_arguments, error.retryable) == ("read", "{path:", True)
    assert (error.provider, error.model) == ("openai_compat", "m")


def test_a_service_that_is_not_there_is_transient(dialect: str) -> None:
    """It may be starting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = failure_of(provider_for(dialect, f"http://127.0.0.1:{port}"))

    assert (type(error), error.retryable) == (NetworkError, True)
    assert "ConnectError" in str(error)


@pytest.mark.parametrize("before", [0, MAX_DETAIL - len("bad key ") - 10])
def test_the_key_is_never_shown(dialect: str, before: int) -> None:
    """Services repeat keys in their errors, and errors go to logs and to the journal; half a key is too much."""

    async def parrot(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        body = f'{{"error": {{"message": "{"." * before}bad key {KEY}"}}}}'
        writer.write(f"HTTP/1.1 401 No\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()

    async def work() -> LLMError:
        async with raw_server(parrot) as url:
            provider = provider_for(dialect, url, api_key_env="KEY")
            with pytest.raises(AuthenticationError) as caught:
                await provider.complete(request_of(user("hi")))
            await provider.aclose()
            return caught.value

    error = run(work)
    assert "bad key [redacted]" in str(error)
    assert KEY[:6] not in f"{error!r} {error.__cause__!r}"


def test_the_key_is_checked_by_a_stub_that_has_one(dialect: str) -> None:
    """Each dialect carries the key in its own header."""
    with running(api_key=KEY) as url:
        assert ask(provider_for(dialect, url, api_key_env="KEY"), request_of(user("hi")))[0].content == "echo: hi"
        assert isinstance(failure_of(provider_for(dialect, url, api_key="wrong-key")), AuthenticationError)


def test_many_sessions_share_one_client_and_its_connections(stub: str) -> None:
    """A worker has hundreds of lanes and one client; a provider does not close what it was lent."""

    async def work() -> list[str]:
        client = make_client()
        spec = AppSpec.model_validate(
            {
                "name": "demo",
                "entry_skill": "work",
                "skills": {"work": {"kind": "responsive", "name": "work"}},
                "model": {"provider": "openai_compat", "model": "slow-20ms", "options": {"base_url": f"{stub}/v1"}},
            }
        )
        one = openai_compat.build(spec, env={}, client=client)
        other = anthropic.build(
            spec.model_copy(update={"model": spec.model.model_copy(update={"provider": "anthropic"})}),
            env={},
            client=client,
        )
        answers = await asyncio.gather(*(p.complete(request_of(user(f"{n}"))) for n in range(50) for p in (one, other)))
        await one.aclose()
        answers.append(await other.complete(request_of(user("still open"))))
        await other.aclose()
        await client.aclose()
        return [answer.content for answer in answers]

    found = run(work)
    assert found == [f"echo: {n}" for n in range(50) for _ in range(2)] + ["echo: still open"]


def test_a_recorded_run_replays_as_it_was(stub: str, dialect: str, tmp_path: Path) -> None:
    """A live run becomes a test: what the model said, said again without it."""
    path = tmp_path / "t.jsonl"
    live = ask(
        RecordingProvider(provider_for(dialect, stub), path),
        request_of(user("how is the weather")),
        request_of(user("hi"), turn=1),
    )

    replayed = ask(
        ScriptedProvider(load_transcript(path)),
        request_of(user("how is the weather")),
        request_of(user("hi"), turn=1),
    )
    for was, now in zip(live, replayed, strict=True):
        assert [(c.tool, c.args) for c in was.tool_calls] == [(c.tool, c.args) for c in now.tool_calls]
        assert (was.content, was.stop_reason, was.usage) == (now.content, now.stop_reason, now.usage)
    assert live[0].tool_calls[0].args == {"path": "w"}


@pytest.fixture
def client(stub: str) -> Iterator[openai.OpenAI]:
    """Give the official client, as the judge of what the stub sends."""
    with openai.OpenAI(base_url=f"{stub}/v1", api_key="k", max_retries=0, timeout=60) as found:
        yield found


OPENAI_TOOLS: Any = [{"type": "function", "function": {"name": "disk__read", "parameters": {"type": "object"}}}]


def test_the_official_client_reads_an_answer_and_the_models(client: openai.OpenAI) -> None:
    """If the official client is content, the stub speaks the dialect."""
    answer = client.chat.completions.create(model="stub", messages=[{"role": "user", "content": "hi"}])

    assert answer.choices[0].message.content == "echo: hi"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert "rate-limited" in [model.id for model in client.models.list()]


def test_the_official_client_uses_tools(client: openai.OpenAI) -> None:
    """The call, its answer, and the last word."""
    messages: Any = [{"role": "user", "content": 'call disk__read {"path": "a"}'}]

    message = client.chat.completions.create(model="stub", messages=messages, tools=OPENAI_TOOLS).choices[0].message
    assert message.tool_calls is not None
    call: Any = message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("disk__read", '{"path":"a"}')
    messages += [message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "42"}]
    last = client.chat.completions.create(model="stub", messages=messages, tools=OPENAI_TOOLS)
    assert last.choices[0].message.content == "the tool said: 42"


def test_the_official_client_streams(client: openai.OpenAI) -> None:
    """Text in pieces, a call in a piece, usage where asked for."""
    options: Any = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(
            model="stub", messages=[{"role": "user", "content": "hi  you"}], stream=True, stream_options=options
        )
    )
    called = list(
        client.chat.completions.create(
            model="stub", messages=[{"role": "user", "content": "call"}], tools=OPENAI_TOOLS, stream=True
        )
    )

    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "echo: hi  you"
    assert chunks[-1].usage is not None
    deltas = [d for chunk in called for d in (chunk.choices[0].delta.tool_calls or [])]
    assert [d.function.name for d in deltas if d.function] == ["disk__read"]
    assert called[-1].choices[0].finish_reason == "tool_calls"


def test_the_official_client_meets_the_faults(client: openai.OpenAI) -> None:
    """Each fault is what the client takes it for; its own retries are why we do not use it."""
    hi: Any = [{"role": "user", "content": "hi"}]
    faults: list[tuple[str, type[openai.OpenAIError]]] = [
        ("rate-limited", openai.RateLimitError),
        ("unauthorized", openai.AuthenticationError),
        ("context-length", openai.BadRequestError),
        ("overloaded-529", openai.InternalServerError),
        ("cut-stream", openai.APIConnectionError),
    ]

    for model, kind in faults:
        with pytest.raises(kind):
            client.chat.completions.create(model=model, messages=hi)
    with pytest.raises(openai.APIConnectionError):
        list(client.chat.completions.create(model="cut-stream", messages=hi, stream=True))
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="rate-limited", messages=hi)
    assert caught.value.response.headers["retry-after-ms"] == "250"
    again = client.with_options(max_retries=1).chat.completions.create(model="rate-limited-first-1", messages=hi)
    assert again.choices[0].message.content == "echo: hi"


def test_the_official_client_is_told_of_a_bad_request(client: openai.OpenAI) -> None:
    """The stub is as strict as the service."""
    messages: Any = [{"role": "tool", "tool_call_id": "c", "content": "42"}]

    with pytest.raises(openai.BadRequestError, match="answers no call"):
        client.chat.completions.create(model="stub", messages=messages)


SERVE = """
import sys
from pathlib import Path
from workers.stub_llm import serve
serve(port=0, replies=Path(sys.argv[1]), ready=lambda url: print(url, flush=True))
"""


def test_serve_runs_as_a_process_and_ends_on_a_signal(tmp_path: Path) -> None:
    """What `baton stub-llm` runs: its address on a line as soon as it can be called."""
    (tmp_path / "replies.yaml").write_text("- match: hi\n  content: hello\n")
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path / "replies.yaml")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()

        assert ask(provider_for("anthropic", url), request_of(user("hi")))[0].content == "hello"
        with urllib.request.urlopen(f"{url}/healthz", timeout=60) as response:
            assert response.read() == b'{"status":"ok"}'
    finally:
        process.terminate()
        assert process.wait(timeout=60) in (0, -15)
        if process.stdout is not None:
            process.stdout.close()


def test_a_port_in_use_is_refused_in_words() -> None:
    """The remedy is another port, and the message says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="choose another"):
        serve(port=taken.getsockname()[1])


def test_the_stub_leaves_no_thread_behind() -> None:
    """A fixture that leaks a server would haunt every later test."""
    before = threading.active_count()
    with running():
        assert threading.active_count() > before

    assert "stub-llm" not in [t.name for t in threading.enumerate() if t.ident is not None][before:]
