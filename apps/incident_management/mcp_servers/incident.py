"""The incident's own record: what is known of it, what is believed, how it ended.

These tools check what they are given and return it; the state changes by what app.yaml declares.
`mark_resolved` asks the real service first: an incident is not resolved while the service fails.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from ..probe import check_health
from ..service import ServiceError, load_service
from ..state import AnySeverity
from .remediation import refuse_unknown_team

Text = Annotated[str, Field(min_length=1, max_length=4_000, pattern=r"\S")]
Short = Annotated[str, Field(min_length=1, max_length=200)]
Confidence = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    """The server's `config`."""

    services_root: str = ""
    escalation_teams: tuple[str, ...] = ()


class Patch(BaseModel):
    """What may be changed of an incident. How it ends is not among it: call the tool that ends it."""

    model_config = ConfigDict(extra="forbid")

    severity: AnySeverity | None = None
    category: Short | None = None
    summary: Text | None = None
    tags: Annotated[list[Short], Field(max_length=20)] | None = None
    matched_prior_inc: Short | None = None
    findings: Annotated[dict[Short, Text], Field(max_length=20)] | None = None
    signal: Short | None = None
    confidence: float | str | None = None
    confidence_rationale: Text | None = None


class Updated(BaseModel):
    """What `update_incident` changes: `fields` of the incident, and `findings` by their names."""

    incident_id: str
    fields: dict[str, JsonValue]
    findings: dict[str, str]
    severity: str | None


class Believed(BaseModel):
    """A hypothesis as it is recorded."""

    incident_id: str
    hypotheses: list[str]
    confidence: float
    confidence_rationale: str
    findings_for: str


class Resolved(BaseModel):
    """A resolution as it is recorded."""

    incident_id: str
    status: Literal["resolved"] = "resolved"
    resolution_summary: str
    confidence: float
    confidence_rationale: str


class Escalated(BaseModel):
    """A handing over as it is recorded."""

    incident_id: str
    status: Literal["escalated"] = "escalated"
    team: str
    reason: str
    confidence: float
    confidence_rationale: str


def register(mcp_app: FastMCP, cfg: Mapping[str, JsonValue]) -> None:
    """Add the tools to `mcp_app`; raise pydantic's ValidationError for a bad `config`."""
    settings = Settings.model_validate({key: cfg[key] for key in Settings.model_fields if key in cfg})
    _register_record(mcp_app)
    _register_ends(mcp_app, settings)


def _register_record(mcp_app: FastMCP) -> None:
    @mcp_app.tool
    def update_incident(patch: Patch, incident_id: str = "") -> Updated:
        """Change what is known of the incident: severity, category, summary, tags, findings."""
        known = patch.model_dump(
            exclude_none=True, exclude={"findings", "signal", "confidence", "confidence_rationale"}
        )
        return Updated(
            incident_id=incident_id, fields=known, findings=patch.findings or {}, severity=known.get("severity")
        )

    @mcp_app.tool
    def submit_hypothesis(
        hypotheses: Annotated[list[Text], Field(min_length=1, max_length=10)],
        confidence: Confidence,
        confidence_rationale: Text,
        findings_for: Short = "deep_investigator",
        incident_id: str = "",
    ) -> Believed:
        """Record what is believed to be the cause, the likeliest first, and how sure you are (0 to 1)."""
        return Believed(
            incident_id=incident_id,
            hypotheses=hypotheses,
            confidence=confidence,
            confidence_rationale=confidence_rationale,
            findings_for=findings_for,
        )


def _register_ends(mcp_app: FastMCP, settings: Settings) -> None:
    @mcp_app.tool
    def mark_resolved(
        resolution_summary: Text,
        confidence: Confidence,
        confidence_rationale: Text,
        service_dir: str = "",
        incident_id: str = "",
    ) -> Resolved:
        """End the incident as resolved. Refused while the service fails."""
        try:
            health = check_health(load_service(service_dir, root=settings.services_root), probes=2)
        except ServiceError as error:
            raise ToolError(str(error)) from error
        if not health.healthy:
            shown = health.error or f"answers {health.status}, {health.error_rate:.0%} of requests fail"
            raise ToolError(f"service {health.service}: {shown}; it is not resolved: mend it or hand it over")
        return Resolved(
            incident_id=incident_id,
            resolution_summary=resolution_summary,
            confidence=confidence,
            confidence_rationale=confidence_rationale,
        )

    @mcp_app.tool
    def mark_escalated(
        team: Short, reason: Text, confidence: Confidence, confidence_rationale: Text, incident_id: str = ""
    ) -> Escalated:
        """End the incident as handed over to a team that knows of it already."""
        refuse_unknown_team(team, settings.escalation_teams)
        return Escalated(
            incident_id=incident_id,
            team=team,
            reason=reason,
            confidence=confidence,
            confidence_rationale=confidence_rationale,
        )
