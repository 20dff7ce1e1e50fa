"""Attacks on network, kernel and machine: run inside the box. What returns has succeeded, and says how."""

import ctypes
import mmap
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from plugin_sandbox.inner import syscalls

Arena = dict[str, Any]


def tcp_loopback(arena: Arena) -> str:
    """Connect to a service of the host's."""
    with socket.create_connection(("127.0.0.1", arena["port"]), timeout=2):
        return "connected"


def udp_loopback(arena: Arena) -> str:
    """Send to a service of the host's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        return str(made.sendto(b"x", ("127.0.0.1", arena["port"])))


def unix_path(arena: Arena) -> str:
    """Connect to a socket in the file system."""
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(arena["unix"])
    return "connected"


def unix_abstract(arena: Arena) -> str:
    """Connect to a socket that has no file."""
    with socket.socket(socket.AF_UNIX) as made:
        made.connect("\0" + arena["abstract"])
    return "connected"


def listen_port(arena: Arena) -> str:
    """Offer a service."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen()
    return "listening"


def raw_socket(arena: Arena) -> str:
    """Make a raw socket."""
    return str(socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))


def packet_socket(arena: Arena) -> str:
    """Make a socket that sees every packet."""
    return str(socket.socket(17, socket.SOCK_RAW))


def netlink_socket(arena: Arena) -> str:
    """Talk to the kernel's network configuration."""
    return str(socket.socket(16, socket.SOCK_RAW))


def vsock_socket(arena: Arena) -> str:
    """Talk to the machine's hypervisor."""
    return str(socket.socket(40, socket.SOCK_STREAM))


def af_alg(arena: Arena) -> str:
    """Use the kernel's cryptography."""
    return str(socket.socket(38, socket.SOCK_SEQPACKET))


def dns(arena: Arena) -> str:
    """Look up a name."""
    return str(socket.getaddrinfo("example.invalid", 80))


def socketpair_inet(arena: Arena) -> str:
    """Get a network socket by way of a pair."""
    return str(socket.socketpair(socket.AF_INET))


def _made(name: str, *args: object) -> str:
    return f"{name} answered {syscalls.call(name, *args)}"


def io_uring(arena: Arena) -> str:
    """Make a ring, past which system calls go unseen."""
    return _made("io_uring_setup", 1, (ctypes.c_byte * 120)())


def bpf(arena: Arena) -> str:
    """Load a program into the kernel."""
    return _made("bpf", 0, (ctypes.c_byte * 72)(0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 1), 72)


def perf_event(arena: Arena) -> str:
    """Measure the machine."""
    shape = (ctypes.c_uint32 * 32)(1, 128)
    return _made("perf_event_open", ctypes.byref(shape), 0, -1, -1, 0)


def userfaultfd(arena: Arena) -> str:
    """Hold up the kernel in the middle of an access."""
    return _made("userfaultfd", 1)


def keyrings(arena: Arena) -> str:
    """Use the kernel's keyrings, which runs would share."""
    return _made("keyctl", 0, -3, 1)


def personality_noaslr(arena: Arena) -> str:
    """Switch off address randomisation."""
    return _made("personality", 0x0040000)


def fsopen(arena: Arena) -> str:
    """Open a file system."""
    return _made("fsopen", b"tmpfs", 0)


def modify_ldt(arena: Arena) -> str:
    """Change the processor's segment table."""
    return _made("modify_ldt", 0, (ctypes.c_byte * 16)(), 16)


def x32_abi(arena: Arena) -> str:
    """Call the kernel by the x32 numbers; this ends the process. A machine that has no x32 answers that there is no such call."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = libc.syscall(ctypes.c_long(0x4000_0000 + 39))
    if found < 0:
        raise OSError(ctypes.get_errno(), "x32")
    return str(found)


def kcmp(arena: Arena) -> str:
    """Compare kernel pointers."""
    return _made("kcmp", os.getpid(), os.getpid(), 0, 0, 0)


def tiocsti(arena: Arena) -> str:
    """Type into the worker's terminal."""
    import fcntl

    return str(fcntl.ioctl(0, 0x5412, b"x"))


