"""Transcripts: written from any provider without secrets, replayed strictly."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import ConfigError
from orchestrator.contracts.messages import Message, ModelRequest, ModelResponse, ToolRequest, ToolSchema, Usage
from orchestrator.contracts.provider_errors import InvalidRequestError, InvalidToolCallError
from workers.providers import build_provider
from workers.providers.recording import RecordingProvider, ScriptedCall, ScriptedTurn
from workers.providers.scripted import ScriptedProvider, load_transcript

TOOLS = (ToolSchema(name="s:read"), ToolSchema(name="s:write"))
T = TypeVar("T")


def run(work: Awaitable[T]) -> T:
    """Run one coroutine."""

    async def main() -> T:
        return await work

    return asyncio.run(main())


def spec_of(root: Path, **options: Any) -> AppSpec:
    """Return an app below `root` that replays a transcript."""
    return AppSpec.model_validate(
        {
            "name": "demo",
            "entry_skill": "work",
            "skills": {"work": {"kind": "responsive", "name": "work"}},
            "model": {"provider": "scripted", "options": options},
            "root": str(root),
        }
    )


def request_of(skill: str = "work", turn: int = 0, *messages: Message) -> ModelRequest:
    """Return a request at this turn."""
    return ModelRequest(session_id="SES-20261120-001", skill=skill, turn=turn, messages=messages, tools=TOOLS)


def said(skill: str) -> Message:
    """Return one earlier turn of a skill."""
    return Message(role="assistant", skill=skill)


YAML = """\
turns:
  - skill: work
    content: Reading.
    tool_calls: [{tool: read, args: {path: a}}]
  - skill: other
    turn: 3
    content: Elsewhere.
  - skill: work
    after: [read]
    content: Done.
    confidence: 0.9
    rationale: seen
    signal: success
