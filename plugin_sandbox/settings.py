"""What the operator allows: ceilings, the tier that is demanded, what may be missing, what is granted.

Read from config/sandbox.yaml; `load_settings` names file, line and remedy for what it refuses.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from plugin_sandbox.model import Limits, Shape, Tier


class Ceilings(Limits):
    """The most that any manifest may ask; more is that plugin's rejection."""

    timeout_seconds: Annotated[float, Field(gt=0)] = 300
    memory_mb: Annotated[int, Field(ge=32)] = 2048
    cpu_seconds: Annotated[int, Field(ge=1)] = 300
    processes: Annotated[int, Field(ge=0)] = 16
    threads: Annotated[int, Field(ge=1)] = 128
    open_files: Annotated[int, Field(ge=16)] = 1024
    file_mb: Annotated[int, Field(ge=1)] = 1024
    disk_mb: Annotated[int, Field(ge=1)] = 2048
    inodes: Annotated[int, Field(ge=16)] = 65_536
    stderr_kb: Annotated[int, Field(ge=1)] = 4096
    result_kb: Annotated[int, Field(ge=1)] = 8192
    prompts: Annotated[int, Field(ge=0)] = 50


class SandboxSettings(Shape):
    """config/sandbox.yaml."""

    tier: Tier = "strict"  # the least that is accepted
    allow_degraded: tuple[str, ...] = ()  # layers by name (inner/box.py) that this host may lack
    ceilings: Ceilings = Ceilings()
    protected: tuple[str, ...] = ("README.md", ".exlab-wizard/", ".exlab-answers.yml")
    programs: dict[str, str] = {}  # name -> absolute path of what manifests may be granted to execute
    hosts: tuple[str, ...] = ()  # name or name:port that manifests may be granted
    slot_uid_base: Annotated[int, Field(ge=1000)] = 60_000  # under root, slot n runs as base + n
    slots: Annotated[int, Field(ge=1, le=1024)] = 16  # runs at once
    python: str = ""  # interpreter inside; empty: the worker's own
    preload: tuple[str, ...] = ("json", "pydantic")
    warm: bool = True  # a zygote; off: every call starts an interpreter
    state_dir: Path | None = None  # intents and locks; None: $XDG_STATE_HOME/baton/sandbox or /var/lib/baton/sandbox
