"""Attacks on processes and time: run inside the box. What returns has succeeded, and says how."""

import ctypes
import inspect
import json
import os
import re
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from plugin_sandbox.inner import syscalls

Arena = dict[str, Any]
_MB = 2**20


def fork_bomb(arena: Arena) -> str:
    """Make more processes than allowed; each waits to be ended."""
    for _ in range(60):
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)
    return "60 processes"


def daemonize_survive(arena: Arena) -> str:
    """Leave a process behind that goes on after the run."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for descriptor in range(3):
                os.close(descriptor)
            time.sleep(20)
            Path(arena["canary"]).write_text("breached")
        os._exit(0)
    return ""


def thread_bomb(arena: Arena) -> str:
    """Make more threads than allowed."""
    stop = threading.Event()
    try:
        for _ in range(400):
            threading.Thread(target=stop.wait, args=(20,), daemon=True).start()
    finally:
        stop.set()
    return "400 threads"


def signal_host(arena: Arena) -> str:
    """Signal a process of the host's."""
    os.kill(arena["victim"], 0)
    return "reached"


def kill_all(arena: Arena) -> str:
    """Signal everybody: whoever of the host's hears it is the breach."""
    os.kill(-1, signal.SIGUSR1)
    return ""


def killpg_host(arena: Arena) -> str:
    """Signal the host's process group."""
    os.killpg(arena["host_group"], 0)
    return "reached"


def prlimit_host(arena: Arena) -> str:
    """Read a limit of a process of the host's."""
    return str(resource.prlimit(arena["victim"], resource.RLIMIT_NOFILE))


def oom_adj_host(arena: Arena) -> str:
    """Offer a process of the host's to the kernel's memory killer."""
    Path(f"/proc/{arena['victim']}/oom_score_adj").write_text("1000")
    return "written"


def pin_host(arena: Arena) -> str:
    """Pin a process of the host's to one processor."""
    os.sched_setaffinity(arena["victim"], os.sched_getaffinity(arena["victim"]))
    return "pinned"


def ptrace_victim(arena: Arena) -> str:
    """Attach to a process of the host's as a debugger."""
    syscalls.call("ptrace", 16, arena["victim"], 0, 0)
    return "attached"


def read_victim_memory(arena: Arena) -> str:
    """Read memory of a process of the host's."""
    local = ctypes.create_string_buffer(8)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(local), 8)
    syscalls.call("process_vm_readv", arena["victim"], ctypes.byref(vector), 1, ctypes.byref(vector), 1, 0)
    return "read"


def steal_fd(arena: Arena) -> str:
    """Take a descriptor out of a process of the host's."""
    taken = syscalls.call("pidfd_getfd", os.pidfd_open(arena["victim"]), 0, 0)
    return f"fd {taken}"


def exec_shell(arena: Arena) -> str:
    """Run a program."""
    return subprocess.run(["/bin/sh", "-c", "echo ran"], capture_output=True, text=True, check=True).stdout


def exec_in_place(arena: Arena) -> str:
    """Become another program."""
    os.execv("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", ["ld", "--version"])
    return "never reached"


def memfd_exec(arena: Arena) -> str:
    """Run a program that lies in memory alone."""
    return f"fd {os.memfd_create('x')}"


def gain_privs(arena: Arena) -> str:
    """Look whether an executed file could give privileges."""
    status = Path("/proc/self/status").read_text()
    if "NoNewPrivs:\t1" in status:
        raise PermissionError("no_new_privs is set")
    return "no_new_privs is not set"


def is_host_root(arena: Arena) -> str:
    """Look whether this is the host's root, or has any capability."""
    status = Path("/proc/self/status").read_text()
    caps = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("CapEff", "CapPrm", "CapAmb"))]
    outer = Path("/proc/self/uid_map").read_text().split() if Path("/proc/self/uid_map").exists() else []
    if any(caps):
        return f"capabilities {caps}"
    if os.getuid() == 0 and outer[:2] == ["0", "0"] and arena["uid"] == 0:
        return "uid 0 outside too"
    raise PermissionError("nobody")


def new_userns(arena: Arena) -> str:
    """Make a user namespace, where one would be root again."""
    syscalls.call("unshare", 0x1000_0000)
    return "made"


def clone3_userns(arena: Arena) -> str:
    """The same by clone3, whose flags no filter can see."""
    args = (ctypes.c_uint64 * 8)(0x1000_0000, 0, 0, 0, 17, 0, 0, 0)
    if syscalls.call("clone3", ctypes.byref(args), 64) == 0:
        os._exit(0)
    return "made"


def clone_parent(arena: Arena) -> str:
    """Make a sibling in place of a child, outside of the own tree."""
    if syscalls.call("clone", 0x8000 | 17, 0, 0, 0, 0) == 0:
        os._exit(0)
    return "made"


def setns_host(arena: Arena) -> str:
    """Enter a namespace of the host's."""
    syscalls.call("setns", os.open(f"/proc/{arena['host_pid']}/ns/mnt", os.O_RDONLY), 0)
    return "entered"


def inherited_fds(arena: Arena) -> str:
    """Look for descriptors that the worker forgot."""
    known = {0, 1, 2, 3, 4}
    left = [name for name in os.listdir("/proc/self/fd") if int(name) not in known]
    real = [name for name in left if os.path.lexists(f"/proc/self/fd/{name}")]
    if not real:
        raise PermissionError("none")
    return f"descriptors {real}"


