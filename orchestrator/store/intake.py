"""Taking sessions in: ids, idempotent submission, posts to the mailbox, replay of dead letters.

Submission by idempotency key: mint an id, reserve (app, key) for it, create the session (request_keys.py).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from orchestrator.contracts.base import JsonObject, dump_json, load_json
from orchestrator.contracts.errors import (
    InputError,
    KeyConflict,
    NotWaiting,
    PayloadTooLarge,
    PhaseRefused,
    SessionNotFound,
    StoreError,
    StoreUnreachable,
    Unreadable,
)
from orchestrator.contracts.event_names import CANCEL_REQUESTED
from orchestrator.contracts.ids import format_session_id
from orchestrator.contracts.messages import Message
from orchestrator.contracts.session import Cursor, Entry, Post, Record
from orchestrator.store.codec import advise_newer, encode_submission
from orchestrator.store.keys import APPS, BELL, CANCELS, counter_key
from orchestrator.store.request_keys import RequestKeys, Stamp, digest_of, is_anothers, mark_of
from orchestrator.store.store import Store
from orchestrator.store.wire import Reply

#: How long a day's counter of ids is kept: longer than any clock is wrong.
COUNTER_SECONDS = 3 * 86_400
#: By how many numbers ids go on where a store came back from a backup, which has forgotten those given since: more than a day has.
SKIPPED: Final = 1_000_000
#: Steps, each twice as long as the one before, in which a counter that was set back is taken past the ids that are taken.
MOST_STEPS: Final = 20
#: Entries of a journal among which a post is looked for at once.
POSTS_AT_ONCE: Final = 64
#: Refused answers that one session's journal keeps.
MOST_REFUSALS: Final = 32


@dataclass(frozen=True, slots=True)
class Submitted:
    """The session's id, and whether this very request created it."""

    session_id: str
    created: bool


@contextmanager
def _as_text(what: str) -> Iterator[None]:
    """Refuse what no encoding carries, before anything is made of it."""
    try:
        yield
    except (PydanticSerializationError, UnicodeEncodeError) as error:
        raise InputError(f"{what}: it holds text that is no UTF-8; write it in UTF-8") from error


def _find_post(rows: Reply, post_id: str) -> Post | None:
    """Return the post of this id from entries as a journal has them, None where it is not among them."""
    for _, flat in rows:
        try:
            told = load_json(flat[3])
        except ValueError:  # damaged: whoever reads the journal is told
            continue
        data = told.get("data") if isinstance(told, dict) else None
        post = data.get("post") if isinstance(data, dict) else None
        if isinstance(post, dict) and post.get("post_id") == post_id:
            return Post.model_validate(post)
    return None


