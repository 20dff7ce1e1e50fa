"""What a plugin changed, read from its private view when nothing of it lives: iterative, by descriptor, capped.

The view is an overlay's upper folder, or a whole copy. Both are read by one walk, beside the real workspace: a folder of a copy is
as opaque as one that the plugin removed and made again. What may never be published is a `problem`: links, devices, pipes,
sockets, set-id bits, names that are no UTF-8 or hold control characters, a file that became a folder or the other way round.
A file that was copied up and is as it was is no change; times and access bits other than "executable" are not looked at.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from plugin_sandbox.beneath import open_beneath, stat_beneath
from plugin_sandbox.model import Limits

MOST_DEPTH: Final = 64
MOST_PROBLEMS: Final = 100
_CHUNK: Final = 1 << 20
_OPAQUE: Final = ("user.overlay.opaque", "trusted.overlay.opaque")
_SET_ID: Final = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX


@dataclass(frozen=True, slots=True)
class Change:
    """One file or folder. `identity` is device, inode, size and time of change of the view's file, checked again at publishing."""

    path: str
    kind: Literal["create", "modify", "delete"]
    is_folder: bool = False
    executable: bool = False
    identity: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(slots=True)
class Changes:
    """All of them, in the order of the walk, and what makes the view unfit to be published."""

    entries: list[Change] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def complain(self, path: str, what: str) -> None:
        """Note a problem; the first hundred are enough."""
        if len(self.problems) < MOST_PROBLEMS:
            shown = path.encode("utf-8", "backslashreplace").decode()
            self.problems.append(f"{shown}: {what}".encode("unicode_escape").decode())


def identity_of(found: os.stat_result) -> tuple[int, int, int, int]:
    """Return what tells whether a file is still the one that was looked at."""
    return (found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns)


def read_changes(view: int, original: Path, *, limits: Limits) -> Changes:
    """Read an overlay's upper folder, given by descriptor."""
    return _read(view, original, limits, whole=False)


