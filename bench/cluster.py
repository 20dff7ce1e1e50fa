"""What a Redis Cluster of three masters does for the store, against one server, on the same machine.

    one       our fleet, a scheduler and two worker processes, whose store is one server
    cluster   the same fleet, whose store is a cluster of three masters without replicas

Both stores are reached over TCP and write an AOF once a second; both fleets have a broker of their own on the one server.
They take turns, and a ratio is the median of the ratios of neighbouring rounds.

On a machine whose cores the workers fill, three servers are no faster than one: what grows is how far the store can go. That is
read from the busiest server's own processor time for 1,000 steps. Refusals for where keys lie (CROSSSLOT) are counted by the
servers themselves, redirections (MOVED, ASK) too: the first must not happen, the second only where slots move.
"""

import asyncio
import gc
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from statistics import median

from bench._fleet import LANES, Fleet, Round
from bench._harness import (
    Options,
    Report,
    Target,
    children,
    elapsed,
    paired_ratio,
    parse_options,
    percentile,
    ratio,
    say,
)
from orchestrator.embedded import RunningServer, temporary
from orchestrator.embedded_wire import ask
from orchestrator.store.fitness import parse_info
from orchestrator.store.store import Store
from tests.chaos.cluster import ClusterOfServers, cluster_of_servers
from tests.ports import free_port

SESSIONS, STEPS, STATE_BYTES, MASTERS = 200, 10, 1024, 3
TARGETS = (
    Target("cluster_to_one", 0.7, "at_least"),
    Target("busiest_master_cpu_to_one", 0.6, "at_most"),
    Target("cross_slot_errors", 0, "at_most"),
    Target("redirections", 0, "at_most"),
)


async def measure(report: Report, server: RunningServer, cluster: ClusterOfServers, options: Options) -> None:
    """Fill the report."""
    port = free_port()
    ask(server.socket, f"CONFIG SET port {port}")
    single = server.model_copy(update={"url": f"redis://127.0.0.1:{port}/0"})
    spread = server.model_copy(
        update={"url": cluster.url, "broker_url": server.broker_url.replace("virtual_host=1", "virtual_host=2")}
    )
    with children() as started:
        say("two fleets start")
        fleets: dict[str, Fleet] = {}
        try:
            for name, store in (
                ("one", single),
                ("cluster", spread),
            ):  # one after the other: each has a time to start in
                fleets[name] = Fleet(started, store)
                await fleets[name].wait_until_up()
            await side_by_side(report, fleets, options, port, cluster)
        finally:
            for fleet in fleets.values():
                await fleet.client.aclose()
    errors = await cluster.errors()
    report.put("errors", "cross_slot_errors", errors.get("CROSSSLOT", 0))
    report.put("errors", "redirections", errors.get("MOVED", 0) + errors.get("ASK", 0))


async def side_by_side(
    report: Report, fleets: dict[str, Fleet], options: Options, port: int, cluster: ClusterOfServers
) -> None:
    """Rounds in turns, after a warm-up."""
    say("warm-up")
    for fleet in fleets.values():
        await fleet.round(SESSIONS, STEPS, state_bytes=STATE_BYTES)
    rounds: dict[str, list[Round]] = {name: [] for name in fleets}
    spent: dict[str, list[float]] = {name: [] for name in fleets}
    ports = {"one": [port], "cluster": cluster.ports}
    least, most, seconds = (2, 3, 20.0) if options.quick else (9, 15, 150.0)
    for number in range(most):
        if number >= least and elapsed() > seconds:
            break
        say(f"round {number + 1} of {most}")
        for name, fleet in fleets.items():
            before = [await processor_seconds(one) for one in ports[name]]
            done = await fleet.round(SESSIONS, STEPS, state_bytes=STATE_BYTES)
            after = [await processor_seconds(one) for one in ports[name]]
            rounds[name].append(done)
            busiest = max(late - early for early, late in zip(before, after, strict=True))
            spent[name].append(1_000_000 * busiest / done.steps)
        gc.collect()
    rates = {name: [one.steps_per_s for one in done] for name, done in rounds.items()}
    for name, values in rates.items():
        report.put_rounds("rates", f"{name}_steps_per_s", values)
        waits = [wait for one in rounds[name] for wait in one.waits_ms]
        report.put("latency_ms", f"{name}_loaded_schedule_to_start_p50_ms", percentile(waits, 0.5))
    report.put("server", "one_server_cpu_ms_per_1000_steps", median(spent["one"]))
    report.put("server", "busiest_master_cpu_ms_per_1000_steps", median(spent["cluster"]))
    report.put("ratios", "cluster_to_one", paired_ratio(rates["cluster"], rates["one"]))
    report.put("ratios", "busiest_master_cpu_to_one", ratio(median(spent["cluster"]), median(spent["one"])))


async def processor_seconds(port: int) -> float:
    """Return what a server has spent of its processor."""
    store = Store(f"redis://127.0.0.1:{port}/0")
    try:
        info = parse_info(str(await store.command("INFO", "cpu")))
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])
    finally:
        await store.aclose()


async def run(report: Report, options: Options) -> None:
    """Start both stores, measure, end them."""
    with temporary(fsync="everysec") as server, tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        report.method["server_version"] = server.version
        async with cluster_of_servers(Path(folder), masters=MASTERS) as cluster:
            # A rewrite of the append-only file would fall on whoever is measured just then.
            ask(server.socket, "CONFIG SET auto-aof-rewrite-percentage 0")
            for port in cluster.ports:
                await cluster.ask(port, "CONFIG", "SET", "auto-aof-rewrite-percentage", 0)
            await measure(report, server, cluster, options)


def main() -> None:
    """Run the bench."""
    options = parse_options(__doc__ or "")
    report = Report("cluster", options.quick, TARGETS)
    report.method = {
        "sessions": SESSIONS,
        "steps_per_session": STEPS,
        "state_bytes": STATE_BYTES,
        "masters": MASTERS,
        "worker_processes": 2,
        "lanes_per_process": LANES,
        "server": "the bundled one, AOF everysec, over TCP; the brokers are on the one server",
        "counted": "committed app steps from the first claim to the last commit; load in line before the clock starts",
    }
    asyncio.run(run(report, options))
    report.write(options)


if __name__ == "__main__":
    main()
