"""Builds a Debian machine for an emulator from the distribution's own packages: a disk, a kernel, and what starts it.

Packages are resolved and fetched by the host's apt, from the mirror that the host is configured for, into a folder of their own, and
unpacked without being configured: nothing of another machine's code runs here. What configuring would have made, and the machine
needs, is in `configure` and in the folder `root`. Needs root, or who unpacks could not keep the owners of files.
"""

import lzma
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
USER: Final = 1000
RELEASE: Final = "bookworm"
_SITE: Final = "usr/local/lib/python3.11/dist-packages"
_KEYS: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
#: What a machine's disk holds; what these need comes with them.
PACKAGES: Final = """
base-files base-passwd bash busybox-static coreutils dash findutils grep kmod libc-bin libstdc++6 linux-libc-dev mount passwd
procps python3 sed systemd-sysv tar tzdata udev util-linux
"""
#: Wheels, at the versions of requirements.lock: what the sandbox imports, and what its tests need.
WHEELS: Final = """
annotated-types iniconfig numpy packaging pluggy psutil pydantic pydantic-core pygments pytest pytest-timeout pyyaml
typing-extensions typing-inspection
"""
#: What a kernel needs to see its disk; what is built in is no file.
MODULES: Final = "virtio_pci virtio_mmio virtio_blk crc32c_generic ext4"
#: The first process: it mounts the disk, and gives way to the machine's own.
INIT: Final = """\
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod /$module; done
/bin/busybox mount -t ext4 /dev/vda /root || /bin/busybox poweroff -f
exec /bin/busybox switch_root /root /sbin/init
"""
_TOOLS: Final = {"mke2fs": "e2fsprogs", "dpkg-deb": "dpkg", "apt-get": "apt", "tar": "tar"}
_PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class CannotRun(Exception):
    """This host lacks something: the text is one sentence, and says what to do."""


@dataclass(frozen=True)
class Kind:
    """A kind of machine."""

    debian: str  # what its packages are called by
    machine: str  # as `os.uname` names it
    console: str
    package: str  # that brings its emulator
    board: str
    processor: str  # to emulate; the plainer way to authenticate pointers is ten times as quick

    @property
    def emulator(self) -> str:
        """The emulator's command."""
        return f"qemu-system-{self.machine}"


KINDS: Final = {
    "arm64": Kind("arm64", "aarch64", "ttyAMA0", "qemu-system-arm", "virt", "max,pauth-impdef=on"),
    "amd64": Kind("amd64", "x86_64", "ttyS0", "qemu-system-x86", "q35", "max"),
}


def check_tools(kind: Kind, path: str = _PATH) -> None:
    """Raise CannotRun where this host lacks what is needed."""
    for tool, package in {kind.emulator: kind.package, **_TOOLS}.items():
        if shutil.which(tool, path=path) is None:
            raise CannotRun(f"{tool}: is not there; apt-get install {package}, on a Debian host")
    if os.geteuid() != 0:
        raise CannotRun(f"uid {os.geteuid()}: only root can keep the owners of unpacked files; run it as root")


def choose_sources(targets: str, *, backports: bool) -> list[str]:
    """Return sources for apt, from what the host's apt tells of its own: ORIGIN|URI|CODENAME|COMPONENT a line."""
    found: dict[tuple[str, str], None] = {}
    for origin, uri, suite, component in (line.split("|") for line in targets.splitlines()):
        if (origin, component) == ("Debian", "main") and suite.startswith(RELEASE):
            found[uri, suite] = None
            if backports and suite == RELEASE:
                found[uri, f"{RELEASE}-backports"] = None
    if not found:
        raise CannotRun(
            f"apt: names no mirror of Debian {RELEASE}; run it where /etc/apt has one, after apt-get update"
        )
    return [f"deb [signed-by={_KEYS}] {uri} {suite} main" for uri, suite in found]


def pick_versions(lock: str, names: Iterable[str]) -> list[str]:
    """Return name==version for each name as a lock has it for the machine's Python; raises CannotRun."""
    found: dict[str, str] = {}
    for name, pinned, marker in re.findall(r"^([\w.-]+)==(\S+)(?: ; (.*?))? *\\?$", lock, re.MULTILINE):
        if "python_full_version >=" not in marker:
            found[name] = f"{name}=={pinned}"
    lacking = sorted(set(names) - set(found))
    if lacking:
        raise CannotRun(f"requirements.lock: does not name {', '.join(lacking)}; run `make lock`, or mend WHEELS")
    return [found[name] for name in names]


def order_modules(names: Iterable[str], held: Mapping[str, Path]) -> dict[str, bytes]:
    """Return modules after those that they need; what is not held is built in."""
    found: dict[str, bytes] = {}
    for name in names:
        if name in held and name not in found:
            raw = held[name].read_bytes()
            code = lzma.decompress(raw) if held[name].suffix == ".xz" else raw
            told = re.search(rb"depends=([^\0]*)\0", code)
            found = {**order_modules(told[1].decode().split(",") if told else (), held), **found, name: code}
    return found


def pack_cpio(files: Iterable[tuple[str, int, bytes]]) -> bytes:
    """Return an archive that a kernel unpacks as its first root: (name, mode with its type, content)."""
    out = b""
    for number, (name, mode, content) in enumerate([*files, ("TRAILER!!!", 0, b"")], 1):
        raw = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(raw), 0)
        out += b"070701" + b"".join(b"%08X" % one for one in fields) + raw
        out += bytes(-len(out) % 4) + content
        out += bytes(-len(out) % 4)
    return out


