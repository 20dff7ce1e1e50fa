"""Whoever dies first - the run by a cancel, the worker, the zygote, the monitor - nothing of the plugin is left a moment later.

50 ms is what is promised on a quiet machine; the tests measure it and keep the figure with the result. What they demand holds on a
busy machine too: all of it ends long before the plugin would by itself.
"""

import os
import select
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from plugin_sandbox.inner import cgroups
from plugin_sandbox.slots import name_place
from tests.sandbox.ordinary import ORDINARY, python_for_all, start_as

_START_SECONDS = _END_SECONDS = 60


@dataclass(frozen=True)
class Tree:
    """What stands around one plugin that has come up; spare monitors among `everybody`."""

    everybody: list[psutil.Process]
    zygote: psutil.Process  # in a cold start the monitor itself
    monitor: psutil.Process
    plugin: list[psutil.Process]


def wait_tree(caller: psutil.Process, count: int) -> Tree:
    """Return the caller's tree when as many processes of the plugin are there, and wait."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        everybody = caller.children(recursive=True)
        plugin = [one for one in everybody if is_named(one, "plugin")]
        if len(plugin) == count and all(asleep(one) for one in plugin):
            mine = {one.pid for one in plugin}
            (monitor,) = [one for one in everybody if one.pid in {part.ppid() for part in plugin} - mine]
            return Tree(everybody, everybody[0], monitor, plugin)
    raise AssertionError(f"{count} processes did not come up: {caller.children(recursive=True)}")


def is_named(process: psutil.Process, name: str) -> bool:
    """Say whether a process has this name; one that has ended has none."""
    try:
        return process.name() == name
    except psutil.NoSuchProcess:
        return False


def asleep(process: psutil.Process) -> bool:
    """Say whether it waits: the plugin's own do nothing else when they are ready."""
    try:
        return process.status() == psutil.STATUS_SLEEPING
    except psutil.NoSuchProcess:
        return False


def measure(doomed: list[psutil.Process], deed: Callable[[], object]) -> float:
    """Do it; return the seconds until the last of the doomed has ended, seen by the kernel's own word."""
    with ExitStack() as stack:
        poll, left = select.poll(), set[int]()
        for process in doomed:
            descriptor = os.pidfd_open(process.pid)
            stack.callback(os.close, descriptor)
            poll.register(descriptor, select.POLLIN)
            left.add(descriptor)
        began = time.monotonic()
        deed()
        while left and time.monotonic() < began + _END_SECONDS:
            for descriptor, _ in poll.poll(1000):
                poll.unregister(descriptor)
                left.discard(descriptor)
        took = time.monotonic() - began
    assert not left, "some are alive"
    return took


USERS = [0, ORDINARY] if os.geteuid() == 0 else [os.geteuid()]
CASES = [
    ("strict", "warm", 5, ("cancel", "worker", "zygote", "monitor")),
    ("strict", "cold", 5, ("cancel", "worker", "monitor")),
    ("standard", "warm", 0, ("cancel", "worker", "zygote", "monitor")),
]


@pytest.mark.parametrize("uid", USERS)
@pytest.mark.parametrize(
    ("tier", "mode", "processes", "victim"),
    [(tier, mode, processes, victim) for tier, mode, processes, victims in CASES for victim in victims],
)
def test_nothing_of_the_plugin_outlives_it(
    home: Path, uid: int, tier: str, mode: str, processes: int, victim: str, request: pytest.FixtureRequest
) -> None:
    """Daemons in sessions of their own, deaf to signals: all end with what guards them, and nothing is published."""
    arguments = ["caller.py", str(home / "tmp" / "run"), tier, mode, str(processes)]
    caller = start_as(uid, arguments, home, files=[Path("tests/sandbox/caller.py")])
    try:
        tree = wait_tree(psutil.Process(caller.pid), 1 + processes)
        deeds: dict[str, Callable[[], object]] = {
            "cancel": lambda: caller.send_signal(signal.SIGUSR1),
            "worker": caller.kill,
            "zygote": tree.zygote.kill,
            "monitor": tree.monitor.kill,
        }
        doomed = tree.everybody if victim in {"worker", "zygote"} else [tree.monitor, *tree.plugin]

        took = measure(doomed, deeds[victim])

        said, _ = caller.communicate(timeout=60)
    finally:
        caller.kill()
        caller.communicate()
        for left in leftovers(home):
            shutil.rmtree(left) if left.startswith(str(home)) else cgroups.remove({left: left})
    request.node.user_properties.append(("milliseconds", round(took * 1000, 1)))
    assert said == {"cancel": "cancelled", "worker": ""}.get(victim, "sandbox_unavailable")
    assert (home / "tmp" / "run" / "workspace" / "data.txt").read_text() == "as it was"


@pytest.mark.parametrize(("tier", "processes"), [("strict", 1), ("standard", 0)])
def test_what_a_killed_worker_leaves_goes_with_the_slots_next_run(home: Path, tier: str, processes: int) -> None:
    """Nobody can tidy up after SIGKILL but who comes next: control groups, and the private copy."""
    uid = os.geteuid()
    arguments = ["caller.py", str(home / "tmp" / "run"), tier, "warm", str(processes)]
    first = start_as(uid, arguments, home, files=[Path("tests/sandbox/caller.py")])
    tree = wait_tree(psutil.Process(first.pid), 1 + processes)
    measure(tree.everybody, first.kill)
    first.communicate()
    left = leftovers(home)

    second = start_as(uid, [*arguments, "go"], home)
    said, complaint = second.communicate(timeout=60)

    assert said == "success", complaint
    assert left or (tier == "strict" and uid != 0)
    assert leftovers(home) == set()


def leftovers(home: Path) -> set[str]:
    """Return the control groups and private copies of runs whose state lies below."""
    place = name_place(home / "tmp" / "run" / "state" / "slots", 0)
    groups = {str(path) for path in Path("/sys/fs/cgroup").glob(f"**/baton-{place}-*") if path.is_dir()}
    return groups | {str(path) for path in (home / "tmp").glob("baton-sandbox-*")}


def test_the_interpreter_of_ordinary_users_is_there() -> None:
    """Without it the half of this suite that matters most to them would not run."""
    assert python_for_all()