def compare_copy(original: Path, copy: Path, *, limits: Limits) -> Changes:
    """Read a private copy that the plugin worked in."""
    view = os.open(copy, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _read(view, original, limits, whole=True)
    finally:
        os.close(view)


def _read(view: int, original: Path, limits: Limits, *, whole: bool) -> Changes:
    lower = os.open(original, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _Walk(view, lower, limits, whole=whole).run()
    finally:
        os.close(lower)


class _Walk:
    def __init__(self, view: int, lower: int, limits: Limits, *, whole: bool) -> None:
        self._view, self._lower, self._whole = view, lower, whole
        self._left = limits.inodes + 1 if not whole else max(limits.inodes, 1_000_000)
        self._bytes_left = limits.disk_mb * 2**20
        self._changes = Changes()

    def run(self) -> Changes:
        folders = [("", self._whole)]
        while folders and self._left > 0:
            path, is_opaque = folders.pop()
            folders += self._read_folder(path, is_opaque=is_opaque)
        if self._left <= 0:
            self._changes.complain(".", "too many entries")
        return self._changes

    def _read_folder(self, path: str, *, is_opaque: bool) -> Iterator[tuple[str, bool]]:
        found: list[tuple[str, bool]] = []
        names: set[str] = set()
        try:
            folder = open_beneath(self._view, path, os.O_RDONLY | os.O_DIRECTORY)
        except PermissionError:  # the view's own root, perhaps, which nobody has looked at before
            self._changes.complain(path or ".", "its owner may not read it")
            return iter(())
        try:
            for name in os.listdir(folder):
                self._left -= 1
                if self._left <= 0:
                    break
                names.add(name)
                inside = self._read_entry(folder, f"{path}/{name}".lstrip("/"), name)
                if inside is not None:
                    found.append(inside)
        finally:
            os.close(folder)
        if is_opaque:
            self._note_missing(path, names)
        return iter(found)

    def _read_entry(self, folder: int, path: str, name: str) -> tuple[str, bool] | None:
        """Note an entry; return it where it is a folder to go into."""
        here = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISCHR(here.st_mode) and here.st_rdev == 0 and not self._whole:
            self._note_gone(path)
            return None
        if problem := _problem(path, name, here):
            before = stat_beneath(self._lower, path)
            is_old = self._whole and before is not None and stat.S_ISLNK(here.st_mode) and stat.S_ISLNK(before.st_mode)
            if is_old and os.readlink(name, dir_fd=folder) == self._read_link(path):
                return None  # a link of the workspace's own, copied as it is
            self._changes.complain(path, problem)
            return None
        before = stat_beneath(self._lower, path)
        if _is_closed(here) and (before is None or not _is_closed(before)):
            self._changes.complain(path, "its owner may not read it")
            return None
        if stat.S_ISDIR(here.st_mode):
            return self._note_folder(folder, path, name, before)
        self._note_file(path, here, before)
        return None

    def _read_link(self, path: str) -> str:
        folder, _, name = path.rpartition("/")
        parent = open_beneath(self._lower, folder, os.O_PATH | os.O_DIRECTORY)
        try:
            return os.readlink(name, dir_fd=parent)
        finally:
            os.close(parent)

    def _note_folder(self, folder: int, path: str, name: str, before: os.stat_result | None) -> tuple[str, bool] | None:
        if before is not None and not stat.S_ISDIR(before.st_mode):
            self._changes.complain(path, "a file became a folder")
            return None
        if path.count("/") + 1 >= MOST_DEPTH:
            self._changes.complain(path[:200], f"deeper than {MOST_DEPTH} folders")
            return None
        if before is None:
            self._changes.entries.append(Change(path, "create", is_folder=True))
        return path, before is not None and (self._whole or _is_opaque(folder, name))

    def _note_file(self, path: str, here: os.stat_result, before: os.stat_result | None) -> None:
        executable = bool(here.st_mode & stat.S_IXUSR)
        if before is None:
            self._count(path, here)
            self._changes.entries.append(Change(path, "create", executable=executable, identity=identity_of(here)))
        elif not stat.S_ISREG(before.st_mode):
            self._changes.complain(path, "something that is no file became one")
        elif executable is not bool(before.st_mode & stat.S_IXUSR) or not self._is_same(path, here, before):
            self._count(path, here)
            self._changes.entries.append(Change(path, "modify", executable=executable, identity=identity_of(here)))

    def _count(self, path: str, here: os.stat_result) -> None:
        """A file with holes takes no room in the view, and all of its size in the workspace."""
        self._bytes_left -= here.st_size
        if self._bytes_left < 0:
            self._changes.complain(path, "with it, more than disk_mb would be published")

    def _is_same(self, path: str, here: os.stat_result, before: os.stat_result) -> bool:
        if here.st_size != before.st_size:
            return False
        opened = [open_beneath(root, path, os.O_RDONLY | os.O_NONBLOCK) for root in (self._view, self._lower)]
        try:
            while True:
                one, other = (os.read(descriptor, _CHUNK) for descriptor in opened)
                if one != other:
                    return False
                if not one:
                    return True
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _note_missing(self, path: str, names: set[str]) -> None:
        """Note what the workspace has in a folder and an opaque view has not."""
        try:
            folder = open_beneath(self._lower, path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return
        try:
            for name in os.listdir(folder):
                if name not in names:
                    self._note_gone(f"{path}/{name}".lstrip("/"))
        finally:
            os.close(folder)

    def _note_gone(self, path: str) -> None:
        """Note that a file is gone, or a folder with all that is in it."""
        left = [path]
        folders: list[str] = []
        while left:
            one = left.pop()
            before = stat_beneath(self._lower, one)
            if before is None:
                continue
            self._left -= 1
            if self._left <= 0:
                return
            if not stat.S_ISDIR(before.st_mode):
                if not (self._whole and _is_left_out(before)):
                    self._changes.entries.append(Change(one, "delete"))
                continue
            folders.append(one)
            folder = open_beneath(self._lower, one, os.O_RDONLY | os.O_DIRECTORY)
            try:
                left += [f"{one}/{name}" for name in os.listdir(folder)]
            finally:
                os.close(folder)
        self._changes.entries += [Change(one, "delete", is_folder=True) for one in reversed(folders)]


def _is_left_out(found: os.stat_result) -> bool:
    """Say whether a copy goes without it: a pipe, a socket or a device. What a plugin never saw, it has not removed."""
    return not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode))


def _is_closed(found: os.stat_result) -> bool:
    """Say whether a file or folder is closed to its own owner: then an ordinary user's host cannot look at it either."""
    wanted = stat.S_IRUSR | stat.S_IXUSR if stat.S_ISDIR(found.st_mode) else stat.S_IRUSR
    return found.st_mode & wanted != wanted


def _problem(path: str, name: str, here: os.stat_result) -> str:
    """Return what makes an entry unfit to be published, "" where nothing does."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is no UTF-8"
    if any(not char.isprintable() for char in name) or "\\" in name:
        return "its name has characters that are not allowed"
    if len(os.fsencode(path)) > 2048:
        return "its path is too long"
    if stat.S_ISLNK(here.st_mode):
        return "a symbolic link"
    if stat.S_ISDIR(here.st_mode):
        return "set-id bits" if here.st_mode & (stat.S_ISUID | stat.S_ISGID) else ""
    if not stat.S_ISREG(here.st_mode):
        return "no regular file"
    if here.st_mode & _SET_ID:
        return "set-id bits"
    return "a hard link" if here.st_nlink > 1 else ""


def _is_opaque(folder: int, name: str) -> bool:
    opened = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        for attribute in _OPAQUE:
            try:
                return os.getxattr(opened, attribute) == b"y"
            except OSError:
                continue  # it has none of that name
        return False
    finally:
        os.close(opened)
