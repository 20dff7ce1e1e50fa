"""Steps that a drill controls by files in the folder DRILL_FOLDER."""

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def is_on(name: str) -> bool:
    """Say whether a fault is switched on."""
    return (Path(os.environ["DRILL_FOLDER"]) / name).exists()


async def pause(seconds: float) -> None:
    """Take a while."""
    await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=seconds)


async def work(state: Mapping[str, Any]) -> dict[str, Any]:
    """Work for `seconds`, and where the session is `held`, until the drill lets it go."""
    await pause(state.get("seconds", 0))
    while state.get("held") and is_on("held"):
        await pause(0.05)
    return {"worked": True}


def broken(state: Mapping[str, Any]) -> dict[str, Any]:
    """Fail while the fault is on."""
    if is_on("broken"):
        raise ZeroDivisionError("the code of this step is broken")
    return {"mended": True}


def poison(state: Mapping[str, Any]) -> dict[str, Any]:
    """End this process while the fault is on, as a crash of native code would."""
    if is_on("poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"survived": True}
