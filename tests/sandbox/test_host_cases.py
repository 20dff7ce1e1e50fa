"""What goes wrong around a run, on the host's side: full disks, odd mounts, crowds, uids in use, a cancel at the worst moment."""

import ast
import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox import slots, workspace
from plugin_sandbox.conversation import Stop
from plugin_sandbox.host import Sandbox
from plugin_sandbox.inner import cgroups
from plugin_sandbox.model import Outcome
from plugin_sandbox.settings import SandboxSettings
from tests.plugin_runs import make_call, write_plugin

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, and run as others")
APPEND = "path.write_text(path.read_text() + 'hello')"


@pytest.fixture
def settings(tmp_path: Path) -> SandboxSettings:
    """A state folder of its own."""
    return SandboxSettings(state_dir=tmp_path / "state", slots=8)


@pytest.fixture
def sandbox(settings: SandboxSettings) -> Iterator[Sandbox]:
    """A sandbox of this host."""
    made = Sandbox(settings)
    yield made
    made.close()


def make_package(home: Path, body: str, isolation: str = "{}") -> Path:
    """Make a plugin whose `transform` has this body."""
    package = home / "package"
    write_plugin(package, body, isolation)
    return package


def make_workspace(home: Path, name: str = "workspace") -> Path:
    """Make a workspace of one file."""
    folder = home / name
    folder.mkdir()
    (folder / "data.txt").write_text("initial ")
    return folder


def cancel_before(monkeypatch: pytest.MonkeyPatch, part: str) -> Stop:
    """Return what is set when the host comes to this part of a run."""
    halt, real = Stop(), getattr(workspace, part)

    def cancelled(*args: Any, **kwargs: Any) -> Any:
        halt.set()
        return real(*args, **kwargs)

    monkeypatch.setattr(workspace, part, cancelled)
    return halt


@pytest.mark.slow
def test_two_hundred_calls_at_once_are_all_served(sandbox: Sandbox, settings: SandboxSettings, tmp_path: Path) -> None:
    """Far more than slots: each has its own view, none is lost, none sees another's."""
    package = make_package(tmp_path, APPEND)
    calls = [make_call(package, make_workspace(tmp_path, f"w{number}"), settings) for number in range(200)]

    async def run_all() -> list[Outcome]:
        return await asyncio.gather(*(sandbox.run(call) for call in calls))

    found = asyncio.run(run_all())

    assert {one.entry.status for one in found if one.entry is not None} == {"success"}
    assert {(call.workspace / "data.txt").read_text() for call in calls} == {"initial hello"}


def test_two_runs_on_one_workspace_lose_nothing(sandbox: Sandbox, settings: SandboxSettings, tmp_path: Path) -> None:
    """They serialise: the second sees what the first has published."""
    call = make_call(make_package(tmp_path, APPEND), make_workspace(tmp_path), settings)

    async def run_all() -> None:
        await asyncio.gather(*(sandbox.run(call) for _ in range(5)))

    asyncio.run(run_all())

    assert (call.workspace / "data.txt").read_text() == "initial " + "hello" * 5


def test_a_package_that_hangs_when_it_is_imported_is_ended(
    sandbox: Sandbox, settings: SandboxSettings, tmp_path: Path
) -> None:
    """The clock runs from the start, not from the first line of a method."""
    package = make_package(tmp_path, APPEND, "{timeout_seconds: 1}")
    (package / "__init__.py").write_text("import signal\nwhile True: signal.pause()\n")

    entry = sandbox.run_blocking(make_call(package, make_workspace(tmp_path), settings)).entry

    assert entry is not None
    assert entry.status == "timeout"


def test_modules_of_a_package_shadow_none_of_the_interpreters(
    sandbox: Sandbox, settings: SandboxSettings, tmp_path: Path
) -> None:
    """Neither for itself, nor for the runner that imports late, nor for the next plugin."""
    package = make_package(tmp_path, "import json, traceback; " + APPEND)
    for name in ("sitecustomize.py", "json.py", "traceback.py", "pydantic.py"):
        (package / name).write_text("raise SystemExit(9)")

    entry = sandbox.run_blocking(make_call(package, make_workspace(tmp_path), settings)).entry

    assert entry is not None
    assert entry.status == "success"


