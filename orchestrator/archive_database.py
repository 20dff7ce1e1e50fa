"""The archive's database: its tables, and what is done to them. SQLite by a file, PostgreSQL by URL.

Everything here blocks; `archive` calls it from a thread of its own. A session is written whole in one transaction, and again
as often as one likes: what was there of it is replaced. Texts are kept as the bytes that the store held. No other module
knows SQL.
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sql
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from orchestrator.contracts.errors import ArchiveUnreachable, ConfigError
from orchestrator.settings import mask_url
from orchestrator.store.pruning import StoredSession

#: Of what can be searched for, so many characters of a session are kept.
SEARCH_CHARS = 32_768
#: How long a writer waits for another one of the same file.
BUSY_SECONDS = 20

_TABLES = sql.MetaData()
_META = sql.Table(
    "baton_archive",
    _TABLES,
    sql.Column("name", sql.String(40), primary_key=True),
    sql.Column("value", sql.String(200), nullable=False),
)
_SESSIONS = sql.Table(
    "baton_sessions",
    _TABLES,
    sql.Column("session_id", sql.String(200), primary_key=True),
    sql.Column("app", sql.String(200), nullable=False),
    sql.Column("status", sql.String(200), nullable=False),
    sql.Column("ended_at", sql.BigInteger, nullable=False),
    sql.Column("created_at", sql.BigInteger, nullable=False),
    sql.Column("archived_at", sql.BigInteger, nullable=False),
    sql.Column("archived_by", sql.String(200), nullable=False),
    sql.Column("record", sql.LargeBinary, nullable=False),
    sql.Column("intents", sql.LargeBinary, nullable=False),
    sql.Column("words", sql.Text, nullable=False),
    sql.Index("baton_sessions_by_app", "app", "ended_at"),
    sql.Index("baton_sessions_by_status", "app", "status", "ended_at"),
    sql.Index("baton_sessions_by_end", "ended_at"),
)
_ENTRIES = sql.Table(
    "baton_entries",
    _TABLES,
    sql.Column("session_id", sql.String(200), primary_key=True),
    sql.Column("seq", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("at", sql.BigInteger, nullable=False),
    sql.Column("body", sql.LargeBinary, nullable=False),
)
_MESSAGES = sql.Table(
    "baton_messages",
    _TABLES,
    sql.Column("session_id", sql.String(200), primary_key=True),
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("body", sql.LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True)
class ArchivedRow:
    """One line of a list."""

    session_id: str
    app: str
    status: str
    ended_at: int


@dataclass(frozen=True, slots=True)
class ArchiveFigures:
    """How much is in the archive; times are ms, 0 where nothing is."""

    sessions: int
    entries: int
    first_ended_at: int
    last_ended_at: int
    last_archived_at: int


class ArchiveDatabase:
    """One open database. Raises ArchiveUnreachable where it does not do what it is asked, ConfigError for a URL it cannot use."""

    def __init__(self, url: str) -> None:
        self.shown = mask_url(url)
        try:
            parsed = sql.make_url(url)
            if parsed.drivername == "postgres":
                parsed = parsed.set(drivername="postgresql")
            if parsed.drivername == "postgresql":
                parsed = parsed.set(drivername="postgresql+psycopg")
            if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
                raise ConfigError(
                    f"archive.url {self.shown}: not supported; use sqlite:////path/archive.db or postgresql://…"
                )
            if parsed.get_backend_name() == "sqlite":
                _make_file(parsed.database)
            self._engine = sql.create_engine(parsed, pool_pre_ping=True, hide_parameters=True)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"archive.url {self.shown}: {error.name} is missing; install baton[postgresql]"
            ) from error
        except (ArgumentError, NoSuchModuleError) as error:
            raise ConfigError(_no_url(self.shown)) from error
        #: Ids in the order of their characters, as the store has them; PostgreSQL would sort them as a country's people do.
        self._by_id: sql.ColumnElement[str] = _SESSIONS.c.session_id
        if self._engine.dialect.name == "sqlite":
            sql.event.listen(self._engine, "connect", _set_up_sqlite)
        else:
            self._by_id = sql.collate(_SESSIONS.c.session_id, "C")
        with self._begin() as tables:
            _TABLES.create_all(tables)
            self.archive_id = _identity(tables)

    @contextmanager
    def _begin(self) -> Iterator[sql.Connection]:
        """Lend one transaction."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except (DBAPIError, SQLAlchemyError) as error:
            said = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
            raise ArchiveUnreachable(f"archive {self.shown}: {said[0]}; it is tried again") from error

    def put(self, sessions: Sequence[StoredSession], *, at: int, by: str) -> tuple[str, ...]:
        """Write sessions, all or none; what was there of them is replaced. Return the ids under which another store's session is.

        Those are left as they are: each store gives ids by itself, and a session is the same where it was created at the same time.
        """
        its, ids = _SESSIONS.c, [one.session_id for one in sessions]
        same = [(one.session_id, int(one.record["created"])) for one in sessions]
        with self._begin() as tables:
            # This comes first: from here on nobody else writes into a file.
            tables.execute(_SESSIONS.delete().where(sql.tuple_(its.session_id, its.created_at).in_(same)))
            taken = set(tables.execute(sql.select(its.session_id).where(its.session_id.in_(ids))).scalars())
            ours = [one for one in sessions if one.session_id not in taken]
            entries = [
                {"session_id": one.session_id, "seq": seq, "at": when, "body": to_bytes(body)}
                for one in ours
                for seq, when, body in one.journal
            ]
            messages = [
                {"session_id": one.session_id, "number": number, "body": to_bytes(body)}
                for one in ours
                for number, body in enumerate(one.context)
            ]
            for table in (_ENTRIES, _MESSAGES):
                tables.execute(table.delete().where(table.c.session_id.in_([one.session_id for one in ours])))
            rows = [_row(one, at, by) for one in ours]
            for table, made in ((_ENTRIES, entries), (_MESSAGES, messages), (_SESSIONS, rows)):
                if made:
                    tables.execute(table.insert(), made)
        return tuple(sorted(taken))

    def record(self, session_id: str) -> dict[str, str] | None:
        """Return the hash fields of a session."""
        return self._fields(session_id, _SESSIONS.c.record)

    def intents(self, session_id: str) -> dict[str, str] | None:
        """Return the intents that a session ended with."""
        return self._fields(session_id, _SESSIONS.c.intents)

    def _fields(self, session_id: str, column: "sql.Column[bytes]") -> dict[str, str] | None:
        with self._begin() as tables:
            body = tables.execute(sql.select(column).where(_SESSIONS.c.session_id == session_id)).scalar()
        return None if body is None else dict(json.loads(body))

    def journal(self, session_id: str, after: int, count: int) -> list[tuple[int, int, str]]:
        """Return journal entries with numbers above `after`: number, time, body."""
        at = _ENTRIES.c
        query = sql.select(at.seq, at.at, at.body).where(at.session_id == session_id, at.seq > after)
        with self._begin() as tables:
            rows = tables.execute(query.order_by(at.seq).limit(count)).all()
        return [(seq, when, to_text(body)) for seq, when, body in rows]

    def context(self, session_id: str, start: int) -> list[str]:
        """Return the context's messages from index `start` on; below 0 it counts from the end."""
        at = _MESSAGES.c
        with self._begin() as tables:
            if start < 0:
                total = tables.execute(sql.select(sql.func.count()).where(at.session_id == session_id)).scalar_one()
                start = max(total + start, 0)
            query = sql.select(at.body).where(at.session_id == session_id, at.number >= start).order_by(at.number)
            return [to_text(body) for (body,) in tables.execute(query).all()]

    def page(
        self, app: str, status: str | None, before: tuple[int, str] | None, since_at: int | None, limit: int
    ) -> list[ArchivedRow]:
        """Return the newest rows before a place (time, id), none older than `since_at`; without an app, of all."""
        at = _SESSIONS.c
        terms = [*self._where(app or None, status), *self._before(before)]
        if since_at is not None:
            terms.append(at.ended_at >= since_at)
        return self._rows(terms, limit)

    def search(
        self, words: Sequence[str], app: str | None, limit: int, *, before: tuple[int, str] | None = None
    ) -> list[ArchivedRow]:
        """Return the newest rows before a place that hold all these words, whatever their case."""
        terms = [_SESSIONS.c.words.contains(_plain(word.casefold()), autoescape=True) for word in words]
        return self._rows([*terms, *self._where(app, None), *self._before(before)], limit)

    def _before(self, place: tuple[int, str] | None) -> list[sql.ColumnElement[bool]]:
        if place is None:
            return []
        at, (ended_at, session_id) = _SESSIONS.c, place
        return [sql.or_(at.ended_at < ended_at, sql.and_(at.ended_at == ended_at, self._by_id < session_id))]

    def _rows(self, terms: Sequence[sql.ColumnElement[bool]], limit: int) -> list[ArchivedRow]:
        at = _SESSIONS.c
        query = sql.select(at.session_id, at.app, at.status, at.ended_at).where(*terms)
        with self._begin() as tables:
            found = tables.execute(query.order_by(at.ended_at.desc(), self._by_id.desc()).limit(limit)).all()
        return [ArchivedRow(*row) for row in found]

    def count(self, app: str, status: str | None) -> int:
        """Count an app's sessions, of one status where given."""
        query = sql.select(sql.func.count()).select_from(_SESSIONS).where(*self._where(app, status))
        with self._begin() as tables:
            return int(tables.execute(query).scalar_one())

    def _where(self, app: str | None, status: str | None) -> list[sql.ColumnElement[bool]]:
        asked = [
            (column, text)
            for column, text in ((_SESSIONS.c.app, app), (_SESSIONS.c.status, status))
            if text is not None
        ]
        if any("\x00" in text for _, text in asked):  # PostgreSQL takes no such text, not even to compare it
            return [sql.false()]
        return [column == text for column, text in asked]

    def figures(self) -> ArchiveFigures:
        """Return how much there is."""
        at = _SESSIONS.c
        query = sql.select(
            sql.func.count(), sql.func.min(at.ended_at), sql.func.max(at.ended_at), sql.func.max(at.archived_at)
        )
        with self._begin() as tables:
            sessions, first, last, archived = tables.execute(query.select_from(_SESSIONS)).one()
            entries = tables.execute(sql.select(sql.func.count()).select_from(_ENTRIES)).scalar_one()
        return ArchiveFigures(sessions, entries, first or 0, last or 0, archived or 0)

    def count_ended(self, before: int) -> int:
        """Count the sessions that ended before that time (ms)."""
        query = sql.select(sql.func.count()).select_from(_SESSIONS).where(_SESSIONS.c.ended_at < before)
        with self._begin() as tables:
            return int(tables.execute(query).scalar_one())

    def purge(self, before: int, limit: int) -> int:
        """Delete for good sessions that ended before that time (ms), at most `limit`; return how many."""
        at = _SESSIONS.c
        with self._begin() as tables:
            query = sql.select(at.session_id).where(at.ended_at < before).order_by(at.ended_at).limit(limit)
            ids = list(tables.execute(query).scalars())
            for table in (_SESSIONS, _ENTRIES, _MESSAGES):
                tables.execute(table.delete().where(table.c.session_id.in_(ids)))
        return len(ids)

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()


