"""The stub model: what it says, and how strictly it reads."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.contracts.errors import ConfigError, InputError
from workers.__main__ import main
from workers.stub_llm import choose_fault, load_replies, serve
from workers.stub_replies import Answer, BadRequest, StubCall, StubReply, choose_answer
from workers.stub_wire import read_anthropic, read_openai

TOOLS: Any = [{"type": "function", "function": {"name": n}} for n in ("disk__list", "disk__read")]


def answer_to(*messages: dict[str, Any], model: str = "stub", replies: tuple[StubReply, ...] = ()) -> Answer:
    """Return the stub's answer in a conversation with two tools."""
    return choose_answer(read_openai({"model": model, "messages": list(messages), "tools": TOOLS}), replies)


def user(text: str) -> dict[str, Any]:
    """Return a user's message."""
    return {"role": "user", "content": text}


ASKED = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "disk__read", "arguments": "{}"}}]}
ANSWERED = {"role": "tool", "tool_call_id": "c", "content": "42"}


def test_it_echoes() -> None:
    """The plainest answer that shows that the request arrived."""
    assert answer_to(user("hi")).text == "echo: hi"


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("call disk__read {}", ["disk__read"]),
        ("please\ncall disk:read", ["disk__read"]),
        ("call read", ["disk__read"]),
        ("call", ["disk__list"]),
        ('call {"a": 1}', ["disk__list"]),
        ("call read\ncall list", ["disk__read", "disk__list"]),
        ("call nothing", ["nothing"]),
    ],
)
def test_it_calls_what_it_is_asked_to(text: str, calls: list[str]) -> None:
    """Tests of tool use need a model that calls on demand."""
    assert [call.tool for call in answer_to(user(text)).calls] == calls


def test_after_an_answer_of_a_tool_it_comes_to_its_end() -> None:
    """A conversation in which it were asked to call would otherwise call for ever."""
    assert answer_to(user("call read"), ASKED, ANSWERED).text == "the tool said: 42"


def test_scripted_replies_go_first_and_fit_by_text_turn_and_model() -> None:
    """A demo can be told what the model says at each turn."""
    replies = (
        StubReply(match="weather", model="stub", tool_calls=(StubCall(tool="read", args={"a": 1}),)),
        StubReply(turn=1, content="the second turn"),
    )

    assert answer_to(user("the weather?"), replies=replies).calls == (StubCall(tool="disk__read", args={"a": 1}),)
    assert answer_to(user("the weather?"), model="other", replies=replies).text == "echo: the weather?"
    assert answer_to(user("x"), ASKED, ANSWERED, replies=replies).text == "the second turn"


def test_the_same_request_gets_the_same_answer_and_ids() -> None:
    """Runs can be compared only if nothing in them is random."""
    first, again = (answer_to(user("call read\ncall read")) for _ in range(2))

    assert first == again
    assert first.call_id(0) == again.call_id(0) != first.call_id(1)


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ([], "at least one"),
        (["hi"], "must be an object"),
        ([{"role": "boss", "content": "x"}], "no role"),
        ([ANSWERED], "answers no call"),
        ([user("x"), ASKED], "no answer to c"),
        ([user("x"), ASKED, user("y")], "must be followed by"),
        (
            [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "a:b", "arguments": "{}"}}]}],
            "tool name",
        ),
        ([{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "a", "arguments": {}}}]}], "as text"),
        ([user("call read {x}")], "not JSON"),
    ],
)
def test_openai_requests_are_checked(messages: list[Any], what: str) -> None:
    """What the stub takes, a real service takes: that is what it is for."""
    with pytest.raises(BadRequest, match=what):
        answer_to(*messages)


def block(kind: str, **more: Any) -> dict[str, Any]:
    """Return a content block."""
    return {"type": kind, **more}


