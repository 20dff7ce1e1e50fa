"""The suite leaves nothing behind: processes, mounts, control groups and folders are counted before and after."""

import gc
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from plugin_sandbox.copies import remove_tree

_END_SECONDS: Final = 60


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def _groups() -> set[str]:
    """Those that nobody is in: of who else runs plugins on this machine, somebody is."""
    found = {path for path in Path("/sys/fs/cgroup").glob("**/baton-*") if path.is_dir()}
    return {str(path) for path in found if (path / "cgroup.procs").exists() and not (path / "cgroup.procs").read_text()}


def _mounts() -> set[str]:
    return set(Path("/proc/self/mountinfo").read_text().splitlines())


def _folders() -> set[str]:
    return {str(path) for path in Path(tempfile.gettempdir()).glob("baton-*")}


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(scope="session", autouse=True)
def own_tmp() -> Iterator[None]:
    """A folder for temporary files that is this run's alone, and that any user may walk to."""
    before, made = tempfile.tempdir, Path(tempfile.mkdtemp(prefix="baton-suite-"))
    made.chmod(0o755)
    tempfile.tempdir = str(made)
    yield
    tempfile.tempdir = before
    remove_tree(made)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that any user may walk to, whatever other test runs do to the one of pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="home-"))
    made.chmod(0o755)
    yield made
    remove_tree(made)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(own_tmp: None) -> Iterator[None]:
    """Fail a module that leaves a process, a mount, a control group, a folder or a descriptor of its own."""
    del own_tmp  # it comes first
    before = (_children(), _mounts(), _groups(), _folders())
    descriptors = _descriptors()
    yield
    end, tick = time.monotonic() + _END_SECONDS, threading.Event()
    while (
        any(left := _left(before)) and time.monotonic() < end
    ):  # some are on their way out, or another's of this machine
        tick.wait(0.1)
    assert not any(left), f"left behind: {left}"
    gc.collect()
    assert _descriptors() <= descriptors


def _left(before: tuple[set[Any], ...]) -> list[set[Any]]:
    after = (_children(), _mounts(), _groups(), _folders())
    return [now - then for then, now in zip(before, after, strict=True)]
