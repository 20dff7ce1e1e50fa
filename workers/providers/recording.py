"""Transcripts: the shape of what a model said turn by turn, and the provider that writes one.

A transcript is a file with one turn a line (.jsonl), or a list of turns (.json, .yaml, .yml). A
recording is always .jsonl: a turn is one append, so that several workers may write one file and a
crash loses at most the turn in hand. Known secrets are cut out before anything is written.
Replaying is the work of `scripted`.
"""

import asyncio
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import Frozen, JsonObject
from orchestrator.contracts.errors import ConfigError
from orchestrator.contracts.messages import ModelRequest, ModelResponse, Usage
from orchestrator.contracts.ports import Piece, Provider, StreamingProvider
from orchestrator.kernel.lookup import normalise_tool

REDACTED: Final = "[redacted]"


class ScriptedCall(Frozen):
    """A tool call of a transcript; `tool` is bare or full."""

    tool: str
    args: JsonObject = {}
    call_id: str | None = None


class ScriptedTurn(Frozen):
    """What a model said in one turn of a skill.

    Without `turn`, the turn is the next one of its skill in the file. `after` are the bare names of
    the tools whose answers the model has just seen; where it is given, it must be so again.
    """

    skill: str
    turn: int | None = None
    after: tuple[str, ...] | None = None
    content: str = ""
    tool_calls: tuple[ScriptedCall, ...] = ()
    confidence: float | None = None
    rationale: str | None = None
    signal: str | None = None
    stop_reason: str | None = None
    usage: Usage = Usage()


class RecordingProvider:
    """Passes every call on to another provider, and writes what it said to a transcript."""

    def __init__(self, inner: Provider, path: Path, *, secrets: Collection[str] = ()) -> None:
        if path.suffix != ".jsonl":
            raise ConfigError(f"recording {str(path)!r}: a recording is written line by line; name it *.jsonl")
        self._inner, self._path = inner, path
        # The longest first, so that a secret within another one leaves nothing of it behind.
        self._secrets = sorted({s for s in secrets if s}, key=len, reverse=True)

    async def complete(self, request: ModelRequest) -> ModelResponse:
        """Make one call; a call that fails leaves no turn."""
        return await self._record(request, await self._inner.complete(request))

    async def stream(self, request: ModelRequest, on_piece: Callable[[Piece], None]) -> ModelResponse:
        """Make one call, streamed where the recorded provider streams; the turn is written once it is whole."""
        if isinstance(self._inner, StreamingProvider):
            return await self._record(request, await self._inner.stream(request, on_piece))
        return await self.complete(request)

    async def _record(self, request: ModelRequest, response: ModelResponse) -> ModelResponse:
        turn = redact(turn_of(request, response).model_dump(mode="json", exclude_defaults=True), self._secrets)
        line = ScriptedTurn.model_validate(turn).to_json() + "\n"
        await asyncio.to_thread(_append, self._path, line.encode())
        return response

    async def aclose(self) -> None:
        """Close the recorded provider."""
        await self._inner.aclose()


def turn_of(request: ModelRequest, response: ModelResponse) -> ScriptedTurn:
    """Return the turn that replays this response. Ids are left out: they are made anew."""
    return ScriptedTurn(
        skill=request.skill,
        turn=request.turn,
        after=answered_tools(request),
        content=response.content,
        tool_calls=tuple(ScriptedCall(tool=call.tool, args=call.args) for call in response.tool_calls),
        confidence=response.confidence,
        rationale=response.rationale,
        signal=response.signal,
        stop_reason=response.stop_reason,
        usage=response.usage,
    )


def answered_tools(request: ModelRequest) -> tuple[str, ...]:
    """Return the sorted bare names of the tools whose answers end the context."""
    answered: set[str | None] = set()
    for message in reversed(request.messages):
        if message.role == "tool":
            answered.add(message.call_id)
        elif answered and message.role == "assistant":
            calls = (call for call in message.tool_calls if call.call_id in answered)
            return tuple(sorted(normalise_tool(call.tool)[1] for call in calls))
        else:
            break
    return ()


def redact(value: JsonValue, secrets: Collection[str]) -> JsonValue:
    """Return `value` without the secrets, in keys and in texts.

    >>> redact({"a": ["key is s3cret"]}, ["s3cret"])
    {'a': ['key is [redacted]']}
    """
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, REDACTED)
        return value
    if isinstance(value, list):
        return [redact(item, secrets) for item in value]
    if isinstance(value, dict):
        return {str(redact(key, secrets)): redact(item, secrets) for key, item in value.items()}
    return value


def transcript_path(spec: AppSpec, value: JsonValue, *, option: str) -> Path:
    """Return the path of a transcript below the app's folder; raise ConfigError for any other."""
    where = f"app {spec.name!r}: model.options.{option}"
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{where}: not a path; give one below the app's folder")
    root = Path(spec.root).resolve()
    path = (root / value).resolve()
    if not spec.root or not path.is_relative_to(root) or path == root:
        raise ConfigError(f"{where}: {value!r} is not below the app's folder; move the file there")
    return path


def _append(path: Path, line: bytes) -> None:
    """Write one line in one call, readable by its owner alone: what a model says may be private."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
