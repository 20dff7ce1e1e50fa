"""Very many sessions that wait for a model, held by one worker process: what each takes, and whether it keeps pace.

A step waits as long as a model may take, on the worker's own loop, and so needs no more processor than any other: what is
measured is the holding. `running` and the steps done are what the worker says of itself at its beats.
"""

import asyncio
import time
from pathlib import Path
from statistics import median

from pydantic import JsonValue

from bench._fleet import ACTOR, APP, AT_ONCE, Fleet
from bench._harness import Report, children, halted, percentile, say
from bench._usage import cpu_seconds, memory
from orchestrator.embedded import RunningServer
from orchestrator.store.fleet import WorkerInfo

THINK_SECONDS = (1.0, 5.0)
FULL_SECONDS, SAMPLE = 45.0, 400


async def measure_held(report: Report, server: RunningServer, *, sessions: int, seconds: float) -> None:
    """Let one worker hold so many sessions for so long."""
    report.method |= {"held_sessions": sessions, "think_seconds": THINK_SECONDS}
    with children() as started:
        fleet = Fleet(started, server, workers=1, lanes=sessions)
        worker = fleet.workers[0]
        try:
            await fleet.wait_until_up()
            empty = memory(worker.pid).rss
            say(f"{sessions:,} sessions are submitted")
            with halted(fleet.scheduler):
                session_ids = await _submit(fleet, sessions)
            say("all of them begin to think")
            began = time.monotonic()
            first = await _wait_full(fleet, sessions)
            report.put("held", "seconds_until_all_run", time.monotonic() - began)
            spent = cpu_seconds(worker.pid)
            beats = await _watch(fleet, first, seconds)
            last = beats[-1]
            minutes = (last.beat_at - first.beat_at) / 60_000
            report.put("held", "worker_cpu_seconds_per_minute", (cpu_seconds(worker.pid) - spent) / minutes)
            report.put("held", "running_sessions", median(beat.running for beat in beats))
            report.put("held", "running_session_bytes", (memory(worker.pid).rss - empty) / sessions)
            rate = report.put("held", "held_steps_per_s", (last.steps - first.steps) / (minutes * 60))
            report.put(
                "held", "throughput_to_concurrency_over_latency", rate / (sessions / (sum(THINK_SECONDS) / 2))
            )  # of all, not of those that happen to run
            report.put("held", "beat_loop_lag_ms", max(0.1, *(beat.loop_lag_ms for beat in beats)))
            late = await _lateness(fleet, session_ids[:: max(sessions // SAMPLE, 1)])
            report.put("held", "latest_answer_p50_ms", percentile(late, 0.5))
            report.put("held", "latest_answer_p99_ms", percentile(late, 0.99))
            log = (Path(server.state_dir) / "fleet.log").read_text(encoding="utf-8", errors="replace")
            report.put("losses", "leases_lost", log.count(" is lost; another holder goes on"))
        finally:
            await fleet.client.aclose()


async def _submit(fleet: Fleet, sessions: int) -> list[str]:
    overrides: dict[str, JsonValue] = {"of": 100_000, "think_seconds": list(THINK_SECONDS), "pad": "x" * 900}

    async def one() -> str:
        return (await fleet.client.submit(APP, overrides=overrides, actor=ACTOR)).session_id

    found: list[str] = []
    for start in range(0, sessions, AT_ONCE):
        found += await asyncio.gather(*(one() for _ in range(min(AT_ONCE, sessions - start))))
    return found


async def _beat(fleet: Fleet, after: int) -> WorkerInfo:
    """Return the worker's next beat."""
    while True:
        for info in await fleet.client.workers():
            if info.kind == "worker" and info.beat_at > after:
                return info
        await asyncio.sleep(0.1)


async def _wait_full(fleet: Fleet, sessions: int) -> WorkerInfo:
    """Return a beat once all run, or after a while: a worker that cannot keep pace never comes so far, and is measured as it is."""
    deadline = time.monotonic() + FULL_SECONDS
    info = await _beat(fleet, 0)
    while info.running < sessions * 0.99 and time.monotonic() < deadline:
        info = await _beat(fleet, info.beat_at)
    return await _beat(fleet, info.beat_at)


async def _watch(fleet: Fleet, first: WorkerInfo, seconds: float) -> list[WorkerInfo]:
    beats: list[WorkerInfo] = []
    at = first.beat_at
    while at - first.beat_at < seconds * 1000:
        beats.append(await _beat(fleet, at))
        at = beats[-1].beat_at
    return beats


async def _lateness(fleet: Fleet, session_ids: list[str]) -> list[float]:
    """Return by how much the latest of each session's answers came late, in ms."""
    late = [(await fleet.client.show(one)).state.get("late_ms") for one in session_ids]
    return [value for value in late if isinstance(value, float)]
