"""Attacks on processes, memory and time: run inside the box. What returns has succeeded, and says how."""

import ctypes
import mmap
import os
import re
import resource
import signal
import socket
import subprocess
import threading
import time
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


def alloc_1g(arena: Arena) -> str:
    """Allocate more than the limit, and touch it."""
    return str(len(bytearray(1024 * _MB)))


def children_sum(arena: Arena) -> str:
    """Let several children use what one may not."""
    for _ in range(6):
        if os.fork() == 0:
            held = bytearray(120 * _MB)
            time.sleep(5)
            os._exit(len(held) & 1)
    time.sleep(4)
    return "720 MiB of 256"


def memfd_600(arena: Arena) -> str:
    """Use memory that belongs to no process."""
    descriptor = os.memfd_create("x")
    for _ in range(600):
        os.write(descriptor, b"x" * _MB)
    return "600 MiB"


def sysv_shm_600(arena: Arena) -> str:
    """Use a shared segment, which outlives its maker."""
    return str(syscalls.call("shmget", 0, 600 * _MB, 0o1600))


def dev_shm_600(arena: Arena) -> str:
    """Use the shared memory file system."""
    with Path("/dev/shm/x").open("wb") as file:
        file.writelines(b"x" * _MB for _ in range(600))
    return "600 MiB"


def shared_anon_600(arena: Arena) -> str:
    """Use shared anonymous memory, which a limit on data misses."""
    area = mmap.mmap(-1, 600 * _MB)
    for place in range(0, 600 * _MB, 4096):
        area[place] = 1
    return "600 MiB"


def socket_buffers(arena: Arena) -> str:
    """Use the kernel's buffers of socket pairs."""
    pairs = [socket.socketpair() for _ in range(400)]
    return f"{len(pairs)} pairs"


def pipe_buffers(arena: Arena) -> str:
    """Make a pipe's buffer large."""
    import fcntl

    reader, _ = os.pipe()
    return str(fcntl.fcntl(reader, 1031, _MB))  # F_SETPIPE_SZ


def lock_memory(arena: Arena) -> str:
    """Keep memory from being swapped."""
    area = mmap.mmap(-1, _MB)
    syscalls.call("mlock", ctypes.addressof(ctypes.c_char.from_buffer(area)), _MB)
    return "locked"


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
