"""The archive in a real PostgreSQL: the same sessions, the same answers, and bytes that are no text."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import sqlalchemy as sql

from orchestrator.archive_database import ArchiveDatabase
from orchestrator.contracts.errors import ArchiveUnreachable, ConfigError
from orchestrator.store.pruning import StoredSession
from tests.archive_hall import everything, hall

pytestmark = pytest.mark.integration
#: The server refuses to run as root.
ACCOUNT = "postgres"


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """Start a server on a socket of its own, in a folder that its account can reach; return an URL of it."""
    if find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed; it is in the extra baton[postgresql]")
    if shutil.which("initdb") is None or shutil.which("pg_ctl") is None:
        pytest.skip("no PostgreSQL server is installed; it is in Debian's package postgresql")
    folder = Path(tempfile.mkdtemp(prefix="baton-postgresql-"))
    account = {"user": ACCOUNT} if os.getuid() == 0 else {}
    if account:
        try:
            shutil.chown(folder, ACCOUNT)
        except (LookupError, PermissionError) as error:
            folder.rmdir()
            pytest.skip(f"PostgreSQL refuses root, and there is no account for it: {error}")

    def run(*command: str) -> None:
        done = subprocess.run(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False, **account
        )
        assert done.returncode == 0, done.stderr

    data = f"{folder}/data"
    run("initdb", "-D", data, "-U", "baton", "--auth=trust", "--no-sync", "--encoding=UTF8")
    run("pg_ctl", "-D", data, "-w", "-l", f"{folder}/log", "-o", f"-k {folder} -c listen_addresses=''", "start")
    yield f"postgresql://baton@/postgres?host={folder}"
    run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(folder)


def test_sessions_are_read_from_it_as_from_the_store(store_url: str, postgresql: str, ledger: Path) -> None:
    """Many machines share it; for whoever reads there is no difference."""

    async def play() -> None:
        async with hall(store_url, postgresql) as at:
            session_id = await at.ended()
            before = await everything(at.client, session_id)
            done = await at.archiver.run_once("ada")

            assert done.session_ids == (session_id,)
            assert await everything(at.client, session_id) == before

    asyncio.run(play())


def test_what_is_no_text_survives(postgresql: str) -> None:
    """PostgreSQL refuses a zero character and broken UTF-8 in texts: both are kept as bytes."""
    database = ArchiveDatabase(postgresql)
    odd = "a\x00b\udcffc"
    record = {"app": "a", "status": "s", "since": "5", "created": "4", "text": odd}
    session = StoredSession("S-20260101-001", record, ((1, 7, odd),), (odd,), {"c": odd})
    try:
        for _ in range(2):  # writing it again changes nothing
            database.put([session], at=9, by="me")

        assert database.record("S-20260101-001") == record
        assert database.journal("S-20260101-001", 0, 9) == [(1, 7, odd)]
        assert database.context("S-20260101-001", 0) == [odd]
        assert [row.session_id for row in database.search(["S-20260101"], "a", 9)] == ["S-20260101-001"]
    finally:
        database.close()


def test_pages_are_in_the_order_of_ids_whatever_language_the_database_speaks(postgresql: str) -> None:
    """Sessions that ended in one millisecond are parted by their ids, and most databases sort texts as people of a country do."""
    server = sql.create_engine(postgresql.replace("postgresql:", "postgresql+psycopg:"), poolclass=sql.NullPool)
    with server.connect() as connection:
        alone = connection.execution_options(isolation_level="AUTOCOMMIT")
        version = int(str(alone.execute(sql.text("show server_version_num")).scalar_one()))
        icu = sql.text("select count(*) from pg_collation where collprovider = 'i'")
        if version < 150_000 or not alone.execute(icu).scalar_one():
            pytest.skip("this PostgreSQL cannot have a database in a language that this machine does not have")
        words = "template template0 locale_provider icu icu_locale 'en-US' encoding 'UTF8'"
        alone.execute(sql.text(f"create database english {words}"))
    names = ("a", "B", "A1", "A", "A-B", "AB", "b", "A-0", "Z")
    made = [f"{name}-20260101-001" for name in names]
    record = {"app": "a", "status": "s", "since": "5", "created": "4"}
    database = ArchiveDatabase(postgresql.replace("/postgres?", "/english?"))
    try:
        database.put([StoredSession(one, record, (), (), {}) for one in made], at=9, by="me")
        walked: list[str] = []
        while page := database.page("a", None, (5, walked[-1]) if walked else None, None, 2):
            walked += [row.session_id for row in page]
        found = [row.session_id for row in database.search(["a"], "a", 99)]
    finally:
        database.close()

    assert walked == found == sorted(made, reverse=True)


def test_what_no_text_can_hold_is_in_no_session(postgresql: str) -> None:
    """A zero character in what somebody looks for is no reason to call the archive unreachable."""
    database = ArchiveDatabase(postgresql)
    record = {"app": "a", "status": "s", "since": "5", "created": "4", "text": "one\x00two"}
    try:
        database.put([StoredSession("S-20260102-001", record, (), (), {})], at=9, by="me")

        assert [row.session_id for row in database.search(["e\x00t"], "a", 9)] == ["S-20260102-001"]
        assert database.page("a\x00", None, None, None, 9) == database.page("a", "s\x00", None, None, 9) == []
        assert database.count("a\x00", None) == database.count("a", "s\x00") == 0
        assert database.search(["one"], "a\x00", 9) == []
    finally:
        database.close()


def test_a_server_that_is_away_is_told_without_its_password(postgresql: str, tmp_path: Path) -> None:
    """The message goes to a log."""
    with pytest.raises(ArchiveUnreachable) as raised:
        ArchiveDatabase(f"postgresql://baton:swordfish@/postgres?host={tmp_path}")

    assert "swordfish" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["mysql://host/name", "sqlite://", "sqlite:///:memory:", "nonsense://x", "sqlite:////proc/none/archive.db"]
)
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    """At the start, with what to write instead."""
    with pytest.raises(ConfigError, match=r"archive\.url"):
        ArchiveDatabase(url)
