"""One run: a real stack on a server of its own, sessions with effects outside, a planned monkey, and a verdict.

The stack is what an operator starts: the bundled server with its AOF, two schedulers, four workers of three pools. Every
process has a network of its own (proxy.py), a wall clock of its own (clock.py), and writes down what it asked for
(history.py). What is judged, and by whom: messages, effects, timers, approvals, ends and journals by the ledger, leases
and commits by the search for a linear order.
"""

import asyncio
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from orchestrator.client import Client
from orchestrator.contracts.session import Entry
from orchestrator.embedded import Fsync
from orchestrator.installed import load_installed_apps
from orchestrator.settings import Settings
from orchestrator.wiring import build_client
from tests.chaos import clock
from tests.chaos.driver import Driver
from tests.chaos.evidence import gather_evidence
from tests.chaos.fleet import APPS, Fleet, fleet_of, pause, quick_settings
from tests.chaos.havoc import Havoc
from tests.chaos.history import Recorder, judge_histories, read_histories, record_confirmations
from tests.chaos.ledger import Ledger, judge
from tests.chaos.linear import Op
from tests.chaos.plan import OUTSIDE, SCHEDULERS, WORKERS, Fault, make_plan
from tests.chaos.power import Cut, Power
from tests.chaos.proxy import Proxy
from tests.chaos.recovery import Recovery, list_recoveries, tell_recovery

#: The longest that sessions may take to come to their ends once everything is healed.
END_SECONDS = 90.0
#: What a cut may take beyond the marks that bound it.
SLACK_MS = 100.0
#: A dead scheduler's partitions are led again after its leader's lease, its sign of life, and a look of the others.
FAILOVER_SECONDS = 3.5


@dataclass(frozen=True)
class Options:
    """What is run."""

    seed: int
    seconds: float
    sessions: int = 40
    durability: Literal["server", "wait"] = "server"
    fsync: Fsync = "everysec"
    only: frozenset[str] = frozenset()
    power_cuts: int | None = None

    @property
    def messages(self) -> int:
        """Return how many messages each session gets; waiting for the disk takes its time."""
        return max(12, round((30 if self.durability == "server" else 15) * self.seconds / 60))

    @property
    def is_safe(self) -> bool:
        """Whether a power cut may lose nothing that somebody relies on."""
        return self.durability == "wait" or self.fsync == "always"


@dataclass
class Outcome:
    """What came of it; `wrong` is empty for a run that keeps every promise."""

    options: Options
    plan: tuple[Fault, ...]
    struck: list[Fault]
    left_out: list[Fault]
    ledger: Ledger
    wrong: list[str]
    operations: int
    acknowledged: int
    cuts: list[Cut]
    lost: list[str]
    recoveries: list[Recovery]
    ended: list[str] = field(default_factory=list)
    overdue: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    seconds: float = 0.0
    logs: str = ""


