"""What a session leaves behind when it ends, however it ends: nothing.

The step `clear` removes the workspace of a review that goes its way; this hook does it for one that is cancelled, stopped, or
over its budget in between. A session that is buried keeps its folder: it may be sent again, and goes on from there.
"""

import os
from pathlib import Path
from typing import Any

from .workspace import WorkspaceError, remove, workspace_folder


def remove_workspace(event: str, data: dict[str, Any]) -> None:
    """At `session:end`: remove what was exported for this session; raise OSError where that cannot be done."""
    del event
    state, session = data["state"], data["session_id"]
    # Whoever submits may write into the state: whatever it says, only a folder with the session's name is removed.
    made = Path(state.get("workspace") or "")
    scratch = str(made.parent) if made.name == session else state.get("scratch") or ""
    try:
        remove(workspace_folder(scratch or os.environ.get("BATON_REVIEW_SCRATCH", ""), session))
    except WorkspaceError:
        return  # there is no folder that could be ours, and so nothing in it
