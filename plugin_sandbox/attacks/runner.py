"""Runs attacks through the sandbox, and says of each whether it was stopped, how the run ended, and what was to stop it.

A run counts only after the positive control: the same plugin, doing honest work in the same box, has to succeed. Otherwise "nothing
got through" would also be true of a sandbox that starts nothing.
"""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plugin_sandbox.attacks.arena import Arena
from plugin_sandbox.attacks.catalogue import MOST_MS, STANDARD_LACKS, Attack
from plugin_sandbox.attacks.inside import BREACHED
from plugin_sandbox.host import Sandbox
from plugin_sandbox.manifest import digest_of, read_manifest
from plugin_sandbox.model import Call, Outcome, PluginRecord, Tier
from plugin_sandbox.settings import SandboxSettings

_MANIFEST: Final = """\
name: attack
version: "1"
api_version: "1"
supported_extensions: []
isolation: {{timeout_seconds: {seconds}, memory_mb: 256, cpu_seconds: {cpu_seconds}, processes: {processes}, threads: 16, open_files: 128,
  file_mb: 8, disk_mb: 16, inodes: 512, network_mb: 1, hosts: {hosts}}}
"""
_PACKAGE: Final = "from plugin_sandbox.attacks.inside import Attacker as Plugin\n"
_SECONDS: Final = {
    "sleep_forever": 2,
    "stop_self": 2,
    "cpu_relay": 5,
    "fork_bomb": 3,
    "close_all_and_hang": 2,
    "dribble": 2,
}


class ControlFailed(Exception):
    """Honest work does not pass: nothing that follows would prove anything."""


@dataclass(frozen=True)
class Result:
    """What came of one attack. `by`: the layers that are to stop it; `outcome`: the run's status and its error."""

    name: str
    group: str
    tier: Tier
    uid: int
    stopped: bool
    outcome: str
    by: str
    ms: int


def run_attacks(
    attacks: Sequence[Attack],
    arena: Arena,
    settings: SandboxSettings,
    *,
    tier: Tier = "strict",
    off: tuple[str, ...] = (),
) -> Iterator[Result]:
    """Run the control, then each attack, in a box of this tier; `off` leaves layers out of an otherwise closed box."""
    sandbox = Sandbox(settings, force_tier=tier, off=off)
    try:
        check_control(sandbox, arena, settings)
        if tier == "strict" and any(attack.asks_hosts for attack in attacks):
            check_control(sandbox, arena, settings, hosts=arena.hosts)
        for attack in attacks:
            if tier == "strict" or not (attack.forks or attack.asks_hosts):
                yield run_attack(sandbox, attack, arena, settings, tier)
    finally:
        sandbox.close()


def check_control(
    sandbox: Sandbox, arena: Arena, settings: SandboxSettings, *, processes: int = 0, hosts: tuple[str, ...] = ()
) -> None:
    """Run honest work, with hosts such that needs one; raise ControlFailed where it does not pass."""
    name = "control_network" if hosts else "control"
    outcome, workspace = _perform(sandbox, name, arena, settings, processes=processes, hosts=hosts)
    done = outcome.entry is not None and outcome.entry.status == "success"
    why = outcome.entry.error or outcome.entry.status if outcome.entry is not None else "it asked"
    if not done or "honest work" not in (workspace / "data.txt").read_text():
        raise ControlFailed(f"control: honest work does not pass: {why}; mend that first")


def run_attack(sandbox: Sandbox, attack: Attack, arena: Arena, settings: SandboxSettings, tier: Tier) -> Result:
    """Run one attack."""
    began = time.monotonic()
    hosts = arena.hosts if attack.asks_hosts else ()
    processes = 8 if attack.forks else 0
    outcome, workspace = _perform(sandbox, attack.name, arena, settings, processes=processes, hosts=hosts)
    entry = outcome.entry
    status, error = ("asked", "") if entry is None else (entry.status, entry.error or "")
    told = status + (f": {error}" if error else "")
    breach = arena.damage() or _damage_to(workspace)
    if error.startswith(BREACHED):
        breach = breach or error
    if attack.statuses and status not in attack.statuses:
        breach = breach or f"it ended as {status}"
    if status == "sandbox_unavailable":
        breach = breach or "the box was not built"
    if entry is None:
        breach = breach or "a person would be asked"
    took_ms = round((time.monotonic() - began) * 1000)
    if took_ms > MOST_MS.get(attack.name, took_ms) * arena.patience:
        breach = breach or "the host waited for it"
    by = STANDARD_LACKS.get(attack.name, attack.by) if tier == "standard" else attack.by
    return Result(
        attack.name,
        attack.group,
        tier,
        int(arena.facts["uid"]),
        not breach,
        f"{breach} ({told})" if breach else told,
        by,
        took_ms,
    )


def _damage_to(workspace: Path) -> str:
    """Look whether what may never be published was."""
    if (workspace / "README.md").read_text() != "protected" or not (workspace / ".exlab-wizard" / "kept").exists():
        return "a protected file was changed"
    for path in workspace.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()) or path.stat().st_mode & 0o6000:
            return f"{path.name} was published"
    return ""


def _perform(
    sandbox: Sandbox, name: str, arena: Arena, settings: SandboxSettings, *, processes: int, hosts: tuple[str, ...]
) -> tuple[Outcome, Path]:
    package, workspace = arena.home / f"plugin-{processes}-{len(hosts)}", arena.home / "workspace"
    seconds = _SECONDS.get(name, 20) * arena.patience
    package.mkdir(exist_ok=True, mode=0o755)
    (package / "__init__.py").write_text(_PACKAGE)
    (package / "manifest.yml").write_text(
        _MANIFEST.format(seconds=seconds, cpu_seconds=2 * arena.patience, processes=processes, hosts=json.dumps(hosts))
    )
    if workspace.exists():
        shutil.rmtree(workspace)
    (workspace / ".exlab-wizard").mkdir(parents=True)
    (workspace / ".exlab-wizard" / "kept").write_text("kept")
    (workspace / "README.md").write_text("protected")
    (workspace / "data.txt").write_text("data\n")
    manifest = read_manifest(package, settings)
    call = Call(
        plugin=PluginRecord(manifest=manifest, path=package, digest=digest_of(package)),
        workspace=workspace,
        files=("data.txt",),
        variables={**arena.facts, "attack": name, "package": str(package), "keep_errors": _keeps_errors(name)},
    )
    return sandbox.run_blocking(call), workspace


def _keeps_errors(name: str) -> bool:
    """Whether the error itself tells which limit bit."""
    return name in {"disk_fill", "fill_tmp", "inode_flood", "fork_bomb", "alloc_1g", "children_sum", "shared_anon_600"}
