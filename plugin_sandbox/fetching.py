"""`ctx.fetch`: a plugin's request to a host that was granted, through the socket that leads out of the box.

Runs inside the sandbox, on the standard library alone. Whether a host may be reached is decided outside (proxy.py); what is refused
there is a PluginError here, with the reason. TLS is spoken from in here, with the host's own list of authorities.
"""

import contextlib
import http.client
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from plugin_sandbox.api import PluginError
from plugin_sandbox.grants import AUTHORITIES

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Response:
    """What a host answered. `headers` have lower-case names; of a name that is there twice, the last counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Tunnel(http.client.HTTPConnection):
    """A connection that begins at the proxy's socket."""

    def __init__(
        self, host: str, port: int, proxy: str, context: ssl.SSLContext | None, timeout_seconds: float
    ) -> None:
        super().__init__(host, port, timeout=timeout_seconds)
        self._proxy, self._context, self._seconds = proxy, context, timeout_seconds

    def connect(self) -> None:
        """Ask the proxy for the host, then speak with the host."""
        with contextlib.ExitStack() as stack:
            made = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            made.settimeout(self._seconds)
            made.connect(self._proxy)
            shown = f"[{self.host}]" if ":" in self.host else self.host
            made.sendall(f"CONNECT {shown}:{self.port} HTTP/1.1\r\nHost: {shown}:{self.port}\r\n\r\n".encode("ascii"))
            status, reason = _read_verdict(made)
            if status != http.HTTPStatus.OK:
                raise PluginError(f"network: {reason}")
            self.sock = made if self._context is None else self._context.wrap_socket(made, server_hostname=self.host)
            stack.pop_all()


def _read_verdict(made: socket.socket) -> tuple[int, str]:
    """Read the proxy's answer to its end, and not a byte of what follows."""
    taken = b""
    while not taken.endswith(b"\r\n\r\n"):
        byte = made.recv(1)
        if not byte or len(taken) > 4096:
            raise PluginError("network: the way out is closed")
        taken += byte
    _, status, reason = taken.split(b"\r\n", 1)[0].decode("ascii", "replace").split(" ", 2)
    return int(status), reason


def _make_context() -> ssl.SSLContext:
    """Trust whom the host trusts; without a list of authorities nobody is trusted, and every request fails."""
    known = (ssl.get_default_verify_paths().cafile, *AUTHORITIES)
    return ssl.create_default_context(cafile=next((path for path in known if path and os.path.exists(path)), None))


def fetch(
    proxy: str,
    url: str,
    *,
    method: str,
    headers: Mapping[str, str] | None,
    body: bytes | None,
    timeout_seconds: float,
    most_bytes: int,
) -> Response:
    """Make one request; raise PluginError. Redirects are not followed: they are another host's, perhaps."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError as error:
        raise PluginError(f"network: {url!r} is no address: {error}") from error
    if port is None or parts.scheme not in _PORTS or not parts.hostname:
        raise PluginError(f"network: {url!r} is no http or https address")
    if not proxy:
        raise PluginError("network: none was granted; name the host in isolation.hosts of the manifest")
    context = _make_context() if parts.scheme == "https" else None
    tunnel = _Tunnel(parts.hostname, port, proxy, context, timeout_seconds)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        tunnel.request(method, target, body=body, headers=dict(headers or {}))
        answer = tunnel.getresponse()
        data = answer.read(most_bytes + 1)
        left = answer.length  # of what its header said; the library takes a short answer for a whole one
    except (OSError, http.client.HTTPException) as error:
        raise PluginError(f"network: {parts.hostname}: {type(error).__name__}: {error}") from error
    finally:
        tunnel.close()
    if len(data) > most_bytes:
        raise PluginError(f"network: {parts.hostname}: the answer is larger than {most_bytes} bytes; raise most_bytes")
    if left:
        raise PluginError(f"network: {parts.hostname}: the answer ended {left} bytes before its end")
    return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, data)
