"""What only a socket shows: heads and bodies that are too large, too slow or malformed, and many streams at once."""

import asyncio
import json
import logging
import socket
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from orchestrator.contracts.errors import ConfigError
from orchestrator.contracts.session import Entry
from orchestrator.embedded import RunningServer
from orchestrator.interfaces.http import streams
from orchestrator.interfaces.http.hub import Hub, Topic
from orchestrator.interfaces.http.server import bind
from tests.api_stage import SECRETS, Served, api_settings, served


@pytest.fixture(scope="module")
def api(temporary_server: RunningServer) -> Iterator[Served]:
    """The API on a port, with small bodies."""
    with served(temporary_server.url, api_settings(body_bytes=4096, body_seconds=60, header_seconds=60)) as made:
        yield made


@pytest.fixture
def impatient_on_bodies(temporary_server: RunningServer) -> Iterator[Served]:
    """One that waits for a body for half a second, and for a head far longer than a test takes."""
    with served(temporary_server.url, api_settings(body_seconds=0.5, header_seconds=60)) as made:
        yield made


@pytest.fixture(scope="module")
def impatient(temporary_server: RunningServer) -> Iterator[Served]:
    """One that waits for a head for half a second."""
    with served(temporary_server.url, api_settings(header_seconds=0.5)) as made:
        yield made


AUTH = f"Authorization: Bearer {SECRETS['operator']}\r\n".encode()
HEAD = b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + AUTH


