"""What a receiver of webhooks says about when to come again; whatever it says, the deliverer goes on."""

import asyncio
from typing import Any

import pytest

from tests.stage import Stage, play
from tests.unit.orchestrator.test_webhooks import Receiver, make


class Busy(Receiver):
    """A server that has no time, and says for how long in words of its own."""

    said = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Refuse one request."""
        await reader.readuntil(b"\r\n\r\n")
        self.got.append(({}, b""))
        words = b"HTTP/1.1 503 no\r\nRetry-After: %b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        writer.write(words % self.said)
        await writer.drain()
        writer.close()


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (b"2000", 2000),
        (b"\xb2", 1000),  # a superscript: a digit in one way of asking, and no number
        (b"\xb9\xb2\xb3", 1000),
        (b"soon", 1000),
        (b"-5", 1000),
        (b"1e9", 1000),
        (b"999999999999", 1000),
        (b"", 1000),
    ],
)
def test_whatever_a_receiver_says_its_event_is_tried_again_later(store_url: str, said: bytes, seconds: int) -> None:
    """An answer that ended the deliverer would end all deliveries, one process after another."""

    async def scene(on: Stage) -> Any:
        busy = Busy()
        busy.said = said
        server = await asyncio.start_server(busy.serve, "127.0.0.1", 0)
        busy.port = server.sockets[0].getsockname()[1]
        hooks = make(on, busy, settings={"base_seconds": 1000.0, "max_seconds": 5000.0})
        async with server:
            await hooks.open()
            await on.run(on.worker(), await on.submit())
            before = await on.store.now_ms()
            await hooks.look()
            await hooks.aclose()
        due = [
            float(at)
            for partition in range(on.store.keys.partitions)
            for at in (
                await on.store.command(
                    "ZRANGE", on.store.keys.of_partition("deliveries", partition), 0, -1, "WITHSCORES"
                )
            )[1::2]
        ]
        return len(busy.got), [(at - before) / 1000 for at in due]

    tried, waits = play(store_url, scene)
    assert tried == len(waits) >= 1
    assert all(wait >= seconds * 0.5 for wait in waits)
    assert all(wait <= 4000 for wait in waits)
