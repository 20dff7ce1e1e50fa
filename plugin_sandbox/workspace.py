"""The host's side of a workspace, under one name: reading what a plugin changed, judging it, publishing it."""

from plugin_sandbox.changes import Change, Changes, compare_copy, read_changes
from plugin_sandbox.copying import make_copy
from plugin_sandbox.policy import find_violations, is_protected
from plugin_sandbox.publishing import WorkspaceError, publish, recover, tell_changes, workspace_lock
from plugin_sandbox.receipts import read_receipt

__all__ = [
    "Change",
    "Changes",
    "WorkspaceError",
    "compare_copy",
    "find_violations",
    "is_protected",
    "make_copy",
    "publish",
    "read_changes",
    "read_receipt",
    "recover",
    "tell_changes",
    "workspace_lock",
]
