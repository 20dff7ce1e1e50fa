"""The state of one incident. Callers give the first three; the tools' results fill in the rest."""

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

Severity: TypeAlias = Literal["high", "medium", "low"]
Environment: TypeAlias = Literal["production", "staging", "dev", "local"]

#: What people and other systems call the three severities.
SEVERITY_ALIASES: Final[dict[str, Severity]] = {
    **dict.fromkeys(("sev1", "sev2", "p1", "p2", "critical", "urgent", "high"), "high"),
    **dict.fromkeys(("sev3", "p3", "moderate", "warning", "medium"), "medium"),
    **dict.fromkeys(("sev4", "p4", "info", "informational", "low"), "low"),
}


def normalise_severity(value: object) -> object:
    """Return the severity that an alias means, anything else as it is: validation refuses that.

    >>> normalise_severity(" SEV1 "), normalise_severity("odd")
    ('high', 'odd')
    """
    return SEVERITY_ALIASES.get(value.strip().lower(), value) if isinstance(value, str) else value


AnySeverity: TypeAlias = Annotated[Severity, BeforeValidator(normalise_severity)]


class IncidentState(BaseModel):
    """What a session knows. `service_dir` is the service directory of the service in question."""

    model_config = ConfigDict(extra="forbid")

    service_dir: Annotated[str, Field(max_length=4096)] = ""
    environment: Environment | None = None
    severity: AnySeverity | None = None

    incident: dict[str, JsonValue] = {}
    findings: dict[str, JsonValue] = {}
    health: dict[str, JsonValue] = {}
    hypothesis: dict[str, JsonValue] = {}
    fix: dict[str, JsonValue] = {}
    verification: dict[str, JsonValue] = {}
    page: dict[str, JsonValue] = {}
    resolution: dict[str, JsonValue] = {}
