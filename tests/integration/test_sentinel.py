"""The store under Sentinels: whom it believes, and when it leaves a server that is not the primary any more.

Real Sentinels and servers (tests/chaos/sentinel.py). Failovers themselves are tests/chaos/test_failover.py's.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from orchestrator.embedded_binary import bundled_path
from orchestrator.store import sentinel as sentinel_module
from orchestrator.store.sentinel import find_primary, is_replaced, parse_sentinels
from orchestrator.store.store import Store
from tests.chaos.fleet import pause
from tests.chaos.run import make_folder
from tests.chaos.sentinel import NAME, WORDS, Pair, ask
from tests.ports import free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform"),
]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was asked and was held up by the machine is waited for: here each of them counts."""
    monkeypatch.setattr(sentinel_module, "ASK_SECONDS", 60.0)
    monkeypatch.setattr(sentinel_module, "OTHERS_SECONDS", 60.0)


@asynccontextmanager
async def pair_and_another() -> AsyncIterator[tuple[Pair, int]]:
    """Lend a pair under Sentinels, and the port of a server that has nothing to do with it."""
    with make_folder() as folder:
        pair = Pair(folder)
        try:
            await pair.begin()
            other = free_port()
            pair.start(other, *WORDS, "--bind", "127.0.0.1")
            yield pair, other
        finally:
            pair.close()


async def name_another(sentinel: int, port: int) -> None:
    """Let a Sentinel name another server from now on; the one that it named lives, and knows nothing of it."""
    await ask(sentinel, "SENTINEL", "REMOVE", NAME)
    await ask(sentinel, "SENTINEL", "MONITOR", NAME, "127.0.0.1", str(port), "2")


async def port_of(store: Store) -> int:
    """Return the port of the server that a store is connected to."""
    return int((await store.command("CONFIG", "GET", "port"))[1])


def test_a_primary_that_most_sentinels_know_no_more_is_left() -> None:
    """It stood still while another took over and answers again, sure that it is the one: what it takes is lost once the
    Sentinels tell it, seconds later, so nobody stays with it until then.
    """  # noqa: D205 - one sentence

    async def run() -> None:
        async with pair_and_another() as (pair, other):
            store = Store(pair.url)
            assert await port_of(store) == pair.primary

            for sentinel in pair.sentinels:
                await name_another(sentinel, other)

            async with asyncio.timeout(120):
                while await port_of(store) != other:
                    await pause(0.1)
            assert "role:master" in str(await ask_info(pair.ports[0]))
            await store.aclose()

    asyncio.run(run())


async def ask_info(port: int) -> str:
    """Return what a server says of its replication."""
    store = Store(f"redis://127.0.0.1:{port}/0")
    try:
        return str(await store.command("INFO", "replication"))
    finally:
        await store.aclose()


def test_one_sentinel_alone_replaces_nobody() -> None:
    """It may be the one that knows less; and the same server under another name is still the same."""

    async def run() -> None:
        async with pair_and_another() as (pair, other):
            sentinels, primary = parse_sentinels(pair.url), pair.primary
            first, second, _ = pair.sentinels

            assert not await is_replaced(sentinels, ("127.0.0.1", primary))
            assert not await is_replaced(sentinels, ("localhost", primary))
            await name_another(first, other)
            assert not await is_replaced(sentinels, ("127.0.0.1", primary))
            await name_another(second, other)
            assert await is_replaced(sentinels, ("127.0.0.1", primary))

    asyncio.run(run())


def test_a_new_connection_believes_most_of_them() -> None:
    """The first in the URL names a server that nobody else does: with it alone it would be believed."""

    async def run() -> None:
        async with pair_and_another() as (pair, other):
            first, *_ = pair.sentinels
            await name_another(first, other)

            assert await find_primary(parse_sentinels(pair.url)) == ("127.0.0.1", pair.primary)
            alone = parse_sentinels(f"sentinel://127.0.0.1:{first},127.0.0.1:{free_port()}/{NAME}")
            assert await find_primary(alone) == ("127.0.0.1", other)

    asyncio.run(run())


def test_after_a_failover_the_later_epoch_counts() -> None:
    """One Sentinel is away, one has slept through a failover: the one that took part knows more than the other."""

    async def run() -> None:
        async with pair_and_another() as (pair, _):
            asleep, awake, third = pair.sentinels
            gone = pair.primary
            await ask(asleep, "SENTINEL", "REMOVE", NAME)
            await pair.kill_primary()
            await ask(asleep, "SENTINEL", "MONITOR", NAME, "127.0.0.1", str(gone), "2")
            await pair.kill(third)

            sentinels = parse_sentinels(f"sentinel://127.0.0.1:{asleep},127.0.0.1:{awake},127.0.0.1:{third}/{NAME}")
            assert await find_primary(sentinels) == ("127.0.0.1", pair.primary)
            assert gone != pair.primary

    asyncio.run(run())


def test_sentinels_that_do_not_answer_replace_nobody() -> None:
    """Whoever has a primary that answers keeps it."""

    async def run() -> None:
        nobody = parse_sentinels(f"sentinel://127.0.0.1:{free_port()},127.0.0.1:{free_port()}/{NAME}")

        assert not await is_replaced(nobody, ("127.0.0.1", 1))

    asyncio.run(run())
