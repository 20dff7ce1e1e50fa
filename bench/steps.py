"""How many durable steps a second, against Celery and against the raw floor, side by side on this machine.

    ours      200 sessions x 10 steps, a real scheduler and two real worker processes
    chain     Celery's defaults, prefork -c 2: 200 chains of 10 tasks that do nothing
    self      the same, each task sending its successor
    lock      the same as chain, with a redis-py lock around load, append and save of the same state
    floor     two processes that speak to Redis by hand, one Lua round trip a step
    waiting   steps that wait 50 ms, 1,000 sessions at once: ours against Celery's gevent pool

All on one server of this run: the bundled Valkey, AOF everysec, over its Unix socket, with 1 KiB of
state. Contenders take turns, and a ratio is the median of the ratios of neighbouring rounds, so
that what disturbs the machine disturbs both. A contender's whole load is in line before its clock
starts. Ours are committed app steps between the first claim and the last commit, read from the
journal; the settling of each session, which is a step too, comes on top (`ours_commits`).
"""

import asyncio
import gc
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from statistics import median

from bench._ageing import measure_ageing
from bench._contenders import CeleryPeer, Floor
from bench._fleet import LANES, Fleet
from bench._harness import (
    Children,
    Options,
    Report,
    Target,
    children,
    elapsed,
    fitting,
    paired_ratio,
    parse_options,
    percentile,
    ratio,
    say,
)
from bench._server import serve
from orchestrator.embedded import RunningServer

SESSIONS, STEPS, STATE_BYTES = 200, 10, 1024
NAPPING, NAP_SECONDS = 1000, 0.05
#: The same with so many at once, in full runs.
CROWD = 2000
TARGETS = (
    Target("ours_to_chain", 15.0, "at_least"),
    Target("ours_to_floor", 0.8, "at_least"),
    Target("schedule_to_start_p50_ms", 10.0, "at_most"),
    Target("waiting_ours_to_gevent", 20.0, "at_least"),
    Target("crowd_ours_to_gevent", 40.0, "at_least"),
    Target("old_step_to_young_time", 1.1, "at_most"),
    Target("old_step_to_young_bytes", 1.1, "at_most"),
)


async def measure(report: Report, server: RunningServer, options: Options) -> None:
    """Fill the report."""
    with children() as started:
        say("the fleet and Celery start")
        fleet = Fleet(started, server)
        celery = CeleryPeer(started, server, pool="prefork", concurrency=2)
        floor = Floor(server, sessions=SESSIONS, steps=STEPS, state_bytes=STATE_BYTES)
        try:
            await fleet.wait_until_up()
            celery.wait_until_up()
            await steps_side_by_side(report, fleet, celery, floor, quick=options.quick)
            celery.close()
            say("schedule to start, on an idle fleet")
            waits = await fleet.probe(40 if options.quick else 300, state_bytes=STATE_BYTES)
            report.put("latency_ms", "schedule_to_start_p50_ms", percentile(waits, 0.5))
            report.put("latency_ms", "schedule_to_start_p99_ms", percentile(waits, 0.99))
            await waiting_side_by_side(report, fleet, started, server, quick=options.quick)
        finally:
            floor.close()
            await fleet.client.aclose()
    say("sessions of 1,100 steps")
    ageing = await measure_ageing(server, sessions=2 if options.quick else 9, steps=1100, state_bytes=STATE_BYTES)
    report.put("ageing", "young_step_ms", ageing.young_ms)
    report.put("ageing", "old_step_ms", ageing.old_ms)
    report.put("ageing", "young_step_bytes", ageing.young_bytes)
    report.put("ageing", "old_step_bytes", ageing.old_bytes)
    report.put("ratios", "old_step_to_young_time", ratio(ageing.old_ms, ageing.young_ms))
    report.put("ratios", "old_step_to_young_bytes", ratio(ageing.old_bytes, ageing.young_bytes))


