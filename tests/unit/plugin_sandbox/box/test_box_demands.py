"""What a call or an operator demands and this host does not give: each is told in the entry, and nothing half-way is run."""

import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox import zygote
from plugin_sandbox.conversation import Stop
from plugin_sandbox.copies import remove_tree
from plugin_sandbox.doctor import CANARIES
from plugin_sandbox.host import Sandbox, state_folder
from plugin_sandbox.inner import namespaces
from plugin_sandbox.inner.syscall_table import NUMBERS
from plugin_sandbox.launcher import STANDARD_LACKS
from plugin_sandbox.model import Call, ResultEntry
from plugin_sandbox.settings import SandboxSettings
from plugin_sandbox.slots import hold_slot
from plugin_sandbox.workspace import workspace_lock
from tests.plugin_runs import make_call as make_call_of
from tests.plugin_runs import write_plugin
from tests.sandbox.ordinary import python_for_all

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives its plugins another user")
ROOT = Path(__file__).parents[4]
APPEND = "path.write_text('done')"
MakeCall = Callable[..., Call]
#: A host whose profile for system calls forbids namespaces, as those of containers do (all, or one kind alone); the rest is the command's.
CONTAINER = """
import ctypes, struct, sys
from plugin_sandbox.inner import syscalls
from plugin_sandbox.inner.seccomp import _Filter
code = struct.pack(
    "=" + "HBBI" * 6,
    *(0x20, 0, 0, 0), *(0x15, 0, 3, {number}), *(0x20, 0, 0, 16), *(0x45, 0, 1, {flags}),
    *(0x06, 0, 0, 0x50001), *(0x06, 0, 0, 0x7FFF0000),
)
syscalls.prctl(38, 1, 0, 0, 0)
syscalls.call("seccomp", 1, 0, ctypes.byref(_Filter(6, code)))
from plugin_sandbox.command import main
sys.exit(main(sys.argv[1:]))
"""


def run(settings: SandboxSettings, call: Call, **more: Any) -> ResultEntry:
    """Run a call and return its entry."""
    with contextlib.closing(Sandbox(settings, **more)) as sandbox:
        entry = sandbox.run_blocking(call).entry
    assert entry is not None
    assert (call.workspace / "data.txt").exists() is call.workspace.is_dir()
    return entry


def with_programs(call: Call, *programs: str) -> Call:
    """Let the plugin ask for programs, as at its registration."""
    manifest = call.plugin.manifest
    asked = manifest.isolation.model_copy(update={"programs": programs})
    plugin = call.plugin.model_copy(update={"manifest": manifest.model_copy(update={"isolation": asked})})
    return call.model_copy(update={"plugin": plugin})


@pytest.mark.parametrize(
    ("granted", "error"),
    [
        ({}, "isolation.programs: 'tool' is not granted; name it under `programs` in the settings"),
        (
            {"tool": "/nowhere/tool"},
            "isolation.programs: /nowhere/tool: is not there or cannot be executed; install it",
        ),
        ({"tool": "/etc/passwd"}, "isolation.programs: /etc/passwd: is not there or cannot be executed; install it"),
    ],
    ids=["taken back", "missing", "no program"],
)
def test_a_program_that_cannot_be_run_refuses_the_call(
    settings: SandboxSettings, make_call: MakeCall, granted: dict[str, str], error: str
) -> None:
    """A record may be older than the operator's file, and the file older than what is installed."""
    entry = run(settings.model_copy(update={"programs": granted}), with_programs(make_call(APPEND), "tool"))

    assert (entry.status, entry.error) == ("sandbox_unavailable", error)


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"workspace": Path("/nowhere")}, "sandbox_unavailable", "/nowhere: is not a directory; name the workspace of"),
        ({"variables": {"x": "y" * 2_000_000}}, "protocol_error", "request: 2000"),
        ({"variables": {"x": {1, 2}}}, "protocol_error", "request: the variables are no JSON"),
    ],
    ids=["no workspace", "too large", "no JSON"],
)
def test_a_call_that_cannot_be_made_is_told_as_an_entry(
    settings: SandboxSettings, make_call: MakeCall, change: dict[str, Any], status: str, error: str
) -> None:
    """Its maker reads an entry as of any other run; nothing was started for it."""
    entry = run(settings, make_call(APPEND).model_copy(update=change))

    assert (entry.status, (entry.error or "")[: len(error)]) == (status, error)


