"""Attacks on files: run inside the box, on the standard library alone.

What returns a text has succeeded, and says how; what returns none is judged by the host, from what it finds afterwards: a file of the same name
inside is not the one outside.
"""

import ctypes
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from plugin_sandbox.inner import syscalls

Arena = dict[str, Any]


def read_host_secret(arena: Arena) -> str:
    """Read a file of the host that the worker may read."""
    return Path(arena["secret"]).read_text()


def read_home_dir(arena: Arena) -> str:
    """List the worker's home."""
    return str(os.listdir(arena["home"]))


def read_etc_passwd(arena: Arena) -> str:
    """Read the list of users."""
    return Path("/etc/passwd").read_text()[:40]


def read_worker_environ(arena: Arena) -> str:
    """Read the environment of the worker's process."""
    for pid in (arena["host_pid"], os.getppid()):
        text = Path(f"/proc/{pid}/environ").read_bytes() if pid else b""
        if arena["token"].encode() in text:
            return "the token was in it"
    raise PermissionError("not in any environment")


def write_outside(arena: Arena) -> str:
    """Write into a file outside the workspace."""
    Path(arena["canary"]).write_text("breached")
    return ""


def write_via_symlink(arena: Arena) -> str:
    """Write outside through a link in the workspace."""
    link = Path("link-out")
    link.symlink_to(arena["canary"])
    link.write_text("breached")
    return ""


def write_via_dotdot(arena: Arena) -> str:
    """Write outside by climbing."""
    Path(("../" * 20) + arena["canary"].lstrip("/")).write_text("breached")
    return ""


def hardlink_then_write(arena: Arena) -> str:
    """Link a file from outside into the workspace, and write to it."""
    os.link(arena["canary"], "hard")
    Path("hard").write_text("breached")
    return ""


def rename_out(arena: Arena) -> str:
    """Move a file of the workspace over one outside."""
    Path("mine").write_text("breached")
    os.rename("mine", arena["canary"])
    return ""


def overwrite_plugin_code(arena: Arena) -> str:
    """Rewrite the plugin's own code for the next run."""
    with Path(arena["package"], "__init__.py").open("a") as file:
        file.write("\n# breached\n")
    return "written"


def poison_pycache(arena: Arena) -> str:
    """Leave byte code that the next run would load."""
    folder = Path(arena["package"], "__pycache__")
    folder.mkdir(exist_ok=True)
    (folder / "evil.pyc").write_bytes(b"x")
    return "written"


def interpreter_writable(arena: Arena) -> str:
    """Change a module of the interpreter."""
    with Path(os.__file__).open("a") as file:
        file.write("\n")
    return "written"


