"""AppSpec: all that one app declares, as values.

`app_loader` builds it from app.yaml and refuses what does not hold together; this module only
gives the shapes. Names that an app chooses (statuses, tools, teams) appear here as data alone.
The digest of a spec pins the version of its app that a session runs on.
"""

from hashlib import sha256
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue, field_validator

from orchestrator.contracts.base import Frozen, Seconds
from orchestrator.contracts.budgets import BudgetSpec
from orchestrator.contracts.context import ContextSpec
from orchestrator.contracts.hooks import HookLimits, HookSpec
from orchestrator.contracts.ids import PREFIX_PATTERN, is_prefix
from orchestrator.contracts.skill import Skill
from orchestrator.contracts.triggers import Trigger

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

    terminal: bool = Field(default=True, description="Whether a session ends with it.")
    kind: StatusKind = Field(description="What kind of end (or, for `pending`, of intermediate state) it is.")
    mirrors: dict[str, str] = Field(
        default={}, description="Further names of extracted fields.", examples=[{"escalated_to": "team"}]
    )


class TerminalRule(Frozen):
    """A tool call that ends a session: which tool, with which arguments, to which status.

    `tool_name` is bare or qualified by its server. `extract_fields` maps a field to the lookups
    tried for it in order: `args.NAME` or `result.NAME`, nested by dots.
    """

    tool_name: Name = Field(description="The tool, bare or as `server:tool`.", examples=["close_ticket"])
    status: Name = Field(description="The terminal status that the call leads to, one of `statuses`.")
    extract_fields: dict[str, tuple[str, ...]] = Field(
        default={},
        description="Fields kept with the end: for each, lookups tried in order, `args.NAME` or `result.NAME`.",
        examples=[{"team": ["args.team", "result.team"]}],
    )
    match_args: dict[str, str] = Field(
        default={},
        description="Arguments that the call must have, compared as text and exactly.",
        examples=[{"verdict": "yes"}],
    )


class StateUpdate(Frozen):
    """How a successful tool call changes the session's state, in the commit of that very call.

    `into` is a top-level key of the state; `source` is a lookup as in `extract_fields`, or None
    for the whole result. `append` adds one item to a list, `extend` many, `merge` updates a
    mapping, `add` sums numbers.
    """

    into: Name = Field(description="The top-level key of the state that changes.")
    op: UpdateOp = Field(default="set", description="How the value goes in.")
    source: str | None = Field(
        default=None,
        alias="from",
        description="Where the value is: `args.NAME` or `result.NAME`; the whole result if left out.",
        examples=["result.items"],
    )


class ToolSpec(Frozen):
    """What the runtime must know of a tool beyond its MCP schema.

    `effect` says what a repetition does: nothing (read_only), nothing more (idempotent: it
    honours the `idempotency_key` argument), or something again (effectful).
    """

    effect: Effect = Field(default="effectful", description="What a repetition of the call does.")
    on_uncertain: OnUncertain = Field(
        default="ask", description="What happens when a crash leaves it unknown whether an effectful call acted."
    )
    timeout_seconds: Seconds = Field(default=60.0, description="How long one call may take.")
    updates: tuple[StateUpdate, ...] = Field(
        default=(), description="How a successful call changes the session's state."
    )


class McpServer(Frozen):
    """One MCP server: in this process (`module`), by URL, or by command. Exactly one is given.

    `module` is a file below the app's folder, or a dotted module, that has
    `register(mcp_app, cfg)`.
    """

    name: Name = Field(description="Stands before the names of its tools: `name:tool`.", examples=["files"])
    module: str | None = Field(
        default=None,
        description="In this process: a file of the app, or a dotted module, with `register(mcp_app, cfg)`.",
        examples=["mcp_servers/files.py"],
    )
    url: str | None = Field(
        default=None, description="A remote server over HTTP.", examples=["https://tools.example.com/mcp"]
    )
    command: tuple[str, ...] = Field(
        default=(), description="A server over standard input and output.", examples=[["my-mcp-server", "--quiet"]]
    )
    headers: dict[str, str] = Field(
        default={},
        description="HTTP headers for a `url`; secrets come in by variables.",
        examples=[{"Authorization": "Bearer ${TOOLS_TOKEN}"}],
    )
    env: dict[str, str] = Field(default={}, description="Environment variables for a `command`.")
    enabled: bool = Field(
        default=True, description="Whether it is used; a disabled server needs none of its variables."
    )
    config: dict[str, JsonValue] = Field(default={}, description="What `register` gets as its settings.")


