"""The shapes at the sandbox's edge: what a manifest may ask, what an operator allows, what a run is answered.

Frozen pydantic values that refuse unknown fields. Names of result fields and statuses are those of existing plugin hosts, so
that what reads them goes on reading them; what is new has new names.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from plugin_sandbox.grants import HOST_PATTERN

Json: TypeAlias = dict[str, Any]

Status: TypeAlias = Literal[
    "success",
    "skipped",
    "failed",
    "timeout",
    "policy_violation",
    "memory_limit",
    "cpu_limit",
    "disk_limit",
    "process_limit",
    "output_limit",
    "protocol_error",
    "cancelled",
    "sandbox_unavailable",
]
Tier: TypeAlias = Literal["strict", "standard"]
FileKind: TypeAlias = Literal["modify", "create", "rename", "delete"]
PluginName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
HostName: TypeAlias = Annotated[str, Field(pattern=HOST_PATTERN)]


class Shape(BaseModel):
    """Frozen, and closed to fields that it does not declare."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Limits(Shape):
    """What one run may use, for its whole process tree. A manifest's `isolation` block, each field optional there."""

    timeout_seconds: Annotated[float, Field(gt=0)] = 30
    memory_mb: Annotated[int, Field(ge=32)] = 512
    cpu_seconds: Annotated[int, Field(ge=1)] = 30
    processes: Annotated[int, Field(ge=0)] = 0  # beside its own first one
    threads: Annotated[int, Field(ge=1)] = 32
    open_files: Annotated[int, Field(ge=16)] = 256
    file_mb: Annotated[int, Field(ge=1)] = 64  # one file
    disk_mb: Annotated[int, Field(ge=1)] = 128
    inodes: Annotated[int, Field(ge=16)] = 4096
    stderr_kb: Annotated[int, Field(ge=1)] = 256
    result_kb: Annotated[int, Field(ge=1)] = 1024
    prompts: Annotated[int, Field(ge=0)] = 10
    network_mb: Annotated[int, Field(ge=1)] = 16  # both ways, over all connections


class Isolation(Limits):
    """A manifest's `isolation` block: limits, and what it asks for beyond them; the operator must grant it."""

    network: bool = False
    hosts: tuple[HostName, ...] = ()  # name (port 443) or name:port
    programs: tuple[str, ...] = ()  # absolute paths, or names from the operator's `programs`


class Manifest(Shape):
    """manifest.yml, validated (manifest.py reads it)."""

    name: PluginName
    version: Annotated[str, Field(min_length=1, max_length=64)]
    api_version: Literal["1"]
    supported_extensions: tuple[str, ...]  # ".csv", or a whole file name that has no suffix; empty: every file
    author: str = ""
    description: str = ""
    required_variables: tuple[str, ...] = ()
    optional_variables: tuple[str, ...] = ()
    writes: Annotated[tuple[Annotated[str, Field(max_length=200)], ...], Field(max_length=64)] = (
        "**",
    )  # globs: what it may change
    isolation: Isolation = Isolation()


class PluginRecord(Shape):
    """A plugin that was accepted: its manifest, where it lies, and the digest of its files at that moment."""

    manifest: Manifest
    path: Path
    digest: str  # sha256 over names, modes and contents; checked again at every call
    root: Literal["bundled", "lab"] = "bundled"


class Call(Shape):
    """One run of one plugin over files of one workspace."""

    plugin: PluginRecord
    workspace: Path
    files: tuple[str, ...]  # relative to the workspace, posix
    variables: Json = {}
    answers: dict[str, Json] = {}  # prompt id -> what was answered, all of them so far
    dry_run: bool = False
    template_name: str = ""
    template_version: str = ""
    run_kind: str = ""
    equipment_id: str = ""
    project: str = ""
    answers_file: str = ""  # relative to the workspace
    run: str = ""  # names this run: what was published under it is not done again, its outcome is told again


class PromptField(Shape):
    """One field that a plugin asks for."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
    label: Annotated[str, Field(max_length=200)] = ""
    type: Literal["string", "integer", "number", "boolean", "choice"] = "string"
    choices: tuple[str, ...] = ()
    required: bool = True
    default: str | int | float | bool | None = None


class Prompt(Shape):
    """What a plugin asks before it can go on. `prompt_id` is the same for the same question of the same run."""

    prompt_id: str  # 16 hex digits: digest of plugin, fields, reason and how often it was asked with these answers
    plugin: str
    reason: Annotated[str, Field(max_length=1000)]
    fields: tuple[PromptField, ...]


class FileChange(Shape):
    """One change that was made, or in a dry run described."""

    path: str
    kind: FileKind
    summary: str = ""
    detail: Json = {}


class NetworkUse(Shape):
    """One connection that a plugin asked for. `cut`: it was ended because more than `network_mb` had been carried."""

    host: str
    port: int
    verdict: Literal["connected", "refused", "failed", "cut"]
    why: str = ""
    sent_bytes: int = 0
    received_bytes: int = 0


class IsolationReport(Shape):
    """What the run used, and within what."""

    duration_ms: int
    exit_code: int
    peak_memory_mb: float
    cpu_seconds: float
    tier: Tier | None  # None: nothing was run
    missing: tuple[str, ...] = ()  # layers that this host lacks: permitted to be missing, or watched instead
    network: tuple[NetworkUse, ...] = ()


class ResultEntry(Shape):
    """The lasting word about one plugin's pass."""

    plugin: str
    version: str
    files_affected: tuple[str, ...]  # sorted, relative
    status: Status
    isolation: IsolationReport
    error: str | None = None
    violations: tuple[str, ...] | None = None
    limit: str | None = None  # the manifest's name of the limit that bit
    per_file: tuple[Json, ...] = ()  # path, status, changes, error: as the plugin's frame said, checked


class LogRecord(Shape):
    """One line that a plugin logged: escaped, capped; `plugin` is the host's word."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    message: str
    plugin: str
    context: Json = {}


class Outcome(Shape):
    """What a call came to: an entry, or a prompt in place of one."""

    entry: ResultEntry | None
    prompt: Prompt | None = None
    changes: tuple[FileChange, ...] = ()  # what was published; in a dry run what was described
    logs: tuple[LogRecord, ...] = ()

    @property
    def told(self) -> "ResultEntry | Prompt":
        """The entry, or the prompt: one of them is there."""
        return self.entry or self.prompt  # type: ignore[return-value]


def rehearse() -> None:
    """Make a model as a plugin would, and use it: what a process has done once, it finds at hand."""

    class Model(BaseModel):
        name: str
        number: int = 0
        parts: list[str] = []

    Model.model_validate({"name": "x"}).model_dump_json()