class Intake:
    """What callers may put into the store."""

    def __init__(self, store: Store, *, key_ttl_seconds: int = 86_400) -> None:
        self._store = store
        self._key_ttl_seconds = key_ttl_seconds
        self._keys = RequestKeys(store)
        self._confirmed_apps: set[str] = set()
        #: The session that an idempotency key stands for, None while there is none.
        self.find = self._keys.find

    async def mint(self, prefix: str, *, step: int = 1) -> str:
        """Return a new id, so many numbers behind the last one; a number that is never used harms nothing."""
        day = datetime.fromtimestamp(await self._store.now_ms() / 1000, UTC)
        counter = counter_key(prefix, f"{day:%Y%m%d}")
        reply = await self._store.act_on_key("mint", counter, step, COUNTER_SECONDS)
        if reply[0] == "malformed":
            raise StoreError(f"id of a session {prefix}: not minted (malformed); this is a defect, report it")
        return format_session_id(prefix, day, int(reply[1]))

    async def mint_once(self, prefix: str, app: str, digest: str, *, key: str | None) -> tuple[str, int]:
        """Return the id of what this request creates, and for how many seconds its key is known: 0 without one.

        Raise KeyConflict where the key stands for another request.
        """
        session_id = await self.mint(prefix)
        for power in range(1, MOST_STEPS):  # as in `submit`
            if await self._keys.stamp_of(session_id) is None:
                break
            session_id = await self.mint(prefix, step=2**power)
        if key is None:
            return session_id, 0
        if not 1 <= len(key) <= 200:
            raise InputError("idempotency key: it must have 1 to 200 characters; shorten it")
        mark_of(key)  # refused before it is reserved
        seconds = self._key_ttl_seconds
        reserved, _, is_mine = await self._keys.reserve(app, key, session_id, (digest,), seconds)
        stamp = await self._keys.stamp_of(reserved)
        if is_mine and stamp is not None and is_anothers(stamp, key):
            reserved = await self._keys.move(app, key, reserved, session_id, digest, seconds)
        return reserved, seconds

    async def submit(
        self,
        draft: Record,
        prefix: str,
        *,
        key: str | None = None,
        key_seconds: int | None = None,
        messages: Sequence[Message] = (),
        asked: JsonObject | None = None,
    ) -> Submitted:
        """Create the session that `draft` describes (its session_id is minted here).

        A key is known for `key_seconds`, or as long as the settings say; it stands for what was `asked`, or for the draft.
        Raise InputError, PayloadTooLarge or KeyConflict; then nothing was created.
        """
        limits = self._store.limits
        with _as_text("submission"):
            fields, said = encode_submission(draft), tuple(message.to_json() for message in messages)
            # An older Baton knew a request by the session that came of it, but for the app's version and what it wrote itself.
            made = {**fields, "cursor": dump_json({"skill": draft.cursor.skill})}
            digests = [digest_of({name: value for name, value in made.items() if name not in {"spec", "trace"}})]
            if asked is not None:
                digests.insert(0, digest_of(asked))
            digest = digests[0]
        mark = mark_of(key) if key is not None else ""
        for name, limit in (("text", limits.text_bytes), ("state", limits.state_bytes)):
            size = len(fields[name].encode())
            if size > limit:
                raise PayloadTooLarge(f"submission: {name}", size, limit)
        session_id = await self.mint(prefix)
        seconds, is_mine = key_seconds or self._key_ttl_seconds, True
        if key is not None:
            session_id, digest, is_mine = await self._keys.reserve(draft.app, key, session_id, digests, seconds)
        # Nobody looks for sessions of an app that is not there, and on a cluster it may lie on another server than they do. That
        # it is there already says nothing: it may be by an act of our own whose answer was lost, or of one who is not sure yet.
        if draft.app not in self._confirmed_apps or await self._store.command("SADD", APPS, draft.app):
            await self._store.command_beside("SADD", APPS, draft.app)
            self._confirmed_apps.add(draft.app)
        entry = Entry(kind="submitted", actor=draft.actor, set=fields, messages=said)
        flat: list[str | int] = [part for pair in fields.items() for part in pair]
        if self._store.format > 1:
            flat += ["format", self._store.format]
        if key is not None:  # for how long `prune` must leave a trace of it
            flat += ["key_seconds", seconds, "key", mark]
        # Without a key nobody else has this stamp: "existing" is then our own act, repeated.
        stamp = digest if key is not None else f"{digest}:{uuid4().hex}"
        words = (stamp, BELL, entry.to_json(), len(flat) // 2, *flat, *said)
        reply = await self._store.act("submit", session_id, *words, critical=True)
        # The counter may have gone back with a server that failed over, while the sessions lie on others: soon past them.
        for power in range(1, MOST_STEPS if is_mine else 0):
            if reply[0] != "taken" or not is_anothers(Stamp(*reply[1:3]), key):
                break
            taken, session_id = session_id, await self.mint(prefix, step=2**power)
            if key is not None:
                session_id = await self._keys.move(draft.app, key, taken, session_id, digest, seconds)
            reply = await self._store.act("submit", session_id, *words, critical=True)
        if reply[0] == "taken" and key is not None:  # who had the key from one that died, too, was quicker
            raise KeyConflict(key, session_id)
        if reply[0] == "malformed":
            raise StoreError(f"session {session_id}: submission refused (malformed); this is a defect, report it")
        if reply[0] == "taken":
            raise StoreError(f"session {session_id}: the id is taken by another submission; the id counter was reset?")
        return Submitted(session_id, created=key is None or reply[0] == "created")

    async def post(self, session_id: str, post: Post, *, answers: str | None = None) -> bool:
        """Put a post into the mailbox; return False where the same post was taken before.

        `answers` names the wait that this post is the answer to: it is accepted once.
        """
        with _as_text(f"session {session_id}: post"):
            body = post.to_json()
        limits = self._store.limits
        if len(body.encode()) > limits.text_bytes:
            raise PayloadTooLarge(f"session {session_id}: post", len(body.encode()), limits.text_bytes)
        data: JsonObject = {"post": post.model_dump(mode="json", exclude_defaults=True)}
        if post.kind == "cancel":
            data["event"] = CANCEL_REQUESTED
        entry = Entry(kind="posted", actor=post.actor, data=data)
        reply = await self._store.act(
            "post",
            session_id,
            post.post_id,
            body,
            entry.to_json(),
            answers or "",
            limits.mailbox_posts + (16 if post.kind == "cancel" else 0),  # a full mailbox must not prevent a cancel
            (post.text or "cancelled") if post.kind == "cancel" else "",
            BELL,
            CANCELS,
            int(post.immediate),
            self._store.format,
            critical=True,
        )
        answer = reply[0]
        if answer == "malformed":
            raise InputError(f"session {session_id}: a post needs an id; give it one")
        if answer == "missing":
            raise SessionNotFound(session_id)
        if answer == "settled":
            raise PhaseRefused(f"session {session_id}: it is {reply[1]} already; nothing more reaches it")
        if answer == "full":
            raise PayloadTooLarge(f"session {session_id}: mailbox", int(reply[1]), limits.mailbox_posts, unit="posts")
        if answer == "not_waiting":
            raise NotWaiting(f"session {session_id}: it does not wait for {answers}; see `baton show {session_id}`")
        if answer == "answered":
            raise NotWaiting(f"session {session_id}: {answers} was answered already; see `baton events {session_id}`")
        return bool(answer == "posted")

    async def took(self, session_id: str, post_id: str) -> bool:
        """Say whether a post of this id was taken before; a session knows its last 1,024.

        Whoever hears so relies on it, and whoever put it there may not have been told that it is safe. Raise StoreUnreachable
        where it is lost by then.
        """
        seen = self._store.keys.of_session("seen", session_id)
        if await self._store.command("ZSCORE", seen, post_id) is None:
            return False
        if await self._store.command_beside("ZSCORE", seen, post_id) is None:
            raise StoreUnreachable(f"session {session_id}: what was said was lost with a server; say it again")
        return True

    async def find_post(self, session_id: str, post_id: str) -> Post | None:
        """Return the post of this id that a session took before, as its journal has it; None where it cannot be found.

        The time of a post is known, and the journal's entries stand in the order of their times: it is looked for by halves.
        Neither is so where the server's clock went back meanwhile: what is not found so is looked for everywhere, newest first.
        """
        key = self._store.keys.of_session
        found = await self._store.command("ZSCORE", key("seen", session_id), post_id)
        if found is None:
            return None
        journal, at = key("journal", session_id), int(float(found))
        low, high = 1, int(await self._store.command("HGET", key("record", session_id), "seq") or 0) + 1
        while low < high:  # the first entry that is not before it
            middle = (low + high) // 2
            row = await self._store.command("XRANGE", journal, f"{middle}-0", "+", "COUNT", 1)
            if row and int(row[0][1][1]) < at:
                low = middle + 1
            else:
                high = middle
        rows, newest = await self._store.command("XRANGE", journal, f"{low}-0", "+", "COUNT", POSTS_AT_ONCE), "+"
        while (post := _find_post(rows, post_id)) is None:
            rows = await self._store.command("XREVRANGE", journal, newest, "-", "COUNT", POSTS_AT_ONCE)
            if not rows:
                return None
            newest = f"({rows[-1][0]}"
        return post

    async def note_refusal(self, session_id: str, actor: str, data: JsonObject) -> None:
        """Leave a line in the journal about an answer that was refused; a session keeps so many and no more."""
        entry = Entry(kind="refused", actor=actor, data=data)
        limits = self._store.limits
        words = (entry.to_json(), MOST_REFUSALS, limits.journal_entries, uuid4().hex)
        reply = await self._store.act("refuse", session_id, *words)
        if reply[0] == "malformed":
            raise StoreError(f"session {session_id}: note refused (malformed); this is a defect, report it")

    async def replay(self, session_id: str, actor: str, note: str = "") -> None:
        """Send a dead letter again, its failures forgotten; raise SessionNotFound or PhaseRefused.

        Only the letter that was read is sent: one that somebody else sent meanwhile, and that came back, is another one.
        """
        key = self._store.keys.of_session("record", session_id)
        stored, written, rev = await self._store.command("HMGET", key, "cursor", "format", "rev")
        try:
            cursor = Cursor.from_json(stored).model_copy(update={"failures": 0}).to_json() if stored else ""
        except ValidationError as error:
            advice = advise_newer(written) or "mend or remove it"
            raise Unreadable(f"session {session_id}: its cursor cannot be read ({error}); {advice}") from error
        entry = Entry(
            kind="replayed", actor=actor, set={"cursor": cursor, "failure": ""}, data={"note": note} if note else {}
        )
        request = uuid4().hex
        words = (entry.to_json(), BELL, cursor, self._store.format, request, rev or "0")
        reply = await self._store.act("replay", session_id, *words, critical=True)
        if reply[0] == "missing":
            raise SessionNotFound(session_id)
        if reply[0] == "not_dead":
            raise PhaseRefused(f"session {session_id}: it is {reply[1]}, not a dead letter; nothing to replay")
        if reply[0] == "changed":
            raise PhaseRefused(
                f"session {session_id}: it was sent again meanwhile and has died again; look at it, then replay"
            )
        if reply[0] == "malformed":
            raise StoreError(f"session {session_id}: replay refused (malformed); this is a defect, report it")
