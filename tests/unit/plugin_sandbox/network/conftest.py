"""A real server on this machine, and a proxy in front of it."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest


@dataclass
class Server:
    """Answers every request with its path, and remembers who asked."""

    listener: socket.socket
    heard: list[bytes] = field(default_factory=list)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.listener.getsockname()[1])

    def serve(self) -> None:
        """Until the listener is closed."""
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client:
            try:
                taken = b""
                while b"\r\n\r\n" not in taken:
                    chunk = client.recv(65536)
                    if not chunk:
                        return
                    taken += chunk
                self.heard.append(taken)
                path = taken.split(b" ")[1]
                size = int(path[6:]) if path.startswith(b"/size/") else 0
                body = b"x" * size or path
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                while client.recv(65536):  # what is sent beyond is taken, and counted by the proxy
                    continue
            except OSError:
                return


@pytest.fixture
def server() -> Iterator[Server]:
    """It runs for one test."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Server(listener)
        thread = threading.Thread(target=made.serve)
        thread.start()
        yield made
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
