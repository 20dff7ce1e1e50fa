"""A step that no worker survives, unless the session says that it is harmless."""

import os
import signal
from collections.abc import Mapping
from typing import Any


def swallow(state: Mapping[str, Any]) -> dict[str, Any]:
    """End this process at once, as a crash of native code or the kernel's memory killer would."""
    if state.get("poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"swallowed": True}
