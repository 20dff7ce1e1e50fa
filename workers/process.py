"""One worker process: an event loop in its own thread, and what lives on it.

Celery's side (main process, pool threads) hands sessions over and asks to drain; everything that
touches a session happens on the loop. Made after a fork, never before: sockets and loops do not
survive one.
"""

import asyncio
import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from socket import gethostname
from uuid import uuid4

from orchestrator.contracts.errors import StoreError
from orchestrator.settings import Settings
from orchestrator.store.store import Store
from orchestrator.telemetry import name_process
from workers.admission import plan_pace
from workers.cancelling import CancelPush
from workers.composition import Urls, build_host, build_store
from workers.executor import Executor
from workers.heartbeat import Heartbeat
from workers.host import Host
from workers.lanes import Lanes
from workers.wakeups import Sender

log = logging.getLogger(__name__)

START_SECONDS = 60.0
#: How long a process that ends tries to say so.
LEAVE_SECONDS = 2.0

#: Objects made between two looks of the cycle collector, and looks between those at older generations.
GC_THRESHOLDS = (50_000, 20, 20)


def process_name() -> str:
    """Return a holder name that no other process has: host, pid, and a nonce against reused pids."""
    return f"{gethostname()}:{os.getpid()}:{uuid4().hex[:6]}"


