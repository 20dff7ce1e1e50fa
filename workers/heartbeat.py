"""The heartbeat of a worker process: renew every lease, bring back cancels, say that we live.

A lease that is lost stops its step at once - what it would write is refused anyway. A cancel
stops the step too, where it may (kernel/cancelling.py). What is renewed at once is one round trip, and is spread over the
period as the claims were: thousands of renewals in one turn of the loop would keep everybody else waiting. How late they
may be is what bounds the sessions that a process takes in (workers/admission.py). That a cancel is heard sooner than with
the next renewal is the work of workers/cancelling.py.
"""

import asyncio
import logging
import time

from orchestrator import __version__
from orchestrator.contracts.errors import LeaseLost, StoreError
from orchestrator.store.fleet import Fleet, WorkerInfo
from orchestrator.store.leases import Leases
from orchestrator.store.pauses import Pauses
from orchestrator.store.store import Store
from orchestrator.telemetry import about
from workers.executor import Executor
from workers.host import Host
from workers.lanes import Lanes
from workers.slices import Slice

log = logging.getLogger(__name__)

#: Looks at what is to be renewed, in one period.
LOOKS = 10


class Heartbeat:
    """Two periodic tasks on the worker's loop, over a connection of their own where `store` is one.

    On the steps' connection a renewal stands in line behind everything that thousands of sessions have just sent.
    """

    def __init__(
        self, host: Host, executor: Executor, lanes: Lanes, *, queues: tuple[str, ...], store: Store | None = None
    ) -> None:
        store, settings = store or host.store, host.settings
        self._host = host
        self._leases = Leases(store, lease_seconds=settings.lease.seconds, max_attempts=settings.lease.max_attempts)
        self._fleet = Fleet(store, beat_seconds=settings.worker.heartbeat_seconds)
        self._pauses = Pauses(store)
        self._executor = executor
        self._lanes = lanes
        self._queues = queues
        self._renewals: set[asyncio.Task[None]] = set()
        self._started_at = int(time.time() * 1000)
        self.drain_ordered = asyncio.Event()

    async def renew_forever(self) -> None:
        """Renew every lease in time, for as long as the process lives."""
        seconds = self._host.settings.lease.renew_seconds
        while True:
            await asyncio.sleep(seconds / LOOKS)
            now, behind = time.monotonic(), 0.0
            before = now - seconds * (LOOKS - 1) / LOOKS
            for mine in self._executor.slices.values():
                if mine.renewing:
                    behind = max(behind, now - mine.renewed)
                elif mine.renewed < before:
                    self._renew_soon(mine)
            self._lanes.behind_seconds = behind

    def _renew_soon(self, mine: Slice) -> None:
        """Renew a lease, and do not wait for the answer: it must not make the next ones late."""
        mine.renewing = True
        renewal = asyncio.create_task(self.renew(mine))
        self._renewals.add(renewal)
        renewal.add_done_callback(self._renewals.discard)

    async def renew_all(self) -> None:
        """Renew every lease now."""
        await asyncio.gather(*(self.renew(mine) for mine in tuple(self._executor.slices.values())))

    async def renew(self, mine: Slice) -> None:
        """Renew one lease now, and let its slice hear of a cancel."""
        mine.renewed = time.monotonic()
        try:
            with about(session_id=mine.session_id):
                await self._renew_lease(mine)
        finally:
            mine.renewing = False

    async def _renew_lease(self, mine: Slice) -> None:
        asked = time.monotonic()
        try:
            cancel = await self._leases.renew(mine.session_id, mine.fence)
        except LeaseLost as error:
            if self._executor.slices.get(mine.session_id) is mine and not mine.leaving:  # it may have ended by itself
                log.warning("%s", error)
                mine.lost = True
                self._host.contexts.forget(mine.session_id)
                mine.stop_step()
        except StoreError as error:
            log.warning("session %s: lease not renewed: %s", mine.session_id, error)
        else:
            mine.kept = max(mine.kept, asked)
            if cancel is not None:
                mine.hear(cancel)

    async def beat_forever(self) -> None:
        """Tell the fleet of us, and read orders."""
        while True:
            try:
                order, self._host.paused = await asyncio.gather(self.beat(), self._pauses.targets())
            except StoreError as error:
                log.warning("worker %s: not heard by the store: %s", self._host.name, error)
            else:
                if order == "drain":
                    self.drain_ordered.set()
            await asyncio.sleep(self._host.settings.worker.heartbeat_seconds)

    async def beat(self) -> str | None:
        """Tell the fleet of us once; return an operator's order, if there is one."""
        return await self._fleet.beat(self.describe())

    def describe(self) -> WorkerInfo:
        """Return what this process says of itself."""
        from socket import gethostname

        import psutil

        process, plugins = psutil.Process(), self._host.plugins
        return WorkerInfo(
            name=self._host.name,
            host=gethostname(),
            pid=process.pid,
            started_at=self._started_at,
            queues=self._queues,
            slots=0 if self._lanes.draining else self._lanes.count,
            running=self._lanes.held,
            draining=self._lanes.draining,
            digests={app: runtime.digest for app, runtime in self._host.apps.items()},
            rss_bytes=process.memory_info().rss,
            loop_lag_ms=round(self._lanes.take_worst_lag_ms(), 1),
            steps=self._executor.steps,
            plugin_slots=0 if plugins is None or self._lanes.draining else plugins.slots,
            plugins_running=0 if plugins is None else plugins.sessions,
            version=__version__,
            format=self._host.store.format,
            tier="" if plugins is None else plugins.tier,
            lease_seconds=self._host.settings.lease.seconds,
        )
