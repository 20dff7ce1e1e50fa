"""The way out, with real sockets on both sides."""

import contextlib
import gc
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox import proxy as ours
from plugin_sandbox.grants import Grants
from plugin_sandbox.proxy import Proxy, hold_proxy


def ask(proxy: Proxy, data: bytes) -> bytes:
    """Say this to the proxy, and return all that it answers."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(proxy.path)
        answer = b""
        with contextlib.suppress(ConnectionError):  # it hung up on us
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while chunk := client.recv(65536):
                answer += chunk
        return answer


def granted(*hosts: str, private: tuple[str, ...] = ()) -> Grants:
    """Grant what is asked."""
    return Grants.make(hosts, hosts, private)


def test_a_granted_host_is_reached(server: Any) -> None:
    """What is said is carried both ways, and told."""
    host = f"127.0.0.1:{server.port}"
    with hold_proxy(granted(host), 10_000, "t-0") as proxy:
        answer = ask(proxy, f"CONNECT {host} HTTP/1.1\r\n\r\nGET /hello HTTP/1.1\r\n\r\n".encode())
    (use,) = proxy.uses()

    assert answer.startswith(b"HTTP/1.1 200 connected\r\n\r\nHTTP/1.1 200 OK")
    assert answer.endswith(b"/hello")
    assert (use.host, use.port, use.verdict, use.sent_bytes) == ("127.0.0.1", server.port, "connected", 23)
    assert use.received_bytes > 40


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("127.0.0.1:{other}", "not granted"),
        ("localhost:{port}", "no public address"),
        ("127.1:{port}", "not granted"),
        ("2130706433:{port}", "not granted"),
        ("[::ffff:127.0.0.1]:{port}", "not granted"),
        ("evil.example:443", "not granted"),
    ],
)
def test_another_is_not(server: Any, target: str, why: str) -> None:
    """Another port, another spelling, a name that leads inside: told, and never connected."""
    hosts = (f"127.0.0.1:{server.port}", f"localhost:{server.port}")
    named = target.format(port=server.port, other=server.port - 1)
    with hold_proxy(granted(*hosts), 10_000, "t-0") as proxy:
        answer = ask(proxy, f"CONNECT {named} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n".encode())
    (use,) = proxy.uses()

    assert answer.startswith(b"HTTP/1.1 403 ")
    assert why in use.why
    assert (use.verdict, server.heard) == ("refused", [])


def test_a_name_is_asked_for_once_and_what_was_judged_is_connected(server: Any) -> None:
    """A name that is public when it is judged, and loopback when it is connected, would need a second question."""
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["192.0.2.1"] if len(asked) == 1 else ["127.0.0.1"]

    grants = granted(f"evil.example:{server.port}", private=(f"evil.example:{server.port}",))
    with hold_proxy(grants, 10_000, "t-0", lambda host, port: rebinding(host, port) and ["127.0.0.1"]) as proxy:
        assert ask(proxy, f"CONNECT evil.example:{server.port} HTTP/1.1\r\n\r\nGET /x HTTP/1.1\r\n\r\n".encode())
    with hold_proxy(
        granted(f"evil.example:{server.port}"), 10_000, "t-0", lambda *_: ["8.8.8.8", "127.0.0.1"]
    ) as second:
        answer = ask(second, f"CONNECT evil.example:{server.port} HTTP/1.1\r\n\r\n".encode())

    assert asked == ["evil.example"]
    assert b"403" in answer
    assert len(server.heard) == 1


@pytest.mark.parametrize(("more", "verdict"), [(1, "connected"), (0, "connected"), (-1, "cut")])
def test_bytes_are_counted_to_the_last(server: Any, more: int, verdict: str) -> None:
    """What was said and what was answered, and nothing of the proxy's own talk."""
    host = f"127.0.0.1:{server.port}"
    said = b"GET /size/500 HTTP/1.1\r\n\r\n"
    answered = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b"x" * 500
    with hold_proxy(granted(host), len(said) + len(answered) + more, "t-0") as proxy:
        ask(proxy, f"CONNECT {host} HTTP/1.1\r\n\r\n".encode() + said)
    (use,) = proxy.uses()

    assert use.verdict == verdict
    assert (use.received_bytes == len(answered)) is (more >= 0)