def build(kind: Kind, folder: Path, *, backports: bool) -> None:
    """Make `disk.img`, `kernel` and `initrd` in a folder."""
    root, disk = folder / "root", folder / "disk.img"
    shutil.rmtree(root, ignore_errors=True)
    for name in ("bin", "sbin", "lib", "lib64"):  # where a package lays its files must not depend on which comes first
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in _fetch(kind, folder / "cache", backports=backports):
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as archive:
            _run("tar", "-x", "-p", "--keep-directory-symlink", "-C", root, stdin=archive.stdout)
    wheels = pick_versions((ROOT / "requirements.lock").read_text(), WHEELS.split())
    tags = [f"--platform=manylinux{tag}_{kind.machine}" for tag in ("2014", "_2_17", "_2_27", "_2_28", "_2_34")]
    asked = ("--no-deps", "--only-binary=:all:", "--no-compile", "--python-version=3.11", "--implementation=cp", *tags)
    _run(sys.executable, "-m", "pip", "install", "--quiet", *asked, "--target", root / _SITE, *wheels)
    if sys.version_info[:2] == (3, 11):  # the machine's own version: there it would be made at each start, slowly
        _run(sys.executable, "-m", "compileall", "-q", "-s", root, root / "usr/lib/python3.11", root / _SITE)
    configure(root)
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    shutil.copyfile(kernel, folder / "kernel")
    (folder / "initrd").write_bytes(_first_root(root, kernel.name.removeprefix("vmlinuz-")))
    disk.unlink(missing_ok=True)
    _run("mke2fs", "-q", "-t", "ext4", "-d", root, disk, "3G")
    shutil.rmtree(root)


def _fetch(kind: Kind, cache: Path, *, backports: bool) -> list[Path]:
    """Let apt resolve and fetch the packages of a machine that has none; return their files."""
    form = "$(ORIGIN)|$(REPO_URI)|$(CODENAME)|$(COMPONENT)"
    sources = choose_sources(
        _run("apt-get", "indextargets", "--format", form, "Created-By: Packages"), backports=backports
    )
    shutil.rmtree(cache, ignore_errors=True)
    for name in ("lists/partial", "archives/partial"):
        (cache / name).mkdir(parents=True)
    (cache / "sources.list").write_text("\n".join(sources) + "\n")
    (cache / "status").write_text("")
    (cache / "apt.conf").write_text(
        f'APT {{ Architecture "{kind.debian}"; Architectures "{kind.debian}"; Install-Recommends "false"; Sandbox::User "root"; }};\n'
        f'Dir {{ Cache "{cache}"; State::Lists "{cache}/lists"; State::status "{cache}/status";\n'
        f'  Etc::SourceList "{cache}/sources.list"; Etc::SourceParts "-"; }};\nAcquire::Languages "none";\n'
    )
    apt = ("apt-get", "-qq", "--yes", "-c", cache / "apt.conf")
    _run(*apt, "update")
    kernel = f"linux-image-cloud-{kind.debian}" + (f"/{RELEASE}-backports" if backports else "")
    _run(*apt, "--download-only", "install", *PACKAGES.split(), kernel)
    return sorted((cache / "archives").glob("*.deb"))


def configure(root: Path) -> None:
    """Write what the packages' own scripts would have made."""
    for name, line in (
        ("passwd", f"ordinary:x:{USER}:{USER}::/home/ordinary:/bin/bash"),
        ("group", f"ordinary:x:{USER}:"),
    ):
        known = (root / f"usr/share/base-passwd/{name}.master").read_text()
        (root / "etc" / name).write_text(f"{known}{line}\n")
    (root / "etc/machine-id").write_text("")
    (root / "home/ordinary").mkdir(parents=True)
    os.chown(root / "home/ordinary", USER, USER)
    if not (root / "bin/sh").exists():
        (root / "bin/sh").symlink_to("dash")
    shutil.copytree(HERE / "root", root, dirs_exist_ok=True)
    system = root / "etc/systemd/system"
    (system / "multi-user.target.wants").mkdir(exist_ok=True)
    (system / "multi-user.target.wants/machine.service").symlink_to("../machine.service")
    (system / "default.target").symlink_to("/lib/systemd/system/multi-user.target")


def _first_root(root: Path, version: str) -> bytes:
    held = {path.name.partition(".")[0]: path for path in (root / "lib/modules" / version).rglob("*.ko*")}
    modules = order_modules(MODULES.split(), held)
    init = INIT.format(modules=" ".join(modules)).encode()
    folders = [(name, 0o040755, b"") for name in ("dev", "root", "bin")]
    programs = [("bin/busybox", 0o100755, (root / "bin/busybox").read_bytes()), ("init", 0o100755, init)]
    return pack_cpio([*folders, *programs, *((name, 0o100644, code) for name, code in modules.items())])


def _run(*command: str | Path, stdin: object = subprocess.DEVNULL) -> str:
    """Run a program; return what it printed, or raise CannotRun with the last line of its complaint."""
    words = [str(word) for word in command]
    ran = subprocess.run(
        words, stdin=stdin, capture_output=True, text=True, env={**os.environ, "PATH": _PATH}, check=False
    )
    if ran.returncode:
        said = (ran.stderr.strip() or ran.stdout.strip() or "it said nothing").splitlines()[-1]
        raise CannotRun(f"{words[0]}: ended with {ran.returncode} ({said}); mend that, and run again")
    return ran.stdout