def test_a_cancel_while_it_is_published_leaves_all_or_nothing(
    sandbox: Sandbox, settings: SandboxSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too late is too late: what is told and what is there are one."""
    halt = cancel_before(monkeypatch, "publish")
    call = make_call(make_package(tmp_path, APPEND), make_workspace(tmp_path), settings)

    with contextlib.closing(halt):
        entry = sandbox.run_blocking(call, halt).entry

    assert entry is not None
    is_told = entry.status == "success" and entry.files_affected == ("data.txt",)
    assert is_told is ((call.workspace / "data.txt").read_text() == "initial hello")


def test_a_cancel_before_it_is_published_leaves_nothing(
    sandbox: Sandbox, settings: SandboxSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person who cancels does not find the change afterwards."""
    halt = cancel_before(monkeypatch, "find_violations")
    call = make_call(make_package(tmp_path, APPEND), make_workspace(tmp_path), settings)

    with contextlib.closing(halt):
        entry = sandbox.run_blocking(call, halt).entry

    assert entry is not None
    assert (entry.status, entry.files_affected) == ("cancelled", ())
    assert (call.workspace / "data.txt").read_text() == "initial "


def run_mounted(mounts: str, package: Path, folder: Path, home: Path, *arguments: str) -> dict[str, Any]:
    """Run a plugin by the command, in a mount namespace of its own with these mounts; return the entry."""
    (home / "tmp").mkdir(exist_ok=True)
    done = subprocess.run(
        [
            *("unshare", "--mount", "--propagation", "private", "/bin/sh", "-ec", f'{mounts}\n"$@"', "sh"),
            *(sys.executable, "-m", "plugin_sandbox", "run", str(package), "--workspace", str(folder), "-o", "json"),
            *("--file", "data.txt", *arguments),
        ],
        env={**os.environ, "TMPDIR": str(home / "tmp"), "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


STANDARD = ("--tier", "standard", "--allow-degraded", "disk_quota", "--allow-degraded", "uts_namespace")
FULL = "mount -t tmpfs -o size=64k tmpfs {home}/tmp; head -c 65536 /dev/zero > {home}/tmp/fill || true"


@as_root
@pytest.mark.parametrize(
    ("mounts", "arguments"),
    [("mount -t tmpfs -o noexec,nosuid,nodev tmpfs {home}/tmp", ()), (FULL, ()), (FULL, STANDARD)],
    ids=["noexec", "full", "full-standard"],
)
def test_an_odd_folder_for_temporary_files(tmp_path: Path, mounts: str, arguments: tuple[str, ...]) -> None:
    """A box needs no room outside itself; a private copy goes to the next place that has some."""
    package, folder = make_package(tmp_path, APPEND), make_workspace(tmp_path)
    tmp_path.chmod(0o755)

    entry = run_mounted(mounts.format(home=tmp_path), package, folder, tmp_path, *arguments)

    assert entry["status"] == "success", entry
    assert (folder / "data.txt").read_text() == "initial hello"


@as_root
def test_a_disk_that_is_full_while_it_is_published_changes_nothing(tmp_path: Path) -> None:
    """Half of a change is none; and nothing of the attempt takes up the room that is left."""
    body = "(path.parent / 'small').write_text('x'); (path.parent / 'zbig').write_bytes(bytes(3 << 20)); path.write_text('new')"
    package, folder = make_package(tmp_path, body), make_workspace(tmp_path)
    mounts = (
        f"mount -t tmpfs -o size=1m tmpfs {folder}; printf 'initial ' > {folder}/data.txt; "
        f"trap 'ls -A {folder} > {tmp_path}/listed; cat {folder}/data.txt > {tmp_path}/kept' EXIT"
    )

    entry = run_mounted(mounts, package, folder, tmp_path)

    assert entry["status"] == "sandbox_unavailable"
    assert "not published" in entry["error"] and "No space left" in entry["error"]
    assert (tmp_path / "listed").read_text().split() == ["data.txt"]
    assert (tmp_path / "kept").read_text() == "initial "


@as_root
def test_a_slot_whose_uid_is_in_use_is_not_given_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a lost run left alive would be of the same user as the next one."""
    base = 70_000 + os.getpid() % 10_000
    monkeypatch.setattr(slots, "_CLEAR_SECONDS", 0.05)
    (tmp_path / "slot-0").write_text("busy")
    stray = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, user=base, group=base, extra_groups=[])

    with (
        pytest.raises(slots.SlotTaken, match="processes of an earlier run"),
        slots.hold_slot(tmp_path, 1, base, lambda: False),
    ):
        pass

    stray.communicate()
    with slots.hold_slot(tmp_path, 1, base, lambda: False) as number:
        assert number == 0


@as_root
def test_a_group_that_is_still_in_use_is_told_and_removed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """EBUSY: the kernel keeps a group as long as a process is in it."""
    own = cgroups.find_own()
    if "pids" not in own:
        pytest.skip("no control group to make one below")
    folder = Path(own["pids"]) / f"baton-busy-{os.getpid()}"
    folder.mkdir()
    holder = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    (folder / "cgroup.procs").write_text(str(holder.pid))

    with monkeypatch.context() as patch:
        patch.setattr(cgroups, "_REMOVE_SECONDS", 0.05)
        left = cgroups.remove({"pids": str(folder)})

    holder.communicate()
    monkeypatch.setattr(cgroups, "_REMOVE_SECONDS", 60.0)
    assert left in ([str(folder)], [])  # version 2 ends the process, and the group with it
    assert cgroups.remove({"pids": str(folder)}) == []


def test_no_deadline_hangs_on_a_clock_that_can_be_stepped() -> None:
    """A clock that is set back would give a plugin hours; only the age of what is kept may be read off it."""
    clocks = {"time.time", "time.time_ns", "datetime.now"}

    found = [
        str(path)
        for path in sorted(Path("plugin_sandbox").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in clocks
    ]

    assert found == ["plugin_sandbox/receipts.py"]