async def steps_side_by_side(report: Report, fleet: Fleet, celery: CeleryPeer, floor: Floor, *, quick: bool) -> None:
    """Steps that do nothing: ours, the floor and Celery in turns, after a warm-up."""
    say("warm-up")
    for _ in range(2):
        await fleet.round(SESSIONS, STEPS, state_bytes=STATE_BYTES)
        floor.round()
    pace = celery.noops(20, STEPS)
    rounds: dict[str, list[float]] = {
        name: [] for name in ("ours", "near_chain", "commits", "floor", "chain", "self", "lock")
    }
    waits: list[float] = []
    # A quick run on a slow or busy machine takes fewer chains, which changes no rate: every chain is as long.
    chains = fitting(pace, seconds=2.0, length=STEPS, least=20, most=SESSIONS // 2) if quick else SESSIONS
    least, most, peer_most, seconds = (3, 6, 3, 20.0) if quick else (9, 21, 7, 240.0)
    for number in range(most):
        if number >= least and elapsed() > seconds:
            break
        say(f"round {number + 1} of {most}")
        done = await fleet.round(SESSIONS, STEPS, state_bytes=STATE_BYTES)
        rounds["floor"].append(floor.round())
        rounds["ours"].append(done.steps_per_s)
        rounds["commits"].append(done.commits_per_s)
        waits += done.waits_ms
        if number < peer_most:
            rounds["near_chain"].append(done.steps_per_s)
            rounds["chain"].append(celery.noops(chains, STEPS))
        if number < (1 if quick else peer_most):
            rounds["self"].append(celery.self_enqueue(chains // 2 if quick else chains, STEPS))
            rounds["lock"].append(celery.locked(chains // 2 if quick else chains, STEPS, state_bytes=STATE_BYTES))
        gc.collect()
    ours, chain = median(rounds["ours"]), rounds["chain"]
    report.put_rounds("rates", "ours_steps_per_s", rounds["ours"])
    report.put_rounds("rates", "ours_commits_per_s", rounds["commits"])
    report.put_rounds("rates", "floor_steps_per_s", rounds["floor"])
    report.put_rounds("rates", "celery_chain_steps_per_s", chain)
    report.put_rounds("rates", "celery_self_enqueue_steps_per_s", rounds["self"])
    report.put_rounds("rates", "celery_lock_steps_per_s", rounds["lock"])
    report.put("ratios", "ours_to_floor", paired_ratio(rounds["ours"], rounds["floor"]))
    report.put("ratios", "ours_to_chain", paired_ratio(rounds["near_chain"], chain))
    report.put("ratios", "ours_to_self_enqueue", ratio(ours, median(rounds["self"])))
    report.put("ratios", "ours_to_lock", ratio(ours, median(rounds["lock"])))
    report.put("latency_ms", "loaded_schedule_to_start_p50_ms", percentile(waits, 0.5))
    report.put("latency_ms", "loaded_schedule_to_start_p99_ms", percentile(waits, 0.99))


async def waiting_side_by_side(
    report: Report, fleet: Fleet, started: Children, server: RunningServer, *, quick: bool
) -> None:
    """Steps that wait: ours, then Celery's gevent pool in several sizes, of which the best counts."""
    rounds, length, celery_length = (2, 20, 2) if quick else (7, 40, 5)
    say("waiting steps, ours")
    await fleet.round(NAPPING, 2, state_bytes=STATE_BYTES, nap_seconds=NAP_SECONDS)
    ours = [
        (await fleet.round(NAPPING, length, state_bytes=STATE_BYTES, nap_seconds=NAP_SECONDS)).steps_per_s
        for _ in range(rounds)
    ]
    best: list[float] = []
    best_size = 0
    for greenlets in (200,) if quick else (100, 200, 500):
        say(f"waiting steps, Celery gevent -c {greenlets} x 2")
        peer = CeleryPeer(started, server, pool="gevent", concurrency=greenlets, workers=2)
        peer.wait_until_up()
        pace = peer.naps(100, 2, seconds=NAP_SECONDS)
        chains = fitting(pace, seconds=5.0, length=celery_length, least=400, most=NAPPING) if quick else NAPPING
        rates = [peer.naps(chains, celery_length, seconds=NAP_SECONDS) for _ in range(1 if quick else 3)]
        peer.close()
        report.put("rates", f"waiting_gevent_{greenlets}x2_steps_per_s", median(rates))
        if not best or median(rates) > median(best):
            best, best_size = rates, greenlets
    report.put_rounds("rates", "waiting_ours_steps_per_s", ours)
    report.put_rounds("rates", "waiting_gevent_best_steps_per_s", best)
    report.put("ratios", "waiting_ours_to_gevent", ratio(median(ours), median(best)))
    if not quick:
        await crowd_side_by_side(report, fleet, started, server, greenlets=best_size)


async def crowd_side_by_side(
    report: Report, fleet: Fleet, started: Children, server: RunningServer, *, greenlets: int
) -> None:
    """Twice as many sessions at once: ours, then Celery's gevent pool in the size that was the best."""
    say(f"waiting steps of {CROWD:,} sessions at once, ours")
    ours = [
        (await fleet.round(CROWD, 20, state_bytes=STATE_BYTES, nap_seconds=NAP_SECONDS)).steps_per_s for _ in range(5)
    ]
    say(f"waiting steps of {CROWD:,} sessions at once, Celery gevent -c {greenlets} x 2")
    peer = CeleryPeer(started, server, pool="gevent", concurrency=greenlets, workers=2)
    peer.wait_until_up()
    rates = [peer.naps(CROWD, 5, seconds=NAP_SECONDS) for _ in range(3)]
    peer.close()
    report.put_rounds("rates", "crowd_ours_steps_per_s", ours)
    report.put_rounds("rates", "crowd_gevent_steps_per_s", rates)
    report.put("ratios", "crowd_ours_to_gevent", ratio(median(ours), median(rates)))


def main() -> None:
    """Run the bench."""
    options = parse_options(__doc__ or "")
    report = Report("steps", options.quick, TARGETS)
    report.method = {
        "sessions": SESSIONS,
        "steps_per_session": STEPS,
        "state_bytes": STATE_BYTES,
        "worker_processes": 2,
        "lanes_per_process": LANES,
        "waiting_sessions": NAPPING,
        "crowd_sessions": CROWD,
        "wait_ms": NAP_SECONDS * 1000,
        "server": "the bundled one, AOF everysec, Unix socket, one for all contenders",
        "counted": "committed app steps from the first claim to the last commit; load in line before the clock starts",
    }
    with serve(report) as server:
        asyncio.run(measure(report, server, options))
    report.write(options)


if __name__ == "__main__":
    main()
