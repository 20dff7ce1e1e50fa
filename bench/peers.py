"""How many durable steps a second against what one would take instead, each with one worker process.

    ours            a scheduler and one worker: claimed, journaled, committed under a fence
    rq, rq_simple   RQ, whose worker forks for every job; and its worker that does not
    huey, dramatiq, taskiq   task queues, with their defaults; Taskiq with its acknowledging broker
    dbos            a workflow for each session, on SQLite; _postgres on PostgreSQL; _postgres_lazy the same without a disk
                    write for each commit, which is what an append-only file synced every second amounts to
    langgraph       a graph that goes round, with the SQLite checkpointer and durability "sync"

A step of a task queue loads 1 KiB of state, appends a line, writes the state, and sends its successor, all in the server that
ours is on: the bundled Valkey, AOF everysec, over its Unix socket. A step of a workflow engine is one of its own. Rounds of
ours stand before each round of a peer, and a ratio is the median of the ratios of such pairs. A peer's round has as many
sessions as take some seconds at its pace.

Peers are installed at the first run, with pinned versions, each into an environment of its own under the state folder. A
quick run takes those that are there; `--install` installs and measures nothing. What cannot be had is left out, and said.
"""

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench._fleet import Fleet
from bench._harness import (
    Options,
    Report,
    Target,
    children,
    elapsed,
    fitting,
    paired_ratio,
    parse_options,
    say,
)
from bench._peer_sides import OURS, PEERS, Peer, Side, install, python_of
from bench._postgres import lazy, postgres
from bench._server import serve
from orchestrator.embedded import RunningServer

SESSIONS, STEPS, STATE_BYTES = 200, 10, 1024
#: The peers' databases of the server begin here: before them are ours, the broker's, and Celery's of `bench steps`.
FIRST_DATABASE = 5
TARGETS = (
    Target("ours_to_dbos_postgres", 30.0, "at_least"),
    Target("ours_to_dbos", 30.0, "at_least"),
    Target("ours_to_dramatiq", 2.0, "at_least"),
    Target("ours_to_taskiq", 2.0, "at_least"),
    Target("ours_to_huey", 2.0, "at_least"),
    Target("ours_to_langgraph", 2.0, "at_least"),
)


async def measure(report: Report, server: RunningServer, options: Options, missing: dict[str, str]) -> None:
    """Fill the report; add to `missing` who could not be had, and why."""
    rounds, seconds, budget, sessions = (2, 0.5, 26.0, 40) if options.quick else (5, 2.0, 200.0, SESSIONS)
    with ExitStack() as stack:
        started = stack.enter_context(children())
        database = stack.enter_context(postgres())
        fleet = Fleet(started, server, workers=1)
        try:
            await fleet.wait_until_up()
            await fleet.round(sessions, STEPS, state_bytes=STATE_BYTES)
            started_sides = [
                side
                for number, peer in enumerate(PEERS)
                if (side := _start(peer, number, server, database, missing)) is not None
            ]
            for side in started_sides:
                stack.callback(side.close)
            sides: list[tuple[Side, int]] = []
            for side in started_sides:
                if options.quick and elapsed() > budget / 2 and sides:
                    missing[side.peer.name] = "no time in a quick run on a busy machine"
                    continue
                say(f"{side.peer.name} warms up")
                try:
                    side.wait_until_up()
                    pace = await asyncio.to_thread(side.round, 1, STEPS)
                except RuntimeError as error:
                    missing[side.peer.name] = str(error)
                else:
                    sides.append((side, fitting(pace, seconds=seconds, length=STEPS, least=1, most=SESSIONS)))
            rates, alone = await _rounds(fleet, sides, missing, sessions=sessions, rounds=rounds, budget=budget)
        finally:
            await fleet.client.aclose()
    report.put_rounds("rates", "ours_steps_per_s", [alone, *(one for ours, _ in rates.values() for one in ours)])
    for name, (_, theirs) in rates.items():
        report.put_rounds("rates", f"{name}_steps_per_s", theirs)
    for name, (ours, theirs) in rates.items():
        report.put("ratios", f"ours_to_{name}", paired_ratio(ours, theirs))


