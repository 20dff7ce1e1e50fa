"""Children that lock themselves down and say over a pipe what they can still do."""

import dataclasses
import json
import os
import resource
import select
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox.inner import syscalls
from plugin_sandbox.inner.box import Box, BoxLimits, Ground, LayerFailed
from plugin_sandbox.inner.lockdown import lock_down, prepare

_CHILD_SECONDS = 60
_PR_SET_DUMPABLE = 4

LIMITS = BoxLimits(
    memory_bytes=256 * 2**20,
    cpu_seconds=5,
    wall_seconds=60.0,
    processes=0,
    threads=16,
    open_files=64,
    file_bytes=2**20,
    disk_bytes=2**22,
    inodes=256,
    stderr_bytes=2**16,
    result_bytes=2**16,
)

Work = Callable[[Box], object]
RunChild = Callable[..., Any]


@pytest.fixture
def places() -> Iterator[Path]:
    """A folder that any user may walk through: `copy/work` and `copy/tmp` are the plugin's, `outside` is not."""
    with tempfile.TemporaryDirectory(prefix="lockdown-") as name:
        top = Path(name)
        top.chmod(0o755)
        for folder in ("copy/work", "copy/tmp", "package", "outside"):
            (top / folder).mkdir(parents=True)
        (top / "package" / "code.txt").write_text("code")
        (top / "outside" / "canary").write_text("canary")
        yield top


@pytest.fixture
def make_box(places: Path) -> Callable[..., Box]:
    """Make a box over the places; the standard tier, for these tests build no namespaces.

    `sys_path` is empty unless given: not every user may walk to where the interpreter lies.
    """

    def make(**changes: Any) -> Box:
        limits = {name: changes.pop(name) for name in list(changes) if hasattr(LIMITS, name)}
        box = Box(
            call_id="test",
            tier="standard",
            limits=dataclasses.replace(LIMITS, **limits),
            workspace=str(places / "copy/work"),
            package=str(places / "package"),
            sys_path=(),
            binds=(),
            work=str(places / "copy/work"),
        )
        return dataclasses.replace(box, **changes)

    return make


@pytest.fixture
def run_child(places: Path) -> RunChild:
    """Fork; become a user; run `before`, lock down, run `work`; return its answer, the layer that failed, or the signal."""

    def run(box: Box, work: Work | None, *, user: int | None = None, before: Callable[[], object] | None = None) -> Any:
        owner = box.uid if box.uid >= 0 else os.getuid() if user is None else user
        # Who has no slot shares its owner with all that is outside.
        for path in (places / "copy" if box.uid >= 0 else places).rglob("*"):
            os.chown(path, owner, owner)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _be_child(box, work, user, before, writer)
        os.close(writer)
        pidfd = os.pidfd_open(child)
        try:
            if not select.select([pidfd], [], [], _CHILD_SECONDS)[0]:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)
        with os.fdopen(reader, "rb") as file:
            said = file.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return json.loads(said) if said else f"ended with {code}"

    return run


def _be_child(box: Box, work: Work | None, user: int | None, before: Callable[[], object] | None, writer: int) -> None:
    """Never returns, whatever happens."""
    answer: object = "no answer"
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
        if user is not None:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            syscalls.prctl(_PR_SET_DUMPABLE, 1)
        if before is not None:
            before()
        try:
            layers = lock_down(box, prepare(Ground.of(box)))
            answer = work(box) if work is not None else layers
        except LayerFailed as failed:
            answer = {"failed": failed.layer, "text": failed.text}
    except BaseException as error:
        answer = f"{type(error).__name__}: {error}"
        raise
    finally:
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
