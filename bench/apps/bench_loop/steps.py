"""Steps of the benches: count to `of`, and note when the first one began.

The state carries a pad, so that it has the size the bench says. `began` is this machine's time in
seconds.
"""

import asyncio
import random
import time
from typing import Any

State = dict[str, Any]


async def start(state: State) -> State:
    """Do the first step: say when it began, and go on with the kind of steps that was asked for."""
    now = time.time()
    if state.get("rest"):
        return {"n": 1, "began": now, "signal": "rest"}
    if state.get("think_seconds"):
        return {"n": 1, "began": now, "late_ms": 0.0, "signal": "think"}
    seconds = state.get("nap_seconds", 0)
    if seconds:
        await asyncio.sleep(seconds)
    if state.get("of", 1) <= 1:
        return {"n": 1, "began": now, "signal": "success"}
    return {"n": 1, "began": now, "signal": "wait" if seconds else "again"}


async def work(state: State) -> State:
    """Do nothing but count."""
    n = state["n"] + 1
    return {"n": n, "signal": "again" if n < state["of"] else "success"}


async def nap(state: State) -> State:
    """Wait as one waits for a model, and count."""
    await asyncio.sleep(state["nap_seconds"])
    n = state["n"] + 1
    return {"n": n, "signal": "again" if n < state["of"] else "success"}


async def think(state: State) -> State:
    """Wait as long as a model may take, anywhere between two numbers of seconds; note by how much the loop was late at most."""
    seconds = random.uniform(*state["think_seconds"])
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    late_ms = (time.perf_counter() - began - seconds) * 1000
    n = state["n"] + 1
    return {"n": n, "late_ms": max(state["late_ms"], late_ms), "signal": "think" if n < state["of"] else "success"}
