"""Give up everything, in the one order that works: what needs a privilege first, what forbids system calls last.

Called in the plugin's own process, before the plugin is imported: `prepare` before its call comes, `lock_down` with it. A
layer that cannot be installed raises; a layer that the box names in `off` is skipped, and said to be off.
"""

from collections.abc import Callable

from plugin_sandbox.inner import capabilities, landlock, rlimits, seccomp
from plugin_sandbox.inner.box import Box, Ground


def prepare(ground: Ground, root: str = "") -> int:
    """Do what needs no call, in the process that waits for one; return what Landlock is to permit of the ground, -1 for nothing.

    root: below which the box's files lie as yet. Raise LayerFailed.
    """
    if "capabilities" not in ground.off:
        capabilities.drop_bounding_set()
    return -1 if "landlock" in ground.off else landlock.prepare(ground, root)


def lock_down(box: Box, ruleset: int) -> dict[str, str]:
    """Install every layer; return which are "on" and which are "off". `ruleset` is what `prepare` returned. Raise LayerFailed."""
    layers: dict[str, str] = {}

    def layer(name: str, install: Callable[[], None]) -> None:
        if name not in box.off:
            install()
        layers[name] = "off" if name in box.off else "on"

    # Without no_new_privs the kernel takes Landlock and a filter from the privileged alone: their capabilities go last then.
    drops_late = "no_new_privs" in box.off
    if "landlock" not in box.off:
        landlock.complete(ruleset, box)
    layer("rlimits", lambda: rlimits.install(box))
    layer("no_new_privs", capabilities.set_no_new_privs)
    if box.uid >= 0 or "slot_uid" in box.off:
        keeps = drops_late or "capabilities" in box.off
        layer("slot_uid", lambda: capabilities.become(box.uid, box.gid, keeps=keeps))
    if not drops_late:
        layer("capabilities", capabilities.drop_capabilities)
    layer("landlock", lambda: landlock.restrict(ruleset))
    layer("seccomp", lambda: seccomp.install(box))
    if drops_late:
        layer("capabilities", capabilities.drop_capabilities)
    return layers


def warm() -> None:
    """Do ahead what every box needs: a process that is forked for a call finds it done."""
    landlock.abi()
    seccomp.warm()
