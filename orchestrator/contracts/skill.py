"""Skills: what one agent, or one plain step, of an app declares.

Responsive, supervisor and monitor skills are agents; `tool`, `ask`, `timer`, `compute` are plain
steps, so that a pipeline needs no model. Whatever the kind, routes say what comes next by signal.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue, PositiveFloat

from orchestrator.contracts.base import Frozen

SkillName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]

#: The route target that ends a session's work.
END = "__end__"


class Route(Frozen):
    """Where to go on a signal; with `gate`, only if the confidence suffices."""

    when: str
    next: str
    gate: Literal["confidence"] | None = None


class DispatchRule(Frozen):
    """A supervisor's rule: the first whose safe expression holds names the subordinate."""

    when: str
    target: str


class SkillBase(Frozen):
    """What every kind has."""

    name: SkillName
    description: str = ""
    routes: tuple[Route, ...] = ()


class Responsive(SkillBase):
    """An agent that a model drives: `prompt` is its system prompt, `tools` what it may call.

    `tools` maps a server's name to the names of its tools, or to ["*"].
    """

    kind: Literal["responsive"] = "responsive"
    prompt: str = ""
    model: str | None = None
    tools: dict[str, tuple[str, ...]] = {}


class Supervisor(SkillBase):
    """An agent that sends work on: to a subordinate skill, or to child sessions.

    Without `for_each` it picks one subordinate of this session, by rule or by model. With it, it
    submits one child session for each item of the list at that state key, waits for all (or
    any), and leaves their ends in `state[into]`.
    """

    kind: Literal["supervisor"] = "supervisor"
    subordinates: tuple[SkillName, ...]
    dispatch_strategy: Literal["llm", "rule"] = "llm"
    dispatch_prompt: str | None = None
    dispatch_rules: tuple[DispatchRule, ...] = ()
    max_dispatch_depth: Annotated[int, Field(ge=1, le=10)] = 3
    for_each: str | None = None
    item_key: str = "item"
    into: str = "children"
    join: Literal["all", "any"] = "all"
    max_children: Annotated[int, Field(ge=1, le=1000)] = 100


class Monitor(SkillBase):
    """An agent that looks on a schedule and submits a session when what it saw calls for one."""

    kind: Literal["monitor"] = "monitor"
    schedule: str
    observe: str
    emit_signal_when: str
    trigger_target: str
    tick_timeout_seconds: PositiveFloat = 30.0


class ToolStep(SkillBase):
    """One tool call with arguments that may be `=` expressions over state."""

    kind: Literal["tool"] = "tool"
    tool: str
    args: dict[str, JsonValue] = {}


class AskStep(SkillBase):
    """A question to a person; the answer lands in `state[into]`."""

    kind: Literal["ask"] = "ask"
    prompt: str
    into: str
    timeout_seconds: PositiveFloat | None = None


class TimerStep(SkillBase):
    """A pause of so many seconds, or until a signal of that name arrives."""

    kind: Literal["timer"] = "timer"
    seconds: Annotated[float, Field(ge=0)]
    until_signal: str | None = None


class ComputeStep(SkillBase):
    """A function of the state, sync or async, `file.py:function` below the app's folder.

    It gets the state (a mapping) and returns the keys to change, or None; the key `signal`, where
    present, chooses the route and is not stored. It has no effects outside: it may run twice.
    """

    kind: Literal["compute"] = "compute"
    call: str
    timeout_seconds: PositiveFloat = 60.0


Skill: TypeAlias = Annotated[
    Responsive | Supervisor | Monitor | ToolStep | AskStep | TimerStep | ComputeStep,
    Field(discriminator="kind"),
]
