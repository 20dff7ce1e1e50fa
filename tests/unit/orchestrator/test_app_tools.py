"""An app's words about tools are compared with the tools that its servers really have."""

from pathlib import Path

import pytest

from orchestrator.app_loader import load_app
from orchestrator.app_tools import check_tools
from orchestrator.contracts.messages import ToolSchema
from tests.unit.orchestrator.app_folder import write_app


def tool(name: str, *args: str, required: tuple[str, ...] = ()) -> dict[str, ToolSchema]:
    """Return a catalogue of one tool."""
    parameters = {"properties": {arg: {} for arg in args}, "required": list(required), "additionalProperties": False}
    return {name: ToolSchema.model_validate({"name": name, "parameters": parameters})}


GOOD = tool("local:finish", "team", required=("team",))


def problems(folder: Path, catalogue: dict[str, ToolSchema], **replaced: str) -> list[str]:
    """Return what does not fit, without the folder in front."""
    app = write_app(folder, **replaced)
    return [line.replace(f"{app}/", "") for line in check_tools(load_app(app, env={}), catalogue, env={})]


def test_an_app_whose_tools_are_there_fits(tmp_path: Path) -> None:
    """The sample names one tool in three places, with an argument that it takes."""
    assert problems(tmp_path, GOOD) == []


def test_a_tool_that_is_not_there_is_told_wherever_it_is_named(tmp_path: Path) -> None:
    """A rule about it would never end a session."""
    unknown = "tool 'finish' which is not registered; did you mean 'finnish'?"
    qualified = unknown.replace("'fin", "'local:fin")

    assert problems(tmp_path, tool("local:finnish", "team")) == [
        f"app.yaml:11:17: terminal_tools[0].tool_name: references {unknown}",
        f"app.yaml:17:55: model.rules.look[0].call[0].tool: references {unknown}",
        f"skills/look/config.yaml:1:17: skills.look.tools.local[0]: references {qualified}",
    ]


@pytest.mark.parametrize(
    ("block", "fragment"),
    [
        ("gateway: {policy: {finsh: high}}", "gateway.policy.finsh: references tool 'finsh' which is not registered"),
        (
            "gateway: {prod_overrides: {resolution_trigger_tools: ['remote:*', fin*]}}",
            "resolution_trigger_tools[0]: no tool is named like 'remote:*'; the gate would never apply",
        ),
        (
            "terminal_tools: [{tool_name: finish, status: done, match_args: {verdict: 'yes'}}]",
            "terminal_tools[0].match_args.verdict: tool 'finish' takes no argument 'verdict'",
        ),
        (
            "terminal_tools: [{tool_name: finish, status: done, extract_fields: {x: [args.tem]}}]",
            "extract_fields.x[0]: tool 'finish' takes no argument 'tem'; did you mean 'team'?",
        ),
        (
            "tools: {finish: {effect: idempotent}}",
            "tools.finish.effect: tool 'finish' takes no argument 'idempotency_key'",
        ),
        ("injected_args: {who: session.id}", "injected_args.who: no tool takes the argument 'who'; remove it"),
        (
            "model: {rules: {look: [{call: [{tool: finish, args: {tem: x}}], say: x}]}}",
            "call[0]: tool 'local:finish' needs the argument 'team'; give it",
        ),
        (
            "model: {rules: {look: [{call: [{tool: finish, args: {tem: x}}], say: x}]}}",
            "call[0].args.tem: tool 'finish' takes no argument 'tem'; did you mean 'team'?",
        ),
    ],
)
def test_words_that_would_never_apply_are_told(tmp_path: Path, block: str, fragment: str) -> None:
    """A gate on a tool that does not exist protects nothing."""
    told = problems(tmp_path, GOOD, **{block.split(":", 1)[0]: block})

    assert any(fragment in line for line in told), told


def test_a_bare_name_that_two_servers_have_is_ambiguous_where_one_is_called(tmp_path: Path) -> None:
    """Which of them a declared step calls must not depend on the order of servers."""
    steps = "skills: {think: {kind: tool, tool: finish, args: {team: x}, routes: [{when: default, next: __end__}]}}"

    told = problems(tmp_path, {**GOOD, **tool("other:finish", "team")}, skills=steps)

    assert told == [
        "app.yaml:19:36: skills.think.tool: tool 'finish' is ambiguous: local:finish, other:finish; name its server"
    ]


def test_an_injected_argument_need_not_be_given(tmp_path: Path) -> None:
    """The runtime fills it in after the policy has spoken."""
    catalogue = tool("local:finish", "team", "case", required=("team", "case"))

    assert problems(tmp_path, catalogue, injected_args="injected_args: {case: session.id}") == []
