"""Lists that cost the same at a million sessions as at a thousand: pages of the index, and its tallies.

A page is the newest sessions before a place, over all partitions: each partition gives a few, the
newest of all are taken, and only a partition that may hide a newer one is asked again. A place is
(since, id) of the last row that was given: what moves meanwhile is newer, and stands on the first page.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, TypeAlias

from orchestrator.contracts.errors import StoreError
from orchestrator.store.codec import PLUGINS_MARK
from orchestrator.store.store import Store

#: What a partition tells: where a session stands in the order of the list, and its member of the index.
_Told: TypeAlias = tuple[int, str, str]

#: A time that no session comes to (the year 5138). Scripts read whole numbers of up to fourteen digits.
NEVER_MS: Final = 10**14

#: What a partition is asked for at once, beside its share of the page.
SPARE_ROWS = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list: an index member, read."""

    session_id: str
    app: str
    bucket: str
    since_at: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the index a page begins: before this time and id; times are the store's ms."""

    since_at: int
    session_id: str


@dataclass(frozen=True, slots=True)
class Group:
    """One group of the index, over all partitions; `oldest_at` is since when its oldest session stands there."""

    app: str
    bucket: str
    is_for_plugins: bool
    count: int
    oldest_at: int

    @property
    def queue(self) -> str | None:
        """The queue in whose line its sessions stand, None for those that stand in none."""
        if self.bucket == "ready":
            return "plugins" if self.is_for_plugins else "steps"
        return "finalize" if self.bucket == "finalizing" else None


class Listing:
    """The index `by`, read."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(
        self, *, app: str = "", bucket: str = "", before: Place | None = None, since_at: int | None = None, limit: int
    ) -> list[Row]:
        """Return the newest rows before a place, newest first; `bucket` is a phase, ended/STATUS, asks or asks/KIND."""
        if ":" in app + bucket:  # what parts the words of the index is in none of them
            return []
        if since_at is not None and since_at >= NEVER_MS:
            return []
        if before is not None and before.since_at >= NEVER_MS:
            before = None
        partitions = self._store.keys.partitions
        each = min(limit, SPARE_ROWS + 2 * -(-limit // partitions))
        places: dict[int, Place | None] = dict.fromkeys(range(partitions), before)
        found: list[_Told] = []
        while places:
            pages = await asyncio.gather(
                *(self._rows(number, app, bucket, place, since_at, each) for number, place in places.items())
            )
            ends: dict[int, _Told] = {}
            for number, page in zip(list(places), pages, strict=True):
                found += page
                if len(page) == each:
                    ends[number] = page[-1]
            found.sort(reverse=True)
            del found[limit:]
            last = found[-1] if len(found) == limit else None
            places = {number: Place(end[0], end[1]) for number, end in ends.items() if last is None or end > last}
            each = min(2 * each, limit)  # few are asked again, and each of them hides more than its share
        return [_read_row(member) for _, _, member in found]

    async def _rows(
        self, partition: int, app: str, bucket: str, before: Place | None, since_at: int | None, most: int
    ) -> list[_Told]:
        reply = await self._store.act_on_partition(
            "page",
            partition,
            app,
            bucket,
            "" if before is None else before.since_at,
            "" if before is None else before.session_id,
            "" if since_at is None else since_at,
            most,
        )
        if reply[0] != "page":
            raise StoreError("store: a page was refused (malformed); this is a defect, report it")
        return [_place_of(member) for member in reply[1]]

    async def tally(self) -> list[Group]:
        """Return every group that has a session, by app and bucket; ready sessions for plugins apart."""
        numbers = range(self._store.keys.partitions)
        replies = await asyncio.gather(*(self._store.act_on_partition("tally", number) for number in numbers))
        total: dict[tuple[str, str, bool], tuple[int, int]] = {}
        for _, flat in replies:
            for start in range(0, len(flat), 5):
                app, bucket, rank, count, oldest = flat[start : start + 5]
                key = (str(app), str(bucket), bucket == "ready" and str(rank).startswith(PLUGINS_MARK))
                before, since = total.get(key, (0, int(oldest)))
                total[key] = (before + int(count), min(since, int(oldest)))
        return [Group(*key, count, oldest) for key, (count, oldest) in sorted(total.items())]

    async def seqs(self, session_ids: list[str]) -> list[int]:
        """Return the number of each session's latest journal entry, 0 for one that is not there."""
        keys = self._store.keys
        found = await asyncio.gather(
            *(self._store.command("HGET", keys.of_session("record", one), "seq") for one in session_ids)
        )
        return [int(seq or 0) for seq in found]

    async def letters(self, session_ids: list[str]) -> list[str | None]:
        """Return the dead letter of each session as JSON, None for one that has none."""
        keys = self._store.keys
        return list(
            await asyncio.gather(
                *(self._store.command("HGET", keys.of_session("deadinfo", one), one) for one in session_ids)
            )
        )


def _place_of(member: str) -> _Told:
    _, _, _, since, session_id = member.split(":", 4)
    return int(since), session_id, member


def _read_row(member: str) -> Row:
    app, bucket, _, since, session_id = member.split(":", 4)
    return Row(session_id, app, bucket, int(since))
