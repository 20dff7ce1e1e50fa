"""What a fork costs, and whether it grows with the age of its origin.

    young, old    forks of a session of 100 and of 10,000 steps, 1 KiB of state, at its newest entry
    middle        the same old session, forked at entries all over its journal
    talkative     a session of 10,000 steps whose models have said 2,000 messages of 250 bytes
    wordy         the same with 10,000 messages, one a step: the context is copied twice, into the list and into the journal

One client in this process, a server that nobody else writes to. A fork is measured from the call to the acknowledged session.
The steps are committed by a bare holder, without an app's code: only what they leave behind matters here.
"""

import asyncio
import gc
import random
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench._fleet import bench_settings
from bench._harness import Options, Report, Target, parse_options, percentile, ratio, say
from orchestrator.app_loader import load_app
from orchestrator.client import Client
from orchestrator.contracts.base import dump_json
from orchestrator.contracts.session import Cursor, Entry
from orchestrator.embedded import RunningServer, temporary
from orchestrator.store.leases import Claimed, Commit, Leases
from orchestrator.wiring import build_client

APP = Path(__file__).resolve().parent / "apps" / "bench_loop"
STEPS, YOUNG_STEPS, MESSAGES, MESSAGE_BYTES = 10_000, 100, 2_000, 250
TARGETS = (
    Target("old_p50_ms", 50.0, "at_most"),
    Target("middle_p50_ms", 50.0, "at_most"),
    Target("talkative_p50_ms", 50.0, "at_most"),
)


async def grow(client: Client, *, steps: int, messages: int) -> str:
    """Make a session with so many steps behind it, and so many messages spread over them; return its id."""
    name = next(iter(client.specs))
    state = {"of": steps, "pad": "x" * 960}
    session_id = (await client.submit(name, overrides=state, actor="bench")).session_id
    leases = Leases(client.store, lease_seconds=3600, max_attempts=3)
    claimed = await leases.claim(session_id, "bench:1", (client.spec(name).digest(),), known=0)
    if not isinstance(claimed, Claimed):
        raise TypeError(f"bench: {session_id} was not claimed: {claimed}")
    every = steps // messages if messages else steps + 1
    said = dump_json({"role": "assistant", "content": "y" * (MESSAGE_BYTES - 35)})
    for step in range(steps):
        cursor = Cursor(skill="work", serial=step + 1).to_json()
        told = (said,) if step % every == 0 and messages else ()
        entry = Entry(
            kind="step", actor="bench:1", step="compute", skill="work", outcome="succeeded",
            set={"cursor": cursor}, state={"n": step}, messages=told, ms=0.1,
        )  # fmt: skip
        fields = {"cursor": cursor, "state": dump_json({**state, "n": step})}
        await leases.commit(
            session_id, claimed.record.fence, step, Commit("continue", fields, (entry.to_json(),), messages=told)
        )
    return session_id


async def forks(client: Client, session_id: str, places: list[int | None]) -> list[float]:
    """Fork at these entries, one after another; return the ms of each."""
    taken = []
    gc.collect()
    for place in places:
        began = time.perf_counter()
        await client.fork(session_id, at=place, actor="bench")
        taken.append((time.perf_counter() - began) * 1000)
    return taken


async def measure(report: Report, server: RunningServer, options: Options) -> None:
    """Fill the report."""
    spec = load_app(APP)
    client = build_client(bench_settings(server), server.url, {spec.name: spec})
    rounds = 15 if options.quick else 100
    try:
        say("a session of 100 steps, three of 10,000")
        young = await grow(client, steps=YOUNG_STEPS, messages=0)
        old = await grow(client, steps=STEPS, messages=0)
        talkative = await grow(client, steps=STEPS, messages=MESSAGES)
        wordy = await grow(client, steps=STEPS, messages=STEPS)
        await forks(client, young, [None] * 5)
        say("forks")
        pick = random.Random(1)
        anywhere: list[int | None] = [pick.randint(1, STEPS) for _ in range(rounds)]
        measured = {
            "young": await forks(client, young, [None] * rounds),
            "old": await forks(client, old, [None] * rounds),
            "middle": await forks(client, old, anywhere),
            "talkative": await forks(client, talkative, [None] * rounds),
            "wordy": await forks(client, wordy, [None] * (rounds // 3)),
        }
        for name, taken in measured.items():
            report.put("latency_ms", f"{name}_p50_ms", percentile(taken, 0.5))
            report.put("latency_ms", f"{name}_p99_ms", percentile(taken, 0.99))
            report.rounds[name] = taken
        report.put(
            "ratios", "old_to_young", ratio(percentile(measured["old"], 0.5), percentile(measured["young"], 0.5))
        )
    finally:
        await client.aclose()


def main() -> None:
    """Run the bench."""
    options = parse_options(__doc__ or "")
    report = Report("forks", options.quick, TARGETS)
    report.method |= {"steps": STEPS, "state_bytes": 1024, "messages": MESSAGES, "message_bytes": MESSAGE_BYTES}
    with temporary(fsync="everysec") as server:
        asyncio.run(measure(report, server, options))
    report.write(options)


if __name__ == "__main__":
    main()
