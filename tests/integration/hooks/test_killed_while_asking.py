"""A worker is killed at the instant at which a session begins to wait, and another one gets the answer: real processes."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from orchestrator.client import Client
from orchestrator.contracts.session import Record
from orchestrator.embedded import RunningServer
from orchestrator.embedded_binary import bundled_path
from orchestrator.installed import load_installed_apps
from orchestrator.kernel.rebuild import find_differences, fold
from orchestrator.wiring import build_client
from tests.chaos.fleet import Fleet, fleet_of, pause, quick_settings
from tests.hook_stage import HOOKED, Ledger

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform"),
]

#: One session for each action, by its prompt and what its model asks for: each of them comes to a wait.
ACTIONS: dict[str, tuple[str, list[dict[str, list[str]]]]] = {
    "ask_user before a call": ("go", [{"strike": ["one", "ask two"]}]),
    "ask_user after a call": ("go", [{"strike": ["then ask"]}]),
    "ask_user before the model": ("ask before model", []),
    "ask_user after the model": ("ask after model", []),
    "modify": ("secret", [{"danger": ["change three"]}]),
    "deny": ("go", [{"strike": ["deny"], "danger": ["four"]}]),
    "inject_context": ("durable", [{"danger": ["durable"]}]),
    "inject_context, ephemeral": ("go", [{"danger": ["ephemeral"]}]),
    "continue": ("notice", [{"danger": ["five"]}]),
}


async def wait_until(client: Client, sessions: list[str], *phases: str) -> dict[str, Record]:
    """Return the sessions once each of them is in one of these phases."""
    while True:
        records = {one: await client.show(one) for one in sessions}
        if all(record.phase in phases for record in records.values()):
            return records
        await pause(0.05)


async def verify(client: Client, session_id: str) -> list[str]:
    """Return where a stored session is not what its journal describes."""
    entries = [entry async for entry in client.events(session_id)]
    messages = [one.to_json() for one in await client.context(session_id)]
    return find_differences(await client.show(session_id), messages, 0, fold(entries))


async def end(client: Client, session_id: str) -> None:
    """Allow whatever a session asks until it has ended."""
    while (record := await client.show(session_id)).phase != "ended":
        if record.phase == "waiting" and record.wait is not None and not record.answered:
            await client.decide(session_id, allow=True, actor="ada", wait_id=record.wait.wait_id)
        await pause(0.05)


def make_marker(folder: Path) -> Path:
    """Make the file at whose sight the app's hooks kill their worker; it goes with the first one killed."""
    marker = folder / "kill"
    marker.touch()
    return marker


async def orphan(fleet: Fleet, client: Client, text: str, calls: list[dict[str, list[str]]]) -> str:
    """Return a session whose worker was killed in it, now that another worker is up and the lease is over."""
    fleet.start("scheduler")
    first = fleet.start("worker")
    made = await client.submit("hooked", text=text, overrides={"calls": calls}, actor="ada")
    while first.process.poll() is None:
        await pause(0.02)
    key = client.store.keys.of_session("leases", made.session_id)
    assert await client.store.command("ZADD", key, "XX", "CH", 1, made.session_id) == 1
    fleet.start("worker")
    return made.session_id


def play(server: RunningServer, folder: Path, ledger: Ledger, act: Any, **env: str) -> None:
    """Run an act with a scheduler and as many workers as it starts."""
    # A worker that the machine holds up must not lose its sessions here: what ran would rightly run again.
    settings = quick_settings(HOOKED, lease={"seconds": 600.0, "renew_seconds": 1.0})
    env = {"HOOKED_LEDGER": str(ledger.path), **env}
    with fleet_of(server.url, server.broker_url, folder, settings=settings, env=env) as fleet:

        async def run() -> None:
            client = build_client(settings, fleet.store, load_installed_apps(settings))
            try:
                async with asyncio.timeout(240):
                    await act(fleet, client)
            finally:
                await client.aclose()

        asyncio.run(run())


