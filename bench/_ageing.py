"""What a step of an old session costs against one of a young session: time, and bytes in the AOF.

One executor of ours in this process, on a server that nobody else writes to meanwhile, takes
sessions through slices of ten steps each: the bytes are the growth of the append-only file, which
is all that a commit writes. A slice's claim is in both.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pydantic import JsonValue

from bench._fleet import ACTOR, APP, bench_settings
from orchestrator.embedded import RunningServer
from orchestrator.store.fitness import parse_info
from orchestrator.store.store import Store
from workers.composition import Urls, build_host
from workers.executor import Executor
from workers.host import Host
from workers.process import spare_the_collector

SLICE = 10
#: How many slices a session counts as young.
YOUNG_SLICES = 5
#: Slices that begin within these steps of a session: windows around the 10th and the 1,000th.
YOUNG, OLD = range(5, 56), range(975, 1026)


@dataclass(frozen=True, slots=True)
class Ageing:
    """Medians of a step's cost when its session is young, and when it is old."""

    young_ms: float
    old_ms: float
    young_bytes: float
    old_bytes: float


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice: how many steps its session had behind it, and what one step of it cost; processor time is this process's and the server's."""

    began_at: int
    step_ms: float
    step_bytes: float
    step_cpu_ms: float


async def measure_ageing(server: RunningServer, *, sessions: int, steps: int, state_bytes: int) -> Ageing:
    """Take so many sessions, one after another, through so many steps."""
    slices = await take_slices(server, sessions=sessions, steps=steps, overrides=overrides_of(steps, state_bytes))
    young = [one for one in slices if one.began_at in YOUNG]
    old = [one for one in slices if one.began_at in OLD]
    return Ageing(
        young_ms=median(one.step_ms for one in young),
        old_ms=median(one.step_ms for one in old),
        young_bytes=median(one.step_bytes for one in young),
        old_bytes=median(one.step_bytes for one in old),
    )


def overrides_of(turns: int, state_bytes: int) -> dict[str, JsonValue]:
    """Return the state of a session that goes through so many turns, of about so many bytes."""
    return {"of": turns, "pad": "x" * (state_bytes - 60)}


@asynccontextmanager
async def lend_executor(server: RunningServer, apps: Path | None = None) -> AsyncIterator[tuple[Executor, Host]]:
    """Lend an executor whose slices have ten steps; `apps` is another folder of apps than the benches' own."""
    settings = bench_settings(server)
    update: dict[str, object] = {
        "lanes": settings.lanes.model_copy(update={"drain_steps": SLICE, "drain_seconds": 3600.0})
    }
    if apps is not None:
        update["apps"] = settings.apps.model_copy(update={"path": (str(apps),)})
    settings = settings.model_copy(update=update)
    host = await build_host(settings, "bench:ageing", Urls(server.url, server.broker_url), lambda *_: None)
    spare_the_collector()
    try:
        yield Executor(host, is_contended=lambda: True, is_draining=lambda: False), host
    finally:
        for runtime in host.apps.values():
            await runtime.toolbox.aclose()
        await host.client.aclose()


async def take_slices(
    server: RunningServer, *, sessions: int, steps: int, overrides: dict[str, JsonValue]
) -> list[Slice]:
    """Take sessions, one after another, through so many steps."""
    slices: list[Slice] = []
    async with lend_executor(server) as (executor, host):
        for _ in range(sessions):
            session_id = (await host.client.submit(APP, overrides=overrides, actor=ACTOR)).session_id
            slices += [one async for one in _slices(executor, host.store, session_id, steps)]
    return slices


async def take_pairs(
    server: RunningServer, *, app: str, apps: Path | None, age: int, rounds: int, overrides: dict[str, JsonValue]
) -> tuple[list[Slice], list[Slice]]:
    """Return slices of young sessions, and those that one session of that age took in turns with them."""
    young: list[Slice] = []
    old: list[Slice] = []
    async with lend_executor(server, apps) as (executor, host):

        async def submit() -> AsyncIterator[Slice]:
            session_id = (await host.client.submit(app, overrides=overrides, actor=ACTOR)).session_id
            return _slices(executor, host.store, session_id, 2 * age)

        aged = await submit()
        while (await anext(aged)).began_at + SLICE < age:
            pass
        for number in range(rounds):
            if number % YOUNG_SLICES == 0:
                fresh = await submit()
                await anext(fresh)  # its claim reads what no worker has read before
            young.append(await anext(fresh))
            old.append(await anext(aged))
    return young, old


async def _slices(executor: Executor, store: Store, session_id: str, steps: int) -> AsyncIterator[Slice]:
    """Take a session through whole slices; the last, shorter one is left out."""
    done = 0
    while done + 2 * SLICE < steps:
        written, served = await _server_spent(store)
        before, began, spent = executor.steps, time.perf_counter(), time.process_time()
        end = await executor.run_slice(session_id)
        seconds, spent, count = time.perf_counter() - began, time.process_time() - spent, executor.steps - before
        if end != "committed" or count == 0:
            raise RuntimeError(f"bench: session {session_id} stopped after {done} steps ({end})")
        now, cpu = await _server_spent(store)
        cpu_ms = (spent + cpu - served) * 1000
        yield Slice(done, seconds * 1000 / count, (now - written) / count, cpu_ms / count)
        done += count


async def _server_spent(store: Store) -> tuple[int, float]:
    """Return the bytes of the append-only file, and the processor seconds of the server so far."""
    rows = parse_info(f"{await store.command('INFO', 'persistence')}\n{await store.command('INFO', 'cpu')}")
    return int(rows["aof_current_size"]), float(rows["used_cpu_user"]) + float(rows["used_cpu_sys"])
