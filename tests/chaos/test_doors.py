"""Whose network is cut reaches no server any more, by whatever way a cluster's map or a Sentinel's answer names; the others go on.

Real servers, each with a place in front of it that it announces. Between servers nothing is cut, unless one is isolated.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import hiredis
import pytest

from orchestrator.contracts.errors import StoreUnreachable
from orchestrator.embedded_binary import bundled_path
from orchestrator.store.cluster_map import slot_of
from orchestrator.store.durability import Durability
from orchestrator.store.intake import Intake
from orchestrator.store.store import Store
from orchestrator.store.wire import Wire
from tests.chaos.doors import Doors, read_sender, read_user
from tests.chaos.fleet import pause
from tests.chaos.plan import StoreKind
from tests.chaos.proxy import Proxy
from tests.chaos.replicated import ReplicatedStore
from tests.chaos.run import STORES
from tests.property.store_lab import draft

servers = [
    pytest.mark.integration,
    pytest.mark.chaos,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform"),
]
real = [pytest.param(kind, marks=servers) for kind in ("cluster", "sentinel")]

PARTITIONS = 8
#: Enough to be told by a server that is there; whoever hears nothing for so long stands still.
STILL_SECONDS = 1.0


class Scene:
    """Servers with their doors, one process that is struck, and another that is not."""

    def __init__(self, store: ReplicatedStore, struck: Store, other: Store, network: Proxy) -> None:
        self.store, self.struck, self.other, self.network = store, struck, other, network

    async def ask_everywhere(self, store: Store) -> None:
        """Let somebody ask for something in every partition, and so on every master; raise what it gets."""
        for number in range(PARTITIONS):
            await store.command("ZCARD", store.keys.of_partition("due", number))

    async def write_everywhere(self, store: Store) -> None:
        """Let somebody submit a session to every master, which waits for its replica."""
        await asyncio.gather(*(Intake(store).submit(draft(), "SES") for _ in range(PARTITIONS)))

    async def masters(self) -> list[int]:
        """Return the servers' own ports."""
        return [await self.store._master(shard) for shard in self.store._shards]


@asynccontextmanager
async def scene_of(folder: Path, kind: StoreKind) -> AsyncIterator[Scene]:
    """Lend servers, and two processes that know each of them."""
    store = STORES[kind](folder, fsync="everysec")
    assert isinstance(store, ReplicatedStore)
    proxies = {slot: Proxy(folder / f"{slot}.sock", folder) for slot in ("w1", "w2")}
    try:
        await store.start()
        urls = {slot: await store.url_over(slot, proxy) for slot, proxy in proxies.items()}
        struck = Store(urls["w1"], partitions=PARTITIONS)
        other = Store(urls["w2"], partitions=PARTITIONS, durability=Durability(replicas=1))
        scene = Scene(store, struck, other, proxies["w1"])
        await scene.ask_everywhere(struck)
        await scene.write_everywhere(other)
        struck.patience_seconds = 0
        yield scene
        await struck.aclose()
        await other.aclose()
    finally:
        await store.aclose()


def play(folder: Path, kind: StoreKind, act: Callable[[Scene], Awaitable[None]]) -> None:
    """Let something happen on a scene."""

    async def run() -> None:
        async with scene_of(folder, kind) as scene:
            await act(scene)

    asyncio.run(run())


async def list_ends(port: int, user: str) -> set[str]:
    """Return from where a server has connections of a user."""
    wire = Wire(f"redis://127.0.0.1:{port}/0")
    try:
        lines = str(await wire.command("CLIENT", "LIST")).splitlines()
    finally:
        await wire.aclose()
    told = [dict(word.split("=", 1) for word in line.split()) for line in lines]
    return {one["addr"] for one in told if one["user"] == user}


@pytest.mark.parametrize("kind", real)
def test_every_way_of_a_process_leads_over_its_own_network(folder: Path, kind: StoreKind) -> None:
    """One connection beside it, and a cut would be none: so the servers are asked whom they are connected to."""

    async def act(scene: Scene) -> None:
        own = {"{}:{}".format(*one.get_extra_info("sockname")[:2]) for one in scene.network._writers}
        found = [await list_ends(port, "w1") for port in await scene.masters()]

        assert all(found)
        assert set().union(*found) <= own
        assert not any([await list_ends(port, "w1") - own for port in scene.store.servers.ports])

    play(folder, kind, act)


