"""The suite leaves nothing behind: processes, mounts, control groups and folders are counted before and after."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from plugin_sandbox.copies import remove_tree


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def _groups() -> set[str]:
    return {str(path) for path in Path("/sys/fs/cgroup").glob("**/baton-*") if path.is_dir()}


def _mounts() -> set[str]:
    return set(Path("/proc/self/mountinfo").read_text().splitlines())


def _folders() -> set[str]:
    return {str(path) for path in Path(tempfile.gettempdir()).glob("baton-[as]*")}


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that any user may walk to, whatever other test runs do to the one of pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="baton-suite-"))
    made.chmod(0o755)
    yield made
    remove_tree(made)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Fail a module that leaves a process, a mount, a control group, a folder or a descriptor of its own."""
    before = (_children(), _mounts(), _groups(), _folders())
    descriptors = _descriptors()
    yield
    after = (_children(), _mounts(), _groups(), _folders())
    left = [now - then for then, now in zip(before, after, strict=True)]
    assert not any(left), f"left behind: {left}"
    assert _descriptors() <= descriptors
