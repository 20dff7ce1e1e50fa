"""The connection that everything on a loop shares: nobody's command goes over one that has not said yet what it is for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.contracts.errors import StoreUnreachable
from orchestrator.embedded import RunningServer
from orchestrator.store import wire as wires
from orchestrator.store.wire import Wire
from tests.chaos.proxy import Proxy

pytestmark = pytest.mark.integration

DATABASE = 3


@asynccontextmanager
async def over_a_network(server: RunningServer, folder: Path) -> AsyncIterator[tuple[Proxy, Wire, Wire]]:
    """Lend a network, a connection to another database over it that has to log in, and one to the first database past it."""
    proxy = Proxy(folder / "net.sock", server.socket)
    await proxy.start()
    over, past = Wire(f"unix://:pw@{folder}/net.sock?db={DATABASE}"), Wire(server.url)
    await past.command("CONFIG", "SET", "requirepass", "pw")
    try:
        yield proxy, over, past
    finally:
        await over.aclose()
        await past.command("CONFIG", "SET", "requirepass", "")
        await past.aclose()
        await proxy.aclose()


def play(server: RunningServer, folder: Path, scene: Callable[[Proxy, Wire, Wire], Awaitable[None]]) -> None:
    """Run a scene."""

    async def run() -> None:
        async with over_a_network(server, folder) as (proxy, over, past):
            await scene(proxy, over, past)

    asyncio.run(run())


def test_a_connection_that_was_not_made_in_time_is_used_by_nobody(
    empty_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stood still while it was told which database is meant: the next command must not go to the first one."""
    monkeypatch.setattr(wires, "CONNECT_SECONDS", 0.2)

    async def scene(proxy: Proxy, over: Wire, past: Wire) -> None:
        proxy.freeze()
        with pytest.raises(StoreUnreachable, match="timed out"):
            await over.command("SET", "k", "lost")
        proxy.heal()
        monkeypatch.setattr(wires, "CONNECT_SECONDS", 60.0)

        await over.command("SET", "k", "kept")

        assert await over.command("GET", "k") == "kept"
        assert await past.command("EXISTS", "k") == 0

    play(empty_server, tmp_path, scene)


def test_commands_wait_until_a_connection_has_said_what_it_is_for(empty_server: RunningServer, tmp_path: Path) -> None:
    """Whoever comes while another one's command opens it is not quicker than its greeting."""

    async def scene(proxy: Proxy, over: Wire, past: Wire) -> None:
        proxy.slow(0.05)
        sent = [asyncio.ensure_future(over.command("SET", "first", 1))]
        for number in range(20):
            await asyncio.wait(sent[:1], timeout=0.01)
            sent.append(asyncio.ensure_future(over.command("SET", f"k{number}", number)))

        assert await asyncio.gather(*sent) == ["OK"] * 21
        assert (await past.command("DBSIZE"), await over.command("DBSIZE")) == (0, 21)

    play(empty_server, tmp_path, scene)


def test_a_connection_that_is_closed_while_it_is_made_leaves_nothing_open(
    empty_server: RunningServer, tmp_path: Path
) -> None:
    """Whoever waits for it is told, in words, and is not taken for somebody who was called off."""

    async def scene(proxy: Proxy, over: Wire, past: Wire) -> None:
        proxy.freeze()
        waiting = asyncio.ensure_future(over.command("PING"))
        while not proxy._writers:
            await asyncio.wait([waiting], timeout=0.01)

        await over.aclose()

        with pytest.raises(StoreUnreachable, match="closed while it was made"):
            await waiting

    play(empty_server, tmp_path, scene)