USE = {"role": "assistant", "content": [block("tool_use", id="u", name="read", input={})]}
RESULT = block("tool_result", tool_use_id="u", content="42")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"model": ""}, "model"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "must alternate"),
        ({"messages": [user("x"), user("y")]}, "must alternate"),
        ({"messages": [user(" ")]}, "non-empty"),
        ({"messages": [user("x"), USE, user("y")]}, "do not match"),
        ({"messages": [user("x"), USE, {"role": "user", "content": [block("text", text="y"), RESULT]}]}, "before text"),
        ({"messages": [{"role": "user", "content": [block("image")]}]}, "no type"),
        ({"messages": [user("x"), USE], "tools": []}, "must define tools"),
        ({"tools": [{"name": "read"}]}, "input_schema"),
        ({"tools": [{"name": "a:b", "input_schema": {}}]}, "tool name"),
    ],
)
def test_anthropic_requests_are_checked(change: dict[str, Any], what: str) -> None:
    """The service's rules about turns are where adapters go wrong."""
    tools: Any = [{"name": "read", "input_schema": {}}]
    body: dict[str, Any] = {"model": "stub", "max_tokens": 9, "messages": [user("x")], "tools": tools, **change}

    with pytest.raises(BadRequest, match=what):
        read_anthropic(body)


def test_an_anthropic_conversation_is_the_same_conversation() -> None:
    """One script serves both dialects."""
    messages = [user("call read"), USE, {"role": "user", "content": [RESULT]}]
    tools: Any = [{"name": "read", "input_schema": {}}]

    body: dict[str, Any] = {"model": "stub", "max_tokens": 9, "messages": messages, "tools": tools}
    assert choose_answer(read_anthropic(body)).text == "the tool said: 42"


@pytest.mark.parametrize(
    ("model", "header", "seconds"),
    [
        ("slow", None, 1.0),
        ("slow-200ms", None, 0.2),
        ("slow-200ms", "5", 0.005),
        ("stub", "5", 0.005),
        ("stub", "x", 0.0),
    ],
)
def test_delays_are_chosen_by_name_or_header(model: str, header: str | None, seconds: float) -> None:
    """A test of time-outs sets the time it needs."""
    assert choose_fault(model, delay_ms=header).delay_seconds == seconds


def test_replies_are_read_and_refused_with_the_reason(tmp_path: Path) -> None:
    """A typo in a script would otherwise look like a model that does not obey."""
    path = tmp_path / "replies.yaml"
    path.write_text("- match: hi\n  content: hello\n")

    assert load_replies(path) == (StubReply(match="hi", content="hello"),)
    path.write_text("- mach: hi\n")
    with pytest.raises(
        InputError, match=r"^replies '.*': 0.mach: Extra inputs are not permitted; write a list of \{match, "
    ):
        load_replies(path)
    path.write_text("- match: [\n")
    with pytest.raises(InputError, match=r"^replies '.*': not YAML: while parsing a flow node .*; write a list of"):
        load_replies(path)
    with pytest.raises(InputError, match=r"No such file or directory; name a file that can be read$"):
        load_replies(tmp_path / "none.yaml")
    path.write_text("- match: 2026-99-99\n")
    with pytest.raises(InputError, match=r"^replies '.*': not YAML: month must be in 1..12; write a list of"):
        load_replies(path)


@pytest.mark.parametrize("text", [None, "- mach: hi\n", "{"], ids=["missing", "wrong", "no YAML"])
def test_a_file_of_replies_that_cannot_be_used_is_bad_usage(
    text: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script tells its own slip from a server that fails."""
    path = tmp_path / "replies.yaml"
    if text is not None:
        path.write_text(text)

    assert main(["stub-llm", "--port", "0", "--replies", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"baton: replies '{path}': ")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_it_does_not_bind_what_others_can_reach(host: str) -> None:
    """It asks nobody for a key."""
    with pytest.raises(ConfigError, match="others can reach this address"):
        serve(host, 0)
