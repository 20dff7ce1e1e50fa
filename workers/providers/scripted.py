"""Replay a transcript, strictly: what was recorded for this skill and turn, or a refusal.

A request that the transcript does not fit is refused with what was expected at which position; it
is never answered with something near. The transcript lies below the app's folder, named by
`options.transcript`; its shape is in `recording`.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import yaml
from pydantic import JsonValue, ValidationError

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import load_json
from orchestrator.contracts.errors import ConfigError
from orchestrator.contracts.messages import ModelRequest, ModelResponse, ToolRequest
from orchestrator.contracts.ports import Piece
from orchestrator.contracts.provider_errors import InvalidRequestError
from workers.providers.names import make_call_id, resolve_tool
from workers.providers.options import ProviderOptions, read_options
from workers.providers.recording import ScriptedTurn, answered_tools, transcript_path

PROVIDER: Final = "scripted"
MAX_TRANSCRIPT_BYTES: Final = 16 * 1024 * 1024


class ScriptedOptions(ProviderOptions):
    """The transcript's path, below the app's folder."""

    transcript: str


class ScriptedProvider:
    """One transcript. `name` is how messages call it."""

    def __init__(self, turns: Sequence[ScriptedTurn], *, name: str = "transcript") -> None:
        self._name = name
        self._turns: dict[str, list[tuple[int, int, ScriptedTurn]]] = defaultdict(list)
        for position, turn in enumerate(turns):
            before = self._turns[turn.skill]
            number = turn.turn if turn.turn is not None else (before[-1][0] + 1 if before else 0)
            before.append((number, position, turn))

    async def complete(self, request: ModelRequest) -> ModelResponse:
        """Return the recorded turn; raise InvalidRequestError if there is none that fits."""
        position, turn = self._find(request)
        where = f"{self._name}: entry {position} ({request.skill}, turn {request.turn})"
        seen = answered_tools(request)
        if turn.after is not None and tuple(sorted(turn.after)) != seen:
            expected, found = ", ".join(turn.after) or "no tool", ", ".join(seen) or "no tool"
            raise self._refused(f"{where}: expected answers of {expected}, found {found}; record it anew")
        offered = [tool.name for tool in request.tools]
        calls = tuple(
            ToolRequest(
                call_id=call.call_id or make_call_id(request, index),
                tool=resolve_tool(call.tool, offered, where=f"{where}: tool_calls[{index}]", provider=PROVIDER),
                args=call.args,
            )
            for index, call in enumerate(turn.tool_calls)
        )
        return ModelResponse(
            content=turn.content,
            tool_calls=calls,
            confidence=turn.confidence,
            rationale=turn.rationale,
            signal=turn.signal,
            stop_reason=turn.stop_reason or ("tool_use" if calls else "end_turn"),
            usage=turn.usage,
            model=PROVIDER,
        )

    async def stream(self, request: ModelRequest, on_piece: Callable[[Piece], None]) -> ModelResponse:
        """Return the recorded turn, told word by word before."""
        response = await self.complete(request)
        for word in re.findall(r"\S+\s*|\s+", response.content):
            on_piece(Piece("text", word))
        for call in response.tool_calls:
            on_piece(Piece("tool", call.tool))
        return response

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""

    def _find(self, request: ModelRequest) -> tuple[int, ScriptedTurn]:
        """Return the entry for this skill and turn, with its position in the file.

        A skill that is entered again counts its turns anew, so that several entries may have the
        same number: then the one that stands where the context is, counted in turns of the skill.
        """
        own = self._turns.get(request.skill, [])
        fitting = [index for index, (number, _, _) in enumerate(own) if number == request.turn]
        if len(fitting) > 1:
            done = sum(m.role == "assistant" and m.skill == request.skill for m in request.messages)
            fitting = [index for index in fitting if index == done]
        if fitting:
            return own[fitting[0]][1:]
        numbers = ", ".join(str(number) for number, _, _ in own)
        has = f"the transcript has turns {numbers} of it" if own else self._skills()
        message = f"{self._name}: asked for skill {request.skill!r}, turn {request.turn}: {has}; record it anew"
        raise self._refused(message)

    def _skills(self) -> str:
        return f"the transcript knows {', '.join(sorted(self._turns)) or 'no skill'}"

    def _refused(self, message: str) -> InvalidRequestError:
        return InvalidRequestError(message, provider=PROVIDER)


def build(spec: AppSpec, *, env: Mapping[str, str]) -> ScriptedProvider:
    """Load the app's transcript; raise ConfigError if it cannot be read."""
    del env  # a transcript needs nothing from outside
    options = read_options(spec, ScriptedOptions)
    path = transcript_path(spec, options.transcript, option="transcript")
    return ScriptedProvider(load_transcript(path), name=options.transcript)


def load_transcript(path: Path) -> tuple[ScriptedTurn, ...]:
    """Read a transcript file; raise ConfigError with the entry that is wrong."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TRANSCRIPT_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"transcript {str(path)!r}: cannot be read: {error.strerror}; record one first") from error
    if len(content) > MAX_TRANSCRIPT_BYTES:
        raise ConfigError(f"transcript {str(path)!r}: over {MAX_TRANSCRIPT_BYTES} bytes; split it")
    found = _parse(path, content)
    if isinstance(found, dict) and found.keys() == {"turns"}:
        found = found["turns"]
    if not isinstance(found, list):
        raise ConfigError(f"transcript {str(path)!r}: not a list of turns; write a list of {{skill, content, ...}}")
    turns = []
    for index, entry in enumerate(found):
        try:
            turns.append(ScriptedTurn.model_validate(entry))
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            what = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            raise ConfigError(f"transcript {str(path)!r}: entry {index}: {what}; mend the entry") from error
    return tuple(turns)


def _parse(path: Path, content: bytes) -> JsonValue:
    try:
        if path.suffix == ".jsonl":
            return [load_json(line) for line in content.splitlines() if line.strip()]
        if path.suffix == ".json":
            return load_json(content)
        found: JsonValue = yaml.safe_load(content)
    except (ValueError, yaml.YAMLError) as error:
        what = " ".join(str(error).split())
        raise ConfigError(f"transcript {str(path)!r}: not valid {path.suffix[1:] or 'YAML'}: {what}") from error
    return found
