"""Passes in a real box: plugins one after the other, questions and their answers, and how a pass is aborted."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from plugin_sandbox.doctor import REMEDIES, examine
from plugin_sandbox.host import Sandbox
from plugin_sandbox.inner.box import LAYERS
from plugin_sandbox.model import Call, Json, Prompt
from plugin_sandbox.outcome import AnswerInvalid
from plugin_sandbox.passes import UNANSWERED, PassResult, run_pass
from plugin_sandbox.settings import SandboxSettings

MakeCall = Callable[..., Call]

ASK = """
        from plugin_sandbox.api import PluginInputRequired
        given = ctx.variables.get("__extra_inputs__", {})
        for field in ("unit", "scale"):
            if field not in given:
                raise PluginInputRequired([{"id": field}], f"which {field}?")
        path.write_text(path.read_text() + given["unit"] + given["scale"])
"""
FAIL = """
        raise PluginError("no")
"""
WRITE = """
        path.write_text("done")
"""


def play(
    sandbox: Sandbox, calls: list[Call], *answers: Json | None, stop: bool = False
) -> tuple[PassResult, list[Prompt]]:
    """Run a pass in which a person answers these one after the other."""
    asked: list[Prompt] = []
    left = list(answers)

    async def on_prompt(prompt: Prompt) -> Json | None:
        asked.append(prompt)
        return left.pop(0)

    async def run() -> PassResult:
        halt = asyncio.Event()
        if stop:
            halt.set()
        return await run_pass(sandbox, calls, on_prompt, stop=halt)

    return asyncio.run(run()), asked


def file_of(call: Call) -> str:
    """Return what is in the one file of a call's workspace."""
    (name,) = call.files
    return (call.workspace / name).read_text()


def test_one_that_fails_does_not_stop_the_others(sandbox: Sandbox, make_call: MakeCall) -> None:
    """Each has its own entry, and only files of its own kind."""
    calls = [make_call(FAIL), make_call(WRITE)]
    more = [call.model_copy(update={"files": (*call.files, "other.bin")}) for call in calls]
    result, asked = play(sandbox, more)

    assert [entry.status for entry in result.applied] == ["failed", "success"]
    assert [entry.error for entry in result.applied] == ["no", None]
    assert (result.aborted, asked, file_of(calls[1])) == (False, [], "done")


def test_a_plugin_is_run_again_with_every_answer_so_far(sandbox: Sandbox, make_call: MakeCall) -> None:
    """From the start, on the unchanged workspace; each question has an id of its own."""
    call = make_call(ASK)
    result, asked = play(sandbox, [call], {"unit": "mm"}, {"scale": "10"})

    assert [prompt.reason for prompt in asked] == ["which unit?", "which scale?"]
    assert len({prompt.prompt_id for prompt in asked}) == 2
    assert file_of(call) == "initial\nmm10"
    assert ([entry.status for entry in result.applied], result.aborted) == (["success"], False)


def test_a_question_without_an_answer_aborts_the_pass(sandbox: Sandbox, make_call: MakeCall) -> None:
    """What comes after it has no entry; the one that asked says why it has failed."""
    calls = [make_call(ASK), make_call(WRITE)]
    before = file_of(calls[1])
    result, _ = play(sandbox, calls, None)

    assert [(entry.status, entry.error, entry.isolation.tier) for entry in result.applied] == [
        ("failed", UNANSWERED, None)
    ]
    assert (result.aborted, file_of(calls[1])) == (True, before)


def test_a_cancelled_pass_ends_where_it_is(sandbox: Sandbox, make_call: MakeCall) -> None:
    """The second plugin is not begun."""
    result, _ = play(sandbox, [make_call(WRITE), make_call(WRITE)], stop=True)

    assert ([entry.status for entry in result.applied], result.aborted) == (["cancelled"], True)


def test_an_answer_that_does_not_fit_is_its_senders_mistake(sandbox: Sandbox, make_call: MakeCall) -> None:
    """The plugin is not run with it."""
    with pytest.raises(AnswerInvalid):
        play(sandbox, [make_call(ASK)], {"unit": 5})


def test_a_doctor_says_what_this_host_gives_and_how_to_get_the_rest(settings: SandboxSettings) -> None:
    """Every layer is on, off, or missing with a remedy; the canaries decide whether anything may be run at all."""
    health: Any = examine(settings)

    assert health.tier is not None, health.error
    assert set(health.layers) == set(LAYERS)
    assert set(health.canaries.values()) == {"stopped"}
    assert health.error == ""
    assert all(
        any(line.startswith(f"{layer}: ") for line in health.remedies) for layer in health.missing if layer in REMEDIES
    )


def test_a_doctor_who_cannot_run_the_honest_plugin_names_the_reason(settings: SandboxSettings) -> None:
    """Nothing may be run there, and no canary is let loose."""
    health = examine(settings.model_copy(update={"python": "/nowhere/python"}))

    assert (health.tier, health.canaries) == (None, {})
    assert "/nowhere/python" in health.error
    assert health.remedies[-1] == health.error
