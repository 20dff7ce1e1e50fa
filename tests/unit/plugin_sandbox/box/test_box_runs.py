"""A call from the front door to the published diff, in a real box."""

import asyncio
import os
import py_compile
import shutil
import threading
import time
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import psutil
import pytest

from plugin_sandbox.host import Sandbox
from plugin_sandbox.model import Call, Outcome, ResultEntry
from plugin_sandbox.settings import SandboxSettings
from plugin_sandbox.slots import name_place
from tests.plugin_runs import make_call as make_call_of

APPEND = """
with open(path, "a") as file:
    file.write("hello\\n")
"""
SLEEP = "signal.pause()"
SHOW = """
def see(path):
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        return error.strerror
ctx.log.info("seen", root=see("/"), etc=see("/etc"), sys=see("/sys"), dev=see("/dev"), fds=see("/proc/self/fd"),
             uid=os.getuid(), pid=os.getpid(), host=os.uname().nodename, env=dict(os.environ), cwd=os.getcwd(),
             processes=[name for name in see("/proc") if name.isdigit()])
"""


def run(sandbox: Sandbox, call: Call) -> ResultEntry:
    """Run a call and return its entry."""
    entry = sandbox.run_blocking(call).entry
    assert entry is not None
    return entry


#: Processes of the whole test run that are none of ours: servers of other tests.
OTHERS: set[int] = set()


@pytest.fixture(scope="module", autouse=True)
def remember_others() -> None:
    """Take down who was there before any sandbox of this module."""
    OTHERS.update(process.pid for process in psutil.Process().children(recursive=True))


def alive() -> list[psutil.Process]:
    """Every process that came of us, lives and has to do with a call, however deep."""
    every = psutil.Process().children(recursive=True)
    return [process for process in every if process.pid not in OTHERS and is_alive(process) and not is_idle(process)]


def is_idle(process: psutil.Process) -> bool:
    """Say whether it waits for a call yet to come: its name says so, to operators too."""
    try:
        return process.name() in {"plugin-zygote", "plugin-spare"}
    except psutil.NoSuchProcess:
        return True


