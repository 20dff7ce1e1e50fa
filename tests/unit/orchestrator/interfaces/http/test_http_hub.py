"""What streams are woken by: another entry, and not what a store has taken back with it; and what ends them early."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import pytest

from orchestrator.contracts.errors import StoreUnreachable
from orchestrator.interfaces.http import streams
from orchestrator.interfaces.http.hub import Hub
from tests.api_stage import ApiStage, play


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
            assert await hub.wait_beyond(topic, 3, 60)
            latest[0] = 3
            async with asyncio.timeout(60):
                while topic.seq == 7:
                    asked.clear()
                    await asked.wait()
            told = await hub.wait_beyond(topic, 3, 0.01)
            latest[0] = 4
            assert await hub.wait_beyond(topic, 3, 60)
        await hub.aclose()
        return told, topic.seq

    assert asyncio.run(run()) == (False, 4)


def test_a_stream_ends_where_the_store_goes_away_and_its_reader_comes_back(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was told stays told, and the process has nothing to complain about; `event: end` is not said, for it is no end."""
    read, first = streams.read_entries, asyncio.Event()

    async def away(*args: Any) -> Any:
        if first.is_set():
            raise StoreUnreachable("store: gone; start it")
        entries = await read(*args)
        first.set()
        return entries

    async def act(api: ApiStage) -> httpx2.Response:
        session_id = await api.on.submit()
        strict = httpx2.ASGITransport(app=api.app, raise_app_exceptions=True)
        async with httpx2.AsyncClient(transport=strict, base_url="http://localhost", headers=api.http.headers) as http:
            api.http = http
            answer = asyncio.ensure_future(api.call("GET", f"/v1/sessions/{session_id}/events", "viewer"))
            await first.wait()
            await api.on.client.signal(session_id, "order", actor="ada")
            return await answer

    monkeypatch.setattr(streams, "read_entries", away)
    answer = play(store_url, act)

    assert answer.status_code == 200
    assert "event: submitted" in answer.text and "event: end" not in answer.text
