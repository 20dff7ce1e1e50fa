"""Take a plugin's changes over into the workspace: all of them or none, also when the process dies in the middle.

First every new content is staged beside its target, under a name that nobody has; until then the workspace's own files are as they
were. Then an intent is written and synced that says what remains: renames, then removals. From there on only forward: whoever
comes next (`recover`) finishes an intent, and takes away what an unfinished staging left. Every path is opened below the
workspace through no link, and a file is published only if it is still the one that was judged.
"""

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

from plugin_sandbox.beneath import open_beneath, stat_beneath
from plugin_sandbox.changes import Change, Changes, identity_of
from plugin_sandbox.model import FileChange
from plugin_sandbox.receipts import drop_prepared, keep_prepared, keep_receipt, prepare_receipt
from plugin_sandbox.slots import open_private

_LOOK_SECONDS: Final = 0.02


class WorkspaceError(Exception):
    """The workspace is not as it must be; nothing was published."""


def _key(workspace: Path) -> str:
    found = workspace.stat()
    return f"{found.st_dev:x}-{found.st_ino:x}"


@contextlib.contextmanager
def workspace_lock(workspace: Path, state: Path, is_over: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Hold a workspace against other runs, of all processes of this host; raise WorkspaceError where `is_over` ends the wait."""
    opened = open_private(f"{state}/locks/{_key(workspace)}")
    try:
        while True:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if is_over():
                    raise WorkspaceError(f"{workspace}: another run holds it; run again later") from None
                time.sleep(_LOOK_SECONDS)
        try:
            yield
        finally:
            fcntl.flock(opened, fcntl.LOCK_UN)  # closing leaves it to whoever was forked meanwhile
    finally:
        os.close(opened)


class _Intent:
    """What is under way in a workspace, on disk before it is done."""

    def __init__(self, workspace: Path, state: Path) -> None:
        self._path = state / "intents" / f"{_key(workspace)}.json"

    def read(self) -> dict[str, list[list[str]]] | None:
        try:
            found: dict[str, list[list[str]]] = json.loads(self._path.read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise WorkspaceError(
                f"{self._path}: it cannot be read ({error}); look at the workspace, then remove it"
            ) from error
        return found

    def write(self, intent: dict[str, list[list[str]]]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = self._path.with_suffix(".new")
        with beside.open("w") as file:
            json.dump(intent, file)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(self._path)
        _sync_folder(self._path.parent)

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)


def _sync_folder(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def recover(workspace: Path, state: Path) -> None:
    """Finish what a publisher that died left; called under the workspace's lock."""
    intent = _Intent(workspace, state)
    found = intent.read()
    if found is None:
        return
    with _opened(workspace) as root:
        if "renames" in found:
            _carry_out(root, found)
            _keep_receipt(state, found)
        else:
            for path, *_ in found["staged"]:
                _remove(root, path, is_folder=False)
            for path, *_ in reversed(found["folders"]):
                _remove(root, path, is_folder=True)
            for run, *_ in found.get("prepared", ()):
                drop_prepared(state, run)
    intent.clear()


def publish(
    workspace: Path, changes: Changes, source: int, state: Path, *, receipt: tuple[str, str] | None = None
) -> tuple[FileChange, ...]:
    """Publish changes that were judged, from the view behind `source`; return them. Raise WorkspaceError, having changed nothing.

    `receipt` is a run's name and what to keep of it: once the changes are certain to be there, `read_receipt` returns it.
    """
    if changes.problems:
        raise WorkspaceError(f"{workspace}: {changes.problems[0]}; this was to be refused before, report it")
    if not changes.entries:
        return ()
    intent = _Intent(workspace, state)
    token = uuid4().hex[:12]
    files = [one for one in changes.entries if not one.is_folder and one.kind != "delete"]
    folders = [one.path for one in changes.entries if one.is_folder and one.kind == "create"]
    staged = [(_beside(one.path, token, number), one) for number, one in enumerate(files)]
    deletes = [one for one in changes.entries if one.kind == "delete"]
    # Beside what lies highest of all that goes: that folder is written to anyway, and stays.
    highest = min((one.path for one in deletes), key=lambda path: path.count("/"), default=None)
    marker = [_beside(highest, token, len(files))] if highest is not None else []
    runs = [[receipt[0]]] if receipt is not None else []
    plan = {
        "renames": [[path, change.path] for path, change in staged],
        "deletes": [[one.path] for one in deletes if not one.is_folder],
        "removed": [[one.path] for one in deletes if one.is_folder],
        "marker": [[path] for path in marker],
        "prepared": runs,
    }
    with _opened(workspace) as root:
        _check_targets(root, changes.entries)
        beside = [[path] for path in (*(path for path, _ in staged), *marker)]
        intent.write({"staged": beside, "folders": [[path] for path in folders], "prepared": runs})
        try:
            owner = os.fstat(root)
            for path in folders:
                _make_folder(root, path, owner)
            for path, change in staged:
                _stage(root, source, path, change, owner)
            for path in marker:
                _mark(root, path)
            if receipt is not None:
                prepare_receipt(state, *receipt)
            intent.write(plan)
        except OSError as error:
            if "renames" in (intent.read() or {}):
                raise  # it is on disk, and carried out by whoever comes next
            recover(workspace, state)
            raise WorkspaceError(f"{workspace}: not published ({error}); see that it has room and rights") from error
        except WorkspaceError:
            recover(workspace, state)
            raise
        _carry_out(root, plan)
    _keep_receipt(state, plan)
    intent.clear()
    return tell_changes(changes)


def tell_changes(changes: Changes) -> tuple[FileChange, ...]:
    """Return changes as they are told once they are published."""
    return tuple(FileChange(path=one.path, kind=one.kind) for one in changes.entries if not one.is_folder)


@contextlib.contextmanager
def _opened(workspace: Path) -> Iterator[int]:
    root = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield root
    finally:
        os.close(root)


def _beside(path: str, token: str, number: int) -> str:
    folder, slash, _ = path.rpartition("/")
    return f"{folder}{slash}.publishing-{token}-{number}"


def _check_targets(root: int, entries: list[Change]) -> None:
    """See that the workspace is still what the plugin's view was made of."""
    for one in entries:
        found = stat_beneath(root, one.path)
        fits = (found is None) is (one.kind == "create")
        if fits and found is not None:
            fits = stat.S_ISDIR(found.st_mode) if one.is_folder else not stat.S_ISDIR(found.st_mode)
            fits = fits and not (one.kind == "modify" and not stat.S_ISREG(found.st_mode))
        if not fits:
            raise WorkspaceError(f"{one.path}: it changed while the plugin ran; nothing was published, run again")


def _make_folder(root: int, path: str, owner: os.stat_result) -> None:
    with _parent(root, path) as (parent, name):
        os.mkdir(name, 0o755, dir_fd=parent)
        if os.geteuid() == 0:
            os.chown(name, owner.st_uid, owner.st_gid, dir_fd=parent, follow_symlinks=False)


def _stage(root: int, source: int, path: str, change: Change, owner: os.stat_result) -> None:
    """Copy one file's content beside its target."""
    before = stat_beneath(root, change.path)
    mode = stat.S_IMODE(before.st_mode) & 0o777 if before is not None else 0o644
    # Whoever may read a program may execute it; its owner, always.
    mode = mode | 0o100 | (mode >> 2 & 0o111) if change.executable else mode & ~0o111
    taken = open_beneath(source, change.path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        found = os.fstat(taken)
        if identity_of(found) != change.identity:
            raise WorkspaceError(f"{change.path}: it changed after it was judged; nothing was published, run again")
        with _parent(root, path) as (parent, name):
            made = os.open(
                name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent
            )
        try:
            left = found.st_size
            while left > 0 and (count := os.sendfile(made, taken, None, min(left, 1 << 30))):
                left -= count
            if left:
                raise WorkspaceError(f"{change.path}: it became shorter while it was read; nothing was published")
            keep = before or owner
            if os.geteuid() == 0:
                os.fchown(made, keep.st_uid, keep.st_gid)
            os.fchmod(made, mode)
            os.utime(made, ns=(found.st_atime_ns, found.st_mtime_ns))
            os.fsync(made)
        finally:
            os.close(made)
    finally:
        os.close(taken)


def _mark(root: int, path: str) -> None:
    with _parent(root, path) as (parent, name):
        made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
    try:
        os.fsync(made)
    finally:
        os.close(made)


def _keep_receipt(state: Path, plan: dict[str, list[list[str]]]) -> None:
    for run, *_ in plan.get("prepared", ()):
        keep_prepared(state, run)
    for run, body in plan.get("receipt", ()):  # of an older Baton
        keep_receipt(state, run, body)


def _carry_out(root: int, plan: dict[str, list[list[str]]]) -> None:
    """Rename, then remove; what is done already stays done.

    A workspace that is removed leaves its number to another one, where nothing of that name may be removed: where there is something
    to remove, a marker goes last. Where it is gone all is done, or this is another folder.
    """
    markers = [path for path, *_ in plan.get("marker", ())]
    if any(stat_beneath(root, path) is None for path in markers):
        return
    for path, target in plan["renames"]:
        with contextlib.suppress(FileNotFoundError), _parent(root, path) as (parent, name):
            os.rename(name, target.rpartition("/")[2], src_dir_fd=parent, dst_dir_fd=parent)
    for path, *_ in plan["deletes"]:
        _remove(root, path, is_folder=False)
    for path, *_ in plan["removed"]:
        _remove(root, path, is_folder=True)
    for path in markers:
        _remove(root, path, is_folder=False)
    os.fsync(root)


def _remove(root: int, path: str, *, is_folder: bool) -> None:
    with contextlib.suppress(FileNotFoundError), _parent(root, path) as (parent, name):
        try:
            (os.rmdir if is_folder else os.unlink)(name, dir_fd=parent)
        except OSError:
            if not is_folder:
                raise
            return  # somebody put something in: it is theirs, and stays


@contextlib.contextmanager
def _parent(root: int, path: str) -> Iterator[tuple[int, str]]:
    folder, _, name = path.rpartition("/")
    parent = open_beneath(root, folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield parent, name
    finally:
        os.close(parent)
