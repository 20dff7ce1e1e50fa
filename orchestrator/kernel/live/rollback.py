"""Take back what a module left at a coordinator before it failed.

A module that mounts a tool, registers a hook and then raises would stay half: its tool is called, its
other half is missing. A snapshot is taken before a module is mounted and put back if that fails:
mount points, hooks, capabilities and contributors are then as they were. Cleanup functions that
the module registered stay, because what it opened still has to be closed.
"""

from collections import Counter
from typing import Any

from orchestrator.kernel.live.coordinator import HOOKS, NAMED, Coordinator


class Snapshot:
    """What a coordinator held at one moment."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._mounted = {
            point: dict(module) if point in NAMED else module for point, module in coordinator.mount_points.items()
        }
        self._capabilities = dict(coordinator.capabilities)
        self._channels = {channel: list(entries) for channel, entries in coordinator.channels.items()}
        self._handlers = self._count_handlers()

    def put_back(self) -> None:
        """Make the coordinator hold what it held; the live dicts stay the same ones, because others have them."""
        points = self._coordinator.mount_points
        for point, module in self._mounted.items():
            if point in NAMED:
                _refill(points[point], module)
            elif point != HOOKS:
                points[point] = module
        _refill(self._coordinator.capabilities, self._capabilities)
        _refill(self._coordinator.channels, self._channels)
        for name, count in (self._count_handlers() - self._handlers).items():
            for _ in range(count):  # unregistering by name takes the newest first: the ones that were added
                self._coordinator.hooks.unregister(name)

    def _count_handlers(self) -> Counter[str]:
        return Counter(name for names in self._coordinator.hooks.list_handlers().values() for name in names)


def _refill(live: dict[str, Any], kept: dict[str, Any]) -> None:
    live.clear()
    live.update(kept)
