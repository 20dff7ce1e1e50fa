"""One side of the hooks bench, in a process and with an interpreter of its own: emits in a loop, as told.

    python _hook_loop.py MODULE     MODULE has a HookRegistry; `floor` stands for none at all

Each line of standard input says `HANDLERS ANSWER EMITS`; each line of standard output is the seconds that it took. Handlers
answer with `none`, or with `continue` as a mapping. The floor copies the event for each handler and awaits it, which is the
least that any registry does. Needs the standard library and MODULE.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

#: About 1 KiB of JSON, in the shape of a tool call.
PAYLOAD: dict[str, Any] = {
    "tool_name": "search",
    "tool_input": {
        "query": "q" * 200,
        "filters": [{"field": f"field_{n}", "op": "eq", "value": n} for n in range(8)],
        "limit": 50,
    },
    "parallel_group_id": "0f8fad5b-d9cb-469f-a165-70867728950e",
    "notes": ["n" * 60] * 4,
}
Emit = Callable[[str, dict[str, Any]], Awaitable[object]]


def handler(answer: str) -> Callable[[str, Any], Awaitable[object]]:
    """Return a handler that does nothing."""

    async def watch(event: str, data: Any) -> object:  # noqa: ANN401, ARG001 - a handler takes these
        return None if answer == "none" else {"action": "continue"}

    return watch


def floor(handlers: int, answer: str) -> Emit:
    """Return what copies and awaits, and nothing more."""
    watchers = [handler(answer) for _ in range(handlers)]

    async def emit(event: str, data: dict[str, Any]) -> object:
        text = json.dumps(data)
        for watch in watchers:
            await watch(event, json.loads(text))
        return data

    return emit


def registry(module: str, handlers: int, answer: str) -> Emit:
    """Return the emit of a registry with so many handlers."""
    hooks = import_module(module).HookRegistry()
    hooks.set_default_fields(session_id="0f8fad5b-d9cb-469f-a165-70867728950e", parent_id=None)
    for _ in range(handlers):
        hooks.register("tool:pre", handler(answer))
    emit: Emit = hooks.emit
    return emit


async def take_seconds(emit: Emit, emits: int) -> float:
    """Emit so often; return how long it took."""
    began = time.perf_counter()
    for _ in range(emits):
        await emit("tool:pre", PAYLOAD)
    return time.perf_counter() - began


def main() -> None:
    """Do what each line says."""
    module = sys.argv[1]
    for line in sys.stdin:
        handlers, answer, emits = line.split()
        emit = floor(int(handlers), answer) if module == "floor" else registry(module, int(handlers), answer)
        print(asyncio.run(take_seconds(emit, int(emits))), flush=True)


if __name__ == "__main__":
    main()