def test_a_state_folder_that_cannot_be_made_is_named(
    settings: SandboxSettings, make_call: MakeCall, tmp_path: Path
) -> None:
    """A disk that is full or mounted read-only ends no worker."""
    (tmp_path / "file").touch()

    entry = run(settings.model_copy(update={"state_dir": tmp_path / "file" / "state"}), make_call(APPEND))

    assert entry.status == "sandbox_unavailable"
    assert (entry.error or "").startswith(f"{tmp_path}/file/state"), entry
    assert "see that the host has room and rights for it" in (entry.error or "")


@pytest.mark.parametrize("what", ["slot", "workspace", "nothing"])
def test_a_cancel_ends_a_call_that_waits_for_its_turn_or_has_just_got_it(
    settings: SandboxSettings, make_call: MakeCall, tmp_path: Path, what: str
) -> None:
    """It is told as cancelled, and not as the shortage that it waited for."""
    call, state = make_call(APPEND), tmp_path / "state"
    busy: dict[str, contextlib.AbstractContextManager[object]] = {
        "slot": hold_slot(state / "slots", 1, None, lambda: False),
        "workspace": workspace_lock(call.workspace, state),
        "nothing": contextlib.nullcontext(),
    }
    with (
        contextlib.closing(Stop()) as halt,
        contextlib.closing(Sandbox(settings.model_copy(update={"slots": 1}))) as sandbox,
        busy[what],
    ):
        halt.set()
        entry = sandbox.run_blocking(call, halt).entry

    assert entry is not None
    assert (entry.status, entry.error) == ("cancelled", None)
    assert (call.workspace / "data.txt").read_text() == "initial\n"


