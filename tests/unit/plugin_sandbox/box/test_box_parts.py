"""The small parts: control groups from their files, trees that are hard to remove, slots."""

import errno
import os
import socket
import threading
from pathlib import Path

import pytest

from plugin_sandbox.copies import remove_tree
from plugin_sandbox.inner import cgroups, watchdog
from plugin_sandbox.inner.box import BoxLimits, LayerFailed
from plugin_sandbox.inner.plugin_init import GO_ON, _Channel
from plugin_sandbox.inner.watchdog import check, measure
from plugin_sandbox.slots import SlotTaken, hold_slot

NO_SYSTEMD = "/nowhere/systemd"
LIMITS = BoxLimits(256 << 20, 5, 5.0, 3, 8, 64, 1 << 20, 1 << 20, 100, 1 << 16, 1 << 16)


def test_version_1_groups_are_found_below_the_own_one(tmp_path: Path) -> None:
    """A group made at the top would escape the worker's own limits."""
    own, mounts = tmp_path / "cgroup", tmp_path / "mountinfo"
    folder = tmp_path / "memory" / "jobs" / "a"
    folder.mkdir(parents=True)
    own.write_text("4:memory:/jobs/a\n0::/\n")
    mounts.write_text(f"35 31 0:32 / {tmp_path}/memory rw,relatime - cgroup cgroup rw,memory\n")

    assert cgroups.find_own(str(own), str(mounts), NO_SYSTEMD) == {"memory": str(folder)}


def test_a_version_2_group_serves_all_its_controllers(tmp_path: Path) -> None:
    """One folder, as many controllers as were handed down to it; a container's mount shows only its own part."""
    own, mounts = tmp_path / "cgroup", tmp_path / "mountinfo"
    folder = tmp_path / "unified" / "worker"
    folder.mkdir(parents=True)
    (folder / "cgroup.controllers").write_text("memory pids\n")
    own.write_text("0::/slice/worker\n")
    mounts.write_text(f"41 31 0:38 /slice {tmp_path}/unified rw - cgroup2 cgroup2 rw\n")

    assert cgroups.find_own(str(own), str(mounts), NO_SYSTEMD) == {"memory": str(folder), "pids": str(folder)}


def test_a_worker_that_has_moved_into_its_leaf_finds_the_group_above(tmp_path: Path) -> None:
    """Each sandbox of a process would else go one level deeper."""
    own, mounts = tmp_path / "cgroup", tmp_path / "mountinfo"
    folder = tmp_path / "unified" / "worker"
    (folder / "baton-worker").mkdir(parents=True)
    for group in (folder, folder / "baton-worker"):
        (group / "cgroup.controllers").write_text("memory\n")
    own.write_text("0::/worker/baton-worker\n")
    mounts.write_text(f"41 31 0:38 / {tmp_path}/unified rw - cgroup2 cgroup2 rw\n")

    assert cgroups.find_own(str(own), str(mounts), NO_SYSTEMD) == {"memory": str(folder)}


@pytest.mark.parametrize(("marked", "is_found"), [("worker", True), ("", True), ("elsewhere", False)])
def test_under_systemd_root_takes_delegated_groups_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marked: str, is_found: bool
) -> None:
    """A reload takes back what another handed down in systemd's own group: limits were set, and would be gone in mid-run."""
    own, mounts, top = tmp_path / "cgroup", tmp_path / "mountinfo", tmp_path / "unified"
    folder = top / "slice" / "worker"
    folder.mkdir(parents=True)
    (folder / "cgroup.controllers").write_text("memory\n")
    own.write_text("0::/slice/worker\n")
    mounts.write_text(f"41 31 0:38 / {top} rw - cgroup2 cgroup2 rw,nsdelegate\n")

    def getxattr(path: str, name: str) -> bytes:
        if name == "trusted.delegate" and Path(path) == top / "slice" / marked:
            return b"1"
        raise OSError(errno.ENODATA, name, path)

    monkeypatch.setattr(os, "getxattr", getxattr)
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    found = cgroups.find_own(str(own), str(mounts), str(tmp_path))

    assert found == ({"memory": str(folder)} if is_found else {})


class Unified:
    """A version 2 hierarchy as the kernel's files show it: what is written to them, and a fork at a bad moment."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parent, self.handed, self.late, self.plain = root / "worker", "", ["42"], cgroups._write
        self.parent.mkdir()
        for name in ("cgroup.type", "cgroup.subtree_control", "cgroup.controllers"):
            (self.parent / name).write_text("")
        (self.parent / "cgroup.procs").write_text("40 41")
        monkeypatch.setattr(cgroups, "_write", self.write)

    def write(self, path: str, text: str) -> None:
        """Do what the kernel would do with it."""
        procs = self.parent / "cgroup.procs"
        if path == f"{self.parent}/cgroup.subtree_control":
            if procs.read_text() and (self.parent / "cgroup.type").exists():
                raise OSError(errno.EBUSY, "processes", path)
            self.handed += text
        elif path.endswith("/cgroup.procs"):
            left = [pid for pid in procs.read_text().split() if pid != text]
            if not left:
                left, self.late = self.late, []
            procs.write_text(" ".join(left))
        else:
            Path(path).touch()
            self.plain(path, text)


def test_who_is_forked_while_its_parent_moves_is_moved_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's pool forks when it likes: one child left behind would cost all calls their groups, for good."""
    there = Unified(tmp_path, monkeypatch)

    cgroups.remove(cgroups.create({"cpu": str(there.parent)}, "t", LIMITS))

    assert there.handed == "+cpu"
    assert (there.parent / "baton-worker").is_dir()


