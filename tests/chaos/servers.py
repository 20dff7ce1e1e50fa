"""Server processes by their ports: killed, stopped in the middle of whatever they do, let go on, and ended by pid."""

import asyncio
import signal
import subprocess
from dataclasses import dataclass, field


@dataclass
class Servers:
    """Those that run, and those that stand still."""

    processes: "dict[int, subprocess.Popen[bytes]]" = field(default_factory=dict, kw_only=True)
    halted: "dict[int, subprocess.Popen[bytes]]" = field(default_factory=dict, kw_only=True)

    async def kill(self, port: int) -> None:
        """Kill a server."""
        process = self.processes.pop(port)
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait, 10)

    def halt(self, port: int) -> None:
        """Stop a server in the middle of whatever it does: its connections stay, and nothing answers."""
        self.halted[port] = self.processes.pop(port)
        self.halted[port].send_signal(signal.SIGSTOP)

    def resume(self, port: int) -> None:
        """Let a halted server go on, as if nothing had been."""
        self.processes[port] = self.halted.pop(port)
        self.processes[port].send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End everything, by pid."""
        every = [*self.processes.values(), *self.halted.values()]
        for process in every:
            process.kill()
        for process in every:
            process.wait(timeout=10)
        self.processes.clear()
        self.halted.clear()
