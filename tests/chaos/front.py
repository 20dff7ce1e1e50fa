"""What stands before the API in a run: the line to it, those who ask it over HTTP, and what is held against it in the end.

driver      half of all sessions are submitted, driven and read over HTTP (driver.py)
visitors    short sessions come in while everything breaks, and are cancelled (visitors.py)
followers   some read a session's events to its end, over all that breaks (follower.py)
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from orchestrator.client import Client
from orchestrator.store.keys import idempotency_key
from tests.chaos.caller import Caller, count_exchanges
from tests.chaos.cuts import Cut
from tests.chaos.doors import HOST, Door
from tests.chaos.driver import APP, Driver
from tests.chaos.evidence import Evidence
from tests.chaos.follower import Follower, judge_follower
from tests.chaos.http_verdict import judge_answers, judge_kept, judge_keys, judge_reads
from tests.chaos.proxy import Line
from tests.chaos.visitors import Stayed, Visitors, judge_visits
from tests.ports import free_port

#: Of the sessions that are driven, how many are followed; some of them are driven over HTTP, some are not.
FOLLOWED: Final = 4
#: How often a visit begins, and how many there are at most.
VISIT_SECONDS: Final = 1.5
MOST_VISITS: Final = 40
#: All sessions of a run, and more.
EVERY: Final = 10_000


@dataclass
class HttpVerdict:
    """What was asked and answered, in figures; what a cut took of it, and a line for everything that is wrong."""

    counts: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Front:
    """The line to the API's port, and those who come over it. It is made on the loop that it is used on."""

    def __init__(self) -> None:
        self.port = free_port()
        self.line = Line()
        self._door = Door(self.port, lambda _: self.line)
        self._followers: list[Follower] = []

    async def open(self, seconds: float, messages: int) -> None:
        """Let somebody come; visits are spread over so many seconds."""
        self.caller = Caller(f"http://{HOST}:{await self._door.open()}")
        every = max(VISIT_SECONDS, seconds / MOST_VISITS)
        self.visitors = Visitors(self.caller, APP, every_seconds=every, seconds=seconds, messages=messages)

    def follow(self, driver: Driver) -> None:
        """Follow some of the driver's sessions from now on."""
        self._followers = [Follower(self.caller.http, sid) for sid in list(driver.told)[:FOLLOWED]]
        driver.followers = self._followers
        for one in self._followers:
            one.start()

    async def visit(self) -> None:
        """Make all visits."""
        async with asyncio.TaskGroup() as group:
            for number in self.visitors.numbers:
                group.create_task(self.visitors.come_and_go(number))

    async def finish(self) -> None:
        """Say everything again once nothing can go wrong any more, and see everything to its end."""
        async with asyncio.TaskGroup() as group:
            for visit in self.visitors.visits:
                group.create_task(self.visitors.say_all(visit))
            for one in self._followers:
                group.create_task(one.until_over())

    def unfinished(self) -> list[str]:
        """Return who has not come to an end."""
        visits = [f"{one.session_id}: visited, and not at its end" for one in self.visitors.visits if not one.has_ended]
        return visits + [
            f"{one.found.session_id}: its follower has not seen its end"
            for one in self._followers
            if not one.found.has_ended
        ]

    async def judge(self, control: Client, evidence: Evidence, cuts: Sequence[Cut], *, is_safe: bool) -> HttpVerdict:
        """Hold everything that was answered over HTTP against what is stored."""
        for one in self._followers:
            await one.stop()
        texts: dict[str, list[str]] = defaultdict(list)
        for listed in (await control.list_sessions(app=APP, limit=EVERY)).listed:
            texts[listed.record.text].append(listed.record.session_id)
        stayed: dict[str, Stayed] = {}
        for sid in {one.session_id for one in self.visitors.visits} & {sid for sids in texts.values() for sid in sids}:
            journal = [entry async for entry in control.events(sid)]
            stayed[sid] = Stayed(await control.show(sid), journal)
        journals = {seen.told.session_id: seen.journal for seen in evidence.sessions}
        every = {**journals, **{sid: one.journal for sid, one in stayed.items()}}
        exchanges = self.caller.exchanges
        windows = {
            sid: [cut.window for cut in cuts if cut.touches(sid, control.store.keys)]
            for sid in {one.session_id for one in exchanges if one.session_id}
        }
        # A submission is known by its key, which may lie in another part of a cluster than its session.
        of_keys = {
            key: [cut.window for cut in cuts if cut.touches_key(idempotency_key(APP, key))]
            for key in {one.key for one in exchanges if one.what == "submit"}
        }
        found = HttpVerdict(self._count())
        found.lost, gone = judge_kept(exchanges, every, windows, of_keys, is_safe=is_safe)
        found.counts["lost"] = len(found.lost)
        found.wrong = [
            *judge_reads(exchanges, every, windows),
            *gone,
            *judge_keys(exchanges, texts, {} if is_safe else of_keys),
            *judge_answers(exchanges),
            *judge_visits(self.visitors.visits, stayed),
            *(line for one in self._followers for line in judge_follower(one.found, journals[one.found.session_id])),
        ]
        return found

    def _count(self) -> dict[str, int]:
        followed = [one.found for one in self._followers]
        return {
            **count_exchanges(self.caller.exchanges),
            "visits": len(self.visitors.visits),
            "followed": len(followed),
            "followed_entries": sum(len(one.shown) for one in followed),
            "followed_connections": sum(one.connections for one in followed),
            "followed_forgotten": sum(one.forgotten for one in followed),
        }

    async def aclose(self) -> None:
        """End everything."""
        for one in self._followers:
            await one.stop()
        await self.caller.aclose()
        self.line.cut()
        await self._door.aclose()
