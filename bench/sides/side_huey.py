"""Huey: its consumer with one thread, which is its default, in this process."""

import time

from huey import RedisHuey
from side_kept import Kept


class Side:
    """A task that does a step and sends the next."""

    def __init__(self, url: str, _folder: str) -> None:
        self._kept = kept = Kept(url)
        self._huey = RedisHuey("bench", url=url, results=False)

        @self._huey.task()
        def step(session: int, number: int, of: int) -> None:
            kept.step(session)
            if number < of:
                step(session, number + 1, of)
            else:
                kept.end()

        self._step = step

    def round(self, sessions: int, steps: int) -> tuple[float, float]:
        """Return when it began and ended."""
        self._kept.begin(sessions)
        for one in range(sessions):
            self._step(one, 1, steps)
        consumer = self._huey.create_consumer(workers=1, periodic=False)
        began = time.time()
        consumer.start()
        try:
            return began, self._kept.close(sessions, steps)
        finally:
            consumer.stop(graceful=True)