class ModelSpec(Frozen):
    """Which provider speaks for the app's skills, and as which model.

    `options` go to the provider as they are: base_url, api_key_env, transcript path, max_tokens.
    `rules` is the policy of the `rules` provider, by skill name.
    """

    provider: Name = Field(
        default="rules",
        description="The adapter: `rules` and `scripted` need no model service.",
        examples=["rules", "scripted", "openai_compat", "anthropic"],
    )
    model: str = Field(default="", description="The model's name at that service.")
    request_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        default=120.0, description="How long one model call may take."
    )
    options: dict[str, JsonValue] = Field(
        default={},
        description="What the provider gets as it is; never a key itself, but the name of its variable.",
        examples=[{"base_url": "http://localhost:8000/v1", "api_key_env": "MODEL_API_KEY"}],
    )
    rules: dict[str, tuple["PolicyRule", ...]] = Field(
        default={}, description="The policy of the `rules` provider, by skill: the first rule that holds decides."
    )
    patience_seconds: Annotated[float, Field(ge=0, le=2_592_000)] | None = Field(
        default=None,
        description="How long a session waits for services that are left alone because they fail; left out: `models.patience_seconds`.",
    )
    stream: bool = Field(
        default=False, description="Whether answers can be watched while they are written, where the provider streams."
    )
    fallback: tuple["FallbackModel", ...] = Field(
        default=(), description="Who is asked, in this order, while the service fails or may not be called."
    )


class FallbackModel(Frozen):
    """Another service for the same requests; its `options` are its own, the policy's rules are the app's."""

    provider: Name = Field(description="The adapter.", examples=["anthropic"])
    model: str = Field(default="", description="The model's name at that service, whatever model a skill names.")
    request_timeout_seconds: Annotated[float, Field(gt=0, le=600)] | None = Field(
        default=None, description="How long one call may take; as the first service if left out."
    )
    options: dict[str, JsonValue] = Field(default={}, description="What the provider gets as it is.")


class PolicyCall(Frozen):
    """One tool call that a policy rule asks for.

    A string argument that begins with `=` is an expression over the rule's names (`==` stands for
    a literal `=`). With `for_each`, the call is made once for each value of that list, as `item`.
    """

    tool: Name = Field(description="A tool that the skill declares, bare or as `server:tool`.")
    args: dict[str, JsonValue] = Field(
        default={},
        description="Arguments; a string that begins with `=` is an expression.",
        examples=[{"path": "=state['path']", "limit": 10}],
    )
    for_each: str | None = Field(
        default=None, description="An expression for a list: one call for each value, as `item`."
    )
    when: str | None = Field(default=None, description="An expression: the call is made only if it holds.")


class PolicyRule(Frozen):
    """One line of the `rules` provider's policy: the first whose `when` holds decides the turn.

    Names in expressions: `state`, `results` (latest result by tool), `calls` (tools called in
    this activation of the skill, with repetition), `turn` (from 0), `text` (what the session was
    asked), `inputs` (answers of people). A rule makes calls, or says its last word.
    """

    when: str | None = Field(
        default=None, description="An expression; a rule without one always holds.", examples=["'scan' not in calls"]
    )
    call: tuple[PolicyCall, ...] = Field(default=(), description="The tool calls to make.")
    say: str | None = Field(default=None, description="The last word: ends the skill's turns.")
    confidence: str | float | None = Field(default=None, description="A number from 0 to 1, or an expression.")
    rationale: str | None = Field(default=None, description="Why the confidence is what it is.")
    signal: str | None = Field(default=None, description="The signal that chooses the route.")


