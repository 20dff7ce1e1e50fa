"""The lease of a session: claim, renew, commit, release - all under the fencing token.

Safety: the record is written only by `commit`, and `commit` is refused unless it carries the
newest fence. Every claim and every rescue makes a newer one. So of all processes that ever held
a session only the newest can change it, however long another was paused and whatever its clock
says; a lease that ran out without a successor harms nobody, and its holder may still commit.
"""

from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal, NamedTuple, TypeAlias

from pydantic import ValidationError

from orchestrator.contracts.errors import LeaseLost, PayloadTooLarge, StoreError, Unreadable, Unsettled
from orchestrator.contracts.session import PendingCall, Post, Record
from orchestrator.store.codec import decode_record, pairs
from orchestrator.store.store import Store

#: Commits between two marks of a session: so many entries, about, a look back at it reads (scripts/mark.lua).
MARK_EVERY: Final = 500
#: No character takes more bytes: a text of few characters need not be encoded to know that it is small enough.
MOST_BYTES: Final = 4

Refusal: TypeAlias = Literal["missing", "settled", "busy", "early", "foreign", "newer", "buried", "suspect"]
Directive: TypeAlias = Literal["continue", "ready", "waiting", "finalizing", "ended", "dead"]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A session under our lease. `messages` are the context's entries from `known` on, as stored."""

    record: Record
    posts: tuple[Post, ...]
    intents: dict[str, PendingCall]
    messages: tuple[str, ...]
    context_length: int
    claimed_at: int
    ready_at: int


@dataclass(frozen=True, slots=True)
class ClaimRefused:
    """Why there is nothing to do here now; for `foreign`, `detail` is the spec's digest and `app` its app.

    For `newer`, `detail` is the format that a newer Baton has brought the session to.
    """

    answer: Refusal
    detail: str = ""
    app: str = ""


@dataclass(frozen=True, slots=True)
class ClaimedUnreadable:
    """We hold a session that cannot be read: bury it (store/unreadable.py)."""

    session_id: str
    fence: int
    error: str


class Commit(NamedTuple):
    """What one step writes. `fields` are hash fields as stored; see scripts/commit.lua.

    `due_at` is when a waiting session must be woken (None: only by a post). `sent_ms` says that
    the committing process sends the wake-up itself, and for how long it counts as under way. With `keep`, a session
    that is to be finalized stays under our lease: we do it next. With `settles`, an end brings the step along that led to it:
    two entries, in one write. `asks` says of a wait for a person which kind it is. `counters` are added to the store's own.
    """

    directive: Directive
    fields: dict[str, str]
    entries: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    taken: int = 0
    intents: dict[str, str] | None = None
    cleared: tuple[str, ...] = ()
    due_at: int | None = None
    sent_ms: int = 0
    status: str = ""
    reason: str = ""
    counters: dict[str, int] | None = None
    keep: bool = False
    settles: bool = False
    asks: str = ""

    @property
    def is_critical(self) -> bool:
        """Whether somebody outside relies on it: calls that are about to act or have acted, questions, ends.

        What it leaves out can be lost with the server and is simply done again: no one has seen it.
        """
        return bool(self.intents or self.cleared or self.asks) or self.directive in {"finalizing", "ended", "dead"}

    @property
    def only_advances(self) -> bool:
        """Whether it goes on under the lease and writes nothing but fields and one entry: the quicker `advance` will do."""
        return (
            self.directive == "continue"
            and len(self.entries) == 1
            and not (self.messages or self.taken or self.intents or self.cleared or self.counters)
        )


class Cancel(NamedTuple):
    """That a session was asked to stop: why, and whether without waiting for what runs."""

    reason: str
    immediate: bool = False


class Committed(NamedTuple):
    """The answer: the phase it came to, a cancel reason that arrived, posts still in the mailbox."""

    phase: str
    cancel: str
    posts: int
    replayed: bool


