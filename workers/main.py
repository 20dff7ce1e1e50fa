"""The processes' entry points: a worker (Celery, in one of three pools) and a scheduler.

`baton worker` and `baton scheduler` call these. The worker is Celery's own, started with the
arguments that a wake-up needs and without the working directory on the import path.
"""

import asyncio
import logging
import signal
from collections.abc import Sequence
from typing import Literal

from celery import signals

from orchestrator.archiver import Archiver
from orchestrator.client import Client
from orchestrator.installed import load_installed_apps
from orchestrator.settings import Settings
from orchestrator.store.readiness import store_url_of, wait_until_writable
from orchestrator.telemetry import name_process
from workers.celery_app import make_celery
from workers.composition import Urls, build_scheduler
from workers.process import process_name
from workers.tasks import register_tasks
from workers.tools.toolbox import preload
from workers.wakeups import CeleryWakeups, MakeWakeups

log = logging.getLogger(__name__)


def run_worker(
    settings: Settings,
    urls: Urls,
    *,
    queues: Sequence[str],
    pool: Literal["threads", "prefork", "solo"],
    concurrency: int,
    make_wakeups: MakeWakeups = CeleryWakeups,
) -> int:
    """Run a worker until SIGTERM; return its exit code."""
    load_installed_apps(settings)  # an app that does not validate does not boot, and says so before anything runs
    asyncio.run(wait_for_servers(urls))
    if pool == "prefork":
        preload()  # the children share what their parent has imported
    app = make_celery(settings, urls.broker)
    ours = register_tasks(app, settings, urls, queues, forks=pool == "prefork", make_wakeups=make_wakeups)
    worker = app.Worker(
        hostname=f"baton@{process_name()}",
        pool=pool,
        concurrency=concurrency,
        queues=list(queues),
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signals.worker_ready.connect(_ignore_hangup, weak=False)
        signals.worker_process_init.connect(_ignore_hangup, weak=False)
    worker.start()
    return int(worker.exitcode or ours.failed)


def _ignore_hangup(**_: object) -> None:
    """Go on ignoring the end of the terminal, as whoever started us (`nohup`) wants: Celery has put its own handler in its place."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


async def run_scheduler(settings: Settings, urls: Urls, *, make_wakeups: MakeWakeups = CeleryWakeups) -> None:
    """Run a scheduler until SIGTERM or SIGINT."""
    name = process_name()
    name_process(name)
    await wait_for_servers(urls)
    scheduler = await build_scheduler(settings, name, urls, make_wakeups=make_wakeups)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, scheduler.stop)
    archiving = asyncio.create_task(keep_archive(settings, name, scheduler.client))
    try:
        await scheduler.run()
    finally:
        archiving.cancel()
        await asyncio.gather(archiving, return_exceptions=True)


async def wait_for_servers(urls: Urls) -> None:
    """Return once store and broker take writes; one that is away is not waited for here."""
    await wait_until_writable(urls.store, "store")
    broker = store_url_of(urls.broker)
    if broker is not None:
        await wait_until_writable(broker, "broker")


async def keep_archive(settings: Settings, name: str, client: Client) -> None:
    """Move ended sessions into the archive for as long as this process lives; done at once where there is none."""
    archive = client.archive
    if archive is None or not archive.url or not settings.archive.enabled:
        return
    await Archiver(client.store, archive, settings.archive).run_forever(name, client.fleet)
