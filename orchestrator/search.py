"""Find sessions by words, whatever their case, in what they were asked and in what they hold.

The store has no index of words: of its sessions the newest are read and looked at, up to LOOKED; the archive is asked for the
rest. All words must be there, in the id, app, status, actor, text, result fields or state.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.contracts.base import dump_json
from orchestrator.contracts.errors import InputError, SessionNotFound, Unreadable
from orchestrator.contracts.session import Record
from orchestrator.store.listing import Listing, Row

if TYPE_CHECKING:
    from orchestrator.client import Client

#: Sessions in the store that one search reads at most.
LOOKED: Final = 5_000
_AT_ONCE: Final = 250
MOST_WORDS: Final = 10


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of `list`: the session and where it is."""

    row: Row
    record: Record


async def search_sessions(client: "Client", words: Sequence[str], *, app: str | None, limit: int) -> list[Listed]:
    """Return the newest sessions that hold all the words, newest first; raise InputError for no word or too many."""
    wanted = [word.casefold() for word in words if word.strip()]
    if not 1 <= len(wanted) <= MOST_WORDS:
        raise InputError(f"search: give 1 to {MOST_WORDS} words")
    rows = await Listing(client.store).page(app=app or "", limit=LOOKED)  # the archive searches its own
    found: list[Listed] = []
    for start in range(0, len(rows), _AT_ONCE):
        page = await asyncio.gather(*(_read(client, row) for row in rows[start : start + _AT_ONCE]))
        found += [one for one in page if one is not None and _holds(one.record, wanted)]
        if len(found) >= limit:
            break
    archive = client.archive
    if archive is not None and await archive.is_used():
        known = {one.row.session_id for one in found}
        for kept in await archive.search(wanted, app, limit):
            row = Row(kept.session_id, kept.app, f"ended/{kept.status}", kept.ended_at)
            listed = await _read(client, row) if kept.session_id not in known else None
            if listed is not None:
                found.append(listed)
    found.sort(key=lambda one: (one.row.since_at, one.row.session_id), reverse=True)
    return found[:limit]


async def _read(client: "Client", row: Row) -> Listed | None:
    try:
        return Listed(row, await client.views.record(row.session_id))
    except (SessionNotFound, Unreadable):
        return None


def _holds(record: Record, words: Sequence[str]) -> bool:
    parts = (
        record.session_id,
        record.app,
        record.status or "",
        record.actor,
        record.parent or "",
        record.text,
        dump_json(record.fields),
        dump_json(record.state),
    )
    text = "\n".join(parts).casefold()
    return all(word in text for word in words)
