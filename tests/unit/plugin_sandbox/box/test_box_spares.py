"""Boxes that are built before their call: used once, never stale, never missed."""

import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from plugin_sandbox.host import Sandbox
from plugin_sandbox.inner import zygote as zygote_module
from plugin_sandbox.inner.box import Ground
from plugin_sandbox.inner.inbox import Inboxes, is_called, receive
from plugin_sandbox.inner.zygote import Zygote

ROOT = Path(__file__).resolve().parents[4]
NOTHING = "pass"
LOOK = """
ctx.log.info("seen", tmp=sorted(os.listdir("/tmp")), names=sorted(os.listdir(ctx.dst_root)))
open("/tmp/left", "w").write("mine")
"""


CPUS = len(os.sched_getaffinity(0))
TRACES = """
modules = [name for name in sys.modules if "rehears" in name]
classes = [one for one in Base.__subclasses__() if one is not type(self)]
ctx.log.info("found", modules=modules, classes=str(classes))
"""


def spares() -> list[psutil.Process]:
    """The monitors that wait for a call, the elder ones first."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            parent = process.parent()
            if process.name() == "plugin-spare" and parent is not None and parent.name() == "plugin-zygote":
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return sorted(found, key=lambda one: one.create_time())


def wait_spare() -> psutil.Process:
    """Wait until a spare is there; with one CPU it comes when the call's monitor has gone."""
    deadline = time.monotonic() + 60
    while not (found := spares()):
        assert time.monotonic() < deadline, "no spare"
    return found[0]


def wait_spares(count: int) -> list[psutil.Process]:
    """Wait until so many spares are there."""
    deadline = time.monotonic() + 60
    while len(found := spares()) != count:
        assert time.monotonic() < deadline, found
    return found


def wait_gone(process: psutil.Process) -> None:
    """Wait until a process has ended and was collected."""
    process.wait(60)


def test_the_next_call_runs_in_the_box_that_waits_for_it(sandbox: Sandbox, make_call: Any) -> None:
    """What the building costs is paid before the call comes."""
    call = make_call(NOTHING)
    sandbox.run_blocking(call)
    spare = wait_spare()

    entry = sandbox.run_blocking(call).entry

    assert entry is not None
    assert entry.status == "skipped", entry
    wait_gone(spare)  # it served, and nothing serves twice


@pytest.mark.skipif(CPUS < 2, reason="one processor has room for one process")
def test_three_boxes_wait_while_nothing_runs(sandbox: Sandbox, make_call: Any) -> None:
    """A call takes the eldest, and nobody builds while others wait: its time is not shared."""
    call = make_call(NOTHING)
    sandbox.run_blocking(call)
    elder, *younger = wait_spares(3)

    sandbox.run_blocking(call)

    wait_gone(elder)
    assert all(one.is_running() for one in younger)
    assert {*younger} < {*wait_spares(3)}


@dataclass(frozen=True)
class Alone:
    """A zygote that starts no process, who sends it calls, and where those that it would start wait."""

    zygote: Zygote
    caller: socket.socket
    there: list[Inboxes]

    def waiting(self) -> dict[Ground, list[int]]:
        """The numbers of those that wait."""
        return {ground: [pid for pid, _ in spares] for ground, spares in self.zygote._spares.items()}

    def is_told_to_end(self, number: int) -> bool:
        """Say whether one has no call to wait for any more."""
        inbox = self.there[number].monitor
        return is_called(inbox) and receive(inbox) is None


STRICT = Ground("strict", 60_000, 60_000, (), (), ())


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Alone]:
    """As on a host with two processors, where three wait."""
    zygote = Zygote.__new__(Zygote)  # its own setting up would change this process
    zygote._most, zygote._monitors, zygote._spares = 2, {}, {}
    zygote._inbox, caller = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    zygote._wake = caller.fileno()
    pairs = [Inboxes.pair() for _ in range(8)]
    forks = iter([(number, here) for number, (here, _) in enumerate(pairs)])
    monkeypatch.setattr(zygote, "_fork", lambda _: next(forks))
    yield Alone(zygote, caller, [there for _, there in pairs])
    zygote._inbox.close()
    caller.close()
    for end in (end for pair in pairs for end in pair):
        end.close()


def test_beside_a_call_no_more_are_started_than_there_are_processors(alone: Alone) -> None:
    """The one more of an idle host would be built in a running call's time."""
    made = [alone.zygote._make_spare(STRICT, 4) for _ in range(4)]
    assert made == [True, True, True, False]
    alone.zygote._spares[STRICT] = alone.zygote._spares[STRICT][:1]
    alone.zygote._monitors = {99: STRICT}

    assert not alone.zygote._make_spare(STRICT, 4)

    assert alone.waiting() == {STRICT: [0]}


