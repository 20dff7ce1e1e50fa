"""What a plugin changed is read by descriptor, judged, and published whole or not at all."""

import errno
import json
import os
import signal
import stat
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugin_sandbox import publishing
from plugin_sandbox.changes import Changes, compare_copy
from plugin_sandbox.copies import remove_tree
from plugin_sandbox.model import Limits
from plugin_sandbox.slots import hold_slot
from plugin_sandbox.workspace import (
    WorkspaceError,
    find_violations,
    make_copy,
    publish,
    read_receipt,
    recover,
    workspace_lock,
)

LIMITS = Limits()


def fill(folder: Path, files: dict[str, str]) -> Path:
    """Make a folder with these files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def read(folder: Path) -> dict[str, str]:
    """Return every file's text, and every folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        found[str(path.relative_to(folder))] = "<folder>" if path.is_dir() else path.read_text()
    return found


def publish_copy(workspace: Path, copy: Path, state: Path) -> Changes:
    """Publish a copy, as the host does."""
    changes = compare_copy(workspace, copy, limits=LIMITS)
    source = os.open(copy, os.O_RDONLY | os.O_DIRECTORY)
    try:
        publish(workspace, changes, source, state)
    finally:
        os.close(source)
    return changes


NAMES = st.sampled_from(["a", "b", "c.txt", "d"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


def without_clashes(files: dict[str, str]) -> dict[str, str]:
    """Leave out files that would have to be folders, too."""
    return {name: text for name, text in files.items() if not any(other.startswith(name + "/") for other in files)}


TREES = st.dictionaries(PATHS, st.sampled_from(["", "one", "two"]), max_size=6).map(without_clashes)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(before=TREES, after=TREES)
def test_publishing_makes_the_workspace_what_the_plugin_saw(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, str], after: dict[str, str]
) -> None:
    """Or leaves it as it was, where a file would have to become a folder."""
    home = tmp_path_factory.mktemp("trees")
    workspace, copy = fill(home / "workspace", before), fill(home / "copy", after)
    old = read(workspace)
    changes = compare_copy(workspace, copy, limits=LIMITS)

    if changes.problems:
        with pytest.raises(WorkspaceError):
            publish_copy(workspace, copy, home / "state")
        assert read(workspace) == old
        return
    publish_copy(workspace, copy, home / "state")

    assert read(workspace) == read(copy)
    assert compare_copy(workspace, copy, limits=LIMITS).entries == []
    assert not list((home / "state" / "intents").glob("*")) if (home / "state" / "intents").exists() else True


def deep(folder: Path) -> None:
    """Nest folders beyond any path's length."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1_500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda view: (view / "link").symlink_to("/etc/passwd"), "a symbolic link"),
        (lambda view: os.mkfifo(view / "pipe"), "no regular file"),
        (lambda view: (view / "a.txt").chmod(0o4755), "set-id bits"),
        (lambda view: os.link(view / "a.txt", view / "twin"), "a hard link"),
        (lambda view: (view / "new\nline").touch(), "characters that are not allowed"),
        (lambda view: (view / os.fsdecode(b"\xff")).touch(), "no UTF-8"),
        (lambda view: (view / "a.txt").unlink() or (view / "a.txt").mkdir(), "a file became a folder"),
        (deep, "deeper than"),
    ],
)
def test_what_is_no_plain_file_is_a_problem(tmp_path: Path, make: object, what: str) -> None:
    """And a problem is a violation: nothing of the run is published."""
    workspace = fill(tmp_path / "workspace", {"a.txt": "a"})
    copy = fill(tmp_path / "copy", {"a.txt": "a"})
    make(copy)  # type: ignore[operator]

    changes = compare_copy(workspace, copy, limits=LIMITS)

    assert any(what in problem for problem in changes.problems), changes.problems
    assert find_violations(changes, writes=("**",), protected=())
    remove_tree(copy)
    assert not copy.exists()


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("README.md", True),
        ("readme.MD", True),
        ("sub/README.md", False),
        ("README.md.jinja", False),
        (".exlab-wizard/creation.json", True),
        (".exlab-wizard", True),
        (".exlab-answers.yml", True),
        ("out/a.csv", False),
        ("elsewhere.csv", True),
    ],
)
def test_globs_and_protected_paths_decide(tmp_path: Path, path: str, *, refused: bool) -> None:
    """What the manifest does not name may not be written, and what the operator protects by nobody."""
    workspace, copy = fill(tmp_path / "workspace", {}), fill(tmp_path / "copy", {path: "x"})

    changes = compare_copy(workspace, copy, limits=LIMITS)
    found = find_violations(
        changes,
        writes=("out/**", "**/README.md*", ".exlab*", ".exlab-wizard/*", "readme.MD"),
        protected=("README.md", ".exlab-wizard/", ".exlab-answers.yml"),
    )

    assert bool(found) is refused, found


def test_removing_a_folder_with_something_protected_is_a_violation(tmp_path: Path) -> None:
    """A parent is a way to what is in it."""
    workspace = fill(tmp_path / "workspace", {"keep/inner/x": "x", "keep/y": "y"})
    copy = fill(tmp_path / "copy", {})

    changes = compare_copy(workspace, copy, limits=LIMITS)

    assert find_violations(changes, writes=("**",), protected=("keep/inner/x",)) == ("keep/inner/x",)


class Died(BaseException):
    """The process would be gone here."""


@pytest.mark.parametrize("at", range(12))
def test_a_publisher_that_dies_leaves_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Killed before any of its renames, removals, or the writing of its intent: the next run finds one whole state."""
    before = {"a.txt": "1", "b.txt": "1", "gone/c.txt": "1"}
    after = {"a.txt": "2", "b.txt": "2", "new/d.txt": "2"}
    workspace, copy = fill(tmp_path / "workspace", before), fill(tmp_path / "copy", after)
    state = tmp_path / "state"
    acts = 0

    def die(real: object) -> object:
        def act(*args: object, **kwargs: object) -> object:
            nonlocal acts
            acts += 1
            if acts > at:
                raise Died
            return real(*args, **kwargs)  # type: ignore[operator]

        return act

    for name in ("rename", "unlink", "rmdir"):
        monkeypatch.setattr(publishing.os, name, die(getattr(os, name)))
    monkeypatch.setattr(publishing._Intent, "write", die(publishing._Intent.write))
    with suppress(Died):
        publish_copy(workspace, copy, state)
    monkeypatch.undo()

    recover(workspace, state)

    whole = read(workspace)
    assert whole in (read(fill(tmp_path / "was", before)), read(copy)), whole
    assert not list(state.glob("intents/*.json"))


def test_what_was_to_be_removed_is_removed_from_no_other_folder_of_the_same_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher died, its workspace was removed, and the next one that is made has its number: it is somebody else's."""
    workspace, copy = (
        fill(tmp_path / "workspace", {"a.txt": "1", "b/c.txt": "1"}),
        fill(tmp_path / "copy", {"a.txt": "2"}),
    )

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patch, suppress(Died):
        patch.setattr(publishing, "_carry_out", die)
        publish_copy(workspace, copy, tmp_path / "state")
    workspace.rename(tmp_path / "removed")
    other = fill(tmp_path / "workspace", {"a.txt": "theirs", "b/c.txt": "theirs"})
    monkeypatch.setattr(publishing, "_key", lambda _: next((tmp_path / "state" / "intents").iterdir()).stem)

    recover(other, tmp_path / "state")

    assert read(other) == {"a.txt": "theirs", "b": "<folder>", "b/c.txt": "theirs"}
    assert not list((tmp_path / "state" / "intents").iterdir())


@pytest.mark.parametrize("goes", [("in/gone.txt",), ("in/f/a", "in/f/g/b"), ("in/f/a", "in/gone.txt")])
def test_while_something_is_removed_nothing_is_written_but_where_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goes: tuple[str, ...]
) -> None:
    """Who may change one folder of a workspace need not be one who may change the others."""
    workspace = fill(tmp_path / "workspace", {"kept": "1", "in/kept": "1", **dict.fromkeys(goes, "1")})
    copy = fill(tmp_path / "copy", {"kept": "1", "in/kept": "1"})
    beside: list[str] = []

    def look(*_: object) -> None:
        beside.extend(str(path.relative_to(workspace).parent) for path in workspace.rglob(".publishing-*"))
        raise Died

    with monkeypatch.context() as patch, suppress(Died):
        patch.setattr(publishing, "_carry_out", look)
        publish_copy(workspace, copy, tmp_path / "state")
    recover(workspace, tmp_path / "state")

    assert beside == ["in"]
    assert read(workspace) == read(copy)


