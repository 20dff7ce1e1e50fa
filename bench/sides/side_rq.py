"""RQ: its worker as it comes, which forks for every job."""

import time

from rq import Queue, SimpleWorker, Worker
from side_kept import Kept

kept: Kept
queue: Queue


def step(session: int, number: int, of: int) -> None:
    """Do a step and send the next."""
    kept.step(session)
    if number < of:
        queue.enqueue(step, session, number + 1, of, result_ttl=0)
    else:
        kept.end()


class Side:
    """One worker; burst mode ends with the last job."""

    worker: type[Worker] = Worker

    def __init__(self, url: str, _folder: str) -> None:
        global kept, queue  # noqa: PLW0603 - a job finds its queue by its module
        kept = Kept(url)
        queue = Queue("bench", connection=kept.client)

    def round(self, sessions: int, steps: int) -> tuple[float, float]:
        """Return when it began and ended."""
        kept.begin(sessions)
        for one in range(sessions):
            queue.enqueue(step, one, 1, steps, result_ttl=0)
        began = time.time()
        self.worker([queue], connection=kept.client).work(burst=True, logging_level="ERROR")
        return began, kept.close(sessions, steps)


class SimpleSide(Side):
    """The same without a fork."""

    worker = SimpleWorker
