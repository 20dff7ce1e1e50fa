"""The one way out of a box: a small CONNECT proxy on a unix socket, outside, for one call.

The box keeps its empty network namespace; the socket is bound into it where the manifest asks for hosts and the operator grants them.
Names are resolved out here, judged with all their addresses (grants.py), and the very address that was judged is connected to, so
that a name that changes its mind gains nothing. Bytes are counted over all connections of the call and both ways; what was tried is
told in the entry. Does not look into what it carries: encryption is between the plugin and the host that it talks to.
"""

import contextlib
import os
import select
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from plugin_sandbox.grants import MOST_HEAD_BYTES, Denied, Grants, Place, parse_head
from plugin_sandbox.model import NetworkUse

_HEAD_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 60.0
_JOIN_SECONDS: Final = 1.0
_AT_ONCE: Final = 8
_MOST_CONNECTIONS: Final = 100
_MOST_TURNED_AWAY: Final = 1000
_CHUNK: Final = 65_536
_MOST_PATH: Final = 100  # of a socket's address, of which the kernel takes 107

Resolve = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """Return every address of a host; raise OSError."""
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]


@dataclass
class _Use:
    place: Place
    verdict: str = "connected"
    why: str = ""
    sent_bytes: int = 0
    received_bytes: int = 0

    def told(self) -> NetworkUse:
        """Return it as the entry tells it."""
        return NetworkUse.model_validate(
            {
                "host": self.place[0],
                "port": self.place[1],
                "verdict": self.verdict,
                "why": self.why,
                "sent_bytes": self.sent_bytes,
                "received_bytes": self.received_bytes,
            }
        )