@pytest.mark.parametrize("full", ["receipt", "plan"])
def test_a_state_folder_that_is_full_before_anything_was_changed_publishes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    """Not the receipt after the changes: the run would be told as one that published nothing, and its removals be done once more."""
    before = {"a.txt": "1", "b.txt": "1"}
    workspace, copy = fill(tmp_path / "workspace", before), fill(tmp_path / "copy", {"a.txt": "2", "new/c.txt": "2"})
    changes, state = compare_copy(workspace, copy, limits=LIMITS), tmp_path / "state"
    source = os.open(copy, os.O_RDONLY | os.O_DIRECTORY)
    synced = 0

    def sync(descriptor: int) -> None:
        nonlocal synced
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        synced += "/intents/" in path and path.endswith(".new")
        if "/receipts/" in path if full == "receipt" else synced == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    with monkeypatch.context() as patch:
        patch.setattr(publishing.os, "fsync", sync)
        with pytest.raises(WorkspaceError, match="room"):
            publish(workspace, changes, source, state, receipt=("run", "{}"))
    assert read(workspace) == before
    assert read_receipt(state, "run") is None
    assert not list(state.glob("intents/*.json"))
    assert not list(state.glob("receipts/*"))

    publish(workspace, changes, source, state, receipt=("run", "{}"))

    os.close(source)
    assert read(workspace) == read(copy)
    assert read_receipt(state, "run") == "{}"


