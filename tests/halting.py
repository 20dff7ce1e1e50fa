"""A stage for cancels: one app whose tool calls come to their end only when the test says so."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import JsonValue

from orchestrator.app_loader import load_app
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.messages import Message, ToolSchema
from orchestrator.contracts.ports import Toolbox
from orchestrator.contracts.session import Entry, Record, ToolCall, Wait
from orchestrator.contracts.tool_questions import ToolAnswers
from orchestrator.kernel.rebuild import find_differences, fold
from orchestrator.settings import Settings
from tests.stage import Stage
from workers.cancelling import CancelPush
from workers.executor import Executor
from workers.heartbeat import Heartbeat
from workers.lanes import Lanes

HALTING = Path(__file__).parent / "apps" / "halting"
SECONDS = 60.0


class HeldTools:
    """The app's own tools, each of whose calls waits for the test's word before it acts."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.go_on = asyncio.Event()
        self.stopped: list[str] = []

    async def catalogue(self) -> Mapping[str, ToolSchema]:
        """As the app's."""
        return await self._tools.catalogue()

    async def call(
        self, tool: str, args: JsonObject, *, timeout_seconds: float, answers: ToolAnswers | None = None
    ) -> JsonValue:
        """Say that it has begun, wait, then act."""
        name = f"{tool.split(':')[1]} {args['value']}"
        self.begun.put_nowait(name)
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.stopped.append(name)
            raise
        return await self._tools.call(tool, args, timeout_seconds=timeout_seconds, answers=answers)

    def accepts(self, tool: str, argument: str) -> bool:
        """As the app's."""
        return self._tools.accepts(tool, argument)

    async def aclose(self) -> None:
        """As the app's."""
        await self._tools.aclose()


@dataclasses.dataclass
class Halting:
    """The stage, with one worker whose tools are held."""

    on: Stage
    executor: Executor
    heartbeat: Heartbeat
    tools: HeldTools
    push: CancelPush

    async def submit(self, entry_skill: str = "start", **state: object) -> str:
        """Submit a session."""
        submitted = await self.on.client.submit(
            "halting",
            text="go on",
            overrides=dict(state),  # type: ignore[arg-type]
            actor="ada",
            entry_skill=entry_skill,
        )
        return submitted.session_id

    async def run(self, session_id: str) -> Record:
        """Run slices until the session waits or is settled."""
        return await self.on.run(self.executor, session_id)

    async def wait_of(self, session_id: str) -> Wait:
        """Run slices until the session waits; return for what."""
        wait = (await self.run(session_id)).wait
        assert wait is not None
        return wait

    async def entries(self, session_id: str) -> list[Entry]:
        """Return the journal."""
        return [entry async for entry in self.on.client.events(session_id)]

    async def calls(self, session_id: str) -> list[ToolCall]:
        """Return the tool calls that came to their end."""
        return [call for entry in await self.entries(session_id) for call in entry.calls]

    async def ends(self, session_id: str) -> list[str]:
        """Return how each tool call ended, and whether it had begun where it was cancelled."""
        told = []
        for call in await self.calls(session_id):
            begun = isinstance(call.result, dict) and call.result.get("begun") is True
            told.append(call.outcome + (" begun" if begun else ""))
        return told

    async def events(self, session_id: str) -> list[JsonObject]:
        """Return what the journal says of the cancel."""
        told = [entry.data for entry in await self.entries(session_id)]
        cancels = [data for data in told if str(data.get("event", "")).startswith("cancel:")]
        return [{name: data[name] for name in ("event", "was_immediate") if name in data} for data in cancels]

    async def check(self, session_id: str) -> Record:
        """Fail where the context has a call without its answer, or the journal does not say what the store has."""
        assert open_calls(await self.on.client.context(session_id)) == []
        return await self.check_journal(session_id)

    async def check_journal(self, session_id: str) -> Record:
        """Fail where the journal does not say what the store has."""
        while True:
            record = await self.on.client.show(session_id)
            context = await self.on.client.context(session_id)
            mailbox = await self.on.store.command("LLEN", self.on.store.keys.of_session("mailbox", session_id))
            entries = await self.entries(session_id)
            if (await self.on.client.show(session_id)).seq == record.seq:  # else a worker committed in between
                break
        different = find_differences(record, [message.to_json() for message in context], int(mailbox), fold(entries))
        if record.wait is not None and record.wait.deadline_at == 1:  # moved by the stage, which no journal knows
            different = [line for line in different if not line.startswith("wait:")]
        assert not different, different
        return record


def open_calls(context: Sequence[Message]) -> list[str]:
    """Return the ids of calls that have no answer, or more than one, or whose answer comes before them.

    >>> open_calls([Message(role="tool", content="", call_id="c1")])
    ['c1']
    """
    asked: dict[str, int] = {}
    odd = []
    for message in context:
        for call in message.tool_calls:
            asked[call.call_id] = 0
        if message.role == "tool":
            if message.call_id not in asked:
                odd.append(str(message.call_id))
            else:
                asked[message.call_id] += 1
    return odd + [call_id for call_id, answers in asked.items() if answers != 1]


@asynccontextmanager
async def halting(url: str, **sections: dict[str, object]) -> AsyncIterator[Halting]:
    """Lend a stage."""
    spec = load_app(HALTING)
    settings = Settings.model_validate({"apps": {"bundled": False}, **sections})
    stage = Stage(url, settings, {spec.name: spec})
    stage.worker()
    host = stage.hosts[0]
    runtime = host.apps["halting"]
    tools = HeldTools(runtime.toolbox)
    host.apps = {"halting": dataclasses.replace(runtime, toolbox=tools)}
    executor = Executor(host, is_contended=lambda: False, is_draining=lambda: False)
    heartbeat = Heartbeat(host, executor, Lanes(4, executor.run_slice), queues=("steps",))
    push = CancelPush(url, executor, heartbeat)
    try:
        async with asyncio.timeout(SECONDS):
            yield Halting(stage, executor, heartbeat, tools, push)
    finally:
        await stage.aclose()
