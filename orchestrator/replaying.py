"""Dead letters sent again in bulk: which ones are meant, and sending them. For operators, through `operations`.

Sending one again is the client's act; here is only what goes with many. Between choosing and sending others may act: where
nobody named the letters, one that is dead no more is left out.
"""

from collections.abc import Sequence
from typing import Final

from orchestrator.contracts.errors import PhaseRefused, SessionNotFound
from orchestrator.operations import Operations, Query

#: What one bulk replay sends at most; the rest is another request.
MOST_REPLAYED: Final = 1_000


async def choose_letters(operations: Operations, *, app: str | None = None, reason: str | None = None) -> list[str]:
    """Return the dead letters of an app and a reason, where given, newest first; at most MOST_REPLAYED."""
    chosen: list[str] = []
    before = None
    while len(chosen) < MOST_REPLAYED:
        page = await operations.page(Query(app=app or "", bucket="dead"), before=before, limit=200)
        infos = await operations.letters(page.records)
        chosen += [
            record.session_id
            for record, info in zip(page.records, infos, strict=True)
            if reason is None or info.get("reason") == reason
        ]
        before = page.after
        if before is None:
            break
    return chosen[:MOST_REPLAYED]


async def send_letters(
    operations: Operations, session_ids: Sequence[str], *, actor: str, note: str, named: bool
) -> list[str]:
    """Send dead letters again and return those that were sent.

    With `named`, the caller meant exactly these: the first that is no dead letter raises, those before it are sent.
    """
    sent: list[str] = []
    for session_id in session_ids:
        try:
            await operations.client.replay([session_id], actor=actor, note=note)
        except (PhaseRefused, SessionNotFound):
            if named:
                raise
        else:
            sent.append(session_id)
    return sent
