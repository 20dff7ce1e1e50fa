"""What a plugin is written against: `from plugin_sandbox.api import Plugin, PluginError, PluginInputRequired`.

A package of a folder with `manifest.yml` and an `__init__.py` that has a class `Plugin`. One instance is made a run:

    pre_transform_all -> for each file: can_handle -> transform (describe_changes in a dry run) -> post_transform_all

The standard library alone: this module is imported inside the sandbox.
"""

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from plugin_sandbox.fetching import Response


class PluginError(Exception):
    """The plugin cannot do its work, and says why; it counts as failed, and the pass goes on with the next plugin."""


class PluginInputRequired(Exception):
    """The plugin has to know something from a person before it can go on.

    `fields`: mappings with `id`, and `label`, `type` (string, integer, number, boolean, choice), `choices`, `required`,
    `default` as wanted. The answers of all questions so far are in `ctx.variables["__extra_inputs__"]` when the plugin runs
    again, from the start and on the unchanged workspace.
    """

    def __init__(self, fields: list[dict[str, Any]], reason: str = "") -> None:
        super().__init__(reason)
        self.fields = fields

    @property
    def reason(self) -> str:
        """Why it asks."""
        return str(self)


@dataclass(frozen=True)
class FileChange:
    """One change that a plugin would make; what it really changed is seen from outside."""

    path: str | Path
    kind: Literal["modify", "create", "rename", "delete"]
    summary: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


class Log:
    """`ctx.log`: one JSON line a message, on standard error; fields that JSON does not know are written as text."""

    def debug(self, message: str, **fields: Any) -> None:
        """Say what only its author wants to know."""
        self._write("DEBUG", message, fields)

    def info(self, message: str, **fields: Any) -> None:
        """Say what was done."""
        self._write("INFO", message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Say what somebody should look at."""
        self._write("WARNING", message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """Say what failed."""
        self._write("ERROR", message, fields)

    def _write(self, level: str, message: str, fields: Mapping[str, Any]) -> None:
        line = {"level": level, "message": message, **({"context": fields} if fields else {})}
        print(json.dumps(line, default=str), file=sys.stderr, flush=True)


@dataclass(frozen=True)
class PluginContext:
    """A run's surroundings. `variables` may be changed: it is this run's own copy."""

    variables: dict[str, Any]
    dst_root: Path
    answers_file: Path
    template_name: str = ""
    template_version: str = ""
    run_kind: str = ""
    equipment_id: str = ""
    project: str = ""
    dry_run: bool = False
    log: Log = field(default_factory=Log)
    proxy: str = ""  # the socket that leads out of the box; `fetch` knows how to use it

    def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_seconds: float = 30.0,
        most_bytes: int = 8 * 2**20,
    ) -> "Response":
        """Ask a host that the manifest names and the operator grants; raises PluginError where it is not reached.

        Returns `status`, `headers` and `body`. Redirects are not followed. All that a run sends and receives is within
        the manifest's `network_mb`.
        """
        from plugin_sandbox.fetching import fetch  # costs as much as all the rest, and few need it

        return fetch(
            self.proxy,
            url,
            method=method,
            headers=headers,
            body=body,
            timeout_seconds=timeout_seconds,
            most_bytes=most_bytes,
        )


class Plugin(ABC):
    """Derive from it, under the name `Plugin`. What the class says of itself is for readers: the manifest counts."""

    name: str = ""
    version: str = ""
    supported_extensions: tuple[str, ...] | list[str] = ()
    api_version: str = "1"
    required_variables: tuple[str, ...] | list[str] = ()
    optional_variables: tuple[str, ...] | list[str] = ()

    @abstractmethod
    def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
        """Say whether this file is the plugin's; an exception makes this one file a failed one."""

    @abstractmethod
    def transform(self, path: Path, ctx: PluginContext) -> None:
        """Change the file, or make others below `ctx.dst_root`."""

    def validate_variables(self, variables: dict[str, Any]) -> list[str]:
        """Return what is wrong with the variables, a sentence each; with any, the run fails before it begins."""
        return [
            f"required variable '{name}' is missing or empty"
            for name in self.required_variables
            if not variables.get(name)
        ]

    def pre_transform_all(self, ctx: PluginContext) -> None:
        """Do what comes before the first file."""

    def post_transform_all(self, ctx: PluginContext) -> None:
        """Do what comes after the last file. It may fail, and not ask: a question here fails the run."""

    def describe_changes(self, path: Path, ctx: PluginContext) -> list[FileChange]:
        """Say what `transform` would change; called in its place in a dry run."""
        del ctx
        return [FileChange(path, "modify")]

    def on_plugin_failure(self, exc: Exception, ctx: PluginContext) -> None:
        """Hear that the run ends with a PluginError or a question."""
