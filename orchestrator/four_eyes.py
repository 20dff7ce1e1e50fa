"""Four eyes: who started a session may not allow its calls, and neither may who started the one that it is a child of."""

from collections.abc import Awaitable, Callable
from typing import Final

from orchestrator.contracts.errors import NotPermitted, SessionNotFound
from orchestrator.contracts.session import Record

#: No family of sessions is deeper; one that is comes from a defect, and is refused.
DEEPEST: Final = 64


async def check_four_eyes(show: Callable[[str], Awaitable[Record]], record: Record, actor: str) -> None:
    """Raise NotPermitted where the actor started this session, or one of those above it."""
    session_id = record.session_id
    for _ in range(DEEPEST):
        if record.actor == actor:
            raise NotPermitted(
                f"session {session_id}: {actor!r} started it and may not allow its calls; ask somebody else"
            )
        if record.parent is None:
            return
        try:
            record = await show(record.parent)
        except SessionNotFound:  # removed: who started it can no longer be told
            break
    raise NotPermitted(f"session {session_id}: who started it cannot be told; ask an operator to deny or cancel it")
