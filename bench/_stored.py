"""A store with very many sessions, made in a minute, and what one due session costs in it.

Some sessions are brought to where they stand by the acts that workers use. The others are copies of them, made by the server
itself: record, journal, context and places in the index, each in the partition of an id of its own and with a time of its
own. What was made is then checked: counts by phase, and a sample of the copies rebuilt from their journals.
"""

import asyncio
import random
import time
from dataclasses import dataclass

from pydantic import JsonValue

from bench._fleet import ACTOR, APP
from orchestrator.contracts.base import dump_json
from orchestrator.contracts.session import Entry
from orchestrator.store.due import Due
from orchestrator.store.leases import Claimed, Commit
from orchestrator.verification import verify_session
from workers.executor import Executor
from workers.host import Host

STATE_BYTES, PROBES, EACH_CALL, AT_ONCE, SAMPLE = 1024, 8, 100, 8, 100
#: The session's own keys that a copy has too.
COPIED = ("record", "journal", "context")
#: KEYS: the original's three keys, then for each copy its three and the index. ARGV: the time, members a copy, then those.
COPY = """
local each = tonumber(ARGV[1])
local at = 2
for i = 4, #KEYS, 4 do
  for k = 1, 3 do redis.call('COPY', KEYS[k], KEYS[i + k - 1]) end
  redis.call('HSET', KEYS[i], 'since', ARGV[at], 'created', ARGV[at], 'updated', ARGV[at])
  for m = 1, each do redis.call('ZADD', KEYS[i + 3], 0, ARGV[at + m]) end
  at = at + each + 1
end
"""


@dataclass(frozen=True, slots=True)
class Original:
    """A session that others are copies of: its phase, and its places in the index as `app:bucket:rank`."""

    session_id: str
    phase: str
    since_at: int
    places: tuple[str, ...]


async def make_original(host: Host, executor: Executor, phase: str) -> Original:
    """Bring a session to a phase by what workers do."""
    overrides: dict[str, JsonValue] = {"of": 1, "rest": phase == "waiting", "pad": "x" * (STATE_BYTES - 60)}
    session_id = (await host.client.submit(APP, overrides=overrides, actor=ACTOR)).session_id
    if phase != "ready":
        await executor.run_slice(session_id)
    record = await host.client.show(session_id)
    if record.phase != phase:
        raise RuntimeError(f"bench: session {session_id} is {record.phase}, not {phase}")
    members = await host.store.command("ZRANGE", host.store.keys.of_session("by", session_id), 0, -1)
    mine = [str(member).rsplit(":", 2)[0] for member in members if str(member).endswith(f":{session_id}")]
    return Original(session_id, phase, record.since_at, tuple(mine))


async def copy(host: Host, original: Original, numbers: range) -> None:
    """Make a copy for each number."""
    sha = await host.store.command("SCRIPT", "LOAD", COPY)
    calls = [numbers[start : start + EACH_CALL] for start in range(0, len(numbers), EACH_CALL)]
    for start in range(0, len(calls), AT_ONCE):
        await asyncio.gather(*(_copy(host, str(sha), original, part) for part in calls[start : start + AT_ONCE]))


async def _copy(host: Host, sha: str, original: Original, numbers: range) -> None:
    keys = host.store.keys
    names = [keys.of_session(name, original.session_id) for name in COPIED]
    words: list[str | int] = [len(original.places)]
    for number in numbers:
        session_id, since = copied_id(original.phase, number), original.since_at - 1 - number
        names += [keys.of_session(name, session_id) for name in (*COPIED, "by")]
        words += [since, *(f"{place}:{since}:{session_id}" for place in original.places)]
    await host.store.command("EVALSHA", sha, len(names), *names, *words)


def copied_id(phase: str, number: int) -> str:
    """Return a copy's id.

    >>> copied_id("waiting", 7)
    'BENCHW-20260101-0000007'
    """
    return f"BENCH{phase[0].upper()}-20260101-{number:07d}"


async def check(host: Host, wanted: dict[str, int], seed: int = 1) -> None:
    """Raise RuntimeError unless there are so many sessions in each phase, and a sample of copies is what their journals say."""
    pick = random.Random(seed)
    for phase, count in wanted.items():
        if (found := await host.client.views.count(APP, phase)) != count:
            raise RuntimeError(f"bench: {found} sessions are {phase}, not {count}")
        for number in {pick.randrange(max(count - 1 - PROBES, 1)) for _ in range(min(SAMPLE, count // 2))}:
            verified = await verify_session(host.client, copied_id(phase, number))
            if verified.differences:
                raise RuntimeError(f"bench: {verified.session_id} is no true copy: {verified.differences[0]}")


class Probe:
    """Sessions whose time comes when we say so: what tick, wake, claim and commit of one of them take, in ms."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._due = Due(host.store)
        self._turn = 0
        self._sessions: list[str] = []
        self.times: dict[str, list[float]] = {}

    async def prepare(self) -> None:
        """Submit the sessions, and let them wait."""
        for _ in range(PROBES):
            overrides: dict[str, JsonValue] = {"of": 1, "pad": "x" * (STATE_BYTES - 60)}
            submitted = await self._host.client.submit(APP, overrides=overrides, actor=ACTOR)
            self._sessions.append(submitted.session_id)
            await self._to_wait(submitted.session_id, await self._claim(submitted.session_id))

    async def _claim(self, session_id: str) -> Claimed:
        claimed = await self._host.leases.claim(session_id, self._host.new_holder(), self._host.digests)
        if not isinstance(claimed, Claimed):
            raise TypeError(f"bench: {session_id} could not be claimed: {claimed}")
        return claimed

    async def _to_wait(self, session_id: str, claimed: Claimed, due_at: int | None = 1) -> None:
        entry = Entry(kind="step", step="compute", actor="bench", outcome="succeeded").to_json()
        fields = {"state": dump_json(claimed.record.state)}
        wait = Commit("waiting", fields, (entry,), due_at=due_at)
        await self._host.leases.commit(session_id, claimed.record.fence, claimed.record.rev, wait)

    async def take(self, *, batch: int) -> None:
        """Take the next of the sessions through one turn: found, woken, claimed, committed.

        Long answers are for `look_at_line`: what is done after one still pays for it.
        """
        session_id = self._sessions[self._turn % PROBES]
        self._turn += 1
        partition = self._host.store.keys.partition(session_id)
        began = time.perf_counter()
        found = await self._due.tick(partition, [APP], most=batch, each=1)
        ticked = time.perf_counter()
        if session_id not in found.due or not await self._due.wake(session_id):
            raise RuntimeError(f"bench: the tick did not find {session_id}, whose time has come")
        woken = time.perf_counter()
        claimed = await self._claim(session_id)
        taken = time.perf_counter()
        await self._to_wait(session_id, claimed)
        ended = time.perf_counter()
        rows = {"tick": ticked - began, "wake": woken - ticked, "claim": taken - woken, "commit": ended - taken}
        for name, seconds in rows.items():
            self.times.setdefault(name, []).append(seconds * 1000)

    async def look_at_line(self, *, batch: int) -> None:
        """Look at the next session's partition as a scheduler does, with all candidates of the line that it reads."""
        partition = self._host.store.keys.partition(self._sessions[self._turn % PROBES])
        self._turn += 1
        began = time.perf_counter()
        await self._due.tick(partition, [APP], most=batch, each=batch)
        self.times.setdefault("tick_with_line", []).append((time.perf_counter() - began) * 1000)
