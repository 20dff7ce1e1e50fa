"""Steps that take as long as their session says."""

import asyncio
from collections.abc import Mapping
from typing import Any


async def work(state: Mapping[str, Any]) -> dict[str, Any]:
    """Work for `seconds`, `of` times."""
    number = state.get("n", 0) + 1
    await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=state.get("seconds", 0))
    return {"n": number, "signal": "again" if number < state.get("of", 1) else "success"}
