"""Where the store is, and a client for it: composition for the commands.

    store.url of the settings (BATON_REDIS_URL)  ->  the bundled server that runs on the state folder  ->  a refusal

A command never starts a server by itself; `up`, `demo` and `redis start` do.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import cache
from os import getpid
from pathlib import Path
from socket import gethostname
from typing import Final, TypeVar

import click

from orchestrator import embedded
from orchestrator.client import Client
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import StoreUnreachable
from orchestrator.embedded_folder import check_whole
from orchestrator.installed import load_installed_apps
from orchestrator.settings import Settings, find_secrets, load_settings
from orchestrator.tracing_setup import configure_tracing
from orchestrator.wiring import build_client

T = TypeVar("T")

#: A person who waits for a command gives up earlier than a worker in the middle of a step.
PATIENCE_SECONDS: Final = 2.0


def checkout() -> Path | None:
    """Return the checkout that this package lies in, None where it was installed as a wheel."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "pyproject.toml").is_file() and (root / "baton").is_file() else None


def state_dir() -> Path:
    """Return the state folder: --state-dir or BATON_STATE_DIR, else the default of this installation."""
    given: object = click.get_current_context().find_root().obj
    if isinstance(given, Path):
        return given.expanduser().resolve()
    return embedded.default_state_dir(checkout()).parent


def server_dir() -> Path:
    """Return the bundled server's part of the state folder."""
    return state_dir() / "server"


@cache
def settings() -> Settings:
    """Return the settings, read once."""
    return load_settings()


def find_store(*, is_restoring: bool = False) -> embedded.StoreAddress:
    """Return where the store and its broker are; raise StoreUnreachable where there is none.

    Raise ConfigError for one that a backup was being put back into, and its end is missing, unless that `is_restoring`.
    """
    configured = settings()
    broker = configured.queues.broker_url
    if configured.store.url:
        return embedded.StoreAddress(
            url=configured.store.url, broker_url=broker or embedded.broker_beside(configured.store.url)
        )
    if not is_restoring:
        check_whole(server_dir())
    found = embedded.status(server_dir())
    if found.server is not None:
        return embedded.StoreAddress(
            url=found.server.url, broker_url=broker or found.server.broker_url, server=found.server
        )
    if found.state == "silent":
        raise StoreUnreachable(f"store: the server on {server_dir()} does not answer; see its server.log there")
    raise StoreUnreachable(
        f"store: no server runs on {server_dir()}; start everything with `baton up`, or set BATON_REDIS_URL"
    )


def archive_url() -> str:
    """Return where ended sessions go: what the settings say, or a file beside the bundled server.

    With a server of one's own there is no such default: its machines would each have a file, and a part of the sessions.
    """
    configured = settings()
    if configured.archive.url or configured.store.url:
        return configured.archive.url
    return f"sqlite:///{state_dir() / 'archive.db'}"


def configure_process(process: str, *, loggers: Mapping[str, str] | None = None) -> None:
    """Log and trace as the settings say: what a command does first that goes on until it is ended."""
    from orchestrator.telemetry import configure_logging, name_process

    configured = settings()
    log = configured.logging
    configure_logging(
        level=log.level,
        style=log.format,
        loggers={**(loggers or {}), **log.loggers},
        secrets=find_secrets(configured),
    )
    name_process(f"{process}:{gethostname()}:{getpid()}")
    configure_tracing(configured.tracing, process=process)


def load_specs() -> dict[str, AppSpec]:
    """Return the installed apps, without importing the code of their tools."""
    with app_code_prints_elsewhere():
        return load_installed_apps(settings(), import_code=False)


@contextmanager
def app_code_prints_elsewhere() -> Iterator[None]:
    """Let what an app's code prints while it is imported go to standard error: standard output is the command's."""
    with redirect_stdout(sys.stderr):
        yield


def make_client(url: str, specs: Mapping[str, AppSpec]) -> Client:
    """Return a client that gives up soon; for use on one event loop."""
    patient = settings()
    seconds = min(patient.store.patience_seconds, PATIENCE_SECONDS)
    store = patient.store.model_copy(update={"patience_seconds": seconds})
    archive = patient.archive.model_copy(update={"url": archive_url()})
    return build_client(patient.model_copy(update={"store": store, "archive": archive}), url, specs)


def with_client(work: Callable[[Client], Awaitable[T]], *, needs_apps: bool = False, is_restoring: bool = False) -> T:
    """Run `work` with a client for the store; with `needs_apps`, one that knows the installed apps."""
    specs = load_specs() if needs_apps else {}
    url = find_store(is_restoring=is_restoring).url
    configure_tracing(settings().tracing, process="cli")

    async def run() -> T:
        client = make_client(url, specs)
        try:
            return await work(client)
        finally:
            await client.aclose()

    return asyncio.run(run())
