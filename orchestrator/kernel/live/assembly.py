"""Mount what a plan names, in its order, and tell the modules when all are there.

    orchestrator, context      both must be there
    providers, tools, hooks    in list order; one that fails leaves nothing behind (`rollback.py`), is
                               logged, kept as a LoadFailure and told as module:load_failed; the
                               session goes on without it, unless its entry says `required`
    on_session_ready           of each module that was mounted, in the order of mounting

What a plan may hold is decided by `kernel/mount_validation.py`, how a module is found by `modules.py`.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from orchestrator.contracts.errors import ModuleInvalid, ModuleMissing, SessionNotReady
from orchestrator.contracts.event_names import MODULE_LOAD_FAILED, MODULE_ON_SESSION_READY_FAILED
from orchestrator.contracts.mount_plan import (
    TYPE_OF_SECTION,
    LoadFailure,
    LoadFailureReason,
    ModuleEntry,
    ModuleSection,
)
from orchestrator.kernel.live.coordinator import Coordinator
from orchestrator.kernel.live.foreign import attempt, settle_awaitable
from orchestrator.kernel.live.rollback import Snapshot
from orchestrator.kernel.module_rules import is_async
from orchestrator.kernel.mount_validation import (
    ROLES,
    SECTIONS,
    Role,
    check_instances,
    default_provider_name,
    read_role,
    read_section,
)

logger = logging.getLogger(__name__)

ROLE_WORD: Final[Mapping[Role, str]] = {"orchestrator": "orchestrator", "context": "context manager"}


class Assembly:
    """One assembling of a session's modules. `loader` is whatever has the `load` of a ModuleLoader."""

    def __init__(self, coordinator: Coordinator, loader: Any) -> None:
        self._coordinator, self._loader = coordinator, loader
        self._ready: list[tuple[str, Callable[..., Any]]] = []
        #: What was left out, in the order of the plan.
        self.failures: list[LoadFailure] = []

    async def run(self, plan: Mapping[str, Any]) -> None:
        """Mount everything that a checked plan names.

        Raises SessionNotReady, from the module's own error, where a part that must be there cannot
        be mounted, and MountPlanInvalid for a plan that cannot be read.
        """
        for role in ROLES:
            await self._mount_role(plan, role)
        entries = {section: read_section(plan, section) for section in SECTIONS}
        check_instances(entries["providers"])
        for section in SECTIONS:
            for entry in entries[section]:
                await self._mount_entry(section, entry)
        for failure in self.failures:  # only now: the hooks that want to hear of it were mounted last
            await self._coordinator.hooks.emit(MODULE_LOAD_FAILED, failure.model_dump(exclude_none=True))
        await self._tell_ready()

    async def _mount_role(self, plan: Mapping[str, Any], role: Role) -> None:
        entry = read_role(plan, role)
        outcome = await attempt(self._mount, entry, record=_record_nothing_more)
        if isinstance(outcome.error, Exception):
            raise SessionNotReady(f"Cannot initialize without {ROLE_WORD[role]}: {outcome.error}") from outcome.error
        if outcome.error is not None:
            raise outcome.error

    async def _mount_entry(self, section: ModuleSection, entry: ModuleEntry) -> None:
        before = Snapshot(self._coordinator)
        mount = self._mount_instance if section == "providers" and entry.instance_id else self._mount
        outcome = await attempt(mount, entry, record=_record_nothing_more)
        if outcome.error is None:
            return
        before.put_back()
        if not isinstance(outcome.error, Exception):
            raise outcome.error
        kind = TYPE_OF_SECTION[section]
        if entry.required:
            raise SessionNotReady(
                f"Cannot initialize without {kind} {entry.module!r}: {outcome.error}"
            ) from outcome.error
        logger.warning("Failed to load %s %r: %s", kind, entry.module, outcome.error, exc_info=outcome.error)
        self.failures.append(
            LoadFailure(
                module_type=kind,
                module_id=entry.module,
                error=str(outcome.error),
                reason_code=_reason(outcome.error),
                instance_id=entry.instance_id,
            )
        )

    async def _mount(self, entry: ModuleEntry) -> None:
        """Load a module and mount it; keep its cleanup function and what it wants to be told."""
        mount = await settle_awaitable(
            self._loader.load(entry.module, entry.config, source_hint=entry.source, coordinator=self._coordinator)
        )
        self._coordinator.register_cleanup(await settle_awaitable(mount(self._coordinator)))
        ready = getattr(mount, "on_session_ready", None)
        if ready is not None:
            self._ready.append((entry.module, ready))

    async def _mount_instance(self, entry: ModuleEntry) -> None:
        """Mount one more provider of a module: under its instance id, with whoever had its own name put back."""
        providers: dict[str, Any] = self._coordinator.get("providers")
        before = dict(providers)
        await self._mount(entry)
        new = [name for name, module in providers.items() if name not in before or before[name] is not module]
        default = default_provider_name(entry.module)
        name = default if default in new or (not new and default in providers) else next(iter(new), None)
        if name is None or len(new) > 1:
            raise ModuleInvalid(
                entry.module, [f"it mounted {len(new)} providers, and instance_id {entry.instance_id!r} names one"]
            )
        provider = providers[name]
        providers.clear()
        providers.update(before)
        await self._coordinator.mount("providers", provider, entry.instance_id)

    async def _tell_ready(self) -> None:
        queue, self._ready = self._ready, []
        for module_id, function in queue:
            if not is_async(function):
                logger.warning("on_session_ready of %r is not async and is skipped; write `async def`", module_id)
                continue
            outcome = await attempt(function, self._coordinator, record=_record_nothing_more)
            if isinstance(outcome.error, Exception):
                logger.warning("on_session_ready of %r raised: %s", module_id, outcome.error, exc_info=outcome.error)
                await self._coordinator.hooks.emit(
                    MODULE_ON_SESSION_READY_FAILED, {"module_id": module_id, "error": str(outcome.error)}
                )
            elif outcome.error is not None:
                raise outcome.error


def _reason(error: Exception) -> LoadFailureReason:
    if isinstance(error, ModuleMissing):
        return "missing"
    return "invalid" if isinstance(error, ModuleInvalid) else "mount_failed"


def _record_nothing_more(error: BaseException) -> None:
    """Leave the recording to the one who knows what the module was for: each outcome is raised or logged."""
