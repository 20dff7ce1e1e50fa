"""Many sessions at once for one process with a short lease: each is claimed once, and nobody's lease is lost."""

import asyncio
from typing import Any

import pytest

from orchestrator.settings import Settings
from orchestrator.store.leases import Leases
from tests.unit.workers.scenes import scene
from workers.admission import plan_pace
from workers.executor import Executor
from workers.heartbeat import Heartbeat
from workers.lanes import Lanes

SESSIONS, STARTING = 120, 8


def test_a_storm_of_sessions_loses_no_lease(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let in all at once, their claims' answers lay unread for longer than a lease: they were lost, rescued, and came again."""
    under_way, most, claims, claim = 0, 0, 0, Leases.claim

    async def count(self: Leases, *args: Any, **options: Any) -> Any:
        nonlocal under_way, most, claims
        under_way += 1
        most, claims = max(most, under_way), claims + 1
        try:
            return await claim(self, *args, **options)
        finally:
            under_way -= 1

    monkeypatch.setattr(Leases, "claim", count)
    renewed, all_renewed, renew = set[str](), asyncio.Event(), Leases.renew

    async def note(self: Leases, session_id: str, fence: int) -> Any:
        answer = await renew(self, session_id, fence)
        renewed.add(session_id)
        if len(renewed) == SESSIONS:
            all_renewed.set()
        return answer

    monkeypatch.setattr(Leases, "renew", note)

    async def play() -> None:
        lease = {"seconds": 3.0, "renew_seconds": 0.5}
        async with scene(
            store_url, settings=Settings.model_validate({"lease": lease, "apps": {"bundled": False}})
        ) as on:
            pace = plan_pace(lease_seconds=lease["seconds"], renew_seconds=lease["renew_seconds"])
            executor: Executor

            async def run(session_id: str) -> object:
                return await executor.run_slice(session_id)

            lanes = Lanes(SESSIONS, run, pace=pace._replace(most_starting=STARTING))
            executor = Executor(
                on.host,
                is_contended=lanes.is_contended,
                is_draining=lambda: lanes.draining,
                tell_started=lanes.started,
            )
            beating = asyncio.create_task(Heartbeat(on.host, executor, lanes, queues=()).renew_forever())
            lanes.start(asyncio.get_running_loop())
            session_ids = [await on.submit() for _ in range(SESSIONS)]
            halves = session_ids[::2], session_ids[1::2]

            assert await asyncio.gather(*(asyncio.to_thread(lanes.hand_over, half) for half in halves)) == [60, 60]
            await on.wait_for_run(SESSIONS)
            held = tuple(executor.slices.values())
            await all_renewed.wait()
            on.step.go_on.set()
            assert await lanes.drain(15) == 0

            assert most <= STARTING
            assert claims == SESSIONS
            assert [mine.session_id for mine in held if mine.lost] == []
            for session_id in session_ids:
                record = await on.on.client.show(session_id)
                assert (record.attempts, record.rev) == (0, 1), record
                kinds = await on.on.kinds(session_id)
                assert "orphaned" not in kinds, kinds
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    asyncio.run(play())
