"""Short sessions that come in over the API while everything breaks: submitted, told something, and cancelled, each act under a key.

A submission whose answer is lost is said again, and there must be one session of it; a cancel ends its session once. What the store
took back with it is found out by saying everything again when all is over, under the same keys: what is known changes nothing.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from orchestrator.contracts.errors import PhaseRefused, SessionNotFound
from orchestrator.contracts.session import Entry, Record
from tests.chaos.caller import Caller
from tests.chaos.driver import bare
from tests.chaos.fleet import pause

SIGNALS: Final = 3
LOOK_SECONDS: Final = 0.4
#: How many looks between two cancels of a session that does not end: the first may be gone with a server's last second.
CANCEL_EVERY: Final = 5


@dataclass
class Visit:
    """One of them: its key, its session, and whether it was seen to its end."""

    key: str
    session_id: str = ""
    has_ended: bool = False


class Visitors:
    """Make visits at an even pace, over one caller, to sessions of one app that would go on for so many messages."""

    def __init__(self, caller: Caller, app: str, *, every_seconds: float, seconds: float, messages: int) -> None:
        self._caller, self._app, self._messages = caller, app, messages
        self._every, self._count = every_seconds, max(round(seconds * 0.9 / every_seconds), 1)
        self.visits: list[Visit] = []

    @property
    def numbers(self) -> range:
        """Return the numbers of the visits."""
        return range(self._count)

    async def come_and_go(self, number: int) -> None:
        """Make one visit when its time has come, and see it to its end."""
        await pause(number * self._every)
        visit = Visit(f"v{number}")
        self.visits.append(visit)
        await self.say_all(visit)

    async def say_all(self, visit: Visit) -> None:
        """Say all that there is to say in a visit, for the first time or again; begin anew with a session that is gone."""
        visit.has_ended = False
        while not visit.has_ended:
            try:
                await self._say_all(visit)
            except SessionNotFound:
                await pause(LOOK_SECONDS)

    async def _say_all(self, visit: Visit) -> None:
        ask, key = self._caller, visit.key
        state = {"of": self._messages, "seconds": 0.05}
        made = await ask.submit(self._app, text=f"visit {key}", overrides=state, actor="driver", key=key)
        sid = visit.session_id = made.session_id
        with suppress(PhaseRefused):  # it ended with a cancel that was said before, and what came before that is gone
            for number in range(1, SIGNALS + 1):
                await ask.signal(sid, "message", actor="driver", post_id=f"m{number}")
        looks = 0
        while not visit.has_ended:
            if looks % CANCEL_EVERY == 0:
                with suppress(PhaseRefused):  # it has ended, as the next look says
                    await ask.cancel(sid, reason="the visit is over", post_id="over")
            visit.has_ended = (await ask.show(sid)).phase in {"ended", "dead"}
            looks += 1
            await pause(LOOK_SECONDS)


@dataclass(frozen=True)
class Stayed:
    """What is stored of one visit's session."""

    record: Record
    journal: list[Entry]


def judge_visits(visits: Sequence[Visit], stayed: Mapping[str, Stayed]) -> list[str]:
    """Return what is wrong with the sessions that were visited; `stayed` are those that there are, by their ids."""
    wrong = []
    for visit in visits:
        sid = visit.session_id
        if sid not in stayed:
            wrong.append(f"{sid}: visited as {visit.key} until it had ended, and is not there")
            continue
        record, journal = stayed[sid].record, stayed[sid].journal
        if record.phase != "ended" or record.cancel is None:
            wrong.append(f"{sid}: cancelled, and is {record.phase} as {record.status!r} for {record.reason!r}")
        posts = [entry.data["post"] for entry in journal if entry.kind == "posted"]
        names = [bare(str(post["post_id"])) for post in posts if isinstance(post, dict)]
        if len(names) != len(set(names)):
            wrong.append(f"{sid}: said once, and posted twice: {names}")
        if names != sorted(names):  # m1, m2, m3, over
            wrong.append(f"{sid}: posted in another order: {names}")
        ends = sum(entry.kind == "step" and entry.set.get("phase") == "ended" for entry in journal)
        if ends != 1:
            wrong.append(f"{sid}: it was settled {ends} times")
    return wrong
