"""The cache of contexts: what a claim need not bring again, and when it must not be believed."""

import asyncio

from orchestrator.contracts.messages import Message
from tests.stage import stage
from workers.contexts import ContextCache


def texts(*numbers: int) -> list[str]:
    """Return messages as they are stored."""
    return [Message(role="user", content=f"m{number}").to_json() for number in numbers]


def read(cache: ContextCache, session_id: str) -> list[str] | None:
    """Return what the cache has of a session."""
    found = cache.messages(session_id)
    return None if found is None else [message.content for message in found]


def test_a_claim_brings_only_the_new_tail() -> None:
    """Step 1,000 reads what step 999 wrote, not what all before it wrote."""
    cache = ContextCache()
    cache.start("s", texts(1, 2), 2)
    cache.append("s", texts(3))

    assert cache.length("s") == 3
    cache.start("s", texts(4), 4)

    assert read(cache, "s") == ["m1", "m2", "m3", "m4"]


def test_a_length_that_does_not_fit_makes_it_forget() -> None:
    """The server was restored, or we missed something: then nothing that we know is sure."""
    cache = ContextCache()
    cache.start("s", texts(1, 2, 3), 3)

    cache.start("s", [], 2)

    assert cache.length("s") == 0
    assert read(cache, "s") is None


def test_a_whole_context_replaces_what_does_not_fit() -> None:
    """A claim that knew nothing brings everything."""
    cache = ContextCache()
    cache.start("s", texts(1, 2, 3), 3)

    cache.start("s", texts(7), 1)

    assert read(cache, "s") == ["m7"]


def test_a_lost_session_is_forgotten() -> None:
    """Another holder may have written since."""
    cache = ContextCache()
    cache.start("s", texts(1), 1)

    cache.forget("s")
    cache.forget("never seen")

    assert (cache.length("s"), read(cache, "s")) == (0, None)


def test_nothing_is_appended_to_what_is_not_known() -> None:
    """A tail without its beginning would read as the whole."""
    cache = ContextCache()

    cache.append("s", texts(5))

    assert read(cache, "s") is None


def test_sessions_that_say_nothing_are_bounded_too() -> None:
    """An app without a model has only such; a worker that lives for a month would keep all it ever held."""
    cache = ContextCache(most_messages=3)
    for number in range(10):
        cache.start(f"s{number}", [], 0)

    assert [name for name in (f"s{number}" for number in range(10)) if read(cache, name) is not None] == [
        "s7",
        "s8",
        "s9",
    ]


def test_it_holds_no_more_than_its_bound() -> None:
    """The session that was used longest ago goes first; the one at work stays, however long."""
    cache = ContextCache(most_messages=6)
    for name in ("a", "b", "c"):
        cache.start(name, texts(1, 2), 2)

    assert [read(cache, name) is not None for name in ("a", "b", "c")] == [False, True, True]
    cache.start("long", texts(*range(9)), 9)
    assert [read(cache, name) is not None for name in ("b", "c", "long")] == [False, False, True]


def test_a_message_is_parsed_once() -> None:
    """A context is read at every turn; parsing it again would make late turns dearer."""
    cache = ContextCache()
    cache.start("s", texts(1), 1)

    first, second = cache.messages("s"), cache.messages("s")

    assert first is not None
    assert second is not None
    assert first[0] is second[0]


def test_a_cleared_cache_knows_nothing() -> None:
    """The server behind a new connection may have gone back and on from there: equal lengths prove nothing then."""
    cache = ContextCache()
    cache.start("s", texts(1), 1)

    cache.clear()
    cache.start("s", [], 1)

    assert (cache.length("s"), read(cache, "s")) == (0, None)


def test_a_new_connection_clears_the_cache(store_url: str) -> None:
    """A worker's context of a session must never be one that a failover has taken back."""

    async def run() -> int:
        async with stage(store_url) as on:
            worker = on.worker()
            [host] = on.hosts
            await on.run(worker, await on.submit())
            host.contexts.start("another", texts(1), 1)
            host.store.wire.opened += 1
            await on.run(worker, await on.submit())
            return host.contexts.length("another")

    assert asyncio.run(run()) == 0
