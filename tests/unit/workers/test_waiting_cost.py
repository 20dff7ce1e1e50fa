"""A session that waits costs nothing but its place in the store: no lane, task or connection, and no look at it."""

import asyncio

from orchestrator.store.fitness import parse_info
from orchestrator.store.store import Store
from tests.halting import Halting, halting

FEW, MANY = 10, 210


async def usage(on: Halting) -> dict[str, int]:
    """Return what the worker and the server hold now, and what one look of a scheduler at everything asks of the server."""
    store = on.on.store
    before = await commands(store)
    for number in range(store.keys.partitions):
        await on.on.due.tick(number, ["halting"], most=10, each=10)
    return {
        "slices": len(on.executor.slices),
        "tasks": len(asyncio.all_tasks()),
        "connections": int(parse_info(str(await store.command("INFO", "clients")))["connected_clients"]),
        "commands of a look": await commands(store) - before,
        "members of lines and leases": sum(
            [
                int(await store.command("ZCARD", store.keys.of_partition(name, number)))
                for name in ("leases", "sent", "due")
                for number in range(store.keys.partitions)
            ]
        ),
    }


async def commands(store: Store) -> int:
    """Return how many commands the server has processed."""
    return int(parse_info(str(await store.command("INFO", "stats")))["total_commands_processed"])


def test_two_hundred_waiting_sessions_cost_what_ten_do(store_url: str) -> None:
    """Invariant 5: they wait for a person, and neither the worker nor a scheduler's look knows how many they are."""

    async def run() -> None:
        async with halting(store_url) as on:
            told = []
            for count in (FEW, MANY - FEW):
                for _ in range(count):
                    session_id = await on.submit("ask")
                    assert (await on.run(session_id)).phase == "waiting"
                told.append(await usage(on))

            assert await on.on.client.views.count("halting", "waiting") == MANY
            assert told[0] == told[1]
            assert (told[0]["slices"], told[0]["members of lines and leases"]) == (0, 0)

    asyncio.run(run())