def test_a_group_that_somebody_fills_again_and_again_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, and the watchdog counts instead; nobody waits for ever."""
    there = Unified(tmp_path, monkeypatch)

    def fill(path: str, text: str) -> None:
        there.late = ["43"]
        there.write(path, text)

    monkeypatch.setattr(cgroups, "_write", fill)

    with pytest.raises(LayerFailed, match="processes"):
        cgroups.create({"cpu": str(there.parent)}, "t", LIMITS)


def test_at_the_hierarchys_root_nobody_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's own threads are there, and every process of a machine without systemd: they stay where they are."""
    there = Unified(tmp_path, monkeypatch)
    (there.parent / "cgroup.type").unlink()  # what tells the root from all others

    cgroups.remove(cgroups.create({"cpu": str(there.parent)}, "t", LIMITS))

    assert (there.handed, (there.parent / "cgroup.procs").read_text()) == ("+cpu", "40 41")
    assert not (there.parent / "baton-worker").exists()


def test_a_limit_that_is_not_kept_is_refused_and_nothing_stays(tmp_path: Path) -> None:
    """A limit file that takes the number and keeps another one would bind nothing."""
    parent = tmp_path / "pids"
    parent.mkdir()

    with pytest.raises(LayerFailed) as failed:
        cgroups.create({"pids": str(parent)}, "t", LIMITS)

    assert failed.value.layer == "pids_cgroup"
    assert not list(parent.iterdir())


def test_a_tree_too_deep_for_recursion_is_removed(tmp_path: Path) -> None:
    """shutil.rmtree raises at such depths; and a link out of the tree is a name, not a way."""
    home, outside = tmp_path / "home", tmp_path / "outside"
    home.mkdir()
    outside.mkdir()
    (outside / "keep").write_text("")
    current = os.open(home, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=current)
        os.symlink(outside, "link", dir_fd=current)
        below = os.open("d", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = below
    os.close(current)

    remove_tree(home)

    assert not home.exists()
    assert (outside / "keep").exists()


def test_a_copy_is_measured_through_no_link(tmp_path: Path) -> None:
    """Its size is its own."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(bytes(8192))
    (tmp_path / "link").symlink_to("/usr")
    folder = os.open(tmp_path, os.O_RDONLY)

    size, count = measure(folder, most=1000)

    assert count == 3
    assert size >= 8192
    os.close(folder)


def test_folders_that_are_many_or_deep_hide_nothing_that_is_in_them(tmp_path: Path) -> None:
    """What the watchdog does not see, no limit binds."""
    wide, deep = tmp_path / "wide", tmp_path / "deep"
    for number in range(1_000):
        (wide / str(number)).mkdir(parents=True)
        (wide / str(number) / "file").write_bytes(b"x" * 4_096)
    deep.mkdir()
    here = os.open(deep, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d", dir_fd=here)
        above, here = here, os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(above)
    os.close(here)

    found = {}
    for one in (wide, deep):
        folder = os.open(one, os.O_RDONLY)
        found[one] = measure(folder, most=100_000)
        os.close(folder)
    remove_tree(deep)

    assert (found[wide][1], found[deep][1]) == (2_000, 100_000)


@pytest.mark.parametrize(("depth", "count"), [(1, 1), (2, 2), (3, 100)])
def test_folders_in_each_other_are_counted_up_to_a_depth(
    depth: int, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two descriptors are for the top itself; who is deeper than the others reach has too many."""
    monkeypatch.setattr(watchdog, "_MOST_LEVELS", 4)
    tmp_path.joinpath(*"d" * depth).mkdir(parents=True)

    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        assert measure(folder, most=100)[1] == count
    finally:
        os.close(folder)


def test_a_watchdog_that_sees_nothing_is_a_failed_layer(tmp_path: Path) -> None:
    """A /proc without lists of children would count every tree as one process."""
    empty, real = (os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (tmp_path, "/proc"))

    with pytest.raises(LayerFailed, match=r"watchdog: .*cannot be counted"):
        check(empty)

    check(real)
    os.close(empty)
    os.close(real)


def test_a_slot_has_one_holder_and_is_waited_for(tmp_path: Path) -> None:
    """Two runs never share a uid; whoever waits can be stopped."""
    with hold_slot(tmp_path, 1, None, lambda: False) as first:
        with pytest.raises(SlotTaken), hold_slot(tmp_path, 1, None, lambda: True):
            pass
        seen: list[int] = []
        found_busy = threading.Event()

        def look_on() -> bool:
            found_busy.set()
            return False

        def wait() -> None:
            with hold_slot(tmp_path, 1, None, look_on) as number:
                seen.append(number)

        waiter = threading.Thread(target=wait)
        waiter.start()
        assert found_busy.wait(60)
    waiter.join()

    assert seen == [first]


def test_what_a_process_tells_before_its_monitor_is_ready_is_not_lost() -> None:
    """A socket that closes with something unread in it resets the other end: the layer that failed would go unnamed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = _Channel(theirs)
    with ours:
        ours.send(GO_ON)

        channel.tell({"layer": "overlay"})
        os.close(channel.fd)
        theirs.close()

        assert ours.recv(100) == b'{"layer": "overlay"}'
