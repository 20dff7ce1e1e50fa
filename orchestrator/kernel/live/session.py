"""One session in one process: put together, run turn by turn, taken apart.

    created ──initialize──> initialized ──execute, execute, …──> initialized ──cleanup──> created

`initialize` mounts what the plan names, `execute` gives a prompt to the orchestrator and returns
its answer, `cleanup` says session:end and runs what the modules left to be run. A run that raises
keeps its error's type; its status says how it ended. One turn at a time.

This is the session as objects. One that outlives its process is advanced step by step by the
workers, over the store; it shares the pure rules (`kernel/lifecycle.py`) and nothing of this.
"""

import logging
import uuid
from collections.abc import Callable, MutableSet
from copy import deepcopy
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

from orchestrator.contracts.errors import SessionNotReady
from orchestrator.contracts.event_names import CANCEL_COMPLETED, SESSION_CONFIG, SESSION_END, SESSION_FORK
from orchestrator.contracts.modules import SessionStatus
from orchestrator.contracts.mount_plan import LoadFailure
from orchestrator.contracts.ports import ApprovalSystem, DisplaySystem
from orchestrator.kernel import lifecycle
from orchestrator.kernel.live.assembly import Assembly
from orchestrator.kernel.live.coordinator import Coordinator
from orchestrator.kernel.live.foreign import attempt, clean_up, settle_awaitable
from orchestrator.kernel.live.hooks import utc_now
from orchestrator.kernel.live.modules import ModuleLoader
from orchestrator.kernel.mount_validation import check_config

logger = logging.getLogger(__name__)


def new_session_id() -> str:
    """Return a random id of 36 characters."""
    return str(uuid.uuid4())


