"""Carries out a plan of faults on a running stack, and notes what really struck, and when.

Everything that is stopped or cut goes on in the end. One worker at least is left at work: how fast sessions recover can be
told only while somebody is there to take them. What happens to the store is the store's to know (stores.py).
"""

import asyncio
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from orchestrator.client import Client
from orchestrator.settings import Settings
from tests.chaos.clock import write_offset
from tests.chaos.driver import Driver
from tests.chaos.fleet import Fleet, Member, pause
from tests.chaos.monkey import Blow, Monkey, wall_ms
from tests.chaos.plan import API, ASKED, FRONT, OUTSIDE, SCHEDULERS, WORKERS, Fault
from tests.chaos.proxy import Line
from tests.chaos.sides import Gap
from tests.chaos.stores import StoreUnderChaos

#: How long a process may take to end that was asked to: its grace, and the patience for a server that is away.
TERM_SECONDS = 45.0
#: How long after the last of the plan another one may begin at the store, where they have to wait for each other: on a busy machine a
#: failover takes longer than the time between two, and whoever waited for all of them would judge a store that is still being struck.
LATE_SECONDS = 60.0
_CONTINUE = signal.SIGCONT


@dataclass
class Havoc:
    """Strikes as planned. `newer` are the settings of the next version of the app, `proxies` the networks by their slots.

    `gaps` are the times in which nobody of the newer Baton was there any more.
    """

    fleet: Fleet
    control: Client
    driver: Driver
    store: StoreUnderChaos
    proxies: Mapping[str, Line]
    newer: Settings
    plan: Sequence[Fault]
    history: Path
    struck: list[Fault] = field(default_factory=list)
    left_out: list[Fault] = field(default_factory=list)
    overdue: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    under_way: list[str] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.monkey = Monkey(self.fleet, self.control, 0)
        self._ailing: set[str] = set()
        self._offline: set[str] = set()
        self._server = asyncio.Lock()
        self._replacing = asyncio.Lock()
        self._has_power = True
        self._until = inf
        self._changed = 0
        self._changes = sum(fault.what in ASKED for fault in self.plan)
        self._note_changed(0)

    @property
    def blows(self) -> list[Blow]:
        """Return what struck which process, in the server's time."""
        return self.monkey.blows

    async def rage(self) -> None:
        """Carry out the plan, and wait until everything that was struck goes on."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._until = began + max((fault.at for fault in self.plan), default=0.0) + LATE_SECONDS
        async with asyncio.TaskGroup() as group:
            for fault in self.plan:
                await pause(max(began + fault.at - loop.time(), 0))
                group.create_task(self._strike_until_over(fault))
        await self.store.settle(self)

    async def supervise_forever(self) -> None:
        """Start again what ends by itself, as a supervisor does: Celery's worker gives up where its broker refuses its start."""
        while True:
            for member in [one for one in self.fleet.members if one.process.poll() is not None]:
                self.fleet.members.remove(member)
                self.ended.append(member.slot)
                self.fleet.start(member.role, pool=member.pool, slot=member.slot)
            await pause(0.5)

    async def _strike_until_over(self, fault: Fault) -> None:
        name = f"{fault.what} {fault.slot}".strip()
        self.under_way.append(name)
        await self._strike(fault)
        self.under_way.remove(name)

    async def _strike(self, fault: Fault) -> None:
        match fault.what:
            case "restart" | "stop_server" | "power" | "memory" | "disk" | "failover" | "hang" | "split":
                if not await self._strike_store(fault):
                    self.left_out.append(fault)
                    return
            case "deploy":
                await self._deploy()
            case "upgrade" | "downgrade":
                await self._change_version(fault)
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
        role = role_of(slot)
        if role == "api":
            there = slot not in self._ailing and await listens(self.fleet.port)
            return next((one for one in self.fleet.of(role) if not one.stopped), None) if there else None
        if not self._server.locked():
            everybody = await self.monkey.able(role)
        elif self.store.is_replicated:
            everybody = self.monkey.grown(role)
        else:
            return None  # who is at work cannot be asked just now
        able = {member.slot: member for member in everybody if member.slot not in self._ailing}
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
        if fault.slot not in {OUTSIDE, FRONT}:
            member = await self._target(fault.slot)
            if member is None:
                return False
            self.blows.append(Blow(fault.what, member.role, member.pids(), wall_ms(), lasts_ms=int(fault.lasts * 1000)))
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

    async def _strike_store(self, fault: Fault) -> bool:
        """Let one thing at a time happen to the store, and nothing whose turn comes too late."""
        async with self._server:
            if asyncio.get_running_loop().time() > self._until:
                return False
            at = wall_ms()
            if not await self.store.strike(fault, self):
                return False
            self.blows.append(Blow(fault.what, "server", [], at, lasts_ms=wall_ms() - at))
        return True

    def cut_everybody_off(self) -> None:
        """Let nobody be answered any more."""
        self._has_power = False
        for proxy in self.proxies.values():
            proxy.cut()

    def heal_everybody(self) -> None:
        """Let everybody go on who is not offline for a reason of its own; those outside in any case."""
        self._has_power = True
        for slot, proxy in self.proxies.items():
            if slot not in self._offline:
                proxy.heal()
        self.proxies[OUTSIDE].heal()

    async def _deploy(self) -> None:
        """Replace every process by one of the next version, half of them at a time; sessions that began go on."""
        async with self._replacing:
            self.fleet.settings = self.newer
            everybody = [*SCHEDULERS, *WORKERS, API]
            for half in (everybody[::2], everybody[1::2]):
                await asyncio.gather(*(self._replace(slot) for slot in half))

    async def _change_version(self, fault: Fault) -> None:
        """Replace one process by one of the newer Baton, or of the older one again: one at a time, and each is waited for."""
        async with self._replacing:
            is_newer = fault.what == "upgrade"
            upgraded = self.fleet.upgraded
            if fault.slot == OUTSIDE:
                self.driver.use_newer(is_newer=is_newer)
                self._note_changed(1)
                return
            (upgraded.add if is_newer else upgraded.discard)(fault.slot)
            await self._replace(fault.slot)
            self._note_changed(1)
            since = wall_ms()
            await pause(fault.lasts)
            if not upgraded:
                self.gaps.append((since, wall_ms()))
                self.blows.append(Blow(fault.what, "server", [], since, lasts_ms=wall_ms() - since))

    def _note_changed(self, count: int) -> None:
        """Let each session have its share of messages between any two changes, however long a machine takes for one."""
        self._changed += count
        self.driver.allowed = self.driver.messages * (self._changed + 1) // (self._changes + 1)

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
        role = role_of(slot)
        async with asyncio.timeout(60 + self.store.patience_seconds):
            while role == "api" and not await listens(self.fleet.port):
                await pause(0.2)
            while role != "api" and not any(one.slot == slot for one in await self.monkey.able(role)):
                await pause(0.2)


def role_of(slot: str) -> str:
    """Return what the process in this place is."""
    return "api" if slot == API else "scheduler" if slot in SCHEDULERS else "worker"


async def listens(port: int) -> bool:
    """Say whether somebody listens there; one that is stopped does, too."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.transport.abort()
    return True


def tell_fault(fault: Fault) -> dict[str, Any]:
    """Return a fault as JSON."""
    return {"at": fault.at, "what": fault.what, "slot": fault.slot, "lasts": fault.lasts, "size": fault.size}
