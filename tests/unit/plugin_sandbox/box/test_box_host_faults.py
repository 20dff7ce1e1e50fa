"""What the host's own processes may run into - stopped, killed, never started - and what a worker and a person are told of it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from plugin_sandbox import conversation, launcher, zygote
from plugin_sandbox.host import Sandbox
from plugin_sandbox.inner.box import REPORT_BYTES
from plugin_sandbox.model import Outcome, ResultEntry
from plugin_sandbox.settings import SandboxSettings
from plugin_sandbox.zygote import Zygote, ZygoteLost

APPEND = "path.write_text('done')"


def entry_of(outcome: Outcome) -> ResultEntry:
    """Return the entry of an outcome that has one."""
    assert outcome.entry is not None
    return outcome.entry


def find(name: str) -> list[psutil.Process]:
    """The processes of ours with this name, by which operators know them too."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.name() == name and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def wait_process(name: str, count: int = 1) -> list[psutil.Process]:
    """Wait until there are as many of them."""
    deadline = time.monotonic() + 60
    while len(found := find(name)) != count:
        assert time.monotonic() < deadline, f"{name}: {found}"
    return found


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_monitor_that_was_stopped_does_not_hold_up_its_worker(
    settings: SandboxSettings, make_call: Any, monkeypatch: pytest.MonkeyPatch, *, warm: bool
) -> None:
    """Nobody keeps the time any more but the host: the call ends as out of time, publishes nothing, and its tree goes."""
    monkeypatch.setattr(conversation, "_END_SECONDS", 0.2)
    monkeypatch.setattr(launcher, "_END_SECONDS", 0.2)
    sandbox = Sandbox(settings.model_copy(update={"warm": warm}))
    call = make_call(APPEND + "\nos.fork()\nsignal.pause()", timeout_seconds=8, processes=1)
    found: list[Outcome] = []
    work = threading.Thread(target=lambda: found.append(sandbox.run_blocking(call)))
    work.start()
    plugin = wait_process("plugin", count=2)
    (monitor,) = (one for one in map(psutil.Process, {one.ppid() for one in plugin}) if one not in plugin)

    monitor.suspend()
    work.join(60)

    entry = entry_of(found[0])
    assert (entry.status, entry.limit, entry.files_affected) == ("timeout", "timeout_seconds", ())
    assert (call.workspace / "data.txt").read_text() == "initial\n"
    if warm:
        monitor.resume()  # it finds that nobody listens; a cold one was the worker's own child, and is gone
    wait_process("plugin", 0)
    assert entry_of(sandbox.run_blocking(make_call(APPEND))).status == "success"
    sandbox.close()


@pytest.mark.parametrize("is_cancelled", [False, True], ids=["timeout", "cancelled"])
def test_a_call_whose_box_is_never_built_ends_as_what_ended_it(
    sandbox: Sandbox, make_call: Any, monkeypatch: pytest.MonkeyPatch, *, is_cancelled: bool
) -> None:
    """A zygote that hangs is no reason to wait, and a cancel is told as one: there is nothing of the call to be read."""
    monkeypatch.setattr(conversation, "_BUILD_SECONDS", 60.0 if is_cancelled else 0.1)
    monkeypatch.setattr(conversation, "_END_SECONDS", 0.1)
    sandbox.start()
    (stuck,) = wait_process("plugin-zygote")
    stuck.suspend()
    call, found = make_call(APPEND, timeout_seconds=0.1), list[Outcome]()
    with contextlib.closing(conversation.Stop()) as halt:
        real = Zygote.send

        def send_and_cancel(self: Zygote, message: bytes, fds: list[int]) -> None:
            real(self, message, fds)
            if is_cancelled:
                halt.set()

        with monkeypatch.context() as patch:
            patch.setattr(Zygote, "send", send_and_cancel)
            found.append(sandbox.run_blocking(call, halt))
    stuck.resume()

    entry = entry_of(found[0])
    assert (entry.status, entry.error) == (("cancelled", None) if is_cancelled else ("timeout", "timeout"))
    assert (call.workspace / "data.txt").read_text() == "initial\n"
    assert entry_of(sandbox.run_blocking(make_call(APPEND))).status == "success"


@pytest.mark.parametrize(("deaths", "status"), [(1, "success"), (2, "sandbox_unavailable")])
def test_a_call_that_a_dying_zygote_held_is_handed_to_one_other(
    sandbox: Sandbox, make_call: Any, monkeypatch: pytest.MonkeyPatch, deaths: int, status: str
) -> None:
    """Nothing of it has run: nobody has to ask again, unless the next one dies of the same."""
    real, left = Zygote.send, [None] * deaths

    def send_and_kill(self: Zygote, message: bytes, fds: list[int]) -> None:
        if not left:
            real(self, message, fds)
            return
        left.pop()
        self.close()
        self.start()
        process = self._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)  # it has the call, and does nothing about it
        real(self, message, fds)
        process.kill()

    monkeypatch.setattr(Zygote, "send", send_and_kill)

    entry = entry_of(sandbox.run_blocking(make_call(APPEND)))

    assert (entry.status, left) == (status, [])
    assert ("ended twice before a box was built (no word)" in (entry.error or "")) is (deaths == 2)


