"""Find sessions by words, whatever their case, in what they were asked and in what they hold.

The store has no index of words: of its sessions the newest are looked at, up to LOOKED, and the answer says where to go on;
the archive is asked for its newest at every page. All words must be there, in the id, app, status, actor, parent, text, result fields or state.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.contracts.errors import InputError, SessionNotFound, Unreadable
from orchestrator.contracts.phases import PHASES
from orchestrator.contracts.session import Record
from orchestrator.store.listing import Listing, Place, Row

if TYPE_CHECKING:
    from orchestrator.client import Client

#: Sessions in the store that one search looks at, at most: so many, however many there are.
LOOKED: Final = 5_000
#: How many places are read at once, and of them how many sessions.
_STEP: Final = 1_000
_AT_ONCE: Final = 250
MOST_WORDS: Final = 10
#: Of one word: databases take no pattern of any length.
MOST_CHARS: Final = 1_000
#: The fields of a record that are looked at, as they are stored: only what holds the words is read as a session.
_LOOKED_AT: Final = ("app", "status", "actor", "parent", "text", "fields", "state")


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of `list`: the session in outline (Views.outline), and where it is."""

    row: Row
    record: Record


@dataclass(frozen=True, slots=True)
class Unread:
    """A session that stands in the index and that this Baton cannot read: where it is, and why not.

    In an upgrade it is one of a newer format; otherwise it is damaged, and a dead letter at its next wake-up.
    """

    row: Row
    why: str

    @property
    def phase(self) -> str:
        """The phase that the index tells; what asks a person waits."""
        word = self.row.bucket.partition("/")[0]
        return word if word in PHASES else "waiting"


@dataclass(frozen=True, slots=True)
class Found:
    """What a list or a search found, newest first; `unread` is what belongs among it and cannot be shown.

    `after` is where there is more, or where the store has sessions that were not looked at; None where a search has seen all and
    for a list.
    """

    listed: tuple[Listed, ...]
    after: Place | None = None
    unread: tuple[Unread, ...] = ()


async def search_sessions(
    client: "Client", words: Sequence[str], *, app: str | None, before: Place | None = None, limit: int
) -> Found:
    """Return the newest sessions that hold all the words; raise InputError for no word, too many, or one that is too long.

    With `before`, the `after` of an answer, the search goes on there. What the archive has is told at once where it fits on a page:
    where the store has sessions before it that were not looked at, it comes once more in its place.
    """
    wanted = [word.casefold() for word in words if word.strip()]
    if not 1 <= len(wanted) <= MOST_WORDS:
        raise InputError(f"search: give 1 to {MOST_WORDS} words")
    if any(len(word) > MOST_CHARS for word in wanted):
        raise InputError(f"search: a word of over {MOST_CHARS:,} characters; give a part of it")
    found, unread, after = await _search_store(client, wanted, app or "", before, limit)
    every: list[Listed | Unread] = [*found, *unread]
    archive = client.archive
    if archive is not None and await archive.is_used():
        known = {one.row.session_id for one in every}
        place = None if before is None else (before.since_at, before.session_id)
        for kept in await archive.search(wanted, app, limit + 1, before=place):
            row = Row(kept.session_id, kept.app, f"ended/{kept.status}", kept.ended_at)
            listed = await read_row(client, row) if kept.session_id not in known else None
            every += [] if listed is None else [listed]
    every.sort(key=lambda one: _order(_place(one.row)), reverse=True)
    if len(every) > limit:  # what is left out comes next, and whatever of the store was not looked at
        last = _place(every[limit - 1].row)
        after = last if after is None or _order(last) > _order(after) else after
    told = every[:limit]
    return Found(
        tuple(one for one in told if isinstance(one, Listed)),
        after,
        tuple(one for one in told if isinstance(one, Unread)),
    )


async def _search_store(
    client: "Client", words: Sequence[str], app: str, before: Place | None, limit: int
) -> tuple[list[Listed], list[Unread], Place | None]:
    """Return what is found among the next LOOKED sessions of the store, and the place of the last that was looked at."""
    found: list[Listed] = []
    unread: list[Unread] = []
    looked = 0
    while looked < LOOKED:
        most = min(_STEP, LOOKED - looked)
        rows = await Listing(client.store).page(app=app, before=before, limit=most)
        looked += len(rows)
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            texts = await asyncio.gather(*(client.views.fields(row.session_id, *_LOOKED_AT) for row in some))
            hits = [row for row, text in zip(some, texts, strict=True) if _holds(row.session_id, text, words)]
            for listed in await asyncio.gather(*(read_row(client, row) for row in hits)):
                if isinstance(listed, Listed):
                    found.append(listed)
                elif listed is not None:
                    unread.append(listed)
                if listed is not None and len(found) + len(unread) == limit:
                    return found, unread, _place(listed.row)
        if len(rows) < most:
            return found, unread, None
        before = _place(rows[-1])
    return found, unread, before


def _place(row: Row) -> Place:
    return Place(row.since_at, row.session_id)


def _order(place: Place) -> tuple[int, str]:
    return place.since_at, place.session_id


async def read_row(client: "Client", row: Row) -> Listed | Unread | None:
    """Return the session of a row, or that it cannot be read; None for one that was removed since."""
    try:
        return Listed(row, await client.views.outline(row.session_id))
    except SessionNotFound:
        return None
    except Unreadable as error:
        return Unread(row, str(error))


def _holds(session_id: str, stored: Sequence[str | None], words: Sequence[str]) -> bool:
    text = "\n".join((session_id, *(one or "" for one in stored))).casefold()
    return all(word in text for word in words)
