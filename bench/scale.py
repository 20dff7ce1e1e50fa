"""Whether a million sessions cost more than a thousand, and how many live ones a process can hold.

    stored   two stores side by side, of 1,000 and of 1,000,000 sessions (20,000 with --quick): 90 % wait for a person, 9 %
             have ended, 1 % are ready. Bytes for each, then in turns on both: finding, waking, claiming and committing one
             session whose time has come; pages of the list, with processor time of server and client; a search, and
             for each thousand sessions that it looked at; and what an idle scheduler takes
    held     10,000 sessions (1,000 with --quick) whose steps wait 1 to 5 seconds, as for a model, in one worker process:
             memory for each, how late the loop is, and steps a second against concurrency / latency

`tick` is a scheduler's look at one partition with one due session and the first of the line; `tick_with_line`, in turns of its own, the
same with as many candidates as a scheduler reads, of which the bigger store has more. Growth is the bigger store's figure divided by the
smaller one's, the median over neighbouring turns.
"""

import asyncio
import sys
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from statistics import median

from bench._fleet import APP, bench_settings, variables
from bench._harness import Children, Options, Report, Target, children, paired_ratio, parse_options, ratio, say
from bench._held import measure_held
from bench._stored import PROBES, Probe, check, copy, make_original
from bench._usage import cpu_seconds
from orchestrator.embedded import RunningServer, temporary
from orchestrator.embedded_wire import ask
from orchestrator.search import LOOKED
from orchestrator.store.fitness import parse_info
from orchestrator.store.listing import Listing
from workers.composition import Urls, build_host
from workers.executor import Executor
from workers.host import Host
from workers.process import spare_the_collector

SMALL, SHARES = 1_000, {"waiting": 0.90, "ended": 0.09, "ready": 0.01}
PAGE = 50
TARGETS = (
    Target("tick_growth", 1.3, "at_most"),
    Target("claim_growth", 1.3, "at_most"),
    Target("commit_growth", 1.3, "at_most"),
    Target("list_growth", 1.3, "at_most"),
    Target("list_cpu_growth", 1.3, "at_most"),
    Target("list_waiting_cpu_growth", 1.3, "at_most"),
    Target("search_looked_growth", 1.3, "at_most"),
    Target("session_bytes_growth", 1.3, "at_most"),
    Target("scheduler_cpu_growth", 1.3, "at_most"),
    Target("throughput_to_concurrency_over_latency", 0.9, "at_least"),
    Target("leases_lost", 0, "at_most"),
)


class Side:
    """One of the two stores."""

    def __init__(self, name: str, server: RunningServer, host: Host, sessions: int) -> None:
        self.name, self.server, self.host, self.sessions = name, server, host, sessions
        self.counts = {phase: round(sessions * share) for phase, share in SHARES.items()}
        self.probe = Probe(host)

    async def info(self) -> dict[str, str]:
        """Return what the server says of its memory and processor."""
        store = self.host.store
        return parse_info(f"{await store.command('INFO', 'memory')}\n{await store.command('INFO', 'cpu')}")

    async def fill(self, *phases: str) -> float:
        """Bring the sessions of these phases; return how many a second."""
        executor = Executor(self.host, is_contended=lambda: False, is_draining=lambda: False, finalizes=True)
        began, made = time.monotonic(), 0
        for phase in phases:
            original = await make_original(self.host, executor, phase)
            await copy(self.host, original, range(self.counts[phase] - 1))
            made += self.counts[phase]
        return made / (time.monotonic() - began)


async def measure(report: Report, servers: dict[str, RunningServer], options: Options) -> None:
    """Fill the report."""
    big, turns, seconds = (20_000, 60, 3.0) if options.quick else (1_000_000, 400, 20.0)
    report.method |= {"small": SMALL, "big": big, "shares": SHARES}
    spare_the_collector()
    async with AsyncExitStack() as stack:
        sides = []
        for name, count in (("small", SMALL), ("big", big)):
            server = servers[name]
            urls = Urls(server.url, server.broker_url)
            host = await build_host(bench_settings(server), f"bench:{name}", urls, lambda *_: None)
            stack.push_async_callback(host.client.aclose)
            sides.append(Side(name, server, host, count))
        with children() as started:
            await stored(report, sides, started, turns=turns, seconds=seconds)