def is_alive(process: psutil.Process) -> bool:
    """Say whether it runs, and is not merely uncollected."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_alone() -> bool:
    """Wait until nothing of a call is left; a monitor that has reported is on its way out."""
    deadline = time.monotonic() + 60
    while alive() and time.monotonic() < deadline:
        pass
    return not alive()


def test_a_plugin_runs_and_its_change_is_published(sandbox: Sandbox, make_call: Any) -> None:
    """The one thing that users want; all the rest keeps it safe."""
    call = make_call(APPEND)

    entry = run(sandbox, call)

    assert (entry.status, entry.files_affected, entry.isolation.tier) == ("success", ("data.txt",), "strict"), entry
    assert (call.workspace / "data.txt").read_text() == "initial\nhello\n"
    assert entry.isolation.peak_memory_mb > 1


def test_a_plugin_that_fails_publishes_nothing(sandbox: Sandbox, make_call: Any) -> None:
    """A workspace never holds half of a transformation."""
    call = make_call(APPEND + 'raise PluginError("no")')

    entry = run(sandbox, call)

    assert (entry.status, entry.error) == ("failed", "no")
    assert (call.workspace / "data.txt").read_text() == "initial\n"


def test_what_a_plugin_sees_of_the_host_is_what_it_needs(sandbox: Sandbox, make_call: Any) -> None:
    """No /etc, no /sys, three descriptors and two of ours, one process, a name that says nothing."""
    found = sandbox.run_blocking(make_call(SHOW)).logs[0].context

    assert found["etc"] == found["sys"] == "No such file or directory"
    assert set(found["dev"]) == {"null", "zero", "urandom", "random"}
    assert set(found["fds"]) <= {"0", "1", "2", "3", "4"}
    assert (found["pid"], found["processes"], found["host"]) == (1, ["1"], "sandbox")
    assert found["uid"] not in {0, os.getuid()}
    assert set(found["env"]) == {"PATH", "LANG", "HOME", "TMPDIR"}


def test_a_sleeper_is_ended_at_its_time(sandbox: Sandbox, make_call: Any) -> None:
    """Wall time counts from the start of the plugin, whatever it does with it."""
    entry = run(sandbox, make_call(SLEEP, timeout_seconds=1))

    assert entry.status == "timeout"
    assert wait_alone()


def test_stop_ends_a_call_as_cancelled(sandbox: Sandbox, make_call: Any) -> None:
    """A person's cancel takes effect now, not at the plugin's leisure."""
    call = make_call(APPEND + SLEEP)

    async def cancel() -> ResultEntry | None:
        stop = asyncio.Event()
        work = asyncio.create_task(sandbox.run(call, stop=stop))
        await _wait_running()
        stop.set()
        return (await work).entry

    entry = asyncio.run(cancel())

    assert entry is not None
    assert entry.status == "cancelled"
    assert (call.workspace / "data.txt").read_text() == "initial\n"


def test_a_cancelled_task_leaves_no_process(sandbox: Sandbox, make_call: Any) -> None:
    """The worker that drains must not leave a plugin behind."""

    async def cancel() -> None:
        work = asyncio.create_task(sandbox.run(make_call(SLEEP)))
        await _wait_running()
        work.cancel()
        await work

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())

    assert wait_alone()


async def _wait_running() -> None:
    """Wait until monitor and plugin are there."""
    async with asyncio.timeout(60):
        while len(await asyncio.to_thread(alive)) < 2:
            pass


@pytest.mark.parametrize("victim", ["zygote", "monitor"])
def test_no_plugin_outlives_what_guards_it(sandbox: Sandbox, make_call: Any, victim: str) -> None:
    """Whichever dies first: nothing of the plugin lives on, and the next call is served."""
    call = make_call(APPEND + "[os.fork() or (os.setsid(), signal.pause()) for _ in range(3)]\n" + SLEEP, processes=4)
    found: list[Outcome] = []
    work = threading.Thread(target=lambda: found.append(sandbox.run_blocking(call)))
    work.start()
    deadline = time.monotonic() + 60
    while len(tree := alive()) < 5 and time.monotonic() < deadline:
        pass
    monitor = next(process for process in tree if process.name() == "plugin-monitor")
    zygote = psutil.Process(monitor.ppid())

    (zygote if victim == "zygote" else monitor).kill()
    killed = time.monotonic()
    while any(map(is_alive, tree)) and time.monotonic() < killed + 60:
        pass
    left = [process for process in tree if is_alive(process)]
    work.join()

    assert left == []  # how soon, the sandbox's own suite measures
    assert found[0].entry is not None
    assert found[0].entry.status == "sandbox_unavailable"
    assert (call.workspace / "data.txt").read_text() == "initial\n"
    assert run(sandbox, make_call(APPEND)).status == "success"


def test_a_cold_start_runs_the_same_box(settings: SandboxSettings, make_call: Any) -> None:
    """Without a zygote: a fresh interpreter for each call, and nothing left of it."""
    sandbox = Sandbox(settings.model_copy(update={"warm": False}))

    entry = run(sandbox, make_call(APPEND))

    assert (entry.status, entry.isolation.tier) == ("success", "strict"), entry
    sandbox.close()
    assert not alive()


def test_a_package_that_changed_since_it_was_accepted_is_not_run(sandbox: Sandbox, make_call: Any) -> None:
    """What an operator looked at is what runs."""
    call = make_call(APPEND)
    (call.plugin.path / "__init__.py").write_text("raise SystemExit")

    entry = run(sandbox, call)

    assert entry.status == "sandbox_unavailable"
    assert "changed since it was accepted" in (entry.error or "")


def test_a_package_that_is_none_any_more_is_an_entry(sandbox: Sandbox, make_call: Any) -> None:
    """A link among its files is no exception in whoever calls."""
    call = make_call("print(1)")
    (call.plugin.path / "link").symlink_to("/etc/passwd")

    entry = run(sandbox, call)

    assert entry.status == "sandbox_unavailable"
    assert "changed since it was accepted (link: neither file nor folder" in (entry.error or "")


def test_the_kernel_ends_a_plugin_before_others_where_memory_is_spent(sandbox: Sandbox, make_call: Any) -> None:
    """And not the worker, nor the server that holds every session."""
    call = make_call('path.write_text(open("/proc/self/oom_score_adj").read())')

    run(sandbox, call)

    assert (call.workspace / "data.txt").read_text() == "1000\n"


def test_the_standard_tier_has_to_be_permitted_with_what_it_lacks(settings: SandboxSettings, make_call: Any) -> None:
    """Nothing degrades by itself."""
    sandbox = Sandbox(settings, force_tier="standard")

    entry = run(sandbox, make_call(APPEND))

    assert (entry.status, entry.isolation.tier) == ("sandbox_unavailable", None)
    assert "disk_quota" in (entry.error or "")
    sandbox.close()


def test_without_an_overlay_a_private_copy_is_compared(settings: SandboxSettings, make_call: Any) -> None:
    """A kernel without overlays in user namespaces still publishes a diff, and nothing in place."""
    sandbox = Sandbox(settings, off=("overlay", "disk_quota"))
    good, bad = make_call(APPEND), make_call(APPEND + 'raise PluginError("no")')

    assert run(sandbox, good).status == "success"
    assert run(sandbox, bad).status == "failed"
    assert (good.workspace / "data.txt").read_text() == "initial\nhello\n"
    assert (bad.workspace / "data.txt").read_text() == "initial\n"
    sandbox.close()


def test_many_calls_at_once_are_served(sandbox: Sandbox, make_call: Any) -> None:
    """More calls than slots: they wait for each other, none is lost or mixed up."""
    calls = [make_call(APPEND) for _ in range(24)]

    async def run_all() -> list[Outcome]:
        return await asyncio.gather(*(sandbox.run(call) for call in calls))

    outcomes = asyncio.run(run_all())

    assert {found.entry.status for found in outcomes if found.entry} == {"success"}
    assert {(call.workspace / "data.txt").read_text() for call in calls} == {"initial\nhello\n"}


def test_an_unknown_layer_cannot_be_switched_off(settings: SandboxSettings) -> None:
    """A sharpness run that misspells its layer would prove nothing."""
    with pytest.raises(ValueError, match="unknown layers"):
        Sandbox(settings, off=("landlok",))


def test_nothing_is_left_behind(sandbox: Sandbox, settings: SandboxSettings, make_call: Any) -> None:
    """No process, no control group, no descriptor, no mount."""
    run(sandbox, make_call(APPEND))
    before = len(os.listdir("/proc/self/fd"))

    run(sandbox, make_call(SLEEP, timeout_seconds=1))
    run(sandbox, make_call(APPEND))

    assert len(os.listdir("/proc/self/fd")) == before
    assert wait_alone()
    assert settings.state_dir is not None
    place = name_place(settings.state_dir / "slots", 0).rpartition("-")[
        0
    ]  # other runs on this machine have groups, too
    assert not list(Path("/sys/fs/cgroup").glob(f"**/baton-{place}-*"))
    assert "overlay" not in Path("/proc/self/mounts").read_text().replace("overlay / ", "")


def test_a_granted_program_is_found_by_its_name_and_no_other_runs(
    settings: SandboxSettings, make_call: Any, tmp_path: Path
) -> None:
    """A plugin cannot know where an operator's programs lie."""
    program = tmp_path / "bin" / "told"
    program.parent.mkdir()
    shutil.copy2(shutil.which("true") or "/bin/true", program)
    call = make_call(
        """
        import subprocess
        subprocess.run(["told"], check=True)
        try:
            subprocess.run(["ls"], check=True)
        except (FileNotFoundError, PermissionError):
            path.write_text(os.environ["PATH"])
        """,
        processes=1,
    )
    manifest = call.plugin.manifest
    asked = manifest.isolation.model_copy(update={"programs": ("told",)})
    plugin = call.plugin.model_copy(update={"manifest": manifest.model_copy(update={"isolation": asked})})
    box = Sandbox(settings.model_copy(update={"programs": {"told": str(program)}}))
    try:
        made = box.run_blocking(call.model_copy(update={"plugin": plugin}))
        entry = made.entry
    finally:
        box.close()

    assert entry is not None
    assert entry.status == "success", made.logs
    assert (call.workspace / "data.txt").read_text() == f"/usr/bin:/bin:{program.parent}"


@pytest.mark.parametrize("module", ["__init__", "parts"])
def test_bytecode_beside_a_plugin_is_not_run_in_its_place(sandbox: Sandbox, make_call: Any, module: str) -> None:
    """A package's digest is that of its sources: whoever writes into `__pycache__` would run what nobody accepted."""
    call = make_call("from . import parts; ctx.log.info(parts.WHO, own=OWN)")
    package = call.plugin.path
    (package / "parts.py").write_text('WHO = "source"\n')
    (package / "__init__.py").write_text((package / "__init__.py").read_text() + '\nOWN = "source"\n')
    call = make_call_of(package, call.workspace, SandboxSettings())
    source = package / f"{module}.py"
    forged = package.parent / "forged.py"
    forged.write_text(source.read_text().replace('"source"', '"forged"'))
    shape = source.stat()
    os.utime(forged, ns=(shape.st_atime_ns, shape.st_mtime_ns))
    py_compile.compile(str(forged), cfile=cache_from_source(str(source)), doraise=True)

    record = sandbox.run_blocking(call).logs[0]

    assert (record.message, record.context) == ("source", {"own": "source"})
