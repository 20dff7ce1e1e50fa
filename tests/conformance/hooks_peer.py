"""The other side of `test_hooks_against_the_peer.py`: the same cases, done by amplifier-core, in its own environment.

    python hooks_peer.py < cases.json > outcomes.json

Reads `{section: [case, …]}` and writes `{section: [outcome, …]}`, both in the form of the vectors. Needs
amplifier-core 1.6.0 and the standard library; imports nothing of ours, and no test imports it.
"""

import asyncio
import json
import logging
import sys
from types import SimpleNamespace
from typing import Any

from amplifier_core import HookRegistry, HookResult, ModuleCoordinator
from amplifier_core.approval import ApprovalTimeoutError
from amplifier_core.utils import redact_secrets, truncate_values

#: What a coordinator needs before anything is mounted.
MODULES = {"orchestrator": "none", "context": "none"}


def hide_time(data: Any) -> Any:
    """Replace a time as the vectors do."""
    return {**data, "timestamp": "<ts>"} if isinstance(data, dict) and "timestamp" in data else data


def plain(result: Any) -> Any:
    """Return an answer as JSON."""
    return json.loads(result.model_dump_json())


def registry(handlers: list[Any], called: list[int]) -> Any:
    """Return a registry in which handler i answers as its case says."""
    hooks = HookRegistry()
    for position, answer in enumerate(handlers):

        async def handle(event: str, data: Any, position: int = position, answer: Any = answer) -> Any:
            called.append(position)
            if answer == "RAISE":
                raise RuntimeError(answer)
            return answer

        hooks.register("e", handle, position)
    return hooks


async def emit(case: Any) -> Any:
    """Emit "e"."""
    called: list[int] = []
    hooks = registry(case["handlers"], called)
    hooks.set_default_fields(**(case["defaults"] or {}))
    result = plain(await hooks.emit("e", case["data"]))
    return {"called": called, "result": {**result, "data": hide_time(result["data"])}}


async def collect(case: Any) -> Any:
    """Collect what the handlers of "e" answer."""
    called: list[int] = []
    result = await registry(case["handlers"], called).emit_and_collect("e", case["data"])
    return {"called": called, "result": result}


class World:
    """Context, display and approval system of a case."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply
        self.messages: list[Any] = []
        self.shown: list[Any] = []
        self.asked: list[Any] = []

    async def add_message(self, message: Any) -> None:
        """Keep it."""
        self.messages.append({**message, "metadata": hide_time(message["metadata"])})

    def show_message(self, *shown: Any) -> None:
        """Keep it."""
        self.shown.append(list(shown))

    async def request_approval(self, *asked: Any) -> Any:
        """Answer as the case says."""
        self.asked.append(list(asked))
        if self.reply == "TIMEOUT":
            raise ApprovalTimeoutError(self.reply)
        if self.reply == "ERROR":
            raise RuntimeError("appr")
        return self.reply


async def process(case: Any) -> Any:
    """Process an answer to "tool:pre"."""
    reply = case.get("approval_reply")
    world = World(reply)
    session = SimpleNamespace(session_id="s", parent_id=None, config={"session": {**MODULES, **case["config"]}})
    coordinator = ModuleCoordinator(
        session=session,
        approval_system=None if reply is None else world,
        display_system=world if case.get("display", True) else None,
    )
    if case.get("context", True):
        await coordinator.mount("context", world)
    coordinator._current_turn_injections = case.get("before", 0)
    name = [] if case["hook_name"] is None else [case["hook_name"]]
    outcome: dict[str, Any]
    try:
        result = await coordinator.process_hook_result(HookResult(**case["hook_result"]), "tool:pre", *name)
        outcome = {"result": plain(result)}
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        outcome = {"error": type(error).__name__, "message": str(error)}
    done = {"messages": world.messages, "display": world.shown, "approval_calls": world.asked}
    return {**outcome, **done, "counter": coordinator._current_turn_injections}


async def main() -> None:
    """Do every case."""
    cases = json.load(sys.stdin)
    outcomes = {
        "emit": [await emit(case) for case in cases["emit"]],
        "collect": [await collect(case) for case in cases["collect"]],
        "process": [await process(case) for case in cases["process"]],
        "redact": [redact_secrets(value) for value in cases["redact"]],
        "truncate": [truncate_values(value) for value in cases["truncate"]],
    }
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(main())
