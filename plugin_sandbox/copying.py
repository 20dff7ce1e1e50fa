"""A private copy of a workspace, where there is no overlay: capped, through no link."""

import os
import stat
from pathlib import Path

from plugin_sandbox.beneath import open_beneath
from plugin_sandbox.model import Limits
from plugin_sandbox.publishing import WorkspaceError


def make_copy(original: Path, into: Path, limits: Limits) -> None:
    """Copy a workspace to a new folder; raise WorkspaceError where it is larger than the run's disk and inodes allow.

    Links are copied as they are and never followed; what is neither file, folder nor link is left out.
    """
    into.mkdir(mode=0o755)
    left_bytes, left_entries = limits.disk_mb * 2**20, limits.inodes
    root = os.open(original, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        folders = [""]
        while folders:
            here = folders.pop()
            folder = open_beneath(root, here, os.O_RDONLY | os.O_DIRECTORY)
            try:
                for name in os.listdir(folder):
                    path = f"{here}/{name}".lstrip("/")
                    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    left_entries -= 1
                    left_bytes -= found.st_size if stat.S_ISREG(found.st_mode) else 0
                    if left_entries < 0 or left_bytes < 0:
                        raise WorkspaceError(f"{original}: larger than disk_mb or inodes of the plugin; raise them")
                    if stat.S_ISDIR(found.st_mode):
                        (into / path).mkdir(mode=stat.S_IMODE(found.st_mode) & 0o777 | 0o700)
                        folders.append(path)
                    elif stat.S_ISLNK(found.st_mode):
                        os.symlink(os.readlink(name, dir_fd=folder), into / path)
                    elif stat.S_ISREG(found.st_mode):
                        _copy_file(folder, name, into / path, found)
            finally:
                os.close(folder)
    finally:
        os.close(root)


def _copy_file(folder: int, name: str, into: Path, found: os.stat_result) -> None:
    taken = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    made = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while os.sendfile(made, taken, None, 1 << 30):
            continue
        os.fchmod(made, stat.S_IMODE(found.st_mode) & 0o777)
        os.utime(made, ns=(found.st_atime_ns, found.st_mtime_ns))
    finally:
        os.close(made)
        os.close(taken)
