"""What this host gives: found out by running a plugin, not by asking for versions.

An honest plugin is run in the box that the settings demand. If it passes, four canaries follow that must be stopped. What the launcher
learned on the way is the answer; each layer that is missing comes with the line that gives it.
"""

from typing import Final

from plugin_sandbox.attacks.arena import make_arena
from plugin_sandbox.attacks.catalogue import attacks
from plugin_sandbox.attacks.runner import ControlFailed, check_control, run_attack
from plugin_sandbox.host import Sandbox
from plugin_sandbox.inner.box import LAYERS
from plugin_sandbox.model import Shape, Tier
from plugin_sandbox.settings import SandboxSettings

#: Attacks that show that limits bite: memory, the file system, processes, the network.
CANARIES: Final = ("alloc_1g", "write_outside", "exec_shell", "tcp_loopback")

_NAMESPACES: Final = (
    "sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces=16384 and, on Ubuntu, "
    "kernel.apparmor_restrict_unprivileged_userns=0; in Kubernetes securityContext.seccompProfile that permits unshare and mount"
)
REMEDIES: Final = {
    **dict.fromkeys((layer for layer in LAYERS if layer.endswith("_namespace")), _NAMESPACES),
    "read_only_root": _NAMESPACES,
    "overlay": "a kernel with overlayfs in user namespaces (5.11 or later), module overlay loaded",
    "disk_quota": "the strict tier: only its file system has a quota",
    "landlock": "a kernel 5.13 or later, with landlock in the lsm= list of its command line",
    "seccomp": "a kernel with CONFIG_SECCOMP_FILTER; in Kubernetes no seccompProfile that forbids seccomp(2)",
    "slot_uid": "root with CAP_SETUID and CAP_SETGID, or an ordinary user for the worker",
    "memory_cgroup": "systemd: Delegate=memory pids cpu in the worker's unit",
    "pids_cgroup": "systemd: Delegate=memory pids cpu in the worker's unit",
    "cpu_cgroup": "systemd: Delegate=memory pids cpu in the worker's unit",
}


class Health(Shape):
    """What was found. `layers`: on, off, or why it is missing; `tier` None: nothing may be run here."""

    tier: Tier | None
    layers: dict[str, str]
    canaries: dict[str, str]
    missing: tuple[str, ...]
    remedies: tuple[str, ...]
    error: str = ""


def examine(settings: SandboxSettings) -> Health:
    """Run the honest plugin and the canaries in the box that the settings demand."""
    sandbox = Sandbox(settings)
    try:
        with make_arena() as arena:
            canaries: dict[str, str] = {}
            try:
                check_control(sandbox, arena, settings)
                if sandbox.tier == "strict":  # control groups are made for plugins that may have processes
                    check_control(sandbox, arena, settings, processes=1)
                built = dict(sandbox.layers)
            except ControlFailed as error:
                return _health(None, sandbox, sandbox.layers, canaries, str(error))
            known = {one.name: one for one in attacks()}
            for name in CANARIES:
                result = run_attack(sandbox, known[name], arena, settings, sandbox.tier)
                canaries[name] = "stopped" if result.stopped else f"NOT STOPPED: {result.outcome}"
            stopped = all(state == "stopped" for state in canaries.values())
            why = "" if stopped else "a canary got through; do not run plugins here"
            return _health(sandbox.tier if stopped else None, sandbox, built, canaries, why)
    finally:
        sandbox.close()


def _health(
    tier: Tier | None, sandbox: Sandbox, layers: dict[str, str], canaries: dict[str, str], error: str
) -> Health:
    missing = tuple(layer for layer in LAYERS if layers.get(layer, "off") != "on" or layer in sandbox.missing)
    named = [f"{layer}: {REMEDIES[layer]}" for layer in missing if layer in REMEDIES]
    return Health(
        tier=tier,
        layers={layer: layers.get(layer, "off") for layer in LAYERS},
        canaries=canaries,
        missing=missing,
        remedies=tuple(dict.fromkeys(named + ([error] if error else []))),
        error=error,
    )
