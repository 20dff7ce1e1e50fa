"""One run: a real stack on a server of its own, sessions with effects outside, a planned monkey, and a verdict.

The stack is what an operator starts: a store (stores.py; by default the bundled server with its AOF), two schedulers, four
workers of three pools, an API. Every
process has a network of its own (proxy.py), a wall clock of its own (clock.py), and writes down what it asked for
(history.py). What is judged, and by whom: messages, effects, timers, approvals, ends and journals by the ledger, leases
and commits by the search for a linear order, answers over HTTP and event streams by those who asked (front.py).
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from orchestrator.client import Client
from orchestrator.contracts.app import AppSpec
from orchestrator.embedded import Fsync
from orchestrator.installed import load_installed_apps
from orchestrator.settings import Settings
from orchestrator.wiring import build_client
from tests.chaos import clock
from tests.chaos.cuts import Cut
from tests.chaos.driver import Driver
from tests.chaos.evidence import gather_evidence
from tests.chaos.fleet import APPS, Fleet, fleet_of, pause, quick_settings
from tests.chaos.front import Front, HttpVerdict
from tests.chaos.havoc import Havoc
from tests.chaos.history import Recorder, read_histories, record_confirmations
from tests.chaos.ledger import Ledger
from tests.chaos.newer import read_both
from tests.chaos.plan import API, FRONT, OUTSIDE, SCHEDULERS, WORKERS, Fault, StoreKind, make_plan
from tests.chaos.proxy import Proxy
from tests.chaos.recovery import Recovery, list_recoveries, tell_recovery
from tests.chaos.replicated import ClusterStore, SentinelStore
from tests.chaos.sides import Sides
from tests.chaos.stores import BundledStore, StoreUnderChaos
from tests.chaos.verdict import judge_run

STORES: Final[dict[StoreKind, type[StoreUnderChaos]]] = {
    "server": BundledStore,
    "sentinel": SentinelStore,
    "cluster": ClusterStore,
}
#: A dead scheduler's partitions are led again after its leader's lease, its sign of life, and a look of the others.
FAILOVER_SECONDS = 3.5
#: The longest that what strikes may take after its time: a deploy waits twice for processes to end, and for others to start.
STRIKES_SECONDS = 270.0
#: How long all processes may take to start, on a machine that is busy with something else.
START_SECONDS = 180.0


@dataclass(frozen=True)
class Options:
    """What is run."""

    seed: int
    seconds: float
    sessions: int = 40
    durability: Literal["server", "wait"] = "server"
    fsync: Fsync = "everysec"
    only: frozenset[str] = frozenset()
    also: frozenset[str] = frozenset()
    power_cuts: int | None = None
    store: StoreKind = "server"

    @property
    def messages(self) -> int:
        """Return how many messages each session gets; waiting for the disk takes its time."""
        return max(12, round((30 if self.durability == "server" else 15) * self.seconds / 60))

    @property
    def is_safe(self) -> bool:
        """Whether a power cut or a failover may lose nothing that somebody relies on."""
        return self.durability == "wait" or (self.fsync == "always" and self.store == "server")


@dataclass
class Outcome:
    """What came of it; `wrong` is empty for a run that keeps every promise."""

    options: Options
    plan: tuple[Fault, ...]
    struck: list[Fault]
    left_out: list[Fault]
    ledger: Ledger
    sides: Sides
    wrong: list[str]
    operations: int
    acknowledged: int
    cuts: list[Cut]
    refused: dict[str, int]
    lost: list[str]
    recoveries: list[Recovery]
    http: HttpVerdict
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
    store = {
        "durability": options.durability,
        "patience_seconds": STORES[options.store].patience_seconds,
        "replicas": int(options.durability == "wait" and options.store != "server"),
    }
    lease = {"seconds": 3.0, "renew_seconds": 1.0, "max_attempts": 20}
    # One program asks for everybody here; what MCP and the rates do is shown elsewhere.
    api = {"requests_per_second": 5_000.0, "requests_burst": 10_000, "mcp": False}
    parts = {"store": store, "lease": lease, "api": api}
    return quick_settings(**parts), quick_settings(newer, **parts)


def run(options: Options) -> Outcome:
    """Run it, and return what came of it."""
    with make_folder() as folder:
        outside = folder / "outside"
        for name in ("note", "permit", "act"):
            (outside / name).mkdir(parents=True)
        (folder / "history").mkdir()
        (folder / "logs").mkdir()
        os.environ["CHAOS_LEDGER"] = str(outside)
        try:
            return asyncio.run(_run_on_a_store(options, folder))
        finally:
            os.environ.pop("CHAOS_LEDGER", None)


async def _run_on_a_store(options: Options, folder: Path) -> Outcome:
    settings, newer = make_settings(options, folder)
    store = STORES[options.store](folder, fsync=options.fsync)
    parts = {"settings": settings, "seed": options.seed, "dropped": 0.15, "doubled": 0.05, "late": 0.1}
    specs = load_installed_apps(settings)  # takes seconds, in which no network of ours would carry anything
    try:
        await store.start()
        with fleet_of(store.url, store.bundled.server.broker_url, folder / "logs", **parts) as fleet:
            fleet.history = folder / "history"
            return await _run(options, folder, fleet, store, newer, specs)
    finally:
        await store.aclose()


async def _run(
    options: Options,
    folder: Path,
    fleet: Fleet,
    store: StoreUnderChaos,
    newer: Settings,
    specs: Mapping[str, AppSpec],
) -> Outcome:
    loop = asyncio.get_running_loop()
    began = loop.time()
    server = store.bundled.server.socket
    proxies = {slot: Proxy(folder / f"{slot}.sock", server) for slot in (*WORKERS, *SCHEDULERS, API, OUTSIDE)}
    front = Front()
    await front.open(options.seconds, options.messages)
    fleet.port = front.port
    for slot, proxy in proxies.items():
        await proxy.start()
        hands = folder / f"{slot}.clock"
        clock.write_offset(hands, 0)
        url = await store.url_over(slot, proxy)
        fleet.places[slot] = (url, f"redis+socket://{proxy.path}?virtual_host=1", hands)
    for slot in SCHEDULERS:
        fleet.start("scheduler", slot=slot)
    for slot, pool in WORKERS.items():
        fleet.start("worker", pool=pool, slot=slot)
    fleet.start("api", slot=API)
    undo = [record_confirmations(Recorder(folder / "history")), read_both()]
    control = build_client(quick_settings(store={"patience_seconds": store.patience_seconds}), store.url, specs)
    client = build_client(fleet.settings, fleet.places[OUTSIDE][0], specs)
    try:
        work = 0.15 if options.durability == "server" else 0.05
        driver = Driver(
            client,
            folder / "outside",
            seed=options.seed,
            messages=options.messages,
            spread_seconds=options.seconds * 0.95,
            work_seconds=work,
            is_safe=options.is_safe,
            caller=front.caller,
        )
        undo.append(lambda: driver.use_newer(is_newer=False))
        lease = fleet.settings.lease.seconds
        plan = make_plan(
            options.seed,
            options.seconds,
            lease_seconds=lease,
            only=options.only,
            also=options.also,
            power_cuts=options.power_cuts,
            store=options.store,
        )
        networks = {**proxies, FRONT: front.line}
        havoc = Havoc(fleet, control, driver, store, networks, newer, plan, folder / "history")
        supervising = asyncio.create_task(
            havoc.supervise_forever()
        )  # on a busy machine a store may be away at the start, too
        try:
            await _wait_for_workers(control, len(WORKERS))
            await driver.submit(options.sessions)
            await pause(1.5)  # what was submitted is on the disk: a session whose submission is lost cannot be told of
            front.follow(driver)
            unfinished = await _play(havoc, driver, front, options.seconds, store.end_seconds)
        finally:
            supervising.cancel()
        evidence = await gather_evidence(control, driver)
        found = judge_run(
            evidence,
            read_histories(folder / "history"),
            store.cuts,
            keys=control.store.keys,
            lease_ms=lease * 1000,
            is_safe=options.is_safe,
            gaps=havoc.gaps,
        )
        ledger, refused = found.ledger, await store.refused()
        http = await front.judge(control, evidence, store.cuts, is_safe=options.is_safe)
        recoveries = list_recoveries(ledger, havoc.blows, failover_seconds=FAILOVER_SECONDS)
        calm = [one for one in recoveries if one.is_orphaned and not one.is_struck and one.is_led]
        late = [tell_recovery(ledger, havoc.blows, one) for one in calm if one.seconds > lease + 2]
        wrong = [*unfinished, *found.wrong, *http.wrong]
        if spanning := refused.get("CROSSSLOT", 0):
            wrong.append(f"{spanning} commands named keys of several slots")
        return Outcome(
            options=options,
            plan=plan,
            struck=havoc.struck,
            left_out=havoc.left_out,
            ended=havoc.ended,
            overdue=havoc.overdue,
            ledger=ledger,
            sides=found.sides,
            http=http,
            wrong=wrong,
            operations=found.operations,
            acknowledged=found.acknowledged,
            cuts=store.cuts,
            refused=refused,
            lost=[
                *(f"{one.session_id}: {line}" for one in driver.told.values() for line in one.lost),
                *found.lost,
            ],
            recoveries=recoveries,
            slow=late,
            seconds=loop.time() - began,
            logs=f"{fleet.logs()}\n{store.logs()}" if wrong else "",
        )
    finally:
        for act in undo:
            act()
        await front.aclose()
        await client.aclose()
        await control.aclose()
        for proxy in proxies.values():
            await proxy.aclose()


async def _play(havoc: Havoc, driver: Driver, front: Front, seconds: float, end_seconds: float) -> list[str]:
    """Let the monkey and the driver do their work; return what did not come to its end.

    `end_seconds` is the longest that sessions may take to it once everything is healed. What strikes has a time of its own:
    replacing every process takes as long as the machine needs to start as many.
    """
    loop = asyncio.get_running_loop()

    async def rage() -> None:
        await havoc.rage()
        bound.reschedule(loop.time() + end_seconds)

    try:
        async with asyncio.timeout(seconds + STRIKES_SECONDS) as bound, asyncio.TaskGroup() as group:
            raging = group.create_task(rage())
            group.create_task(_drive(driver, front, raging))
    except TimeoutError:
        if havoc.under_way:
            return [f"not over {STRIKES_SECONDS:.0f} s after the last fault: {', '.join(havoc.under_way)}"]
        left = [told.session_id for told in driver.told.values() if told.ended_at is None]
        lines = [f"{one}: not at its end {end_seconds:.0f} s after the last fault" for one in left]
        return [*lines, *front.unfinished()] or ["it hangs"]
    return []


async def _drive(driver: Driver, front: Front, raging: "asyncio.Task[None]") -> None:
    """Drive until all have ended and nothing can take an end back any more."""
    await asyncio.gather(driver.drive_all(), front.visit())
    await raging
    await driver.drive_all()
    await front.finish()


async def _wait_for_workers(client: Client, count: int, seconds: float = START_SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while sum(info.kind == "worker" for info in await client.workers()) < count:
            await pause(0.1)