class ProdOverrides(Frozen):
    """Tools that need an approval wherever the environment counts as production; globs allowed."""

    prod_environments: tuple[str, ...] = Field(
        default=("production",), description="Environments that count as production."
    )
    resolution_trigger_tools: tuple[str, ...] = Field(
        default=(),
        description="Tools that are high-risk there, full or bare names, globs allowed.",
        examples=[["repair:*"]],
    )


class RiskPolicy(Frozen):
    """Which tools run at once (low), leave a notice (medium), or wait for a person (high)."""

    policy: dict[str, Risk] = Field(
        default={},
        description="Risk by tool, full or bare name; the full name goes first.",
        examples=[{"restart": "high"}],
    )
    default: Risk = Field(default="low", description="The risk of every tool that the policy does not name.")
    prod_overrides: ProdOverrides = Field(default=ProdOverrides(), description="What is stricter in production.")
    approval_timeout_seconds: Seconds = Field(
        default=3600.0, description="How long a person has to answer; then the call counts as denied."
    )
    approvers: tuple[str, ...] = Field(default=(), description="Who may answer; empty: anyone who may approve.")


class GatePolicy(Frozen):
    """When a low confidence or a sensitive environment stops a call for a person."""

    confidence_threshold: Fraction = Field(
        default=0.7, description="Below it, a call that is not low-risk waits for a person."
    )
    gated_environments: tuple[str, ...] = Field(
        default=("production",), description="Environments where a call that is not low-risk waits for a person."
    )
    gated_risk_actions: tuple[Literal["auto", "notify", "approve"], ...] = Field(
        default=("approve",), description="Actions that wait for a person everywhere."
    )


class RetryPolicy(Frozen):
    """How often a failing step is tried again before its session is buried."""

    max_retries: Annotated[int, Field(ge=0, le=10)] = Field(default=2, description="Tries after the first one.")
    retry_on_transient: bool = Field(default=True, description="Whether what may work later is tried again.")
    retry_low_confidence_threshold: Fraction = Field(
        default=0.4, description="Below it, a failed step is not tried again but shown to a person."
    )


