"""A connection over TLS that nobody waits for any more: it is closed, and not left to the garbage collector."""

import asyncio
import ssl
from collections.abc import Coroutine
from typing import Any

import pytest

from orchestrator.contracts.errors import StoreUntrusted
from orchestrator.store import tls
from orchestrator.store.tls import connect_securely

MADE = "a connection"


async def connect(connecting: Coroutine[Any, Any, str], dropped: list[str]) -> str:
    """Connect to nobody."""
    return await connect_securely(connecting, "127.0.0.1", 1, what="nobody", drop=dropped.append)


async def all_has_happened() -> None:
    """Return when what was to be called next has been called."""
    happened = asyncio.Event()
    asyncio.get_running_loop().call_soon(happened.set)
    await happened.wait()


def test_a_connection_is_its_callers() -> None:
    """It is not dropped."""

    async def play() -> None:
        dropped: list[str] = []

        async def make() -> str:
            return MADE

        assert await connect(make(), dropped) == MADE
        await all_has_happened()
        assert not dropped

    asyncio.run(play())


def test_one_that_is_made_while_its_caller_is_cancelled_is_dropped() -> None:
    """As where most Sentinels have answered, and the last one's connection is there at that very moment."""

    async def play() -> None:
        dropped: list[str] = []
        callers: list[asyncio.Task[str]] = []

        async def make() -> str:
            callers[0].cancel()
            return MADE

        callers.append(asyncio.ensure_future(connect(make(), dropped)))
        with pytest.raises(asyncio.CancelledError):
            await callers[0]
        await all_has_happened()
        assert dropped == [MADE]

    asyncio.run(play())


def test_one_that_is_not_made_yet_is_not_made() -> None:
    """Its making is cancelled along with its caller."""

    async def play() -> None:
        dropped: list[str] = []
        begun, ended = asyncio.Event(), asyncio.Event()

        async def make() -> str:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return MADE

        caller = asyncio.ensure_future(connect(make(), dropped))
        await begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await ended.wait()
        await all_has_happened()
        assert not dropped

    asyncio.run(play())


def test_one_that_cannot_be_made_is_an_error_and_nothing_else() -> None:
    """There is nothing to drop."""

    async def play() -> None:
        dropped: list[str] = []

        async def make() -> str:
            raise ssl.SSLError(1, "no")

        with pytest.raises(ssl.SSLError):
            await connect(make(), dropped)
        await all_has_happened()
        assert not dropped

    asyncio.run(play())


def test_one_that_comes_after_it_was_found_out_to_be_in_vain_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answered in plain words, and then shook hands after all."""

    async def play() -> None:
        dropped: list[str] = []
        asked = asyncio.Event()

        async def make() -> str:
            try:
                await asked.wait()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return MADE  # what was already on its way
            raise AssertionError

        async def speaks_plainly(*_: object) -> bool:
            asked.set()
            return True

        monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", 0)
        monkeypatch.setattr(tls, "_speaks_plainly", speaks_plainly)
        with pytest.raises(StoreUntrusted, match="speaks no TLS"):
            await connect(make(), dropped)
        await all_has_happened()
        await all_has_happened()
        assert dropped == [MADE]

    asyncio.run(play())