@pytest.mark.parametrize(
    ("before", "after"), [(0o644, 0o755), (0o664, 0o775), (0o640, 0o750), (0o600, 0o700), (None, 0o755)]
)
def test_a_program_can_be_executed_by_its_owner_and_whoever_may_read_it(
    tmp_path: Path, before: int | None, after: int
) -> None:
    """And by nobody else."""
    workspace, copy = fill(tmp_path / "workspace", {"kept": ""}), fill(tmp_path / "copy", {"kept": "", "run": "2"})
    if before is not None:
        fill(workspace, {"run": "1"})
        (workspace / "run").chmod(before)
    (copy / "run").chmod(0o755)

    publish_copy(workspace, copy, tmp_path / "state")

    assert stat.S_IMODE((workspace / "run").stat().st_mode) == after


def test_a_workspace_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """A link swapped in between judging and publishing is not followed."""
    workspace, copy = fill(tmp_path / "workspace", {"d/a.txt": "1"}), fill(tmp_path / "copy", {"d/a.txt": "2"})
    outside = fill(tmp_path / "outside", {"a.txt": "calm"})
    changes = compare_copy(workspace, copy, limits=LIMITS)
    (workspace / "d").rename(workspace / "e")
    (workspace / "d").symlink_to(outside)
    source = os.open(copy, os.O_RDONLY | os.O_DIRECTORY)

    with pytest.raises((WorkspaceError, OSError)):
        publish(workspace, changes, source, tmp_path / "state")

    os.close(source)
    assert read(outside) == {"a.txt": "calm"}
    assert read(workspace / "e") == {"a.txt": "1"}


def test_a_view_that_changed_after_it_was_judged_is_refused(tmp_path: Path) -> None:
    """What is published is what was judged."""
    workspace, copy = fill(tmp_path / "workspace", {"a.txt": "1"}), fill(tmp_path / "copy", {"a.txt": "2"})
    changes = compare_copy(workspace, copy, limits=LIMITS)
    (copy / "a.txt").write_text("evil")
    source = os.open(copy, os.O_RDONLY | os.O_DIRECTORY)

    with pytest.raises(WorkspaceError, match=r"a\.txt: it changed after it was judged"):
        publish(workspace, changes, source, tmp_path / "state")

    os.close(source)
    assert read(workspace) == {"a.txt": "1"}


def test_two_runs_on_one_workspace_serialise(tmp_path: Path) -> None:
    """The second waits until the first is over, or gives up when it is told to."""
    workspace = fill(tmp_path / "workspace", {})
    entered = threading.Event()

    def second() -> None:
        with workspace_lock(workspace, tmp_path / "state"):
            entered.set()

    with workspace_lock(workspace, tmp_path / "state"):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not entered.wait(0.1)
        with (
            pytest.raises(WorkspaceError, match="another run holds it"),
            workspace_lock(workspace, tmp_path / "state", lambda: True),
        ):
            pass
    waiting.join(60)

    assert entered.is_set()


def test_a_child_that_was_forked_meanwhile_holds_neither_workspace_nor_slot(tmp_path: Path) -> None:
    """A worker's tools may fork, and their children live for as long as it does: whoever came next would wait for that."""
    workspace, state = fill(tmp_path / "workspace", {}), tmp_path / "state"
    with workspace_lock(workspace, state), hold_slot(state / "slots", 1, None, lambda: False):
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
    try:
        with workspace_lock(workspace, state, lambda: True), hold_slot(state / "slots", 1, None, lambda: True) as slot:
            assert slot == 0
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_copy_is_capped_and_follows_no_link(tmp_path: Path) -> None:
    """A workspace larger than the run's disk is refused, and a link stays a link."""
    workspace = fill(tmp_path / "workspace", {"a.txt": "x" * 100})
    (workspace / "link").symlink_to("/etc/passwd")
    make_copy(workspace, tmp_path / "copy", LIMITS)

    assert (tmp_path / "copy" / "link").is_symlink()
    assert compare_copy(workspace, tmp_path / "copy", limits=LIMITS) == Changes([], [])
    with pytest.raises(WorkspaceError, match="larger than"):
        make_copy(fill(tmp_path / "many", {f"f{n}": "" for n in range(30)}), tmp_path / "c2", Limits(inodes=16))


def test_an_intent_that_cannot_be_read_stops_the_next_run(tmp_path: Path) -> None:
    """A person looks: guessing what was half published would be worse."""
    workspace = fill(tmp_path / "workspace", {})
    publishing._Intent(workspace, tmp_path / "state").write({"staged": [], "folders": []})
    path = next((tmp_path / "state" / "intents").iterdir())
    assert json.loads(path.read_text()) == {"staged": [], "folders": []}
    path.write_text("{")

    with pytest.raises(WorkspaceError, match="look at the workspace"):
        recover(workspace, tmp_path / "state")