@pytest.mark.parametrize(("path", "verdict"), [("/size/4900", "connected"), ("/size/6000", "cut")])
def test_more_bytes_than_allowed_cut_the_connection(server: Any, path: str, verdict: str) -> None:
    """Counted both ways, over all connections."""
    host = f"127.0.0.1:{server.port}"
    with hold_proxy(granted(host), 5_000 + 60, "t-0") as proxy:
        answer = ask(proxy, f"CONNECT {host} HTTP/1.1\r\n\r\nGET {path} HTTP/1.1\r\n\r\n".encode())
        again = ask(proxy, f"CONNECT {host} HTTP/1.1\r\n\r\nGET /size/400 HTTP/1.1\r\n\r\n".encode())
    first, second = proxy.uses()

    assert (first.verdict, second.verdict) == (verdict, "cut")
    assert len(answer) < 5_200
    assert len(again) < 450


@pytest.mark.parametrize(
    "data", [b"", b"x" * 10_000, b"CONNECT a.org:443 HTTP/1.1\r\n", b"\r\n\r\n", b"\x16\x03\x01\x00\r\n\r\n"]
)
def test_nonsense_is_refused(data: bytes) -> None:
    """Nothing is connected, and the proxy goes on."""
    with hold_proxy(granted("a.org"), 1000, "t-0") as proxy:
        answer = ask(proxy, data)
        ask(proxy, b"CONNECT b.org:443 HTTP/1.1\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 403") or answer == b""
    assert [one.verdict for one in proxy.uses()] == ["refused", "refused"]


def test_the_end_of_the_call_ends_every_connection(server: Any) -> None:
    """A connection that nobody closes would keep what it has learnt."""
    host = f"127.0.0.1:{server.port}"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        with hold_proxy(granted(host), 1000, "t-0") as proxy:
            client.connect(proxy.path)
            client.sendall(f"CONNECT {host} HTTP/1.1\r\n\r\n".encode())
            answer = client.recv(100)

        assert answer.startswith(b"HTTP/1.1 200")
        assert client.recv(100) == b""
    assert not Path(proxy.path).exists()