def seccomp_own(arena: Arena) -> str:
    """Install a filter of one's own."""
    return _made("seccomp", 2, 0, (ctypes.c_uint32 * 1)(0x7FFF_0000))


def landlock_own(arena: Arena) -> str:
    """Reach Landlock's own interface."""
    return _made("landlock_create_ruleset", None, 0, 1)


def set_hostname(arena: Arena) -> str:
    """Rename the machine."""
    socket.sethostname("breached")
    return "renamed"


def set_clock(arena: Arena) -> str:
    """Read-and-set the clock's adjustment."""
    return _made("adjtimex", (ctypes.c_byte * 256)())


def step_clock(arena: Arena) -> str:
    """Reach the call that sets the clock, with no time to set."""
    return _made("settimeofday", None, None)


def reboot_reachable(arena: Arena) -> str:
    """Reach the reboot call, with words that do nothing."""
    return _made("reboot", 0xFEE1DEAD, 672274793, 0, None)


def read_dmesg(arena: Arena) -> str:
    """Read the kernel's log."""
    return _made("syslog", 3, ctypes.create_string_buffer(64), 64)


def see_host_processes(arena: Arena) -> str:
    """Look who else runs."""
    seen = [name for name in os.listdir("/proc") if name.isdigit()]
    if str(arena["victim"]) in seen or len(seen) > 3:
        return f"{len(seen)} processes"
    raise PermissionError("only this one")


def raise_priority(arena: Arena) -> str:
    """Go before everybody else."""
    os.setpriority(os.PRIO_PROCESS, 0, -5)
    return "raised"


def widen_affinity(arena: Arena) -> str:
    """Use more processors than given."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    return "widened"


def host_identity(arena: Arena) -> str:
    """Learn the machine's name."""
    if os.uname().nodename != arena["hostname"]:
        raise PermissionError("another name")
    return os.uname().nodename


def machine_id(arena: Arena) -> str:
    """Learn the machine's identity."""
    return Path("/etc/machine-id").read_text()


def i386_abi(arena: Arena) -> str:
    """Call the kernel by the numbers of 32-bit programs; this ends the process."""
    if os.uname().machine != "x86_64":
        raise PermissionError("this machine has no such gate")
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20 (getpid); int 0x80; ret
    place = ctypes.addressof(ctypes.c_char.from_buffer(code))
    return f"getpid answered {ctypes.CFUNCTYPE(ctypes.c_int)(place)()}"


def every_socket_family(arena: Arena) -> str:
    """Make a socket of any family at all."""
    for family in range(64):
        for kind in (1, 2, 3, 5):
            with suppress(OSError):
                return f"family {family}, type {kind}: {syscalls.call('socket', family, kind, 0)}"
    raise PermissionError("there is none")


def datagram_pair(arena: Arena) -> str:
    """Get, as a pair, a socket that sends to any path that is named with the message."""
    return str(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))


def mount_interface(arena: Arena) -> str:
    """Reach mounts by the newer calls, past the one that everybody knows."""
    root, where = ctypes.create_string_buffer(b"/"), (ctypes.c_uint64 * 8)(32, 0, 0, 0, 2**64 - 1)
    attempts = {
        "open_tree": (-100, root, 1),
        "fspick": (-100, root, 0),
        "mount_setattr": (-100, root, 0, where, 32),
        "listmount": (ctypes.byref(where), ctypes.byref((ctypes.c_uint64 * 64)()), 64, 0),
        "pivot_root": (root, root),
        "unshare": (0x0002_0000,),
    }
    for name, args in attempts.items():
        with suppress(OSError):
            return _made(name, *args)
    raise PermissionError("none of them")


def old_aio(arena: Arena) -> str:
    """Make the older kind of ring, which is the kernel's memory too."""
    return _made("io_setup", 64, ctypes.byref(ctypes.c_uint64()))


def watch_files(arena: Arena) -> str:
    """Watch who opens which file of the interpreter: other runs, and the worker."""
    return (
        f"watch {syscalls.call('inotify_add_watch', syscalls.call('inotify_init1', 0), os.fsencode(os.__file__), 0x20)}"
    )