def _start(
    peer: Peer, number: int, server: RunningServer, database: str | None, missing: dict[str, str]
) -> Side | None:
    """Start a peer, or say why not."""
    python = python_of(peer)
    if python is None:
        missing.setdefault(peer.name, "not installed; `./baton bench peers --install` does it")
        return None
    if peer.keeps_in == "postgres":
        if database is None:
            missing[peer.name] = "no PostgreSQL server is installed here"
            return None
        url = lazy(database) if peer.name.endswith("lazy") else database
    elif peer.keeps_in == "sqlite":
        url = f"sqlite:///{server.state_dir}/{peer.name}.sqlite"
    else:
        url = f"{server.url.partition('?')[0]}?db={FIRST_DATABASE + number}"
    return Side(peer, python, url, Path(server.state_dir))


async def _rounds(
    fleet: Fleet, sides: list[tuple[Side, int]], missing: dict[str, str], *, sessions: int, rounds: int, budget: float
) -> tuple[dict[str, tuple[list[float], list[float]]], float]:
    """Return each peer's rates with those of ours in the rounds right before them, and one more rate of ours."""
    rates: dict[str, tuple[list[float], list[float]]] = {}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for side, count in sides:
            name = side.peer.name
            if name in missing or (number and elapsed() > budget):
                continue
            ours = (await fleet.round(sessions, STEPS, state_bytes=STATE_BYTES)).steps_per_s
            try:
                theirs = await asyncio.to_thread(side.round, count, STEPS)
            except RuntimeError as error:
                missing[name] = str(error)
                continue
            pairs = rates.setdefault(name, ([], []))
            pairs[0].append(ours)
            pairs[1].append(theirs)
    return rates, (await fleet.round(sessions, STEPS, state_bytes=STATE_BYTES)).steps_per_s


def table(missing: dict[str, str]) -> list[str]:
    """Return what each side promises, and who was left out."""
    rows = [("", "kept in", "durable", "ordered", "exactly one commit"), ("ours", "redis", *OURS)]
    rows += [(peer.name, peer.keeps_in, peer.durable, peer.ordered, peer.once) for peer in PEERS]
    wide = [max(len(row[column]) for row in rows) + 2 for column in range(5)]
    lines = ["  ".join(word.ljust(size) for word, size in zip(row, wide, strict=True)).rstrip() for row in rows]
    return ["what a step promises", *lines, *(f"left out: {name}: {why}" for name, why in missing.items())]


def main() -> None:
    """Run the bench."""
    options = parse_options(__doc__ or "", flags={"install": "install the peers, and measure nothing"})
    missing: dict[str, str] = {}
    for peer in PEERS:
        if python_of(peer) is None and not options.quick:
            say(f"{peer.name} is installed")
            if why := install(peer):
                missing[peer.name] = why
    if "install" in options.flags:
        print("\n".join(f"{peer.name}: {missing.get(peer.name, 'installed')}" for peer in PEERS))
        return
    report = Report("peers", options.quick, TARGETS)
    report.method = {
        "sessions": SESSIONS,
        "steps_per_session": STEPS,
        "state_bytes": STATE_BYTES,
        "worker_processes": 1,
        "server": "the bundled one, AOF everysec, Unix socket; SQLite and PostgreSQL with their defaults",
        "packages": {peer.name: list(peer.packages) for peer in PEERS},
        "promises": {"ours": OURS, **{peer.name: (peer.durable, peer.ordered, peer.once) for peer in PEERS}},
    }
    with serve(report) as server:
        asyncio.run(measure(report, server, options, missing))
    report.method["left_out"] = missing
    report.notes = table(missing)
    report.write(options)


if __name__ == "__main__":
    main()
