"""Webhooks on their way: what happened, who is to be told, and what could not be told.

A session's act writes what happened into its partition's outbox, in the same script. A deliverer
turns each entry into one delivery an endpoint, under an id that is the same however often it
does so, and removes the entry then. A delivery is taken by one deliverer at a time (take_deliveries.lua). Everything
here may happen twice; a delivery's id tells the receiver.
"""

import asyncio
from dataclasses import dataclass

from pydantic import ValidationError

from orchestrator.contracts.errors import StoreError
from orchestrator.contracts.webhooks import Delivery
from orchestrator.store.codec import pairs
from orchestrator.store.keys import ENDPOINTS
from orchestrator.store.store import Store
from orchestrator.store.wire import ServerRefused

#: How much of a partition one look takes.
BATCH = 64
#: How many given-up deliveries a partition keeps.
UNDELIVERED = 1_000


@dataclass(frozen=True, slots=True)
class Happened:
    """One entry of an outbox: a session came to wait, ended, or died. `at` is the store's ms."""

    partition: int
    number: str
    session_id: str
    app: str
    phase: str
    seq: int
    at: int


class Outbox:
    """The outboxes and deliveries of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _key(self, name: str, partition: int) -> str:
        return self._store.keys.of_partition(name, partition)

    def _of(self, session_id: str) -> int:
        return self._store.keys.partition(session_id)

    async def open(self) -> None:
        """Make every partition's outbox: from now on what happens is written there."""

        async def make(partition: int) -> None:
            try:
                await self._store.command("XGROUP", "CREATE", self._key("outbox", partition), "hooks", "$", "MKSTREAM")
            except ServerRefused as error:
                if error.code != "BUSYGROUP":
                    raise

        await asyncio.gather(*(make(number) for number in range(self._store.keys.partitions)))

    async def read(self) -> list[Happened]:
        """Return what happened and was not yet turned into deliveries."""
        numbers = range(self._store.keys.partitions)
        pages = await asyncio.gather(
            *(
                self._store.command("XRANGE", self._key("outbox", number), "-", "+", "COUNT", BATCH)
                for number in numbers
            )
        )
        found = []
        for partition, page in enumerate(pages):
            for number, flat in page:
                one = pairs(flat)
                found.append(
                    Happened(
                        partition, str(number), one["sid"], one["app"], one["phase"], int(one["seq"]), int(one["at"])
                    )
                )
        return found

    async def forget(self, happened: Happened) -> None:
        """Remove an entry whose deliveries are all there."""
        await self._store.command("XDEL", self._key("outbox", happened.partition), happened.number)

    async def add(self, delivery: Delivery, due_at: int) -> None:
        """Put a delivery on its way; one that is there already stays as it is."""
        partition = self._of(delivery.session_id)
        await self._store.command(
            "HSETNX", self._key("deliveryinfo", partition), delivery.delivery_id, delivery.to_json()
        )
        await self._store.command("ZADD", self._key("deliveries", partition), "NX", due_at, delivery.delivery_id)

    async def take(self, lease_seconds: float) -> list[Delivery]:
        """Return deliveries whose time has come; nobody else gets them for `lease_seconds`."""
        lease = int(lease_seconds * 1000)
        numbers = range(self._store.keys.partitions)
        replies = await asyncio.gather(
            *(self._store.act_on_partition("take_deliveries", number, BATCH, lease) for number in numbers)
        )
        found = []
        for partition, reply in enumerate(replies):
            if reply[0] == "malformed":
                raise StoreError("store: taking deliveries was refused (malformed); this is a defect, report it")
            for delivery_id, body in pairs(reply[1]).items():
                try:
                    found.append(Delivery.from_json(body))
                except ValidationError:  # another version's: it would be taken again and again
                    await self._drop(partition, delivery_id)
        return found

    async def put_off(self, delivery: Delivery, due_at: int) -> None:
        """Keep a delivery for another try."""
        partition = self._of(delivery.session_id)
        await self._store.command(
            "HSET", self._key("deliveryinfo", partition), delivery.delivery_id, delivery.to_json()
        )
        await self._store.command("ZADD", self._key("deliveries", partition), due_at, delivery.delivery_id)

    async def done(self, delivery: Delivery) -> None:
        """Forget a delivery that arrived."""
        await self._drop(self._of(delivery.session_id), delivery.delivery_id)

    async def _drop(self, partition: int, delivery_id: str) -> None:
        await self._store.command("ZREM", self._key("deliveries", partition), delivery_id)
        await self._store.command("HDEL", self._key("deliveryinfo", partition), delivery_id)

    async def give_up(self, delivery: Delivery) -> None:
        """Keep a delivery that nobody will take for a person to look at, and try it no more."""
        partition = self._of(delivery.session_id)
        key = self._key("undelivered", partition)
        if int(await self._store.command("HLEN", key)) < UNDELIVERED:
            await self._store.command("HSET", key, delivery.delivery_id, delivery.to_json())
        await self.done(delivery)

    async def undelivered(self) -> list[Delivery]:
        """Return what was given up, newest first."""
        numbers = range(self._store.keys.partitions)
        pages = await asyncio.gather(
            *(self._store.command("HVALS", self._key("undelivered", number)) for number in numbers)
        )
        found = [Delivery.from_json(body) for page in pages for body in page]
        return sorted(found, key=lambda one: (one.at, one.delivery_id), reverse=True)

    async def replay(self, delivery: Delivery, due_at: int) -> None:
        """Send what was given up again."""
        await self.put_off(delivery.model_copy(update={"attempts": 0}), due_at)
        key = self._key("undelivered", self._of(delivery.session_id))
        await self._store.command("HDEL", key, delivery.delivery_id)

    async def pending(self) -> int:
        """Return how many deliveries are on their way."""
        numbers = range(self._store.keys.partitions)
        counts = await asyncio.gather(*(self._store.command("ZCARD", self._key("deliveries", n)) for n in numbers))
        return sum(int(count) for count in counts)

    # --- endpoints that were switched off

    async def disabled(self) -> dict[str, str]:
        """Return the endpoints that are switched off, each with the reason."""
        return pairs(await self._store.command("HGETALL", ENDPOINTS))

    async def disable(self, name: str, reason: str) -> None:
        """Switch an endpoint off until a person switches it on."""
        await self._store.command("HSET", ENDPOINTS, name, reason)

    async def enable(self, name: str) -> bool:
        """Switch an endpoint on; return False where it was not off."""
        return bool(await self._store.command("HDEL", ENDPOINTS, name))
