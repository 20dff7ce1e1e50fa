"""What a caller may do: submit, answer, cancel, read, wait, replay.

Every face of Baton (command line, HTTP, MCP) and every step that starts child sessions goes
through here and nothing deeper. With an archive, sessions are read wherever they lie. A refused
request has changed nothing. Every change names its actor. `specs` are the apps that this caller
knows; reading needs none. Answers to what sessions ask are in answering.py.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from uuid import uuid4

from pydantic import JsonValue

from orchestrator import tracing
from orchestrator.answering import Answering
from orchestrator.app_loader import validate_state
from orchestrator.archive import Archive
from orchestrator.archive_views import ArchivedIntake, ArchivedViews
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import (
    InputError,
    SessionNotFound,
    UnknownApp,
    suggest,
)
from orchestrator.contracts.ids import check_session_id, list_slips
from orchestrator.contracts.messages import Message
from orchestrator.contracts.phases import SETTLED
from orchestrator.contracts.session import Cursor, Entry, PendingCall, Post, Priority, Record
from orchestrator.contracts.streaming import FIRST_OFFSET, StreamPiece
from orchestrator.forks import fork_session
from orchestrator.kernel.compaction import shown
from orchestrator.kernel.plugin_pass import queue_of
from orchestrator.kernel.transcript import repair
from orchestrator.search import Found, Listed, Unread, read_row, search_sessions
from orchestrator.store.fleet import Fleet, WorkerInfo
from orchestrator.store.gauges import Gauges, archived_at, measure, server_info
from orchestrator.store.intake import Intake, Submitted
from orchestrator.store.listing import Place
from orchestrator.store.spending import Spending
from orchestrator.store.store import Store
from orchestrator.store.token_stream import TokenStream
from orchestrator.store.views import Views
from orchestrator.verification import verify_session

#: How often a waiting caller looks.
LOOK_SECONDS = 0.1


class Client(Answering):
    """A caller's view of one store."""

    def __init__(
        self,
        store: Store,
        specs: Mapping[str, AppSpec],
        *,
        key_ttl_seconds: int = 86_400,
        beat_seconds: float = 2.0,
        four_eyes: bool = False,
        archive: Archive | None = None,
    ) -> None:
        self.store = store
        self.specs = specs
        self.four_eyes = four_eyes
        self.archive = archive
        self.spending = Spending(store)
        self.fleet = Fleet(store, beat_seconds=beat_seconds)
        if archive is None:
            self.views = Views(store)
            self._intake = Intake(store, key_ttl_seconds=key_ttl_seconds)
        else:
            self.views = views = ArchivedViews(store, archive)
            self._intake = ArchivedIntake(store, views, key_ttl_seconds=key_ttl_seconds)
        self.intake = self._intake

    # --- submitting

    def spec(self, app: str) -> AppSpec:
        """Return a loaded app, or raise UnknownApp."""
        found = self.specs.get(app)
        if found is None:
            raise UnknownApp(app, self.specs)
        return found

    async def submit(
        self,
        app: str,
        *,
        text: str = "",
        overrides: Mapping[str, JsonValue] | None = None,
        actor: str,
        key: str | None = None,
        key_seconds: int | None = None,
        priority: Priority = "normal",
        parent: str | None = None,
        level: int = 0,
        entry_skill: str | None = None,
    ) -> Submitted:
        """Create a session; with `key`, at most one for this app and key, while the key is known (`key_seconds`).

        Raise UnknownApp, InvalidOverrides, PayloadTooLarge, KeyConflict: then no record exists.
        """
        spec = self.spec(app)
        state = validate_state(spec, dict(overrides or {}))
        entry = entry_skill or spec.entry_skill
        if entry not in spec.skills:
            raise InputError(f"app {app}: no skill {entry!r}; {suggest(entry, spec.skills)}")
        if key is not None and not 1 <= len(key) <= 200:
            raise InputError("idempotency key: it must have 1 to 200 characters; shorten it")
        draft = Record(
            session_id="",
            app=app,
            spec=spec.digest(),
            phase="ready",
            priority=priority,
            actor=actor,
            text=text,
            parent=parent,
            level=level,
            cursor=Cursor(skill=entry),
            state=state,
        )
        draft = draft.model_copy(update={"queue": queue_of(spec, draft)})
        asked: JsonObject = {
            "app": app,
            "text": text,
            "overrides": dict(sorted((overrides or {}).items())),
            "actor": actor,
            "priority": priority,
            "parent": parent,
            "level": level,
            "skill": entry_skill,
        }
        messages = (Message(role="user", content=text),) if text else ()
        prefix = spec.session_id_prefix
        with tracing.span("submit", is_root=True) as traced:
            draft = draft.model_copy(update={"trace": traced.traceparent})
            done = await self._intake.submit(
                draft, prefix, key=key, key_seconds=key_seconds, messages=messages, asked=asked
            )
            traced.note(session_id=done.session_id, app=app, created=done.created)
        return done

    fork = fork_session
    verify = verify_session

    async def _post(self, session_id: str, post: Post, *, answers: str | None = None) -> bool:
        with tracing.span(f"post {post.kind}") as traced:
            traced.note(session_id=session_id, wait_id=post.wait_id or "")
            if traced.traceparent:
                post = post.model_copy(update={"trace": traced.traceparent})
            try:
                return await self._intake.post(session_id, post, answers=answers)
            except SessionNotFound as error:
                raise await self._not_found(session_id) from error

    async def find_by_key(self, app: str, key: str) -> str | None:
        """Return the session that a submission with this idempotency key made, while the key is known."""
        return await self._intake.find(app, key)

    # --- posting
    # A post whose id is made here is nobody else's: one that was taken before is our own, whose answer was lost on the way.

    async def signal(
        self, session_id: str, name: str, *, actor: str, value: JsonValue = None, post_id: str | None = None
    ) -> bool:
        """Send a named signal; False where the same post id was taken before."""
        check_session_id(session_id)
        post = Post(post_id=post_id or f"signal:{uuid4().hex}", kind="signal", actor=actor, name=name, value=value)
        return await self._post(session_id, post) or post_id is None

    async def cancel(
        self, session_id: str, *, actor: str, reason: str = "", immediate: bool = False, post_id: str | None = None
    ) -> bool:
        """Ask a session to stop, its running tool calls done or, with `immediate`, at once; a settled one refuses.

        False where the same post id was taken before.
        """
        check_session_id(session_id)
        text = reason or f"cancelled by {actor}"
        name = post_id or f"cancel:{uuid4().hex}"
        post = Post(post_id=name, kind="cancel", actor=actor, text=text, immediate=immediate)
        return await self._post(session_id, post) or post_id is None

    async def deliver(self, session_id: str, post: Post, *, answers: str | None = None) -> bool:
        """Put a ready-made post into the mailbox; whether it counts is decided where it is taken."""
        return await self._post(check_session_id(session_id), post, answers=answers)

    async def post_child_ended(self, parent: str, child: Record, end: JsonObject) -> None:
        """Tell a parent how its child ended; saying it again changes nothing, unless it was a dead letter and was sent again."""
        name = child.session_id
        post_id = f"child:{name}:{child.replays}" if child.replays else f"child:{name}"
        post = Post(post_id=post_id, kind="child_ended", actor=f"session:{name}", name=name, value=end)
        await self._post(parent, post)

    # --- reading

    async def show(self, session_id: str) -> Record:
        """Return a session; an unknown id raises SessionNotFound with near ones."""
        try:
            return await self.views.record(session_id)
        except SessionNotFound as error:
            raise await self._not_found(session_id) from error

    async def _not_found(self, session_id: str) -> SessionNotFound:
        return SessionNotFound(session_id, await self.views.near(session_id, list_slips(session_id)))

    async def list_sessions(self, *, app: str | None = None, bucket: str | None = None, limit: int = 50) -> Found:
        """Return the newest sessions, by app and by phase (or ended/STATUS) where given, and those that cannot be read."""
        rows = await self.views.rows(app=app or "", bucket=bucket or "", limit=limit)
        found = await asyncio.gather(*(read_row(self, row) for row in rows))
        return Found(
            tuple(one for one in found if isinstance(one, Listed)),
            unread=tuple(one for one in found if isinstance(one, Unread)),
        )

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return how many sessions each app has in each phase."""
        return await self.views.counts()

    def events(self, session_id: str, *, after: int = 0) -> AsyncIterator[Entry]:
        """Yield a session's journal."""
        return self.views.iter_journal(check_session_id(session_id), after=after)

    async def context(self, session_id: str, *, start: int = 0) -> tuple[Message, ...]:
        """Return the messages that a session's models see, from index `start` on."""
        await self.show(session_id)
        return await self.views.context(session_id, start=start)

    async def seen(self, session_id: str) -> tuple[Message, ...]:
        """Return what a session's next model call would be shown: compacted and mended, where the context is whole and as it came."""
        record = await self.show(session_id)
        return repair(shown(await self.views.context(session_id), record.compacted)).messages

    async def stream(
        self, session_id: str, *, after: str = FIRST_OFFSET, follow: bool = True
    ) -> AsyncIterator[StreamPiece]:
        """Yield what a session's models write, from behind an offset on, until the session is settled.

        A piece of kind `gap` stands where some are no longer kept. Without `follow`, what there is now. The whole answers
        are in the journal. Raise SessionNotFound, or InputError for what is no offset.
        """
        tokens = TokenStream(self.store)
        while True:
            record = await self.show(session_id)
            pieces = await tokens.read(session_id, after)
            for piece in pieces:
                yield piece
                after = piece.offset
            if not pieces:
                if not follow or record.phase in SETTLED:
                    return
                await asyncio.sleep(LOOK_SECONDS)

    async def intents(self, session_id: str) -> dict[str, PendingCall]:
        """Return the tool calls that were announced and have no outcome yet, by call id."""
        return await self.views.intents(check_session_id(session_id))

    async def stats(self) -> dict[str, int]:
        """Return the store's counters, summed over all sessions."""
        return await self.views.stats()

    async def measure(self) -> Gauges:
        """Return what the store holds now, in figures, for every app that ever had a session here."""
        return await measure(self.store, await self.views.apps())

    async def server_info(self) -> dict[str, str]:
        """Return what the store's server says of itself (INFO)."""
        return await server_info(self.store)

    async def archived_at(self) -> int:
        """Return when ended sessions were last looked through for the archive, in the store's ms; 0 where never."""
        return await archived_at(self.store)

    async def explain(self, session_id: str) -> Entry | None:
        """Return the journal entry that settled a session, or None while it is not settled."""
        record = await self.show(session_id)
        if record.phase != "ended":
            return None
        settled = None
        async for entry in self.events(session_id, after=max(record.seq - 50, 0)):
            if entry.step == "finalize" and entry.kind == "step":
                settled = entry
        return settled

    async def search(
        self, words: Sequence[str], *, app: str | None = None, before: Place | None = None, limit: int = 50
    ) -> Found:
        """Return the newest sessions that hold all these words, in the store and in the archive; see `search`."""
        return await search_sessions(self, words, app=app, before=before, limit=limit)

    async def workers(self) -> list[WorkerInfo]:
        """Return who is at work."""
        return await self.fleet.members()

    async def wait_for(self, session_ids: Iterable[str], *, seconds: float) -> dict[str, Record]:
        """Return the sessions once each has ended or is dead; raise TimeoutError."""
        left, found = set(session_ids), {}
        async with asyncio.timeout(seconds):
            while left:
                records = await asyncio.gather(*(self.show(session_id) for session_id in sorted(left)))
                for record in records:
                    if record.phase in SETTLED:
                        found[record.session_id] = record
                        left.discard(record.session_id)
                if left:
                    await asyncio.sleep(LOOK_SECONDS)
        return found

    # --- dead letters

    async def dead_letters(self, *, limit: int = 100) -> list[tuple[str, JsonObject]]:
        """Return dead letters, newest first."""
        return await self.views.dead_letters(limit=limit)

    async def replay(self, session_ids: Sequence[str], *, actor: str, note: str = "") -> None:
        """Send dead letters again; the first that is none raises, those before it are sent."""
        for session_id in session_ids:
            try:
                await self._intake.replay(check_session_id(session_id), actor, note)
            except SessionNotFound as error:
                raise await self._not_found(session_id) from error

    async def drain_worker(self, name: str) -> None:
        """Order a worker to finish what runs and take nothing new."""
        names = [info.name for info in await self.workers()]
        if name not in names:
            raise InputError(f"worker {name!r}: not alive; {suggest(name, names)}")
        await self.fleet.order(name, "drain")

    async def aclose(self) -> None:
        """Close the store's connection, and the archive."""
        if self.archive is not None:
            await self.archive.aclose()
        await self.store.aclose()
