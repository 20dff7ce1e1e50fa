"""What costs nothing must cost nothing: an idle worker and scheduler, and sessions that wait.

    idle      memory and processor time of one worker and one scheduler with nothing to do
    waiting   100,000 sessions that wait for a person (10,000 with --quick): bytes in the server for
              each, and what worker, scheduler and server do meanwhile

Each session has 1 KiB of state; it was submitted, claimed, taken through one step and left waiting
by the same acts that workers use. Processor time is seconds a minute, of which a core has 60.
"""

import asyncio
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from statistics import mean, median

from pydantic import JsonValue

from bench._fleet import ACTOR, APP, Fleet, bench_settings
from bench._harness import Options, Report, Target, children, halted, parse_options, say
from bench._server import serve
from bench._usage import cpu_seconds, memory
from orchestrator.embedded import RunningServer
from orchestrator.store.due import Due
from orchestrator.store.store import Store
from workers.composition import Urls, build_host
from workers.executor import Executor
from workers.host import Host
from workers.process import spare_the_collector

STATE_BYTES, AT_ONCE, SAMPLE = 1024, 200, 200
TARGETS = (
    Target("scheduler_cpu_growth", 2.0, "at_most"),
    Target("waiting_session_bytes", 16_384, "at_most"),
    Target("idle_cpu_percent", 1.0, "at_most"),
)


async def measure(report: Report, server: RunningServer, options: Options) -> None:
    """Fill the report."""
    sessions, seconds = (10_000, 7.0) if options.quick else (100_000, 30.0)
    report.method["waiting_sessions"] = sessions
    report.method["window_seconds"] = seconds
    with children() as started:
        say("one scheduler and one worker start")
        fleet = Fleet(started, server, workers=1)
        pids = {"server": server.pid, "scheduler": fleet.scheduler.pid, "worker": fleet.workers[0].pid}
        host = await build_host(
            bench_settings(server), "bench:idle", Urls(server.url, server.broker_url), lambda *_: None
        )
        try:
            await fleet.wait_until_up()
            await asyncio.sleep(2)  # what a start leaves behind, such as the first look at the fleet, is no idling
            say(f"idle for {seconds:.0f} s")
            idle = await observe(report, "idle", pids, seconds)
            report.put("idle", "idle_cpu_percent", (idle["scheduler"] + idle["worker"]) / 0.6)
            report.put("idle", "tick_ms", await tick_ms(host.store))
            say(f"{sessions:,} sessions come to wait")
            with halted(fleet.scheduler):
                await fill(report, host, sessions)
            say(f"{sessions:,} sessions wait for {seconds:.0f} s")
            await asyncio.sleep(2)
            waiting = await observe(report, "waiting", pids, seconds)
            report.put("waiting", "tick_ms", await tick_ms(host.store))
            report.put("ratios", "scheduler_cpu_growth", waiting["scheduler"] / idle["scheduler"])
            report.put("ratios", "server_cpu_growth", waiting["server"] / idle["server"])
        finally:
            await host.client.aclose()
            await fleet.client.aclose()


async def observe(report: Report, group: str, pids: dict[str, int], seconds: float) -> dict[str, float]:
    """Put memory and processor time of the processes into the report; return the latter."""
    before, began = {name: cpu_seconds(pid) for name, pid in pids.items()}, time.monotonic()
    await asyncio.sleep(seconds)
    minutes = (time.monotonic() - began) / 60
    spent = {name: (cpu_seconds(pid) - before[name]) / minutes for name, pid in pids.items()}
    for name, pid in pids.items():
        used = memory(pid)
        report.put(group, f"{name}_rss_bytes", used.rss)
        if used.pss is not None:
            report.put(group, f"{name}_pss_bytes", used.pss)
        report.put(group, f"{name}_cpu_seconds_per_minute", spent[name])
    return spent


async def fill(report: Report, host: Host, sessions: int) -> None:
    """Bring so many sessions to where they wait for a person; put what each takes into the report."""
    spare_the_collector()
    executor = Executor(host, is_contended=lambda: False, is_draining=lambda: False)
    before, began = await used_bytes(host.store), time.monotonic()
    sample: list[str] = []
    for start in range(0, sessions, AT_ONCE):
        count = min(AT_ONCE, sessions - start)
        sample = await asyncio.gather(*(one_waiting(host, executor) for _ in range(count)))
    seconds, after = time.monotonic() - began, await used_bytes(host.store)
    waiting = await host.client.views.count(APP, "waiting")
    if waiting != sessions:
        raise RuntimeError(f"bench: {waiting} sessions wait, not {sessions}")
    report.put("waiting", "sessions", sessions)
    report.put("waiting", "waiting_session_bytes", (after - before) / sessions)
    keys = host.store.keys
    for name in ("record", "journal"):
        sizes = [
            int(await host.store.command("MEMORY", "USAGE", keys.of_session(name, one), "SAMPLES", 0))
            for one in sample[:SAMPLE]
        ]
        report.put("waiting", f"{name}_bytes", mean(sizes))
    report.put("rates", "sessions_brought_to_wait_per_s", sessions / seconds)


async def one_waiting(host: Host, executor: Executor) -> str:
    """Submit a session and take it to its wait."""
    overrides: dict[str, JsonValue] = {"rest": True, "pad": "x" * (STATE_BYTES - 60)}
    submitted = await host.client.submit(APP, overrides=overrides, actor=ACTOR)
    await executor.run_slice(submitted.session_id)
    host.contexts.forget(submitted.session_id)
    return submitted.session_id


async def tick_ms(store: Store) -> float:
    """Return how long a look at every partition takes, in ms: what a scheduler does at each round."""
    due, times = Due(store), []
    for _ in range(21):
        began = time.perf_counter()
        await asyncio.gather(*(due.tick(number, [APP], most=256, each=256) for number in range(store.keys.partitions)))
        times.append((time.perf_counter() - began) * 1000)
    return median(times)


async def used_bytes(store: Store) -> int:
    """Return the memory that the server's data takes."""
    text = str(await store.command("INFO", "memory"))
    rows = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return int(rows["used_memory_dataset"])


def main() -> None:
    """Run the bench."""
    options = parse_options(__doc__ or "")
    report = Report("idle", options.quick, TARGETS)
    report.method = {"state_bytes": STATE_BYTES, "server": "the bundled one, AOF everysec, Unix socket"}
    with serve(report) as server:
        asyncio.run(measure(report, server, options))
    report.write(options)


if __name__ == "__main__":
    main()