def env_secrets(arena: Arena) -> str:
    """Look for secrets in the environment."""
    extra = set(os.environ) - {"PATH", "LANG", "HOME", "TMPDIR", "MALLOC_ARENA_MAX", "LC_CTYPE"}
    if not extra:
        raise PermissionError("none")
    return f"variables {sorted(extra)}"


def raise_rlimits(arena: Arena) -> str:
    """Raise the own limits."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard + _MB, hard + _MB))
    return "raised"


def open_many_files(arena: Arena) -> str:
    """Open more files than allowed."""
    return str(len([os.open("/dev/null", os.O_RDONLY) for _ in range(2000)]))


def core_dump(arena: Arena) -> str:
    """Look whether a crash would leave a dump."""
    resource.setrlimit(resource.RLIMIT_CORE, (_MB, _MB))
    return "allowed"


def outlive_monitor(arena: Arena) -> str:
    """Undo what ends this process when its monitor dies."""
    syscalls.prctl(1, 0)  # PR_SET_PDEATHSIG
    return "undone"


def stack_smash(arena: Arena) -> str:
    """Write where nothing is: the run crashes, and nothing else does."""
    ctypes.string_at(1)
    return "read address 1"


def spin(arena: Arena) -> str:
    """Compute for ever."""
    while True:
        pass


def spin_ignore_sigs(arena: Arena) -> str:
    """Compute for ever, deaf to signals."""
    for number in (signal.SIGXCPU, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass


def cpu_relay(arena: Arena) -> str:
    """Hand computing from child to child, each within its own limit."""
    for _ in range(20):
        child = os.fork()
        if child == 0:
            began = time.process_time()
            while time.process_time() - began < 0.8:
                pass
            os._exit(0)
        os.waitpid(child, 0)
    return "16 s of 2"


def sleep_forever(arena: Arena) -> str:
    """Do nothing, for ever."""
    while True:
        time.sleep(60)


def regex_bomb(arena: Arena) -> str:
    """Have a pattern tried for ever, in C, where no signal handler of Python is heard."""
    return str(re.fullmatch(r"(a+)+b", "a" * 60))


def renice_host(arena: Arena) -> str:
    """Set the priority of a process of the host's to what it is."""
    os.setpriority(os.PRIO_PROCESS, arena["victim"], os.getpriority(os.PRIO_PROCESS, arena["victim"]))
    return "set"


def write_host_memory(arena: Arena) -> str:
    """Open the memory of a process of the host's for writing."""
    return str(os.open(f"/proc/{arena['host_pid']}/mem", os.O_RDWR))


def stop_self(arena: Arena) -> str:
    """Stop, so that nothing ends by itself."""
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)
    return "went on"


def signal_host_otherwise(arena: Arena) -> str:
    """Signal a process of the host's by the other calls that signal."""
    import fcntl

    victim, nothing = arena["victim"], (ctypes.c_byte * 128)()
    attempts: dict[str, Callable[[], object]] = {
        "rt_sigqueueinfo": lambda: syscalls.call("rt_sigqueueinfo", victim, 0, ctypes.byref(nothing)),
        "tkill": lambda: syscalls.call("tkill", victim, 0),
        "tgkill": lambda: syscalls.call("tgkill", victim, victim, 0),
        "pidfd_open": lambda: os.pidfd_open(victim),
        "F_SETOWN": lambda: fcntl.fcntl(1, fcntl.F_SETOWN, victim),
    }
    return _first(attempts)


def switches_of_the_process(arena: Arena) -> str:
    """Turn the switches that make a process another one: dumpable, its tracer, whose orphans it takes, how its calls are made."""
    switches = {"dumpable": (4, 0), "ptracer": (0x5961_6D61, 1), "subreaper": (36, 1), "timer slack": (29, 1)}
    return _first({name: partial(syscalls.prctl, *turn) for name, turn in switches.items()})


def _first(attempts: Mapping[str, Callable[[], object]]) -> str:
    for name, attempt in attempts.items():
        with suppress(OSError):
            return f"{name} answered {attempt()}"
    raise PermissionError("none of them")


def dump_by_pipe(arena: Arena) -> str:
    """Have a crash read by the program, root's, that a host may pipe dumps to: a limit of 0 does not keep it from that, one of 1 does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if soft != 1 and hard:
        return f"the limit is {soft}"
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    return "the limit is 0"


def previous_call(arena: Arena) -> str:
    """Look, in what this process was forked with, for the call that the same zygote served before."""
    found: set[str] = set()
    frame = inspect.currentframe()
    while frame is not None:
        for value in list(frame.f_locals.values()):
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, bytes) and part.startswith(b'{"call_id": "'):
                    found.add(json.loads(part)["call_id"])
        frame = frame.f_back
    if len(found) > 1:
        return f"calls {sorted(found)}"
    raise PermissionError("only this one")


def cpu_of_short_children(arena: Arena) -> str:
    """Hand computing from child to child, each too short to be seen."""
    for _ in range(2500):
        child = os.fork()
        if child == 0:
            began = time.process_time()
            while time.process_time() - began < 0.004:
                pass
            os._exit(0)
        os.waitpid(child, 0)
    return "10 s of 2"
