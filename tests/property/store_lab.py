"""A store under test: real scripts on a real server, one event loop, and hands to move its clock-bound scores.

The scripts know no time but the server's. A test that needs a lease to be over, or a wait to be due, does not wait
for it: `expire_lease` and `pass_due` rewrite that one score to the past, which is exactly what time would have done.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from orchestrator.contracts.messages import Message
from orchestrator.contracts.session import Cursor, Entry, Record, Wait
from orchestrator.store.codec import pairs
from orchestrator.store.due import Due
from orchestrator.store.intake import Intake
from orchestrator.store.keys import APPS
from orchestrator.store.leases import Commit, Leases
from orchestrator.store.store import Limits, Store
from orchestrator.store.views import Views
from orchestrator.store.wire import ServerRefused

T = TypeVar("T")

APP, DIGEST, PREFIX = "app", "digest-1", "SES"
SMALL = Limits(
    state_bytes=2_000, message_bytes=1_000, entry_bytes=4_000, text_bytes=1_000, mailbox_posts=3, journal_entries=400
)


@dataclass(frozen=True)
class Snapshot:
    """All that the server holds of one session, as strings."""

    record: dict[str, str]
    journal: list[tuple[str, Entry]]
    mailbox: list[str]
    context: list[str]
    intents: dict[str, str]
    seen: list[str]
    lease: int | None
    due: int | None
    sent: int | None
    dead: int | None
    deadinfo: str | None
    members: list[str]


class Lab:
    """One store and everything that acts on it."""

    def __init__(
        self, url: str, *, partitions: int = 2, limits: Limits = SMALL, max_attempts: int = 3, lease_seconds: float = 60
    ) -> None:
        self.runner = asyncio.Runner()
        self.store = Store(url, partitions=partitions, limits=limits)
        self.intake = Intake(self.store)
        self.leases = Leases(self.store, lease_seconds=lease_seconds, max_attempts=max_attempts)
        self.due = Due(self.store)
        self.views = Views(self.store)

    def run(self, act: Coroutine[Any, Any, T]) -> T:
        """Do one thing to its end."""
        return self.runner.run(act)

    def close(self) -> None:
        """Close the connection and the loop."""
        self.run(self.store.aclose())
        self.runner.close()

    def flush(self) -> None:
        """Empty the server; its scripts stay."""
        self.run(self.store.command("FLUSHALL"))

    def key(self, name: str, session_id: str) -> str:
        """Return a key of a session."""
        return self.store.keys.of_session(name, session_id)

    def submit(self, *, text: str = "", key: str | None = None, priority: str = "normal", app: str = APP) -> str:
        """Submit a session and return its id."""
        record = draft(text=text, priority=priority, app=app)
        messages = [Message(role="user", content=text)] if text else []
        return self.run(self.intake.submit(record, PREFIX, key=key, messages=messages)).session_id

    def commit(self, session_id: str, fence: int, rev: int, commit: Commit) -> Any:
        """Commit one step."""
        return self.run(self.leases.commit(session_id, fence, rev, commit))

    def expire_lease(self, session_id: str) -> None:
        """Let a lease end now, as if its time had passed."""
        self.run(self.store.command("ZADD", self.key("leases", session_id), "XX", 1, session_id))

    def pass_due(self, session_id: str) -> None:
        """Let a wait's time come now."""
        self.run(self.store.command("ZADD", self.key("due", session_id), "XX", 1, session_id))

    def forget_sent(self, session_id: str) -> None:
        """Let the mark of a wake-up run out now."""
        self.run(self.store.command("ZREM", self.key("sent", session_id), session_id))

    def snapshot(self, session_id: str) -> Snapshot:
        """Read everything of a session."""
        return self.run(self._snapshot(session_id))

    async def _snapshot(self, session_id: str) -> Snapshot:
        command, key = self.store.command, self.key
        found = await asyncio.gather(
            command("HGETALL", key("record", session_id)),
            command("XRANGE", key("journal", session_id), "-", "+"),
            command("LRANGE", key("mailbox", session_id), 0, -1),
            command("LRANGE", key("context", session_id), 0, -1),
            command("HGETALL", key("intents", session_id)),
            command("ZRANGE", key("seen", session_id), 0, -1),
            *(command("ZSCORE", key(name, session_id), session_id) for name in ("leases", "due", "sent", "dead")),
            command("HGET", key("deadinfo", session_id), session_id),
            command("ZRANGE", key("by", session_id), 0, -1),
            return_exceptions=True,  # a damaged session has keys of another type: they read as empty
        )
        replies: list[Any] = [() if isinstance(reply, ServerRefused) else reply for reply in found]
        record, journal, mailbox, context, intents, seen, lease, due, sent, dead, deadinfo, by = replies
        return Snapshot(
            record=pairs(record),
            journal=[(number, Entry.from_json(pairs(flat)["e"])) for number, flat in journal],
            mailbox=mailbox,
            context=context,
            intents=pairs(intents),
            seen=seen,
            lease=None if lease is None else int(float(lease)),
            due=None if due is None else int(float(due)),
            sent=None if sent is None else int(float(sent)),
            dead=None if dead is None else int(float(dead)),
            deadinfo=deadinfo,
            members=[member for member in by if member.endswith(f":{session_id}")],
        )

    def journal(self, session_id: str) -> list[Entry]:
        """Return a session's whole journal with its numbers."""

        async def read() -> list[Entry]:
            return [entry async for entry in self.views.iter_journal(session_id)]

        return self.run(read())

    def register(self, app: str) -> None:
        """Make an app known to the scheduler's rounds."""
        self.run(self.store.command("SADD", APPS, app))


