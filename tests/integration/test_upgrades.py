"""An upgrade of Baton itself, and the way back: workers of two versions on one store, nothing buried, nothing done twice."""

import json
from typing import Any

import pytest

from orchestrator.contracts.formats import FORMAT
from orchestrator.interfaces.cli.doctor import check_fleet
from orchestrator.scheduler import LEAST_SLOTS, Scheduler
from orchestrator.store.fleet import WorkerInfo
from tests.integration.test_monitors import NoWakeups
from tests.stage import Stage, play

NEWER = FORMAT + 1


def new_stage(on: Stage) -> Stage:
    """Return what a newer Baton works with on the same store."""
    newer = Stage(on.store.url, on.settings, on.specs)
    newer.store.format = NEWER
    return newer


def test_sessions_go_on_through_an_upgrade_and_wait_through_a_way_back(store_url: str) -> None:
    """Old workers finish what is theirs. What a new one took up waits for one like it, however an old one is woken for it."""

    async def scene(on: Stage) -> None:
        newer = new_stage(on)
        old, new = on.worker("old"), newer.worker("new")
        mine, theirs = await on.submit(plan="danger"), await on.submit(plan="danger")
        for session_id in (mine, theirs):
            assert (await on.run(old, session_id)).phase == "waiting"

        await newer.client.decide(theirs, allow=True, actor="ada")
        key = on.store.keys.of_session("record", theirs)
        cursor = str(await on.store.command("HGET", key, "cursor"))
        of_newer = json.dumps({**json.loads(cursor), "mood": "fine"})  # what the next version has, and this one has not
        await on.store.command("HSET", key, "cursor", of_newer)
        entries = await on.kinds(theirs)

        assert await old.run_slice(theirs) == "refused"
        assert await on.kinds(theirs) == entries
        assert await on.store.command("HGET", key, "phase") == "ready"
        await on.client.decide(mine, allow=True, actor="ada")
        assert (await on.run(old, mine)).phase == "ended"

        await on.store.command("HSET", key, "cursor", cursor)
        assert (await newer.run(new, theirs)).phase == "ended"
        await newer.aclose()

    play(store_url, scene)


def test_a_word_of_a_newer_baton_in_the_middle_of_a_slice_gives_the_session_back(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old worker that cannot read a post neither buries the session nor drops the post; the call that it announced, it makes."""

    async def scene(on: Stage) -> None:
        newer = new_stage(on)
        old, new = on.worker("old"), newer.worker("new")
        session_id = await on.submit(plan="danger")
        await on.run(old, session_id)
        commit, key = on.hosts[0].leases.commit, on.store.keys.of_session("mailbox", session_id)
        said: list[str] = []

        async def commit_later(*args: Any) -> Any:
            """Commit once a newer Baton's word has come."""
            if not said:
                said.append("p")
                await newer.client.signal(session_id, "message", actor="ada", post_id="p")
                stored = json.loads(str(await on.store.command("LINDEX", key, -1)))
                await on.store.command("LSET", key, -1, json.dumps({**stored, "mood": "fine"}))
            return await commit(*args)

        await on.client.decide(session_id, allow=True, actor="ada")
        monkeypatch.setattr(on.hosts[0].leases, "commit", commit_later)

        assert await old.run_slice(session_id) == "committed"
        phase = await on.store.command("HGET", on.store.keys.of_session("record", session_id), "phase")
        assert (phase, await on.store.command("LLEN", key)) == ("ready", 1)
        assert await old.run_slice(session_id) == "refused"
        stored = json.loads(str(await on.store.command("LINDEX", key, 0)))
        del stored["mood"]
        await on.store.command("LSET", key, 0, json.dumps(stored))
        assert (await newer.run(new, session_id)).phase == "ended"
        await newer.aclose()

    play(store_url, scene)


def test_old_workers_go_on_however_many_sessions_wait_for_a_new_one(store_url: str) -> None:
    """They stand in front of the line: were they woken for over and over, there would be no room for anybody else."""

    async def scene(on: Stage) -> None:
        newer, clock, woken = new_stage(on), iter(range(0, 100, 2)), list[str]()
        left = [await newer.submit() for _ in range(2 * 2 * LEAST_SLOTS)]
        mine, old = await on.submit(), on.worker("old")
        old._others._now = lambda: float(next(clock))
        scheduler = Scheduler("s", on.store, on.client, NoWakeups(), on.settings, on.specs)

        for _ in range(4):
            sent = (await scheduler.round()).sent
            for session_id in sent:
                await old.run_slice(session_id)
                await on.store.command(
                    "ZREM", on.store.keys.of_session("sent", session_id), session_id
                )  # half a second
            woken += sent

        assert mine in woken
        assert not set(woken).isdisjoint(left)
        await newer.aclose()

    play(store_url, scene)


def test_doctor_says_that_several_versions_are_at_work(store_url: str) -> None:
    """Whoever upgrades sees how far it is; an old worker that was forgotten keeps nothing from its end."""

    async def scene(on: Stage) -> None:
        for name, number in (("old", FORMAT), ("new", NEWER), ("newer", NEWER)):
            await on.client.fleet.beat(WorkerInfo(name=name, format=number))

        said = {one.check: (one.verdict, one.says) for one in await check_fleet(on.client, {})}

        assert said["formats"][0] == "warning"
        assert f"what those of format {NEWER} have touched is left to them: new, newer; " in said["formats"][1]
        await on.client.fleet.leave("old")
        assert "formats" not in {one.check for one in await check_fleet(on.client, {})}

    play(store_url, scene)
