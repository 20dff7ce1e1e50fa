"""What the operator allows: ceilings, the tier that is demanded, what may be missing, what is granted.

Read from config/sandbox.yaml; `load_settings` names file, line and remedy for what it refuses.
"""

import os
import shutil
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, field_validator

from plugin_sandbox.inner.box import LAYERS
from plugin_sandbox.model import HostName, Limits, Shape, Tier


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
    network_mb: Annotated[int, Field(ge=1)] = 256


class SandboxSettings(Shape):
    """config/sandbox.yaml."""

    tier: Tier = "strict"  # the least that is accepted
    allow_degraded: tuple[str, ...] = ()  # layers by name (inner/box.py) that this host may lack
    ceilings: Ceilings = Ceilings()
    #: what lies in `.git` is executed by whoever asks git about the workspace next, outside
    protected: tuple[str, ...] = (".git/", "README.md", ".exlab-wizard/", ".exlab-answers.yml")
    #: name -> path of what manifests may be granted to execute; a bare file name is beside the interpreter, or on PATH
    programs: dict[str, str] = {}
    hosts: tuple[HostName, ...] = ()  # name (port 443) or name:port that manifests may be granted
    private_hosts: tuple[HostName, ...] = ()  # of these, the names that may lead to private and loopback addresses
    slot_uid_base: Annotated[int, Field(ge=1000)] = 60_000  # under root, slot n runs as base + n
    slots: Annotated[int, Field(ge=1, le=1024)] = 16  # runs at once
    python: str = ""  # interpreter inside; empty: the worker's own
    #: our own shapes bring pydantic along, which loads most of itself when a first model is made, and looks for its plugins then
    preload: tuple[str, ...] = ("json", "plugin_sandbox.model")
    warm: bool = True  # a zygote; off: every call starts an interpreter
    state_dir: Path | None = None  # intents and locks; None: $XDG_STATE_HOME/baton/sandbox or /var/lib/baton/sandbox

    @field_validator("allow_degraded")
    @classmethod
    def _know_layers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in LAYERS:
                near = get_close_matches(name, LAYERS, n=1)
                raise ValueError(f"no layer is called {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return names

    @field_validator("programs")
    @classmethod
    def _find_programs(cls, programs: dict[str, str]) -> dict[str, str]:
        return {name: path if "/" in path else find_program(path) for name, path in programs.items()}


def find_program(name: str) -> str:
    """Return where a program lies: beside this interpreter, as in an environment, or on PATH.

    Where it is nowhere, where it would have to be: the call that needs it says so.

    >>> find_program("sh").endswith("/sh")
    True
    """
    beside = Path(sys.executable).parent / name
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(name) or str(beside)


class SettingsInvalid(Exception):
    """What is wrong with a settings file, as `file:line: what; what to do`."""


def load_settings(path: Path | None) -> SandboxSettings:
    """Read the `sandbox:` block of a YAML file; without a path, the built-in values. Raise SettingsInvalid."""
    if path is None:
        return SandboxSettings()
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except OSError as error:
        raise SettingsInvalid(f"{path}: cannot be read ({error.strerror}); name a file that is there") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path}: no YAML ({' '.join(str(error).split())[:200]}); mend it") from error
    block = raw.get("sandbox") if isinstance(raw, dict) else None
    if raw is None or (isinstance(raw, dict) and set(raw) <= {"sandbox"} and block is None):
        return SandboxSettings()
    if not isinstance(block, dict) or set(raw) != {"sandbox"}:
        raise SettingsInvalid(f"{path}:1: everything belongs under the one key 'sandbox'; move it there")
    if block.get("state_dir") is not None:
        block["state_dir"] = Path(str(block["state_dir"]))
    try:
        return SandboxSettings.model_validate(_tuples(block))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise SettingsInvalid(f"{path}:{_line(node, problem['loc'])}: {_words(problem)}") from error


def _tuples(value: Any) -> Any:  # noqa: ANN401 - whatever YAML holds
    if isinstance(value, dict):
        return {key: _tuples(one) for key, one in value.items()}
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value


def _words(problem: Any) -> str:  # noqa: ANN401 - pydantic's own mapping
    where = ".".join(map(str, problem["loc"]))
    if problem["type"] != "extra_forbidden":
        return f"{where}: {problem['msg']}; mend it"
    known = list(Ceilings.model_fields if problem["loc"][0] == "ceilings" else SandboxSettings.model_fields)
    near = get_close_matches(str(problem["loc"][-1]), known, n=1)
    return f"{where}: unknown; " + (f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}")


def _line(node: yaml.Node | None, loc: tuple[int | str, ...]) -> int:
    """Return the line of the deepest key that is there."""
    line = 1
    for name in ("sandbox", *loc):
        if not isinstance(node, yaml.MappingNode):
            return line
        found = [(key, value) for key, value in node.value if key.value == str(name)]
        if not found:
            return line
        line, node = found[0][0].start_mark.line + 1, found[0][1]
    return line
