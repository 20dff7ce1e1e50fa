"""What a step costs in a session that never seems to end: 10,000 steps, and what the 10,000th costs against the 10th.

    steps    functions of the state, 1 KiB of it: one commit each
    calls    turns of an announced tool call and a function: four commits each, with intents and results

One executor in this process, on a server that nobody else writes to. A session is brought to its age; then its slices of ten steps
are taken in turns with those of young sessions, so that what disturbs the machine disturbs both. `cpu_ms` is processor time of this process and of
the server for one step, `ms` wall time, `bytes` the growth of the append-only file, which is all that a commit writes; all are medians.
"""

import asyncio
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from statistics import median

from bench._ageing import overrides_of, take_pairs
from bench._fleet import APP
from bench._harness import ROOT, Options, Report, Target, paired_ratio, parse_options, ratio, say
from bench._server import serve
from orchestrator.embedded import RunningServer

STATE_BYTES = 1024
STEPS, QUICK_STEPS = 10_000, 2_000
KINDS = {"steps": (APP, None), "calls": ("bench_long", ROOT / "bench" / "apps_long")}
TARGETS = tuple(Target(f"{kind}_old_to_young_{what}", 1.1, "at_most") for kind in KINDS for what in ("cpu", "bytes"))


async def measure(report: Report, server: RunningServer, options: Options) -> None:
    """Fill the report."""
    steps, rounds = (QUICK_STEPS, 40) if options.quick else (STEPS, 200)
    report.method |= {"old_at_steps": steps, "slices": rounds}
    for kind, (app, apps) in KINDS.items():
        say(f"a session of {steps:,} steps: {kind}")
        overrides = overrides_of(4 * steps, STATE_BYTES)
        young, old = await take_pairs(server, app=app, apps=apps, age=steps, rounds=rounds, overrides=overrides)
        for age, slices in (("young", young), ("old", old)):
            report.put(kind, f"{kind}_{age}_cpu_ms", median(one.step_cpu_ms for one in slices))
            report.put(kind, f"{kind}_{age}_ms", median(one.step_ms for one in slices))
            report.put(kind, f"{kind}_{age}_bytes", median(one.step_bytes for one in slices))
        cpu = paired_ratio([one.step_cpu_ms for one in old], [one.step_cpu_ms for one in young])
        report.put("ratios", f"{kind}_old_to_young_cpu", cpu)
        wall = paired_ratio([one.step_ms for one in old], [one.step_ms for one in young])
        report.put("ratios", f"{kind}_old_to_young_time", wall)
        found = report.groups[kind]
        report.put(
            "ratios", f"{kind}_old_to_young_bytes", ratio(found[f"{kind}_old_bytes"], found[f"{kind}_young_bytes"])
        )


def main() -> None:
    """Run the bench."""
    options = parse_options(__doc__ or "")
    report = Report("long", options.quick, TARGETS)
    report.method = {"state_bytes": STATE_BYTES, "server": "the bundled one, AOF everysec, Unix socket"}
    with serve(report) as server:
        asyncio.run(measure(report, server, options))
    report.write(options)


if __name__ == "__main__":
    main()
