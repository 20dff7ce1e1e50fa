"""Settings in, store and client out: the small builders that the command line and the workers share.

What only a worker or a scheduler needs (Celery, providers, tool servers) is built by the workers' own composition.
"""

from collections.abc import Mapping

from orchestrator.archive import Archive
from orchestrator.client import Client
from orchestrator.contracts.app import AppSpec
from orchestrator.settings import Settings
from orchestrator.store.durability import Durability
from orchestrator.store.fitness import check_store
from orchestrator.store.readiness import wait_until_readable
from orchestrator.store.store import LEAST_HEADS, Limits, Store

#: Acts that a worker does again and again on a session: advance, commit, renew.
ACTS_AGAIN = 3


def build_store(settings: Settings, url: str) -> Store:
    """Return a store for one event loop."""
    limits, durability = settings.limits, settings.store.durability
    return Store(
        url,
        partitions=settings.store.partitions,
        patience_seconds=settings.store.patience_seconds,
        durability=None if durability == "server" else Durability(replicas=settings.store.replicas),
        heads=max(LEAST_HEADS, ACTS_AGAIN * settings.lanes.per_process),
        limits=Limits(
            state_bytes=limits.state_bytes,
            message_bytes=limits.message_bytes,
            entry_bytes=limits.entry_bytes,
            text_bytes=limits.text_bytes,
            mailbox_posts=limits.mailbox_posts,
            journal_entries=limits.journal_entries,
            context_messages=limits.context_messages,
            stream_pieces=limits.stream_pieces,
            stream_seconds=limits.stream_seconds,
        ),
    )


def build_client(settings: Settings, url: str, specs: Mapping[str, AppSpec]) -> Client:
    """Return a client for one event loop."""
    store = build_store(settings, url)
    return Client(
        store,
        specs,
        key_ttl_seconds=settings.submit.key_ttl_seconds,
        beat_seconds=settings.worker.heartbeat_seconds,
        four_eyes=settings.api.four_eyes,
        archive=Archive(store, settings.archive.url),
    )


async def wait_for_store(url: str) -> None:
    """Return once the store's server can be asked, or waiting for it would be no use; raise StoreUntrusted."""
    await wait_until_readable(url, "store")


async def check_server(client: Client) -> list[str]:
    """Return warnings about the store's server; raise StoreUnfit for one that would lose or evict data."""
    return await check_store(client.store)
