"""Plans the box of a call: limits after the operator's ceilings, what is bound, where the plugin sees its workspace.

Values in, a Box out; whether this host can build it is the monitor's to find out.
"""

import os
import ssl
import stat
from collections.abc import Iterable
from pathlib import Path

from plugin_sandbox.grants import AUTHORITIES, Grants, parse_place
from plugin_sandbox.inner.box import Box, BoxLimits, Tier
from plugin_sandbox.model import Isolation, Limits
from plugin_sandbox.settings import SandboxSettings
from plugin_sandbox.zygote import Interpreter

_MB = 1024 * 1024
_KB = 1024
#: What ordinary wheels need beside the interpreter's own folders.
_SYSTEM = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo")
_WORK = ("/work", "/workspace", "/plugin-workspace")
_PACKAGE = str(Path(__file__).absolute().parent)


class NotGranted(Exception):
    """A manifest asks for what the operator does not grant on this host."""


def cap_limits(asked: Limits, ceilings: Limits) -> Limits:
    """Return what was asked, nothing above the ceiling: a record may be older than the operator's file.

    >>> cap_limits(Limits(memory_mb=4096), Limits(memory_mb=1024)).memory_mb
    1024
    """
    return Limits(**{name: min(getattr(asked, name), getattr(ceilings, name)) for name in Limits.model_fields})


def plan_limits(limits: Limits) -> BoxLimits:
    """Return the numbers in the units that the kernel wants."""
    return BoxLimits(
        memory_bytes=limits.memory_mb * _MB,
        cpu_seconds=limits.cpu_seconds,
        wall_seconds=limits.timeout_seconds,
        processes=limits.processes,
        threads=limits.threads,
        open_files=limits.open_files,
        file_bytes=limits.file_mb * _MB,
        disk_bytes=limits.disk_mb * _MB,
        inodes=limits.inodes,
        stderr_bytes=limits.stderr_kb * _KB,
        result_bytes=limits.result_kb * _KB,
    )


def resolve_programs(isolation: Isolation, settings: SandboxSettings) -> tuple[str, ...]:
    """Return the granted files as they really lie; raises NotGranted."""
    granted = set(settings.programs.values())
    found = []
    for name in isolation.programs:
        path = settings.programs.get(name, name)
        if path not in granted:
            raise NotGranted(f"isolation.programs: {name!r} is not granted; name it under `programs` in the settings")
        if not os.access(path, os.X_OK):
            raise NotGranted(f"isolation.programs: {path}: is not there or cannot be executed; install it")
        found.append(path)
    return tuple(found)


def _authorities() -> tuple[str, ...]:
    """The host's list of certificate authorities, where a plugin that may reach hosts looks for it."""
    return tuple(path for path in (ssl.get_default_verify_paths().cafile, *AUTHORITIES) if path)


def resolve_hosts(isolation: Isolation, settings: SandboxSettings) -> Grants | None:
    """Return what a plugin may reach, None where it asks for nothing; raises NotGranted."""
    if not isolation.hosts:
        return None
    grants = Grants.make(isolation.hosts, settings.hosts, settings.private_hosts)
    for host in isolation.hosts:
        if parse_place(host) not in grants.places:
            raise NotGranted(f"isolation.hosts: {host!r} is not granted; name it under `hosts` in the settings")
    return grants


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _is_there_itself(path: str) -> bool:
    """Say whether something is there that is no link."""
    try:
        return not stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError:
        return False


def choose_work(bound: Iterable[str]) -> str:
    """Return where the workspace is seen: /work, unless something that is bound lies there.

    >>> choose_work(["/usr/lib"]), choose_work([f"{_WORK[0]}/venv/lib"])
    ('/work', '/workspace')
    """
    paths = list(bound)
    return next(place for place in _WORK if not any(_is_below(path, place) for path in paths))


def plan_box(
    *,
    call_id: str,
    tier: Tier,
    limits: Limits,
    workspace: Path,
    package: Path,
    programs: tuple[str, ...],
    interpreter: Interpreter,
    slot_uid: int | None,
    groups: dict[str, str],
    off: tuple[str, ...],
    proxy: str = "",
) -> Box:
    """Describe the surroundings of one call."""
    system = (*_SYSTEM, *(_authorities() if proxy else ()))
    binds = [path for path in (*system, *interpreter.folders) if _is_there_itself(path)]
    shown = (*interpreter.sys_path, *binds, _PACKAGE, *programs, str(package))
    uid = -1 if slot_uid is None or "slot_uid" in off else slot_uid
    return Box(
        call_id=call_id,
        tier=tier,
        limits=plan_limits(limits),
        workspace=str(workspace),
        package=str(package),
        sys_path=interpreter.sys_path,
        binds=(*binds, _PACKAGE),
        programs=programs,
        uid=uid,
        gid=uid,
        cgroups=groups,
        proxy=proxy,
        off=off,
        work=choose_work(shown) if tier == "strict" else str(workspace),
    )
