"""Dramatiq: its worker with eight threads, which is its default, in this process."""

import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from side_kept import Kept


class Side:
    """An actor that does a step and sends the next."""

    def __init__(self, url: str, _folder: str) -> None:
        self._kept = kept = Kept(url)
        self._broker = RedisBroker(url=url)
        dramatiq.set_broker(self._broker)

        @dramatiq.actor
        def step(session: int, number: int, of: int) -> None:
            kept.step(session)
            if number < of:
                step.send(session, number + 1, of)
            else:
                kept.end()

        self._step = step

    def round(self, sessions: int, steps: int) -> tuple[float, float]:
        """Return when it began and ended."""
        self._kept.begin(sessions)
        for one in range(sessions):
            self._step.send(one, 1, steps)
        worker = dramatiq.Worker(self._broker, worker_threads=8)
        began = time.time()
        worker.start()
        try:
            return began, self._kept.close(sessions, steps)
        finally:
            worker.stop()
