"""A person hands a session to a team, and the call that would tell the team is not made.

Whatever keeps it from being made - a hook, a crash, a person's word that it has not happened - the session must not end as if
somebody had been told: it is a dead letter, and sent again it calls the team anew.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from orchestrator.client import Client
from orchestrator.contracts.app import ToolSpec
from orchestrator.contracts.event_names import TOOL_PRE
from orchestrator.contracts.hooks import HookSpec
from tests.integration.test_sessions import die_after_the_act
from tests.stage import Stage, play
from workers.executor import Executor
from workers.hooks import HookBook, Listener


def effectful(on: Stage, on_uncertain: Literal["ask", "fail"] = "ask") -> None:
    """Let the tool that pages have effects that may not be repeated."""
    spec = on.specs["everything"]
    tools = {**spec.tools, "page": ToolSpec(effect="effectful", on_uncertain=on_uncertain)}
    on.specs = {**on.specs, "everything": spec.model_copy(update={"tools": tools})}
    on.client = Client(on.store, on.specs)


def hooked(on: Stage, hook: Callable[[str, dict[str, Any]], Any]) -> Executor:
    """Return a worker whose app has a hook before every tool call."""
    executor = on.worker()
    apps = on.hosts[-1].apps
    book = HookBook({TOOL_PRE: [Listener(HookSpec(call="hooks.py:guard", event=TOOL_PRE), hook, is_async=False)]})
    apps["everything"] = replace(apps["everything"], hooks=book)
    return executor


async def hand_over(on: Stage) -> str:
    """Let a session come to its gate, and hand it to the team that can be told."""
    session_id = await on.submit(plan="gate")
    await on.run(on.worker(), session_id)
    await on.client.answer(session_id, actor="ada", verdict="escalate", team="night")
    return session_id


async def assert_told_at_last(on: Stage, session_id: str, ledger: Path, pages: int) -> None:
    """Send the dead letter again: the team is told, and the session settled."""
    await on.client.replay([session_id], actor="ada")
    record = await on.run(on.worker(), session_id)
    assert (record.status, record.fields["team"]) == ("handed_over", "night")
    assert len(ledger.read_text().splitlines()) == pages
    assert (await on.client.verify(session_id)).differences == ()


def test_a_session_whose_escalation_a_hook_denies_is_not_settled(store_url: str, ledger: Path) -> None:
    """A guard may keep a call from being made; nobody has been told then."""

    async def scene(on: Stage) -> None:
        session_id = await hand_over(on)

        record = await on.run(hooked(on, lambda *_: {"action": "deny", "reason": "no pages today"}), session_id)

        assert (record.phase, record.status) == ("dead", None)
        [(_, info)] = await on.client.dead_letters()
        assert "no pages today" in str(info["detail"])
        assert ledger.read_text() == ""
        await assert_told_at_last(on, session_id, ledger, 1)

    play(store_url, scene)


def test_what_a_hook_denied_once_it_is_asked_about_again(store_url: str, ledger: Path) -> None:
    """A dead letter that is sent again is no way around a guard."""

    async def scene(on: Stage) -> None:
        session_id = await hand_over(on)
        for _ in range(2):
            record = await on.run(hooked(on, lambda *_: {"action": "deny", "reason": "no pages"}), session_id)
            assert record.phase == "dead"
            await on.client.replay([session_id], actor="ada")

        assert ledger.read_text() == ""

    play(store_url, scene)


def test_what_is_asked_about_an_escalation_is_answered(store_url: str, ledger: Path) -> None:
    """The session's own work is done, but not the question about its last call."""

    async def scene(on: Stage) -> None:
        session_id = await hand_over(on)
        executor = hooked(on, lambda *_: {"action": "ask_user", "approval_prompt": "Wake them?"})
        assert (await on.run(executor, session_id)).phase == "waiting"
        await on.client.decide(session_id, allow=True, actor="grace")

        record = await on.run(executor, session_id)

        assert (record.status, len(ledger.read_text().splitlines())) == ("handed_over", 1)

    play(store_url, scene)


@pytest.mark.parametrize("on_uncertain", ["ask", "fail"])
def test_a_session_whose_escalation_was_lost_is_not_settled(
    store_url: str, ledger: Path, on_uncertain: Literal["ask", "fail"]
) -> None:
    """Its worker died beside the call; a person looked and found that the team knows nothing, or nobody is asked."""

    async def scene(on: Stage) -> None:
        effectful(on, on_uncertain)
        session_id = await hand_over(on)
        await die_after_the_act(on, session_id, ledger)
        await on.lose_lease(session_id)
        record = await on.run(on.worker(), session_id)
        if on_uncertain == "ask":
            assert record.wait is not None
            assert record.wait.kind == "uncertain"
            await on.client.answer(session_id, actor="ada", verdict="failed", text="they know nothing of it")
            record = await on.run(on.worker(), session_id)

        assert (record.phase, record.status) == ("dead", None)
        assert await on.client.intents(session_id) == {}
        await assert_told_at_last(on, session_id, ledger, 2)

    play(store_url, scene)
