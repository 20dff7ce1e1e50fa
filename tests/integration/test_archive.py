"""Retention: ended sessions leave the store for the archive, and who reads them sees no difference."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.archive import Archive
from orchestrator.archiver import Archiver
from orchestrator.client import Client
from orchestrator.contracts.errors import ArchiveUnreachable, ConfigError, PhaseRefused, SessionNotFound, StoreUnfit
from orchestrator.contracts.session import Record
from tests.archive_hall import AT_ONCE, Hall, everything, hall

pytestmark = pytest.mark.usefixtures("ledger")


@pytest.fixture
def play(store_url: str, tmp_path: Path) -> Callable[[Callable[[Hall], Awaitable[None]]], None]:
    """Run a scene with an archive in a file."""

    def run(scene: Callable[[Hall], Awaitable[None]]) -> None:
        async def go() -> None:
            async with hall(store_url, f"sqlite:///{tmp_path}/deep/archive.db") as made:
                await scene(made)

        asyncio.run(go())

    return run


Play = Callable[[Callable[[Hall], Awaitable[None]]], None]


def test_everything_is_read_as_before(play: Play) -> None:
    """Whoever looks for a session of last month must not have to know where it lies."""

    async def scene(at: Hall) -> None:
        first, second = await at.ended(), await at.ended()
        running = await at.on.submit(plan="danger")
        before = [await everything(at.client, one) for one in (first, second)]
        done = await at.archiver.run_once("ada")
        after = [await everything(at.client, one) for one in (first, second)]

        assert (done.found, done.archived, done.left) == (2, 2, False)
        assert after == before
        assert (await at.client.show(running)).phase == "ready"
        with pytest.raises(SessionNotFound):
            await at.on.client.show(first)

    play(scene)


def test_nothing_of_an_archived_session_is_left_in_the_store(play: Play) -> None:
    """The store's memory is what retention is for."""

    async def scene(at: Hall) -> None:
        session_id = await at.ended()
        await at.archiver.run_once("ada")
        keys = [key for key in await at.on.store.command("KEYS", "*") if session_id in key]
        by = await at.on.store.command("ZCARD", at.on.store.keys.of_session("by", session_id))

        assert (keys, by) == ([], 0)

    play(scene)


def test_only_what_ended_long_ago_is_moved(play: Play) -> None:
    """What waits, runs or is dead is somebody's business still, and what ended today is asked for today."""

    async def scene(at: Hall) -> None:
        ended, waiting = await at.ended(), await at.on.submit(plan="danger")
        await at.on.run(at.on.worker(), waiting)
        young = await at.archiver.run_once("ada", retention_hours=1)
        old = await at.archiver.run_once("ada", retention_hours=0)

        assert (young.found, old.session_ids) == (0, (ended,))
        assert (await at.on.client.show(waiting)).phase == "waiting"

    play(scene)


@pytest.mark.parametrize("years", [30, 56, 100])
def test_what_stays_for_decades_is_not_moved_today(play: Play, years: int) -> None:
    """Whoever keeps sessions for good writes a long time: a limit of fewer digits than times have is before all of them."""

    async def scene(at: Hall) -> None:
        await at.ended()
        done = await at.archiver.run_once("ada", retention_hours=years * 365 * 24.0)

        assert done.found == 0

    play(scene)


def test_a_second_run_finds_nothing(play: Play) -> None:
    """Every minute somebody looks."""

    async def scene(at: Hall) -> None:
        await at.ended()
        await at.archiver.run_once("ada")
        again = await at.archiver.run_once("ada")

        assert (again.found, again.archived) == (0, 0)
        assert (await at.archive.figures()).sessions == 1
        assert (await at.client.stats())["archived"] == 1

    play(scene)


def test_a_dry_run_changes_nothing(play: Play) -> None:
    """It says which; not even the archive is made."""

    async def scene(at: Hall) -> None:
        session_id = await at.ended()
        told = await at.archiver.run_once("ada", dry_run=True)

        assert (told.session_ids, told.archived) == ((session_id,), 0)
        assert (await at.on.client.show(session_id)).phase == "ended"
        assert not await at.archive.is_used()

    play(scene)


