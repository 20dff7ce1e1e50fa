"""The processes by themselves: `python -m workers worker|scheduler|stub-llm`.

The command line becomes one of these, or starts them; it knows no Celery. Settings come from where they always do;
where the store and the broker are must have been said by then (BATON_REDIS_URL, BATON_BROKER_URL).

With `--lifeline` the process drains and ends when its standard input closes: whoever started it holds the other end,
so that it cannot outlive them, however they end.
"""

import argparse
import asyncio
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from orchestrator.contracts.errors import BatonError, ConfigError, InputError, StoreUnreachable
from orchestrator.embedded import broker_beside
from orchestrator.settings import Settings, find_secrets, load_settings
from orchestrator.telemetry import configure_logging
from orchestrator.tracing_setup import configure_tracing

FAILED, USAGE, UNREACHABLE = 1, 2, 5
#: Beyond the grace of a drain, where nobody is left who could kill us.
LATE_SECONDS = 5.0
POOLS = ("threads", "prefork", "solo")


def main(args: Sequence[str] | None = None) -> int:
    """Run one process to its end; return its exit code."""
    options = _parser().parse_args(args)
    try:
        if options.process == "stub-llm":
            return _stub_llm(options)
        settings = load_settings()
        if options.lifeline:
            _watch_lifeline(settings.worker.grace_seconds + LATE_SECONDS)
        log = settings.logging
        configure_logging(level=log.level, style=log.format, loggers=log.loggers, secrets=find_secrets(settings))
        configure_tracing(settings.tracing, process=options.process)
        return _scheduler(settings) if options.process == "scheduler" else _worker(settings, options)
    except StoreUnreachable as error:
        return _refuse(error, UNREACHABLE)
    except BatonError as error:
        return _refuse(error, FAILED)
    except KeyboardInterrupt:
        return 130


# What one process needs is imported when it is asked for: the stub needs no Celery, and nobody needs it for --help.


def _scheduler(settings: Settings) -> int:
    from workers.composition import Urls
    from workers.main import run_scheduler

    asyncio.run(run_scheduler(settings, Urls(*_urls(settings))))
    return 0


def _worker(settings: Settings, options: argparse.Namespace) -> int:
    from celery.exceptions import SecurityWarning

    from workers.composition import Urls
    from workers.main import run_worker

    # It is about pickled messages, which are refused here, and would greet everybody who runs in a container.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    return run_worker(
        settings,
        Urls(*_urls(settings)),
        queues=[name for name in options.queues.split(",") if name],
        pool=options.pool,
        concurrency=options.concurrency,
    )


def _stub_llm(options: argparse.Namespace) -> int:
    from workers.stub_llm import serve

    key = os.environ.get(options.api_key_env) if options.api_key_env else None
    if options.api_key_env and not key:
        raise ConfigError(f"stub-llm: the variable {options.api_key_env} is not set; set it to the key to ask for")
    try:
        serve(
            options.host,
            options.port,
            replies=options.replies,
            api_key=key,
            allow_remote=options.allow_remote,
            ready=lambda url: print(f"stub-llm: {url} (OpenAI: {url}/v1, Anthropic: {url})", flush=True),  # noqa: T201
        )
    except InputError as error:  # the file that was named: usage
        return _refuse(error, USAGE)
    return 0


def _urls(settings: Settings) -> tuple[str, str]:
    """Return where the store and the broker are."""
    store = settings.store.url
    if not store:
        raise StoreUnreachable("store: no server is named; set BATON_REDIS_URL, or start this by `baton up`")
    return store, settings.queues.broker_url or broker_beside(store)


def _watch_lifeline(seconds: float) -> None:
    """End this process, as SIGTERM does, once standard input closes; after so many seconds, whatever it still does.

    The server may be gone by then as well, and nobody is left who would wait for a session.
    """

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(seconds)
        os._exit(FAILED)

    threading.Thread(target=wait, name="baton-lifeline", daemon=True).start()


def _refuse(error: BatonError, code: int) -> int:
    sys.stderr.write(f"baton: {error}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers", description=(__doc__ or "").splitlines()[0])
    processes = parser.add_subparsers(dest="process", required=True, metavar="PROCESS")
    worker = processes.add_parser("worker", help="a Celery worker that advances sessions")
    worker.add_argument("--queues", required=True, help="queues to take wake-ups from, separated by commas")
    worker.add_argument("--pool", choices=POOLS, default="threads")
    worker.add_argument("--concurrency", type=int, default=2)
    scheduler = processes.add_parser("scheduler", help="sends what is due, rescues what is orphaned")
    for process in (worker, scheduler):
        process.add_argument("--lifeline", action="store_true", help="end when standard input closes")
    stub = processes.add_parser("stub-llm", help="a local model server with faults on demand")
    stub.add_argument("--host", default="127.0.0.1")
    stub.add_argument("--port", type=int, default=8089)
    stub.add_argument("--replies", type=Path)
    stub.add_argument("--api-key-env")
    stub.add_argument("--allow-remote", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
