"""What lies between the plugins and the model: whether there is something for them, and what they found.

Both read the session's workspace and change nothing outside the state.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .analyse import collect_analysis
from .workspace import WorkspaceError


def choose_pass(state: Mapping[str, Any]) -> dict[str, Any]:
    """Run the plugins only where a Python file changed."""
    return {"signal": "inspect" if state["export"].get("python_files") else "collect"}


def collect(state: Mapping[str, Any]) -> dict[str, Any]:
    """Put what was found into the state, or why it cannot be known."""
    export = state["export"]
    try:
        found = collect_analysis(Path(state["workspace"]), state["entries"], export.get("max_findings", 50))
    except WorkspaceError as error:
        return {"analysis": {"problem": str(error)}}
    return {"analysis": found.model_dump(mode="json")}
