"""A model server for demos and tests: no model, the same answer to the same request, faults by name.

    POST /v1/chat/completions   OpenAI's dialect, with tools and with `stream: true`
    POST /v1/messages           Anthropic's dialect, with tools and with `stream: true`
    GET  /v1/models             the names below
    GET  /healthz               {"status": "ok"}

What it says is decided by `stub_replies`; any model name answers. `thinking` refuses calls without the reasoning that it
gave with them, as services do. These misbehave, in both dialects:

    flaky               every second call is a 503
    slow, slow-200ms    answers after 1 s, or after what the name or `x-stub-delay-ms` says
    rate-limited        429 with retry-after-ms: 250 and Retry-After: 1
    overloaded-529      529
    unauthorized        401
    context-length      400
    bad-json            200 with a body that is no JSON
    cut-stream          200, and the connection ends in the middle of the body
    status-NNN          that status
    NAME-first-N        the fault NAME for the first N calls, then none

It keeps nothing but counters, checks requests as strictly as the services do, and binds loopback
alone unless told otherwise: it has no authentication worth the name.
"""

import asyncio
import re
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

import uvicorn
import yaml
from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from orchestrator.contracts.base import JsonObject, dump_json, load_json
from orchestrator.contracts.errors import ConfigError, InputError
from workers.stub_replies import THINKING, Answer, BadRequest, Conversation, StubReply, choose_answer
from workers.stub_wire import anthropic_body, anthropic_stream, openai_body, openai_stream, read_anthropic, read_openai

Dialect: TypeAlias = Literal["openai", "anthropic"]

DEFAULT_PORT: Final = 8089
SLOW_SECONDS: Final = 1.0
MAX_DELAY_SECONDS: Final = 600.0
MAX_BODY_BYTES: Final = 8 * 1024 * 1024
MODELS: Final = (
    "stub",
    "envelope",
    THINKING,
    "flaky",
    "slow",
    "rate-limited",
    "overloaded-529",
    "unauthorized",
    "context-length",
    "bad-json",
    "cut-stream",
)
_FIRST: Final = re.compile(r"(?P<fault>.+)-first-(?P<count>\d{1,4})")
_SLOW: Final = re.compile(r"slow(?:-(?P<ms>\d{1,6})ms)?")
_STATUS: Final = re.compile(r"status-(?P<status>[3-5]\d\d)")
_KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    429: "rate_limit_error",
    503: "api_error",
    529: "overloaded_error",
}


class Fault(NamedTuple):
    """What goes wrong with one call; `status` 0 is nothing."""

    status: int = 0
    message: str = ""
    code: str = ""
    headers: dict[str, str] = {}
    body: Literal["whole", "bad-json", "cut"] = "whole"
    delay_seconds: float = 0.0


