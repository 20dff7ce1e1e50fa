"""How modules, providers and models describe themselves, and how a session in one process stands."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from pydantic import Field, field_validator

from orchestrator.contracts.base import JsonObject, Lenient
from orchestrator.contracts.chat import refuse_float_cost

#: Names of what a model can do; a service may name others.
WELL_KNOWN_CAPABILITIES: Final = (
    "tools",
    "streaming",
    "thinking",
    "vision",
    "json_mode",
    "fast",
    "code_execution",
    "web_search",
    "deep_research",
    "local",
    "audio",
    "image_generation",
    "computer_use",
    "embeddings",
    "long_context",
    "batch",
)

ModuleType: TypeAlias = Literal["orchestrator", "provider", "tool", "context", "hook", "resolver"]


class ModelInfo(Lenient):
    """One model; its window and its longest answer are counted in tokens."""

    id: str
    display_name: str
    context_window: int
    max_output_tokens: int
    capabilities: tuple[str, ...] = ()
    defaults: JsonObject = {}


class ConfigField(Lenient):
    """One question that sets a provider up; `show_when` names answers under which it is asked."""

    id: str
    display_name: str
    field_type: Literal["text", "secret", "choice", "boolean"] = "text"
    prompt: str
    env_var: str | None = None
    choices: tuple[str, ...] | None = None
    required: bool = True
    default: str | None = None
    show_when: dict[str, str] | None = None
    requires_model: bool = False


class ProviderInfo(Lenient):
    """One provider, and what it must be told."""

    id: str
    display_name: str
    credential_env_vars: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    defaults: JsonObject = {}
    config_fields: tuple[ConfigField, ...] = ()


class ModuleInfo(Lenient):
    """One module; `mount_point` is where it goes, `config_schema` a JSON Schema."""

    id: str
    name: str
    version: str
    type: ModuleType
    mount_point: str
    description: str
    config_schema: JsonObject | None = None


class SessionStatus(Lenient):
    """How a session in one process stands. `cost_usd` None is unknown, "0" is free."""

    session_id: str
    started_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime | None = None
    status: Literal["running", "completed", "failed", "cancelled"] = "running"
    total_messages: int = 0
    tool_invocations: int = 0
    tool_successes: int = 0
    tool_failures: int = 0
    total_input_tokens: int = 0
    total_output_tokens: int = 0
    cost_usd: Decimal | None = None
    last_activity: datetime | None = None
    last_error: JsonObject | None = None

    _cost_is_exact = field_validator("cost_usd", mode="before")(refuse_float_cost)

    def to_dict(self) -> JsonObject:
        """Return plain JSON data without what is None."""
        return self.to_wire()