class Leases:
    """Claims and commits for one worker process."""

    def __init__(self, store: Store, *, lease_seconds: float, max_attempts: int) -> None:
        self._store = store
        self._lease_ms = int(lease_seconds * 1000)
        self._max_attempts = max_attempts

    async def claim(
        self,
        session_id: str,
        holder: str,
        digests: tuple[str, ...],
        *,
        known: int = -1,
        adopt: bool = False,
        alone: bool = False,
    ) -> Claimed | ClaimRefused | ClaimedUnreadable:
        """Take the lease. `holder` is unique to this claim; `known` context entries are not sent again.

        `alone` says that this process runs no other session of which holders died.
        """
        limits, flags = (self._lease_ms, self._max_attempts), (int(adopt), int(alone))
        reply = await self._store.act("claim", session_id, holder, *limits, known, *flags, self._store.format, *digests)
        if reply[0] == "malformed":
            raise StoreError(f"session {session_id}: claim refused (malformed); this is a defect, report it")
        if reply[0] != "claimed":
            return ClaimRefused(reply[0], *(str(part) for part in reply[1:3]))
        _, now, fence, flat, posts, intents, messages, length, since = reply
        stored = pairs(flat)
        try:
            return Claimed(
                record=decode_record(session_id, stored),
                posts=tuple(Post.from_json(post) for post in posts),
                intents={call: PendingCall.from_json(body) for call, body in pairs(intents).items()},
                messages=tuple(messages),
                context_length=length,
                claimed_at=now,
                ready_at=int(since),
            )
        except (Unreadable, ValidationError) as error:
            return ClaimedUnreadable(session_id, int(fence), str(error))

    async def commit(self, session_id: str, fence: int, rev: int, commit: Commit) -> Committed:
        """Write one step, or the last one and the settling; raise LeaseLost, PayloadTooLarge or Unsettled, having written nothing."""
        limits = self._store.limits
        for name, text in commit.fields.items():
            if len(text) * MOST_BYTES > limits.state_bytes:
                _check_size(session_id, name, text, limits.state_bytes)
        for text in commit.entries:
            if len(text) * MOST_BYTES > limits.entry_bytes:
                _check_size(session_id, "journal entry", text, limits.entry_bytes)
        for text in commit.messages:
            if len(text) * MOST_BYTES > limits.message_bytes:
                _check_size(session_id, "message", text, limits.message_bytes)
        if commit.only_advances:
            words = chain.from_iterable(commit.fields.items())
            most, entry = limits.journal_entries, commit.entries[0]
            reply = await self._store.act("advance", session_id, fence, rev, most, entry, *words)
        else:
            args = self._commit_args(fence, rev, commit)
            reply = await self._store.act("commit", session_id, *args, critical=commit.is_critical)
        answer = reply[0]
        if answer == "committed":
            if (rev + len(commit.entries)) % MARK_EVERY < len(commit.entries):
                await self._store.act("mark", session_id)
            return Committed(reply[1], reply[2], int(reply[3]), reply[4] == "replay")
        if answer in {"stale", "missing"}:
            raise LeaseLost(session_id, fence)
        if answer == "unsettled":
            raise Unsettled(f"session {session_id}: a post or a cancel has come; settle it in a step of its own")
        if answer == "large":
            raise PayloadTooLarge(f"session {session_id}: {reply[1]}", int(reply[2]), int(reply[3]))
        raise StoreError(f"session {session_id}: commit refused ({answer}: {reply[1:]}); this is a defect, report it")

    def _commit_args(self, fence: int, rev: int, commit: Commit) -> list[str | int]:
        limits, intents, counters = self._store.limits, commit.intents or {}, commit.counters or {}
        args: list[str | int] = [
            fence,
            rev,
            commit.directive,
            -1 if commit.due_at is None else commit.due_at,
            "keep" if commit.keep else "settles" if commit.settles else commit.sent_ms,
            commit.status,
            commit.asks if commit.directive == "waiting" else commit.reason,
            limits.journal_entries,
            limits.context_messages,
            len(commit.fields),
            len(commit.entries),
            len(commit.messages),
            commit.taken,
            len(intents),
            len(commit.cleared),
            len(counters),
        ]
        for pair in commit.fields.items():
            args.extend(pair)
        args.extend(commit.entries)
        args.extend(commit.messages)
        for pair in intents.items():
            args.extend(pair)
        args.extend(commit.cleared)
        for counter in counters.items():
            args.extend(counter)
        return args

    async def renew(self, session_id: str, fence: int) -> Cancel | None:
        """Extend the lease; return the cancel, or None where there is none. Raise LeaseLost."""
        reply = await self._store.act("renew", session_id, fence, self._lease_ms)
        if reply[0] != "renewed":
            raise LeaseLost(session_id, fence)
        return Cancel(reply[1], reply[2] == "1") if reply[1] else None

    async def release(self, session_id: str, fence: int) -> bool:
        """Hand the session back without a commit; say whether it was still ours."""
        reply = await self._store.act("release", session_id, fence)
        return bool(reply[0] == "released")


def _check_size(session_id: str, what: str, text: str, limit: int) -> None:
    size = len(text.encode())
    if size > limit:
        raise PayloadTooLarge(f"session {session_id}: {what}", size, limit)
