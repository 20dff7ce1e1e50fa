"""Control groups that are not there, cannot be made, or cannot be joined: told, or refused; never passed over."""

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox import launcher
from plugin_sandbox.host import Sandbox
from plugin_sandbox.inner import cgroups
from plugin_sandbox.inner.box import LayerFailed
from plugin_sandbox.model import Call, ResultEntry
from plugin_sandbox.settings import SandboxSettings

GROUPS = ("cpu_cgroup", "memory_cgroup", "pids_cgroup")


def run(sandbox: Sandbox, call: Call) -> ResultEntry:
    """Run a call and return its entry."""
    with contextlib.closing(sandbox):
        entry = sandbox.run_blocking(call).entry
    assert entry is not None
    return entry


@pytest.fixture
def deaf_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group that is made, and whose list of processes takes none."""

    def create(own: Mapping[str, str], call_id: str, limits: object) -> dict[str, str]:
        if "pids" not in own:
            return {}
        folder = tmp_path / call_id
        folder.mkdir()
        (folder / "cgroup.procs").symlink_to("/dev/full")
        return {"pids": str(folder)}

    def remove(folders: Mapping[str, str]) -> list[str]:
        for path in folders.values():
            shutil.rmtree(path)
        return []

    monkeypatch.setattr(cgroups, "find_own", lambda: {"pids": str(tmp_path)})
    monkeypatch.setattr(cgroups, "create", create)
    monkeypatch.setattr(cgroups, "remove", remove)


@pytest.mark.usefixtures("deaf_group")
def test_a_group_that_cannot_be_joined_refuses_the_call(settings: SandboxSettings, make_call: Any) -> None:
    """It was made to bind, and would not: nothing of the plugin has run."""
    entry = run(Sandbox(settings), make_call("print(1)", processes=1))

    assert entry.status == "sandbox_unavailable"
    assert (entry.error or "").startswith("pids_cgroup: the call's group cannot be joined"), entry


@pytest.mark.usefixtures("deaf_group")
def test_by_permission_the_watchdog_counts_in_its_place(settings: SandboxSettings, make_call: Any) -> None:
    """The operator named it, and the entry tells it."""
    permitted = settings.model_copy(update={"allow_degraded": ("pids_cgroup",)})

    entry = run(Sandbox(permitted), make_call("print(1)", processes=1))

    assert entry.status == "skipped", entry
    assert "pids_cgroup" in entry.isolation.missing


@pytest.mark.parametrize(("processes", "missing"), [(1, GROUPS), (0, ())])
def test_what_the_watchdog_does_for_groups_is_told(
    settings: SandboxSettings, make_call: Any, monkeypatch: pytest.MonkeyPatch, processes: int, missing: tuple[str, ...]
) -> None:
    """An ordinary user's worker has no groups to give; one process alone needs none."""
    monkeypatch.setattr(cgroups, "find_own", dict)
    sandbox = Sandbox(settings)

    entry = run(sandbox, make_call("print(1)", processes=processes))

    assert (entry.status, entry.isolation.missing) == ("skipped", missing)
    assert {sandbox.layers[layer] for layer in GROUPS} == ({launcher._NO_GROUP} if processes else {"off"})


def test_without_groups_and_watchdog_nothing_counts_and_nothing_runs(
    settings: SandboxSettings, make_call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tree of processes that nobody counts is no box."""
    monkeypatch.setattr(cgroups, "find_own", dict)

    entry = run(Sandbox(settings, off=("watchdog",)), make_call("print(1)", processes=1))

    assert entry.status == "sandbox_unavailable"
    assert "and the watchdog is off" in (entry.error or "")


def test_what_was_left_out_by_name_is_not_asked_for(
    settings: SandboxSettings, make_call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attack suite shows by such boxes what a layer is good for: they have to be built."""
    monkeypatch.setattr(cgroups, "find_own", dict)

    entry = run(Sandbox(settings, off=("watchdog", *GROUPS)), make_call("print(1)", processes=1))

    assert (entry.status, entry.isolation.missing) == ("skipped", ())


@pytest.mark.parametrize("off", [(), ("watchdog",)])
def test_a_group_that_cannot_be_made_is_told_or_refused(
    settings: SandboxSettings, make_call: Any, monkeypatch: pytest.MonkeyPatch, off: tuple[str, ...]
) -> None:
    """The watchdog stands in for it; without the watchdog nothing does."""

    def create(own: Mapping[str, str], call_id: str, limits: object) -> dict[str, str]:
        if "memory" in own:
            raise LayerFailed("memory_cgroup", "memory.max: refused")
        return {}

    monkeypatch.setattr(cgroups, "find_own", lambda: dict.fromkeys(("memory", "pids", "cpu"), "/nowhere"))
    monkeypatch.setattr(cgroups, "create", create)
    sandbox = Sandbox(settings, off=off)

    entry = run(sandbox, make_call("print(1)", processes=1))

    if off:
        assert (entry.status, (entry.error or "")[:34]) == ("sandbox_unavailable", "memory_cgroup: memory.max: refused")
    else:
        assert (entry.status, sandbox.layers["memory_cgroup"]) == ("skipped", "memory.max: refused")
        assert entry.isolation.missing == ("memory_cgroup",)


@pytest.mark.parametrize("processes", [0, 1])
def test_the_groups_above_its_own_are_out_of_sight(settings: SandboxSettings, make_call: Any, processes: int) -> None:
    """Its group is where what it sees begins: the worker's place among the host's services is nothing to a plugin.

    It begins there because it is joined from outside: who opened its list of processes within such a namespace may not join it,
    where version 2 is mounted as systemd does (ENOENT).
    """
    call = make_call('path.write_text(open("/proc/self/cgroup").read())', processes=processes)

    entry = run(Sandbox(settings), call)

    lines = (call.workspace / "data.txt").read_text().splitlines()
    assert entry.status == "success", entry
    assert {line.split(":", 2)[2] for line in lines} == {"/"}
