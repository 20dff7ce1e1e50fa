"""Two stores that write into one archive: each gives its ids by itself, so that the same id is two sessions."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orchestrator.archive_database import ArchiveDatabase
from orchestrator.store.pruning import StoredSession
from tests.archive_hall import hall

pytestmark = pytest.mark.usefixtures("ledger")


def others(session_id: str) -> StoredSession:
    """Return the session that another store has under an id."""
    record = {"app": "everything", "status": "fine", "since": "5", "created": "4", "phase": "ended", "text": "theirs"}
    return StoredSession(session_id, record, ((1, 4, '{"kind":"submitted"}'),), ('{"role":"user"}',), {})


def test_a_session_of_another_store_is_not_written_over(store_url: str, tmp_path: Path, caplog: Any) -> None:
    """What is in the archive is nowhere else: whoever comes later keeps its own in its store, and says so."""
    url = f"sqlite:///{tmp_path}/archive.db"

    async def play() -> None:
        async with hall(store_url, url) as at:
            mine, free = await at.ended(), await at.ended()
            database = ArchiveDatabase(url)
            database.put([others(mine)], at=9, by="them")

            done = await at.archiver.run_once("ada")

            assert (done.found, done.session_ids) == (2, (free,))
            assert database.record(mine) == others(mine).record
            assert database.journal(mine, 0, 9) == [*others(mine).journal]
            assert database.context(mine, 0) == [*others(mine).context]
            assert (await at.on.client.show(mine)).text != "theirs"
            again = await at.archiver.run_once("ada", limit=1)
            late = await at.ended()

            assert (await at.archiver.run_once("ada", limit=1)).session_ids == (late,)
            assert (again.found, again.left) == (0, False)
            assert caplog.text.count(f"session {mine}") == 1
            database.close()

    asyncio.run(play())


def test_what_is_written_again_is_still_replaced(tmp_path: Path) -> None:
    """After a death between writing and removing the same session comes once more."""
    database = ArchiveDatabase(f"sqlite:///{tmp_path}/archive.db")
    for status in ("fine", "better"):
        session = others("S-20260101-001")
        again = StoredSession(session.session_id, {**session.record, "status": status}, (), (), {})
        assert database.put([again], at=9, by="me") == ()
    found = database.record("S-20260101-001")
    database.close()

    assert found is not None
    assert found["status"] == "better"


#: What may be wrong with a session, as a command to the server: a name, the session's key, and the rest.
DAMAGE = {
    **{f"no {field}": ("HDEL", "record", field) for field in ("created", "since", "app", "rev", "seq")},
    "a time past all time": ("HSET", "record", "since", "9" * 16),
    "an entry without a body": ("XADD", "journal", "999999-0", "t", "5"),
    "an entry without a time": ("XADD", "journal", "999999-0", "e", "{}"),
    "an entry of another time": ("XADD", "journal", "999999-0", "e", "{}", "t", "soon"),
    "a journal that is none": ("SET", "journal", "nothing"),
    "a context that is none": ("SET", "context", "nothing"),
    "intents that are none": ("SET", "intents", "nothing"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_session_holds_up_no_other(
    store_url: str, tmp_path: Path, caplog: Any, damage: tuple[str, ...]
) -> None:
    """It stays where it is, for a person to look at; what ended beside it moves, and whoever moves it lives."""

    async def play() -> None:
        async with hall(store_url, f"sqlite:///{tmp_path}/archive.db") as at:
            damaged, whole = await at.ended(), await at.ended()
            act, key, *rest = damage
            await at.on.store.command(act, at.on.store.keys.of_session(key, damaged), *rest)

            rounds = [await at.archiver.run_once("ada") for _ in range(2)]

            assert [one.session_ids for one in rounds] == [(whole,), ()]
            assert await at.on.client.views.exists(damaged)
            assert caplog.text.count(f"session {damaged}") == 1

    asyncio.run(play())


def test_a_time_of_fifteen_digits_is_one(store_url: str, tmp_path: Path) -> None:
    """The longest that is taken: nothing that a session holds comes near it."""

    async def play() -> None:
        async with hall(store_url, f"sqlite:///{tmp_path}/archive.db") as at:
            session_id = await at.ended()
            await at.on.store.command("HSET", at.on.store.keys.of_session("record", session_id), "created", "9" * 15)

            assert (await at.archiver.run_once("ada")).session_ids == (session_id,)

    asyncio.run(play())