def talk(api: Served, *parts: bytes) -> bytes:
    """Send bytes, and return all that comes back until the connection is closed or silent for long."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=60) as sock:
        found = b""
        try:
            for part in parts:
                sock.sendall(part)
            while data := sock.recv(65_536):
                found += data
        except (ConnectionResetError, BrokenPipeError):
            pass
        return found


def test_a_body_that_says_it_is_too_large_is_not_read(api: Served) -> None:
    """It is refused by its own word, before a byte of it has come."""
    answer = talk(api, HEAD + b"Content-Length: 999999999\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"application/problem+json" in answer


def test_a_body_that_grows_too_large_is_cut_off(api: Served) -> None:
    """A body without a length is counted while it comes."""
    chunk = b"800\r\n" + b"x" * 0x800 + b"\r\n"

    answer = talk(api, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk, chunk, chunk)

    assert answer.startswith(b"HTTP/1.1 413")


def test_a_body_that_never_comes_is_not_waited_for(impatient_on_bodies: Served) -> None:
    """Who is slow holds a connection for a bounded time."""
    answer = talk(impatient_on_bodies, HEAD + b"Content-Length: 100\r\n\r\n", b'{"app":')

    assert answer.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    "begun", [b"", b"GET /v1/sessions HTTP/1.1\r\nHost: x\r\nX-Slow: "], ids=["silent", "half a head"]
)
def test_a_head_that_never_ends_is_not_waited_for(impatient: Served, begun: bytes) -> None:
    """A thousand connections that say nothing must not keep others out."""
    assert talk(impatient, begun) == b""


@pytest.mark.parametrize(
    "lines",
    [
        b"X: " + b"a" * 600_000,
        b"Idempotency-Key: a\x00b",
        b"Bad Header: x",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: -1",
    ],
    ids=["huge", "NUL", "space in a name", "two lengths", "negative length"],
)
def test_a_malformed_head_is_refused(api: Served, lines: bytes) -> None:
    """Nothing that two readers could read differently gets through."""
    answer = talk(api, HEAD + b"Connection: close\r\n" + lines + b"\r\n\r\n")

    # A connection that is cut in the middle of a huge head may lose the answer on its way.
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 422"))
    assert answer == b"" or b"application/problem+json" in answer


def test_a_connection_that_is_one_too_many_is_told_so_as_a_problem(temporary_server: RunningServer) -> None:
    """Programs read the type, also of what is refused before any route is looked for; who is there goes on."""
    request = b"GET /v1/me HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + AUTH + b"\r\n"
    with served(temporary_server.url, api_settings(connections=2, streams=1)) as made:
        with (
            socket.create_connection(("127.0.0.1", made.port)),
            socket.create_connection(("127.0.0.1", made.port)),
        ):
            head, _, body = talk(made, request).partition(b"\r\n\r\n")
        while (again := talk(made, request)).startswith(b"HTTP/1.1 503"):
            continue  # the server has yet to see that the two are gone

    assert head.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 2" in head.lower()
    assert b"x-content-type-options: nosniff" in head.lower()
    assert json.loads(body)["type"] == "urn:baton:problem:unavailable"
    assert again.startswith(b"HTTP/1.1 200")


def test_a_header_cannot_be_smuggled_into_an_answer(api: Served) -> None:
    """What a caller writes comes back inside of JSON, never as a line of the head."""
    path = b"/v1/nothing%0d%0aX-Injected:%20yes"

    answer = talk(api, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + AUTH + b"\r\n")
    head = answer.partition(b"\r\n\r\n")[0].lower()

    assert answer.startswith(b"HTTP/1.1 404")
    assert b"x-injected" not in head
    assert b"server:" not in head


def test_a_hundred_streams_are_told_of_the_same_entry(temporary_server: RunningServer) -> None:
    """One look at the store serves all who watch; a stream that ends gives its place back."""

    async def begin(port: int, session_id: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /v1/sessions/{session_id}/events HTTP/1.1\r\nHost: localhost\r\n".encode() + AUTH + b"\r\n")
        await reader.readuntil(b"retry: 2000\n\n")
        return reader, writer

    async def follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        try:
            return await reader.readuntil(b"event: end")
        finally:
            writer.close()
            await writer.wait_closed()

    async def play(api: Served) -> tuple[list[bytes], int]:
        assert api.stage is not None and api.app is not None
        session_id = api.run(api.stage.submit())
        async with asyncio.timeout(60):
            streams = await asyncio.gather(*(begin(api.port, session_id) for _ in range(100)))
            held = api.app.state.parts.hub.streams
            following = [asyncio.create_task(follow(*stream)) for stream in streams]
            await asyncio.to_thread(api.run, api.stage.run(api.stage.worker(), session_id))
            return await asyncio.gather(*following), held

    with served(temporary_server.url) as api:
        told, held = asyncio.run(play(api))

    assert held == 100
    assert len(told) == 100
    assert all(b"id: 1\n" in one for one in told)
    assert api.app is not None and api.app.state.parts.hub.streams == 0


def test_who_has_left_is_written_to_a_few_times_and_no_more(
    temporary_server: RunningServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A page of a stream is many writes; were they all made in one turn of the loop, each would complain of the lost connection."""
    left, ended, read = threading.Event(), threading.Event(), streams.read_entries

    async def read_while_it_leaves(*args: Any) -> list[Entry]:
        (first, *_) = await read(*args)
        assert left.wait(60)  # the loop stands still: it cannot have seen that the other side has gone
        return [first.model_copy(update={"seq": number}) for number in range(1, 201)]

    watch = Hub.watch

    @asynccontextmanager
    async def watched(hub: Hub, session_id: str) -> AsyncIterator[Topic]:
        try:
            async with watch(hub, session_id) as topic:
                yield topic
        finally:
            ended.set()

    monkeypatch.setattr(streams, "read_entries", read_while_it_leaves)
    monkeypatch.setattr(Hub, "watch", watched)
    with served(temporary_server.url) as api, caplog.at_level(logging.WARNING, logger="asyncio"):
        assert api.stage is not None
        session_id = api.run(api.stage.submit())
        with socket.create_connection(("127.0.0.1", api.port), timeout=60) as sock:
            sock.sendall(
                f"GET /v1/sessions/{session_id}/events HTTP/1.1\r\nHost: localhost\r\n".encode() + AUTH + b"\r\n"
            )
            begun = b""
            while b"retry: 2000" not in begun:
                more = sock.recv(65_536)
                assert more, begun
                begun += more
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # it goes by a reset
        left.set()
        assert ended.wait(60)

    assert "socket.send() raised exception." not in [one.getMessage() for one in caplog.records]


def test_a_port_that_is_taken_is_told_in_one_clause() -> None:
    """The address once stood there twice, the second time as Python writes it."""
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ConfigError) as refused:
            bind("127.0.0.1", port)

    assert str(refused.value) == (
        f"api: cannot listen on 127.0.0.1:{port} (Address already in use); choose another --host or --port"
    )
