"""The kernel over live objects in one process: what awaits, calls handlers and holds modules.

    session       one session: initialize, execute, cleanup, fork
    coordinator   its mount points, capabilities, contribution channels and cleanup functions
    assembly      mounts what its plan names, in the plan's order; rollback takes a failed module back
    modules       finds, checks and loads modules; module_sources knows the folders they are in
    hooks         the registry of handlers, and emitting to them
    processing    does what a hook's answer says: inject, show, ask
    cancellation  asks the work to stop, gently or at once
    retrying      tries an operation again, with back-off
    guard, foreign  the two edges of code that others brought: its errors are recorded, or returned

Rules that need no live object are in `kernel/` and serve the durable path too. Nothing here does
I/O of its own but importing modules; clocks, ids and randomness are parameters with a default.
"""

from orchestrator.kernel.live.cancellation import CancellationState, CancellationToken
from orchestrator.kernel.live.coordinator import Coordinator
from orchestrator.kernel.live.hooks import HookRegistry
from orchestrator.kernel.live.module_sources import (
    FileSystemModuleSource,
    FolderResolver,
    FolderSource,
    ModuleSource,
    ModuleSourceResolver,
)
from orchestrator.kernel.live.modules import ModuleLoader, ModuleMount
from orchestrator.kernel.live.processing import HookHost, process_hook_result
from orchestrator.kernel.live.retrying import retry_with_backoff
from orchestrator.kernel.live.session import Session

__all__ = [
    "CancellationState",
    "CancellationToken",
    "Coordinator",
    "FileSystemModuleSource",
    "FolderResolver",
    "FolderSource",
    "HookHost",
    "HookRegistry",
    "ModuleLoader",
    "ModuleMount",
    "ModuleSource",
    "ModuleSourceResolver",
    "Session",
    "process_hook_result",
    "retry_with_backoff",
]
