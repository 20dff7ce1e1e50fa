"""The archiver dies after each thing that it does, at every place in turn: no session is lost, none is changed."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.archive import Archive
from orchestrator.archive_database import ArchiveDatabase, to_bytes, to_text
from orchestrator.archiver import Archiver
from orchestrator.client import Client
from orchestrator.settings_model import ArchiveSettings
from orchestrator.store.leases import Claimed, Commit
from orchestrator.store.pruning import StoredSession
from orchestrator.store.store import Store
from tests.property.store_lab import DIGEST, Lab, entry

T = TypeVar("T")
AT_ONCE = ArchiveSettings(retention_hours=0)


@pytest.fixture
def lab(store_url: str) -> Iterator[Lab]:
    """Lend an empty store."""
    made = Lab(store_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveDatabase]:
    """Lend an archive to many examples: each writes over the last."""
    made = ArchiveDatabase(f"sqlite:///{tmp_path_factory.mktemp('archive')}/a.db")
    yield made
    made.close()


class Died(BaseException):
    """The process is gone; nothing catches it."""


class Fuse:
    """Blows when the n-th thing was done to the outside world, and before the next one is."""

    def __init__(self, number: int) -> None:
        self.left = number

    def burn(self) -> None:
        """Count what was done; raise Died when it is time."""
        self.left -= 1
        if self.left == 0:
            raise Died


class MortalStore(Store):
    """A store whose caller may die around each command."""

    fuse: Fuse

    async def act(self, name: str, session_id: str, *args: Any) -> Any:
        reply = await super().act(name, session_id, *args)
        self.fuse.burn()
        return reply

    async def command(self, *args: Any) -> Any:
        reply = await super().command(*args)
        self.fuse.burn()
        return reply


class MortalArchive(Archive):
    """An archive whose caller may die around each transaction."""

    fuse: Fuse

    async def _ask(self, work: "Callable[[ArchiveDatabase], T]") -> T:
        done = await super()._ask(work)
        self.fuse.burn()
        return done


def settle(lab: Lab, text: str, *, key: str | None = None) -> str:
    """Return a session that ended, with a context and an open intent."""
    session_id = lab.submit(text=text, key=key)
    for number, directive in enumerate(("finalizing", "ended")):
        claimed = lab.run(lab.leases.claim(session_id, f"w:{session_id}:{number}", (DIGEST,)))
        assert isinstance(claimed, Claimed)
        record = claimed.record
        said = ('{"role":"user","content":"hm"}',)
        told = entry(set={"phase": directive, "status": "done"} if directive == "ended" else {"phase": directive})
        commit = Commit(directive, {}, (told,), said, status="done", intents={"c": '{"call_id":"c","tool":"t"}'})  # type: ignore[arg-type]
        lab.commit(session_id, record.fence, record.rev, commit)
    return session_id


async def read(client: Client, session_id: str) -> tuple[object, ...]:
    """Return all that is known of a session."""
    journal = [told async for told in client.events(session_id)]
    return await client.show(session_id), journal, await client.context(session_id), await client.intents(session_id)


async def die_in_round(lab: Lab, url: str, fuse: Fuse) -> bool:
    """Let an archiver work until it dies; say whether it did."""
    store = MortalStore(lab.store.url, partitions=lab.store.keys.partitions)
    archive = MortalArchive(store, url)
    store.fuse = archive.fuse = fuse
    try:
        await Archiver(store, archive, AT_ONCE).run_once("mortal")
    except Died:
        return True
    finally:
        fuse.left = -1
        rest = asyncio.all_tasks() - {asyncio.current_task()}  # what went on beside it dies with it
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await archive.aclose()
        await store.aclose()
    return False


def test_an_archiver_may_die_anywhere(lab: Lab, tmp_path: Path) -> None:
    """Archived before removed: whatever it had done, sessions read the same, and the next round completes it."""
    url = f"sqlite:///{tmp_path}/archive.db"

    async def play(place: int, sessions: list[str], running: str) -> bool:
        archive = Archive(lab.store, url)
        client = Client(lab.store, {}, archive=archive)
        try:
            await archive.purge(10**15, limit=100)  # of the last place
            before = [await read(client, one) for one in (*sessions, running)]
            has_died = await die_in_round(lab, url, Fuse(place))
            assert [await read(client, one) for one in (*sessions, running)] == before
            listed = sorted(one.record.session_id for one in (await client.list_sessions()).listed)
            assert listed == sorted((*sessions, running))
            await Archiver(lab.store, archive, AT_ONCE).run_once("next")
            assert [await read(client, one) for one in (*sessions, running)] == before
            assert (await archive.figures()).sessions == len(sessions)
            assert (await client.stats())["archived"] == len(sessions)
            assert (await client.counts())["app"]["ended"] == len(sessions)
        finally:
            await archive.aclose()
        return has_died

    place = 1
    while True:
        lab.flush()
        sessions = [settle(lab, "one"), settle(lab, "two", key="k")]
        if not lab.run(play(place, sessions, lab.submit(text="not yet"))):
            break
        place += 1

    assert place > 15


def test_two_archivers_at_once_harm_nothing(lab: Lab, tmp_path: Path) -> None:
    """A leader that was paused may wake up beside its successor."""
    sessions = [settle(lab, str(number)) for number in range(6)]
    url = f"sqlite:///{tmp_path}/archive.db"

    async def play() -> None:
        archives = [Archive(lab.store, url) for _ in range(2)]
        client = Client(lab.store, {}, archive=archives[0])
        try:
            before = [await read(client, one) for one in sessions]
            await archives[0].identity()  # the file is made once
            await asyncio.gather(*(Archiver(lab.store, archive, AT_ONCE).run_once("a") for archive in archives))

            assert [await read(client, one) for one in sessions] == before
            assert (await client.stats())["archived"] == 6
            assert (await client.counts())["app"]["ended"] == 6
        finally:
            for archive in archives:
                await archive.aclose()

    lab.run(play())


BODIES = st.text(st.characters(exclude_categories=()), max_size=30).map(
    lambda text: text.encode(errors="surrogatepass").decode(errors="surrogateescape")
)


@given(text=BODIES, bodies=st.lists(BODIES, max_size=5), messages=st.lists(BODIES, max_size=5))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_archive_gives_back_what_it_got(
    database: ArchiveDatabase, text: str, bodies: list[str], messages: list[str]
) -> None:
    """Every text, also one that is none: what was stored is what an auditor must see."""
    record = {"app": "a", "status": "s", "since": "5", "created": "4", "text": text}
    journal = tuple((number, 7, body) for number, body in enumerate(bodies, 1))
    session = StoredSession("S-20260101-001", record, journal, tuple(messages), {"c": text})

    database.put([session], at=9, by="me")

    assert database.record(session.session_id) == record
    assert database.intents(session.session_id) == {"c": text}
    assert database.journal(session.session_id, 0, 100) == list(journal)
    assert database.context(session.session_id, 0) == messages
    assert [row.ended_at for row in database.page("a", "s", None, None, 5)] == [5]


@given(BODIES)
def test_bytes_survive(text: str) -> None:
    """The store reads what is no UTF-8 as lone surrogates."""
    assert to_text(to_bytes(text)) == text