def to_bytes(text: str) -> bytes:
    """Return the bytes that the store held; what was no text there came as lone surrogates."""
    return text.encode(errors="surrogateescape")


def to_text(body: bytes) -> str:
    """Return a text as the store would have given it."""
    return bytes(body).decode(errors="surrogateescape")


def _row(session: StoredSession, at: int, by: str) -> dict[str, object]:
    record = session.record
    return {
        "session_id": session.session_id,
        "app": record["app"],
        "status": record.get("status", ""),
        "ended_at": int(record["since"]),
        "created_at": int(record["created"]),
        "archived_at": at,
        "archived_by": by[:200],
        "record": json.dumps(dict(record)).encode(),
        "intents": json.dumps(dict(session.intents)).encode(),
        "words": searchable(session.session_id, record),
    }


def searchable(session_id: str, record: Mapping[str, str]) -> str:
    """Return what a session can be found by: id, app, status, actor, text, fields and state, in one case.

    >>> searchable("S-20260101-001", {"app": "a", "text": "Look HERE"})
    's-20260101-001\\na\\nlook here'
    """
    parts = (
        session_id,
        *(record.get(name, "") for name in ("app", "status", "actor", "parent", "text", "fields", "state")),
    )
    return _plain("\n".join(part for part in parts if part)[:SEARCH_CHARS].casefold())


