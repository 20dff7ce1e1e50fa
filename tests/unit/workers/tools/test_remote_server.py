"""Tests of remote servers, against real ones: over HTTP on the loopback, and as a command over stdio."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from pydantic import JsonValue

from orchestrator.contracts.app import McpServer
from orchestrator.contracts.errors import ToolError, ToolNeedsInput, ToolTimeout, ToolUnavailable
from orchestrator.contracts.session import PendingCall
from orchestrator.kernel.tool_questions import answers_to, read_question
from workers.tools.remote import RemoteServer

PEER = Path(__file__).with_name("peer_server.py")
T = TypeVar("T")


class Peer:
    """A real HTTP server in a process of its own; it keeps its port when it starts again."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start, and return when it listens."""
        command = [sys.executable, str(PEER), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().split()[1])

    def kill(self) -> None:
        """End it without a farewell."""
        self.process.kill()
        self.process.communicate()

    def server(self) -> RemoteServer:
        """Return a client's side of it."""
        declared = McpServer(name="far", url=f"http://127.0.0.1:{self.port}/mcp", headers={"X-Site": "a"})
        return RemoteServer(declared, root="", result_bytes=1000, connect_seconds=60)


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    """Lend one server to the tests that leave it alive."""
    running = Peer()
    yield running
    running.kill()


def stdio_server() -> RemoteServer:
    """Return a server that runs as our child."""
    declared = McpServer(name="near", command=(sys.executable, str(PEER), "stdio"))
    return RemoteServer(declared, root=str(PEER.parent), result_bytes=1000, connect_seconds=60)


def use(server: RemoteServer, work: Callable[[RemoteServer], Awaitable[T]]) -> T:
    """Do some work with a server on a loop of its own, and close it."""

    async def run() -> T:
        try:
            return await work(server)
        finally:
            await server.aclose()

    return asyncio.run(run())


async def pid_of(server: RemoteServer) -> int:
    """Ask a server which process it is."""
    answer = await server.call("process", {}, timeout_seconds=60)
    assert isinstance(answer, dict)
    pid = answer["pid"]
    assert isinstance(pid, int)
    return pid


