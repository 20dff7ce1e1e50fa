"""What the host reads from a plugin's private view, be it an overlay or a copy, and what it makes of trees that are odd on purpose."""

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox import changes, publishing
from plugin_sandbox.changes import Changes, compare_copy, read_changes
from plugin_sandbox.copies import hold_copy, remove_tree
from plugin_sandbox.host import Sandbox
from plugin_sandbox.model import Limits
from plugin_sandbox.settings import SandboxSettings
from plugin_sandbox.workspace import WorkspaceError, make_copy, publish
from tests.plugin_runs import make_call, write_plugin

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
FEW = Limits(inodes=16, disk_mb=1)
TREE = {
    "data.txt": "1",
    "same/a.txt": "1",
    "same/b.txt": "1",
    "gone.txt": "1",
    "kept/a.txt": "1",
    "kept/b.txt": "1",
    "old/a.txt": "1",
    "old/deep/b.txt": "1",
}
WORK = """
import shutil
root = ctx.dst_root
(root / "gone.txt").unlink()
(root / "same" / "a.txt").write_text("2")  # in a folder that stays what it is
shutil.rmtree(root / "old")                # a folder of the workspace, with all that is in it
shutil.rmtree(root / "kept")               # one that is made again: nothing of the old one shines through
(root / "kept").mkdir()
(root / "kept" / "b.txt").write_text("2")
(root / "new" / "deep").mkdir(parents=True)
(root / "new" / "deep" / "c.txt").write_text("2")
os.rename(root / "data.txt", root / "new" / "data.txt")
"""