@pytest.mark.parametrize("kind", real)
def test_a_cut_lets_one_process_reach_nobody_and_the_others_go_on(folder: Path, kind: StoreKind) -> None:
    """Neither a server that it was connected to, nor one that it could be told of; and every replica still follows."""

    async def act(scene: Scene) -> None:
        scene.network.cut()
        for number in range(PARTITIONS):
            with pytest.raises(StoreUnreachable):
                await scene.struck.command("ZCARD", scene.struck.keys.of_partition("due", number))
        await scene.write_everywhere(scene.other)  # each waits for a replica
        async with asyncio.timeout(60):
            while any([await list_ends(port, "w1") for port in scene.store.servers.ports]):
                await pause(0.05)  # a server has yet to see that they are gone

        scene.network.heal()
        scene.struck.patience_seconds = 60
        await scene.ask_everywhere(scene.struck)

    play(folder, kind, act)


@pytest.mark.parametrize("kind", real)
def test_a_frozen_network_holds_everything_until_it_is_healed(folder: Path, kind: StoreKind) -> None:
    """Nothing ends, nothing comes: as where packets are lost. Later it is as if nothing had been."""

    async def act(scene: Scene) -> None:
        scene.network.freeze()
        keys = [scene.struck.keys.of_partition("due", number) for number in range(PARTITIONS)]
        asking = [asyncio.create_task(scene.struck.command("ZCARD", key)) for key in keys]
        await scene.write_everywhere(scene.other)
        await asyncio.wait(asking, timeout=STILL_SECONDS)
        assert not any(one.done() for one in asking)

        scene.network.heal()
        async with asyncio.timeout(60):
            await asyncio.gather(*asking)

    play(folder, kind, act)


@pytest.mark.parametrize("kind", real)
def test_who_is_deaf_has_done_what_it_never_hears_of(folder: Path, kind: StoreKind) -> None:
    """The act that happened and was not answered is the one that everything has to be able to repeat."""

    async def act(scene: Scene) -> None:
        scene.network.deafen()
        key = scene.struck.keys.of_partition("deadinfo", 0)
        doing = asyncio.create_task(scene.struck.command("HSET", key, "field", "1"))
        async with asyncio.timeout(60):
            while await scene.other.command("HGET", key, "field") != "1":
                await pause(0.05)
        assert not doing.done()

        scene.network.heal()
        with pytest.raises(StoreUnreachable):
            await doing

    play(folder, kind, act)


@pytest.mark.parametrize("kind", real)
def test_an_isolated_master_serves_on_until_another_has_taken_over(folder: Path, kind: StoreKind) -> None:
    """Its clients reach it and its replica does not: what it answers has no second copy. Once it hears of its successor it
    follows it.
    """  # noqa: D205 - one sentence

    async def act(scene: Scene) -> None:
        group, key = scene.store.servers, scene.struck.keys.of_partition("deadinfo", 0)
        [shard] = [
            one for one in scene.store._shards if slot_of(key) in range(*scene.store._slots(one)) or kind == "sentinel"
        ]
        master = await scene.store._master(shard)
        await group.isolate(master)
        direct = Wire(f"redis://127.0.0.1:{master}/0")
        await scene.struck.command("HSET", key, "field", "1")
        await direct.command("HSET", key, "field", "2")
        assert await direct.command("WAIT", 1, 300) == 0

        await group.until_taken_over(master)
        group.rejoin(master)
        await group.until_replica(master)
        group.isolated.discard(master)
        await group.until_follows(master)

        scene.other.patience_seconds = 60
        await scene.write_everywhere(scene.other)
        assert await scene.other.command("HGET", key, "field") is None
        await direct.aclose()

    play(folder, kind, act)


def test_a_caller_says_who_it_is_with_its_first_words() -> None:
    """A process logs in before anything else, a server of a cluster has its id in the head of each message."""
    login = hiredis.pack_command(("AUTH", "s1", "s1"))  # type: ignore[arg-type]
    head = b"RCmb" + bytes(36) + b"a" * 40 + bytes(100)

    assert (read_user(login), read_sender(login)) == ("s1", "")
    assert (read_user(head), read_sender(head)) == ("", "a" * 40)
    assert (read_user(b""), read_sender(b"PING\r\n")) == ("", "")


def test_a_server_that_is_isolated_is_so_for_those_who_call_later() -> None:
    """Whoever finds its connection dead opens another one."""

    async def run() -> tuple[list[bool], list[bool]]:
        doors = Doors()
        doors.isolate(7_000, "a" * 40)
        to_it, from_it = doors._line_between(7_000, "b" * 40), doors._line_between(7_001, "a" * 40)
        held = [one._asks.is_set() for one in (to_it, from_it, doors._line_between(7_001, "b" * 40))]
        doors.rejoin(7_000)
        return held, [one._asks.is_set() for one in (to_it, from_it)]

    assert asyncio.run(run()) == ([False, False, True], [True, True])