class Session:
    """A session over live modules; `async with` initialises it and cleans up.

    `config` is the mount plan and is kept, not copied: what changes in it later is seen. `loader`
    is whatever has the `load` of a ModuleLoader. `announced` are the lifecycle events that this
    session has said in its life (session:fork, start, resume, end): who keeps a session across
    objects passes what was kept, and each is said once. Without it, each is said once per object.
    Raises MountPlanInvalid for a plan that no session can start from.
    """

    def __init__(
        self,
        config: dict[str, Any],
        loader: Any = None,
        session_id: str | None = None,
        parent_id: str | None = None,
        approval_system: ApprovalSystem | None = None,
        display_system: DisplaySystem | None = None,
        is_resumed: bool = False,  # noqa: FBT001, FBT002 - a value of the session, usually given by name
        *,
        announced: MutableSet[str] | None = None,
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], str] = new_session_id,
    ) -> None:
        check_config(config)
        self._config = config
        self._session_id = session_id or new_id()
        self._parent_id = parent_id
        self._is_resumed = is_resumed
        self._announced: MutableSet[str] = set() if announced is None else announced
        self._clock, self._new_id = clock, new_id
        self._status = SessionStatus(session_id=self._session_id, started_at=clock())
        self._load_failures: tuple[LoadFailure, ...] = ()
        self._is_initialized = self._is_initializing = self._is_running = False
        self._parent: Session | None = None
        self._children: list[Session] = []
        self._coordinator = Coordinator(self, approval_system, display_system)
        self._coordinator.loader = loader
        self._coordinator.hooks.set_default_fields(session_id=self._session_id, parent_id=parent_id)

    @property
    def config(self) -> dict[str, Any]:
        """The mount plan: the very dict that was given."""
        return self._config

    @property
    def session_id(self) -> str:
        """The given id, else a random one."""
        return self._session_id

    @property
    def parent_id(self) -> str | None:
        """Id of the session that this one was forked from."""
        return self._parent_id

    @property
    def coordinator(self) -> Coordinator:
        """Where the session's modules sit."""
        return self._coordinator

    @property
    def is_resumed(self) -> bool:
        """Whether it goes on with what an earlier one began."""
        return self._is_resumed

    @property
    def initialized(self) -> bool:
        """Whether it can execute."""
        return self._is_initialized

    @property
    def status(self) -> SessionStatus:
        """How it stands: running, or how its last run ended; `last_error` of a run that failed."""
        return self._status

    @property
    def load_failures(self) -> tuple[LoadFailure, ...]:
        """The modules that the plan names and that it goes on without."""
        return self._load_failures

    @property
    def children(self) -> tuple["Session", ...]:
        """The sessions that were forked from this one and are not cleaned up."""
        return tuple(self._children)

    async def initialize(self) -> None:
        """Mount what the plan names; a second call does nothing.

        Raises SessionNotReady where the orchestrator, the context manager or a module that is
        required cannot be mounted; its `__cause__` is the module's own error. What is mounted by
        then stays, and `cleanup` takes it apart.
        """
        if self._is_initialized:
            return
        if self._is_initializing:
            raise SessionNotReady(f"session {self._session_id}: it is being initialised; wait for that")
        self._is_initializing = True
        try:
            if self._coordinator.loader is None:
                self._coordinator.loader = ModuleLoader(self._coordinator)
            assembly = Assembly(self._coordinator, self._coordinator.loader)
            await assembly.run(self._config)
            self._load_failures = tuple(assembly.failures)
            self._is_initialized = True
        finally:
            self._is_initializing = False
        if self._parent_id is not None and self._is_first(SESSION_FORK):
            payload = lifecycle.fork_payload(self._session_id, self._parent_id, self._config)
            await self._coordinator.hooks.emit(SESSION_FORK, payload)

    async def execute(self, prompt: str) -> str:
        """Give a prompt to the orchestrator and return its answer: one turn.

        Raises SessionNotReady before `initialize`, while another turn runs, and where a part that a
        turn needs is not mounted; TypeError for an answer that is no str; and what the orchestrator
        raises, as it is.
        """
        if not self._is_initialized:
            raise SessionNotReady(lifecycle.NOT_INITIALIZED)
        if self._is_running:
            raise SessionNotReady(f"session {self._session_id}: a turn is running; wait for its answer")
        self._is_running = True
        try:
            return await self._run(prompt)
        finally:
            self._is_running = False

    async def _run(self, prompt: str) -> str:
        hooks, token = self._coordinator.hooks, self._coordinator.cancellation
        self._coordinator.reset_turn()
        self._set_status(status="running", last_error=None)
        event = lifecycle.choose_start_event(is_resumed=self._is_resumed)
        if self._is_first(event):
            await hooks.emit(event, lifecycle.start_payload(self._session_id, self._parent_id, self._config))
        if lifecycle.wants_raw(self._config):
            await hooks.emit(SESSION_CONFIG, lifecycle.config_payload(self._session_id, self._config))
        outcome = await attempt(self._ask, prompt, record=self._record_failure)
        status = lifecycle.choose_status(outcome.error, is_cancelled=token.is_cancelled)
        self._set_status(status=status)
        if token.is_cancelled:
            payload = lifecycle.cancelled_payload(outcome.error, was_immediate=token.is_immediate)
            await hooks.emit(CANCEL_COMPLETED, payload)
        if outcome.error is not None:
            raise outcome.error
        answer: str = outcome.value
        return answer

    async def _ask(self, prompt: str) -> str:
        coordinator = self._coordinator
        orchestrator, context = coordinator.get("orchestrator"), coordinator.get("context")
        providers = coordinator.get("providers")
        if orchestrator is None:
            raise SessionNotReady("No orchestrator module mounted")
        if context is None:
            raise SessionNotReady("No context manager mounted")
        if not providers:
            raise SessionNotReady("No providers mounted")
        answer = await settle_awaitable(
            orchestrator.execute(
                prompt=prompt,
                context=context,
                providers=providers,
                tools=coordinator.get("tools"),
                hooks=coordinator.hooks,
                coordinator=coordinator,
            )
        )
        if not isinstance(answer, str):
            raise TypeError(f"orchestrator: its answer must be a str, got {type(answer).__name__}")
        return answer

    async def cleanup(self, *, cascade_children: bool = False) -> None:
        """Say session:end, run the modules' cleanup functions, and let the loader go.

        session:end is said once, and only of a session that was initialised. All of it is done,
        whatever a part raises: errors are logged, and the first KeyboardInterrupt, SystemExit or
        CancelledError is raised again at the end. With `cascade_children` the forks are cleaned up
        before, the last one first. The cleanup functions stay registered: they may run again.
        """
        children = reversed(self._children) if cascade_children else ()
        parts: list[Callable[[], Any]] = [
            *(partial(child.cleanup, cascade_children=True) for child in children),
            self._say_end,
            self._coordinator.cleanup,
            self._let_go,
        ]
        await clean_up(parts)

    async def _say_end(self) -> None:
        was_initialized, self._is_initialized = self._is_initialized, False
        if was_initialized and self._is_first(SESSION_END):
            self._set_status(ended_at=self._clock())
            payload = lifecycle.end_payload(self._session_id, self._status.status)
            await self._coordinator.hooks.emit(SESSION_END, payload)

    async def _let_go(self) -> None:
        """Leave the parent, and clean up the loader unless it is the parent's."""
        loader, parent = self._coordinator.loader, self._parent
        if parent is not None and self in parent.children:
            parent.coordinator.cancellation.unregister_child(self._coordinator.cancellation)
            parent._children.remove(self)  # noqa: SLF001 - a session's own class
        is_shared = parent is not None and loader is parent.coordinator.loader
        if hasattr(loader, "cleanup") and not is_shared:
            await settle_awaitable(loader.cleanup())

    def fork(
        self, config: dict[str, Any] | None = None, *, suffix: str | None = None, session_id: str | None = None
    ) -> "Session":
        """Return a child: a new session that knows where it came from.

        It has a copy of this session's plan, or the given one (plans are not merged), and the id
        `<parent>-<suffix>`, or the given one. Loader, resolver, approval and display systems are
        the parent's. A request to stop the parent reaches it until it is cleaned up.
        """
        child = Session(
            deepcopy(self._config) if config is None else config,
            loader=self._coordinator.loader,
            session_id=session_id or lifecycle.fork_id(self._session_id, suffix or self._new_id()[:8]),
            parent_id=self._session_id,
            approval_system=self._coordinator.approval_system,
            display_system=self._coordinator.display_system,
            clock=self._clock,
            new_id=self._new_id,
        )
        resolver = self._coordinator.get("module-source-resolver")
        child.coordinator.mount_points["module-source-resolver"] = resolver
        self._coordinator.cancellation.register_child(child.coordinator.cancellation)
        child._parent = self
        self._children.append(child)
        return child

    async def __aenter__(self) -> Self:
        """Initialise; what a failed attempt has mounted is cleaned up."""
        try:
            await self.initialize()
        finally:
            if not self._is_initialized:
                await self.cleanup()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Clean up."""
        await self.cleanup()

    def _is_first(self, event: str) -> bool:
        """Say whether the session has not said this yet, and note that it does now."""
        if event in self._announced:
            return False
        self._announced.add(event)
        return True

    def _record_failure(self, error: BaseException) -> None:
        self._set_status(last_error=lifecycle.describe_error(error))

    def _set_status(self, **changes: Any) -> None:
        self._status = self._status.model_copy(update={**changes, "last_activity": self._clock()})