@pytest.mark.parametrize(
    "is_ours",
    [True, pytest.param(False, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away"))],
)
def test_what_a_killed_worker_left_goes_with_the_slots_next_run(*, is_ours: bool) -> None:
    """Nobody can tidy up after SIGKILL but who comes next; what another user has put there is not ours to remove."""
    left = Path(tempfile.mkdtemp(prefix="baton-proxy-t-0-"))
    (left / "s").touch()
    if not is_ours:
        os.chown(left, 12_345, 12_345)

    with hold_proxy(granted("a.org"), 1000, "t-0"):
        assert left.exists() is not is_ours
    if not is_ours:
        (left / "s").unlink()
        left.rmdir()


def test_a_long_way_to_temporary_files_leaves_room_for_the_socket(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel takes some hundred bytes for a socket's address, whatever an operator calls the folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("d" * 200)))
    host = f"127.0.0.1:{server.port}"

    with hold_proxy(granted(host), 1000, "t-0") as proxy:
        assert b"200 connected" in ask(proxy, f"CONNECT {host} HTTP/1.1\r\n\r\n".encode())


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine at which nobody listens, and nobody else can."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


def test_a_host_that_does_not_answer_is_told_as_failed(closed_port: int) -> None:
    """Granted it was: the operator looks at the host, not at the grants."""
    host = f"127.0.0.1:{closed_port}"
    with hold_proxy(granted(host), 1000, "t-0") as proxy:
        answer = ask(proxy, f"CONNECT {host} HTTP/1.1\r\n\r\n".encode())
    (use,) = proxy.uses()

    assert answer == b"HTTP/1.1 502 not reached\r\n\r\n"
    assert (use.verdict, "refused" in use.why) == ("failed", True)


def test_the_next_address_is_tried_where_one_does_not_answer(server: Any) -> None:
    """As everybody does who connects to a name."""
    place = f"many.example:{server.port}"
    with hold_proxy(granted(place, private=(place,)), 1000, "t-0", lambda *_: ["127.0.0.9", "127.0.0.1"]) as proxy:
        answer = ask(proxy, f"CONNECT {place} HTTP/1.1\r\n\r\nGET /x HTTP/1.1\r\n\r\n".encode())

    assert answer.endswith(b"/x")


def test_more_connections_at_once_than_a_plugin_may_have_are_closed(server: Any) -> None:
    """Each costs the worker a thread; those that are there go on."""
    host = f"127.0.0.1:{server.port}"
    with hold_proxy(granted(host), 1000, "t-0") as proxy, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(9)]
        heads = []
        for client in clients:
            client.settimeout(60)
            client.connect(proxy.path)
            with contextlib.suppress(ConnectionError):
                client.sendall(f"CONNECT {host} HTTP/1.1\r\n\r\n".encode())
                heads.append(client.recv(100)[:12])

    assert [head for head in heads if head] == [b"HTTP/1.1 200"] * 8
    assert len(proxy.uses()) == 8


def test_a_worker_without_a_thread_to_spare_closes_the_way_and_goes_on(server: Any) -> None:
    """The plugin's connection fails, and no other call of the worker does."""
    host = f"127.0.0.1:{server.port}"
    with hold_proxy(granted(host), 1000, "t-0") as proxy:
        before = threading.stack_size(1 << 46)  # more than any machine maps: the kernel refuses the thread
        try:
            first = ask(proxy, f"CONNECT {host} HTTP/1.1\r\n\r\n".encode())
        finally:
            threading.stack_size(before)
        second = ask(proxy, f"CONNECT {host} HTTP/1.1\r\n\r\n".encode())

    assert (first, second[:12]) == (b"", b"HTTP/1.1 200")


def test_a_name_that_is_answered_after_the_end_connects_nobody(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who answers for a name may take minutes; the call is over by then, and its slot another's."""
    monkeypatch.setattr(ours, "_JOIN_SECONDS", 0.01)
    asked, answer = threading.Event(), threading.Event()

    def resolve_late(*_: object) -> list[str]:
        asked.set()
        answer.wait(60)
        return ["127.0.0.1"]

    place = f"slow.example:{server.port}"
    with socket.socket(socket.AF_UNIX) as client:
        with hold_proxy(granted(place, private=(place,)), 1000, "t-0", resolve_late) as proxy:
            client.connect(proxy.path)
            client.sendall(f"CONNECT {place} HTTP/1.1\r\n\r\nGET /late HTTP/1.1\r\n\r\n".encode())
            assert asked.wait(60)
        end, late = proxy.end, [one for one in threading.enumerate() if one.name == "sandbox-proxy"]
        os.fstat(end)  # kept, for the thread that will look at it
        answer.set()
        for thread in late:
            thread.join(60)

    assert [one.verdict for one in proxy.uses()] == ["failed"]
    assert server.heard == []
    del proxy, late, thread
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(end)


def test_whoever_knocks_for_ever_finds_nobody_who_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each knock costs the worker's process as much as the plugin; after some the kernel alone answers."""
    monkeypatch.setattr(ours, "_MOST_TURNED_AWAY", 3)

    with hold_proxy(granted("a.org"), 1000, "t-0") as proxy, contextlib.ExitStack() as stack:
        refused = 0
        for _ in range(200):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            try:
                client.connect(proxy.path)
            except ConnectionRefusedError:
                refused += 1

    assert refused > 100
