"""Our side of a bench: a real scheduler and real Celery workers, and rounds of sessions through them.

The processes are `python -m workers scheduler|worker`, as they run anywhere. All sessions of a
round are in line before the scheduler may send the first wake-up, so that submitting them costs
nobody anything. What is counted is read from the journal: committed steps, and when each was.
"""

import asyncio
import os
import random
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import psutil
from pydantic import JsonValue

from bench._harness import ROOT, Children, halted
from bench._usage import cpu_seconds
from orchestrator.client import Client
from orchestrator.contracts.session import Record
from orchestrator.embedded import RunningServer
from orchestrator.installed import load_installed_apps
from orchestrator.settings import Settings, load_settings
from orchestrator.wiring import build_client

APP = "bench_loop"
ACTOR = "bench"
#: A thousand waiting sessions fit into either of two processes, so that nobody waits for a lane while another is free.
LANES = 1024
#: Sessions submitted or read at once by the bench itself.
AT_ONCE = 100
UP_SECONDS, ROUND_SECONDS, LOOK_SECONDS = 30.0, 60.0, 0.05


Number = TypeVar("Number", int, float)


class Spent(NamedTuple):
    """Seconds of processor time, and those in which no core of the machine had anything to do."""

    workers: float
    server: float
    scheduler: float
    idle: float

    def since(self, before: "Spent") -> "Spent":
        """Return what was spent from then on."""
        return Spent(*(late - early for late, early in zip(self, before, strict=True)))


@dataclass(frozen=True, slots=True)
class Round:
    """One round: app steps and all commits a second, and how long each session waited for its first step.

    `seconds` is from the moment at which the scheduler may send until all had ended, and `spent` the processor time that
    each kind of process took meanwhile: of workers, all of them together.
    """

    steps: int
    steps_per_s: float
    commits_per_s: float
    waits_ms: tuple[float, ...]
    seconds: float
    spent: Spent


@dataclass(frozen=True, slots=True)
class _End:
    """One session's end: its steps, when its first one began (s), and when the last and the settling were committed (ms)."""

    steps: int
    began: float
    last_step_at: int
    settled_at: int


