"""Wake-ups over Celery: the scheduler's port, and a worker's own sender.

Sending blocks, so a worker does it from one thread of its own, in batches; what cannot be sent
is dropped with a warning, because the scheduler sends it again when its mark has run out.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from celery import Celery
from kombu.exceptions import OperationalError

from orchestrator.contracts.ports import Wakeups
from orchestrator.settings import Settings
from workers.celery_app import FINALIZE, PLUGIN, STEP

log = logging.getLogger(__name__)

#: How long the sender gathers before it sends: sessions end their slices together, and a message costs as much for one
#: of them as for thirty.
GATHER_SECONDS = 0.003

#: Makes the sender of one process; whoever composes a process may give another than Celery's.
MakeWakeups: TypeAlias = Callable[[Celery, Settings], Wakeups]


class CeleryWakeups:
    """Implements contracts.ports.Wakeups."""

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._app = app
        queues = settings.queues
        self._tasks = {queues.steps: STEP, queues.finalize: FINALIZE, queues.plugins: PLUGIN}
        transport = app.connection_for_write().transport  # its own error classes, not all of which are OSErrors
        self._errors = (OperationalError, *transport.connection_errors, *transport.channel_errors)

    def send(self, queue: str, session_ids: Sequence[str]) -> None:
        """Send one message that names these sessions; raise OSError where the broker does not take it."""
        try:
            self._app.send_task(self._tasks[queue], args=[list(session_ids)], queue=queue, ignore_result=True)
        except self._errors as error:
            raise OSError(f"broker: {error}") from error

    def backlog(self, queue: str) -> int:
        """Return how many messages lie in the broker's list; raise OSError where the broker does not say."""
        with self._app.connection_or_acquire() as connection:
            try:
                return int(connection.default_channel.queue_declare(queue, passive=True).message_count)
            except (OperationalError, *connection.connection_errors) as error:  # not all of them are OSErrors
                raise OSError(f"broker: {error}; is it running?") from error
            except connection.channel_errors:
                return 0


class Sender:
    """Sends what this worker hands on, from a thread of its own."""

    def __init__(self, wakeups: Wakeups, settings: Settings) -> None:
        self._wakeups = wakeups
        self._queues = {
            "ready": settings.queues.steps,
            "plugins": settings.queues.plugins,
            "finalizing": settings.queues.finalize,
        }
        self._batch = settings.scheduler.batch
        self._waiting: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="baton-wakeups", daemon=True)
        self._thread.start()

    def wake_later(self, session_id: str, line: str) -> None:
        """Send a wake-up soon, for a session that is ready, ready for plugins, or finalizing; never blocks."""
        self._waiting.put((self._queues[line], session_id))

    def close(self) -> None:
        """Send what is left, then stop."""
        self._waiting.put(None)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            time.sleep(GATHER_SECONDS)
            batches: dict[str, list[str]] = {first[0]: [first[1]]}
            more = 1
            while more < self._batch and not self._waiting.empty():
                item = self._waiting.get()
                if item is None:
                    self._waiting.put(None)
                    break
                batches.setdefault(item[0], []).append(item[1])
                more += 1
            for target, session_ids in batches.items():
                try:
                    self._wakeups.send(target, session_ids)
                except OSError as error:
                    log.warning("wake-ups for %d sessions not sent (%s); the scheduler will", len(session_ids), error)
