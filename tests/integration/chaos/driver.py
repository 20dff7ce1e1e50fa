"""The people and systems outside: they post messages, answer questions, permit calls, and look into what is uncertain.

Everything that was acknowledged to them is noted here, in this process, which nobody kills: half of the ledger. The
other half are the files that the tools write, and the journals.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.client import Client
from orchestrator.contracts.errors import NotWaiting, PhaseRefused
from orchestrator.contracts.session import Record, Wait
from tests.integration.chaos.fleet import pause

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


class Driver:
    """Drives sessions through their messages at an even pace."""

    def __init__(
        self, client: Client, folder: Path, *, seed: int, messages: int, spread_seconds: float, work_seconds: float
    ) -> None:
        self.client = client
        self.folder = folder
        self.messages = messages
        self.spread_seconds = spread_seconds
        self.work_seconds = work_seconds
        self.random = random.Random(f"driver:{seed}")
        self.told: dict[str, Told] = {}

    async def submit(self, count: int) -> None:
        """Submit every session, each of them twice under its key: there is one of it."""
        for number in range(count):
            overrides = {"of": self.messages, "seconds": self.work_seconds}
            one, again = [
                await self.client.submit(APP, text="count", overrides=overrides, actor="driver", key=f"s{number}")
                for _ in range(2)
            ]
            assert one.session_id == again.session_id
            assert not again.created
            self.told[one.session_id] = Told(one.session_id)

    async def drive_all(self) -> None:
        """Drive every session to its end."""
        async with asyncio.TaskGroup() as group:
            for told in self.told.values():
                group.create_task(self.drive(told))

    async def drive(self, told: Told) -> None:
        """Post the messages of one session, and answer what it asks meanwhile."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        every = self.spread_seconds / self.messages
        await pause(self.random.random() * every)
        while True:
            record = await self.client.show(told.session_id)
            if record.phase in {"ended", "dead"}:
                told.ended_at = loop.time()
                return
            taken = int(str(record.state.get("n", 0)))
            wanted = min(int((loop.time() - began) / every) + 1, self.messages, taken + MOST_AHEAD)
            while len(told.posts) < wanted:
                await self._post(told)
            if record.phase == "waiting" and record.wait is not None:
                await self._answer(told, record, record.wait)
            await pause(LOOK_SECONDS * (0.5 + self.random.random()))

    async def _post(self, told: Told) -> None:
        post_id = f"m{len(told.posts) + 1}"
        assert await self.client.signal(told.session_id, "message", actor="driver", post_id=post_id)
        told.posts.append(post_id)
        if self.random.random() < 0.05:
            assert not await self.client.signal(told.session_id, "message", actor="driver", post_id=post_id)
            told.doubled += 1

    async def _answer(self, told: Told, record: Record, wait: Wait) -> None:
        """Answer once; a second answer to the same question is refused."""
        try:
            if wait.kind == "input":
                text = f"{len(told.answers) + 1}"
                await self.client.answer(told.session_id, actor="driver", text=text)
                told.answers.append(text)
            elif wait.kind == "approval":
                await self.client.decide(told.session_id, allow=True, actor="driver", wait_id=wait.wait_id)
                told.permits.append(wait.wait_id)
            elif wait.kind == "uncertain" and wait.call is not None:
                lines = read_lines(self.folder / "act.calls")
                happened = f"{told.session_id} {wait.call.args['number']}" in lines
                verdict = "happened" if happened else "retry"
                await self.client.answer(told.session_id, actor="driver", verdict=verdict)
                told.uncertain[verdict] += 1
        except (NotWaiting, PhaseRefused):
            return  # the question that was seen is answered already, and the session goes on


def read_lines(path: Path) -> list[str]:
    """Return the lines of one file of the ledger, which may not be there yet."""
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