def device_node(arena: Arena) -> str:
    """Make a device."""
    os.mknod("null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    return "made"


def fifo_in_output(arena: Arena) -> str:
    """Leave a pipe on which a reader would hang."""
    os.mkfifo("fifo")
    return "made"


def open_dev_mem_or_disk(arena: Arena) -> str:
    """Open the machine's memory or disk."""
    for name in ("/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/nvme0n1"):
        try:
            return f"{name} {os.open(name, os.O_RDONLY)}"
        except OSError:
            continue
    raise PermissionError("none")


def disk_fill(arena: Arena) -> str:
    """Write more than the quota."""
    for number in range(40):
        Path(f"fill{number}").write_bytes(b"x" * 2**20)
    return "40 MiB of 16"


def sparse_1tb(arena: Arena) -> str:
    """Make a file of a terabyte of nothing."""
    with Path("sparse").open("wb") as file:
        file.truncate(2**40)
    return "made"


def inode_flood(arena: Arena) -> str:
    """Make more files than allowed."""
    for number in range(3000):
        Path(f"f{number}").touch()
    return "3000 of 512"


def fill_tmp(arena: Arena) -> str:
    """Fill the temporary folder instead."""
    for number in range(40):
        Path(os.environ["TMPDIR"], f"fill{number}").write_bytes(b"x" * 2**20)
    return "40 MiB of 16"


def proc_root_escape(arena: Arena) -> str:
    """Reach the host's root through another process."""
    for pid in ("1", str(os.getppid()), str(arena["host_pid"]), "self"):
        try:
            return Path(f"/proc/{pid}/root{arena['secret']}").read_text()
        except OSError:
            continue
    raise PermissionError("none")


def chroot_escape(arena: Arena) -> str:
    """Leave by a second chroot."""
    Path("jail").mkdir()
    os.chroot("jail")
    return "chrooted"


def remount_rw(arena: Arena) -> str:
    """Make a read-only mount writable."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(None, b"/usr/lib", None, 32 | 4096, None) == 0:
        return "remounted"
    raise OSError(ctypes.get_errno(), "mount")


def proc_sys_write(arena: Arena) -> str:
    """Change a setting of the kernel to what it is."""
    path = Path("/proc/sys/kernel/core_pattern")
    path.write_text(path.read_text())
    return "written"


def cgroup_escape(arena: Arena) -> str:
    """Look for control groups to leave."""
    return str(os.listdir("/sys/fs/cgroup")[:3])


def open_by_handle(arena: Arena) -> str:
    """Open files past every mount by their handles."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle, mount = (ctypes.c_byte * 136)(), ctypes.c_int()
    ctypes.memmove(handle, (128).to_bytes(4, "little"), 4)
    if libc.name_to_handle_at(-100, b".", handle, ctypes.byref(mount), 0) == 0:
        return "a handle was given"
    raise OSError(ctypes.get_errno(), "name_to_handle_at")


def lease_freeze(arena: Arena) -> str:
    """Hold a lease that makes the host's next open wait."""
    import fcntl

    with Path("leased").open("w") as file:
        fcntl.fcntl(file, 1024, fcntl.F_WRLCK)  # F_SETLEASE
    return "leased"


def flock_channel(arena: Arena) -> str:
    """Talk to another run by locks on a shared file."""
    import fcntl

    with Path(os.__file__).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return "locked"


def overwrite_other_plugin(arena: Arena) -> str:
    """Rewrite the code of another plugin."""
    Path(arena["other"]).write_text("breached")
    return ""


def shadow_stdlib(arena: Arena) -> str:
    """Leave a module where a later run would import it in the place of the interpreter's own."""
    Path("traceback.py").write_text("raise SystemExit")
    here = {"", ".", os.getcwd(), arena["package"], os.path.dirname(arena["package"])}
    if found := [entry for entry in sys.path if entry in here]:
        return f"it would be found by way of {found}"
    Path("traceback.py").unlink()
    raise PermissionError("no place of its own is searched")


def reopen_host_files(arena: Arena) -> str:
    """Open again what a process of the host's has open, unlinked files among it."""
    for pid in (arena["host_pid"], arena["victim"], os.getppid()):
        names = os.listdir(f"/proc/{pid}/fd") if pid else []
        for name in names:
            return f"{name}: {os.open(f'/proc/{pid}/fd/{name}', os.O_RDONLY)}"
    raise PermissionError("no descriptor of anybody is seen")


def read_network_tables(arena: Arena) -> str:
    """Read the kernel's lists of everybody's sockets."""
    wanted = {"unix": arena["abstract"], "tcp": f"{arena['port']:04X} "}
    for folder in ("net", f"task/{os.getpid()}/net"):
        for name, text in wanted.items():
            with suppress(OSError):
                if text in Path("/proc/self", folder, name).read_text():
                    return f"{folder}/{name} lists {text}"
    raise PermissionError("nobody's socket is listed")


def read_mounts(arena: Arena) -> str:
    """Learn from the list of mounts where the worker keeps its state."""
    text = Path("/proc/self/mountinfo").read_text()
    points = [line.split()[4] for line in text.splitlines()]
    if found := [point for point in points if point in {"/sys", "/boot", "/home", "/var", "/run", "/dev"}]:
        return f"the host's mounts are listed: {found}"
    raise PermissionError("the box's own alone")


def flush_the_disk(arena: Arena) -> str:
    """Have the disk that others wait for flushed, by way of a file that may only be read."""
    _, writer = os.pipe()
    os.fsync(os.open(os.__file__, os.O_RDONLY))
    try:
        os.fsync(writer)  # the kernel knows no pipe that lies on a disk
    except OSError:
        return "the kernel was asked"
    raise PermissionError("it is not asked")


def drop_the_cache(arena: Arena) -> str:
    """Have what others have read of the interpreter dropped from memory."""
    reader, _ = os.pipe()
    try:
        os.posix_fadvise(reader, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        return "the kernel was asked"
    raise PermissionError("it is not asked")


def forge_overlay_marks(arena: Arena) -> str:
    """Mark a folder as one that hides what the workspace has in it."""
    os.setxattr(".exlab-wizard", "user.overlay.opaque", b"y")
    return "marked"


def whiteout_by_rename(arena: Arena) -> str:
    """Make the mark of a removed file, a device, by the call that moves files."""
    Path(os.environ["TMPDIR"], "x").touch()
    for folder, name in ((".", "data.txt"), (os.environ["TMPDIR"], "x")):
        with suppress(OSError):
            old, new = (os.fsencode(os.path.join(folder, one)) for one in (name, "moved"))
            syscalls.call("renameat2", -100, old, -100, new, 4)  # RENAME_WHITEOUT
            return f"made in {folder}"
    raise PermissionError("none, nowhere")