@contextmanager
def make_folder() -> Iterator[Path]:
    """Lend a folder with a short path: a socket's may have a hundred characters."""
    folder = Path(tempfile.mkdtemp(prefix="bch-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_settings(options: Options, folder: Path) -> tuple[Settings, Settings]:
    """Return the settings before and after the deploy: the same app, in another version."""
    newer = folder / "newer"
    shutil.copytree(APPS, newer, ignore=shutil.ignore_patterns("__pycache__"))
    declared = newer / "ledger" / "app.yaml"
    declared.write_text(declared.read_text(encoding="utf-8") + "version: '2'\n", encoding="utf-8")
    store = {"durability": options.durability, "patience_seconds": 30.0}
    lease = {"seconds": 3.0, "renew_seconds": 1.0, "max_attempts": 20}
    return quick_settings(store=store, lease=lease), quick_settings(newer, store=store, lease=lease)


def run(options: Options) -> Outcome:
    """Run it, and return what came of it."""
    with make_folder() as folder:
        outside = folder / "outside"
        for name in ("note", "permit", "act"):
            (outside / name).mkdir(parents=True)
        (folder / "history").mkdir()
        (folder / "logs").mkdir()
        os.environ["CHAOS_LEDGER"] = str(outside)
        settings, newer = make_settings(options, folder)
        power = Power(folder / "server", fsync=options.fsync)
        parts = {"settings": settings, "seed": options.seed, "dropped": 0.15, "doubled": 0.05, "late": 0.1}
        try:
            with fleet_of(power.server.url, power.server.broker_url, folder / "logs", **parts) as fleet:
                fleet.history = folder / "history"
                return asyncio.run(_run(options, folder, fleet, power, newer))
        finally:
            power.close()
            os.environ.pop("CHAOS_LEDGER", None)


async def _run(options: Options, folder: Path, fleet: Fleet, power: Power, newer: Settings) -> Outcome:
    loop = asyncio.get_running_loop()
    began = loop.time()
    proxies = {slot: Proxy(folder / f"{slot}.sock", power.server.socket) for slot in (*WORKERS, *SCHEDULERS, OUTSIDE)}
    for slot, proxy in proxies.items():
        await proxy.start()
        hands = folder / f"{slot}.clock"
        clock.write_offset(hands, 0)
        fleet.places[slot] = (f"unix://{proxy.path}?db=0", f"redis+socket://{proxy.path}?virtual_host=1", hands)
    for slot in SCHEDULERS:
        fleet.start("scheduler", slot=slot)
    for slot, pool in WORKERS.items():
        fleet.start("worker", pool=pool, slot=slot)
    specs = load_installed_apps(fleet.settings)
    undo = record_confirmations(Recorder(folder / "history"))
    watching = asyncio.create_task(power.watch_forever())
    control = build_client(quick_settings(), power.server.url, specs)
    client = build_client(fleet.settings, fleet.places[OUTSIDE][0], specs)
    try:
        await _wait_for_workers(control, len(WORKERS))
        work = 0.15 if options.durability == "server" else 0.05
        driver = Driver(
            client,
            folder / "outside",
            seed=options.seed,
            messages=options.messages,
            spread_seconds=options.seconds * 0.95,
            work_seconds=work,
            is_safe=options.is_safe,
        )
        await driver.submit(options.sessions)
        await pause(1.5)  # what was submitted is on the disk: a session whose submission is lost cannot be told of
        lease = fleet.settings.lease.seconds
        plan = make_plan(
            options.seed,
            options.seconds,
            lease_seconds=lease,
            only=options.only,
            power_cuts=options.power_cuts,
        )
        havoc = Havoc(fleet, control, driver, power, proxies, newer, plan, folder / "history")
        supervising = asyncio.create_task(havoc.supervise_forever())
        try:
            unfinished = await _play(havoc, driver, options)
        finally:
            supervising.cancel()
        evidence = await gather_evidence(control, driver)
        cuts = [(cut.at, cut.back_ms + SLACK_MS) for cut in havoc.cuts]
        histories = read_histories(folder / "history")
        own = {sid: histories.get(sid, []) for sid in driver.told}
        broken = judge_histories(own, lease_ms=lease * 1000, cuts=[cut.at for cut in havoc.cuts])
        journals = {seen.told.session_id: seen.journal for seen in evidence.sessions}
        gone, broken_commits = judge_commits(own, journals, cuts, is_safe=options.is_safe)
        taken: dict[str, list[float]] = defaultdict(list)
        for one in gone:
            if one.is_critical:
                taken[one.session_id].append(one.at)
        ledger = judge(evidence, cuts=cuts, taken=taken, is_safe=options.is_safe)
        ledger.forgotten.update(["commit"] * len(gone))
        recoveries = list_recoveries(ledger, havoc.blows, failover_seconds=FAILOVER_SECONDS)
        calm = [one for one in recoveries if one.is_orphaned and not one.is_struck and one.is_led]
        late = [tell_recovery(ledger, havoc.blows, one) for one in calm if one.seconds > lease + 2]
        wrong = [*unfinished, *ledger.wrong, *broken, *broken_commits]
        return Outcome(
            options=options,
            plan=plan,
            struck=havoc.struck,
            left_out=havoc.left_out,
            ended=havoc.ended,
            overdue=havoc.overdue,
            ledger=ledger,
            wrong=wrong,
            operations=sum(len(ops) for ops in own.values()),
            acknowledged=sum(op.what == "commit" and op.answer == "committed" for ops in own.values() for op in ops),
            cuts=havoc.cuts,
            lost=[*(f"{one.session_id}: {line}" for one in driver.told.values() for line in one.lost), *map(str, gone)],
            recoveries=recoveries,
            slow=late,
            seconds=loop.time() - began,
            logs=fleet.logs() if wrong else "",
        )
    finally:
        watching.cancel()
        undo()
        await client.aclose()
        await control.aclose()
        for proxy in proxies.values():
            await proxy.aclose()


async def _play(havoc: Havoc, driver: Driver, options: Options) -> list[str]:
    """Let the monkey and the driver do their work; return what did not come to its end."""
    try:
        async with asyncio.timeout(options.seconds + END_SECONDS), asyncio.TaskGroup() as group:
            raging = group.create_task(havoc.rage())
            group.create_task(_drive(driver, raging))
    except TimeoutError:
        left = [told.session_id for told in driver.told.values() if told.ended_at is None]
        return [f"{one}: not at its end {END_SECONDS:.0f} s after the last fault" for one in left] or ["it hangs"]
    return []


async def _drive(driver: Driver, raging: "asyncio.Task[None]") -> None:
    """Drive until all have ended and nothing can take an end back any more."""
    await driver.drive_all()
    await raging
    await driver.drive_all()


async def _wait_for_workers(client: Client, count: int, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while sum(info.kind == "worker" for info in await client.workers()) < count:
            await pause(0.1)


@dataclass(frozen=True)
class Gone:
    """An acknowledged commit that a cut has taken; `at` is the cut's moment."""

    session_id: str
    rev: int
    fence: int
    is_critical: bool
    at: float

    def __str__(self) -> str:
        return f"commit {self.rev} of {self.session_id} under fence {self.fence}"


def judge_commits(
    histories: dict[str, list[Op]],
    journals: dict[str, list[Entry]],
    cuts: list[tuple[float, float]],
    *,
    is_safe: bool,
) -> tuple[list[Gone], list[str]]:
    """Compare every acknowledged commit with the journals: its entry is there, at its revision, with its fence.

    Return what a cut has taken, and what is wrong: gone without a cut to explain it, or critical and promised safe.
    """
    gone, wrong = [], []
    for sid, ops in histories.items():
        steps = [entry.fence for entry in journals.get(sid, []) if entry.kind == "step"]
        for op in ops:
            if op.what != "commit" or op.answer != "committed" or op.ended is None:
                continue
            fence, rev, _, critical = op.args[:4]
            if rev < len(steps) and steps[rev] == fence:
                continue
            # The answer may have come a moment before the cut to an act that was done within what the cut took back.
            at = next((cut for cut, back in cuts if cut - back <= op.ended <= cut + back), None)
            one = Gone(sid, rev, fence, critical, at or 0.0)
            if at is None or (is_safe and critical):
                wrong.append(f"{sid}: acknowledged and not in its journal: {one}")
            else:
                gone.append(one)
    return gone, wrong
