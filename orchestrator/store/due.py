"""What must happen now: one partition's tick, and the acts that follow from it.

Every session that is not settled is in exactly one of four places: in line (`by`, ready or
finalizing), leased (`leases`), waiting with a time (`due`), or waiting for a post alone. The
first three are found by `tick`; the fourth needs nobody. A wake-up is only a hint: `sent`
remembers for some seconds that one is under way, then the session counts as unsent again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.contracts.errors import StoreError
from orchestrator.contracts.session import InLine
from orchestrator.store.codec import CANCEL_MARK, PLUGINS_MARK
from orchestrator.store.store import Store

#: The longest lease and the longest wake-up that settings allow: how long one is believed of whose settings nothing is known.
MOST_LEASE_SECONDS: Final = 3_600.0
MOST_RESEND_SECONDS: Final = 600.0
#: For how long a session is left alone at most.
MOST_LEFT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Tick:
    """One partition, now. `busy` counts by app what runs or has a wake-up under way, `sent` all wake-ups under way.

    `far` are leases that end later than anybody's who is known to work.
    `next_at` is when the next look is due: `now` while somebody works here, None where nothing will be due by itself.
    """

    partition: int
    now: int
    expired: tuple[str, ...]
    due: tuple[str, ...]
    in_line: tuple[InLine, ...]
    busy: dict[str, int]
    sent: int
    next_at: int | None
    far: tuple[str, ...] = ()


def read_in_line(member: str) -> InLine:
    """Read an index member (lib/index.lua).

    >>> read_in_line("a:ready:1:1700000000000:SES-20260101-001").rank
    1
    >>> read_in_line("a:ready:p1:1700000000000:SES-20260101-001").bucket
    'plugins'
    >>> read_in_line("a:ready:!1:1700000000000:SES-20260101-001").rank
    -1
    """
    app, bucket, rank, since, session_id = member.split(":", 4)
    if bucket == "ready" and rank.startswith(PLUGINS_MARK):
        bucket = "plugins"
    number = -1 if rank.startswith(CANCEL_MARK) else int(rank.removeprefix(PLUGINS_MARK))
    return InLine(session_id=session_id, app=app, bucket=bucket, rank=number, since_at=int(since))


class Due:
    """The scheduler's view of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def tick(
        self,
        partition: int,
        apps: Sequence[str],
        *,
        most: int,
        each: int,
        lease_seconds: float = MOST_LEASE_SECONDS,
        resend_seconds: float = MOST_RESEND_SECONDS,
    ) -> Tick:
        """Look at a partition; at most `each` candidates an app and bucket, `most` of the others.

        No wake-up counts as under way for longer than `resend_seconds` from now: what says so was set by a clock that has gone back
        since. A lease that ends later than in `lease_seconds` is told as `far`, for `rescue` to look at.
        """
        longest = (int(seconds * 1000) for seconds in (lease_seconds, resend_seconds, MOST_LEFT_SECONDS))
        reply = await self._store.act_on_partition("tick", partition, most, each, *longest, *apps)
        if reply[0] == "malformed":
            raise StoreError(
                f"store: a tick of partition {partition} was refused (malformed); this is a defect, report it"
            )
        now, expired, far, due, candidates, busy, sent, next_at = reply
        return Tick(
            partition=partition,
            now=int(now),
            expired=tuple(expired),
            due=tuple(due),
            in_line=tuple(read_in_line(member) for member in candidates),
            busy=dict(zip(apps, (int(count) for count in busy), strict=True)),
            sent=int(sent),
            next_at=None if int(next_at) < 0 else int(next_at),
            far=tuple(far),
        )

    async def rescue(self, session_id: str) -> bool:
        """Make an orphan ready; say whether it was one. A lease that lasts longer from now than it was given for is shortened to that."""
        reply = await self._store.act("rescue", session_id)
        return bool(reply[0] == "rescued")

    async def wake(self, session_id: str) -> bool:
        """Make a waiting session ready whose time has come; say whether it had."""
        reply = await self._store.act("wake", session_id)
        return bool(reply[0] == "woken")

    async def mark_sent(self, session_ids: Sequence[str], until_at: int) -> None:
        """Remember that wake-ups for these are under way until then."""
        by_key: dict[str, list[str | int]] = {}
        for session_id in session_ids:
            by_key.setdefault(self._store.keys.of_session("sent", session_id), []).extend((until_at, session_id))
        await asyncio.gather(*(self._store.command("ZADD", key, *members) for key, members in by_key.items()))

    async def leave(self, session_id: str, seconds: float) -> None:
        """Let nobody be woken for a session for so long: nobody who lives can work on it."""
        reply = await self._store.act("leave", session_id, int(seconds * 1000))
        if reply[0] == "malformed":
            raise StoreError(f"session {session_id}: it was not left alone (malformed); this is a defect, report it")

    async def unmark_sent(self, session_ids: Sequence[str]) -> None:
        """Forget it: the broker did not take them."""
        keys = self._store.keys
        await asyncio.gather(*(self._store.command("ZREM", keys.of_session("sent", one), one) for one in session_ids))