class AppSpec(Frozen):
    """One app. `root` is its folder; `version` is free text shown to people."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = Field(
        description="The app's name in commands; the folder's name if left out.", examples=["ticket_triage"]
    )
    version: str = Field(default="0", description="Free text, shown to people.")
    description: str = Field(default="", description="One sentence: what the app is for.")
    session_id_prefix: str = Field(
        default="SES",
        description="Begins the ids of its sessions: 1-16 letters, digits and hyphens, a letter first.",
        examples=["TCK"],
        json_schema_extra={"pattern": f"^{PREFIX_PATTERN}$"},
    )
    entry_skill: Name = Field(description="The skill that a new session enters.")
    signals: tuple[str, ...] = Field(
        default=("success", "failed", "needs_input"), description="The words that routes are chosen by, lower case."
    )
    statuses: dict[str, StatusDef] = Field(
        default={},
        description="The app's words for where its sessions are and how they end.",
        examples=[{"done": {"kind": "success"}, "unclear": {"kind": "needs_review"}}],
    )
    default_terminal_status: str | None = Field(
        default=None, description="How a session ends that no terminal rule decides; required with `statuses`."
    )
    cancelled_status: str | None = Field(default=None, description="How a cancelled session ends.")
    terminal_tools: tuple[TerminalRule, ...] = Field(
        default=(),
        description="Which tool calls end a session; the latest matching call decides, the first rule first.",
    )
    patch_tools: tuple[str, ...] = Field(
        default=(), description="Tools whose `patch` argument tells confidence, rationale and signal on the way."
    )
    harvest_terminal_tools: tuple[str, ...] = Field(
        default=(), description="Tools that end an agent's work, not the session: read for confidence and rationale."
    )
    escalate_action_tool_name: str | None = Field(
        default=None, description="The tool that is called when a person escalates a session."
    )
    escalate_action_default_team: str | None = Field(
        default=None, description="The team that an escalation goes to when none is named."
    )
    escalate_action_args: dict[str, str] = Field(
        default={},
        description="Arguments of that call: `team`, `message`, `session.id`, `session.text`, or a fixed text.",
        examples=[{"ticket": "session.id", "text": "message"}],
    )
    escalation_teams: tuple[str, ...] = Field(
        default=(), description="The teams that a session may be escalated to; empty: any."
    )
    mcp_servers: tuple[McpServer, ...] = Field(default=(), description="Where the tools come from.")
    state_schema: str | None = Field(
        default=None,
        description="The pydantic class of the state: `file.py:Class` of the app, or `package.module:Class`.",
        examples=["state.py:State"],
    )
    environments: tuple[str, ...] = Field(
        default=(), description="The environments that the app knows; any other one counts as production."
    )
    confidence_threshold: Fraction = Field(
        default=0.75, description="What a route with `gate: confidence` demands of the skill that it leaves."
    )
    injected_args: dict[str, str] = Field(
        default={},
        description="Tool arguments that the runtime fills in and no model sees.",
        examples=[{"session_id": "session.id", "environment": "session.state.environment"}],
    )
    tools: dict[str, ToolSpec] = Field(
        default={}, description="What the runtime must know of tools, by full or bare name."
    )
    model: ModelSpec = Field(default=ModelSpec(), description="Who speaks for the app's skills.")
    context: ContextSpec | None = Field(
        default=None, description="How what its models see is kept within a budget; without it, they see everything."
    )
    gateway: RiskPolicy | None = Field(
        default=None, description="Which tools wait for a person; without it, none does."
    )
    gate_policy: GatePolicy = Field(default=GatePolicy(), description="What else stops a call for a person.")
    retry_policy: RetryPolicy = Field(default=RetryPolicy(), description="When a failing step is tried again.")
    hooks: tuple[HookSpec, ...] = Field(
        default=(),
        description="Functions of the app that are told of events, and may stop, change, add or ask.",
        examples=[[{"call": "policy.py:guard", "event": "tool:pre", "critical": True}]],
    )
    hook_limits: HookLimits = Field(default=HookLimits(), description="What the texts of hooks may come to.")
    budget: BudgetSpec | None = Field(
        default=None, description="What its sessions may use, each and together; without it, nothing is counted."
    )
    max_running: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="How many of its sessions may run at once; none: as many as there is room for."
    )
    max_turns: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=200, description="How many model turns one activation of a skill may take."
    )
    max_steps: Annotated[int, Field(ge=1, le=150_000)] = Field(
        default=100_000, description="Steps that a session may take before it is buried as a runaway."
    )
    skills: dict[str, Skill] = Field(
        description="Skills declared here; those of `skills/NAME/config.yaml` come in addition."
    )
    triggers: tuple[Trigger, ...] = Field(
        default=(), description="What starts its sessions without a person: webhooks and schedules."
    )
    #: Digest of the app's Python files and prompts, set by the loader.
    sources: str = ""
    root: str = ""

    @field_validator("session_id_prefix")
    @classmethod
    def _check_prefix(cls, prefix: str) -> str:
        if not is_prefix(prefix):
            raise ValueError(
                f"session_id_prefix={prefix!r} must be 1-16 chars of alphanumerics and hyphens (no whitespace, no "
                "symbols), a letter first and no hyphen last; every id must be readable again"
            )
        return prefix

    def digest(self) -> str:
        """Return 16 hex digits that name this version of the app.

        Where the folder lies does not count, nor do its triggers, nor the headers and variables of its servers: a
        credential or a start that is changed must not turn every waiting session's app into another one.
        """
        secrets = {"mcp_servers": {"__all__": {"headers", "env"}}}
        body = self.model_dump_json(exclude={"root": True, "triggers": True, **secrets}, exclude_defaults=True)
        return sha256(body.encode()).hexdigest()[:16]


ModelSpec.model_rebuild()
