"""The steps of a session that counts messages. They have no effect outside: they may run twice."""

import asyncio
from collections.abc import Mapping
from typing import Any

#: What a message leads to, by its number's place in a dozen.
PLAN = {3: "ask", 5: "permit", 7: "pause", 9: "note", 11: "act"}


async def work(seconds: float) -> None:
    """Take a while, as a model's answer does: long enough to be killed in."""
    await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=seconds)


async def take(state: Mapping[str, Any]) -> dict[str, Any]:
    """Count one message, and choose what it leads to."""
    number = state.get("n", 0) + 1
    await work(state.get("seconds", 0) * (1 + number % 3))
    signal = "finish" if number >= state["of"] else PLAN.get(number % 12, "next")
    return {"n": number, "log": [*state.get("log", []), number], "signal": signal}


def hear(state: Mapping[str, Any]) -> dict[str, Any]:
    """Keep an answer."""
    return {"heard": [*state.get("heard", []), state["answer"]]}
