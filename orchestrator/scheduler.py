"""The scheduler: send what is due, rescue what is orphaned. Any number of them may run.

One round: look at every partition that we lead; make orphans and due waits ready; then, over all
partitions at once, choose who is woken (kernel/dispatching.py) and send wake-ups, at most as many
as leave the broker with twice the workers' slots. What does not fit stays in line in the store,
where priority and fairness are decided again at the next round, with what came meanwhile.

Partitions are led by leases, spread over the schedulers that live. Two leaders of one partition
would only send wake-ups twice; a session is still claimed once. An app with `max_running` is led
as a whole, by one scheduler for all partitions: a limit that each counts for itself is no limit.

This module knows no broker: `wakeups` sends. The bell (a submission, a post) names a session, which need not wait for the
next round: only its partition is looked at, as long as nobody else stands in line whose turn it might be. Where nobody works
and nothing is due, rounds are rare: whatever changes that rings.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from orchestrator.client import Client
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import StoreError, StoreUnreachable
from orchestrator.contracts.ports import Wakeups
from orchestrator.contracts.session import InLine
from orchestrator.kernel.dispatching import is_paused, plan_dispatch
from orchestrator.schedules import Schedules
from orchestrator.settings import Settings
from orchestrator.store.cluster import open_wire
from orchestrator.store.due import MOST_LEASE_SECONDS, Due, Tick
from orchestrator.store.fleet import WorkerInfo
from orchestrator.store.keys import BELL
from orchestrator.store.pauses import Pauses
from orchestrator.store.store import Store
from orchestrator.store.unreadable import bury_unreadable
from orchestrator.store.wire import ServerRefused
from orchestrator.watches import Watches

log = logging.getLogger(__name__)

#: How long at least from the end of one round to the beginning of the next: the first bell is answered at once, and what a
#: burst of submissions rings after it becomes one round.
BELL_SECONDS = 0.003

#: How often the fleet and the leads are looked at.
LOOK_SECONDS = 1.0

#: How long a scheduler that is told to end waits for a server that is away: it has nothing to hand back but its leads.
ENDING_SECONDS = 2.0

#: A store without workers still gets this many wake-ups, for the one that comes.
LEAST_SLOTS = 8


@dataclass(slots=True)
class Round:
    """What one round did; for logs, metrics and tests."""

    partitions: int = 0
    rescued: int = 0
    woken: int = 0
    sent: list[str] = field(default_factory=list)
    in_line: int = 0


class Scheduler:
    """One scheduler process's work, on one event loop."""

    def __init__(
        self,
        name: str,
        store: Store,
        client: Client,
        wakeups: Wakeups,
        settings: Settings,
        specs: Mapping[str, AppSpec],
    ) -> None:
        self._name = name
        self._store = store
        self._client = client
        self._due = Due(store)
        self._wakeups = wakeups
        self._settings = settings
        self._limits = {app: spec.max_running for app, spec in specs.items() if spec.max_running is not None}
        self._led: list[int] = []
        self._led_apps: list[str] = []
        self._slots = LEAST_SLOTS
        self._workers = 1
        self._plugin_room = 0
        self._longest_lease = MOST_LEASE_SECONDS
        self._looked_at = 0.0
        self._rung = asyncio.Event()
        self._named: set[str] = set()
        self._round_due_at = 0.0
        self._round_ended_at = 0.0
        self._is_line_empty = False
        self._sent: dict[int, int] = {}
        self._stopping = asyncio.Event()
        self._started_at = int(time.time() * 1000)
        self.rounds = 0
        self._watches = Watches(store, client, specs)
        self._schedules = Schedules(store, client, specs)
        self._pauses = Pauses(store)
        self._paused: frozenset[str] = frozenset()

    @property
    def client(self) -> Client:
        """The client that it stands on, for what runs beside it."""
        return self._client

    async def run(self) -> None:
        """Go round until `stop`; give up the leads then."""
        bell = asyncio.create_task(self._listen())
        try:
            while not self._stopping.is_set():
                named, self._named = self._named, set()
                try:
                    await (self.round_of(named) if self._will_do(named) else self.round())
                except StoreError as error:  # away, or in trouble: what is due stays due
                    log.warning("scheduler: %s", error)
                    self._round_due_at = time.monotonic() + self._settings.scheduler.tick_seconds
                self._round_ended_at = time.monotonic()
                await self._pause()
        finally:
            bell.cancel()
            await asyncio.gather(bell, return_exceptions=True)
            await self._leave()

    async def _leave(self) -> None:
        """Give up our leads; where the server is away, they run out by themselves, and nobody waits for it."""
        fleet = self._client.fleet
        try:
            async with asyncio.timeout(ENDING_SECONDS):
                await fleet.yield_lead(self._name, [*self._led, *self._led_apps])
                await fleet.leave(self._name)
        except (StoreError, TimeoutError) as error:
            log.warning("scheduler: its leads run out by themselves: %s", str(error) or "the server does not answer")

    def stop(self) -> None:
        """End `run` after its round; a round that waits for a server that is away ends soon."""
        self._stopping.set()
        self._rung.set()
        self._store.end_patience(ENDING_SECONDS)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._round_due_at - time.monotonic()):
                await self._rung.wait()
            await asyncio.sleep(self._round_ended_at + BELL_SECONDS - time.monotonic())
        except TimeoutError:
            return
        finally:
            if not self._stopping.is_set():
                self._rung.clear()

    async def _listen(self) -> None:
        """Ring on every submission and post; a lost connection only means slower rounds."""
        wire = open_wire(self._store.url)  # once: a file of TLS that is gone is refused at the start alone
        while True:
            try:
                await wire.subscribe(BELL, self._ring)
                self._ring("")  # what rang while nobody listened
                await wire.wait_lost()
            except (StoreUnreachable, ServerRefused) as error:  # one that has just started refuses for a while
                log.debug("scheduler: no bell: %s", error)
            finally:
                await wire.aclose()
            await asyncio.sleep(LOOK_SECONDS)

    def _ring(self, session_id: str) -> None:
        self._named.add(session_id)
        self._rung.set()

    def _will_do(self, named: set[str]) -> bool:
        """Say whether a look at these sessions' partitions will do.

        Not where somebody stands in line already, or an app has a limit: then all that are in line must be compared.
        """
        is_known = bool(named) and "" not in named
        return is_known and self._is_line_empty and not self._limits and time.monotonic() < self._round_due_at

    async def round_of(self, named: Collection[str]) -> Round:
        """Send wake-ups for what is in line in the partitions of these sessions; the next round is not put off by it."""
        numbers = {self._store.keys.partition(session_id) for session_id in named} & set(self._led)
        done = Round(partitions=len(numbers))
        if numbers:
            apps = await self._client.views.apps()
            ticks, lying = await asyncio.gather(self._tick_all(apps, sorted(numbers)), self._count_lying())
            await self._dispatch_from(ticks, done, lying)
            self._is_line_empty = done.in_line == len(done.sent)
            self._round_due_at = min(self._round_due_at, time.monotonic() + self._settings.scheduler.tick_seconds)
        return done

    async def round(self) -> Round:
        """Do one round."""
        if time.monotonic() - self._looked_at >= LOOK_SECONDS or not self._led:
            await self._look()
        self.rounds += 1
        done = Round(partitions=len(self._led))
        if not self._led and not self._led_apps:
            self._round_due_at = time.monotonic() + self._settings.scheduler.idle_tick_seconds
            return done
        apps = await self._client.views.apps()
        ticks = await self._tick_all(apps)
        expired = [session_id for tick in ticks for session_id in tick.expired]
        due = [session_id for tick in ticks for session_id in tick.due]
        # Set by a clock that has gone back since, or by a worker of longer leases that is not in the register just now.
        await asyncio.gather(*(self._do(self._due.rescue, session_id) for tick in ticks for session_id in tick.far))
        if expired or due:
            done.rescued = sum(await asyncio.gather(*(self._do(self._due.rescue, one) for one in expired)))
            done.woken = sum(await asyncio.gather(*(self._do(self._due.wake, one) for one in due)))
            if expired:
                log.warning("scheduler: rescued %d orphans of %d expired leases", done.rescued, len(expired))
            ticks = await self._tick_all(apps)
        is_anybody = any(tick.in_line for tick in ticks)
        await self._dispatch_from(ticks, done, await self._count_lying() if is_anybody else 0)
        self._is_line_empty = done.in_line == len(done.sent)
        pace = self._settings.scheduler
        rest = pace.tick_seconds
        if not done.in_line:
            rest = plan_rest(ticks, least=pace.tick_seconds, most=pace.idle_tick_seconds)
        self._round_due_at = time.monotonic() + rest
        return done

    async def _do(self, act: Callable[[str], Awaitable[bool]], session_id: str) -> bool:
        """Do an act on one session; one that cannot be read must not stop the others."""
        try:
            return await act(session_id)
        except ServerRefused as error:
            if not await bury_unreadable(self._store, session_id, str(error)):
                raise
            return False

    async def _tick_all(self, apps: Sequence[str], few: Sequence[int] | None = None) -> list[Tick]:
        """Look at our partitions, or a few of them, and for the apps that we lead as a whole at those of others too."""
        batch, led = self._settings.scheduler.tick_batch, set(self._led)
        ours = [app for app in self._led_apps if app in apps]
        free = [app for app in apps if app not in self._limits]
        numbers = few if few is not None else range(self._store.keys.partitions) if ours else self._led
        ticks = await asyncio.gather(
            *(
                self._due.tick(
                    number,
                    [*free, *ours] if number in led else ours,
                    most=batch * (number in led),
                    each=batch,
                    lease_seconds=self._longest_lease,
                    resend_seconds=self._settings.scheduler.resend_seconds,
                )
                for number in numbers
            )
        )
        sent = {tick.partition: tick.sent for tick in ticks}
        self._sent = sent if few is None else {**self._sent, **sent}
        return ticks

    async def _count_lying(self) -> int | None:
        """Return how many messages lie in the broker for those who take steps; None where it does not say."""
        loop, queues = asyncio.get_running_loop(), self._settings.queues
        try:
            lying = [
                await loop.run_in_executor(None, self._wakeups.backlog, queue)
                for queue in (queues.steps, queues.finalize)
            ]
        except OSError as error:
            log.warning("scheduler: what is due stays in line (%s)", error)
            return None
        return sum(lying)

    async def _dispatch_from(self, ticks: Sequence[Tick], done: Round, lying: int | None) -> None:
        in_line = [one for tick in ticks for one in tick.in_line if not is_paused(self._paused, one.app, one.bucket)]
        done.in_line = len(in_line)
        if in_line and lying is not None:
            done.sent = await self._dispatch(in_line, ticks, lying)
            for session_id in done.sent:  # a look that follows may be at other partitions
                self._sent[self._store.keys.partition(session_id)] += 1

    async def _dispatch(self, in_line: Sequence[InLine], ticks: Sequence[Tick], lying: int) -> list[str]:
        scheduler, queues = self._settings.scheduler, self._settings.queues
        # What is under way, and what lies in the broker: the second also counts wake-ups that nobody
        # took before their mark ran out, so that a fleet that is down does not fill the broker.
        room = 2 * self._slots - max(sum(self._sent.values()), lying)
        chosen, busy = [], _sum_busy(ticks)
        if room > 0:
            chosen = plan_dispatch(in_line, room=room, busy=busy, limits=self._limits)
        # Few run at once where plugins run: what does not fit there stays in the store, and not in some worker's lane.
        if self._plugin_room > 0:
            for one in chosen:
                busy[one.app] = busy.get(one.app, 0) + (one.bucket == "ready")
            room = self._plugin_room
            chosen += plan_dispatch(in_line, room=room, busy=busy, limits=self._limits, bucket="plugins")
        lines = ((queues.finalize, "finalizing"), (queues.plugins, "plugins"), (queues.steps, "ready"))
        until = ticks[0].now + int(scheduler.resend_seconds * 1000)
        for queue, bucket in lines:
            session_ids = [one.session_id for one in chosen if one.bucket == bucket]
            if session_ids:
                await self._send(queue, session_ids, until)
            if bucket == "plugins":
                self._plugin_room -= len(session_ids)
        return [one.session_id for one in chosen]

    async def _send(self, queue: str, session_ids: Sequence[str], until: int) -> None:
        """Mark, then send: a crash in between delays a wake-up, and never doubles the load."""
        batch = share(len(session_ids), self._workers, most=self._settings.scheduler.batch)
        await self._due.mark_sent(session_ids, until)
        loop = asyncio.get_running_loop()
        for start in range(0, len(session_ids), batch):
            part = session_ids[start : start + batch]
            try:
                await loop.run_in_executor(None, self._wakeups.send, queue, part)
            except OSError as error:
                log.warning("scheduler: the broker did not take %d wake-ups (%s); again soon", len(part), error)
                await self._due.unmark_sent(part)

    async def _look(self) -> None:
        """Tell the fleet of us, count the slots, take our share of the partitions and of the apps with a limit."""
        self._looked_at = time.monotonic()
        fleet = self._client.fleet
        await fleet.beat(WorkerInfo(name=self._name, kind="scheduler", started_at=self._started_at))
        members = await fleet.members()
        workers = [info for info in members if info.kind == "worker"]
        self._slots = max(sum(info.slots for info in workers), LEAST_SLOTS)
        self._workers = len(workers)
        self._longest_lease = longest_lease(members, self._settings.lease.seconds)
        # Renewed once a look, from what the workers say of themselves: a bound on what waits in lanes, not a promise.
        self._plugin_room = sum(max(2 * info.plugin_slots - info.plugins_running, 0) for info in workers)
        schedulers = sorted(info.name for info in members if info.kind == "scheduler") or [self._name]
        every = range(self._store.keys.partitions)
        wanted = [number for number in every if _owner(number, schedulers) == self._name]
        apps = [app for app in self._limits if _owner(app, schedulers) == self._name]
        await fleet.yield_lead(self._name, [number for number in self._led if number not in wanted])
        await fleet.yield_lead(self._name, [app for app in self._led_apps if app not in apps])
        self._led = await fleet.lead(self._name, wanted, self._settings.scheduler.leader_seconds)
        self._led_apps = await fleet.lead(self._name, apps, self._settings.scheduler.leader_seconds)
        self._paused = await self._pauses.targets()
        await self._watches.look()
        await self._schedules.look()


