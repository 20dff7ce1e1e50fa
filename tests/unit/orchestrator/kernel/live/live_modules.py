"""Small real modules for tests of the live kernel, and a loader that has them on a shelf."""

from collections.abc import Callable
from typing import Any

from orchestrator.contracts.errors import ModuleMissing
from orchestrator.contracts.event_names import ALL_EVENTS, MODULE_LOAD_FAILED, SESSION_CONFIG
from orchestrator.kernel.live.coordinator import Coordinator
from orchestrator.kernel.live.session import Session

Mount = Callable[[Coordinator, dict[str, Any]], Any]


class Echo:
    """An orchestrator that answers with what it was asked, or as `act` does; keeps what it was given."""

    def __init__(self, act: Callable[[Coordinator], Any] | None = None) -> None:
        self.act, self.given = act, []

    async def execute(self, prompt: str, **given: Any) -> Any:
        self.given.append(given)
        return f"answer to {prompt}" if self.act is None else self.act(given["coordinator"])


class Memory:
    """A context manager that keeps messages in a list."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    async def add_message(self, message: dict[str, Any]) -> None:
        self.messages.append(message)


class Model:
    """A provider that only knows its config."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config


class Shelf:
    """A loader: module id → mount function. Keeps what was asked of it."""

    def __init__(self, **mounts: Mount) -> None:
        self.mounts = {name.replace("_", "-"): mount for name, mount in mounts.items()}
        self.asked: list[tuple[str, Any, Any]] = []
        self.cleanups = 0

    async def load(self, module_id: str, config: Any = None, source_hint: Any = None, coordinator: Any = None) -> Any:
        self.asked.append((module_id, config, source_hint))
        if module_id not in self.mounts:
            raise ModuleMissing(f"module {module_id!r}: not on the shelf")
        mount = self.mounts[module_id]

        async def mount_with_config(coordinator: Coordinator) -> Any:
            return await mount(coordinator, config)

        mount_with_config.on_session_ready = getattr(mount, "on_session_ready", None)  # type: ignore[attr-defined]
        return mount_with_config

    def cleanup(self) -> None:
        self.cleanups += 1


def mounts(point: str, module: Any, name: str | None = None, cleanup: Any = None) -> Mount:
    """Return a mount function that mounts this object and returns that cleanup function."""

    async def mount(coordinator: Coordinator, config: dict[str, Any]) -> Any:
        await coordinator.mount(point, module, name)
        return cleanup

    return mount


def mounts_model(name: str) -> Mount:
    """Return the mount function of a provider's module, which mounts a new Model under its own name."""

    async def mount(coordinator: Coordinator, config: dict[str, Any]) -> None:
        await coordinator.mount("providers", Model(config), name)

    return mount


def shelf(act: Callable[[Coordinator], Any] | None = None, **more: Mount) -> Shelf:
    """Return a shelf with an orchestrator `loop`, a context manager `context` and a provider `provider-a`."""
    echo, memory = Echo(act), Memory()
    basic = {
        "loop": mounts("orchestrator", echo),
        "context": mounts("context", memory),
        "provider_a": mounts_model("a"),
    }
    return Shelf(**{**basic, **more})


def plan(**more: Any) -> dict[str, Any]:
    """Return a mount plan of what is on that shelf; `session` adds to its session section."""
    session = {"orchestrator": "loop", "context": "context", **more.pop("session", {})}
    return {"session": session, "providers": [{"module": "provider-a"}], **more}


class Heard:
    """A handler that keeps every event and its data, without the time."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, data: dict[str, Any]) -> None:
        self.events.append((event, {name: value for name, value in data.items() if name != "timestamp"}))

    @property
    def names(self) -> list[str]:
        return [event for event, _ in self.events]

    def said(self, event: str) -> list[dict[str, Any]]:
        return [data for name, data in self.events if name == event]


def listen(session: Session) -> Heard:
    """Listen to everything that a session says."""
    heard = Heard()
    for event in (*ALL_EVENTS, SESSION_CONFIG, MODULE_LOAD_FAILED):
        session.coordinator.hooks.register(event, heard)
    return heard