async def stored(report: Report, sides: list[Side], started: Children, *, turns: int, seconds: float) -> None:
    """Compare the stores."""
    for side in sides:
        before = int((await side.info())["used_memory_dataset"])
        say(f"{side.sessions:,} sessions are stored")
        rate = await side.fill("waiting", "ended")
        await side.fill("ready")
        if side.name == "big":
            report.put("stored", "sessions_stored_per_s", rate)
        await check(side.host, side.counts)
        after = int((await side.info())["used_memory_dataset"])
        report.put("stored", f"{side.name}_session_bytes", (after - before) / side.sessions)
        await side.probe.prepare()
    say(f"{turns} turns of one due session, on both")
    batch = bench_settings(sides[0].server).scheduler.tick_batch
    for _ in range(PROBES):
        for side in sides:
            await side.probe.take(batch=batch)
    for side in sides:
        side.probe.times.clear()
    for turn in range(turns):
        for side in sides if turn % 2 else sides[::-1]:
            await side.probe.take(batch=batch)
    for turn in range(turns // 4):
        for side in sides if turn % 2 else sides[::-1]:
            await side.probe.look_at_line(batch=batch)
    await time_reads(sides, turns // 4)
    await compare(report, sides)
    say(f"idle schedulers on both for {seconds:.0f} s")
    await idle(report, sides, started, seconds)


async def time_reads(sides: list[Side], turns: int) -> None:
    """List and search, in turns."""
    for turn in range(turns):
        for side in sides if turn % 2 else sides[::-1]:
            await time_page(side, "list", app="", bucket="")
            await time_page(side, "list_waiting", app=APP, bucket="waiting")
            if turn % 10 == 0:
                began = time.perf_counter()
                await side.host.client.search(["nobody", "wrote", "this"], limit=PAGE)
                took = (time.perf_counter() - began) * 1000
                side.probe.times.setdefault("search", []).append(took)
                side.probe.times.setdefault("search_looked", []).append(took * 1_000 / min(side.sessions, LOOKED))


async def time_page(side: Side, name: str, *, app: str, bucket: str) -> None:
    """Read a page; note how long it took, and the processor time of the server and of this process."""
    spent = cpu_seconds(side.server.pid) + time.process_time()
    began = time.perf_counter()
    rows = await Listing(side.host.store).page(app=app, bucket=bucket, limit=PAGE)
    side.probe.times.setdefault(name, []).append((time.perf_counter() - began) * 1000)
    spent = cpu_seconds(side.server.pid) + time.process_time() - spent
    side.probe.times.setdefault(f"{name}_cpu", []).append(spent * 1000)
    if len(rows) != PAGE:
        raise RuntimeError(f"bench: a page of {len(rows)} sessions, not {PAGE}")


async def compare(report: Report, sides: list[Side]) -> None:
    """Put the times of both stores and their ratios into the report."""
    small, big = sides
    for name, values in big.probe.times.items():
        for side in sides:
            report.put("latency_ms", f"{side.name}_{name}_p50_ms", median(side.probe.times[name]))
        report.put("ratios", f"{name}_growth", paired_ratio(values, small.probe.times[name]))
    sizes = report.groups["stored"]
    report.put("ratios", "session_bytes_growth", ratio(sizes["big_session_bytes"], sizes["small_session_bytes"]))


async def idle(report: Report, sides: list[Side], started: Children, seconds: float) -> None:
    """Watch a scheduler on each store: with the line that nobody takes, and without it."""
    schedulers = {}
    for side in sides:
        log = Path(side.server.state_dir) / "scheduler.log"
        env = variables(side.server, lanes=1)
        schedulers[side.name] = started.start(["-m", "workers", "scheduler", "--lifeline"], log=log, env=env)
    for side in sides:
        async with asyncio.timeout(60):
            while not await side.host.client.workers():  # noqa: ASYNC110 - it starts in another process
                await asyncio.sleep(0.1)
    for name in ("line", "idle"):
        if name == "idle":
            for side in sides:
                await _empty_line(side)
        await asyncio.sleep(2)
        before = {side.name: cpu_seconds(schedulers[side.name].pid) for side in sides}
        began = time.monotonic()
        await asyncio.sleep(seconds)
        minutes = (time.monotonic() - began) / 60
        for side in sides:
            spent = (cpu_seconds(schedulers[side.name].pid) - before[side.name]) / minutes
            report.put("scheduler", f"{side.name}_{name}_cpu_seconds_per_minute", spent)
    rows = report.groups["scheduler"]
    for name, figure in (("idle", "scheduler_cpu_growth"), ("line", "scheduler_cpu_with_line_growth")):
        small, big = (rows[f"{side.name}_{name}_cpu_seconds_per_minute"] for side in sides)
        report.put("ratios", figure, ratio(big, small))


async def _empty_line(side: Side) -> None:
    """Take what is ready out of the index, and the probes out of what is due: nobody is in line then."""
    keys = side.host.store.keys
    for number in range(keys.partitions):
        by = keys.of_partition("by", number)
        await side.host.store.command("ZREMRANGEBYLEX", by, f"[{APP}:ready:", f"({APP}:ready;")
        await side.host.store.command("DEL", keys.of_partition("due", number))


def main() -> None:
    """Run the bench."""
    options = parse_options(__doc__ or "", flags={"stored": "only this part", "held": "only this part"})
    parts = options.flags or {"stored", "held"}
    report = Report("scale", options.quick, TARGETS)
    report.method = {"state_bytes": 1024, "server": "the bundled one, AOF everysec, Unix socket"}
    if "stored" in parts:
        measure_stored(report, options)
    if "held" in parts:
        with temporary(fsync="everysec") as server:
            ask(server.socket, "CONFIG SET auto-aof-rewrite-percentage 0")
            sessions, seconds = (1_000, 5.0) if options.quick else (10_000, 20.0)
            asyncio.run(measure_held(report, server, sessions=sessions, seconds=seconds))
    report.write(options)


def measure_stored(report: Report, options: Options) -> None:
    """Fill the part about stored sessions."""
    with ExitStack() as stack:
        servers = {name: stack.enter_context(temporary(fsync="everysec")) for name in ("small", "big")}
        report.method["server_version"] = servers["big"].version
        for server in servers.values():
            ask(server.socket, "CONFIG SET auto-aof-rewrite-percentage 0")
        asyncio.run(measure(report, servers, options))


if __name__ == "__main__":
    main()
