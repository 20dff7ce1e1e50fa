"""A private copy of a workspace for one call, where there is no overlay: made, lent to the plugin's uid, removed.

What is copied and compared, and how, is workspace.py's.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from plugin_sandbox import workspace
from plugin_sandbox.model import Limits

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def hold_copy(original: Path, limits: Limits, uid: int | None, place: str) -> Iterator[Path]:
    """Yield a copy of `original` that this uid may change, with a folder for temporary files beside it.

    place: names the slot that the call holds; what a killed worker left of its last call is removed first.
    """
    prefix = f"baton-sandbox-{place}-"
    for left in Path(tempfile.gettempdir()).glob(prefix + "*"):
        if left.lstat().st_uid == os.geteuid():
            remove_tree(left)
    home = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        copy, tmp = home / "copy", home / "tmp"
        workspace.make_copy(original, copy, limits)
        tmp.mkdir(mode=0o700)
        if uid is not None:
            home.chmod(0o711)
            for folder in (copy, tmp):
                _give(folder, uid)
        yield copy
    finally:
        remove_tree(home)


def _give(folder: Path, uid: int) -> None:
    """Change the owner of a tree that nobody else can touch yet."""
    for _, folders, files, descriptor in os.fwalk(folder, follow_symlinks=False):
        os.fchown(descriptor, uid, uid)
        for name in (*folders, *files):
            os.chown(name, uid, uid, dir_fd=descriptor, follow_symlinks=False)


def _unlock(top: int, name: str) -> None:
    """Let the owner into a folder that may be closed even to itself; by descriptor, so that no link is followed."""
    found = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
    try:
        Path(f"/proc/self/fd/{found}").chmod(0o700)
    finally:
        os.close(found)


def remove_tree(folder: Path) -> None:
    """Remove a hostile tree of any depth: by descriptors, without recursion, through no link.

    Every directory found is moved up to the top before it is emptied, so that neither depth nor a path's length matters.
    """
    top = os.open(folder, _OPEN_FOLDER)
    try:
        serial = 0
        waiting: list[str] = ["."]
        while waiting:
            name = waiting[-1]
            _unlock(top, name)
            current = os.open(name, _OPEN_FOLDER, dir_fd=top)
            try:
                with os.scandir(current) as entries:
                    found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
                moved = False
                for entry, is_folder in found:
                    if not is_folder:
                        os.unlink(entry, dir_fd=current)
                    elif name != ".":
                        serial += 1
                        _unlock(current, entry)  # a folder that its owner may not write is not moved to another place
                        os.rename(entry, f".gone-{serial}", src_dir_fd=current, dst_dir_fd=top)
                        waiting.append(f".gone-{serial}")
                        moved = True
                    else:
                        waiting.append(entry)
                        moved = True
            finally:
                os.close(current)
            if not moved:
                waiting.remove(name)
                if name != ".":
                    os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    folder.rmdir()