@dataclass
class Proxy:
    """One call's proxy: `path` is the socket, `uses` what was tried."""

    grants: Grants
    most_bytes: int
    path: str
    listener: socket.socket
    resolve: Resolve = resolve
    _uses: list[_Use] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _bytes: int = 0
    _end: int = field(default_factory=lambda: os.eventfd(0, os.EFD_CLOEXEC))
    _is_over: bool = False

    def __post_init__(self) -> None:
        """A thread that still asks for a name when all is over looks at the descriptor on its return: it is kept until then."""
        self._give_back = weakref.finalize(self, os.close, self._end)

    def uses(self) -> tuple[NetworkUse, ...]:
        """Return what was tried so far."""
        with self._lock:
            return tuple(one.told() for one in self._uses)

    def serve(self) -> None:
        """Take connections until `close`, or until there were too many: then nobody listens, and to knock costs the plugin alone."""
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        poll.register(self._end, select.POLLIN)
        slots, turned_away = threading.BoundedSemaphore(_AT_ONCE), 0
        while True:
            if len(self._uses) >= _MOST_CONNECTIONS or turned_away >= _MOST_TURNED_AWAY:
                self.listener.close()
                return
            if self._end in dict(poll.poll()):
                return
            with contextlib.suppress(OSError):  # whoever knocked is gone
                client, _ = self.listener.accept()
                if not slots.acquire(blocking=False):
                    turned_away += 1
                    client.close()
                    continue
                thread = threading.Thread(target=self._attend, args=(client, slots), name="sandbox-proxy", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # this process has no thread to spare: the plugin finds the way closed
                    slots.release()
                    turned_away += 1
                    client.close()
                    continue
                self._threads.append(thread)

    def _attend(self, client: socket.socket, slots: threading.BoundedSemaphore) -> None:
        use = _Use(("", 0))
        try:
            with client:
                with self._lock:
                    self._uses.append(use)
                self._connect(client, use)
        except OSError as error:
            use.why = use.why or str(error)
        finally:
            slots.release()

    def _connect(self, client: socket.socket, use: _Use) -> None:
        try:
            head, early = self._read_head(client)
            use.place = parse_head(head)
            self.grants.check(use.place)
            addresses = self.grants.choose(use.place, self.resolve(*use.place))
            remote = self._reach(addresses, use.place[1])
        except Denied as denied:
            use.verdict, use.why = "refused", str(denied)
            client.sendall(f"HTTP/1.1 403 {denied}\r\n\r\n".encode("ascii", "replace"))
            return
        except OSError as error:
            use.verdict, use.why = "failed", str(error)
            client.sendall(b"HTTP/1.1 502 not reached\r\n\r\n")
            return
        with remote:
            client.sendall(b"HTTP/1.1 200 connected\r\n\r\n")
            _Relay(self, client, remote, use).run(early)

    def _read_head(self, client: socket.socket) -> tuple[bytes, bytes]:
        """Return a request's head, and what came behind it."""
        taken, end = b"", time.monotonic() + _HEAD_SECONDS
        while b"\r\n\r\n" not in taken:
            client.settimeout(max(0.001, end - time.monotonic()))
            chunk = client.recv(MOST_HEAD_BYTES)
            taken += chunk
            if not chunk or len(taken) > MOST_HEAD_BYTES or time.monotonic() > end or self._is_over:
                raise Denied("no request came")
        head, _, early = taken.partition(b"\r\n\r\n")
        return head, early

    def _reach(self, addresses: tuple[str, ...], port: int) -> socket.socket:
        last = OSError("not reached")
        for address in addresses:
            if self._is_over:
                break
            try:
                return socket.create_connection((address, port), timeout=_CONNECT_SECONDS)
            except OSError as error:
                last = error
        raise last

    def count(self, size: int) -> bool:
        """Count bytes that were carried; False when it is one too many."""
        with self._lock:
            self._bytes += size
            return self._bytes <= self.most_bytes

    @property
    def is_over(self) -> bool:
        """Whether the call has ended."""
        return self._is_over

    @property
    def end(self) -> int:
        """What becomes readable when it has."""
        return self._end

    def close(self, server: threading.Thread) -> None:
        """End every connection; `server` is the thread that serves."""
        self._is_over = True
        os.eventfd_write(self._end, 1)
        server.join()
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if not any(thread.is_alive() for thread in self._threads):
            self._give_back()


class _Relay:
    """Carries bytes between two sockets until one of them, the count, or the call ends."""

    def __init__(self, proxy: Proxy, client: socket.socket, remote: socket.socket, use: _Use) -> None:
        self._proxy, self._client, self._remote, self._use = proxy, client, remote, use
        client.setblocking(False)
        remote.setblocking(False)

    def run(self, early: bytes) -> None:
        """Carry, with what the client has said already."""
        waiting = {self._remote: bytearray(), self._client: bytearray()}
        if early and not self._take(early, waiting[self._remote], is_sent=True):
            return
        sources = {self._client: self._remote, self._remote: self._client}
        while not self._proxy.is_over and (sources or any(waiting.values())):
            poll = select.poll()
            poll.register(self._proxy.end, select.POLLIN)
            for one, other in ((self._client, self._remote), (self._remote, self._client)):
                # Nothing more is read from one side than the other has taken.
                wanted = select.POLLIN if one in sources and not waiting[other] else 0
                wanted |= select.POLLOUT if waiting[one] else 0
                if wanted:
                    poll.register(one, wanted)
            ready = dict(poll.poll(_IDLE_SECONDS * 1000))
            if not ready or self._proxy.end in ready:
                self._use.why = self._use.why or ("" if ready else "idle")
                return
            for one in (self._client, self._remote):
                if ready.get(one.fileno(), 0) and not self._move(one, sources, waiting):
                    return

    def _move(
        self, one: socket.socket, sources: dict[socket.socket, socket.socket], waiting: dict[socket.socket, bytearray]
    ) -> bool:
        """Give a side what waits for it, and take what it says; False ends the connection."""
        with contextlib.suppress(BlockingIOError):
            if waiting[one]:
                del waiting[one][: one.send(waiting[one])]
        other = sources.get(one)
        if other is None or waiting[other]:
            return True
        try:
            chunk = one.recv(_CHUNK)
        except BlockingIOError:
            return True
        if not chunk:
            del sources[one]
            with contextlib.suppress(OSError):  # it is gone, too
                other.shutdown(socket.SHUT_WR)
            return True
        return self._take(chunk, waiting[other], is_sent=one is self._client)

    def _take(self, chunk: bytes, into: bytearray, *, is_sent: bool) -> bool:
        if not self._proxy.count(len(chunk)):
            self._use.verdict, self._use.why = "cut", "more than network_mb"
            return False
        if is_sent:
            self._use.sent_bytes += len(chunk)
        else:
            self._use.received_bytes += len(chunk)
        into += chunk
        return True


@contextlib.contextmanager
def hold_proxy(grants: Grants, most_bytes: int, place: str, resolve: Resolve = resolve) -> Iterator[Proxy]:
    """Yield a proxy that serves; end it, with all its connections, in the end.

    place: names the slot that the call holds; what a killed worker left of its last call is removed first.
    """
    prefix = f"baton-proxy-{place}-"
    top = tempfile.gettempdir()
    if len(top) + len(prefix) + 16 > _MOST_PATH:
        top = "/tmp"  # noqa: S108 - a folder of our own is made in it; a socket's address has no room for a longer way
    for left in Path(top).glob(prefix + "*"):
        if left.lstat().st_uid == os.geteuid():
            (left / "s").unlink(missing_ok=True)
            left.rmdir()
    home = Path(tempfile.mkdtemp(prefix=prefix, dir=top))
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(home / "s"))
            (home / "s").chmod(0o666)  # the slot's user; nobody else gets through the folder
            listener.listen(_AT_ONCE)
            proxy = Proxy(grants, most_bytes, str(home / "s"), listener, resolve)
            thread = threading.Thread(target=proxy.serve, name="sandbox-proxy", daemon=True)
            thread.start()
            try:
                yield proxy
            finally:
                proxy.close(thread)
    finally:
        (home / "s").unlink(missing_ok=True)
        home.rmdir()
