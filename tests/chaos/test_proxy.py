"""A network that is cut lets nobody through, not even those who were just about to be connected."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.proxy import Proxy

SECONDS = 60


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say what was said, until there is nothing more."""
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close our end; the other one may have ended it already."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.parametrize("cut_meanwhile", [False, True])
def test_a_connection_that_is_being_made_while_the_network_is_cut_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, cut_meanwhile: bool
) -> None:
    """It would go on asking a server that everybody else has lost."""
    connect = asyncio.open_unix_connection

    async def run() -> bytes:
        async with asyncio.timeout(SECONDS):
            server = await asyncio.start_unix_server(echo, tmp_path / "server")
            proxy = Proxy(tmp_path / "proxy", tmp_path / "server")
            await proxy.start()

            async def connect_late(*args: Any) -> Any:
                both = await connect(*args)
                if cut_meanwhile:
                    proxy.cut()
                return both

            reader, writer = await connect(tmp_path / "proxy")
            monkeypatch.setattr(asyncio, "open_unix_connection", connect_late)
            writer.write(b"hello")
            try:
                return await reader.read(5)
            except ConnectionResetError:
                return b""
            finally:
                await proxy.aclose()
                await hang_up(writer)
                server.close()

    assert asyncio.run(run()) == (b"" if cut_meanwhile else b"hello")


def test_a_proxy_ends_though_a_connection_is_still_being_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a server that never answers is not waited for."""
    connect = asyncio.open_unix_connection

    async def run() -> None:
        async with asyncio.timeout(SECONDS):
            proxy = Proxy(tmp_path / "proxy", tmp_path / "server")
            await proxy.start()
            trying = asyncio.Event()

            async def connect_never(*_: Any) -> Any:
                trying.set()
                await asyncio.Event().wait()

            _, writer = await connect(tmp_path / "proxy")
            monkeypatch.setattr(asyncio, "open_unix_connection", connect_never)
            await trying.wait()
            await proxy.aclose()
            await hang_up(writer)

    asyncio.run(run())