def bench_settings(server: RunningServer, *, lanes: int = LANES) -> Settings:
    """Return the settings of a bench: the defaults, but for the lanes and the app."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BATON_")}
    return load_settings(env={**environment, **variables(server, lanes=lanes)})


def variables(server: RunningServer, *, lanes: int) -> dict[str, str]:
    """Return the environment that tells the processes the same."""
    return {
        "BATON_REDIS_URL": server.url,
        "BATON_BROKER_URL": server.broker_url,
        "BATON_APPS_PATH": str(ROOT / "bench" / "apps"),
        "BATON_APPS_BUNDLED": "false",
        "BATON_LANES_PER_PROCESS": str(lanes),
        "BATON_LOGGING_LEVEL": "WARNING",
    }


class Fleet:
    """A scheduler and some workers on one server."""

    def __init__(self, started: Children, server: RunningServer, *, workers: int = 2, lanes: int = LANES) -> None:
        self._settings, self._server_pid = bench_settings(server, lanes=lanes), server.pid
        env = variables(server, lanes=lanes)
        log = Path(server.state_dir) / "fleet.log"
        queues = f"{self._settings.queues.steps},{self._settings.queues.finalize}"
        self.scheduler: subprocess.Popen[bytes] = started.start(
            ["-m", "workers", "scheduler", "--lifeline"], log=log, env=env
        )
        self.workers = [
            started.start(["-m", "workers", "worker", "--queues", queues, "--lifeline"], log=log, env=env)
            for _ in range(workers)
        ]
        self._log = log
        self.client: Client = build_client(self._settings, server.url, load_installed_apps(self._settings))

    async def wait_until_up(self) -> None:
        """Wait until the scheduler and every worker have said that they live."""
        kinds: list[str] = []
        deadline = time.monotonic() + UP_SECONDS
        while kinds.count("worker") < len(self.workers) or "scheduler" not in kinds:
            dead = [child.pid for child in (self.scheduler, *self.workers) if child.poll() is not None]
            if dead or time.monotonic() > deadline:
                raise RuntimeError(f"bench: the fleet did not start; its log says:\n{self._log.read_text()[-2000:]}")
            await asyncio.sleep(LOOK_SECONDS)
            kinds = [info.kind for info in await self.client.workers()]

    async def submit(self, *, steps: int, state_bytes: int, nap_seconds: float = 0.0) -> str:
        """Submit one session of so many steps, with a state of about so many bytes."""
        overrides: dict[str, JsonValue] = {"of": steps, "pad": "x" * max(state_bytes - 60, 0)}
        if nap_seconds:
            overrides["nap_seconds"] = nap_seconds
        return (await self.client.submit(APP, overrides=overrides, actor=ACTOR)).session_id

    async def round(self, sessions: int, steps: int, *, state_bytes: int, nap_seconds: float = 0.0) -> Round:
        """Let so many sessions go through so many steps, all of them in line at the start."""
        ended = await self.client.views.count(APP, "ended")
        with halted(self.scheduler):
            session_ids = [
                one
                for start in range(0, sessions, AT_ONCE)
                for one in await asyncio.gather(
                    *(
                        self.submit(steps=steps, state_bytes=state_bytes, nap_seconds=nap_seconds)
                        for _ in range(min(AT_ONCE, sessions - start))
                    )
                )
            ]
            released, before = time.time(), self._spent()
        await self._wait_ended(ended + sessions)
        seconds, spent = time.time() - released, self._spent().since(before)
        return await self._read(session_ids, released, seconds, spent)

    def _spent(self) -> Spent:
        workers = sum(cpu_seconds(worker.pid) for worker in self.workers)
        return Spent(
            workers, cpu_seconds(self._server_pid), cpu_seconds(self.scheduler.pid), float(psutil.cpu_times().idle)
        )

    async def _wait_ended(self, count: int) -> None:
        async with asyncio.timeout(ROUND_SECONDS):
            while await self.client.views.count(APP, "ended") < count:  # noqa: ASYNC110 - it ends in other processes
                await asyncio.sleep(LOOK_SECONDS)

    async def _read(self, session_ids: list[str], released: float, seconds: float, spent: Spent) -> Round:
        steps, last_step, last_commit = 0, 0, 0
        waits: list[float] = []
        for start in range(0, len(session_ids), AT_ONCE):
            for ended in await asyncio.gather(*map(self._end_of, session_ids[start : start + AT_ONCE])):
                steps += ended.steps
                last_step, last_commit = max(last_step, ended.last_step_at), max(last_commit, ended.settled_at)
                waits.append((ended.began - released) * 1000)
        first = released + min(waits) / 1000
        return Round(
            steps=steps,
            steps_per_s=steps / (last_step / 1000 - first),
            commits_per_s=(steps + len(session_ids)) / (last_commit / 1000 - first),
            waits_ms=tuple(waits),
            seconds=seconds,
            spent=spent,
        )

    async def _end_of(self, session_id: str) -> "_End":
        record = await self.client.show(session_id)
        tail = await self.client.views.journal(session_id, after=record.seq - 2)
        if [entry.step for entry in tail] != ["compute", "finalize"]:
            raise RuntimeError(f"bench: session {session_id} did not end as it should; see its journal")
        return _End(_number(record, "n", int), _number(record, "began", float), tail[0].at, tail[1].at)

    async def probe(self, count: int, *, state_bytes: int) -> list[float]:
        """Submit sessions one by one to an idle fleet; return the ms from each submission to its first step."""
        pauses = random.Random(1)
        session_ids = []
        for _ in range(count):
            session_ids.append(await self.submit(steps=1, state_bytes=state_bytes))
            await asyncio.sleep(pauses.uniform(0.02, 0.06))
        found = await self.client.wait_for(session_ids, seconds=ROUND_SECONDS)
        return [_number(record, "began", float) * 1000 - record.created_at for record in found.values()]


def _number(record: Record, name: str, kind: type[Number]) -> Number:
    """Return what the steps left in the state."""
    value = record.state.get(name)
    if not isinstance(value, kind):
        raise TypeError(f"session {record.session_id}: its steps left no {name}; is the app the one in bench/apps?")
    return value