def fill(folder: Path, files: dict[str, str]) -> Path:
    """Make a folder with these files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    folder.mkdir(exist_ok=True)
    return folder


def read(folder: Path) -> dict[str, str]:
    """Return every file's text."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def read_view(workspace: Path, view: Path, limits: Limits, *, whole: bool) -> Changes:
    """Read a view as the host does: a whole copy by its path, an overlay's upper folder by descriptor."""
    if whole:
        return compare_copy(workspace, view, limits=limits)
    opened = os.open(view, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return read_changes(opened, workspace, limits=limits)
    finally:
        os.close(opened)


def publish_view(workspace: Path, view: Path, found: Changes, state: Path) -> None:
    """Publish what was found."""
    source = os.open(view, os.O_RDONLY | os.O_DIRECTORY)
    try:
        publish(workspace, found, source, state)
    finally:
        os.close(source)


@pytest.mark.parametrize("off", [(), ("overlay", "disk_quota")], ids=["overlay", "copy"])
def test_what_a_plugin_removes_and_makes_again_is_published_as_it_saw_it(tmp_path: Path, off: tuple[str, ...]) -> None:
    """Whatever a host has for a private view: the workspace becomes the tree that the plugin left."""
    settings = SandboxSettings(state_dir=tmp_path / "state", preload=("json",))
    write_plugin(tmp_path / "package", WORK)
    workspace = fill(tmp_path / "workspace", TREE)
    os.mkfifo(workspace / "pipe")  # no copy holds one, and no plugin has removed it
    sandbox = Sandbox(settings, off=off)
    entry = sandbox.run_blocking(make_call(tmp_path / "package", workspace, settings)).entry
    sandbox.close()

    assert entry is not None
    assert entry.status == "success", entry
    assert read(workspace) == {
        "kept/b.txt": "2",
        "new/deep/c.txt": "2",
        "new/data.txt": "1",
        "same/a.txt": "2",
        "same/b.txt": "1",
    }
    assert sorted(path.name for path in workspace.iterdir()) == ["kept", "new", "pipe", "same"]


def many(view: Path) -> None:
    """Make more entries than a run may have."""
    for number in range(20):
        (view / f"f{number}").touch()


def wipe(view: Path) -> None:
    """Remove a folder of more entries than a run may have, as an overlay notes it."""
    os.mknod(view / "full", stat.S_IFCHR, 0)


def hole(view: Path) -> None:
    """Make a file that takes no room here, and all of its size in the workspace."""
    with (view / "huge").open("wb") as file:
        file.truncate(2 << 20)


def closed(view: Path) -> None:
    """Make a file that an ordinary user's host could not read."""
    (view / "closed").touch(mode=0o200)


def long_path(view: Path) -> None:
    """Nest names until no path of the workspace could hold them."""
    here = os.open(view, os.O_RDONLY)
    for _ in range(10):
        os.mkdir("d" * 250, dir_fd=here)
        here, above = os.open("d" * 250, os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)


def other_link(view: Path) -> None:
    """Turn a link of the workspace's own somewhere else."""
    (view / "link").unlink(missing_ok=True)
    (view / "link").symlink_to("/etc/shadow")


def no_link(view: Path) -> None:
    """Put a file where the workspace has a link."""
    (view / "link").unlink(missing_ok=True)
    (view / "link").touch()


def set_id_folder(view: Path) -> None:
    """Make a folder that hands its group on."""
    (view / "shared").mkdir()
    (view / "shared").chmod(0o2755)


TROUBLES = [
    (hole, "huge: with it, more than disk_mb would be published"),
    (closed, "closed: its owner may not read it"),
    (long_path, "its path is too long"),
    (other_link, "link: a symbolic link"),
    (no_link, "link: something that is no file became one"),
    (set_id_folder, "shared: set-id bits"),
]


@pytest.mark.parametrize(
    ("make", "problem", "whole"),
    [
        *(pytest.param(*one, True, id=f"{one[0].__name__}-copy") for one in TROUBLES),
        *(pytest.param(*one, False, id=f"{one[0].__name__}-overlay") for one in TROUBLES),
        # An overlay's own: a copy may hold a million entries, and has no white-outs.
        pytest.param(many, ".: too many entries", False, id="many-overlay"),
        pytest.param(wipe, ".: too many entries", False, id="wipe-overlay", marks=as_root),
    ],
)
def test_a_view_that_is_made_to_trouble_the_host_is_not_published(
    tmp_path: Path, make: Callable[[Path], None], problem: str, *, whole: bool
) -> None:
    """Each is a problem with a name, and the reading of it stays small."""
    workspace = fill(tmp_path / "workspace", {f"full/{number}": "" for number in range(20)})
    (workspace / "link").symlink_to("full")
    view = tmp_path / "view"
    if whole:
        make_copy(workspace, view, Limits())
    else:
        view.mkdir()
    make(view)

    found = read_view(workspace, view, FEW, whole=whole)

    assert any(one.endswith(problem) for one in found.problems), found.problems
    with pytest.raises(WorkspaceError):
        publish_view(workspace, view, found, tmp_path / "state")
    remove_tree(view)


def test_a_flood_of_problems_is_told_by_its_first_hundred(tmp_path: Path) -> None:
    """The entry that tells them is not the plugin's to fill."""
    workspace, view = fill(tmp_path / "workspace", {}), fill(tmp_path / "view", {})
    for number in range(150):
        (view / f"link{number}").symlink_to("/")

    assert len(read_view(workspace, view, Limits(), whole=False).problems) == 100


@as_root
def test_a_white_out_of_what_is_not_there_removes_nothing(tmp_path: Path) -> None:
    """Somebody else has removed the file meanwhile: what the plugin wanted is so."""
    workspace, view = fill(tmp_path / "workspace", {"a.txt": "1"}), fill(tmp_path / "view", {})
    os.mknod(view / "gone.txt", stat.S_IFCHR, 0)

    assert read_view(workspace, view, Limits(), whole=False) == Changes([], [])


def test_a_folder_that_goes_while_it_is_compared_ends_the_publishing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workspace is other people's too; what they do in the middle of it is no reason to make it theirs and ours by halves."""
    workspace, copy = fill(tmp_path / "workspace", TREE), fill(tmp_path / "copy", {**TREE, "kept/a.txt": "2"})
    real = os.listdir

    def list_slowly(folder: Any) -> list[str]:
        names = real(folder)
        if Path(f"/proc/self/fd/{folder}").readlink() == copy / "kept":
            shutil.rmtree(workspace / "kept")
        return names

    with monkeypatch.context() as patch:
        patch.setattr(changes.os, "listdir", list_slowly)
        found = compare_copy(workspace, copy, limits=Limits())

    with pytest.raises(WorkspaceError, match="not published"):
        publish_view(workspace, copy, found, tmp_path / "state")
    assert not (workspace / "kept").exists()
    assert read(workspace) == {name: text for name, text in TREE.items() if not name.startswith("kept/")}


def swap(workspace: Path) -> None:
    """Put a folder where the file was."""
    (workspace / "a.txt").unlink()
    (workspace / "a.txt").mkdir()


@pytest.mark.parametrize(
    ("meanwhile", "path"),
    [
        (lambda workspace: (workspace / "new.txt").write_text("theirs"), "new.txt"),
        (lambda workspace: (workspace / "a.txt").unlink(), "a.txt"),
        (swap, "a.txt"),
    ],
    ids=["made", "removed", "a folder"],
)
def test_what_somebody_else_made_of_a_target_is_kept(
    tmp_path: Path, meanwhile: Callable[[Path], object], path: str
) -> None:
    """The plugin's change was of something else; it is to be run again."""
    workspace = fill(tmp_path / "workspace", {"a.txt": "1"})
    copy = fill(tmp_path / "copy", {"a.txt": "2", "new.txt": "2"})
    found = compare_copy(workspace, copy, limits=Limits())
    meanwhile(workspace)
    theirs = read(workspace)

    with pytest.raises(WorkspaceError, match=f"{path}: it changed while the plugin ran; nothing was published"):
        publish_view(workspace, copy, found, tmp_path / "state")

    assert read(workspace) == theirs


def test_what_somebody_else_put_into_a_removed_folder_stays(tmp_path: Path) -> None:
    """The plugin has removed what it saw, and this it did not see."""
    workspace, copy = (
        fill(tmp_path / "workspace", {"old/a.txt": "1", "b.txt": "1"}),
        fill(tmp_path / "copy", {"b.txt": "1"}),
    )
    found = compare_copy(workspace, copy, limits=Limits())
    (workspace / "old" / "theirs.txt").write_text("theirs")

    publish_view(workspace, copy, found, tmp_path / "state")

    assert read(workspace) == {"old/theirs.txt": "theirs", "b.txt": "1"}


def test_a_file_that_becomes_shorter_while_it_is_read_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was judged has more in it; half of it is another file."""
    workspace, copy = fill(tmp_path / "workspace", {"a.txt": "1"}), fill(tmp_path / "copy", {"a.txt": "2" * 100})
    found = compare_copy(workspace, copy, limits=Limits())
    real = os.sendfile

    def send_late(*arguments: Any) -> int:
        os.truncate(copy / "a.txt", 10)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(publishing.os, "sendfile", send_late)
        with pytest.raises(WorkspaceError, match=r"a\.txt: it became shorter while it was read"):
            publish_view(workspace, copy, found, tmp_path / "state")

    assert [(path.name, path.read_text()) for path in workspace.iterdir()] == [("a.txt", "1")]


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that any user may walk to."""
    with tempfile.TemporaryDirectory(prefix="views-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@as_root
def test_an_ordinary_users_files_are_published_as_its_own(home: Path) -> None:
    """Only root hands files over to whose the workspace is; everybody else owns what it makes."""
    workspace, copy = fill(home / "workspace", {"a.txt": "1"}), fill(home / "copy", {"a.txt": "2", "new/b.txt": "2"})
    for path in (home, *home.rglob("*")):
        os.chown(path, 12_345, 12_345)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setresgid(12_345, 12_345, 12_345)
            os.setresuid(12_345, 12_345, 12_345)
            publish_view(workspace, copy, compare_copy(workspace, copy, limits=Limits()), home / "state")
            code = 0
        finally:
            os._exit(code)

    assert os.waitpid(child, 0)[1] == 0
    assert read(workspace) == read(copy)
    assert {path.stat().st_uid for path in workspace.rglob("*")} == {12_345}


@pytest.mark.parametrize("uid", [None, pytest.param(60_999, marks=as_root)])
def test_a_copy_is_of_folders_and_files_and_its_users(tmp_path: Path, uid: int | None) -> None:
    """With its modes and times; a pipe in it could hold up whoever reads it, and is left out."""
    workspace = fill(tmp_path / "workspace", {"d/e/a.txt": "1"})
    (workspace / "d" / "e").chmod(0o555)
    os.mkfifo(workspace / "d" / "pipe")

    with hold_copy(workspace, Limits(), uid, "t-0") as copy:
        copied, kept = (copy / "d/e/a.txt").stat(), (workspace / "d/e/a.txt").stat()
        names = sorted(str(path.relative_to(copy)) for path in copy.rglob("*"))

        assert compare_copy(workspace, copy, limits=Limits()) == Changes([], [])
    assert names == ["d", "d/e", "d/e/a.txt"]
    assert (copied.st_mtime_ns, copied.st_mode) == (kept.st_mtime_ns, kept.st_mode)
    assert copied.st_uid == (os.geteuid() if uid is None else uid)
    assert not copy.parent.exists()


@pytest.mark.parametrize("is_ours", [True, pytest.param(False, marks=as_root)])
def test_what_a_killed_worker_left_goes_with_the_slots_next_copy(
    tmp_path: Path, monkeypatch: Any, *, is_ours: bool
) -> None:
    """And nothing that somebody else has put under that name for us to remove."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / "baton-sandbox-t-0-left"
    fill(left / "copy", TREE)
    if not is_ours:
        os.chown(left, 12_345, 12_345)

    with hold_copy(fill(tmp_path / "workspace", {}), Limits(), None, "t-0"):
        assert left.exists() is not is_ours


def test_a_view_that_its_plugin_has_closed_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user's host cannot look into it; nobody else than the plugin has done that."""
    workspace, copy = fill(tmp_path / "workspace", {"a.txt": "1"}), fill(tmp_path / "copy", {"a.txt": "2"})

    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(changes, "open_beneath", refuse)

    assert compare_copy(workspace, copy, limits=Limits()).problems == [".: its owner may not read it"]