def test_a_call_whose_monitor_is_lost_once_the_plugin_may_run_is_never_handed_to_another(
    sandbox: Sandbox, make_call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin goes on before the host can know of what it was built: done again, what it does outside were done twice."""
    real, heard = Zygote.send, list[bytes]()

    def send_and_lose(self: Zygote, message: bytes, fds: list[int]) -> None:
        ours, monitors = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, socket.socket(fileno=os.dup(fds[-1])) as host:
            with monitors:
                real(self, message, [*fds[:-1], monitors.fileno()])
            ours.settimeout(60)
            heard.append(ours.recv(REPORT_BYTES))
            host.send(heard[-1])

    monkeypatch.setattr(Zygote, "send", send_and_lose)

    entry = entry_of(sandbox.run_blocking(make_call(APPEND)))

    assert heard == [b'{"event": "begun"}']
    assert entry.status == "sandbox_unavailable"
    assert "it went away without a word, so what happened is unknown; nothing was published" in (entry.error or "")


@pytest.mark.parametrize("is_quick", [False, True], ids=["with the call", "before the call"])
def test_an_interpreter_that_ends_at_once_is_told_with_its_last_words(
    settings: SandboxSettings, make_call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_quick: bool
) -> None:
    """An operator reads in the entry what the interpreter has said; there is no log of its own to look for."""
    broken = tmp_path / "python"
    broken.write_text(
        f'#!/bin/sh\n[ $# -gt 3 ] && {{ echo "libssl is missing" >&2; exit 1; }}\nexec {sys.executable} "$@"\n'
    )
    broken.chmod(0o755)
    real = zygote.launch

    def launch_and_wait(*arguments: Any) -> Any:
        process, inbox = real(*arguments)
        process.wait(60)
        return process, inbox

    if is_quick:
        monkeypatch.setattr(zygote, "launch", launch_and_wait)
    sandbox = Sandbox(settings.model_copy(update={"python": str(broken)}))

    entry = entry_of(sandbox.run_blocking(make_call(APPEND)))

    assert entry.status == "sandbox_unavailable"
    assert entry.error == f"{broken}: ended twice before a box was built (libssl is missing); see that it runs here"
    sandbox.close()


def test_an_interpreter_that_is_not_there_is_told_when_a_worker_starts(settings: SandboxSettings) -> None:
    """At the start, where somebody looks; no descriptor stays behind."""
    sandbox = Sandbox(settings.model_copy(update={"python": "/nowhere/python"}))
    before = len(os.listdir("/proc/self/fd"))

    with pytest.raises(ZygoteLost, match=r"/nowhere/python: .*; name a Python 3\.11 or later as `python`"):
        sandbox.start()

    assert len(os.listdir("/proc/self/fd")) == before + 1  # its log's
    sandbox.close()


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_worker_can_start_ahead_of_its_calls_and_ends_what_it_started(
    settings: SandboxSettings, make_call: Any, *, warm: bool
) -> None:
    """Once, however often it is said; where calls start cold, there is nothing to start."""

    async def work() -> tuple[list[psutil.Process], Outcome]:
        sandbox = Sandbox(settings.model_copy(update={"warm": warm}))
        sandbox.start()
        sandbox.start()
        started = wait_process("plugin-zygote", int(warm))
        outcome = await sandbox.run(make_call(APPEND))
        await sandbox.aclose()
        return started, outcome

    started, outcome = asyncio.run(work())

    assert (len(started), entry_of(outcome).status) == (int(warm), "success")
    assert wait_process("plugin-zygote", 0) == []


@pytest.mark.parametrize("is_killed", [False, True], ids=["shared", "killed"])
def test_forked_workers_share_the_zygote_that_was_started_for_them(
    sandbox: Sandbox, make_call: Any, *, is_killed: bool
) -> None:
    """A pool pays for one; a worker that finds it gone starts one of its own, and waits for nobody else's child."""
    call = make_call(APPEND)
    sandbox.start()
    (shared,) = wait_process("plugin-zygote")
    if is_killed:
        shared.kill()
        shared.wait(60)
    worker = os.fork()
    if worker == 0:
        code = 1
        try:
            is_done = entry_of(sandbox.run_blocking(call)).status == "success"
            own = [one for one in psutil.Process().children() if one.name() == "plugin-zygote"]
            sandbox.close()
            code = 0 if is_done and len(own) == int(is_killed) else 2
        finally:
            os._exit(code)

    assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 0
    assert (call.workspace / "data.txt").read_text() == "done"
    assert entry_of(sandbox.run_blocking(make_call(APPEND))).status == "success"
    assert (find("plugin-zygote") == [shared]) is not is_killed


def test_a_zygote_that_does_not_end_is_killed_at_the_close(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that drains waits for it some seconds, and not for ever."""
    monkeypatch.setattr(zygote, "_END_SECONDS", 0.05)
    sandbox.start()
    (stuck,) = wait_process("plugin-zygote")
    stuck.suspend()

    sandbox.close()

    assert not stuck.is_running()


def test_a_box_that_no_message_can_hold_is_refused_before_anything_is_started() -> None:
    """Cut short, it would describe another box."""
    zygote = Zygote(sys.executable, ())

    with pytest.raises(ZygoteLost, match=f"a box of {REPORT_BYTES + 1} bytes is over {REPORT_BYTES}; bind fewer paths"):
        zygote.send(b" " * (REPORT_BYTES + 1), [])

    assert find("plugin-zygote") == []


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_what_an_operator_bound_too_much_of_is_told_by_its_size(
    settings: SandboxSettings, make_call: Any, monkeypatch: pytest.MonkeyPatch, *, warm: bool
) -> None:
    """However calls are started, and nothing is started for it."""
    monkeypatch.setattr(zygote, "REPORT_BYTES", 100)
    sandbox = Sandbox(settings.model_copy(update={"warm": warm}))

    entry = entry_of(sandbox.run_blocking(make_call(APPEND)))

    assert entry.status == "sandbox_unavailable"
    assert "is over 100; bind fewer paths" in (entry.error or "")
    sandbox.close()
