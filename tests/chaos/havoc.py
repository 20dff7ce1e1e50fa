"""Carries out a plan of faults on a running stack, and notes what really struck, and when.

Everything that is stopped or cut goes on in the end. One worker at least is left at work: how fast sessions recover can be
told only while somebody is there to take them.
"""

import asyncio
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.client import Client
from orchestrator.settings import Settings
from tests.chaos.clock import write_offset
from tests.chaos.driver import Driver
from tests.chaos.fleet import Fleet, Member, pause
from tests.chaos.history import count_confirmed
from tests.chaos.monkey import Blow, Monkey
from tests.chaos.plan import OUTSIDE, SCHEDULERS, WORKERS, Fault
from tests.chaos.power import Cut, Power
from tests.chaos.proxy import Proxy

#: For how long the server refuses to write because its memory or its disk is full.
FULL_SECONDS = 1.5
#: How long a process may take to end that was asked to: its grace, and the patience for a server that is away.
TERM_SECONDS = 45.0
_CONTINUE = signal.SIGCONT


@dataclass
class Havoc:
    """Strikes as planned. `newer` are the settings of the next version."""

    fleet: Fleet
    control: Client
    driver: Driver
    power: Power
    proxies: dict[str, Proxy]
    newer: Settings
    plan: Sequence[Fault]
    history: Path
    cuts: list[Cut] = field(default_factory=list)
    struck: list[Fault] = field(default_factory=list)
    left_out: list[Fault] = field(default_factory=list)
    overdue: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.monkey = Monkey(self.fleet, self.control, 0)
        self._ailing: set[str] = set()
        self._offline: set[str] = set()
        self._server = asyncio.Lock()
        self._has_power = True

    @property
    def blows(self) -> list[Blow]:
        """Return what struck which process, in the server's time."""
        return self.monkey.blows

    async def rage(self) -> None:
        """Carry out the plan, and wait until everything that was struck goes on."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for fault in self.plan:
                await pause(max(began + fault.at - loop.time(), 0))
                group.create_task(self._strike(fault))

    async def supervise_forever(self) -> None:
        """Start again what ends by itself, as a supervisor does: Celery's worker gives up where its broker refuses its start."""
        while True:
            for member in [one for one in self.fleet.members if one.process.poll() is not None]:
                self.fleet.members.remove(member)
                self.ended.append(member.slot)
                self.fleet.start(member.role, pool=member.pool, slot=member.slot)
            await pause(0.5)

    async def _strike(self, fault: Fault) -> None:
        match fault.what:
            case "disk" if self.power.fsync == "always":
                self.left_out.append(
                    fault
                )  # a server that promised the disk ends itself then, and its supervisor waits
                return
            case "restart" | "stop_server" | "power" | "memory" | "disk":
                async with self._server:
                    await self._strike_server(fault)
            case "deploy":
                await self._deploy()
            case "cut" | "freeze" | "deafen" | "slow":
                if not await self._strike_network(fault):
                    self.left_out.append(fault)
                    return
            case "clock":
                write_offset(self.fleet.places[fault.slot][2], fault.size)
            case "kill" | "stop":
                if not await self._strike_process(fault):
                    self.left_out.append(fault)
                    return
        self.struck.append(fault)

    async def _target(self, slot: str) -> Member | None:
        """Return who is in that place if it may be struck: at work, and not the last one of its kind at work."""
        if self._server.locked():
            return None  # who is at work cannot be asked just now
        role = "scheduler" if slot in SCHEDULERS else "worker"
        able = {member.slot: member for member in await self.monkey.able(role) if member.slot not in self._ailing}
        return able.get(slot) if role == "scheduler" or len(able) > 1 else None

    async def _strike_process(self, fault: Fault) -> bool:
        member = await self._target(fault.slot)
        if member is None:
            return False
        if fault.what == "kill":
            await self.monkey.kill(member)
        else:
            self._ailing.add(fault.slot)
            await self.monkey.stop(member, fault.lasts)
            self._ailing.discard(fault.slot)
        return True

    async def _strike_network(self, fault: Fault) -> bool:
        proxy = self.proxies[fault.slot]
        if fault.slot in self._ailing:
            return False
        if fault.slot != OUTSIDE:
            member = await self._target(fault.slot)
            if member is None:
                return False
            at = await self.control.store.now_ms()
            self.blows.append(Blow(fault.what, member.role, member.pids(), at, lasts_ms=int(fault.lasts * 1000)))
        self._ailing.add(fault.slot)
        self._offline.add(fault.slot)
        match fault.what:
            case "cut":
                proxy.cut()
            case "freeze":
                proxy.freeze()
            case "deafen":
                proxy.deafen()
            case _:
                proxy.slow(fault.size)
        await pause(fault.lasts)
        self._offline.discard(fault.slot)
        if self._has_power:
            proxy.heal()
        self._ailing.discard(fault.slot)
        return True

    async def _strike_server(self, fault: Fault) -> None:
        at = await self.control.store.now_ms()
        if fault.what == "memory":
            await self.control.store.command("CONFIG", "SET", "maxmemory", 1)
            await pause(FULL_SECONDS)
            await self.control.store.command("CONFIG", "SET", "maxmemory", 0)
        elif fault.what == "disk":
            self.power.limit_files(full=True)
            await pause(FULL_SECONDS)
            self.power.limit_files(full=False)
        elif fault.what == "power":
            await self._cut_power(fault)
        else:
            await (self.power.kill() if fault.what == "restart" else self.power.stop())
            await pause(fault.lasts)
            await self.power.start()
        over = await self.control.store.now_ms()
        self.blows.append(Blow(fault.what, "server", [], at, lasts_ms=over - at))

    async def _cut_power(self, fault: Fault) -> None:
        """Cut everybody off first: an answer that nobody has got was never given. Then those outside find their losses."""
        self.cuts.append(await self.power.cut(self._cut_everybody_off, lambda: count_confirmed(self.history)))
        await pause(fault.lasts)
        await self.power.start()
        self._has_power = True
        for slot, proxy in self.proxies.items():
            if slot not in self._offline:
                proxy.heal()
        self.proxies[OUTSIDE].heal()
        await self.driver.find_losses()
        self.driver.gate.set()

    def _cut_everybody_off(self) -> None:
        self._has_power = False
        self.driver.cuts += 1
        self.driver.gate.clear()
        for proxy in self.proxies.values():
            proxy.cut()

    async def _deploy(self) -> None:
        """Replace every process by one of the next version, half of them at a time; sessions that began go on."""
        self.fleet.settings = self.newer
        everybody = [*SCHEDULERS, *WORKERS]
        for half in (everybody[::2], everybody[1::2]):
            await asyncio.gather(*(self._replace(slot) for slot in half))

    async def _replace(self, slot: str) -> None:
        for member in [one for one in self.fleet.members if one.slot == slot]:
            self._ailing.add(slot)
            member.signal(_CONTINUE)
            member.stopped = False
            try:
                await asyncio.to_thread(self.fleet.terminate, member, TERM_SECONDS)
            except subprocess.TimeoutExpired:
                self.overdue.append(member.slot)  # it was killed then, as a supervisor does
            self.fleet.start(member.role, pool=member.pool, slot=slot)
            self._ailing.discard(slot)
            await self._wait_for(slot)

    async def _wait_for(self, slot: str) -> None:
        """Return once somebody is at work there again, whoever it is."""
        role = "scheduler" if slot in SCHEDULERS else "worker"
        async with asyncio.timeout(60):
            while not any(one.slot == slot for one in await self.monkey.able(role)):
                await pause(0.2)


def tell_fault(fault: Fault) -> dict[str, Any]:
    """Return a fault as JSON."""
    return {"at": fault.at, "what": fault.what, "slot": fault.slot, "lasts": fault.lasts, "size": fault.size}
