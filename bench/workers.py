"""What a second and a fourth worker process bring on this machine, what binds first, and what would bind beyond it.

    noop     steps that do nothing, 400 sessions of 50
    waiting  steps that wait 50 ms, 1,000 sessions at once

Fleets of 1, 2 and 4 workers, each with a scheduler and a server of its own, take turns at the same load; `efficiency` is the rate of
N workers divided by N times that of one, the median over neighbouring rounds. Beside the rates stands what the processes took of the
machine meanwhile, in cores, and the lines under the figures name what bound each fleet:

    the server   its one thread took nine tenths of a core
    its loops    each worker's one thread did
    the cores    nothing of the machine was left, whoever else took it
    the load     none of these: sessions were waiting

Beyond this machine `simulated_*` is what `baton scale simulate` plays, for fleets whose processes have a core each. It reckons with what
a step takes of worker and server (orchestrator/scaling.py); `*_us_per_step` is what they took here, where cores are shared.
"""

import asyncio
import gc
import sys
from contextlib import AsyncExitStack
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from statistics import median

from bench._fleet import LANES, Fleet, Round
from bench._harness import (
    Children,
    Options,
    Report,
    Target,
    children,
    describe_machine,
    elapsed,
    paired_ratio,
    parse_options,
    say,
)
from bench._server import serve
from orchestrator.simulation import Play, play

SIZES = (1, 2, 4)
STATE_BYTES, NAP_SECONDS = 1024, 0.05
#: Sessions, steps of each, and seconds that a step waits; of a quick run, a third of the steps.
LOADS = {"noop": (400, 48, 0.0), "waiting": (1000, 24, NAP_SECONDS)}
#: From which share of a core, or of all of them, something is said to bind.
BOUND = 0.9
SIMULATED = (1, 2, 4, 8, 16)
TARGETS = (Target("noop_efficiency_2", 0.5, "at_least"), Target("waiting_efficiency_2", 0.5, "at_least"))


async def measure(report: Report, options: Options) -> None:
    """Fill the report."""
    async with AsyncExitStack() as stack:
        started = stack.enter_context(children())
        fleets = {size: await start_fleet(stack, report, started, size) for size in SIZES}
        for name, load in LOADS.items():
            await side_by_side(report, fleets, name, load, quick=options.quick)
    simulate(report)


async def start_fleet(stack: AsyncExitStack, report: Report, started: Children, size: int) -> Fleet:
    """Start one fleet on a server of its own."""
    say(f"a fleet of {size} starts")
    fleet = Fleet(started, stack.enter_context(serve(report)), workers=size)
    stack.push_async_callback(fleet.client.aclose)
    await fleet.wait_until_up()
    return fleet


async def side_by_side(
    report: Report, fleets: dict[int, Fleet], name: str, load: tuple[int, int, float], *, quick: bool
) -> None:
    """Let the fleets take turns at a load, after a warm-up."""
    sessions, steps, nap = load
    steps = steps // 3 if quick else steps
    least, most, seconds = (2, 3, 30.0) if quick else (5, 9, 200.0)
    found: dict[int, list[Round]] = {size: [] for size in fleets}
    for number in range(most + 1):
        if number > least and elapsed() > seconds:
            break
        say(f"{name}: {f'round {number} of {most}' if number else 'warm-up'}")
        for size, fleet in fleets.items():
            done = await fleet.round(sessions, steps if number else 2, state_bytes=STATE_BYTES, nap_seconds=nap)
            if number:
                found[size].append(done)
        gc.collect()
    rates = {size: [one.steps_per_s for one in done] for size, done in found.items()}
    for size, done in found.items():
        report.put_rounds("rates", f"{name}_{size}_steps_per_s", rates[size])
        report.put("efficiency", f"{name}_efficiency_{size}", paired_ratio(rates[size], rates[1]) / size)
        tell_cores(report, name, size, done)


def tell_cores(report: Report, name: str, size: int, done: list[Round]) -> None:
    """Put down what a fleet took, and say what bound it."""
    cores = int(str(describe_machine()["cores"]))
    # Of the time between the first step and the last commit: the rest of a round is starting and looking.
    took = [one.steps / one.steps_per_s for one in done]
    server = median(one.spent.server / seconds for one, seconds in zip(done, took, strict=True))
    workers = median(one.spent.workers / seconds for one, seconds in zip(done, took, strict=True))
    idle = median(one.spent.idle / one.seconds for one in done) / cores
    report.put("cores", f"{name}_{size}_server", server)
    report.put("cores", f"{name}_{size}_workers", workers)
    report.put("us_per_step", f"{name}_{size}_server_us_per_step", median(1e6 * r.spent.server / r.steps for r in done))
    report.put(
        "us_per_step", f"{name}_{size}_worker_us_per_step", median(1e6 * r.spent.workers / r.steps for r in done)
    )
    report.notes.append(
        f"{name}, {size} worker{'s' if size > 1 else ''}: bound by {name_bottleneck(server, workers / size, idle)}"
    )


def name_bottleneck(server: float, worker: float, idle: float) -> str:
    """Return what binds a fleet, by what its server and each of its workers take of a core, and the machine's idle share.

    >>> name_bottleneck(0.95, 0.9, 0.3), name_bottleneck(0.4, 0.95, 0.3), name_bottleneck(0.5, 0.7, 0.02), name_bottleneck(0.1, 0.3, 0.6)
    ('the server', 'its loops', 'the cores', 'the load')
    """
    if server >= BOUND:
        return "the server"
    if worker >= BOUND:
        return "its loops"
    return "the cores" if idle <= 1 - BOUND else "the load"


def simulate(report: Report) -> None:
    """Put down what fleets would do whose processes have a core each, and from where on the server binds them."""
    rates: dict[int, float] = {}
    for size in SIMULATED:
        played = play(
            Play(sessions=4_000, rate=0, steps=50, step_seconds=0, wait_seconds=0, workers=size, lanes=LANES, spread=0)
        )
        rates[size] = report.put("simulated", f"simulated_noop_{size}_steps_per_s", played.steps / played.seconds)
    best = max(rates.values())
    bound = next(size for size in SIMULATED if rates[size] >= BOUND * best)
    report.notes.append(
        f"simulated, with a core for each process: the server binds from {bound} workers on, at {best:,.0f} steps a second; "
        "steps that do something bind their workers first, and more masters (bench cluster) divide the server's part"
    )


def main() -> None:
    """Run the bench."""
    options = parse_options(__doc__ or "")
    report = Report("workers", options.quick, TARGETS)
    report.method = {
        "fleets": list(SIZES),
        "state_bytes": STATE_BYTES,
        "lanes_per_process": LANES,
        "wait_ms": NAP_SECONDS * 1000,
        "server": "the bundled one, AOF everysec, Unix socket, one for each fleet",
    }
    asyncio.run(measure(report, options))
    report.write(options)


if __name__ == "__main__":
    main()