def draft(*, text: str = "", priority: str = "normal", app: str = APP, spec: str = DIGEST) -> Record:
    """Return a submission."""
    return Record(
        session_id="",
        app=app,
        spec=spec,
        phase="ready",
        priority=priority,  # type: ignore[arg-type]
        actor="me",
        text=text,
        cursor=Cursor(skill="work"),
        state={"n": 0},
    )


def entry(kind: str = "step", **parts: Any) -> str:
    """Return a journal entry as a worker writes it."""
    return Entry(kind=kind, actor="w", **parts).to_json()


def build_commit(
    count: int, directive: str, *, taken: int, due: bool | None, wait_id: str, messages: int, keep: bool
) -> Commit:
    """Return a commit as a worker makes one: its entry says everything that it changes. `count` is the new state.

    What is to be finalized keeps its lease with `keep`; what ends brings the step before it along.
    """
    settles = keep and directive == "ended"
    fields = {"state": f'{{"n":{count}}}'}
    if directive != "continue":
        wait = Wait(wait_id=wait_id, kind="input").to_json() if wait_id else ""
        fields |= {"wait": wait, "wait_id": wait_id, "answered": ""}
    written = {name: value for name, value in fields.items() if name != "state"}
    if directive != "continue":
        written["phase"] = directive
    if directive == "ended":
        written["status"] = "done"
    said = tuple(f'{{"role":"user","content":"m{number}"}}' for number in range(messages))
    told = Entry(kind="step", actor="w", set=written, state={"n": count}, taken=taken, messages=said)
    worked = (entry(set={"phase": "finalizing"}),) if settles else ()
    return Commit(
        directive=directive,  # type: ignore[arg-type]
        fields=fields,
        entries=(*worked, told.to_json()),
        messages=said,
        taken=taken,
        due_at=None if due is None else 1 if due else 9_999_999_999_999,
        status="done" if directive == "ended" else "why",
        reason="asked",
        keep=keep and directive == "finalizing",
        settles=settles,
        asks="input" if wait_id else "",
    )


class DyingServer:
    """In place of a store's confirmer: a server that is lost when somebody asks for the `at`th time whether what it has is safe.

    With it goes what `loss`, a command, takes; all that it is asked later is safe.
    """

    def __init__(self, lab: Lab, *loss: str, at: int = 1) -> None:
        self._lab, self._loss, self._at = lab, loss, at
        self.asked = 0

    async def confirm(self, run_id: str) -> bool:
        """Say whether all is safe."""
        del run_id
        self.asked += 1
        if self.asked == self._at:
            await self._lab.store.wire.command(*self._loss)
        return self.asked != self._at

    async def aclose(self) -> None:
        """Have nothing to close."""