"""


def test_a_transcript_is_replayed_by_skill_and_turn(tmp_path: Path) -> None:
    """Demos and tests need a model that says the same thing every time."""
    (tmp_path / "t.yaml").write_text(YAML)
    provider = build_provider(spec_of(tmp_path, transcript="t.yaml"), env={})
    first = run(provider.complete(request_of()))
    call = first.tool_calls[0]
    context = (
        Message(role="assistant", skill="work", tool_calls=first.tool_calls),
        Message(role="tool", call_id=call.call_id, content="{}", skill="work"),
    )

    assert (first.content, call.tool, call.args) == ("Reading.", "s:read", {"path": "a"})
    assert run(provider.complete(request_of("work", 1, *context))) == ModelResponse(
        content="Done.", confidence=0.9, rationale="seen", signal="success", model="scripted"
    )
    assert run(provider.complete(request_of("other", 3))).content == "Elsewhere."


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        (request_of("work", 2), "asked for skill 'work', turn 2: the transcript has turns 0, 1 of it"),
        (request_of("nobody", 0), "the transcript knows other, work"),
        (request_of("work", 1), "entry 2 (work, turn 1): expected answers of read, found no tool"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(tmp_path: Path, request_: ModelRequest, what: str) -> None:
    """An answer that is merely near would hide that the run went another way."""
    (tmp_path / "t.yaml").write_text(YAML)
    provider = ScriptedProvider(load_transcript(tmp_path / "t.yaml"))

    with pytest.raises(InvalidRequestError) as caught:
        run(provider.complete(request_))
    assert what in str(caught.value)


def test_a_tool_that_is_not_offered_is_refused() -> None:
    """The transcript was recorded with other tools."""
    provider = ScriptedProvider([ScriptedTurn(skill="work", tool_calls=(ScriptedCall(tool="erase"),))])

    with pytest.raises(InvalidToolCallError, match=r"tool_calls\[0\]: the skill has no tool 'erase'"):
        run(provider.complete(request_of()))


def test_a_skill_that_is_entered_again_goes_on_in_the_transcript() -> None:
    """Its turns count from 0 again; the context says which visit this is."""
    turns = [ScriptedTurn(skill="work", turn=n, content=c) for n, c in ((0, "a"), (1, "b"), (0, "c"))]
    provider = ScriptedProvider(turns)

    assert run(provider.complete(request_of("work", 0))).content == "a"
    assert run(provider.complete(request_of("work", 0, said("work"), said("work"), said("other")))).content == "c"
    with pytest.raises(InvalidRequestError):
        run(provider.complete(request_of("work", 0, said("work"))))


class Canned:
    """A provider with one answer, in the place of a live model."""

    def __init__(self, response: ModelResponse) -> None:
        self.response, self.is_closed = response, False

    async def complete(self, request: ModelRequest) -> ModelResponse:
        """Give the answer."""
        del request
        return self.response

    async def aclose(self) -> None:
        """Note that it was closed."""
        self.is_closed = True


SECRET = "sk-very-secret-1234"


def test_what_was_recorded_replays_without_its_secrets(tmp_path: Path) -> None:
    """A transcript is committed beside an app: a key in it would be published."""
    path = tmp_path / "runs" / "t.jsonl"
    response = ModelResponse(
        content=f"The key is {SECRET}; ä \u2028 \x7f 😀",
        tool_calls=(ToolRequest(call_id="c", tool="s:read", args={f"k{SECRET}": [SECRET, 1, None]}),),
        confidence=0.0,
        stop_reason="tool_use",
        usage=Usage(input_tokens=3, output_tokens=4),
    )
    inner = Canned(response)
    recorder = RecordingProvider(inner, path, secrets=[SECRET, SECRET[:9]])

    assert run(recorder.complete(request_of())) == response
    run(recorder.complete(request_of("work", 1)))
    run(recorder.aclose())
    assert inner.is_closed
    assert SECRET[:9] not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    replayed = run(ScriptedProvider(load_transcript(path)).complete(request_of()))
    assert replayed.content == "The key is [redacted]; ä \u2028 \x7f 😀"
    assert replayed.tool_calls[0].args == {"k[redacted]": ["[redacted]", 1, None]}
    assert (replayed.confidence, replayed.usage) == (0.0, response.usage)
    assert len(load_transcript(path)) == 2


def test_the_record_option_wraps_any_provider(tmp_path: Path) -> None:
    """An author records one live run and tests against it from then on."""
    spec = spec_of(tmp_path, transcript="t.yaml", record="out.jsonl")
    (tmp_path / "t.yaml").write_text(YAML)

    run(build_provider(spec, env={}).complete(request_of()))
    assert load_transcript(tmp_path / "out.jsonl")[0].content == "Reading."


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("t.yaml", "- skill: work\n  contnet: x\n", "entry 0: contnet"),
        ("t.yaml", "- [", "not valid yaml"),
        ("t.yaml", "a: 1", "not a list of turns"),
        ("t.yaml", "!!python/object/apply:os.getcwd []", "not valid yaml"),
        ("t.json", "[{", "not valid json"),
        ("t.jsonl", '{"skill": "work"}\n{"skill"', "not valid jsonl"),
        ("none.yaml", None, "cannot be read"),
        ("../t.yaml", None, "not below the app's folder"),
        ("/etc/passwd", None, "not below the app's folder"),
        ("link.yaml", None, "not below the app's folder"),
        ("", None, "not a path"),
    ],
)
def test_a_transcript_that_cannot_be_used_is_refused_at_boot(
    tmp_path: Path, name: str, content: str | None, what: str
) -> None:
    """The author learns which entry is wrong; nothing outside the app's folder is read."""
    (tmp_path / "app").mkdir()
    (tmp_path / "t.yaml").write_text("[]")
    (tmp_path / "app" / "link.yaml").symlink_to(tmp_path / "t.yaml")
    if content is not None:
        (tmp_path / "app" / name).write_text(content)

    with pytest.raises(ConfigError) as caught:
        build_provider(spec_of(tmp_path / "app", transcript=name), env={})
    assert what in str(caught.value)


def test_a_recording_is_written_by_lines() -> None:
    """Appending to another format would not give a file of that format."""
    with pytest.raises(ConfigError, match=r"name it \*\.jsonl"):
        RecordingProvider(Canned(ModelResponse()), Path("t.yaml"))
