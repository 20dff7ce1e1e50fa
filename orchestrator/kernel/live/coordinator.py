"""Where the modules of one live session sit and find each other.

    mount points     orchestrator, context, module-source-resolver   one module each
                     providers, tools                                several, by name
                     hooks                                           the HookRegistry itself
    capabilities     named things that modules lend each other
    contributions    channels on which modules hand in values when somebody collects them
    cleanup          functions that run when the session is over, the last registered first

It also keeps what a turn has used of its injection budget, and reads the limits from the session's
plan each time, because the plan may be changed while the session lives. It decides nothing about
hooks (`hooks.py`, `processing.py`) and loads nothing (`modules.py`).
"""

import asyncio
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final, TypeVar, get_args

from orchestrator.contracts.errors import MountRefused
from orchestrator.contracts.hook_result import HookResult
from orchestrator.contracts.mount_plan import NamedPoint, SinglePoint
from orchestrator.contracts.ports import ApprovalSystem, DisplaySystem
from orchestrator.kernel.live.cancellation import CancellationToken
from orchestrator.kernel.live.foreign import attempt, clean_up
from orchestrator.kernel.live.guard import is_being_cancelled
from orchestrator.kernel.live.hooks import HookRegistry
from orchestrator.kernel.live.processing import process_hook_result

ResultT = TypeVar("ResultT")

logger = logging.getLogger(__name__)

SINGLE: Final[tuple[str, ...]] = get_args(SinglePoint)
NAMED: Final[tuple[str, ...]] = get_args(NamedPoint)
HOOKS: Final = "hooks"


