"""Server processes by their ports: killed, stopped in the middle of whatever they do, isolated, let go on, and ended by pid."""

import asyncio
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.doors import Doors


@dataclass
class Servers:
    """Those that run, and those that stand still, with a folder each. With `doors`, they announce a place in front of each, which can be cut."""

    folder: Path

    processes: "dict[int, subprocess.Popen[bytes]]" = field(default_factory=dict, kw_only=True)
    halted: "dict[int, subprocess.Popen[bytes]]" = field(default_factory=dict, kw_only=True)

    doors: Doors | None = field(default=None, kw_only=True)
    #: Those that the others cannot reach; what they say of the others is not believed.
    isolated: set[int] = field(default_factory=set, kw_only=True)

    def place_of(self, port: int) -> int:
        """Return the port that a server announces."""
        return port if self.doors is None else self.doors.place_of(port)

    def port_at(self, place: int) -> int:
        """Return the port of the server that announces this one."""
        return place if self.doors is None else self.doors.port_at(place)

    async def isolate(self, port: int) -> None:
        """Let nothing pass between a server and the others; there must be doors."""
        assert self.doors is not None
        self.isolated.add(port)
        self.doors.isolate(port, await self._name(port))

    def rejoin(self, port: int) -> None:
        """Let everything pass again; who asks the others must still not ask this one until it knows what happened."""
        assert self.doors is not None
        self.doors.rejoin(port)

    async def _name(self, port: int) -> str:
        """Return what a server calls itself when it calls others, nothing where it calls nobody."""
        del port
        return ""

    async def kill(self, port: int) -> None:
        """Kill a server."""
        process = self.processes.pop(port)
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait, 60)

    def halt(self, port: int) -> None:
        """Stop a server in the middle of whatever it does: its connections stay, and nothing answers."""
        self.halted[port] = self.processes.pop(port)
        self.halted[port].send_signal(signal.SIGSTOP)

    def resume(self, port: int) -> None:
        """Let a halted server go on, as if nothing had been."""
        self.processes[port] = self.halted.pop(port)
        self.processes[port].send_signal(signal.SIGCONT)

    def logs(self) -> str:
        """Return the end of what each server and each Sentinel wrote: whether they took over, and if not why."""
        return "\n".join(
            f"--- server {path.parent.name}\n{path.read_text(errors='replace')[-4000:]}"
            for path in sorted(self.folder.glob("*/log"))
        )

    def close(self) -> None:
        """End everything, by pid."""
        every = [*self.processes.values(), *self.halted.values()]
        for process in every:
            process.kill()
        for process in every:
            process.wait(timeout=60)
        self.processes.clear()
        self.halted.clear()
