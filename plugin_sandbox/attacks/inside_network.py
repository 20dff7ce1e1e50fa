"""Attacks on the one way out that a plugin with granted hosts has, and on what lies beside it. Run inside the box.

The manifest of these names, and the operator grants, `127.0.0.1:PORT`, and the name `localhost:PORT`, which leads inside.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from plugin_sandbox.api import PluginError

Arena = dict[str, Any]


def _ask(arena: Arena, head: str) -> str:
    """Say this to the proxy; return the first line of its answer where it agrees, raise where it does not."""
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(5)
        made.connect(arena["proxy"])
        made.sendall(head.encode("latin-1"))
        answer = made.recv(4096)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise PermissionError(answer.decode("latin-1"))
    return answer.decode("latin-1")


def _any(arena: Arena, heads: list[str]) -> str:
    for head in heads:
        with suppress(OSError):
            return f"{head!r}: {_ask(arena, head)}"
    raise PermissionError("none is understood")


def proxy_other_host(arena: Arena) -> str:
    """Have another host connected than those that are granted."""
    return _ask(arena, "CONNECT example.org:443 HTTP/1.1\r\n\r\n")


def proxy_other_port(arena: Arena) -> str:
    """Have another port of a granted host connected: the worker's own services are a port away."""
    return _any(
        arena,
        [
            f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n"
            for port in (arena["other_port"], 22, 6379, 65_536 + arena["port"])
        ],
    )


def proxy_rebound_name(arena: Arena) -> str:
    """Have a granted name connected that leads to the worker's own machine."""
    return _ask(arena, f"CONNECT localhost:{arena['port']} HTTP/1.1\r\n\r\n")


def proxy_other_spelling(arena: Arena) -> str:
    """Write the worker's own address in ways that a list of names does not know."""
    names = (
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost.",
        "LOCALHOST",
        "0",
    )
    return _any(arena, [f"CONNECT {name}:{arena['other_port']} HTTP/1.1\r\n\r\n" for name in names])


def proxy_smuggle(arena: Arena) -> str:
    """Hide a second request, or a second target, in one that is granted."""
    port, other = arena["port"], arena["other_port"]
    return _any(
        arena,
        [
            f"CONNECT 127.0.0.1:{port}@127.0.0.1:{other} HTTP/1.1\r\n\r\n",
            f"CONNECT 127.0.0.1:{port} HTTP/1.1\nCONNECT 127.0.0.1:{other} HTTP/1.1\r\n\r\n",
            f"CONNECT 127.0.0.1:{port}\t127.0.0.1:{other} HTTP/1.1\r\n\r\n",
            f"CONNECT localhost\0127.0.0.1:{port} HTTP/1.1\r\n\r\n",
            f"CONNECT nobody.invalid:1 HTTP/1.1\r\n\r\nCONNECT 127.0.0.1:{other} HTTP/1.1\r\n\r\n",
        ],
    )


def proxy_plain_request(arena: Arena) -> str:
    """Have the proxy itself fetch something."""
    return _any(
        arena,
        [
            f"{method} http://127.0.0.1:{arena['other_port']}/ HTTP/1.1\r\nHost: x\r\n\r\n"
            for method in ("GET", "POST", "OPTIONS", "TRACE")
        ],
    )


def proxy_oversize(arena: Arena) -> str:
    """Send more than is granted, over one connection after the other."""
    sent = 0
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as made, suppress(ConnectionError):
            made.settimeout(5)
            made.connect(arena["proxy"])
            made.sendall(f"CONNECT 127.0.0.1:{arena['port']} HTTP/1.1\r\n\r\n".encode())
            if not made.recv(4096).startswith(b"HTTP/1.1 200"):
                break
            for _ in range(64):
                made.sendall(b"x" * 65_536)
                sent += 65_536
    if sent > 4 * 2**20:
        return f"{sent} bytes, 1 MiB was granted"
    raise PermissionError(f"cut after {sent}")


def proxy_flood(arena: Arena) -> str:
    """Open connections and say nothing, so that whoever waits for them waits."""
    held = []
    for _ in range(100):
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(2)
        with suppress(OSError):
            made.connect(arena["proxy"])
        held.append(made)
    return ""


def proxy_fd(arena: Arena) -> str:
    """Hand the proxy a descriptor, and hope for one in return."""
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(1)
        made.connect(arena["proxy"])
        socket.send_fds(made, [b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n"], [0])
        _, fds, _, _ = socket.recv_fds(made, 4096, 4)
    if fds:
        return f"descriptors {fds}"
    raise PermissionError("none came")


def beside_the_proxy(arena: Arena) -> str:
    """Reach, with the sockets that lead to the proxy, what is not the proxy."""
    attempts: dict[str, Callable[[], object]] = {
        "tcp": lambda: socket.create_connection(("127.0.0.1", arena["port"]), timeout=2),
        "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "netlink": lambda: socket.socket(16, socket.SOCK_RAW),
        "datagrams": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
        "path": lambda: socket.socket(socket.AF_UNIX).connect(arena["unix"]),
        "abstract": lambda: socket.socket(socket.AF_UNIX).connect("\0" + arena["abstract"]),
        "listening": lambda: socket.socket(socket.AF_UNIX).bind("mine"),
    }
    for name, attempt in attempts.items():
        with suppress(OSError):
            attempt()
            return name
    raise PermissionError("nothing else is there")


def fetch_elsewhere(arena: Arena) -> str:
    """Ask by the plugin's own way for a host that is not granted."""
    try:
        return str(arena["fetch"]("https://example.org/").status)
    except PluginError as error:
        raise PermissionError(str(error)) from error
