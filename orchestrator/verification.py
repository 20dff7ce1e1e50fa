"""Rebuild a session from its journal and say where what is kept differs from it: `baton replay ID --verify`.

Nothing is changed, and nothing is done again. A session that moves meanwhile is read anew; one that never stands still is
refused, not guessed at. The rebuilding itself is kernel/rebuild.py.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.contracts.errors import PhaseRefused, Unreadable
from orchestrator.forks import read_entries
from orchestrator.kernel.rebuild import find_differences, fold
from orchestrator.store.views import read_entry

if TYPE_CHECKING:
    from orchestrator.client import Client

#: Readings of a session that moves, before it is refused.
TRIES: Final = 10


@dataclass(frozen=True, slots=True)
class Verified:
    """What a rebuild found: how many entries the journal has, and a line for each part that is not what they say."""

    session_id: str
    entries: int
    differences: tuple[str, ...]


async def verify_session(client: "Client", session_id: str) -> Verified:
    """Compare a session with what its journal alone makes of it, wherever it lies.

    Raise SessionNotFound, or PhaseRefused for one that is written to all the time. A journal that cannot be folded is a
    difference, too.
    """
    for _ in range(TRIES):
        record = await client.show(session_id)
        try:
            stored = await read_entries(client, session_id, after=0, upto=record.seq)
        except Unreadable as error:
            return Verified(session_id, record.seq, (str(error),))
        messages = await client.views.context_text(session_id)
        posts = await client.views.posts_count(session_id)
        after = await client.show(session_id)
        if (after.seq, after.rev, after.phase) != (record.seq, record.rev, record.phase):
            continue
        try:
            rebuilt = fold(read_entry(session_id, seq, at, body) for seq, at, body in stored)
        except Unreadable as error:
            return Verified(session_id, len(stored), (str(error),))
        return Verified(session_id, len(stored), tuple(find_differences(record, messages, posts, rebuilt)))
    raise PhaseRefused(f"session {session_id}: it is written to all the time; verify it once it waits or has ended")
