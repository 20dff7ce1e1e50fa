"""A Redis Cluster as the store, as it moves: slots on their way, servers that were named and are gone, confirmations.

That everything else works on a cluster as on one server is told by the tests of those: they run on both.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from orchestrator.contracts.errors import ConfigError, StoreUnfit, StoreUnreachable
from orchestrator.contracts.session import Post
from orchestrator.embedded import RunningServer
from orchestrator.store.cluster import Cluster, open_wire
from orchestrator.store.cluster_map import slot_of
from orchestrator.store.durability import Durability
from orchestrator.store.fitness import check_store
from orchestrator.store.gauges import server_info
from orchestrator.store.intake import Intake
from orchestrator.store.keys import BELL
from orchestrator.store.leases import Claimed, Commit, Leases
from orchestrator.store.store import Store
from orchestrator.store.views import Views
from tests.chaos.cluster import ClusterOfServers
from tests.chaos.fleet import pause
from tests.ports import free_port
from tests.property.store_lab import DIGEST, draft, entry

pytestmark = pytest.mark.integration


@asynccontextmanager
async def store_on(
    url: str, *, patience_seconds: float = 20, durability: Durability | None = None
) -> AsyncIterator[Store]:
    """Lend a store with eight partitions."""
    store = Store(url, partitions=8, patience_seconds=patience_seconds, durability=durability)
    try:
        yield store
    finally:
        await store.aclose()


async def step(store: Store, session_id: str, number: int) -> None:
    """Claim a session and commit one step."""
    leases = Leases(store, lease_seconds=60, max_attempts=9)
    claimed = await leases.claim(session_id, f"w:{number}", (DIGEST,))
    assert isinstance(claimed, Claimed)
    assert claimed.record.rev == number
    await leases.commit(session_id, claimed.record.fence, number, Commit("ready", {}, (entry(),)))


class Move:
    """A slot on its way from its master to another, by the cluster's own commands."""

    def __init__(self, cluster: ClusterOfServers, slot: int) -> None:
        self._cluster, self._slot = cluster, slot
        self._source = self._target = 0

    async def begin(self) -> None:
        """Announce it: from now on what is not there is asked of the other."""
        cluster = self._cluster
        self._source = await cluster.owner(self._slot)
        self._target = next(port for port in cluster.ports if port != self._source)
        source, target = [await cluster.ask(port, "CLUSTER", "MYID") for port in (self._source, self._target)]
        await cluster.ask(self._target, "CLUSTER", "SETSLOT", self._slot, "IMPORTING", source)
        await cluster.ask(self._source, "CLUSTER", "SETSLOT", self._slot, "MIGRATING", target)

    async def finish(self) -> None:
        """Move what is there, and say that it is done."""
        cluster = self._cluster
        while keys := await cluster.ask(self._source, "CLUSTER", "GETKEYSINSLOT", self._slot, 100):
            await cluster.ask(self._source, "MIGRATE", "127.0.0.1", self._target, "", 0, 5_000, "KEYS", *keys)
        target = await cluster.ask(self._target, "CLUSTER", "MYID")
        for port in (self._target, self._source):
            await cluster.ask(port, "CLUSTER", "SETSLOT", self._slot, "NODE", target)


def test_our_slots_are_the_servers(empty_cluster: ClusterOfServers) -> None:
    """A wrong slot costs every command a redirection, and nobody would see why."""

    async def run() -> None:
        keys = ["foo", "{a}b", "x{}y", "a{b", "{}{a}", "}{b}", "é{ü}", "baton:{p07}:s:SES-20261120-001", "baton:meta"]
        async with store_on(empty_cluster.url) as store:
            found = [await store.command("CLUSTER", "KEYSLOT", key) for key in keys]

            assert found == [slot_of(key) for key in keys]

    asyncio.run(run())


