"""What attacks are aimed at: secrets, services and a process of the suite's own. Nothing else is ever in reach of one that succeeds."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from plugin_sandbox.copies import remove_tree

CALM = "calm"


class Arena:
    """The targets of one run of the suite. `patience`: by how much a slow machine may need longer."""

    def __init__(self, home: Path, victim: subprocess.Popen[bytes], facts: dict[str, Any], patience: int = 1) -> None:
        self.home, self.victim, self.facts, self.patience = home, victim, facts, patience

    @property
    def canary(self) -> Path:
        """A file outside every workspace that nobody may change."""
        return self.home / "canary"

    @property
    def hosts(self) -> tuple[str, ...]:
        """What the manifests of attacks on the network are granted: an address, and a name that leads inside."""
        return (f"127.0.0.1:{self.facts['port']}", f"localhost:{self.facts['port']}")

    def damage(self) -> str:
        """Return what the attack did to the targets, "" where nothing; and make it good again."""
        for path in (self.canary, self.home / "other-plugin" / "__init__.py"):
            if path.read_text() != CALM:
                path.write_text(CALM)
                return f"{path.relative_to(self.home)} was changed"
        if self.victim.poll() is not None:
            return "the victim is dead"
        return ""


@contextmanager
def make_arena(patience: int = 1) -> Iterator[Arena]:
    """Lay out the targets; take them away afterwards."""
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="baton-attacks-"))
        stack.callback(remove_tree, home)
        (home / "canary").write_text(CALM)
        home.chmod(0o711)  # without a mount namespace a slot's uid has to reach the plugin below
        (home / "home").mkdir(mode=0o700)
        (home / "home" / "letter").write_text("private")
        (home / "other-plugin").mkdir(mode=0o755)
        (home / "other-plugin" / "__init__.py").write_text(CALM)
        (home / "secret").write_text("a secret of the host's")
        (home / "secret").chmod(0o600)
        token = secrets.token_hex(8)
        victim = subprocess.Popen(  # its end is the breach that `damage` looks for
            [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
            env={"ATTACK_TOKEN": token},
            start_new_session=True,
        )
        stack.callback(_end, victim)
        tcp = stack.enter_context(socket.socket())
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        other = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        answering = threading.Thread(target=_answer, args=(tcp,), daemon=True)
        answering.start()
        stack.callback(_hang_up, tcp, answering)
        by_path, abstract = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        by_path.bind(str(home / "service"))
        by_path.listen()
        abstract.bind(f"\0attack-{token}")
        abstract.listen()
        facts = {
            "canary": str(home / "canary"),
            "other": str(home / "other-plugin" / "__init__.py"),
            "secret": str(home / "secret"),
            "home": str(home / "home"),
            "token": token,
            "host_pid": os.getpid(),
            "host_group": os.getpgrp(),
            "victim": victim.pid,
            "port": tcp.getsockname()[1],
            "other_port": other.getsockname()[1],
            "unix": str(home / "service"),
            "abstract": f"attack-{token}",
            "hostname": os.uname().nodename,
            "uid": os.geteuid(),
        }
        yield Arena(home, victim, facts, patience)


def _answer(listener: socket.socket) -> None:
    """Serve whoever comes: answer once, then take what is said, until the listener is shut down."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client, contextlib.suppress(OSError):
            client.settimeout(5)
            client.recv(65_536)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
            while client.recv(65_536):
                continue


def _hang_up(listener: socket.socket, answering: threading.Thread) -> None:
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    answering.join(10)


def _end(victim: subprocess.Popen[bytes]) -> None:
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    if victim.stdin is not None:
        victim.stdin.close()