def test_many_are_moved_in_portions(play: Play) -> None:
    """A round is bounded, and says whether there is more."""

    async def scene(at: Hall) -> None:
        ids = [await at.ended() for _ in range(5)]
        first = await at.archiver.run_once("ada", limit=3)
        second = await at.archiver.run_once("ada", limit=3)

        assert (first.archived, first.left, second.archived, second.left) == (3, True, 2, False)
        assert set(first.session_ids) | set(second.session_ids) == set(ids)
        assert list(first.session_ids) == ids[:3], "the oldest go first"

    play(scene)


def test_the_same_submission_finds_its_archived_session(play: Play) -> None:
    """An idempotency key that outlives retention must not start the work a second time."""

    async def scene(at: Hall) -> None:
        async def submit() -> tuple[str, bool]:
            done = await at.client.submit(
                "everything", overrides={"plan": "look"}, actor="ada", key="once", entry_skill="start"
            )
            return done.session_id, done.created

        session_id, created = await submit()
        await at.on.run(at.on.worker(), session_id)
        await at.archiver.run_once("ada")
        gone = await at.on.store.command("PTTL", at.on.store.keys.of_session("gone", session_id))

        assert created
        assert await submit() == (session_id, False)
        assert (await at.client.show(session_id)).phase == "ended"
        assert 0 < gone <= 86_400_000

    play(scene)


def test_an_archived_session_refuses_words_as_an_ended_one_does(play: Play) -> None:
    """That it is unknown would be wrong, and nobody could act on it."""

    async def scene(at: Hall) -> None:
        session_id = await at.ended()
        await at.archiver.run_once("ada")
        for act in (
            at.client.cancel(session_id, actor="ada"),
            at.client.signal(session_id, "go", actor="ada"),
            at.client.replay([session_id], actor="ada"),
        ):
            with pytest.raises(PhaseRefused, match="ended"):
                await act

    play(scene)


def test_a_mistyped_id_is_still_unknown(play: Play) -> None:
    """With near ones, archived or not."""

    async def scene(at: Hall) -> None:
        session_id = await at.ended()
        await at.archiver.run_once("ada")
        with pytest.raises(SessionNotFound, match=session_id):
            await at.client.show(session_id.rsplit("-", 1)[0] + "-777")

    play(scene)


def test_lists_are_in_order_across_both(play: Play) -> None:
    """A page that ends where the store ends would hide what is older."""

    async def scene(at: Hall) -> None:
        old = [await at.ended() for _ in range(3)]
        await at.archiver.run_once("ada")
        new = [await at.ended() for _ in range(2)]
        listed = [one.record.session_id for one in (await at.client.list_sessions(bucket="ended")).listed]
        short = [one.record.session_id for one in (await at.client.list_sessions(bucket="ended/fine", limit=3)).listed]

        assert listed == [*reversed(new), *reversed(old)]
        assert short == [*reversed(new), old[-1]]
        assert (await at.client.counts())["everything"]["ended"] == 5

    play(scene)


def test_search_finds_by_text_status_and_state_in_both(play: Play) -> None:
    """All words, whatever their case; a percent sign is a sign."""

    async def scene(at: Hall) -> None:
        archived = await at.ended(answer="100% Needle")
        await at.archiver.run_once("ada")
        live = await at.ended(answer="needle in hay")

        async def find(*words: str) -> list[str]:
            return [one.record.session_id for one in (await at.client.search(words)).listed]

        assert await find("NEEDLE") == [live, archived]
        assert await find("needle", "hay") == [live]
        assert await find("0% n") == [archived]
        assert await find("_eedle") == []
        assert await find(archived) == [archived]

    play(scene)


def test_a_session_that_is_moved_while_it_is_read_is_read_whole(play: Play) -> None:
    """The reader has the first page from the store, the next from the archive."""

    async def scene(at: Hall) -> None:
        session_id = await at.ended()
        whole = await at.entries(session_id)
        first = await at.client.views.journal(session_id, count=2)
        await at.archiver.run_once("ada")
        rest = await at.client.views.journal(session_id, after=2)

        assert [*first, *rest] == whole

    play(scene)


