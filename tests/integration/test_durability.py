"""What an acknowledgement is worth when the server loses its power in the very next moment.

A real server with `appendfsync everysec`, whose file is cut off where its disk may have ended (tests/chaos/power.py). With
`durability: wait` nothing that was acknowledged is gone; without, the last second is, which is what the docs say.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.contracts.errors import SessionNotFound, StoreUnfit, StoreUnreachable
from orchestrator.contracts.session import PendingCall, Post
from orchestrator.embedded import RunningServer
from orchestrator.embedded_binary import bundled_path
from orchestrator.store.durability import Confirmer, Durability
from orchestrator.store.fitness import check_store, judge_server
from orchestrator.store.intake import Intake
from orchestrator.store.keys import DURABLE
from orchestrator.store.leases import Claimed, Commit, Leases
from orchestrator.store.store import Store
from orchestrator.store.views import Views
from orchestrator.store.wire import ServerRefused, Wire
from tests.chaos.fleet import pause
from tests.chaos.history import now_ms
from tests.chaos.power import Power
from tests.chaos.run import make_folder
from tests.property.store_lab import DIGEST, draft, entry

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform"),
]

#: One that has acted or is about to; its commit is critical.
CALL = PendingCall(call_id="c1", tool="tool", args={})


async def fill(store: Store) -> None:
    """Write until the server has tried to write it to its disk, and has noticed."""
    while True:
        await store.command("SET", "x", 1)


@asynccontextmanager
async def powered(durability: Durability | None) -> AsyncIterator[tuple[Power, Store]]:
    """Lend a server that can lose its power, some seconds old, and a store on it."""
    with make_folder() as folder:
        power = await asyncio.to_thread(Power, folder / "server", fsync="everysec")
        store = Store(power.server.url, partitions=2, durability=durability)
        watching = asyncio.create_task(power.watch_forever())
        try:
            await pause(1.2)  # a server that has just started has nothing to lose that is older than a second
            yield power, store
        finally:
            watching.cancel()
            await store.aclose()
            await asyncio.to_thread(power.close)


async def cut_now(power: Power, store: Store) -> None:
    """Cut the power, as bad as it can be: all that was not confirmed is gone."""
    marks = int(await store.command("GET", DURABLE) or 0)
    await power.cut(lambda: None, lambda: marks)
    await power.start()


async def work(store: Store) -> tuple[str, int]:
    """Submit a session, let it announce a call, and post to it; return its id and its revision, all of it acknowledged."""
    session_id = (await Intake(store).submit(draft(), "SES", key="k")).session_id
    leases = Leases(store, lease_seconds=60, max_attempts=3)
    claimed = await leases.claim(session_id, "w:1", (DIGEST,))
    assert isinstance(claimed, Claimed)
    announcing = Commit("continue", {}, (entry(),), intents={CALL.call_id: CALL.to_json()})
    await leases.commit(session_id, claimed.record.fence, 0, announcing)
    assert await Intake(store).post(session_id, Post(post_id="p1", kind="signal", actor="ada", name="go"))
    return session_id, 1


def test_a_cut_right_after_an_acknowledgement_loses_nothing_where_the_store_waits() -> None:
    """`durability: wait`: the submission, the announced call and the post are there, each in a second of its own."""

    async def run() -> None:
        async with powered(Durability()) as (power, store):
            session_id, rev = await work(store)

            await cut_now(power, store)

            record = await Views(store).record(session_id)
            assert record.rev == rev
            assert list(await Views(store).intents(session_id)) == [CALL.call_id]
            assert await store.command("LLEN", store.keys.of_session("mailbox", session_id)) == 1

    asyncio.run(run())


def test_without_it_the_last_second_may_be_gone() -> None:
    """What the default promises no more than - and the proof that the cut of these tests really takes something."""

    async def run() -> None:
        async with powered(None) as (power, store):
            session_id, _ = await work(store)

            await cut_now(power, store)

            with pytest.raises(SessionNotFound):
                await Views(store).record(session_id)

    asyncio.run(run())


def test_a_file_that_the_server_has_just_begun_is_cut_by_its_own_length() -> None:
    """It rewrites its file now and then; filled up to the old one's length, the new one could not be read any more."""

    async def run() -> None:
        async with powered(None) as (power, store):
            await store.command("SET", "kept", "x" * 100_000)
            old = power.file
            while not any(size.bytes > 100_000 and size.at < now_ms() - 1_100 for size in power._sizes):
                await pause(0.05)
            await store.command("BGREWRITEAOF")
            while power.file == old:
                await pause(0.01)

            cut = await power.cut(lambda: None, lambda: 0)
            await power.start()

            assert cut.bytes_lost >= 0
            assert len(await store.command("GET", "kept")) == 100_000

    asyncio.run(run())


