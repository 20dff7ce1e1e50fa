"""Each limit binds for the whole tree, exactly where it can be exact, and is named when it bit."""

from typing import Any

import pytest

from plugin_sandbox.host import Sandbox
from plugin_sandbox.model import Outcome
from plugin_sandbox.settings import SandboxSettings

COUNT_FORKS = """
made = 0
try:
    for _ in range({wanted}):
        if os.fork() == 0:
            signal.pause()
        made += 1
except OSError as error:
    ctx.log.info(error.strerror)
ctx.log.info("made", n=made)
signal.sigtimedwait([signal.SIGUSR1], 0.2 if made <= 3 else 20)  # the watchdog looks every few milliseconds, where it may
"""
CHILDREN = """
for _ in range(4):
    if os.fork() == 0:
        {work}
        signal.pause()
signal.pause()
"""
FILL = """
made = 0
try:
    with open("big", "wb", buffering=0) as file:
        while True:
            made += file.write(bytes(4096))
except OSError as error:
    ctx.log.info(error.strerror, n=made)
    raise
"""
FILES = """
made = 0
try:
    while True:
        open(f"f{made}", "w").close()
        made += 1
except OSError as error:
    ctx.log.info(error.strerror, n=made)
    raise
"""
NO_GROUPS = ("memory_cgroup", "pids_cgroup", "cpu_cgroup")


def status(outcome: Outcome) -> tuple[str, str | None]:
    """Return the status and the limit that bit."""
    assert outcome.entry is not None
    return outcome.entry.status, outcome.entry.limit


@pytest.mark.parametrize(("wanted", "expected"), [(2, "skipped"), (3, "skipped"), (4, "process_limit")])
def test_processes_are_counted_to_the_last(sandbox: Sandbox, make_call: Any, wanted: int, expected: str) -> None:
    """One below, at, and above the limit."""
    outcome = sandbox.run_blocking(make_call(COUNT_FORKS.format(wanted=wanted), processes=3))

    assert status(outcome)[0] == expected, outcome


def test_without_processes_no_fork_is_possible(sandbox: Sandbox, make_call: Any) -> None:
    """The default: a filter refuses it, no count is needed."""
    outcome = sandbox.run_blocking(make_call(COUNT_FORKS.format(wanted=1)))

    assert outcome.logs[0].message == "Operation not permitted"


@pytest.mark.parametrize("off", [(), NO_GROUPS], ids=["cgroup", "watchdog"])
def test_memory_is_counted_over_all_children(settings: SandboxSettings, make_call: Any, off: tuple[str, ...]) -> None:
    """Four times a little is a lot; with or without control groups."""
    sandbox = Sandbox(settings, off=off)

    outcome = sandbox.run_blocking(make_call(CHILDREN.format(work="block = b'x' * (120 << 20)"), processes=8))

    assert status(outcome) == ("memory_limit", "memory_mb"), outcome
    sandbox.close()


@pytest.mark.parametrize("off", [(), NO_GROUPS], ids=["cgroup", "watchdog"])
def test_cpu_is_counted_over_all_children(settings: SandboxSettings, make_call: Any, off: tuple[str, ...]) -> None:
    """A relay of children cannot multiply its seconds."""
    sandbox = Sandbox(settings, off=off)
    work = "while True: pass"

    outcome = sandbox.run_blocking(
        make_call(CHILDREN.format(work=work), processes=8, cpu_seconds=1, timeout_seconds=100)
    )

    assert status(outcome) == ("cpu_limit", "cpu_seconds"), outcome
    sandbox.close()


def test_one_process_is_ended_at_its_cpu_seconds(sandbox: Sandbox, make_call: Any) -> None:
    """The kernel does it, to the second."""
    outcome = sandbox.run_blocking(make_call("while True: pass", cpu_seconds=1, timeout_seconds=100))

    assert status(outcome) == ("cpu_limit", "cpu_seconds"), outcome


def test_the_disk_is_full_to_the_byte(sandbox: Sandbox, make_call: Any) -> None:
    """What the manifest names is the plugin's, all of it and nothing more."""
    outcome = sandbox.run_blocking(make_call(FILL, disk_mb=2))

    assert status(outcome) == ("disk_limit", "disk_mb"), outcome
    assert outcome.logs[0].context["n"] == 2 << 20


def test_inodes_end_to_the_last(sandbox: Sandbox, make_call: Any) -> None:
    """A flood of empty files meets its number."""
    outcome = sandbox.run_blocking(make_call(FILES, inodes=50))

    assert status(outcome)[0] == "disk_limit", outcome
    assert outcome.logs[0].context["n"] == 50


@pytest.mark.parametrize("descriptor", [2, 3])
def test_a_flood_is_cut_off(sandbox: Sandbox, make_call: Any, descriptor: int) -> None:
    """Neither log nor result can fill the worker's memory."""
    flood = f"while True: os.write({descriptor}, b'x' * 65536)"

    outcome = sandbox.run_blocking(make_call(flood))

    assert status(outcome)[0] == "output_limit", outcome
