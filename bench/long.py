"""What a step costs in a session that never seems to end: 10,000 steps, and what the 10,000th costs against the 10th.

    steps    functions of the state, 1 KiB of it: one commit each
    calls    turns of an announced tool call and a function: four commits each, with intents and results

One executor in this process, on a server that nobody else writes to, in slices of ten steps. `step_cpu_ms` is processor
time of this process and of the server, which a busy neighbour changes little; `step_ms` is wall time. Bytes are the growth of the append-only
file, which is all that a commit writes. `_at_N` is the median of the slices of all sessions that began around the Nth step;
`_last_to_first` divides the last of these by the first.
"""

import asyncio
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from collections.abc import Sequence
from statistics import median

from bench._ageing import Slice, overrides_of, take_slices
from bench._fleet import APP
from bench._harness import ROOT, Options, Report, Target, parse_options, ratio, say
from orchestrator.embedded import RunningServer, temporary
from orchestrator.embedded_wire import ask

STATE_BYTES = 1024
STEPS, QUICK_STEPS, WARM_UP = 10_000, 2_000, 500
#: How far around a mark a slice may begin; the first mark is as far from the start.
AROUND = 50
COMMITS_A_TURN = 4
KINDS = {"steps": (APP, None), "calls": ("bench_long", ROOT / "bench" / "apps_long")}
TARGETS = tuple(
    Target(f"{kind}_{what}_last_to_first", 1.1, "at_most") for kind in KINDS for what in ("step_cpu_ms", "step_bytes")
)


def marks(steps: int) -> list[int]:
    """Return the steps at which the cost is told, up to the last that whole slices lie around.

    >>> marks(10_000)
    [50, 1000, 5000, 9900]
    """
    return [*(mark for mark in (AROUND, 1000, 5000) if mark < steps - 2 * AROUND), steps - 2 * AROUND]


def near(slices: Sequence[Slice], mark: int) -> list[Slice]:
    """Return the slices that began around a step."""
    return [one for one in slices if abs(one.began_at - mark) <= AROUND]


async def measure(report: Report, server: RunningServer, options: Options) -> None:
    """Fill the report."""
    steps, sessions = (QUICK_STEPS, 1) if options.quick else (STEPS, 3)
    for kind, (app, apps) in KINDS.items():
        say(f"{sessions} sessions of {steps:,} steps: {kind}")
        turns = steps if app == APP else -(-steps // COMMITS_A_TURN)
        overrides = overrides_of(turns, STATE_BYTES)
        await take_slices(server, sessions=1, steps=WARM_UP, overrides=overrides, app=app, apps=apps)
        slices = await take_slices(server, sessions=sessions, steps=steps, overrides=overrides, app=app, apps=apps)
        for what in ("step_cpu_ms", "step_ms", "step_bytes"):
            found = [median(getattr(one, what) for one in near(slices, mark)) for mark in marks(steps)]
            for mark, value in zip(marks(steps), found, strict=True):
                report.put(kind, f"{kind}_{what}_at_{mark}", value)
            report.put("ratios", f"{kind}_{what}_last_to_first", ratio(found[-1], found[0]))


def main() -> None:
    """Run the bench."""
    options = parse_options(__doc__ or "")
    report = Report("long", options.quick, TARGETS)
    report.method = {"state_bytes": STATE_BYTES, "server": "the bundled one, AOF everysec, Unix socket"}
    with temporary(fsync="everysec") as server:
        report.method["server_version"] = server.version
        # A rewrite of the append-only file would be counted as what a step writes.
        ask(server.socket, "CONFIG SET auto-aof-rewrite-percentage 0")
        asyncio.run(measure(report, server, options))
    report.write(options)


if __name__ == "__main__":
    main()
