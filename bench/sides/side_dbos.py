"""DBOS: a workflow of steps for each session, in its thread pool; `url` is its system database.

Its workflows begin as they are started: starting them is inside the time.
"""

import time
from typing import Any

from dbos import DBOS

PAD = "x" * 1024


@DBOS.step()
def step(state: dict[str, Any]) -> dict[str, Any]:
    """Do nothing but count; DBOS keeps what comes back."""
    return {"n": state["n"] + 1, "pad": state["pad"]}


@DBOS.workflow()
def session(of: int) -> int:
    """Go through the steps."""
    state: dict[str, Any] = {"n": 0, "pad": PAD}
    for _ in range(of):
        state = step(state)
    return int(state["n"])


class Side:
    """A launched DBOS."""

    def __init__(self, url: str, _folder: str) -> None:
        config: Any = {"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "ERROR"}
        config["max_executor_threads"] = 16
        DBOS(config=config)
        DBOS.launch()

    def round(self, sessions: int, steps: int) -> tuple[float, float]:
        """Return when it began and ended."""
        began = time.time()
        handles = [DBOS.start_workflow(session, steps) for _ in range(sessions)]
        done = [handle.get_result() for handle in handles]
        ended = time.time()
        if done != [steps] * sessions:
            raise RuntimeError(f"bench: sessions did {sorted(set(done))} steps, not {steps}")
        return began, ended
