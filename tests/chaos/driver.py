"""The people and systems outside: they post messages, answer questions, permit calls, and look into what is uncertain.

Some ask the store by a Client of their own, the others ask the API over HTTP; each session has one of both.

Everything that was acknowledged to them is noted here, in this process, which nobody kills: half of the ledger. The
other half are the files that the tools write, and the journals.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from orchestrator.client import Client
from orchestrator.contracts.errors import NotWaiting, PhaseRefused
from orchestrator.contracts.session import Record, Wait
from tests.chaos.caller import ACTOR, Caller
from tests.chaos.fleet import pause
from tests.chaos.follower import Follower
from tests.chaos.history import now_ms
from tests.chaos.newer import NEWER, OLDER, write_newer

APP = "ledger"
#: A session takes signals that nobody waits for yet, but not without a limit: the poster does not run further ahead.
MOST_AHEAD = 12
LOOK_SECONDS = 0.25


@dataclass
class Told:
    """What one session was told, and what it was answered: acknowledged, all of it."""

    session_id: str
    posts: list[str] = field(default_factory=list)
    doubled: int = 0
    answers: list[str] = field(default_factory=list)
    permits: list[str] = field(default_factory=list)
    uncertain: Counter[str] = field(default_factory=Counter)
    ended_at: float | None = None
    settled: tuple[str, str | None, int] | None = None
    #: What was acknowledged, and when (monotonic ms): a word for what it is, and which one. Twice is possible where a server
    #: that nobody follows any more was told first.
    acknowledged: dict[str, list[float]] = field(default_factory=dict)
    #: What of it is gone, because the store went back in time, and what of that no such moment explains.
    lost: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    serial: int = 0

    def note(self, what: str, which: str) -> None:
        """Note that something was acknowledged just now."""
        self.acknowledged.setdefault(f"{what} {which}", []).append(now_ms())

    def forget(self, what: str, which: Sequence[str], *, since: float) -> None:
        """Note what is gone that was acknowledged; nothing explains what was so before `since`."""
        for one in which:
            line = f"{what} {one}"
            self.lost.append(line)
            if self.acknowledged[line].pop(0) < since:
                self.unexplained.append(line)


class Driver:
    """Drives sessions through their messages at an even pace."""

    def __init__(
        self,
        client: Client,
        folder: Path,
        *,
        seed: int,
        messages: int,
        spread_seconds: float,
        work_seconds: float,
        is_safe: bool = True,
        caller: Caller | None = None,
    ) -> None:
        self.client = client
        self.ways: tuple[Client | Caller, ...] = (client,) if caller is None else (client, caller)
        self._way_of: dict[str, Client | Caller] = {}
        #: Those who only follow.
        self.followers: list[Follower] = []
        self.folder = folder
        self.messages = messages
        #: How many of them may be posted by now: whoever changes the stack step by step has sessions that live to see each step.
        self.allowed = messages
        self.spread_seconds = spread_seconds
        self.work_seconds = work_seconds
        self.random = random.Random(f"driver:{seed}")
        self.told: dict[str, Told] = {}
        #: Closed while the server is put back: whoever is outside then finds out what it has forgotten.
        self.gate = asyncio.Event()
        self.gate.set()
        #: Whether a server that goes back in time keeps what it acknowledged; how often it went.
        self.is_safe, self.cuts = is_safe, 0
        #: Whether a server may answer just now that another one has taken over from: nothing that is only read is believed.
        self.is_doubtful = False
        self._undo_newer: Callable[[], None] | None = None
        self._busy = 0
        self._calm = asyncio.Event()
        self._calm.set()

    def use_newer(self, *, is_newer: bool) -> None:
        """Post as a newer Baton from now on, or as the older one again."""
        if self._undo_newer is not None:
            self._undo_newer()
        self._undo_newer = write_newer() if is_newer else None
        self.client.store.format = NEWER if is_newer else OLDER

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """Ask while the gate is open; whoever closes it can wait for those who have asked already."""
        await self.gate.wait()
        self._busy += 1
        self._calm.clear()
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._calm.set()

    async def find_losses(self, since: float, is_touched: Callable[[str], bool] = lambda _: True) -> None:
        """Compare what was acknowledged with what the journals have kept, and go on from there; the gate is closed.

        Whoever is answered has to do this after a server that lost power, or what its replica had not got: it is the price
        of waiting for neither. What was acknowledged before `since` (monotonic ms) may not be gone, nor anything of
        a session that `is_touched` knows to be elsewhere.
        """
        await self._calm.wait()
        for told in self.told.values():
            journal = [entry async for entry in self.client.events(told.session_id)]
            if not journal:
                raise AssertionError(f"{told.session_id}: its submission was acknowledged long ago and is gone")
            posts = [entry.data["post"] for entry in journal if entry.kind == "posted"]
            kept = [post for post in posts if isinstance(post, dict)]
            bound = since if is_touched(told.session_id) else inf
            told.posts, lost = divide(
                told.posts, [bare(str(post["post_id"])) for post in kept if post["kind"] == "signal"]
            )
            told.forget("signal", lost, since=bound)
            told.answers, lost = divide(told.answers, [str(post["text"]) for post in kept if post["kind"] == "input"])
            told.forget("answer", lost, since=bound)
            told.permits, lost = divide(
                told.permits, [str(post["wait_id"]) for post in kept if post["kind"] == "decision"]
            )
            told.forget("decision", lost, since=bound)
            if told.settled is not None and (await self.client.show(told.session_id)).phase != "ended":
                told.forget("end", [str(told.settled[1])], since=bound)
                told.settled = told.ended_at = None
        for follower in self.followers:
            await follower.stop()
            sid = follower.found.session_id
            journal = [entry async for entry in self.client.events(sid)]
            await follower.go_back(journal, since=since if is_touched(sid) else inf)

    async def submit(self, count: int) -> None:
        """Submit every session, each of them twice under its key: there is one of it."""
        for number in range(count):
            overrides = {"of": self.messages, "seconds": self.work_seconds}
            way = self.ways[number % len(self.ways)]
            one, again = [
                await way.submit(APP, text=f"count {number}", overrides=overrides, actor=ACTOR, key=f"s{number}")
                for _ in range(2)
            ]
            assert one.session_id == again.session_id
            assert not again.created
            self.told[one.session_id], self._way_of[one.session_id] = Told(one.session_id), way

    def _way(self, told: Told) -> Client | Caller:
        """Return whom those ask who drive this session."""
        return self._way_of.get(told.session_id, self.client)

    async def drive_all(self) -> None:
        """Drive every session to its end; one whose end was lost is driven again."""
        while any(told.ended_at is None for told in self.told.values()):
            async with asyncio.TaskGroup() as group:
                for told in self.told.values():
                    if told.ended_at is None:
                        group.create_task(self.drive(told))

    async def drive(self, told: Told) -> None:
        """Post the messages of one session, and answer what it asks meanwhile."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        every = self.spread_seconds / self.messages
        await pause(self.random.random() * every)
        while told.ended_at is None:
            async with self._asking():
                await self._look(told, int((loop.time() - began) / every) + 1)
            await pause(LOOK_SECONDS * (0.5 + self.random.random()))

    async def _look(self, told: Told, wanted: int) -> None:
        """Look at a session once, post what is due by now, and answer what it asks."""
        record = await self._way(told).show(told.session_id)
        if record.phase in {"ended", "dead"}:
            if self.is_doubtful:
                return  # an end is not confirmed to those who read it: who has to be sure looks again
            told.note("end", str(record.status))
            told.ended_at = asyncio.get_running_loop().time()
            told.settled = (record.phase, record.status, record.rev)
            return
        taken = int(str(record.state.get("n", 0)))
        while len(told.posts) < min(wanted, self.allowed, taken + MOST_AHEAD):
            await self._post(told)
        if record.phase == "waiting" and record.wait is not None:
            await self._answer(told, record, record.wait)

    async def _post(self, told: Told) -> None:
        told.serial += 1
        post_id = f"m{told.serial}"
        cuts = self.cuts  # the first answer may be read after a cut that it came before
        # False says that it was there already: said by a repetition, whose first answer was lost on the way.
        way = self._way(told)
        await way.signal(told.session_id, "message", actor=ACTOR, post_id=post_id)
        told.note("signal", post_id)
        told.posts.append(post_id)
        if self.random.random() < 0.05:
            was_new = await way.signal(told.session_id, "message", actor=ACTOR, post_id=post_id)
            may_be_new = not self.is_safe and (self.is_doubtful or self.cuts > cuts)
            assert not was_new or may_be_new, f"{told.session_id}: {post_id} was forgotten"
            told.doubled += not was_new

    async def _answer(self, told: Told, record: Record, wait: Wait) -> None:
        """Answer once; a second answer to the same question is refused."""
        way, sid = self._way(told), told.session_id
        told.serial += wait.kind in {"input", "approval", "uncertain"}
        try:
            if wait.kind == "input":
                text = f"{told.serial}"
                await way.answer(sid, actor=ACTOR, text=text, wait_id=wait.wait_id, post_id=f"a{told.serial}")
                told.note("answer", text)
                told.answers.append(text)
            elif wait.kind == "approval":
                await way.decide(sid, allow=True, actor=ACTOR, wait_id=wait.wait_id, post_id=f"d{told.serial}")
                told.note("decision", wait.wait_id)
                told.permits.append(wait.wait_id)
            elif wait.kind == "uncertain" and wait.call is not None:
                lines = read_lines(self.folder / "act.calls")
                happened = any(line.startswith(f"{told.session_id} {wait.call.args['number']} ") for line in lines)
                verdict = "happened" if happened else "retry"
                await way.answer(sid, actor=ACTOR, verdict=verdict, wait_id=wait.wait_id, post_id=f"u{told.serial}")
                told.uncertain[verdict] += 1
        except (NotWaiting, PhaseRefused):
            return  # the question that was seen is answered already, and the session goes on


def bare(post_id: str) -> str:
    """Return what a driver called a post, which has its word and its caller before it where it came in over HTTP.

    >>> bare("signal:driver:m7"), bare("m7"), bare("answer:w3:0f")
    ('m7', 'm7', 'answer:w3:0f')
    """
    word, actor, name = [*post_id.split(":", 2), "", ""][:3]
    return name if word and actor == ACTOR else post_id


def divide(acknowledged: Sequence[str], kept: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what of it is kept, and what is gone: of what was acknowledged twice, the first.

    >>> divide(["a", "b", "a", "c"], ["c", "a"])
    (['a', 'c'], ['a', 'b'])
    """
    gone = Counter(acknowledged) - Counter(kept)
    found, lost = [], []
    for one in acknowledged:
        (lost if gone[one] > 0 else found).append(one)
        gone[one] -= 1
    return found, lost


def read_lines(path: Path) -> list[str]:
    """Return the lines of one file of the ledger, which may not be there yet."""
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
