"""What may be done about it: propose and apply a restart, see whether it helped, page a team.

`apply_fix` acts on a real process and is approved by a person before (the app's gateway). It and
`notify_oncall` honour the idempotency key that the runtime gives, so a repetition after a crash does
nothing more. `service_dir`, the incident's id and text, and the key never come from a model.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from pydantic import BaseModel, Field, JsonValue

from ..outbox import OutboxError, Page, deliver_page
from ..probe import wait_healthy
from ..restart import Fix, Proposal, apply_restart, propose_restart
from ..service import ServiceError, load_service

_VERIFY_SECONDS = 10.0
_CONSECUTIVE = 3

Text = Annotated[str, Field(min_length=1, max_length=4_000)]


class Settings(BaseModel):
    """The server's `config`. Without an `outbox`, pages go into the service's directory."""

    services_root: str = ""
    outbox: str = ""
    escalation_teams: tuple[str, ...] = ()


class Verification(BaseModel):
    """Whether the service works: so many good checks in a row, within the time."""

    service: str
    healthy: bool
    status: int | None
    error_rate: float
    consecutive_needed: int
    detail: str


class Delivered(Page):
    """A page, and whether it had been delivered before under the same key."""

    repeated: bool = False


def register(mcp_app: FastMCP, cfg: Mapping[str, JsonValue]) -> None:
    """Add the tools to `mcp_app`; raise pydantic's ValidationError for a bad `config`."""
    settings = Settings.model_validate({key: cfg[key] for key in Settings.model_fields if key in cfg})
    _register_repair(mcp_app, settings)
    _register_paging(mcp_app, settings)


def _register_repair(mcp_app: FastMCP, settings: Settings) -> None:
    root = settings.services_root

    @mcp_app.tool
    def propose_fix(hypothesis: Text, service_dir: str = "") -> Proposal:
        """Propose a restart for the given hypothesis. Changes nothing; the proposal is for `apply_fix`."""
        try:
            return propose_restart(load_service(service_dir, root=root), hypothesis.strip())
        except ServiceError as error:
            raise ToolError(str(error)) from error

    @mcp_app.tool
    def apply_fix(proposal_id: Text, service_dir: str = "", idempotency_key: str = "") -> Fix:
        """Restart the service's process as proposed. A person is asked first."""
        try:
            return apply_restart(service_dir, proposal_id, idempotency_key, root=root)
        except (ServiceError, OSError) as error:
            raise ToolError(str(error)) from error

    @mcp_app.tool
    def verify_health(service_dir: str = "") -> Verification:
        """See whether the service works now: several good checks in a row."""
        try:
            service = load_service(service_dir, root=root)
        except ServiceError as error:
            raise ToolError(str(error)) from error
        health, healthy = wait_healthy(service, timeout_seconds=_VERIFY_SECONDS, consecutive=_CONSECUTIVE)
        return Verification(
            service=service.name,
            healthy=healthy,
            status=health.status,
            error_rate=health.error_rate,
            consecutive_needed=_CONSECUTIVE,
            detail=health.error or f"health answers {health.status}",
        )


def _register_paging(mcp_app: FastMCP, settings: Settings) -> None:
    @mcp_app.tool
    def notify_oncall(
        team: Text,
        message: Annotated[str, Field(max_length=4_000)] = "",
        incident_id: str = "",
        incident_text: str = "",
        service_dir: str = "",
        idempotency_key: str = "",
    ) -> Delivered:
        """Page a team on call with a message, and so hand the incident over to it.

        Say what is broken, what was found, what was tried. Without a message, the team gets the
        incident's own text.
        """
        refuse_unknown_team(team, settings.escalation_teams)
        try:
            path = (
                Path(settings.outbox)
                if settings.outbox
                else load_service(service_dir, root=settings.services_root).folder / "oncall.jsonl"
            )
            page, repeated = deliver_page(
                path,
                incident_id=incident_id,
                team=team,
                message=message.strip() or f"Handed over: {incident_text.strip()}"[:4_000],
                key=idempotency_key,
            )
        except (ServiceError, OutboxError) as error:
            raise ToolError(str(error)) from error
        return Delivered(**page.model_dump(), repeated=repeated)


def refuse_unknown_team(team: str, roster: tuple[str, ...]) -> None:
    """Raise ToolError for a team that is not on a roster that has any."""
    if roster and team not in roster:
        raise ToolError(f"team {team[:80]!r}: not on the roster; choose one of {', '.join(roster)}")
