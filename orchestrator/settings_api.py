"""The sections of settings that `baton api` reads: how it listens, whom it believes, what it takes, whom it tells."""

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from orchestrator.settings_section import KIB, MIB, Seconds, Section, at_least


class ApiSettings(Section):
    """The HTTP API."""

    host: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        default="127.0.0.1",
        description="The address it listens on; beyond loopback only with tokens or a login service.",
    )
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(default=8080, description="Its port; 0 takes a free one.")
    tokens_file: str = Field(default="", description="A YAML file of tokens beside those of the store; empty: none.")
    oidc_issuer: str = Field(default="", description="The issuer whose JWTs are believed; empty: none.")
    oidc_audience: str = Field(default="", description="The audience that a JWT must be for.")
    oidc_keys: str = Field(default="", description="The issuer's keys (JWKS): a file, or an https URL.")
    oidc_name_claim: str = Field(default="sub", description="The claim that names the actor.")
    oidc_roles_claim: str = Field(default="roles", description="The claim that holds the roles, nested by dots.")
    four_eyes: bool = Field(default=False, description="Whether who started a session may not allow its calls.")
    mcp: bool = Field(default=True, description="Whether it serves MCP at /mcp.")
    requests_per_second: Annotated[float, Field(gt=0, le=100_000)] = Field(
        default=50.0, description="What one caller may ask for, on average."
    )
    requests_burst: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=200, description="What one caller may ask for at once."
    )
    refusals_per_minute: Annotated[float, Field(gt=0, le=100_000)] = Field(
        default=30.0, description="Wrong tokens that one address may try."
    )
    body_bytes: Annotated[int, Field(ge=KIB, le=64 * MIB)] = Field(default=1_048_576, description="A request's body.")
    body_seconds: Seconds = Field(default=10.0, description="How long a body may take to come.")
    header_seconds: Seconds = Field(default=10.0, description="How long the head of a request may take to come.")
    connections: Annotated[int, Field(ge=1, le=100_000)] = Field(default=4_000, description="Connections at once.")
    streams: Annotated[int, Field(ge=1, le=100_000)] = Field(default=2_000, description="Event streams at once.")
    stream_seconds: Annotated[float, Field(ge=0.02, le=60)] = Field(
        default=0.25, description="How often streams look for what is new."
    )

    @field_validator("streams")
    @classmethod
    def _streams_are_connections(cls, value: int, info: ValidationInfo) -> int:
        most = info.data.get("connections", value)
        if value > most:
            raise ValueError(f"{value} is more than api.connections ({most}); a stream is a connection")
        return value


class WebhookSettings(Section):
    """Outgoing webhooks; the endpoints are in a file of their own."""

    file: str = Field(default="", description="The file of endpoints; empty: webhooks.yaml in the folder of settings.")
    attempts: Annotated[int, Field(ge=1, le=100)] = Field(default=15, description="Tries before one is given up.")
    base_seconds: Seconds = Field(default=5.0, description="Before the second try, doubled for each one after it.")
    max_seconds: Seconds = Field(default=14_400.0, description="Never longer than this.")
    jitter: Annotated[float, Field(ge=0, le=1)] = Field(default=0.2, description="Share of the time that is random.")
    timeout_seconds: Annotated[float, Field(ge=0.1, le=120)] = Field(default=10.0, description="For one try.")
    at_once: Annotated[int, Field(ge=1, le=1_000)] = Field(default=16, description="Tries at once.")
    allow_private: bool = Field(
        default=False, description="Whether endpoints may lie in private networks and on this machine."
    )

    @field_validator("max_seconds")
    @classmethod
    def _max_over_base(cls, value: float, info: ValidationInfo) -> float:
        return at_least(value, info, "base_seconds", "webhooks")