def test_sessions_go_on_while_their_slot_moves(empty_cluster: ClusterOfServers) -> None:
    """Acts wait until all of it is there (TRYAGAIN), commands on one key are asked of the new one (ASK), and then it is known (MOVED)."""

    async def run() -> None:
        async with store_on(empty_cluster.url) as store:
            session_id = (await Intake(store).submit(draft(), "SES")).session_id
            slot = slot_of(store.keys.of_session("record", session_id))
            await step(store, session_id, 0)
            move = Move(empty_cluster, slot)
            await move.begin()
            lonely = f"baton:{{p{store.keys.partition(session_id):02d}}}:lonely"

            await store.command("SET", lonely, "set where it will be")
            stepping = asyncio.create_task(step(store, session_id, 1))
            while not (await empty_cluster.errors()).get("TRYAGAIN"):
                assert not stepping.done()
                await pause(0.02)
            await move.finish()
            await stepping
            await step(store, session_id, 2)

            assert await store.command("GET", lonely) == "set where it will be"
            assert [found.seq async for found in Views(store).iter_journal(session_id)] == [1, 2, 3, 4]
            assert {"ASK", "TRYAGAIN", "MOVED"} <= (await empty_cluster.errors()).keys()

    asyncio.run(run())


def test_a_critical_act_is_confirmed_where_it_was_done(empty_cluster: ClusterOfServers) -> None:
    """Three masters, three disks: a mark on another one would prove nothing."""

    async def run() -> None:
        async with store_on(empty_cluster.url, durability=Durability()) as store:
            sessions = await asyncio.gather(*(Intake(store).submit(draft(), "SES") for _ in range(24)))

            marks = [await store.command("EXISTS", store.keys.of_partition("durable", number)) for number in range(8)]
            assert all(one.created for one in sessions)
            assert sum(marks) == 3  # one partition of each master bears them

    asyncio.run(run())


def test_what_was_done_before_its_slot_moved_is_done_again_where_it_is(empty_cluster: ClusterOfServers) -> None:
    """The old master's disk says nothing about the new one's: the post finds itself there, and is confirmed there."""

    async def run() -> None:
        async with store_on(empty_cluster.url, durability=Durability()) as store:
            session_id = (await Intake(store).submit(draft(), "SES")).session_id
            assert store._confirmer is not None
            confirm, confirmed_by = store._confirmer.confirm, []

            async def confirm_late(run_id: str) -> bool:
                if not confirmed_by:
                    move = Move(empty_cluster, slot_of(store.keys.of_session("record", session_id)))
                    await move.begin()
                    await move.finish()
                    confirmed_by.append("nobody: it has moved")
                    await store.command("EXISTS", store.keys.of_session("record", session_id))
                    return await confirm("127.0.0.1:1 nobody")
                confirmed_by.append(run_id)
                return await confirm(run_id)

            store._confirmer.confirm = confirm_late  # type: ignore[method-assign]
            is_new = await Intake(store).post(session_id, Post(post_id="p", kind="signal", actor="ada", name="go"))

            owner = await empty_cluster.owner(slot_of(store.keys.of_session("record", session_id)))
            assert is_new
            assert confirmed_by[-1].startswith(f"127.0.0.1:{owner} ")
            assert await Views(store).posts_count(session_id) == 1

    asyncio.run(run())


def test_what_does_not_move_is_confirmed_while_another_slot_of_its_master_does(empty_cluster: ClusterOfServers) -> None:
    """The mark is written where something stays: a slot may be on its way for hours, and holds up nobody else's sessions."""

    async def run() -> None:
        async with store_on(empty_cluster.url, durability=Durability(), patience_seconds=60) as store:
            marks = [store.keys.of_partition("durable", number) for number in range(8)]
            owners = [await empty_cluster.owner(slot_of(mark)) for mark in marks]
            port = max(owners, key=owners.count)  # of three masters, with two partitions at least
            first, second, *_ = [number for number, owner in enumerate(owners) if owner == port]
            session_id = ""
            while not session_id or store.keys.partition(session_id) != second:
                session_id = (await Intake(store).submit(draft(), "SES")).session_id
            posts = [Post(post_id=name, kind="signal", actor="ada", name="go") for name in ("p1", "p2")]
            await store.command("DEL", marks[first])  # as if it had gone over already
            move = Move(empty_cluster, slot_of(marks[first]))
            await move.begin()

            meanwhile = await Intake(store).post(session_id, posts[0])
            took = [await store.command("GET", marks[number]) for number in (first, second)]
            await move.finish()
            afterwards = await Intake(store).post(session_id, posts[1])

            assert (meanwhile, afterwards) == (True, True)
            assert [one is not None for one in took] == [False, True]

    asyncio.run(run())


