"""Opening below a folder: the kernel's own way, and step by step where a filter hides it, with the same answers."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox.beneath import open_beneath, stat_beneath
from plugin_sandbox.inner import syscalls


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with all that may lie in a workspace, and a secret beside it."""
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "file").write_text("file")
    (root / "out").symlink_to(tmp_path)
    (root / "a" / "link").symlink_to("file")
    os.mkfifo(root / "a" / "pipe")  # whoever opened it to read would wait for a writer
    (root / "a" / "around").symlink_to("b")
    return root


def hide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer as systemd's filter does."""
    plain = syscalls.call

    def call(name: str, *args: Any) -> int:
        if name == "openat2":
            raise OSError(errno.ENOSYS, "openat2")
        return plain(name, *args)

    monkeypatch.setattr(syscalls, "call", call)


def answer(root: Path, path: str, flags: int) -> str | int | None:
    """Return what is opened, or the error's number."""
    above = os.open(root, os.O_PATH)
    before = len(os.listdir("/proc/self/fd"))
    try:
        opened = open_beneath(above, path, flags)
    except OSError as error:
        assert len(os.listdir("/proc/self/fd")) == before
        return error.errno
    else:
        assert not os.get_inheritable(opened)
        found = str(Path(f"/proc/self/fd/{opened}").readlink())
        os.close(opened)
        assert len(os.listdir("/proc/self/fd")) == before
        return found
    finally:
        os.close(above)


PATHS = (
    *(
        "",
        ".",
        "a",
        "a/b",
        "a/file",
        "a/link",
        "a/around",
        "a/around/c",
        "out",
        "out/secret",
        "a/file/c",
        "none",
        "none/c",
    ),
    *("..", "../secret", "a/../../secret", "/etc/passwd", "a/b/../file"),
)


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDONLY | os.O_DIRECTORY, os.O_PATH | os.O_DIRECTORY, os.O_PATH])
@pytest.mark.parametrize("path", PATHS)
def test_both_ways_answer_alike(root: Path, monkeypatch: pytest.MonkeyPatch, path: str, flags: int) -> None:
    """A worker under systemd must refuse what another one refuses; a way up is refused by the slower one even where it stays below."""
    expected = answer(root, path, flags)

    hide(monkeypatch)

    assert answer(root, path, flags) == (errno.EXDEV if path == "a/b/../file" else expected)


@pytest.mark.parametrize("flags", [os.O_RDONLY | os.O_DIRECTORY, os.O_RDONLY | os.O_NONBLOCK])
def test_nobody_waits_for_a_pipe(root: Path, monkeypatch: pytest.MonkeyPatch, flags: int) -> None:
    """A plugin may leave one where a folder was."""
    expected = answer(root, "a/pipe", flags)

    hide(monkeypatch)

    assert answer(root, "a/pipe", flags) == expected


def test_a_parent_that_is_a_link_is_an_error_and_not_absent(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As absent it would be made new, through the link."""
    hide(monkeypatch)
    above = os.open(root, os.O_PATH)

    with pytest.raises(OSError, match="symbolic links"):
        stat_beneath(above, "out/secret")
    assert stat_beneath(above, "a/none") is None
    os.close(above)