def share(sessions: int, workers: int, *, most: int) -> int:
    """Return how many sessions go into one message, so that each worker can take as many messages as any other.

    >>> share(200, 2, most=32), share(3, 8, most=32)
    (25, 1)
    """
    workers = max(workers, 1)
    rounds = -(-sessions // (workers * most))
    return -(-sessions // (workers * rounds))


def plan_rest(ticks: Sequence[Tick], *, least: float, most: float) -> float:
    """Return for how many seconds nobody needs another round, unless somebody rings: until the first wait is over.

    >>> def tick(next_at: int | None) -> Tick:
    ...     return Tick(0, 1_000, (), (), (), {}, 0, next_at)
    >>> plan_rest([tick(None), tick(1_700)], least=0.2, most=1.0), plan_rest([tick(None)], least=0.2, most=1.0)
    (0.7, 1.0)
    >>> plan_rest([tick(9_999), tick(1_000)], least=0.2, most=1.0)  # in the second one somebody works
    0.2
    """
    seconds = [(tick.next_at - tick.now) / 1000 for tick in ticks if tick.next_at is not None]
    return max(least, min([most, *seconds]))


def longest_lease(members: Sequence[WorkerInfo], own: float) -> float:
    """Return how many seconds the longest lease of these lasts, and of a process with `own` settings.

    >>> longest_lease([WorkerInfo(name="w", lease_seconds=60), WorkerInfo(name="s", kind="scheduler")], 15.0)
    60.0
    >>> longest_lease([WorkerInfo(name="of an older Baton")], 15.0)  # it does not say: what settings allow
    3600.0
    """
    told = [info.lease_seconds or MOST_LEASE_SECONDS for info in members if info.kind != "scheduler"]
    return max([own, *told])


def _owner(part: int | str, schedulers: Sequence[str]) -> str:
    """Return who should lead a partition or an app: the highest random weight, so that few move when one comes or goes."""
    return max(schedulers, key=lambda name: crc32(f"{part}:{name}".encode()))


def _sum_busy(ticks: Sequence[Tick]) -> dict[str, int]:
    """Count each app's busy sessions over the partitions that were looked at."""
    busy: dict[str, int] = {}
    for tick in ticks:
        for app, count in tick.busy.items():
            busy[app] = busy.get(app, 0) + count
    return busy