@pytest.mark.parametrize("is_there", [False, True])
def test_a_call_that_has_come_does_not_wait_for_a_rehearsal(
    alone: Alone, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    """It pays for what it touches first itself, and no more."""
    rehearsed: list[Ground] = []
    monkeypatch.setattr(zygote_module, "_rehearse", lambda ground, _: rehearsed.append(ground))
    if is_there:
        alone.caller.send(b"call")

    alone.zygote._make_spare(STRICT, 1)

    assert rehearsed == ([] if is_there else [STRICT])


def test_a_ground_without_a_box_gets_the_last_of_another(alone: Alone) -> None:
    """Workers in turns are served as before there were several: the ground that nobody uses does not keep all the room."""
    other = replace(STRICT, uid=60_001)
    for _ in range(3):
        alone.zygote._make_spare(STRICT, 3)

    alone.zygote._make_spare(other, 1)

    assert alone.waiting() == {STRICT: [0, 1], other: [3]}
    assert alone.is_told_to_end(2)
    assert not is_called(alone.there[1].monitor)


def test_no_box_is_given_up_where_that_makes_no_room(alone: Alone) -> None:
    """Beside a call there is room for one: the ground that has several keeps them, and the call's gets one when it has ended."""
    other = replace(STRICT, uid=60_001)
    for _ in range(3):
        alone.zygote._make_spare(STRICT, 3)
    alone.zygote._monitors = {99: other}

    alone.zygote._make_spare(other, 1)

    assert alone.waiting() == {STRICT: [0, 1, 2]}
    assert not is_called(alone.there[2].monitor)


def test_a_rehearsal_leaves_no_trace(sandbox: Sandbox, make_call: Any) -> None:
    """What a process has practised is not among what its plugin finds there."""
    call = make_call(TRACES)
    sandbox.run_blocking(call)
    wait_spare()

    seen = sandbox.run_blocking(call).logs[0].context

    assert seen == {"modules": [], "classes": "[]"}


def test_nothing_of_a_call_is_seen_by_the_next(sandbox: Sandbox, make_call: Any) -> None:
    """One call a box: what a plugin leaves in /tmp or in its process goes with it."""
    call = make_call(LOOK)

    seen = [sandbox.run_blocking(call).logs[0].context for _ in range(3)]

    assert [found["tmp"] for found in seen] == [seen[0]["tmp"]] * 3
    assert "left" not in seen[0]["tmp"]


def test_a_spare_that_was_killed_is_not_missed(sandbox: Sandbox, make_call: Any) -> None:
    """An operator, or the kernel for want of memory, may end it at any time."""
    call = make_call(NOTHING)
    sandbox.run_blocking(call)
    spare = wait_spare()
    spare.kill()
    wait_gone(spare)

    entry = sandbox.run_blocking(call).entry

    assert entry is not None
    assert entry.status == "skipped", entry


def test_a_spare_whose_plugin_process_was_killed_costs_a_refusal_at_most(sandbox: Sandbox, make_call: Any) -> None:
    """Half a box is no box; the call after it is served whatever became of this one."""
    call = make_call(NOTHING)
    sandbox.run_blocking(call)
    spare = wait_spare()
    deadline = time.monotonic() + 60
    while not (waiting := spare.children()):
        assert time.monotonic() < deadline
    waiting[0].kill()

    statuses = [entry.status for _ in range(2) if (entry := sandbox.run_blocking(call).entry) is not None]

    assert statuses[0] in {"skipped", "sandbox_unavailable"}
    assert statuses[1] == "skipped"


def test_a_closed_sandbox_leaves_no_spare(sandbox: Sandbox, make_call: Any) -> None:
    """Whoever waits for a call that will not come ends with the one who would bring it."""
    sandbox.run_blocking(make_call(NOTHING))
    spare = wait_spare()

    sandbox.close()

    assert not spare.is_running()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_what_is_mounted_after_a_box_was_built_is_seen_by_its_call(tmp_path: Path) -> None:
    """A box that waits has its own view of the host's mounts; a stale one would run a plugin over the wrong files."""
    script = textwrap.dedent(f"""
        import subprocess, sys
        from pathlib import Path
        sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]
        import conftest, test_box_spares as ours
        from plugin_sandbox.host import Sandbox
        from plugin_sandbox.settings import SandboxSettings

        home = Path({str(tmp_path)!r})
        settings = SandboxSettings(state_dir=home / "state", preload=("json",))
        sandbox = Sandbox(settings)
        call = conftest.make_call.__wrapped__(home, settings)(ours.LOOK)
        print(sandbox.run_blocking(call).logs[0].context["names"])
        ours.wait_spare()
        subprocess.run(["mount", "-t", "tmpfs", "none", str(call.workspace)], check=True)
        (call.workspace / "data.txt").write_text("new")
        (call.workspace / "fresh.txt").write_text("new")
        print(sandbox.run_blocking(call).logs[0].context["names"])
        sandbox.close()
    """)

    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.splitlines() == ["['data.txt']", "['data.txt', 'fresh.txt']"], done.stderr
