"""One worker, scheduler or API process under chaos: as in production, but with wake-ups that get lost, doubled, late, reordered.

`python process.py '{"role": "worker", ...}'`. The wake-ups come in by the composition's own parameter; nothing else
differs from `baton worker`, `baton scheduler` and `baton api`, but that it can write its history, have a clock that jumps, and be
one of a newer Baton.
"""

import asyncio
import json
import logging
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.chaos import clock

if __name__ == "__main__" and json.loads(sys.argv[1]).get("clock"):
    # Before anything takes `time.time` for itself.
    clock.install(Path(json.loads(sys.argv[1])["clock"]))

from tests.chaos import newer

if __name__ == "__main__" and json.loads(sys.argv[1]).get("newer"):
    # Before anything takes the format's number for itself.
    newer.become()

from celery import Celery

from orchestrator.contracts.base import Frozen, JsonObject
from orchestrator.interfaces.cli.main import main as run_command
from orchestrator.settings import Settings
from tests.chaos import history
from workers.composition import Urls
from workers.main import run_scheduler, run_worker
from workers.wakeups import CeleryWakeups


class Order(Frozen):
    """What a process is to be."""

    role: str
    store: str
    broker: str
    settings: JsonObject
    pool: str = "threads"
    concurrency: int = 2
    plugins: bool = False
    seed: int = 0
    dropped: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    clock: str = ""
    history: str = ""
    newer: bool = False
    port: int = 0
    config: str = ""


#: How late a wake-up comes that is late: after many that were sent behind it, and after it was sent again.
LATE_SECONDS = (0.1, 2.0)
#: How often in a row one process loses the wake-ups of one session. Each loss costs a resend, and how long a session
#: takes to recover has a limit that a test can hold only if chance has one.
MOST_LOST_IN_A_ROW = 2


class ChaoticWakeups(CeleryWakeups):
    """Celery's wake-ups, of which some get lost, some come twice, and some late and in another order."""

    def __init__(self, app: Celery, settings: Settings, *, order: Order) -> None:
        super().__init__(app, settings)
        self._order = order
        self._random = random.Random(f"{order.seed}:{os.getpid()}")
        self._lost: Counter[str] = Counter()

    def send(self, queue: str, session_ids: Sequence[str]) -> None:
        """Send what is not lost, and some of it again."""
        kept = [one for one in session_ids if not self._loses(one)]
        twice = [one for one in kept if self._random.random() < self._order.doubled]
        late = [one for one in kept if self._random.random() < self._order.late]
        if late:
            self._random.shuffle(late)
            timer = threading.Timer(self._random.uniform(*LATE_SECONDS), self._send_late, (queue, late))
            timer.daemon = True
            timer.start()
        for part in ([one for one in kept if one not in late], twice):
            if part:
                super().send(queue, part)

    def _send_late(self, queue: str, session_ids: Sequence[str]) -> None:
        try:
            super().send(queue, session_ids)
        except OSError:  # the scheduler sends them again, as it does with any that are lost
            logging.getLogger(__name__).warning("late wake-ups were lost")

    def _loses(self, session_id: str) -> bool:
        if self._random.random() < self._order.dropped and self._lost[session_id] < MOST_LOST_IN_A_ROW:
            self._lost[session_id] += 1
            return True
        del self._lost[session_id]
        return False


def serve_api(order: Order, settings: Settings) -> int:
    """Be `baton api`, the command itself, whose settings are a file as an operator writes it.

    It shows what a newer Baton has written also while it is an older one, as those outside do: what counts is who takes steps.
    """
    folder = Path(order.config)
    folder.mkdir(parents=True, exist_ok=True)
    words = settings.model_dump(mode="json", exclude_defaults=True)
    words["store"] = {**words.get("store", {}), "url": order.store}
    words["queues"] = {**words.get("queues", {}), "broker_url": order.broker}
    (folder / "runtime.yaml").write_text(json.dumps(words), encoding="utf-8")  # JSON is YAML
    os.environ["BATON_CONFIG_DIR"] = str(folder)
    if not order.newer:
        newer.read_both()
    return run_command(["api", "--port", str(order.port), "--as", "driver"])


def main(order: Order) -> int:
    """Be the process until it is ended."""
    logging.basicConfig(level="WARNING", format="%(asctime)s %(process)d %(levelname)s %(name)s %(message)s")
    if order.history:
        history.install(Path(order.history))
    settings = Settings.model_validate(order.settings)
    if order.role == "api":
        return serve_api(order, settings)
    urls = Urls(order.store, order.broker)
    make_wakeups = partial(ChaoticWakeups, order=order)
    if order.role == "scheduler":
        asyncio.run(run_scheduler(settings, urls, make_wakeups=make_wakeups))
        return 0
    return run_worker(
        settings,
        urls,
        queues=[
            settings.queues.steps,
            settings.queues.finalize,
            *([settings.queues.plugins] if order.plugins else []),
        ],
        pool=order.pool,  # type: ignore[arg-type]
        concurrency=order.concurrency,
        make_wakeups=make_wakeups,
    )


if __name__ == "__main__":
    sys.exit(main(Order.model_validate(json.loads(sys.argv[1]))))
