"""Ask a server one question over its Unix socket, without a client library.

For PING, INFO and SHUTDOWN of the embedded server alone; sessions go through store/.
"""

import socket
from pathlib import Path


def ask(path: Path, command: str, *, seconds: float = 1.0) -> bytes | None:
    """Return the reply, status line and errors with their sign; None if nobody answers or the server hangs up."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds)
            connection.connect(str(path))
            connection.sendall(f"{command}\r\n".encode())
            received = b""
            while not is_complete(received):
                chunk = connection.recv(65_536)
                if not chunk:
                    return None
                received += chunk
    except OSError:
        return None
    head, _, body = received.partition(b"\r\n")
    return body[:-2] if head.startswith(b"$") else head


def is_complete(received: bytes) -> bool:
    """Say whether a status, error or bulk reply is all there.

    >>> is_complete(b"+PONG"), is_complete(b"+PONG\\r\\n"), is_complete(b"$4\\r\\nab"), is_complete(b"$2\\r\\nab\\r\\n")
    (False, True, False, True)
    """
    head, end, body = received.partition(b"\r\n")
    if not end:
        return False
    return not head.startswith(b"$") or len(body) >= int(head[1:]) + 2