class WorkerProcess:
    """Starts on construction; `drain` ends it.

    `end` is called once an operator's order to drain is carried out: it should end the process. Without
    it - in the child of a pool, which would only be replaced - the process stays, and takes nothing. `is_ending` is for the lanes.
    """

    def __init__(
        self,
        settings: Settings,
        urls: Urls,
        sender: Sender,
        queues: Sequence[str],
        *,
        end: Callable[[], None] | None = None,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name = process_name()
        name_process(self.name)
        self._settings = settings
        self._urls = urls
        self._sender = sender
        self._queues = tuple(queues)
        self._end = end
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._drained = threading.Event()
        self._closing = threading.Lock()
        self.ordered_out = threading.Event()
        self._ending = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        pace = plan_pace(lease_seconds=settings.lease.seconds, renew_seconds=settings.lease.renew_seconds)
        self.lanes = Lanes(settings.lanes.per_process, self._run_slice, pace=pace, is_ending=is_ending)
        self._executor: Executor | None = None
        self._stores: tuple[Store, ...] = ()
        self._thread = threading.Thread(target=self._run, name="baton-loop", daemon=True)
        self._thread.start()
        if not self._ready.wait(START_SECONDS) or self._failure is not None:
            raise RuntimeError(f"worker {self.name}: it did not start") from self._failure

    async def _run_slice(self, session_id: str) -> object:
        if self._executor is None:
            return None
        return await self._executor.run_slice(session_id)

    def hand_over(self, session_ids: Sequence[str]) -> int:
        """Put sessions into lanes; blocks while none is free, and for good once an operator has drained this worker.

        A drained worker still consumes from its queues: a pool that goes on returning at once would take wake-ups away
        from those who can use them. Blocked, it takes one for each of its threads, and the scheduler sends those again.
        """
        taken = self.lanes.hand_over(session_ids)
        if taken < len(session_ids) and self.ordered_out.is_set():
            self._ending.wait()
        return taken

    @property
    def failed(self) -> bool:
        """Whether its loop came to an end that nobody ordered."""
        return self._failure is not None

    def drain(self, grace_seconds: float | None = None) -> None:
        """Finish or hand back what runs, leave the fleet, stop the loop. Safe to call twice."""
        self._ending.set()
        self.lanes.draining = True
        loop = self._loop
        with self._closing:  # whoever comes second waits until the first has drained
            if loop is None or self._drained.is_set():
                return
            grace = self._settings.worker.grace_seconds if grace_seconds is None else grace_seconds
            asyncio.run_coroutine_threadsafe(self._drain(grace), loop)
            self._drained.wait(grace + 15)
            self._thread.join(timeout=5)
            self._sender.close()

    async def _drain(self, grace_seconds: float) -> None:
        """Drain; wait for a server that is away as long as there is something to hand back, and the grace lasts."""
        for store in self._stores:
            store.end_patience(grace_seconds)
        stopped = await self.lanes.drain(grace_seconds)
        for store in self._stores:
            store.end_patience(0)
        log.info("worker %s: drained, %d sessions handed back", self.name, stopped)
        self._stop.set()

    def _run(self) -> None:
        failure: BaseException | None = RuntimeError(f"worker {self.name}: its loop was ended from within")
        try:
            failure = asyncio.run(self._find_failure())
        finally:
            self._failure = failure
            was_ready = self._ready.is_set()
            self._ready.set()  # whoever waits for the start raises it
            if was_ready and failure is not None:
                # Without its loop this process would take wake-ups that nobody works on: better that it ends.
                log.critical("worker %s: its loop failed; ending", self.name, exc_info=failure)
                os.kill(os.getpid(), signal.SIGTERM)
            self._ending.set()
            self._drained.set()

    async def _find_failure(self) -> BaseException | None:
        """Do this process's work; return what ended it, None where it was told to."""
        (outcome,) = await asyncio.gather(self._main(), return_exceptions=True)
        return outcome

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        threads = self._settings.lanes.blocking_threads
        self._loop.set_default_executor(ThreadPoolExecutor(threads, thread_name_prefix="baton-blocking"))
        host = await build_host(
            self._settings,
            self.name,
            self._urls,
            self._sender.wake_later,
            takes_plugins=self._settings.queues.plugins in self._queues,
        )
        beats = build_store(self._settings, self._urls.store)
        self._executor = Executor(
            host,
            is_contended=self.lanes.is_contended,
            is_draining=lambda: self.lanes.draining,
            finalizes=self._settings.queues.finalize in self._queues,
            steps=not self._queues or self._settings.queues.steps in self._queues,
            tell_started=self.lanes.started,
        )
        self._stores = (host.store, beats)
        self.lanes.start(self._loop)
        heartbeat = Heartbeat(host, self._executor, self.lanes, queues=self._queues, store=beats)
        spare_the_collector()  # takes a while: a beat written before it might be over when the next is due
        await heartbeat.beat()
        self._ready.set()
        push = CancelPush(host.store.url, self._executor, heartbeat)
        tasks = [
            asyncio.create_task(heartbeat.renew_forever()),
            asyncio.create_task(push.listen_forever()),
            asyncio.create_task(heartbeat.beat_forever()),
            asyncio.create_task(self._obey(heartbeat)),
        ]
        stopping = asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()  # a heartbeat that ends is a defect: better no worker than one that loses its leases
        finally:
            for task in (*tasks, stopping):
                task.cancel()
            await asyncio.gather(*tasks, stopping, return_exceptions=True)
            await close_host(host)
            await beats.aclose()

    async def _obey(self, heartbeat: Heartbeat) -> None:
        """Drain when an operator orders it, then end the process, or stay and take nothing."""
        await heartbeat.drain_ordered.wait()
        self.lanes.draining = True  # first: whoever is told that we were ordered out may rely on it
        self.ordered_out.set()
        log.warning("worker %s: drain ordered; taking nothing new", self.name)
        await self.lanes.drain(self._settings.worker.grace_seconds)
        if self._end is not None:
            self._end()
        await asyncio.Event().wait()


def spare_the_collector() -> None:
    """Let the cycle collector leave alone what was imported, and look less often at what a step makes.

    A worker's modules are some 300,000 objects that never go; walking them again and again cost
    half of a step's time. What steps leave behind is freed by its reference count at once.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def close_host(host: Host) -> None:
    """Leave the fleet and close what was opened; where the server is away, the fleet forgets us by itself."""
    try:
        async with asyncio.timeout(LEAVE_SECONDS):
            await host.client.fleet.leave(host.name)
    except (StoreError, TimeoutError) as error:
        log.warning("worker %s: did not leave the fleet: %s", host.name, str(error) or "the server does not answer")
    if host.plugins is not None:
        await host.plugins.aclose()
    for app in host.apps.values():
        await app.models.aclose()
        await app.toolbox.aclose()
    await host.client.aclose()
