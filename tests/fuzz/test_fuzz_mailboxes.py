"""Mailboxes that hold what nobody posted: the session goes on, is refused or is buried, and no wake-up fails twice."""

import asyncio
import json
from collections.abc import Iterable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutating import mutated
from tests.fuzz.targets import seeds
from tests.stage import stage

#: Wake-ups of one session; one that is not at rest after them comes again for ever.
WAKE_UPS = 6


def first_of(data: bytes) -> bytes:
    """Return the post of a seed: a seed is a post, or a post and the wait that it answers."""
    given = json.loads(data)
    return json.dumps(given[0] if isinstance(given, list) else given).encode()


POSTS = [first_of(data) for data in seeds("post")]


def test_a_mailbox_of_garbage_never_makes_a_crash_loop(store_url: str) -> None:
    """A backup that was restored badly, or a newer version's post: a worker must come out of it, every time."""

    async def wake(posts: Iterable[bytes]) -> None:
        async with stage(store_url) as on:
            session_id = await on.submit("ask_first")
            worker = on.worker()
            await worker.run_slice(session_id)
            key = on.store.keys.of_session
            count = 0
            for post in posts:
                count = int(await on.store.command("RPUSH", key("mailbox", session_id), post))
            await on.store.command("HSET", key("record", session_id), "posts", count)

            for _ in range(WAKE_UPS):
                await worker.run_slice(session_id)

            phase = await on.store.command("HGET", key("record", session_id), "phase")
            assert phase in {"waiting", "ended", "dead"}, f"after {WAKE_UPS} wake-ups it is {phase}: {posts!r}"

    @settings(max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(mutated(POSTS), min_size=1, max_size=3))
    def read(posts: list[bytes]) -> None:
        asyncio.run(wake(posts))

    read()