async def cancel_a_hanging_call(server: RemoteServer) -> None:
    """Begin a call that never ends, and cancel it once the server is at it."""
    task = asyncio.create_task(server.call("hang", {}, timeout_seconds=60))
    await server.call("await_hanging", {}, timeout_seconds=60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_remote_tool_answers_as_a_local_one(peer: Peer) -> None:
    """Where a server runs is the operator's choice; a session's data does not show it."""

    async def work(server: RemoteServer) -> tuple[JsonValue, list[str]]:
        return await server.call("add", {"a": 2}, timeout_seconds=60), sorted(await server.tools())

    total, names = use(peer.server(), work)
    assert total == 3
    assert {"add", "hang", "question"} <= set(names)


@pytest.mark.parametrize(
    ("tool", "args", "message"),
    [
        ("fail", {}, r"^far:fail: Error calling tool 'fail'$"),
        ("refuse", {}, r"^far:refuse: that is already done$"),
        ("add", {"a": 1, "c": 1}, "Unexpected keyword argument"),
        ("large", {"size": 2000}, "over the limit of 1000"),
        ("ad", {}, "no such tool; did you mean 'add'"),
        ("elicit", {}, "^far:elicit: "),
    ],
)
def test_a_refusal_is_a_tool_error(peer: Peer, tool: str, args: dict[str, JsonValue], message: str) -> None:
    """What the server says reaches the model; none of it looks like an outage."""

    async def work(server: RemoteServer) -> None:
        with pytest.raises(ToolError, match=message) as refused:
            await server.call(tool, args, timeout_seconds=60)
        assert type(refused.value) is ToolError

    use(peer.server(), work)


def test_a_remote_question_carries_what_was_asked(peer: Peer) -> None:
    """With the requests and the state, another process can finish the call once a person has answered."""

    async def work(server: RemoteServer) -> ToolNeedsInput:
        with pytest.raises(ToolNeedsInput) as asked:
            await server.call("question", {}, timeout_seconds=60)
        return asked.value

    asked = use(peer.server(), work)
    assert list(asked.requests) == ["which"]
    assert asked.request_state


def test_another_process_finishes_what_a_question_interrupted(peer: Peer) -> None:
    """The answers and the state come over a new connection; the tool goes on where it had asked."""

    async def begin(server: RemoteServer) -> ToolNeedsInput:
        with pytest.raises(ToolNeedsInput) as asked:
            await server.call("paint", {"what": "wall"}, timeout_seconds=60)
        return asked.value

    asked = use(peer.server(), begin)
    question = read_question("peer:paint", asked.requests, asked.request_state)
    answered = question.model_copy(update={"answers": {"name": "red"}})
    answers = answers_to(PendingCall(call_id="c", tool="peer:paint", asked=answered))

    async def finish(server: RemoteServer) -> JsonValue:
        return await server.call("paint", {"what": "wall"}, timeout_seconds=60, answers=answers)

    async def cheat(server: RemoteServer) -> None:
        with pytest.raises(ToolError, match="requestState"):
            await server.call("paint", {"what": "door"}, timeout_seconds=60, answers=answers)

    made = use(peer.server(), finish)
    use(peer.server(), cheat)

    assert [(one.id, one.type) for one in question.fields] == [("name", "string")]
    assert made == {"painted": "wall", "state": "begun wall", "colour": "red"}


def test_a_timeout_leaves_the_connection_usable(peer: Peer) -> None:
    """One slow call does not cost its neighbours their connection."""

    async def work(server: RemoteServer) -> JsonValue:
        with pytest.raises(ToolTimeout):
            await server.call("hang", {}, timeout_seconds=0.2)
        assert await server.call("await_hanging", {}, timeout_seconds=60)
        return await server.call("add", {"a": 1}, timeout_seconds=60)

    assert use(peer.server(), work) == 2


def test_a_cancelled_remote_call_leaves_the_connection_usable(peer: Peer) -> None:
    """A lost lease stops a step in the middle of a call."""

    async def work(server: RemoteServer) -> JsonValue:
        await cancel_a_hanging_call(server)
        return await server.call("add", {"a": 1}, timeout_seconds=60)

    assert use(peer.server(), work) == 2


def test_a_killed_server_is_unavailable_and_used_again_when_it_is_back() -> None:
    """An outage is no fault of the model, and ends by itself."""
    peer = Peer()

    async def work(server: RemoteServer) -> None:
        first = await pid_of(server)
        hanging = asyncio.create_task(server.call("hang", {}, timeout_seconds=60))
        await server.call("await_hanging", {}, timeout_seconds=60)
        peer.kill()

        with pytest.raises(ToolUnavailable, match="whether the tool acted is unknown") as broken:
            await hanging
        assert broken.value.is_sent
        with pytest.raises(ToolUnavailable) as refused:
            await server.call("add", {"a": 1}, timeout_seconds=60)
        assert not refused.value.is_sent

        peer.start()
        assert await pid_of(server) not in {first, 0}
        # A restart between two calls is not noticed at all.
        peer.kill()
        peer.start()
        assert await server.call("add", {"a": 1}, timeout_seconds=60) == 2

    use(peer.server(), work)
    peer.kill()


def test_many_callers_share_one_attempt_to_connect(peer: Peer) -> None:
    """Hundreds of sessions that wake at once open one connection."""

    async def work(server: RemoteServer) -> list[JsonValue]:
        return await asyncio.gather(*(server.call("add", {"a": n}, timeout_seconds=60) for n in range(20)))

    assert use(peer.server(), work) == [n + 1 for n in range(20)]


def test_a_toolbox_opens_anew_on_another_loop(peer: Peer) -> None:
    """A connection belongs to its loop; after a fork the child has one of its own."""
    server = peer.server()

    async def add(server: RemoteServer) -> JsonValue:
        return await server.call("add", {"a": 1}, timeout_seconds=60)

    assert [use(server, add), use(server, add)] == [2, 2]


FORKING = """
import asyncio, os, sys
from orchestrator import telemetry
from orchestrator.contracts.app import McpServer
from workers.tools.remote import RemoteServer

server = RemoteServer(McpServer(name="far", url=sys.argv[1]), root="", result_bytes=1000, connect_seconds=60)
add = lambda: server.call("add", {"a": 1}, timeout_seconds=60)

async def parent():
    assert await add() == 2
    child = os.fork()
    if child == 0:
        return True
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert await add() == 2
    await server.aclose()

async def in_child():
    assert await add() == 2
    await server.aclose()

loop = asyncio.new_event_loop()
if loop.run_until_complete(parent()):
    asyncio.set_event_loop(None)
    asyncio.new_event_loop().run_until_complete(in_child())
    os._exit(0)
"""


def test_a_forked_child_opens_a_connection_of_its_own(peer: Peer) -> None:
    """Two processes on one connection would read each other's answers."""
    command = [sys.executable, "-W", "ignore", "-c", FORKING, f"http://127.0.0.1:{peer.port}/mcp"]

    done = subprocess.run(command, cwd=PEER.parents[4], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr


class FailingGateway:
    """A proxy in front of a real server that answers calls of tools itself, once told to."""

    def __init__(self, port: int) -> None:
        self._port, self.status = port, 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on, or refuse it."""
        head = await reader.readuntil(b"\r\n\r\n")
        if self.status:
            writer.write(b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % self.status)
            await writer.drain()
            writer.close()
            return
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
        inner_writer.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        length = next(
            int(line.split(b":")[1]) for line in head.lower().splitlines() if line.startswith(b"content-length")
        )
        inner_writer.write(await reader.readexactly(length))
        writer.write(await inner_reader.read())
        await writer.drain()
        writer.close()
        inner_writer.close()


@pytest.mark.parametrize(
    ("status", "is_sent"),
    [(401, False), (404, False), (429, False), (408, True), (499, True), (502, True), (503, True)],
)
def test_an_http_error_is_an_outage_and_says_whether_the_call_may_have_arrived(
    peer: Peer, status: int, is_sent: bool
) -> None:
    """A gateway in front of a server fails for reasons that no model can mend; a password in the URL is not told."""

    async def run() -> ToolUnavailable:
        gateway = FailingGateway(peer.port)
        listener = await asyncio.start_server(gateway.answer, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        declared = McpServer(name="far", url=f"http://me:swordfish@127.0.0.1:{port}/mcp")
        server = RemoteServer(declared, root="", result_bytes=1000, connect_seconds=60)
        async with listener:
            assert await server.call("add", {"a": 1}, timeout_seconds=60) == 2
            gateway.status = status
            with pytest.raises(ToolUnavailable) as refused:
                await server.call("add", {"a": 1}, timeout_seconds=60)
            gateway.status = 0
            assert await server.call("add", {"a": 2}, timeout_seconds=60) == 3
            await server.aclose()
        return refused.value

    refused = asyncio.run(run())
    assert f"HTTP {status}" in str(refused)
    assert "swordfish" not in str(refused)
    assert refused.is_sent is is_sent


def test_a_command_server_lives_through_cancel_and_death() -> None:
    """A server that is our child is started once, survives a cancelled call, and is started again when it died."""

    async def work(server: RemoteServer) -> None:
        first = await pid_of(server)
        assert await server.call("add", {"a": 1}, timeout_seconds=60) == 2
        await cancel_a_hanging_call(server)
        assert await pid_of(server) == first

        with pytest.raises(ToolUnavailable) as died:
            await server.call("die", {}, timeout_seconds=60)
        assert died.value.is_sent
        second = await pid_of(server)
        assert second != first

        # Death between two calls: the end of its stderr tells, and the next call is made on a new one.
        connection = server._connection
        assert connection is not None
        os.kill(second, signal.SIGKILL)
        while connection.is_usable:
            await asyncio.wait_for(_next_turn(), timeout=20)
        assert await pid_of(server) not in {first, second}

    use(stdio_server(), work)


async def _next_turn() -> None:
    """Let the loop look at its descriptors once."""
    turn = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.005, turn.set_result, None)
    await turn


@pytest.mark.parametrize("command", [("/nonexistent/server",), ("/bin/false",)])
def test_a_command_that_does_not_start_is_unavailable(command: tuple[str, ...]) -> None:
    """A missing program and one that ends at once fail the same way, and leave no descriptor behind."""
    before = len(list(Path("/proc/self/fd").iterdir()))

    async def work(server: RemoteServer) -> str:
        with pytest.raises(ToolUnavailable) as refused:
            await server.call("add", {"a": 1}, timeout_seconds=60)
        return str(refused.value)

    message = use(
        RemoteServer(McpServer(name="near", command=command), root="", result_bytes=1000, connect_seconds=60), work
    )
    assert message.startswith("tool server 'near': cannot be reached")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