def test_what_another_run_of_the_server_confirms_is_done_again() -> None:
    """It died between the act and its confirmation: what comes back may not have it, so the act is repeated."""

    async def run() -> None:
        async with powered(Durability()) as (power, store):
            confirmer = store._confirmer
            assert confirmer is not None
            confirm, cuts = confirmer.confirm, 0

            async def confirm_late(run_id: str) -> bool:
                nonlocal cuts
                if not cuts:
                    cuts += 1
                    await power.cut(lambda: None, lambda: 0)
                    await power.start()
                return await confirm(run_id)

            confirmer.confirm = confirm_late  # type: ignore[method-assign]
            submitted = await Intake(store).submit(draft(), "SES", key="k")

            assert submitted.created
            assert (await Views(store).record(submitted.session_id)).phase == "ready"

    asyncio.run(run())


def test_a_repeated_act_is_answered_as_it_was_the_first_time(empty_server: RunningServer) -> None:
    """A confirmation that fails makes the act recognise itself; the caller hears "created", not "existing"."""

    async def run() -> None:
        store = Store(empty_server.url, partitions=2, durability=Durability())
        assert store._confirmer is not None
        answers = iter([True, True, False, True, False, True])  # the first are the key's and its app's

        async def confirm(_: str) -> bool:
            return next(answers)

        store._confirmer.confirm = confirm  # type: ignore[method-assign]
        submitted = await Intake(store).submit(draft(), "SES", key="k")

        assert submitted.created
        assert await Intake(store).post(submitted.session_id, Post(post_id="p1", kind="signal", actor="ada", name="go"))
        await store.aclose()

    asyncio.run(run())


def test_a_replica_that_is_not_there_is_no_acknowledgement(empty_server: RunningServer) -> None:
    """Two copies were asked for and there is one: the caller hears so in time, and may try again."""

    async def run() -> None:
        store = Store(
            empty_server.url, partitions=2, durability=Durability(disk=False, replicas=1), patience_seconds=0.2
        )
        with pytest.raises(StoreUnreachable, match="was done and not confirmed"):
            await Intake(store).submit(draft(), "SES", key="k")
        await store.aclose()

    asyncio.run(run())


def test_those_who_wait_together_share_a_mark(empty_server: RunningServer) -> None:
    """A hundred sessions that end in the same moment cost one wait."""

    async def run() -> None:
        store = Store(empty_server.url, partitions=2, durability=Durability(disk=False))
        await store.command("PING")
        confirmer = store._confirmer
        assert isinstance(confirmer, Confirmer)

        assert all(await asyncio.gather(*(confirmer.confirm(store.wire.run_id) for _ in range(100))))
        assert int(await store.command("GET", DURABLE)) == 1
        assert not await confirmer.confirm("another run")
        await store.aclose()

    asyncio.run(run())


def test_a_server_that_cannot_confirm_is_refused_at_the_start(empty_server: RunningServer) -> None:
    """A promise that cannot be kept is not made: without AOF, or before WAITAOF."""
    with pytest.raises(StoreUnfit, match="AOF is off"):
        judge_server({"redis_version": "7.2.4", "aof_enabled": "0"}, waits=True)
    with pytest.raises(StoreUnfit, match="cannot confirm"):
        judge_server({"redis_version": "7.0.15", "aof_enabled": "1"}, waits=True)
    assert judge_server({"redis_version": "7.2.4", "aof_enabled": "1"}, waits=True) == []

    async def check() -> list[str]:
        store = Store(empty_server.url, durability=Durability())
        try:
            return await check_store(store)
        finally:
            await store.aclose()

    assert asyncio.run(check()) == []


def test_a_full_memory_is_waited_for(empty_server: RunningServer) -> None:
    """A server that takes no writes for a moment costs that moment, and no step: as a restart does."""

    async def run() -> None:
        store = Store(empty_server.url, partitions=2)
        await store.command("CONFIG", "SET", "maxmemory", 1)
        submitting = asyncio.create_task(Intake(store).submit(draft(), "SES", key="k"))
        refused = Store(empty_server.url, partitions=2, patience_seconds=0)
        with pytest.raises(StoreUnreachable):
            await refused.command("SET", "x", 1)
        await store.command("CONFIG", "SET", "maxmemory", 0)

        assert (await submitting).created
        with pytest.raises(ServerRefused):
            await store.command("NO_SUCH_COMMAND")
        await refused.aclose()
        await store.aclose()

    asyncio.run(run())


