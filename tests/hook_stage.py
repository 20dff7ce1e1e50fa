"""A stage for sessions whose hooks do everything: the app `hooked`, its ledger, and what the journal says of hooks."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from orchestrator.app_loader import load_app
from orchestrator.contracts.messages import Message, ModelRequest, ModelResponse
from orchestrator.contracts.provider_errors import RateLimitError
from orchestrator.contracts.session import Entry, Record
from orchestrator.kernel.rebuild import find_differences, fold
from orchestrator.settings import Settings
from tests.stage import Stage

HOOKED = Path(__file__).parent / "apps" / "hooked"
Play = Callable[["Scene"], Awaitable[None]]


class Ledger:
    """What hooks and tools did, outside the store."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self, *beginnings: str) -> list[str]:
        """Return the lines that begin so, all of them where nothing is given."""
        return [line for line in self.path.read_text().splitlines() if line.startswith(beginnings or "")]

    def told(self, event: str) -> list[dict[str, Any]]:
        """Return what an event said, each time."""
        return [json.loads(line.removeprefix(f"{event} ")) for line in self.lines(f"{event} {{")]


class Scene:
    """One store; every run is another worker's."""

    def __init__(self, on: Stage) -> None:
        self.on = on

    async def submit(self, text: str = "go", **state: Any) -> str:
        """Submit a session of the test's app."""
        return (await self.on.client.submit("hooked", text=text, overrides=state, actor="ada")).session_id

    async def run(self, session_id: str) -> Record:
        """Let a new worker go on."""
        return await self.on.run(self.on.worker(), session_id)

    async def play(self, text: str = "go", **state: Any) -> tuple[str, Record]:
        """Submit, and let a worker go on until it waits or has ended."""
        session_id = await self.submit(text, **state)
        return session_id, await self.run(session_id)

    async def entries(self, session_id: str) -> list[Entry]:
        """Return the journal."""
        return [entry async for entry in self.on.client.events(session_id)]

    async def notes(self, session_id: str, **like: Any) -> list[dict[str, Any]]:
        """Return what the journal says of hooks, where it has these values."""
        found = [note for entry in await self.entries(session_id) for note in entry.data.get("hooks", [])]
        return [note for note in found if like.items() <= note.items()]

    async def verify(self, session_id: str) -> list[str]:
        """Return where the stored session is not what its journal describes."""
        client = self.on.client
        record = await client.show(session_id)
        messages = [one.to_json() for one in await client.context(session_id)]
        return find_differences(record, messages, 0, fold(await self.entries(session_id)))


def listen(stage: Stage, seen: list[ModelRequest], *, fail: int = 0) -> None:
    """Keep what the newest worker asks its model; its first calls fail."""
    host = stage.hosts[-1]
    provider = host.apps["hooked"].models.routes[0].provider
    complete = provider.complete
    left = [fail]

    async def listened(request: ModelRequest) -> ModelResponse:
        seen.append(request)
        if left[0]:
            left[0] -= 1
            raise RateLimitError("slow down", provider="rules")
        return await complete(request)

    provider.complete = listened  # type: ignore[method-assign]


def texts(request: ModelRequest) -> list[str]:
    """Return what a request's messages say."""
    return [message.content for message in request.messages if isinstance(message, Message)]


def play_scene(store_url: str, scene: Play) -> None:
    """Run a scene on a stage of its own; every session it leaves is what its journal describes."""

    async def run() -> None:
        spec = load_app(HOOKED)
        stage = Stage(store_url, Settings(), {spec.name: spec})
        made = Scene(stage)
        try:
            await scene(made)
            for listed in (await stage.client.list_sessions()).listed:
                assert await made.verify(listed.record.session_id) == []
        finally:
            await stage.aclose()

    asyncio.run(run())