def test_a_stop_that_comes_twice_or_too_late_is_no_error() -> None:
    """Whoever cancels cannot know how far the call is."""
    halt = Stop()
    halt.set()
    halt.set()
    halt.close()
    halt.close()
    halt.set()

    assert halt.is_set


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that any user may walk to."""
    made = Path(tempfile.mkdtemp(prefix="demands-"))
    made.chmod(0o755)
    yield made
    remove_tree(made)


@pytest.fixture
def standard(home: Path) -> SandboxSettings:
    """The standard tier as an operator permits it; a Python that all may read, which has loaded what plugins import."""
    return SandboxSettings(
        tier="standard",
        allow_degraded=STANDARD_LACKS,
        python=python_for_all(),
        preload=("json", "plugin_sandbox.api", "plugin_sandbox.attacks.inside"),
        state_dir=home / "state",
    )


def make_plain(home: Path, settings: SandboxSettings, isolation: str = "{}") -> Call:
    """Make a call of a plugin where all may read it."""
    write_plugin(home / "package", APPEND, isolation)
    (home / "workspace").mkdir()
    (home / "workspace" / "data.txt").write_text("initial\n")
    return make_call_of(home / "package", home / "workspace", settings)


@pytest.mark.parametrize("is_ordinary", [False, pytest.param(True, marks=as_root)], ids=["itself", "ordinary"])
def test_the_standard_tier_runs_what_it_can_and_tells_what_it_lacks(
    home: Path, standard: SandboxSettings, monkeypatch: pytest.MonkeyPatch, *, is_ordinary: bool
) -> None:
    """Permitted by name, and shown with every entry; under root and for an ordinary user's worker."""
    shutil.copytree(ROOT / "plugin_sandbox", home / "plugin_sandbox", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(zygote, "_HOME_OF_PACKAGE", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(home))  # found once a process, and this one's may be closed to others
    call = make_plain(home, standard)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if is_ordinary:
                for path in (home, *home.rglob("*")):
                    os.chown(path, 12_345, 12_345)
                os.setgroups([])
                os.setresgid(12_345, 12_345, 12_345)
                os.setresuid(12_345, 12_345, 12_345)
            os.write(writer, run(standard, call, force_tier="standard").model_dump_json().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        entry = ResultEntry.model_validate_json(file.read())
    os.waitpid(child, 0)

    assert (entry.status, entry.isolation.tier) == ("success", "standard"), entry
    assert entry.isolation.missing == STANDARD_LACKS
    assert (call.workspace / "data.txt").read_text() == "done"


def test_the_standard_tier_refuses_a_plugin_with_processes(home: Path, standard: SandboxSettings) -> None:
    """A tree that no namespace holds together has members that nobody finds again."""
    entry = run(standard, make_plain(home, standard, "{processes: 2}"), force_tier="standard")

    assert entry.status == "sandbox_unavailable"
    assert "asks for 2 processes, which nothing could end reliably" in (entry.error or "")


@as_root
def test_the_standard_tier_names_the_folder_that_its_user_cannot_enter(home: Path, standard: SandboxSettings) -> None:
    """Root's plugins run as somebody else, who has to reach what they are made of; a bare import error would tell nobody."""
    call = make_plain(home, standard)
    (home / "package").chmod(0o700)

    entry = run(standard, call, force_tier="standard")

    assert entry.status == "sandbox_unavailable"
    assert re.match(rf"{home}/package: uid \d+ cannot enter it", entry.error or ""), entry


@pytest.mark.parametrize(
    ("tier", "found"), [("standard", "standard"), ("strict", None)], ids=["standard", "strict demanded"]
)
def test_where_namespaces_are_forbidden_the_tier_is_what_the_operator_accepts(
    home: Path, standard: SandboxSettings, tier: str, found: str | None
) -> None:
    """As in a container with its usual profile: a step down is taken where it was permitted, and shown to stop the canaries."""
    raw = {
        **standard.model_dump(mode="json", include={"allow_degraded", "python", "preload", "state_dir"}),
        "tier": tier,
    }

    health = examine_without(home, raw, flags=0x7FFF_FFFF)

    assert health["tier"] == found, health
    assert health["canaries"] == (dict.fromkeys(CANARIES, "stopped") if found else {})
    assert found or "_namespace: " in health["error"]


@pytest.mark.parametrize(("tier", "found"), [("standard", "standard"), ("strict", None)])
def test_the_strict_tier_says_that_it_cannot_be_without_a_pid_namespace(
    home: Path, standard: SandboxSettings, tier: str, found: str | None
) -> None:
    """Permitted by name or not: its box would have no /proc, and the limits that are set by it would be blamed."""
    raw = {
        **standard.model_dump(mode="json", include={"python", "preload", "state_dir"}),
        "tier": tier,
        "allow_degraded": ["pid_namespace", *STANDARD_LACKS],
    }

    health = examine_without(home, raw, flags=namespaces.CLONE_NEWPID)

    assert health["tier"] == found, health
    assert found or re.search(
        "pid_namespace: .*; without it a strict box has no /proc, .*, or accept the standard tier: `tier: standard`",
        health["error"],
    )


def examine_without(home: Path, settings: dict[str, Any], *, flags: int) -> dict[str, Any]:
    """Return what doctor finds on a host that refuses unshare(2) with any of these flags."""
    (home / "sandbox.yaml").write_text(json.dumps({"sandbox": settings}))
    script = CONTAINER.format(number=NUMBERS[platform.machine()]["unshare"], flags=flags)

    done = subprocess.run(
        [sys.executable, "-c", script, "doctor", "-o", "json", "--config", str(home / "sandbox.yaml")],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout, done.stderr
    health: dict[str, Any] = json.loads(done.stdout)
    return health


@pytest.mark.parametrize(
    ("kept", "folder"),
    [({"XDG_STATE_HOME": "/srv/state"}, "/srv/state/baton/sandbox"), ({}, "/srv/home/.local/state/baton/sandbox")],
)
def test_an_ordinary_users_state_lies_where_users_keep_theirs(
    monkeypatch: pytest.MonkeyPatch, kept: dict[str, str], folder: str
) -> None:
    """Root's would be closed to it."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    for name, value in {"HOME": "/srv/home", **kept}.items():
        monkeypatch.setenv(name, value)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setresuid(12_345, 12_345, 12_345)
            os.write(writer, os.fsencode(state_folder(SandboxSettings())))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        told = file.read()
    os.waitpid(child, 0)

    assert told == folder
