"""The way out, with real sockets on both sides."""

import contextlib
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox.grants import Grants
from plugin_sandbox.proxy import Proxy, hold_proxy


def ask(proxy: Proxy, data: bytes) -> bytes:
    """Say this to the proxy, and return all that it answers."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
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
        client.settimeout(10)
        with hold_proxy(granted(host), 1000, "t-0") as proxy:
            client.connect(proxy.path)
            client.sendall(f"CONNECT {host} HTTP/1.1\r\n\r\n".encode())
            answer = client.recv(100)

        assert answer.startswith(b"HTTP/1.1 200")
        assert client.recv(100) == b""
    assert not Path(proxy.path).exists()


def test_what_a_killed_worker_left_goes_with_the_slots_next_run() -> None:
    """Nobody can tidy up after SIGKILL but who comes next."""
    left = Path(tempfile.mkdtemp(prefix="baton-proxy-t-0-"))
    (left / "s").touch()

    with hold_proxy(granted("a.org"), 1000, "t-0"):
        assert not left.exists()