class Coordinator:
    """The mount points, capabilities, channels and cleanup functions of one session.

    `session` is whatever has `session_id`, `parent_id` and `config`; without one the coordinator
    stands alone, with an empty plan. Attributes of other names may be set freely.
    """

    def __init__(
        self,
        session: Any = None,
        approval_system: ApprovalSystem | None = None,
        display_system: DisplaySystem | None = None,
    ) -> None:
        self._session = session if session is not None else SimpleNamespace(session_id="", parent_id=None, config={})
        self._session_id: str = self._session.session_id
        self._parent_id: str | None = self._session.parent_id
        self._config: dict[str, Any] = self._session.config
        self._approval_system, self._has_approval_provider = approval_system, False
        self._display_system, self._has_display_service = display_system, False
        self._hooks = HookRegistry()
        self._cancellation = CancellationToken()
        self._capabilities: dict[str, Any] = {}
        self._channels: dict[str, list[dict[str, Any]]] = {}
        self._cleanup_functions: list[Callable[[], Any]] = []
        self._turn_injections = 0
        #: Public and mutable: mount point → module, modules by name, or the registry.
        self.mount_points: dict[str, Any] = {
            "orchestrator": None,
            "providers": {},
            "tools": {},
            "context": None,
            HOOKS: self._hooks,
            "module-source-resolver": None,
        }
        #: Whatever modules keep for as long as this object lives.
        self.session_state: dict[str, Any] = {}
        #: What loads modules; made by the session when it is first needed.
        self.loader: Any = None

    @property
    def session(self) -> Any:
        """The session that this belongs to."""
        return self._session

    @property
    def session_id(self) -> str:
        """Id of the session; "" without one."""
        return self._session_id

    @property
    def parent_id(self) -> str | None:
        """Id of the session that this one was forked from."""
        return self._parent_id

    @property
    def config(self) -> dict[str, Any]:
        """The mount plan: the session's own dict, not a copy."""
        return self._config

    @property
    def hooks(self) -> HookRegistry:
        """The registry of hooks."""
        return self._hooks

    @property
    def cancellation(self) -> CancellationToken:
        """What the session's work looks at to learn whether it should stop."""
        return self._cancellation

    @property
    def channels(self) -> dict[str, list[dict[str, Any]]]:
        """Channel → contributors as `{"name", "callback"}`, in the order of registration."""
        return self._channels

    @property
    def capabilities(self) -> dict[str, Any]:
        """Name → what is lent under it."""
        return self._capabilities

    @property
    def approval_system(self) -> ApprovalSystem | None:
        """Who is asked for approvals; None denies."""
        return self._approval_system

    @approval_system.setter
    def approval_system(self, system: ApprovalSystem | None) -> None:
        self._approval_system, self._has_approval_provider = system, system is not None

    @property
    def display_system(self) -> DisplaySystem | None:
        """Who shows the hooks' messages."""
        return self._display_system

    @display_system.setter
    def display_system(self, system: DisplaySystem | None) -> None:
        self._display_system = system
        self._has_display_service = self._has_display_service or system is not None

    async def mount(self, mount_point: str, module: Any, name: str | None = None) -> None:
        """Put a module into a mount point, in place of the one that has it.

        Where several sit, the name is the given one or else the module's own. Raises MountRefused
        for an unknown point, for `hooks`, and without a name; TypeError for a name that is no str.
        """
        self._check(mount_point)
        if mount_point == HOOKS:
            raise MountRefused("Hooks should be registered directly with the HookRegistry")
        if mount_point in SINGLE:
            self.mount_points[mount_point] = module
            return
        if name is None:
            if not hasattr(module, "name"):
                raise MountRefused(f"Name required for {mount_point}")
            name = module.name
        if not isinstance(name, str):
            raise TypeError(f"{mount_point}: a module's name must be a str, got {type(name).__name__}")
        self.mount_points[mount_point][name] = module

    async def unmount(self, mount_point: str, name: str | None = None) -> None:
        """Take a module out; one that is not there is ignored, and so is `hooks`.

        Raises MountRefused for an unknown point, and without a name where several sit.
        """
        self._check(mount_point)
        if mount_point in SINGLE:
            self.mount_points[mount_point] = None
        elif mount_point in NAMED:
            if name is None:
                raise MountRefused(f"Name required to unmount from {mount_point}")
            self.mount_points[mount_point].pop(name, None)

    def get(self, mount_point: str, name: str | None = None) -> Any:
        """Return the module or None; where several sit and no name is given, the live dict of them.

        Raises MountRefused for an unknown point.
        """
        self._check(mount_point)
        mounted = self.mount_points[mount_point]
        return mounted.get(name) if mount_point in NAMED and name is not None else mounted

    def _check(self, mount_point: str) -> None:
        if mount_point not in self.mount_points:
            raise MountRefused(f"Unknown mount point: {mount_point}")

    def register_capability(self, name: str, value: Any) -> None:
        """Lend something under a name, in place of what the name stood for."""
        self._capabilities[name] = value

    def get_capability(self, name: str) -> Any:
        """Return what is lent under a name, or None."""
        return self._capabilities.get(name)

    def register_contributor(self, channel: str, name: str, callback: Callable[[], Any]) -> None:
        """Add a contributor to a channel; its callback is asked at every collection."""
        self._channels.setdefault(channel, []).append({"name": name, "callback": callback})

    async def collect_contributions(self, channel: str) -> list[Any]:
        """Return what the contributors of a channel hand in, in the order of registration.

        None is no contribution. One that fails is logged and left out. A CancelledError that one
        raises by itself ends the collection with what there is by then; the cancelling of the
        caller's own task goes on to the caller.
        """
        collected: list[Any] = []
        for contributor in list(self._channels.get(channel, ())):
            name = contributor["name"]

            def record(error: BaseException, name: str = name) -> None:
                if isinstance(error, asyncio.CancelledError):
                    logger.warning("channel %r: cancelled at contributor %r; the rest is not asked", channel, name)
                else:
                    logger.warning("channel %r: contributor %r failed and is left out: %s", channel, name, error)

            outcome = await attempt(contributor["callback"], record=record)
            if isinstance(outcome.error, asyncio.CancelledError) and not is_being_cancelled():
                break
            if outcome.error is not None and not isinstance(outcome.error, Exception):
                raise outcome.error
            if outcome.value is not None:
                collected.append(outcome.value)
        return collected

    def register_cleanup(self, function: Any) -> None:
        """Keep a function, sync or async, for `cleanup`; what cannot be called is ignored."""
        if callable(function):
            self._cleanup_functions.append(function)

    async def cleanup(self) -> None:
        """Run every cleanup function, the last registered first; each runs, whatever the others raise.

        Errors are logged. The first that is no Exception (KeyboardInterrupt, SystemExit,
        CancelledError) is raised again when all have run. The functions stay registered.
        """
        await clean_up(reversed(self._cleanup_functions[:]))

    async def process_hook_result(
        self, result: ResultT, event: str, hook_name: str = "unknown"
    ) -> ResultT | HookResult:
        """Act on what a hook returned: inject, show, ask; see `processing.py`."""
        return await process_hook_result(self, result, event, hook_name)

    @property
    def injection_budget_per_turn(self) -> Any:
        """How many tokens hooks may inject in a turn, as the plan says now; None without a limit."""
        return self._limit("injection_budget_per_turn")

    @property
    def injection_size_limit(self) -> Any:
        """How many characters one injection may have, as the plan says now; None without a limit."""
        return self._limit("injection_size_limit")

    def _limit(self, name: str) -> Any:
        session = self._config.get("session")
        return session.get(name) if isinstance(session, dict) else None

    @property
    def current_turn_injections(self) -> int:
        """Tokens that hooks have injected since `reset_turn`."""
        return self._turn_injections

    @current_turn_injections.setter
    def current_turn_injections(self, tokens: int) -> None:
        if not isinstance(tokens, int):
            raise TypeError(f"the turn's injections must be an int, got {type(tokens).__name__}")
        self._turn_injections = tokens

    def reset_turn(self) -> None:
        """Begin a turn: nothing has been injected in it yet. A cancellation stays."""
        self._turn_injections = 0

    async def request_cancel(self, immediate: bool = False) -> None:  # noqa: FBT001, FBT002 - one call, as hosts make it
        """Ask the session to stop, after its running tools or at once. Emits nothing."""
        if immediate:
            self._cancellation.request_immediate()
        else:
            self._cancellation.request_graceful()

    def to_dict(self) -> dict[str, Any]:
        """Say what is mounted, by names, for people and logs: nothing can be restored from it.

        The last two tell whether an approval or display system was set after construction.
        """
        return {
            "tools": list(self.mount_points["tools"]),
            "providers": list(self.mount_points["providers"]),
            "has_orchestrator": self.mount_points["orchestrator"] is not None,
            "has_context": self.mount_points["context"] is not None,
            "capabilities": list(self._capabilities),
            "has_approval_provider": self._has_approval_provider,
            "has_display_service": self._has_display_service,
        }