def test_nothing_that_ran_is_run_again_by_the_worker_that_gets_the_answer(
    empty_server: RunningServer, tmp_path: Path, ledger: Ledger
) -> None:
    """Killed once the wait is committed: every hook and every tool has run once, whatever the action was."""

    async def act(fleet: Fleet, client: Client) -> None:
        fleet.start("scheduler")
        first = fleet.start("worker")
        sessions = {}
        for name, (text, calls) in ACTIONS.items():
            made = await client.submit("hooked", text=text, overrides={"calls": calls}, actor="ada")
            sessions[name] = made.session_id
        await wait_until(client, list(sessions.values()), "waiting")
        fleet.kill(first)
        before = Counter(ledger.lines())
        assert [line for line in before if line.startswith(("strike ask", "danger"))] == []

        fleet.start("worker")
        left = set(sessions.values())
        while left:  # the last agent of one session is asked about its prompt again
            for session_id in sorted(left):
                record = await client.show(session_id)
                if record.phase == "waiting" and record.wait is not None and not record.answered:
                    await client.decide(session_id, allow=True, actor="ada", wait_id=record.wait.wait_id)
                if record.phase == "ended":
                    left.discard(session_id)
            await pause(0.05)

        for name, session_id in sessions.items():
            assert (await client.show(session_id)).status == "fine", name
            assert await verify(client, session_id) == [], name
        # The last agents' own call has no argument that a hook would note.
        ran = ledger.lines("strike", "danger", "hook before_tool", "hook after_tool")
        acted = Counter(line for line in ran if not line.endswith(" "))
        assert {line for line, count in acted.items() if count > 1} == set()
        assert {"strike one", "strike ask two", "strike then ask", "danger change three!", "danger four"} <= set(acted)
        assert "strike deny" not in acted
        assert len(ledger.told("session:start")) == len(ACTIONS)
        assert ledger.lines("hook after_model ask after") == ["hook after_model ask after model"]

    play(empty_server, tmp_path, ledger, act)


def test_a_worker_killed_before_the_wait_is_committed_leaves_nothing(
    empty_server: RunningServer, tmp_path: Path, ledger: Ledger
) -> None:
    """The step was not committed, so another worker asks the same; the tools of committed steps are not made again."""

    async def act(fleet: Fleet, client: Client) -> None:
        session_id = await orphan(fleet, client, *ACTIONS["ask_user before a call"])
        wait = (await wait_until(client, [session_id], "waiting"))[session_id].wait
        assert wait is not None
        assert wait.prompt == "Do ask two?"
        await client.decide(session_id, allow=True, actor="grace")
        await wait_until(client, [session_id], "ended")

        assert ledger.lines("strike") == ["strike one", "strike ask two"]
        assert ledger.lines("killed") == ["killed before its commit tool:pre"]
        assert ledger.lines("hook before_tool ask") == ["hook before_tool ask two"] * 2
        kinds = [entry.kind async for entry in client.events(session_id)]
        assert kinds.count("orphaned") == 1
        assert await verify(client, session_id) == []

    play(empty_server, tmp_path, ledger, act, HOOKED_KILL=str(make_marker(tmp_path)))


@pytest.mark.parametrize("name", ["ask_user before the model", "ask_user after the model", "modify", "inject_context"])
def test_what_hooks_did_in_a_lost_step_is_done_once_by_the_next_worker(
    empty_server: RunningServer, tmp_path: Path, ledger: Ledger, name: str
) -> None:
    """Hooks are called again, from what was committed: nothing is changed twice, added twice or asked twice."""

    async def act(fleet: Fleet, client: Client) -> None:
        session_id = await orphan(fleet, client, *ACTIONS[name])
        await end(client, session_id)

        assert (await client.show(session_id)).status == "fine"
        assert await verify(client, session_id) == []
        assert len(ledger.lines("killed")) == 1
        waits = [entry.data["wait"] async for entry in client.events(session_id) if "wait" in entry.data]
        assert len(waits) == {"ask_user before the model": 3}.get(name, 1)
        said = Counter(message.content for message in await client.context(session_id))
        match name:
            case "ask_user after the model":
                assert said["ask after model"] == 2  # the prompt, and one answer to it
                assert len(ledger.told("llm:response")) == 4  # one of them was never committed
            case "modify":
                assert ledger.lines("danger") == ["danger change three!"]
            case "inject_context":
                assert (said["house rules"], said["from now on"]) == (2, 1)  # each agent's prompt adds the first
                assert ledger.lines("danger") == ["danger durable"]

    play(empty_server, tmp_path, ledger, act, HOOKED_KILL=str(make_marker(tmp_path)))


def test_a_call_that_acted_before_the_question_about_it_was_kept_is_not_made_again(
    empty_server: RunningServer, tmp_path: Path, ledger: Ledger
) -> None:
    """The worker died between the effect and the commit: a person says what happened, as without hooks."""

    async def act(fleet: Fleet, client: Client) -> None:
        session_id = await orphan(fleet, client, *ACTIONS["ask_user after a call"])
        wait = (await wait_until(client, [session_id], "waiting"))[session_id].wait
        assert wait is not None
        assert wait.kind == "uncertain"
        await client.answer(session_id, actor="ada", verdict="happened")
        await end(client, session_id)

        assert (await client.show(session_id)).status == "fine"
        assert ledger.lines("strike") == ["strike then ask"]
        assert await verify(client, session_id) == []

    play(empty_server, tmp_path, ledger, act, HOOKED_KILL=str(make_marker(tmp_path)))