def test_a_listener_hears_what_is_said_on_any_server(empty_cluster: ClusterOfServers) -> None:
    """Submissions ring a bell, cancels call a name: acts on three masters, one ear."""

    async def run() -> None:
        heard: list[str] = []
        async with aclosing(open_wire(empty_cluster.url)) as wire:
            await wire.subscribe(BELL, heard.append)
            async with store_on(empty_cluster.url) as store:
                # Ids of its own: what an earlier test said may still be under way from server to server.
                sessions = [(await Intake(store).submit(draft(), "EAR")).session_id for _ in range(12)]
                async with asyncio.timeout(60):
                    while not set(sessions) <= set(heard):
                        await pause(0.02)

                assert sorted(one for one in heard if one.startswith("EAR")) == sorted(sessions)
        await wire.wait_lost()

    asyncio.run(run())


def test_a_server_that_is_gone_is_no_harm_while_another_is_named(empty_cluster: ClusterOfServers) -> None:
    """A URL outlives the servers that it names."""

    async def run() -> None:
        url = f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{empty_cluster.ports[2]}"
        async with store_on(url) as store:
            assert await check_store(store) == []
            assert (await Intake(store).submit(draft(), "SES")).created

    asyncio.run(run())


def test_nobody_there_is_told_in_time(empty_cluster: ClusterOfServers) -> None:
    """As with one server: within the patience, and with what to look at."""

    async def run() -> None:
        async with store_on(f"redis+cluster://127.0.0.1:{free_port()}", patience_seconds=0.3) as store:
            with pytest.raises(StoreUnreachable, match="no server of the cluster answers"):
                await store.now_ms()

    asyncio.run(run())


def test_the_store_is_as_well_as_its_worst_master(empty_cluster: ClusterOfServers) -> None:
    """Each is asked at the start, and whoever looks at the store sees the fullest."""

    async def run() -> None:
        bad = empty_cluster.ports[1]
        async with store_on(empty_cluster.url, durability=Durability()) as store:
            await empty_cluster.ask(bad, "CONFIG", "SET", "maxmemory", 2**40)
            assert (await server_info(store))["maxmemory"] == str(2**40)
            await empty_cluster.ask(bad, "CONFIG", "SET", "maxmemory", 0, "maxmemory-policy", "allkeys-lru")
            with pytest.raises(StoreUnfit, match="may evict"):
                await check_store(store)
            await empty_cluster.ask(bad, "CONFIG", "SET", "maxmemory-policy", "noeviction")
            assert await check_store(store) == []

    asyncio.run(run())


def test_one_server_and_a_cluster_are_not_taken_for_each_other(
    empty_cluster: ClusterOfServers, empty_server: RunningServer
) -> None:
    """Each says how it is named; half of the sessions would be refused otherwise."""

    async def run() -> None:
        async with store_on(f"redis://127.0.0.1:{empty_cluster.ports[0]}/0") as store:
            with pytest.raises(StoreUnfit, match=r"redis\+cluster://host:port"):
                await check_store(store)
        port = free_port()
        await asyncio.to_thread(_listen_on, empty_server, port)
        async with store_on(f"redis+cluster://127.0.0.1:{port}") as store:
            with pytest.raises(ConfigError, match="no server of a cluster"):
                await check_store(store)

    asyncio.run(run())


def _listen_on(server: RunningServer, port: int) -> None:
    async def run() -> None:
        async with store_on(server.url) as store:
            await store.command("CONFIG", "SET", "port", port)

    asyncio.run(run())


def test_a_closed_cluster_opens_again(empty_cluster: ClusterOfServers) -> None:
    """As a Wire does: whoever closes one and goes on is served."""

    async def run() -> None:
        wire = Cluster(empty_cluster.url)
        await wire.command("SET", "k", "v")
        opened = wire.opened
        await wire.aclose()

        assert await wire.command("GET", "k") == "v"
        assert wire.opened > opened
        await wire.aclose()

    asyncio.run(run())
