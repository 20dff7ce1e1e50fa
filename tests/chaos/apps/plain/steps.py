"""Steps that take as long as their session says, or as there is a file."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any


async def _rest(seconds: float) -> None:
    await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=seconds)


async def work(state: Mapping[str, Any]) -> dict[str, Any]:
    """Work for `seconds`, and while there is the file `held`, `of` times."""
    number = state.get("n", 0) + 1
    await _rest(state.get("seconds", 0))
    while (held := state.get("held")) and Path(held).exists():
        await _rest(0.05)
    return {"n": number, "signal": "again" if number < state.get("of", 1) else "success"}
