"""What streams are woken by: another entry, and not what a store has taken back with it."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from orchestrator.interfaces.http.hub import Hub


def test_a_store_that_went_back_in_time_tells_nobody_of_what_it_has_no_more() -> None:
    """A power cut or a failover may take entries that were shown. Whoever comes back behind the last one that is kept would be told
    again and again that there is more, and read the store as fast as it answers.
    """  # noqa: D205 - one sentence

    async def run() -> tuple[bool, int]:
        latest, asked = [7], asyncio.Event()

        async def seqs(session_ids: list[str]) -> list[int]:
            asked.set()
            return latest * len(session_ids)

        hub = Hub(cast(Any, SimpleNamespace(seqs=seqs)), seconds=0.001, most=10)
        async with hub.watch("SES") as topic:
            assert await hub.wait_beyond(topic, 3, 5)
            latest[0] = 3
            async with asyncio.timeout(5):
                while topic.seq == 7:
                    asked.clear()
                    await asked.wait()
            told = await hub.wait_beyond(topic, 3, 0.01)
            latest[0] = 4
            assert await hub.wait_beyond(topic, 3, 5)
        await hub.aclose()
        return told, topic.seq

    assert asyncio.run(run()) == (False, 4)
