"""A provider that speaks HTTP: one class for every service, told apart by their dialects.

A dialect is a path and pure functions: from a request to a body, from events to an answer, from an answer to a response.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.messages import ModelRequest, ModelResponse
from orchestrator.contracts.ports import Piece
from orchestrator.contracts.provider_errors import InvalidToolCallError, LLMError
from workers.providers.assembling import Assembly
from workers.providers.http import HttpChannel
from workers.providers.options import HttpOptions
from workers.providers.reasoning import leave_own, sign

#: How services say that an answer is no whole one.
CUT: Final = frozenset({"length", "max_tokens", "model_context_window_exceeded"})


class Wire(BaseModel):
    """A part of a foreign answer: what we do not read may be there."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Write(Protocol):
    """Translates a request."""

    def __call__(self, request: ModelRequest, *, model: str, options: HttpOptions) -> JsonObject:
        """Return the JSON body."""
        ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one kind of service is spoken to. `read` raises ValueError for what it cannot read.

    `streamed` is what a request says more where its answer shall be streamed, `assemble` begins such an answer.
    """

    path: str
    write: Write
    read: Callable[[JsonObject, ModelRequest], ModelResponse]
    assemble: Callable[[], Assembly]
    streamed: JsonObject


class HttpProvider:
    """One service, for one app."""

    def __init__(self, dialect: Dialect, channel: HttpChannel, *, model: str, options: HttpOptions) -> None:
        self._dialect, self._channel, self._model, self._options = dialect, channel, model, options

    async def complete(self, request: ModelRequest) -> ModelResponse:
        """Make one call; raise an LLMError."""
        return await self._ask(request, None)

    async def stream(self, request: ModelRequest, on_piece: Callable[[Piece], None]) -> ModelResponse:
        """Make one call, and tell its answer while it is written; raise an LLMError."""
        return await self._ask(request, on_piece)

    async def _ask(self, request: ModelRequest, on_piece: Callable[[Piece], None] | None) -> ModelResponse:
        dialect = self._dialect
        model = request.model or self._model
        by = f"{self._channel.provider}/{model}"
        request = leave_own(request, by)
        body = dialect.write(request, model=model, options=self._options)
        try:
            try:
                if on_piece is None:
                    answer = await self._channel.post(dialect.path, body, timeout_seconds=request.timeout_seconds)
                else:
                    answer = await self._stream({**body, **dialect.streamed}, request, on_piece)
                return sign(dialect.read(answer, request), by)
            except ValueError as error:  # pydantic's ValidationError is one
                raise self._channel.malformed(reason_of(error), path=dialect.path) from error
        except LLMError as error:
            error.provider, error.model = error.provider or self._channel.provider, error.model or model
            raise

    async def _stream(self, body: JsonObject, request: ModelRequest, on_piece: Callable[[Piece], None]) -> JsonObject:
        """Return a streamed answer as it would be unstreamed; raise an LLMError, or ValueError where it breaks off."""
        assembly = self._dialect.assemble()

        def on_event(event: JsonObject) -> None:
            for piece in assembly.add(event):
                on_piece(piece)

        whole = await self._channel.post_streamed(
            self._dialect.path, body, on_event, timeout_seconds=request.timeout_seconds
        )
        return assembly.answer() if whole is None else whole

    async def aclose(self) -> None:
        """Release connections."""
        await self._channel.aclose()


def reason_of(error: ValueError) -> str:
    """Return what is wrong with an answer, without the answer's own values."""
    if not isinstance(error, ValidationError):
        return str(error)
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in problems[:3])


def refuse_cut(provider: str, tools: Sequence[str], reason: str | None) -> None:
    """Raise InvalidToolCallError where an answer that was cut at its limit asks for `tools`.

    The last call may lack some of its arguments, or all, and look whole: it must not be made.
    """
    if tools and reason in CUT:
        said = f"the answer was cut ({reason}) in the middle of its tool calls; raise model.options.max_tokens"
        raise InvalidToolCallError(f"{provider}: {said}", tool_name=tools[-1], retryable=True)


def sampling(options: HttpOptions) -> JsonObject:
    """Return the options that both dialects spell alike, where they are set."""
    chosen = {"max_tokens": options.max_tokens, "temperature": options.temperature, "top_p": options.top_p}
    return {name: value for name, value in chosen.items() if value is not None}
