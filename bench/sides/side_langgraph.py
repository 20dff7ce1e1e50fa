"""LangGraph: a graph whose node goes round, with the SQLite checkpointer and durability "sync"; sessions one after another.

One after another, because its SQLite connection is one, under one lock: threads only wait for each other.
"""

import time
import uuid
from pathlib import Path
from typing import Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph


class State(TypedDict):
    """What a session keeps."""

    n: int
    of: int
    pad: str


def work(state: State) -> dict[str, Any]:
    """Do nothing but count, and write the state."""
    return {"n": state["n"] + 1, "pad": state["pad"]}


class Side:
    """A compiled graph over one file."""

    def __init__(self, _url: str, folder: str) -> None:
        graph: Any = StateGraph(State)
        graph.add_node("work", work)
        graph.add_edge(START, "work")
        graph.add_conditional_edges("work", lambda state: "work" if state["n"] < state["of"] else END)
        self._context = SqliteSaver.from_conn_string(str(Path(folder) / "langgraph.sqlite"))
        self._graph = graph.compile(checkpointer=self._context.__enter__())

    def round(self, sessions: int, steps: int) -> tuple[float, float]:
        """Return when it began and ended."""
        began = time.time()
        for _ in range(sessions):
            config = {"configurable": {"thread_id": uuid.uuid4().hex}, "recursion_limit": steps + 5}
            done = self._graph.invoke({"n": 0, "of": steps, "pad": "x" * 1024}, config, durability="sync")
            if done["n"] != steps:
                raise RuntimeError(f"bench: a session did {done['n']} steps, not {steps}")
        return began, time.time()
