"""Sessions that cannot be worked on: what is stored of them is not what an act can read.

An act that fails on one session would fail again at every wake-up. So whoever meets that asks the store to look:
where something is wrong with this very session it becomes a dead letter, where nothing is, the trouble is the server's
own (out of memory, read-only) and the session stays as it is.
"""

import logging

from orchestrator.store.store import Store

log = logging.getLogger(__name__)


async def bury_unreadable(store: Store, session_id: str, detail: str, *, fence: int | None = None) -> bool:
    """Make a session a dead letter if it cannot be read; say whether it is one now.

    With `fence`, its holder says so, and no look is taken. A session that is not there is removed from the indexes.
    """
    reply = await store.act("bury", session_id, detail[:2_000], "" if fence is None else fence)
    if reply[0] == "buried":
        log.error("session %s: buried (unreadable): %s; %s", session_id, reply[1], detail)
    return bool(reply[0] == "buried")
