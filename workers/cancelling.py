"""Bring a cancel to the worker that runs its session, at once.

    the post        sets the session's word to stop, and calls its name out on one channel (store/scripts/post.lua)
    the push        every worker listens; the one that has the session renews its lease, and the renewal brings the word.
                    The call carries no truth of its own: who misses it, or hears it twice, loses nothing
    the heartbeat   brings the same with its next renewal, should the call be lost
    the commit      of a step that ended meanwhile finds the post in the mailbox

A listener that lost its connection renews everything once it listens again: what was called out meanwhile is heard then.
What a cancel does to a step is decided in kernel/cancelling.py; a session that nobody holds goes to the front of its line.
"""

import asyncio
import logging

from orchestrator.contracts.errors import StoreUnreachable
from orchestrator.store.cluster import open_wire
from orchestrator.store.keys import CANCELS
from orchestrator.store.wire import ServerRefused
from workers.executor import Executor
from workers.heartbeat import Heartbeat

log = logging.getLogger(__name__)

#: How long a listener that lost its connection waits before it opens another.
REOPEN_SECONDS = 0.5


class CancelPush:
    """One listening connection of a worker process."""

    def __init__(self, url: str, executor: Executor, heartbeat: Heartbeat) -> None:
        self._url = url
        self._executor = executor
        self._heartbeat = heartbeat
        self._renewals: set[asyncio.Task[None]] = set()
        self.listening = asyncio.Event()

    async def listen_forever(self) -> None:
        """Listen for as long as the process lives; a connection that is lost only makes cancels slower."""
        wire = open_wire(self._url)  # once: a file of TLS that is gone is refused at the start alone
        while True:
            try:
                await wire.subscribe(CANCELS, self.hear)
                self.listening.set()
                await self._heartbeat.renew_all()
                await wire.wait_lost()
            except (StoreUnreachable, ServerRefused) as error:
                log.debug("cancels come with the heartbeat only: %s", error)
            finally:
                self.listening.clear()
                await wire.aclose()
            await asyncio.sleep(REOPEN_SECONDS)

    def hear(self, session_id: str) -> None:
        """Look at a session of ours whose name was called out; one that is just being claimed looks by itself."""
        mine = self._executor.slices.get(session_id)
        if mine is None:
            self._executor.call_out(session_id)
            return
        renewal = asyncio.create_task(self._heartbeat.renew(mine))
        self._renewals.add(renewal)
        renewal.add_done_callback(self._renewals.discard)
