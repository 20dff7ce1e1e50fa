"""What an app adds to a task queue, so that a step is one: its state and a journal in Redis, in one transaction a step.

A queue keeps messages, not sessions. So each task loads the state, appends a line and writes the state, and then sends its
successor itself, which is the quickest way that a queue has.
"""

# The peer's interpreter has redis-py in whatever version the peer takes; ours checks no types of it.
# mypy: disable-error-code="no-any-return"

import threading
import time
from typing import Any

from redis import Redis

STATE = "x" * 1024
ENTRY = '{"kind":"step","step":"compute","outcome":"succeeded"}'
ROUND_SECONDS = 120


class Kept:
    """The sessions of one round, in the database that the peer has for itself."""

    def __init__(self, url: str) -> None:
        self.client: Any = Redis.from_url(url)
        self.ended = threading.Event()
        self._known = 0

    def begin(self, sessions: int) -> None:
        """Forget the round before, and give every session its state."""
        self.ended.clear()
        pipe = self.client.pipeline(transaction=False)
        pipe.delete("ended", *(f"{kind}:{one}" for kind in "sj" for one in range(self._known)))
        self._known = sessions
        pipe.set("left", sessions)
        for one in range(sessions):
            pipe.hset(f"s:{one}", "state", STATE)
        pipe.execute()

    def step(self, session: int) -> None:
        """Do one step: load, append, write."""
        state = self.client.hget(f"s:{session}", "state")
        pipe = self.client.pipeline(transaction=True)
        pipe.xadd(f"j:{session}", {"e": ENTRY})
        pipe.hset(f"s:{session}", "state", state)
        pipe.execute()

    def end(self) -> None:
        """Say that a session did its last step; the last of them all notes the time."""
        if self.client.decr("left") == 0:
            self.client.set("ended", repr(time.time()))
            self.ended.set()

    def close(self, sessions: int, steps: int) -> float:
        """Return when the last session ended; raise RuntimeError where one did not do every step once."""
        if not self.client.exists("ended") and not self.ended.wait(ROUND_SECONDS):
            raise RuntimeError(f"bench: the round did not end within {ROUND_SECONDS} s")
        for one in range(sessions):
            if (found := self.client.xlen(f"j:{one}")) != steps:
                raise RuntimeError(f"bench: session {one} did {found} steps, not {steps}")
        return float(self.client.get("ended"))
