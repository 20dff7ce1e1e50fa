"""The Celery tasks. Each is a few lines: take the ids, hand them over, return."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence

from celery import Celery, signals
from celery.exceptions import WorkerShutdown
from celery.worker import state

from orchestrator.contracts.errors import BatonError
from orchestrator.contracts.ids import is_session_id
from orchestrator.settings import Settings
from workers.celery_app import FINALIZE, PLUGIN, STEP
from workers.composition import Urls
from workers.process import WorkerProcess
from workers.wakeups import CeleryWakeups, MakeWakeups, Sender

log = logging.getLogger(__name__)


class Worker:
    """The worker process behind the tasks: made once a process, after any fork."""

    def __init__(
        self,
        app: Celery,
        settings: Settings,
        urls: Urls,
        queues: Sequence[str],
        make_wakeups: MakeWakeups,
        *,
        forks: bool,
    ) -> None:
        self._app = app
        self._settings = settings
        self._urls = urls
        self._queues = tuple(queues)
        self._make_wakeups = make_wakeups
        self._forks = forks
        self._guard = threading.Lock()
        self._process: WorkerProcess | None = None
        self._pid = 0

    def process(self) -> WorkerProcess:
        """Return this process's worker, started when first asked for."""
        with self._guard:
            if self._process is None or self._pid != os.getpid():
                sender = Sender(self._make_wakeups(self._app, self._settings), self._settings)
                end = None if self._forks else end_process
                self._process = WorkerProcess(
                    self._settings, self._urls, sender, self._queues, end=end, is_ending=is_ending
                )
                self._pid = os.getpid()
            return self._process

    def hand_over(self, session_ids: object) -> None:
        """Hand a message's sessions to lanes; what is no session id is not ours and is dropped."""
        if not isinstance(session_ids, list):
            log.warning("a wake-up without a list of sessions was dropped")
            return
        known = [one for one in session_ids if isinstance(one, str) and is_session_id(one)]
        if len(known) != len(session_ids):
            log.warning("a wake-up named %d things that are no session ids", len(session_ids) - len(known))
        self.process().hand_over(known)

    def drain(self) -> None:
        """End this process's worker, if there is one."""
        if self._process is not None and self._pid == os.getpid():
            self._process.drain()

    @property
    def failed(self) -> bool:
        """Whether this process's worker came to its end by itself: whoever supervises it must not take it for drained."""
        return self._process is not None and self._process.failed


class Parting:
    """Tells the children of a pool that forks that their parent ends, by a pipe whose writing end the parent alone keeps.

    The parent waits for what its children do, and a child may wait for a lane, or for good once an operator has drained it.
    """

    def __init__(self) -> None:
        self._heard_at, self._told_by = os.pipe()
        self._told = False

    def tell(self, **_: object) -> None:
        """Say that the parent ends; in the parent, in a handler of signals too, and again."""
        if not self._told:
            self._told = True
            os.close(self._told_by)

    def let_go(self) -> None:
        """Leave the writing end to the parent; in a child, first of all."""
        if not self._told:  # it was forked behind the parent's word otherwise, and has that end no more
            os.close(self._told_by)

    def follow(self, drain: Callable[[], None]) -> None:
        """Drain once the parent ends; in a child."""

        def wait() -> None:
            os.read(self._heard_at, 1)
            drain()

        threading.Thread(target=wait, name="baton-parting", daemon=True).start()


def register_tasks(
    app: Celery,
    settings: Settings,
    urls: Urls,
    queues: Sequence[str],
    *,
    forks: bool,
    make_wakeups: MakeWakeups = CeleryWakeups,
) -> Worker:
    """Register the tasks, and the process's beginning and end with Celery's signals.

    With a pool that forks, each child has its own loop and the parent none.
    """
    worker = Worker(app, settings, urls, queues, make_wakeups, forks=forks)
    parting = Parting() if forks else None

    @app.task(name=STEP)
    def step(session_ids: list[str]) -> None:
        worker.hand_over(session_ids)

    @app.task(name=FINALIZE)
    def finalize(session_ids: list[str]) -> None:
        worker.hand_over(session_ids)

    @app.task(name=PLUGIN)
    def plugin(session_ids: list[str]) -> None:
        worker.hand_over(session_ids)

    def begin(**_: object) -> None:
        if parting is not None:
            parting.let_go()
        try:
            worker.process()
        except RuntimeError as error:
            # Celery only logs what a signal's receiver raises, and would go on with a worker that has no loop.
            cause = error.__cause__ or error
            log.critical("%s: %s", error, cause, exc_info=None if isinstance(cause, BatonError) else cause)
            if forks:
                os.kill(os.getppid(), signal.SIGTERM)  # another child would fail as this one did
            raise WorkerShutdown(1) from error
        if parting is not None:
            parting.follow(worker.drain)

    def end(**_: object) -> None:
        worker.drain()

    if parting is not None:
        signals.worker_shutting_down.connect(parting.tell, weak=False)
        signals.worker_process_init.connect(begin, weak=False)
        signals.worker_process_shutdown.connect(end, weak=False)
    else:
        signals.worker_ready.connect(begin, weak=False)
        # The drain begins with the signal, not after the pool has waited for tasks that wait for lanes.
        signals.worker_shutting_down.connect(begin_drain(worker), weak=False)
        signals.worker_shutdown.connect(end, weak=False)
    return worker


def end_process() -> None:
    """End this worker as its operator would, by SIGTERM: Celery then shuts down in its own order."""
    os.kill(os.getpid(), signal.SIGTERM)


def is_ending() -> bool:
    """Say whether Celery ends this process: at some signals (SIGHUP, SIGQUIT) it waits for its pool before it says so."""
    return any(code is not None and code is not False for code in (state.should_stop, state.should_terminate))


def begin_drain(worker: Worker) -> Callable[..., None]:
    """Return a handler that starts the drain without blocking Celery's signal handler."""

    def handler(**_: object) -> None:
        threading.Thread(target=worker.drain, name="baton-drain", daemon=True).start()

    return handler