@pytest.mark.parametrize("before", ["mark_before", "journal_text", "context_text"])
def test_a_session_that_is_moved_while_it_is_forked_is_forked_whole(
    play: Play, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """A fork reads where it stood, then what it said; either may lie in the archive by then."""

    async def scene(at: Hall) -> None:
        session_id = await at.ended()
        entries = await at.entries(session_id)
        number = next(entry.seq for entry in entries if entry.messages and entry.kind == "step")
        whole = await at.client.fork(session_id, at=number, actor="ada")
        views = at.client.views
        read = getattr(views, before)

        async def move_first(*args: Any, **more: Any) -> Any:
            monkeypatch.undo()
            assert (await at.archiver.run_once("ada")).archived == 1
            return await read(*args, **more)

        monkeypatch.setattr(views, before, move_first)
        moved = await at.client.fork(session_id, at=number, actor="ada")

        records = [await at.client.show(one.session_id) for one in (whole, moved)]
        stood = [(one.cursor.skill, one.cursor.stage, len(one.cursor.calls), one.state) for one in records]
        assert stood[0] == stood[1]
        said = [await at.client.context(one.session_id) for one in (whole, moved)]
        assert said[0] == said[1] != ()

    play(scene)


def test_another_archive_is_refused(play: Play, tmp_path: Path) -> None:
    """Two machines with a file each would have half of the sessions each."""

    async def scene(at: Hall) -> None:
        session_id = await at.ended()
        await at.archiver.run_once("ada")
        await at.ended()
        other = Archive(at.on.store, f"sqlite:///{tmp_path}/other.db")
        nowhere = Archive(at.on.store, "")

        with pytest.raises(StoreUnfit, match="name that one"):
            await Archiver(at.on.store, other, AT_ONCE).run_once("ada")
        for wrong in (other, nowhere):
            with pytest.raises(ConfigError, match=r"archive\.url"):
                await Client(at.on.store, {}, archive=wrong).show(session_id)
        await other.aclose()

    play(scene)


def test_an_archive_that_does_not_take_it_leaves_it_in_the_store(play: Play, tmp_path: Path) -> None:
    """A full disk must cost retention, not sessions."""

    async def scene(at: Hall) -> None:
        session_id = await at.ended()
        database = await at.archive._ask(lambda opened: opened)
        with database._begin() as tables:
            tables.exec_driver_sql(
                "CREATE TRIGGER full BEFORE INSERT ON baton_sessions BEGIN SELECT RAISE(FAIL, 'full'); END"
            )
        with pytest.raises(ArchiveUnreachable, match="full"):
            await at.archiver.run_once("ada")

        assert (await at.on.client.show(session_id)).phase == "ended"
        assert (await at.archive.figures()).entries == 0

    play(scene)


def test_a_session_that_changed_after_it_was_read_is_not_removed(play: Play) -> None:
    """What the archive holds must be what is removed."""

    async def scene(at: Hall) -> None:
        session_id = await at.ended()
        read = await at.archiver._pruning.load(session_id)
        assert read is not None
        await at.on.store.command("HINCRBY", at.on.store.keys.of_session("record", session_id), "rev", 1)

        assert not await at.archiver._pruning.prune(read)
        assert (await at.on.client.show(session_id)).phase == "ended"

    play(scene)


def test_purging_is_for_good(play: Play) -> None:
    """What a law asks to be deleted is deleted."""

    async def scene(at: Hall) -> None:
        session_id = await at.ended()
        await at.archiver.run_once("ada")
        now = await at.on.store.now_ms()
        kept, deleted = await at.archive.purge(now - 3_600_000, limit=10), await at.archive.purge(now + 1, limit=10)

        assert (kept, deleted) == (0, 1)
        with pytest.raises(SessionNotFound):
            await at.client.show(session_id)

    play(scene)


def test_a_parent_hears_of_a_child_that_was_archived(play: Play) -> None:
    """It may look by itself, after a worker's death, long after the child ended."""

    async def scene(at: Hall) -> None:
        child = await at.ended()
        await at.archiver.run_once("ada")
        found: Record = await at.client.show(child)

        assert (found.phase, found.status) == ("ended", "fine")

    play(scene)