def _plain(text: str) -> str:
    """Return a text as it is kept to be searched: what not every database takes is another character."""
    return text.encode(errors="replace").decode().replace("\x00", " ")


def _identity(tables: sql.Connection) -> str:
    """Return the archive's own name, made with its first use."""
    query = sql.select(_META.c.value).where(_META.c.name == "id")
    found = tables.execute(query).scalar()
    if found is None:
        found = uuid4().hex
        tables.execute(_META.insert(), {"name": "id", "value": found})
    return str(found)


def _make_file(database: str | None) -> None:
    """Create the file, for its owner alone."""
    if not database or database == ":memory:":
        raise ConfigError("archive.url: an archive in memory keeps nothing; name a file: sqlite:////path/archive.db")
    path = Path(database)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise ConfigError(f"archive.url: {path}: {error.strerror}; choose another file, or make it writable") from error


def find_file(url: str) -> Path | None:
    """Return the file of an archive by URL; None for one that is no file. Raise ConfigError for what is no URL."""
    try:
        parsed = sql.make_url(url)
    except ArgumentError as error:
        raise ConfigError(_no_url(mask_url(url))) from error
    return Path(parsed.database) if parsed.drivername.startswith("sqlite") and parsed.database else None


def check_folder(url: str) -> None:
    """Raise ConfigError where the folder of an archive's file is not there: only what writes into an archive makes it."""
    file = find_file(url)
    if file is not None and not file.parent.is_dir():
        raise ConfigError(
            f"archive.url: {file.parent}: there is no such folder, so nothing is archived there; mount or make it, or mend the URL"
        )


def _no_url(shown: str) -> str:
    return f"archive.url {shown}: not a database's URL; use sqlite:////path or postgresql://…"


def copy_file(source: Path, target: Path) -> None:
    """Write what an archive's file holds at one moment into a new one, for its owner alone; others go on with it meanwhile."""
    target.touch(mode=0o600)
    with closing(sqlite3.connect(source, timeout=BUSY_SECONDS)) as read, closing(sqlite3.connect(target)) as written:
        read.backup(written)


def _set_up_sqlite(connection: object, _: object) -> None:
    """Let readers read while somebody writes; what is committed is on the disk, for the store forgets it then."""
    cursor = connection.cursor()  # type: ignore[attr-defined]
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_SECONDS * 1000}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
