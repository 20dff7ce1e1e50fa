"""The shapes around a mount plan: where modules sit, what is to be loaded, what a check found.

A mount plan is a plain mapping, the same one that its session keeps; `kernel/mount_validation.py`
says what is right and wrong with one. Here are the closed sets and the values that it is read into.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from pydantic import Field

from orchestrator.contracts.base import Frozen
from orchestrator.contracts.modules import ModuleType

#: Slots that hold one module, and slots that hold several by name. `hooks` is the registry itself.
SinglePoint: TypeAlias = Literal["orchestrator", "context", "module-source-resolver"]
NamedPoint: TypeAlias = Literal["providers", "tools"]
MountPoint: TypeAlias = Literal["orchestrator", "providers", "tools", "context", "hooks", "module-source-resolver"]

#: The parts of a mount plan that are lists of modules, in the order in which they are mounted.
ModuleSection: TypeAlias = Literal["providers", "tools", "hooks"]

MOUNT_POINT_OF: Final[Mapping[ModuleType, MountPoint]] = {
    "orchestrator": "orchestrator",
    "provider": "providers",
    "tool": "tools",
    "context": "context",
    "hook": "hooks",
    "resolver": "module-source-resolver",
}

TYPE_OF_SECTION: Final[Mapping[ModuleSection, ModuleType]] = {
    "providers": "provider",
    "tools": "tool",
    "hooks": "hook",
}

Severity: TypeAlias = Literal["error", "warning", "info"]


class ModuleEntry(Frozen):
    """One module that a mount plan names.

    `source` is whatever the resolver understands; `instance_id` is the name under which one more
    provider of the same module is mounted; without `required`, a module that cannot be mounted is
    left out and the session goes on.
    """

    module: str = Field(min_length=1)
    source: Any = None
    config: dict[Any, Any] = {}
    instance_id: str | None = None
    required: bool = False


LoadFailureReason: TypeAlias = Literal["missing", "invalid", "mount_failed"]


class LoadFailure(Frozen):
    """A module that was left out of a session, and why; what the event module:load_failed tells."""

    module_type: ModuleType
    module_id: str
    error: str
    reason_code: LoadFailureReason
    instance_id: str | None = None


class ValidationCheck(Frozen):
    """One thing that was looked at. `name` is stable; `message` is for a person."""

    name: str
    passed: bool
    message: str
    severity: Severity


class ValidationResult(Frozen):
    """What a validator found, in the order in which it looked."""

    checks: tuple[ValidationCheck, ...] = ()

    @property
    def passed(self) -> bool:
        """Say whether no check failed that is an error; warnings do not count."""
        return not self.errors

    @property
    def errors(self) -> list[ValidationCheck]:
        """Return the failed checks that are errors."""
        return [check for check in self.checks if not check.passed and check.severity == "error"]

    @property
    def warnings(self) -> list[ValidationCheck]:
        """Return the failed checks that are warnings."""
        return [check for check in self.checks if not check.passed and check.severity == "warning"]

    def summary(self) -> str:
        """Return one line: the verdict and the counts."""
        good = sum(check.passed for check in self.checks)
        verdict = "passed" if self.passed else "failed"
        return (
            f"{verdict}: {good} of {len(self.checks)} checks good, "
            f"{len(self.errors)} errors, {len(self.warnings)} warnings"
        )

    def format_errors(self) -> str:
        """Return the errors as numbered lines, or "no errors"."""
        lines = [f"{number}. {check.name}: {check.message}" for number, check in enumerate(self.errors, 1)]
        return "\n".join(lines) or "no errors"
