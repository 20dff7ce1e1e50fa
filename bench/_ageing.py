"""What a step of an old session costs against one of a young session: time, and bytes in the AOF.

One executor of ours in this process, on a server that nobody else writes to meanwhile, takes
sessions through slices of ten steps each: the bytes are the growth of the append-only file, which
is all that a commit writes. A slice's claim is in both.
"""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from statistics import median

from pydantic import JsonValue

from bench._fleet import ACTOR, APP, bench_settings
from orchestrator.embedded import RunningServer
from orchestrator.store.store import Store
from workers.composition import Urls, build_host
from workers.executor import Executor
from workers.process import spare_the_collector

SLICE = 10
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
    """One slice: how many steps its session had behind it, and what one step of it cost."""

    began_at: int
    step_ms: float
    step_bytes: float


async def measure_ageing(server: RunningServer, *, sessions: int, steps: int, state_bytes: int) -> Ageing:
    """Take so many sessions, one after another, through so many steps."""
    settings = bench_settings(server)
    settings = settings.model_copy(
        update={"lanes": settings.lanes.model_copy(update={"drain_steps": SLICE, "drain_seconds": 3600.0})}
    )
    host = await build_host(settings, "bench:ageing", Urls(server.url, server.broker_url), lambda *_: None)
    spare_the_collector()
    executor = Executor(host, is_contended=lambda: True, is_draining=lambda: False)
    slices: list[Slice] = []
    try:
        for _ in range(sessions):
            overrides: dict[str, JsonValue] = {"of": steps, "pad": "x" * (state_bytes - 60)}
            session_id = (await host.client.submit(APP, overrides=overrides, actor=ACTOR)).session_id
            slices += [one async for one in _slices(executor, host.store, session_id, steps)]
    finally:
        await host.client.aclose()
    young = [one for one in slices if one.began_at in YOUNG]
    old = [one for one in slices if one.began_at in OLD]
    return Ageing(
        young_ms=median(one.step_ms for one in young),
        old_ms=median(one.step_ms for one in old),
        young_bytes=median(one.step_bytes for one in young),
        old_bytes=median(one.step_bytes for one in old),
    )


async def _slices(executor: Executor, store: Store, session_id: str, steps: int) -> AsyncIterator[Slice]:
    """Take a session through whole slices; the last, shorter one is left out."""
    done, written = 0, await _written(store)
    while done + 2 * SLICE < steps:
        before, began = executor.steps, time.perf_counter()
        end = await executor.run_slice(session_id)
        seconds, count = time.perf_counter() - began, executor.steps - before
        if end != "committed" or count == 0:
            raise RuntimeError(f"bench: session {session_id} stopped after {done} steps ({end})")
        now = await _written(store)
        yield Slice(done, seconds * 1000 / count, (now - written) / count)
        done, written = done + count, now


async def _written(store: Store) -> int:
    text = str(await store.command("INFO", "persistence"))
    rows = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return int(rows["aof_current_size"])
