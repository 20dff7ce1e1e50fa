"""A takeover that nobody planned is noted before the next fault strikes: on a busy machine a master is silent for seconds by itself."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.client import Client
from orchestrator.embedded_binary import bundled_path
from orchestrator.wiring import build_client
from tests.chaos.driver import Driver
from tests.chaos.fleet import quick_settings
from tests.chaos.offsets import read_replication
from tests.chaos.plan import StoreKind, shard_of
from tests.chaos.replicated import ReplicatedStore
from tests.chaos.run import STORES, make_folder

pytestmark = [
    pytest.mark.integration,
    pytest.mark.chaos,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform"),
]


@dataclass
class Watching:
    """A run that drives no session."""

    control: Client
    driver: Driver
    history: Path

    def cut_everybody_off(self) -> None:
        """Have nobody to cut off."""

    def heal_everybody(self) -> None:
        """Have nobody to heal."""


@pytest.mark.parametrize("kind", ["cluster", "sentinel"])
def test_a_takeover_by_itself_is_noted_and_its_replica_waited_for(kind: StoreKind) -> None:
    """Struck before it follows, the old master would come back with what it had before the first takeover, and no bound of the second one
    would explain that; struck unnoticed, it would not be the master at all.
    """  # noqa: D205 - one sentence

    async def run() -> None:
        with make_folder() as folder:
            store = STORES[kind](folder, fsync="everysec")
            assert isinstance(store, ReplicatedStore)
            try:
                await store.start()
                client = build_client(quick_settings(), store.url, {})
                driver = Driver(client, folder, seed=1, messages=1, spread_seconds=1, work_seconds=0)
                old = await store._master(shard_of(0))
                store.servers.halt(old)
                await store.servers.until_taken_over(old)
                store.servers.resume(old)

                await store.settle(Watching(client, driver, folder))

                assert [(cut.what, cut.place) for cut in store.cuts] == [("takeover by itself", shard_of(0))]
                assert store._masters[shard_of(0)] == await store._master(shard_of(0)) != old
                told = await read_replication(old)
                assert (told["role"], told["master_link_status"]) == ("slave", "up")
                assert driver.gate.is_set()
                await client.aclose()
            finally:
                await store.aclose()

    asyncio.run(run())
