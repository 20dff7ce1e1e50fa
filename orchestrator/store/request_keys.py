"""Idempotency keys: which session a caller's key stands for, while the key is known.

A key is reserved for an id, with the digest of the request, before the session of that id is created; the session keeps the
stamp of the request that made it (the digest), and of what key it is. So whoever finds a key reserved and no session behind it
creates that very one: a submitter that died in between poisons nothing. And one key cannot mean two things: the digest differs.

Over several servers a key and its session lie apart, and a failover may take the session alone, and the counter of ids back:
then the id that a key names is soon somebody else's. A session that says itself that it is of another key, or of none, is
not the key's own: its own is lost, and the key is moved on to a new id. It is moved by comparing and setting, in one act, so
that all who repeat the request meet at one session.

A request is known by what was asked for, and not by what Baton made of it: the default of a new field, the line in which it
stands, the skill it begins with where none was named. All of these may be others after a deploy, and the request is the same.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.contracts.errors import InputError, KeyConflict, StoreError
from orchestrator.store.keys import idempotency_key
from orchestrator.store.store import Store


class Stamp(NamedTuple):
    """What a session says of its making: the stamp of the request, and the mark of its key. "" is not known, or none."""

    request: str
    key: str


class Reserved(NamedTuple):
    """For which session a key is reserved, by which digest, and whether surely for this very request."""

    session_id: str
    digest: str
    is_mine: bool


def digest_of(request: JsonObject) -> str:
    """Name exactly this request: the same words again mean the same session.

    >>> digest_of({"a": 1, "b": {"c": 2}}) == digest_of({"b": {"c": 2}, "a": 1})
    True
    """
    return sha256(dump_json(dict(sorted(request.items()))).encode()).hexdigest()[:24]


def mark_of(key: str) -> str:
    """Return what a session keeps of its key; raise InputError for text that no encoding carries."""
    try:
        return sha256(key.encode()).hexdigest()[:24]
    except UnicodeEncodeError as error:
        raise InputError("idempotency key: it holds text that is no UTF-8; write it in UTF-8") from error


def is_anothers(stamp: Stamp, key: str | None) -> bool:
    """Say whether a session surely was not made under this key; None is a request without one, of which each is of its own.

    Without a key a stamp has a part of its own, behind a colon. What an older Baton made says nothing of its key.

    >>> is_anothers(Stamp("d1:7f", ""), "k"), is_anothers(Stamp("d1", mark_of("other")), "k")
    (True, True)
    >>> is_anothers(Stamp("d2", mark_of("k")), "k"), is_anothers(Stamp("d1", ""), "k"), is_anothers(Stamp("d1", ""), None)
    (False, False, True)
    """
    if key is None:
        return True
    return stamp.key != mark_of(key) if stamp.key else ":" in stamp.request


class RequestKeys:
    """The keys of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reserve(self, app: str, key: str, session_id: str, digests: Sequence[str], seconds: int) -> Reserved:
        """Return the session that a key stands for, this one where it was unknown; and whether it stands for this very request.

        Of the digests the first one is the request's, the others what an older Baton called it. Whoever reserved it may have died before it created the session: then another request may have it, too. Which one does,
        the session's own stamp says. Raise KeyConflict where the key stands for another request.
        """
        name = idempotency_key(app, key)
        found = None
        while found is None:  # NX and GET together need a server 7.0; the key may run out between the two
            if await self._store.command_beside("SET", name, f"{session_id} {digests[0]}", "NX", "EX", seconds):
                return Reserved(session_id, digests[0], True)
            found = await self._store.command("GET", name)
        reserved, _, reserved_digest = str(found).partition(" ")
        if reserved_digest in digests:
            return Reserved(reserved, reserved_digest, True)
        stamp = await self.stamp_of(reserved)
        if stamp is not None and stamp.request not in digests:
            raise KeyConflict(key, reserved)
        return Reserved(reserved, digests[0] if stamp is None else stamp.request, False)

    async def move(self, app: str, key: str, taken: str, session_id: str, digest: str, seconds: int) -> str:
        """Let a key stand for another session than the one that is somebody else's; return the one for which it does now.

        Whoever was quicker has moved it already. Raise KeyConflict where it stands for another request by now.
        """
        reply = await self._store.act_on_key(
            "move_key",
            idempotency_key(app, key),
            f"{taken} {digest}",
            f"{session_id} {digest}",
            seconds,
            critical=True,
        )
        if reply[0] == "malformed":
            raise StoreError(
                f"idempotency key of session {session_id}: not moved (malformed); this is a defect, report it"
            )
        if reply[0] == "moved":
            return session_id
        there, _, its_digest = str(reply[1]).partition(" ")  # it is elsewhere
        if its_digest != digest:
            raise KeyConflict(key, there)
        return there

    async def find(self, app: str, key: str) -> str | None:
        """Return the session that a key stands for, None while there is none.

        Whoever hears of it relies on it, and whoever made it may not have been told that it is safe.
        """
        name = idempotency_key(app, key)
        found = await self._store.command("GET", name)
        session_id = str(found).partition(" ")[0] if found else ""
        # A key that is reserved for a session that nobody created means nothing yet.
        stamp = await self._stamp_in_record(session_id) if session_id else None
        if stamp is None or is_anothers(stamp, key):
            return None
        record = self._store.keys.of_session("record", session_id)
        if not await self._store.command_beside("EXISTS", record):
            return None
        return session_id if await self._store.command_beside("GET", name) == found else None

    async def stamp_of(self, session_id: str) -> Stamp | None:
        """Return by what a session was made, None where there is none, and never was as far as is known."""
        found = await self._stamp_in_record(session_id)
        if found is not None:
            return found
        gone = await self._store.command("GET", self._store.keys.of_session("gone", session_id))
        return None if gone is None else Stamp(str(gone), "")

    async def _stamp_in_record(self, session_id: str) -> Stamp | None:
        record = self._store.keys.of_session("record", session_id)
        request, key = await self._store.command("HMGET", record, "submit", "key")
        return None if request is None else Stamp(str(request), str(key or ""))
