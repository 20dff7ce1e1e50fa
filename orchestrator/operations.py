"""What operators ask of a store beyond single sessions: pages, queues, pauses, dead letters, tokens, rates, their log.

Beside `client`, and for the same callers: an interface goes through one of the two. Every change names its actor, and those
that belong to no session are written to the operators' log.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.client import Client
from orchestrator.contracts.access import TOKEN_MARK, Role, Token, digest_token, is_token_name
from orchestrator.contracts.base import JsonObject, load_json
from orchestrator.contracts.errors import InputError, suggest
from orchestrator.contracts.session import Record
from orchestrator.search import Unread, read_row
from orchestrator.store.access import Act, Audit, Rates, Tokens
from orchestrator.store.intake import SKIPPED
from orchestrator.store.listing import Group, Listing, Place
from orchestrator.store.pauses import Pause, Pauses

__all__ = ["Act", "Group", "Line", "Operations", "Page", "Pause", "Place", "Query"]

QUEUES = ("steps", "plugins", "finalize")

#: What the queues are called at the broker, unless the settings say otherwise.
QUEUE_NAMES = {queue: f"baton.{queue}" for queue in QUEUES}

#: The bucket of what asks a person, of every kind or with /KIND; it stands in `waiting` as well.
ASKS = "asks"

#: How many sessions one filtered page looks at; what is left is behind its cursor.
SCAN_ROWS = 2_000
#: How many are read at once while looking.
SCAN_STEP = 200


@dataclass(frozen=True, slots=True)
class Query:
    """Which sessions: `bucket` is a phase, ended/STATUS, asks or asks/KIND, times are the store's ms.

    `text` is looked for in id and text. What the index cannot tell (all but app, bucket and times) costs a read a session.
    """

    app: str = ""
    bucket: str = ""
    since_at: int | None = None
    actor: str = ""
    parent: str = ""
    text: str = ""

    @property
    def is_filtered(self) -> bool:
        """Whether records must be looked at one by one."""
        return bool(self.actor or self.parent or self.text)

    def fits(self, record: Record) -> bool:
        """Say whether a session is wanted."""
        return (
            (not self.actor or record.actor == self.actor)
            and (not self.parent or record.parent == self.parent)
            and (not self.text or self.text.lower() in f"{record.session_id}\n{record.text}".lower())
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Sessions as lists show them (Views.outline), newest first, and where the next page begins; None where there is none.

    `unread` are those between them that this Baton cannot read: of a filtered page, nobody knows whether they fit.
    """

    records: tuple[Record, ...]
    after: Place | None
    unread: tuple[Unread, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One queue's line: what waits in it, since when (the store's ms), what runs, and with how many slots."""

    queue: str
    in_line: int
    oldest_at: int | None
    running: int
    slots: int
    workers: int
    is_paused: bool


class Operations:
    """An operator's view of one store."""

    def __init__(self, client: Client, *, queue_names: Mapping[str, str] = QUEUE_NAMES) -> None:
        self.client = client
        self._queue_names = queue_names
        self.tokens = Tokens(client.store)
        self.rates = Rates(client.store)
        self.audit = Audit(client.store)
        self._listing = Listing(client.store)
        self._pauses = Pauses(client.store)

    async def now_ms(self) -> int:
        """Return the store's time."""
        return await self.client.store.now_ms()

    # --- lists

    async def page(self, query: Query, *, before: Place | None = None, limit: int = 50) -> Page:
        """Return the newest sessions before a place. A filtered page may hold fewer than there are behind it."""
        found: list[Record] = []
        unread: list[Unread] = []
        looked = 0
        while True:
            most = min(limit if not query.is_filtered else SCAN_STEP, SCAN_ROWS - looked)
            rows = await self.client.views.rows(
                app=query.app, bucket=query.bucket, before=before, since_at=query.since_at, limit=most
            )
            looked += len(rows)
            read = await asyncio.gather(*(read_row(self.client, row) for row in rows))
            for row, one in zip(rows, read, strict=True):
                before = Place(row.since_at, row.session_id)
                if isinstance(one, Unread):
                    unread.append(one)
                elif one is not None and query.fits(one.record):
                    found.append(one.record)
                else:
                    continue
                if len(found) + len(unread) == limit:
                    return Page(tuple(found), before, tuple(unread))
            if len(rows) < most:
                return Page(tuple(found), None, tuple(unread))
            if looked >= SCAN_ROWS:
                return Page(tuple(found), before, tuple(unread))

    async def groups(self) -> list[Group]:
        """Return how many sessions of the store stand in each phase (or ended/STATUS) of each app."""
        return [one for one in await self._listing.tally() if not one.bucket.startswith(f"{ASKS}/")]

    async def asking(self) -> list[Group]:
        """Return how many sessions of each app ask a person, by kind, and since when: groups of asks/KIND."""
        return [one for one in await self._listing.tally() if one.bucket.startswith(f"{ASKS}/")]

    async def seqs(self, session_ids: list[str]) -> list[int]:
        """Return the number of each session's latest journal entry, 0 for one that is not there."""
        return await self._listing.seqs(session_ids)

    # --- queues

    async def lines(self) -> list[Line]:
        """Return each queue's line."""
        groups, members, paused = await asyncio.gather(self.groups(), self.client.workers(), self._pauses.targets())
        workers = [info for info in members if info.kind == "worker" and not info.draining]
        lines = []
        for queue in QUEUES:
            waiting = [one for one in groups if one.queue == queue]
            name = self._queue_names[queue]
            able = [info for info in workers if not info.queues or name in info.queues]
            if queue == "plugins":
                slots, running = sum(w.plugin_slots for w in able), sum(w.plugins_running for w in able)
                able = [info for info in able if info.plugin_slots]
            else:
                slots, running = sum(w.slots for w in able), sum(w.running for w in able)
            lines.append(
                Line(
                    queue=queue,
                    in_line=sum(one.count for one in waiting),
                    oldest_at=min((one.oldest_at for one in waiting), default=None),
                    running=running,
                    slots=slots,
                    workers=len(able),
                    is_paused=f"queue:{queue}" in paused,
                )
            )
        return lines

    async def pauses(self) -> list[Pause]:
        """Return what is paused, since when, and by whom."""
        return await self._pauses.every()

    async def pause(self, target: str, *, actor: str, reason: str = "") -> bool:
        """Wake nothing new of `queue:NAME` or `app:NAME`; return False where it was paused already."""
        await self.check_target(target)
        changed = await self._pauses.put(target, actor=actor, reason=reason[:500])
        if changed:
            await self.audit.write("pause", actor=actor, target=target, data={"reason": reason[:500]})
        return changed

    async def unpause(self, target: str, *, actor: str) -> bool:
        """Let it go on; return False where it was not paused."""
        changed = await self._pauses.remove(target)
        if changed:
            await self.audit.write("unpause", actor=actor, target=target)
        else:
            await self.check_target(target)
        return changed

    async def mark_restored(self, *, actor: str, reason: str) -> tuple[str, ...]:
        """Make a store that came back from a backup safe to look at; return which queues are paused now, and were not.

        What its sessions did after the backup they would do again: a person decides when they go on. Ids of today's sessions go on
        far behind those that were given, of every app that is installed here or has sessions.
        """
        paused = [one for one in QUEUES if await self.pause(f"queue:{one}", actor=actor, reason=reason)]
        prefixes = {spec.session_id_prefix for spec in self.client.specs.values()}
        for app in await self.client.views.apps():
            prefixes |= {row.session_id.rsplit("-", 2)[0] for row in await self.client.views.rows(app=app, limit=1)}
        # Further with each minute of the day: the same backup may be put back a second time, behind what was given since the first.
        minute = await self.client.store.now_ms() // 60_000 % 1_440
        for prefix in sorted(prefixes):
            number = int((await self.client.intake.mint(prefix)).rsplit("-", 1)[1])
            await self.client.intake.mint(prefix, step=max(SKIPPED * (minute + 1) - number, SKIPPED))
        await self.audit.write("restored", actor=actor, target="store", data={"reason": reason[:500]})
        return tuple(paused)

    async def check_target(self, target: str) -> None:
        """Raise InputError for what cannot be paused."""
        kind, _, name = target.partition(":")
        if kind == "queue":
            if name not in QUEUES:
                raise InputError(f"queue {name!r}: there is none; {suggest(name, QUEUES)}")
            return
        known = {*self.client.specs, *await self.client.views.apps()}
        if kind != "app" or name not in known:
            raise InputError(f"app {name!r}: not known here; {suggest(name, known)}")

    async def drain_worker(self, name: str, *, actor: str) -> None:
        """Order a worker to finish what runs and take nothing new."""
        await self.client.drain_worker(name)
        await self.audit.write("drain", actor=actor, target=name)

    # --- dead letters

    async def letters(self, records: Sequence[Record]) -> list[JsonObject]:
        """Return what is kept of each dead session's death: reason, detail, attempts, at."""
        bodies = await self._listing.letters([record.session_id for record in records])
        found: list[JsonObject] = []
        for body, record in zip(bodies, records, strict=True):
            info = load_json(body) if body else None
            plain: JsonObject = {"reason": record.reason, "attempts": record.attempts, "at": record.since_at}
            found.append(info if isinstance(info, dict) else plain)
        return found

    # --- tokens

    async def make_token(
        self, name: str, roles: Sequence[Role], *, actor: str, seconds: float | None = None, dry_run: bool = False
    ) -> tuple[str, Token]:
        """Return a new secret, which is kept nowhere, and the token that it opens; in a dry run the secret is "" and nothing is made."""
        if not is_token_name(name):
            raise InputError(
                f"token {name[:80]!r}: no name for a token; use 1 to 100 letters, digits, and . _ @ : - after the first"
            )
        if not roles:
            raise InputError(f"token {name}: it has no role; give it one of viewer, submitter, approver, operator")
        if any(one.name == name for one in await self.tokens.every()):
            raise InputError(f"token {name!r}: there is one of that name; revoke it first, or choose another name")
        secret = TOKEN_MARK + secrets.token_urlsafe(32)
        now = await self.client.store.now_ms()
        token = Token(
            name=name,
            sha256=digest_token(secret),
            roles=tuple(dict.fromkeys(roles)),
            created_at=now,
            created_by=actor,
            expires_at=None if seconds is None else now + int(seconds * 1000),
        )
        if dry_run:
            return "", token
        await self.tokens.put(token)
        await self.audit.write("token.new", actor=actor, target=name, data={"roles": list(token.roles)})
        return secret, token

    async def revoke_token(self, name: str, *, actor: str, dry_run: bool = False) -> None:
        """Make a token open nothing any more; raise InputError for a name that no token has."""
        tokens = await self.tokens.every()
        found = [one for one in tokens if one.name == name]
        if not found:
            raise InputError(
                f"token {name!r}: there is none in the store; {suggest(name, [one.name for one in tokens])}"
            )
        if dry_run:
            return
        for token in found:
            await self.tokens.remove(token.sha256)
        await self.audit.write("token.revoke", actor=actor, target=name)

    async def acts(self, *, limit: int, before: str = "") -> list[Act]:
        """Return the operators' log, newest first."""
        return await self.audit.read(limit=limit, before=before)
