"""The one who kills: at random but from a seed, one process at a time, and everything stopped goes on in the end.

One worker at least is left at work: how fast sessions recover can be told only while somebody is there to take them.
"""

import asyncio
import random
import signal
import time
from dataclasses import dataclass, field

from orchestrator.client import Client
from tests.chaos.fleet import Fleet, Member, pause

#: How long a scheduler is left alone while it starts; a worker says itself when it is there, or where nobody can be asked
#: it is believed to be after a while.
GROWN_SECONDS = 3.0
WORKER_GROWN_SECONDS = 8.0


def wall_ms() -> int:
    """Return the wall clock's milliseconds: every server of a run has the same, and may not answer just now."""
    return time.time_ns() // 1_000_000


@dataclass
class Blow:
    """What was done to which process, when (wall clock, ms), and for how long; `held` are the sessions of a killed worker."""

    what: str
    role: str
    pids: list[int]
    at: int
    held: list[str] = field(default_factory=list)
    lasts_ms: int = 0


@dataclass
class Monkey:
    """Draws blows from a seed."""

    fleet: Fleet
    client: Client
    seed: int
    every_seconds: tuple[float, float] = (1.0, 2.6)
    stopped_seconds: tuple[float, float] = (0.5, 5.0)
    blows: list[Blow] = field(default_factory=list)

    async def rage(self, seconds: float) -> None:
        """Kill, stop and continue for this long; leave nobody stopped."""
        chance = random.Random(f"monkey:{self.seed}")
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        async with asyncio.TaskGroup() as group:
            while (left := until - loop.time()) > 0:
                await pause(min(chance.uniform(*self.every_seconds), left))
                role = chance.choices(["worker", "scheduler"], [6, 1])[0]
                what = chance.choices(["kill", "stop"], [3, 2])[0]
                able = await self.able(role)
                stopped = chance.uniform(*self.stopped_seconds)
                if len(able) <= (role == "worker"):
                    continue
                member = chance.choice(able)
                if what == "kill":
                    await self.kill(member)
                else:
                    group.create_task(self.stop(member, min(stopped, max(until - loop.time(), 0.5))))

    async def able(self, role: str) -> list[Member]:
        """Return who is at work: neither stopped nor still starting. Striking those who hold nothing proves nothing."""
        alive = {info.pid for info in await self.client.workers()}
        running = [one for one in self.fleet.of(role) if not one.stopped]
        if role == "scheduler":
            return [one for one in running if time.monotonic() - one.began > GROWN_SECONDS]
        return [one for one in running if alive & set(one.pids())]

    def grown(self, role: str) -> list[Member]:
        """Return who is at work as far as can be told without asking the store."""
        enough = GROWN_SECONDS if role == "scheduler" else WORKER_GROWN_SECONDS
        now = time.monotonic()
        return [one for one in self.fleet.of(role) if not one.stopped and now - one.began > enough]

    async def kill(self, member: Member) -> None:
        """Kill a process with its children, and start its like."""
        pids = member.pids()
        self.fleet.kill(member)
        blow = Blow("kill", member.role, pids, wall_ms())
        self.fleet.start(member.role, pool=member.pool, slot=member.slot)
        if member.role != "api":  # which holds nothing
            blow.held = await self.held_by(pids)  # the store may be away for a while
        self.blows.append(blow)

    async def stop(self, member: Member, seconds: float) -> None:
        """Stop a process for a while, some of them for longer than a lease; the others go on meanwhile."""
        self.blows.append(Blow("stop", member.role, member.pids(), wall_ms(), lasts_ms=int(seconds * 1000)))
        member.stopped = True
        member.signal(signal.SIGSTOP)
        await pause(seconds)
        member.signal(signal.SIGCONT)
        member.stopped = False

    async def held_by(self, pids: list[int]) -> list[str]:
        """Return the sessions whose lease names one of these processes."""
        held = []
        keys = self.client.store.keys
        for number in range(keys.partitions):
            for session_id in await self.client.store.command("ZRANGE", keys.of_partition("leases", number), 0, -1):
                holder = str(await self.client.store.command("HGET", keys.of_session("record", session_id), "holder"))
                if holder.split(":")[1] in {str(pid) for pid in pids}:
                    held.append(session_id)
        return held
