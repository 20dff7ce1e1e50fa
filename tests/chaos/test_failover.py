"""A failover by Sentinels in the middle of what is acknowledged: what a replica has is kept, and the fence still grows.

The store is one address to Baton (a proxy that follows the primary). Replication is asynchronous, so a failover may take back
what was acknowledged in its last moments; with `durability: wait` and one replica it takes nothing.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.contracts.session import Post
from orchestrator.embedded_binary import bundled_path
from orchestrator.store.durability import Durability
from orchestrator.store.intake import Intake
from orchestrator.store.leases import Claimed, Commit, Leases
from orchestrator.store.store import Store
from orchestrator.store.views import Views
from tests.chaos.fleet import pause
from tests.chaos.sentinel import sentinel_pair
from tests.property.store_lab import DIGEST, draft, entry

pytestmark = [
    pytest.mark.integration,
    pytest.mark.chaos,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform"),
]

POSTERS = 8


async def post_until(store: Store, session_id: str, over: asyncio.Event, acknowledged: list[str]) -> None:
    """Post one message after another, and note each that was acknowledged."""
    number = 0
    while not over.is_set() and number < 250:
        number += 1
        post = Post(post_id=f"p{number}", kind="signal", actor="ada", name="go")
        await Intake(store).post(session_id, post)
        acknowledged.append(post.post_id)


async def until(test: Callable[[], bool], posters: list[asyncio.Task[None]]) -> None:
    """Wait until the test holds; a poster that failed fails the test at once, with its own words."""
    while not test():
        for poster in posters:
            if poster.done():
                poster.result()
        await pause(0.02)


def test_a_failover_takes_nothing_where_a_replica_was_waited_for(folder: Path) -> None:
    """Every post that was acknowledged before, during and after it is in the new primary's journal, once and in order."""

    async def run() -> None:
        async with sentinel_pair(folder) as pair:
            store = Store(
                f"unix://{pair.proxy.path}?db=0",
                partitions=2,
                durability=Durability(replicas=1),
                patience_seconds=60,  # longer than a failover and a new replica take on a busy machine
            )
            sessions = [(await Intake(store).submit(draft(), "SES")).session_id for _ in range(POSTERS)]
            acknowledged: dict[str, list[str]] = {one: [] for one in sessions}
            over = asyncio.Event()
            posters = [asyncio.create_task(post_until(store, one, over, acknowledged[one])) for one in sessions]
            await until(lambda: min(map(len, acknowledged.values())) >= 5, posters)

            # What is written from here on has no second copy until the dead one is back as a replica.
            dead = await pair.kill_primary()
            before = {one: len(posts) for one, posts in acknowledged.items()}
            pair.start_again(dead)
            await until(lambda: all(len(acknowledged[one]) >= before[one] + 2 for one in sessions), posters)
            over.set()
            await asyncio.gather(*posters)

            for session_id, posts in acknowledged.items():
                journal = [found async for found in Views(store).iter_journal(session_id)]
                kept = [found.data["post"]["post_id"] for found in journal if found.kind == "posted"]  # type: ignore[call-overload, index]
                assert kept[: len(posts)] == posts
                assert [found.seq for found in journal] == list(range(1, len(journal) + 1))
            await store.aclose()

    asyncio.run(run())


def test_a_holder_from_before_a_failover_goes_on_or_is_refused(folder: Path) -> None:
    """Its fence is the newest, or a newer one was given: either way the session has one story, and its journal no gap."""

    async def run() -> None:
        async with sentinel_pair(folder) as pair:
            store = Store(f"unix://{pair.proxy.path}?db=0", partitions=2)
            session_id = (await Intake(store).submit(draft(), "SES")).session_id
            leases = Leases(store, lease_seconds=60, max_attempts=3)
            claimed = await leases.claim(session_id, "w:1", (DIGEST,))
            assert isinstance(claimed, Claimed)
            while await store.command("WAIT", 1, 2_000) < 1:
                pass

            await pair.kill_primary()

            done = await leases.commit(session_id, claimed.record.fence, 0, Commit("ready", {}, (entry(),)))
            again = await leases.claim(session_id, "w:2", (DIGEST,))
            assert done.phase == "ready"
            assert isinstance(again, Claimed)
            assert again.record.fence > claimed.record.fence
            assert again.record.rev == 1
            await store.aclose()

    asyncio.run(run())
