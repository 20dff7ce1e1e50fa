"""AppSpec: all that one app declares, as values.

`app_loader` builds it from app.yaml and refuses what does not hold together; this module only
gives the shapes. Names that an app chooses (statuses, tools, teams) appear here as data alone.
The digest of a spec pins the version of its app that a session runs on.
"""

from hashlib import sha256
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue, PositiveFloat

from orchestrator.contracts.base import Frozen
from orchestrator.contracts.skill import Skill

StatusKind: TypeAlias = Literal["success", "failure", "escalation", "needs_review", "pending"]
Risk: TypeAlias = Literal["low", "medium", "high"]
Effect: TypeAlias = Literal["read_only", "idempotent", "effectful"]
OnUncertain: TypeAlias = Literal["ask", "fail", "retry"]
UpdateOp: TypeAlias = Literal["set", "append", "extend", "merge", "add"]

Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=128)]
Fraction: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class StatusDef(Frozen):
    """A status word: whether a session ends with it, and what kind of end that is.

    `mirrors` copies extracted fields under further names: {escalated_to: team}.
    """

    terminal: bool = True
    kind: StatusKind
    mirrors: dict[str, str] = {}


class TerminalRule(Frozen):
    """A tool call that ends a session: which tool, with which arguments, to which status.

    `tool_name` is bare or qualified by its server. `extract_fields` maps a field to the lookups
    tried for it in order: `args.NAME` or `result.NAME`, nested by dots.
    """

    tool_name: Name
    status: Name
    extract_fields: dict[str, tuple[str, ...]] = {}
    match_args: dict[str, str] = {}


class StateUpdate(Frozen):
    """How a successful tool call changes the session's state, in the commit of that very call.

    `into` is a top-level key of the state; `source` is a lookup as in `extract_fields`, or None
    for the whole result. `append` adds one item to a list, `extend` many, `merge` updates a
    mapping, `add` sums numbers.
    """

    into: Name
    op: UpdateOp = "set"
    source: str | None = Field(default=None, alias="from")


class ToolSpec(Frozen):
    """What the runtime must know of a tool beyond its MCP schema.

    `effect` says what a repetition does: nothing (read_only), nothing more (idempotent: it
    honours the `idempotency_key` argument), or something again (effectful).
    """

    effect: Effect = "effectful"
    on_uncertain: OnUncertain = "ask"
    timeout_seconds: PositiveFloat = 60.0
    updates: tuple[StateUpdate, ...] = ()


class McpServer(Frozen):
    """One MCP server: in this process (`module`), by URL, or by command. Exactly one is given.

    `module` is a file below the app's folder, or a dotted module, that has
    `register(mcp_app, cfg)`.
    """

    name: Name
    module: str | None = None
    url: str | None = None
    command: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    env: dict[str, str] = {}
    enabled: bool = True
    config: dict[str, JsonValue] = {}


class ModelSpec(Frozen):
    """Which provider speaks for the app's skills, and as which model.

    `options` go to the provider as they are: base_url, api_key_env, transcript path, max_tokens.
    `rules` is the policy of the `rules` provider, by skill name.
    """

    provider: Name = "rules"
    model: str = ""
    request_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 120.0
    options: dict[str, JsonValue] = {}
    rules: dict[str, tuple["PolicyRule", ...]] = {}


class PolicyCall(Frozen):
    """One tool call that a policy rule asks for.

    A string argument that begins with `=` is an expression over the rule's names (`==` stands for
    a literal `=`). With `for_each`, the call is made once for each value of that list, as `item`.
    """

    tool: Name
    args: dict[str, JsonValue] = {}
    for_each: str | None = None
    when: str | None = None


class PolicyRule(Frozen):
    """One line of the `rules` provider's policy: the first whose `when` holds decides the turn.

    Names in expressions: `state`, `results` (latest result by tool), `calls` (tools called in
    this activation of the skill, with repetition), `turn` (from 0), `text` (what the session was
    asked), `inputs` (answers of people). A rule makes calls, or says its last word.
    """

    when: str | None = None
    call: tuple[PolicyCall, ...] = ()
    say: str | None = None
    confidence: str | float | None = None
    rationale: str | None = None
    signal: str | None = None


class ProdOverrides(Frozen):
    """Tools that need an approval wherever the environment counts as production; globs allowed."""

    prod_environments: tuple[str, ...] = ("production",)
    resolution_trigger_tools: tuple[str, ...] = ()


class RiskPolicy(Frozen):
    """Which tools run at once (low), leave a notice (medium), or wait for a person (high)."""

    policy: dict[str, Risk] = {}
    default: Risk = "low"
    prod_overrides: ProdOverrides = ProdOverrides()
    approval_timeout_seconds: PositiveFloat = 3600.0
    approvers: tuple[str, ...] = ()


class GatePolicy(Frozen):
    """When a low confidence or a sensitive environment stops a call for a person."""

    confidence_threshold: Fraction = 0.7
    gated_environments: tuple[str, ...] = ("production",)
    gated_risk_actions: tuple[Literal["auto", "notify", "approve"], ...] = ("approve",)


class RetryPolicy(Frozen):
    """How often a failing step is tried again before its session is buried."""

    max_retries: Annotated[int, Field(ge=0, le=10)] = 2
    retry_on_transient: bool = True
    retry_low_confidence_threshold: Fraction = 0.4


class AppSpec(Frozen):
    """One app. `root` is its folder; `version` is free text shown to people."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    version: str = "0"
    description: str = ""
    session_id_prefix: str = "SES"
    entry_skill: Name
    signals: tuple[str, ...] = ("success", "failed", "needs_input")
    statuses: dict[str, StatusDef] = {}
    default_terminal_status: str | None = None
    cancelled_status: str | None = None
    terminal_tools: tuple[TerminalRule, ...] = ()
    patch_tools: tuple[str, ...] = ()
    harvest_terminal_tools: tuple[str, ...] = ()
    escalate_action_tool_name: str | None = None
    escalate_action_default_team: str | None = None
    escalate_action_args: dict[str, str] = {}
    escalation_teams: tuple[str, ...] = ()
    mcp_servers: tuple[McpServer, ...] = ()
    state_schema: str | None = None
    environments: tuple[str, ...] = ()
    confidence_threshold: Fraction = 0.75
    injected_args: dict[str, str] = {}
    tools: dict[str, ToolSpec] = {}
    model: ModelSpec = ModelSpec()
    gateway: RiskPolicy | None = None
    gate_policy: GatePolicy = GatePolicy()
    retry_policy: RetryPolicy = RetryPolicy()
    max_running: Annotated[int, Field(ge=1)] | None = None
    max_turns: Annotated[int, Field(ge=1, le=10_000)] = 200
    skills: dict[str, Skill]
    #: Digest of the app's Python files and prompts, set by the loader.
    sources: str = ""
    root: str = ""

    def digest(self) -> str:
        """Return 16 hex digits that name this version; where the folder lies does not count."""
        body = self.model_dump_json(exclude={"root"}, exclude_defaults=True)
        return sha256(body.encode()).hexdigest()[:16]


ModelSpec.model_rebuild()