class StubModel:
    """The server's state: scripted replies, and how often each model was called."""

    def __init__(self, replies: Sequence[StubReply] = (), *, api_key: str | None = None) -> None:
        self.replies, self.api_key = tuple(replies), api_key
        self.calls: Counter[str] = Counter()

    def app(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat_completions, methods=["POST"]),
                Route("/v1/messages", self.messages, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/healthz", self.healthz),
            ]
        )

    async def healthz(self, request: Request) -> Response:
        """Say that the server is up."""
        del request
        return JSONResponse({"status": "ok"})

    async def models(self, request: Request) -> Response:
        """List the models that do something of their own."""
        del request
        rows = [{"id": name, "object": "model", "created": 0, "owned_by": "baton"} for name in MODELS]
        return JSONResponse({"object": "list", "data": rows})

    async def chat_completions(self, request: Request) -> Response:
        """Answer in OpenAI's dialect."""
        return await self._answer(request, "openai", read_openai, openai_body)

    async def messages(self, request: Request) -> Response:
        """Answer in Anthropic's dialect."""
        return await self._answer(request, "anthropic", read_anthropic, anthropic_body)

    async def _answer(
        self,
        request: Request,
        dialect: Dialect,
        read: Callable[[JsonObject], Conversation],
        write: Callable[[Answer, str], JsonObject],
    ) -> Response:
        try:
            body = await _body(request)
            conversation = read(body)
            answer = choose_answer(conversation, self.replies)
        except BadRequest as error:
            return _error(dialect, 400, str(error), "invalid_request")
        if self.api_key is not None and _key_of(request, dialect) != self.api_key:
            return _error(dialect, 401, "the key is wrong", "invalid_api_key")
        fault = self._fault(conversation.model, request)
        await asyncio.sleep(fault.delay_seconds)
        if fault.status:
            return _error(dialect, fault.status, fault.message, fault.code, fault.headers)
        if fault.body == "bad-json":
            return Response('{"choices": [', media_type="application/json")
        if body.get("stream"):
            cut = fault.body == "cut"
            if dialect == "openai":
                events = openai_stream(answer, conversation.model, with_usage=_wants_usage(body), cut=cut)
            else:
                events = anthropic_stream(answer, conversation.model, cut=cut)
            headers = {"cache-control": "no-cache"}
            return (_Cut if fault.body == "cut" else StreamingResponse)(
                events, media_type="text/event-stream", headers=headers
            )
        content = dump_json(write(answer, conversation.model)).encode()
        if fault.body == "cut":
            return _Cut(_once(content[: len(content) // 2]), media_type="application/json")
        return Response(content, media_type="application/json")

    def _fault(self, model: str, request: Request) -> Fault:
        """Return what this call of the model meets, and count the call."""
        self.calls[model] += 1
        number, name = self.calls[model], model
        if (first := _FIRST.fullmatch(model)) is not None:
            name = first["fault"] if number <= int(first["count"]) else "stub"
        if name == "flaky" and number % 2 == 1 and first is None:
            name = "stub"
        return choose_fault(name, delay_ms=request.headers.get("x-stub-delay-ms"))


def choose_fault(model: str, *, delay_ms: str | None = None) -> Fault:
    """Return the fault that a model's name stands for.

    >>> choose_fault("stub").status, choose_fault("slow-200ms").delay_seconds, choose_fault("status-418").status
    (0, 0.2, 418)
    """
    delay = int(delay_ms) / 1000 if delay_ms is not None and re.fullmatch(r"\d{1,6}", delay_ms) else None
    if (slow := _SLOW.fullmatch(model)) is not None and delay is None:
        delay = int(slow["ms"]) / 1000 if slow["ms"] else SLOW_SECONDS
    fault = Fault()
    match model:
        case "flaky":
            fault = Fault(503, "every second call fails", "unavailable")
        case "rate-limited":
            fault = Fault(429, "slow down", "rate_limit_exceeded", {"retry-after-ms": "250", "retry-after": "1"})
        case "overloaded-529":
            fault = Fault(529, "overloaded", "overloaded")
        case "unauthorized":
            fault = Fault(401, "the key is wrong", "invalid_api_key")
        case "context-length":
            fault = Fault(400, "the context is too long", "context_length_exceeded")
        case "bad-json":
            fault = Fault(body="bad-json")
        case "cut-stream":
            fault = Fault(body="cut")
        case _ if (status := _STATUS.fullmatch(model)) is not None:
            fault = Fault(int(status["status"]), f"status {status['status']} was asked for", "asked_for")
    return fault._replace(delay_seconds=min(delay or 0.0, MAX_DELAY_SECONDS))


def load_replies(path: Path) -> tuple[StubReply, ...]:
    """Read scripted replies from a YAML list; raise InputError with all that is wrong."""
    where, remedy = f"replies {str(path)!r}", "write a list of {match, turn, model, content, tool_calls}"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        return tuple(TypeAdapter(list[StubReply]).validate_python(found))
    except OSError as error:
        raise InputError(f"{where}: {error.strerror}; name a file that can be read") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 text: byte {error.start}; save it as UTF-8") from error
    except ValidationError as error:
        told = [f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors(include_url=False)]
        raise InputError(f"{where}: {'; '.join(told)}; {remedy}") from error
    except (yaml.YAMLError, ValueError) as error:  # a date that is none is the latter
        raise InputError(f"{where}: not YAML: {' '.join(str(error).split())}; {remedy}") from error


def serve(
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    *,
    replies: Path | None = None,
    api_key: str | None = None,
    allow_remote: bool = False,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until a signal ends it. `ready` gets the base URL once connections are accepted.

    Port 0 takes a free one. Raise ConfigError for a port in use, or for an address that others can
    reach without `allow_remote`, InputError for replies that cannot be read.
    """
    model = StubModel(load_replies(replies) if replies is not None else (), api_key=api_key)
    listener = _listen(host, port, allow_remote=allow_remote)
    server = uvicorn.Server(_config(model))
    if ready is not None:
        ready(_url(listener))
    server.run(sockets=[listener])


@contextmanager
def running(replies: Sequence[StubReply] = (), *, api_key: str | None = None) -> Iterator[str]:
    """Serve in a thread on a free loopback port, and give the base URL, without `/v1`.

    The socket listens before this returns, so that no caller has to wait or to ask again.
    """
    listener = _listen("127.0.0.1", 0, allow_remote=False)
    server = uvicorn.Server(_config(StubModel(replies, api_key=api_key)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="stub-llm", daemon=True)
    thread.start()
    try:
        yield _url(listener)
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()


def _config(model: StubModel) -> uvicorn.Config:
    return uvicorn.Config(
        model.app(), log_level="critical", access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )


def _listen(host: str, port: int, *, allow_remote: bool) -> socket.socket:
    where = f"stub-llm {host}:{port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if not ip_address(address[0]).is_loopback and not allow_remote:
            raise ConfigError(
                f"{where}: others can reach this address, and the stub asks nobody for a key; use 127.0.0.1"
            )
        return socket.create_server(address[:2], family=family, backlog=512)
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror or error}; choose another address or port") from error


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class _Cut(StreamingResponse):
    """A response whose connection ends before its body does: the server closes what is unfinished."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the beginning, and leave."""
        del scope, receive
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self.body_iterator:
            data = chunk.encode() if isinstance(chunk, str) else bytes(chunk)
            await send({"type": "http.response.body", "body": data, "more_body": True})


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _body(request: Request) -> JsonObject:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            raise BadRequest(f"the request is over {MAX_BODY_BYTES} bytes")
    try:
        body = load_json(bytes(content))
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest("the body is not a JSON object")
    return body


def _key_of(request: Request, dialect: Dialect) -> str | None:
    if dialect == "anthropic":
        return request.headers.get("x-api-key")
    return (request.headers.get("authorization") or "").removeprefix("Bearer ")


def _wants_usage(body: JsonObject) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _error(dialect: Dialect, status: int, message: str, code: str, headers: dict[str, str] | None = None) -> Response:
    kind = _KINDS.get(status, "api_error")
    if dialect == "anthropic":
        return JSONResponse({"type": "error", "error": {"type": kind, "message": message}}, status, headers)
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": code}}, status, headers)
