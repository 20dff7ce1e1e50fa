"""A master of a cluster dies in the middle of what is acknowledged: its replica has it all, and every journal goes on without a gap.

Three masters, a replica for each; `durability: wait` with one replica, for replication is asynchronous: without it a failover
may take back what was acknowledged in its last moments. Sessions are spread over all masters, so that some go on undisturbed.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.contracts.errors import LeaseLost
from orchestrator.contracts.session import Post
from orchestrator.embedded_binary import bundled_path
from orchestrator.store.cluster_map import slot_of
from orchestrator.store.durability import Durability
from orchestrator.store.intake import Intake
from orchestrator.store.leases import Claimed, Commit, Leases
from orchestrator.store.store import Store
from orchestrator.store.views import Views
from tests.chaos.cluster import ClusterOfServers, cluster_of_servers
from tests.chaos.fleet import pause
from tests.property.store_lab import DIGEST, draft, entry

pytestmark = [
    pytest.mark.integration,
    pytest.mark.chaos,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform"),
]

SESSIONS = 9
#: Between two steps of a session: those of the other masters go on meanwhile, and have a journal that can be read soon.
PACE_SECONDS = 0.05
#: Longer than a failover takes, and a new replica's first copy, on a machine that is busy with something else.
PATIENCE_SECONDS = 90.0


class Forgetful(ClusterOfServers):
    """The last server forgets whom it was first told to meet, as one does that a slow disk held up for too long."""

    told = 0

    async def ask(self, port: int, *words: str | int) -> Any:
        if port == self.ports[-1] and words[1:2] == ("MEET",):
            self.told += 1
            if self.told == 1:
                return "OK"
        return await super().ask(port, *words)


def test_servers_that_did_not_meet_are_told_again(folder: Path) -> None:
    """A cluster whose making hung on one message would be begun in vain now and then."""

    async def run() -> int:
        made = Forgetful(folder, masters=3)
        try:
            await made.begin()
        finally:
            made.close()
        return made.told

    assert asyncio.run(run()) > 1


class Story:
    """One session that is driven: what was acknowledged of it, to whoever posted and whoever committed."""

    def __init__(self, store: Store, session_id: str) -> None:
        self.session_id = session_id
        self.posts: list[str] = []
        self.commits = 0
        self._store = store

    async def drive_until(self, over: asyncio.Event) -> None:
        """Post, claim, commit a step that takes what is in the mailbox, and begin again.

        A claim is no promise: a failover may take it, and whoever had it is refused then. What is refused has not happened.
        """
        intake, number = Intake(self._store), 0
        leases = Leases(self._store, lease_seconds=600, max_attempts=9)
        while not over.is_set():
            number += 1
            await pause(PACE_SECONDS)
            await intake.post(self.session_id, Post(post_id=f"p{number}", kind="signal", actor="ada", name="go"))
            self.posts.append(f"p{number}")
            claimed = await leases.claim(self.session_id, f"w:{number}", (DIGEST,))
            assert isinstance(claimed, Claimed)
            assert claimed.record.rev == self.commits
            # An answer is asked for, so that it is waited for: critical, as what somebody outside relies on.
            commit = Commit("waiting", {}, (entry(taken=len(claimed.posts)),), taken=len(claimed.posts), asks="input")
            try:
                done = await leases.commit(self.session_id, claimed.record.fence, claimed.record.rev, commit)
            except LeaseLost:
                continue
            assert done.posts == 0
            self.commits += 1

    async def check(self) -> None:
        """All of that is there, once and in order, and the journal has no gap."""
        views = Views(self._store)
        journal = [found async for found in views.iter_journal(self.session_id)]
        posted = [found.data["post"]["post_id"] for found in journal if found.kind == "posted"]  # type: ignore[call-overload, index]
        assert [found.seq for found in journal] == list(range(1, len(journal) + 1))
        assert posted[: len(self.posts)] == self.posts
        assert len(posted) == len(set(posted))
        assert sum(found.kind == "step" for found in journal) == self.commits
        assert (await views.record(self.session_id)).rev == self.commits


async def until(test: Callable[[], bool], driving: list[asyncio.Task[None]]) -> None:
    """Wait until the test holds; a driver that failed fails the test at once, with its own words."""
    while not test():
        for one in driving:
            if one.done():
                one.result()
        await pause(0.02)


@pytest.mark.parametrize("how", ["killed", "halted"])
def test_a_dead_master_takes_nothing_that_was_acknowledged(folder: Path, how: str) -> None:
    """Refused connections, or none that answers: its sessions stand still until its replica has taken over, the others go on; in the end every story is whole."""

    async def run() -> None:
        async with cluster_of_servers(folder, masters=3, replicas=1) as cluster:
            store = Store(
                cluster.url, partitions=16, durability=Durability(replicas=1), patience_seconds=PATIENCE_SECONDS
            )
            submitted = [await Intake(store).submit(draft(), "SES") for _ in range(SESSIONS)]
            stories = [Story(store, one.session_id) for one in submitted]
            struck = await cluster.owner(slot_of(store.keys.of_session("record", stories[0].session_id)))
            over = asyncio.Event()
            driving = [asyncio.create_task(story.drive_until(over)) for story in stories]
            await until(lambda: min(story.commits for story in stories) >= 3, driving)

            # What is written of its partitions from here on has no second copy until it is back, as a replica.
            if how == "killed":
                await cluster.kill(struck)
            else:
                cluster.halt(struck)
            await cluster.until_taken_over(struck)
            if how == "killed":
                cluster.start(struck)
            else:
                cluster.resume(struck)
            await cluster.until_follows(struck)
            before = {story.session_id: story.commits for story in stories}
            await until(lambda: all(story.commits >= before[story.session_id] + 2 for story in stories), driving)
            over.set()
            await asyncio.gather(*driving)

            assert await cluster.owner(slot_of(store.keys.of_session("record", stories[0].session_id))) != struck
            for story in stories:
                await story.check()
            assert "CROSSSLOT" not in await cluster.errors()
            await store.aclose()

    asyncio.run(run())


def test_a_holder_from_before_a_failover_goes_on_or_is_refused(folder: Path) -> None:
    """Its fence is the newest, or a newer one was given: either way the session has one story, and its journal no gap."""

    async def run() -> None:
        async with cluster_of_servers(folder, masters=3, replicas=1) as cluster:
            store = Store(cluster.url, partitions=4, patience_seconds=PATIENCE_SECONDS)
            session_id = (await Intake(store).submit(draft(), "SES")).session_id
            leases = Leases(store, lease_seconds=600, max_attempts=3)
            claimed = await leases.claim(session_id, "w:1", (DIGEST,))
            assert isinstance(claimed, Claimed)
            struck = await cluster.owner(slot_of(store.keys.of_session("record", session_id)))
            for port in cluster.processes:  # what was claimed is on the replica, too
                await cluster.until_copied(port)

            await cluster.kill(struck)
            done = await leases.commit(session_id, claimed.record.fence, 0, Commit("ready", {}, (entry(),)))
            again = await leases.claim(session_id, "w:2", (DIGEST,))

            assert done.phase == "ready"
            assert isinstance(again, Claimed)
            assert again.record.fence > claimed.record.fence
            assert [found.seq async for found in Views(store).iter_journal(session_id)] == [1, 2]
            await store.aclose()

    asyncio.run(run())
