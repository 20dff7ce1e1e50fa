"""Fork a session: find how it stood at an entry of its journal, and begin another one there.

The origin is only read: it may run, wait, be a dead letter, have ended, or lie in the archive. What a fork takes over and what
it does not is decided in kernel/forking.py. Reading goes back to the last mark before the entry (store/scripts/mark.lua), so its
cost is bounded by the steps between two marks and by the context, not by the session's age.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from pydantic import JsonValue

from orchestrator import tracing
from orchestrator.app_state import validate_state
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import InputError, PhaseRefused, Unreadable, suggest
from orchestrator.contracts.ids import check_session_id
from orchestrator.kernel.forking import Point, StoredEntry, fold_point, is_open, plan_fork, read_mark
from orchestrator.store.forks import create_fork
from orchestrator.store.intake import Submitted
from orchestrator.store.request_keys import digest_of
from orchestrator.store.views import read_body

if TYPE_CHECKING:
    from orchestrator.client import Client

#: The word for the version of the app that this caller has.
CURRENT: Final = "current"
#: Entries of one reading; readings go out together.
PAGE: Final = 500


async def fork_session(
    client: "Client",
    session_id: str,
    *,
    at: int | None = None,
    state: Mapping[str, JsonValue] | None = None,
    version: str | None = None,
    actor: str,
    key: str | None = None,
    dry_run: bool = False,
) -> Submitted:
    """Begin a session where another one stood after entry `at` of its journal, or where it last had something to do.

    `state` takes the place of these top-level keys, `version` (a digest or its beginning, or `current`) of the app's version;
    with `key`, at most one session for this app and key. Raise SessionNotFound, InputError for an entry or a version that is
    not there, PhaseRefused where the work was done by then, InvalidOverrides, PayloadTooLarge, KeyConflict: then no record
    exists. The origin is only read. With `dry_run` nothing is written, and the answer's id is the origin's.
    """
    check_session_id(session_id)
    point = await find_point(client, session_id, at)
    spec = await _find_version(client, point, version)
    app = client.specs.get(point.fields["app"])
    own_state = None
    if state is not None:
        own_state = validate_state(client.spec(point.fields["app"]), {**point.state, **state})
    with tracing.span("fork", is_root=True) as traced:
        # Of the state the caller's own words: the rest is the origin's, which goes on meanwhile.
        words = None if state is None else dict(sorted(state.items()))
        request: JsonObject = {"fork": session_id, "at": at, "state": words, "version": version, "actor": actor}
        stamp = digest_of(request)
        prefix = session_id.rsplit("-", 2)[0]
        new_id, seconds = session_id, 0
        if not dry_run:
            new_id, seconds = await client.intake.mint_once(prefix, point.fields["app"], stamp, key=key)
        names = [name for name, path in app.injected_args.items() if path == "session.id"] if app else []
        plan = plan_fork(point, session_id, new_id, actor=actor, state=own_state, spec=spec, injected_ids=names)
        record = plan.record.model_copy(update={"trace": traced.traceparent})
        if app is not None and app.digest() == record.spec and record.cursor.skill not in app.skills:
            raise InputError(
                f"fork of {session_id}: version {record.spec} of {app.name} has no skill {record.cursor.skill!r}; "
                f"fork at another entry, {suggest(record.cursor.skill, app.skills)}"
            )
        messages = await client.views.context_text(session_id, count=point.messages)
        if len(messages) < point.messages:
            raise Unreadable(
                f"session {session_id}: {len(messages)} messages are kept, its journal has {point.messages}; restore a backup"
            )
        if dry_run:
            return Submitted(session_id, created=False)
        created = await create_fork(
            client.store,
            record,
            rank=point.fields["rank"],
            intents=plan.intents,
            messages=messages,
            data=plan.data,
            stamp=stamp if key is not None else f"{stamp}:{uuid4().hex}",
            key=key,
            key_seconds=seconds,
        )
        traced.note(session_id=new_id, app=record.app, created=created)
    return Submitted(new_id, created=created or key is None)


async def find_point(client: "Client", session_id: str, at: int | None) -> Point:
    """Return how a session stood after entry `at`, or where it last had something to do.

    Raise SessionNotFound, InputError for an entry that it does not have, PhaseRefused where its work was done by then.
    """
    if at is not None and at < 1:
        raise InputError(f"session {session_id}: entry {at}: entries are numbered from 1; see `baton events`")
    head = at
    if at is None:
        head = (await client.show(session_id)).seq
    point = await _read_point(client, session_id, head or 1)
    if not is_open(point) and not point.open_seq:  # the mark lay behind its end
        point = await _read_point(client, session_id, point.seq, from_mark=False)
    if is_open(point):
        return point
    if at is None and point.open_seq:
        return await _read_point(client, session_id, point.open_seq)
    raise PhaseRefused(
        f"session {session_id}: at entry {point.seq} its work is done; fork it at {point.open_seq} or before"
    )


async def _read_point(client: "Client", session_id: str, seq: int, *, from_mark: bool = True) -> Point:
    mark = await client.views.mark_before(session_id, seq) if from_mark else None
    base = None if mark is None else read_mark(*mark)
    entries = await read_entries(client, session_id, after=0 if base is None else base.seq, upto=seq)
    if base is None and not entries:
        await client.show(session_id)
        raise Unreadable(f"session {session_id}: its journal is empty; restore a backup")
    point = base if base is not None and not entries else fold_point(base, entries)
    if point.seq < seq:
        raise InputError(f"session {session_id}: no entry {seq} yet, the last is {point.seq}; see `baton events`")
    return point


async def read_entries(client: "Client", session_id: str, *, after: int, upto: int) -> list[StoredEntry]:
    """Return the entries from `after` (without) to `upto` (with), as far as there are any; all pages are asked for at once."""
    starts = range(after, upto, PAGE)
    pages = await asyncio.gather(
        *(client.views.journal_text(session_id, after=start, count=min(PAGE, upto - start)) for start in starts)
    )
    found: list[StoredEntry] = []
    for page in pages:
        found += [(seq, at, read_body(session_id, seq, text)) for seq, at, text in page]
    return found


async def _find_version(client: "Client", point: Point, version: str | None) -> str | None:
    """Return the digest that a word for a version means, None for the origin's own; raise InputError."""
    if version is None:
        return None
    name, own = point.fields["app"], point.fields["spec"]
    if version == CURRENT:
        return client.spec(name).digest()
    known = {own, *(info.digests[name] for info in await client.workers() if name in info.digests)}
    if name in client.specs:
        known.add(client.specs[name].digest())
    near = sorted(digest for digest in known if digest.startswith(version))
    if len(near) != 1:
        told = ", ".join(sorted(known))
        raise InputError(f"version {version!r} of {name}: no worker has it; write {CURRENT}, or one of {told}")
    return near[0]