def test_a_full_disk_is_waited_for() -> None:
    """The server lives and refuses; what it took before and what waited meanwhile outlives its death afterwards."""

    async def run() -> None:
        async with powered(None) as (power, store):
            before = await Intake(store).submit(draft(), "SES", key="before")
            power.limit_files(full=True)
            refused = Store(power.server.url, partitions=2, patience_seconds=0)
            with pytest.raises(StoreUnreachable, match="MISCONF"):
                await fill(refused)
            submitting = asyncio.create_task(Intake(store).submit(draft(), "SES", key="meanwhile"))
            await refused.aclose()
            power.limit_files(full=False)
            meanwhile = await submitting
            await power.kill()
            await power.start()

            assert meanwhile.created
            for session_id in (before.session_id, meanwhile.session_id):
                assert (await Views(store).record(session_id)).phase == "ready"

    asyncio.run(run())


@pytest.mark.parametrize("key", [None, "k"])
def test_a_memory_that_fills_between_an_act_and_its_confirmation_is_waited_for(
    empty_server: RunningServer, key: str | None
) -> None:
    """The act is done and its mark is not taken: a caller who heard a refusal would take it for not done."""

    async def run() -> None:
        store = Store(empty_server.url, partitions=2, durability=Durability(disk=False))
        confirmer = store._confirmer
        assert confirmer is not None
        intake = Intake(store)
        await intake.submit(draft(), "SES")  # the first session of an app waits for that, too
        confirm, answers = confirmer.confirm, []

        async def confirm_when_full(run_id: str) -> bool:
            await store.command("CONFIG", "SET", "maxmemory", 0 if answers else 1)
            answers.append(await confirm(run_id))
            return answers[-1]

        confirmer.confirm = confirm_when_full  # type: ignore[method-assign]
        await store.command("CONFIG", "SET", "maxmemory", 0)
        posting = asyncio.create_task(intake.submit(draft(), "SES", key=key))
        while not (answers or posting.done()):  # noqa: ASYNC110 - the loop only lets the submission go on
            await asyncio.sleep(0)
        await store.command("CONFIG", "SET", "maxmemory", 0)

        assert (await posting).created
        assert answers == [False, True] + [True] * (key is not None)  # a key is confirmed before its session is made
        await store.aclose()

    asyncio.run(run())


async def _confirm_nothing(
    between: Callable[[Store, Wire], Awaitable[None]], undo: Callable[[Store], Awaitable[None]]
) -> None:
    """Let something happen between mark and wait: nothing is confirmed, and afterwards it is."""
    async with powered(Durability()) as (_, store):
        await store.command("PING")
        confirmer = store._confirmer
        assert isinstance(confirmer, Confirmer)
        mark = confirmer._mark

        async def mark_then(wire: Wire) -> int:
            number = await mark(wire)
            await between(store, wire)
            return number

        confirmer._mark = mark_then  # type: ignore[method-assign]

        assert not await confirmer.confirm(store.wire.run_id)
        await undo(store)
        confirmer._mark = mark  # type: ignore[method-assign]
        assert await confirmer.confirm(store.wire.run_id)


def test_a_server_that_is_replaced_between_mark_and_wait_confirms_nothing() -> None:
    """A master that stood still reads the wait when it is a replica already, and refuses it: the act is done again elsewhere,
    and its caller hears of no error.
    """  # noqa: D205 - one sentence

    async def replace(store: Store, _: Wire) -> None:
        await store.command("REPLICAOF", "127.0.0.1", 1)

    async def undo(store: Store) -> None:
        await store.command("REPLICAOF", "NO", "ONE")

    asyncio.run(_confirm_nothing(replace, undo))


def test_a_server_that_never_saw_the_mark_confirms_nothing() -> None:
    """The connection is lost behind the mark and leads elsewhere when it opens again: a wait there returns at once, and says
    nothing of what was done.
    """  # noqa: D205 - one sentence

    async def lose(_: Store, wire: Wire) -> None:
        wire._abort()

    async def undo(_: Store) -> None:
        """It is open again."""

    asyncio.run(_confirm_nothing(lose, undo))


def test_a_connection_that_was_lost_makes_contexts_unknown(tmp_path: Path) -> None:
    """See tests/unit/workers/test_contexts.py for what the cache does; here only that a new connection is told apart."""

    async def run() -> None:
        async with powered(None) as (power, store):
            await store.command("PING")
            before = store.wire.opened
            await power.kill()
            await power.start()
            await store.command("PING")

            assert store.wire.opened > before

    asyncio.run(run())
