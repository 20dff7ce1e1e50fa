"""Skills: what one agent, or one plain step, of an app declares.

Responsive, supervisor and monitor skills are agents; `tool`, `ask`, `timer`, `compute`,
`plugin_pass` are plain steps, so that a pipeline needs no model. Whatever the kind, routes say what comes next by signal.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue, SerializerFunctionWrapHandler, model_serializer

from orchestrator.contracts.base import LONGEST_SECONDS, Frozen, JsonObject, Seconds

SKILL_PATTERN = r"[a-z][a-z0-9_]{0,63}"
SkillName: TypeAlias = Annotated[str, Field(pattern=f"^{SKILL_PATTERN}$")]

#: The route target that ends a session's work.
END = "__end__"


class Route(Frozen):
    """Where to go on a signal; with `gate`, only if the confidence suffices."""

    when: str = Field(description="A declared signal, or `default`.", examples=["default"])
    next: str = Field(description="The skill to go to, or `__end__`.", examples=["__end__"])
    gate: Literal["confidence"] | None = Field(
        default=None, description="`confidence`: a person is asked first where the skill's confidence is too low."
    )


class DispatchRule(Frozen):
    """A supervisor's rule: the first whose safe expression holds names the subordinate."""

    when: str = Field(
        description="A safe expression over `state`, `text`, `session`, `depth`.", examples=["state['size'] > 3"]
    )
    target: str = Field(description="The subordinate that it names.")


class SkillBase(Frozen):
    """What every kind has."""

    kind: str
    name: SkillName
    description: str = Field(default="", description="One sentence: what the skill is for.")
    routes: tuple[Route, ...] = Field(default=(), description="What comes next, by signal.")

    @model_serializer(mode="wrap")
    def _keep_kind(self, handler: SerializerFunctionWrapHandler) -> JsonObject:
        """Write the kind even where defaults are left out: without it nothing can be read back."""
        return {"kind": self.kind, **handler(self)}


class Responsive(SkillBase):
    """An agent that a model drives: `prompt` is its system prompt, `tools` what it may call.

    `tools` maps a server's name to the names of its tools, or to ["*"].
    """

    kind: Literal["responsive"] = "responsive"
    prompt: str = Field(default="", description="The system prompt; in a skill's folder, its .md files.")
    model: str | None = Field(default=None, description="Another model than the app's.")
    tools: dict[str, tuple[str, ...]] = Field(
        default={},
        description='The tools that it may call, by server; ["*"] for all of them.',
        examples=[{"files": ["*"]}],
    )


class Supervisor(SkillBase):
    """An agent that sends work on: to a subordinate skill, or to child sessions.

    Without `for_each` it picks one subordinate of this session, by rule or by model. With it, it
    submits one child session for each item of the list at that state key, waits for all (or
    any), and leaves their ends in `state[into]`.
    """

    kind: Literal["supervisor"] = "supervisor"
    subordinates: tuple[SkillName, ...] = Field(description="The skills that it may send work to.")
    dispatch_strategy: Literal["llm", "rule"] = Field(default="llm", description="Who chooses the subordinate.")
    dispatch_prompt: str | None = Field(default=None, description="What the model is asked; for `llm`.")
    dispatch_rules: tuple[DispatchRule, ...] = Field(default=(), description="The first that holds; for `rule`.")
    max_dispatch_depth: Annotated[int, Field(ge=1, le=10)] = Field(
        default=3,
        description="How many dispatches may follow on each other; with `for_each`, how many sessions may stand below each other.",
    )
    for_each: str | None = Field(default=None, description="A state key with a list: one child session for each item.")
    item_key: str = Field(default="item", description="The child's state key that gets the item.")
    into: str = Field(default="children", description="The state key that gets how the children ended.")
    join: Literal["all", "any"] = Field(default="all", description="Whether all children are waited for, or the first.")
    max_children: Annotated[int, Field(ge=1, le=1000)] = Field(default=100, description="How many items at most.")


class Monitor(SkillBase):
    """An agent that looks on a schedule and submits a session when what it saw calls for one."""

    kind: Literal["monitor"] = "monitor"
    schedule: str = Field(description="When it looks, as cron with five fields, UTC.", examples=["*/5 * * * *"])
    observe: str = Field(description="The tool that looks.", examples=["probes:check"])
    emit_signal_when: str = Field(
        description="A safe expression over `observation`.", examples=["observation['errors'] > 10"]
    )
    trigger_target: str = Field(description="The skill that the submitted session enters.")
    tick_timeout_seconds: Seconds = Field(default=30.0, description="How long one look may take.")


class ToolStep(SkillBase):
    """One tool call with arguments that may be `=` expressions over state."""

    kind: Literal["tool"] = "tool"
    tool: str = Field(description="The tool, bare or as `server:tool`.", examples=["files:list"])
    args: dict[str, JsonValue] = Field(
        default={},
        description="Its arguments; a string that begins with `=` is an expression.",
        examples=[{"path": "=state['path']"}],
    )


class AskStep(SkillBase):
    """A question to a person; the answer lands in `state[into]`."""

    kind: Literal["ask"] = "ask"
    prompt: str = Field(description="The question.")
    into: str = Field(description="The state key that gets the answer.")
    timeout_seconds: Seconds | None = Field(default=None, description="How long it waits; none: for ever.")


class TimerStep(SkillBase):
    """A pause of so many seconds, or until a signal of that name arrives."""

    kind: Literal["timer"] = "timer"
    seconds: Annotated[float, Field(ge=0, le=LONGEST_SECONDS)] = Field(description="How long it waits.")
    until_signal: str | None = Field(default=None, description="A signal from outside that ends the wait early.")


class ComputeStep(SkillBase):
    """A function of the state, sync or async, `file.py:function` below the app's folder.

    It gets the state (a mapping) and returns the keys to change, or None; the key `signal`, where
    present, chooses the route and is not stored. It has no effects outside: it may run twice.
    """

    kind: Literal["compute"] = "compute"
    call: str = Field(
        description="`file.py:function` of the app, or `package.module:function`.", examples=["steps.py:score"]
    )
    timeout_seconds: Seconds = Field(default=60.0, description="How long it may take.")


class PluginPass(SkillBase):
    """One ordered run of untrusted plugins over the files of a folder, each confined by the sandbox.

    A plugin that fails does not stop the pass. It leaves by `success` where none failed, else by `failed`, and by
    `aborted` where a person refused a plugin's question, or its time ran out.
    """

    kind: Literal["plugin_pass"] = "plugin_pass"
    plugins: tuple[str, ...] = Field(
        description="The plugins by name, in the order in which they run.", examples=[["tidy", "count"]]
    )
    workspace: str = Field(
        description="The folder that they work on, an absolute path: the state key that holds it, or an `=` expression.",
        examples=["folder"],
    )
    files: str | tuple[str, ...] = Field(
        default=("**",),
        description="The files that they are handed, below the folder: globs, or the state key that holds a list of them.",
        examples=[["*.csv", "data/**"]],
    )
    variables: dict[str, JsonValue] = Field(
        default={},
        description="What they get to know; a string that begins with `=` is an expression.",
        examples=[{"unit": "=state['unit']"}],
    )
    context: dict[
        Literal["template_name", "template_version", "run_kind", "equipment_id", "project", "answers_file"], JsonValue
    ] = Field(default={}, description="Further words of a plugin's context; expressions as in `variables`.")
    into: str | None = Field(
        default=None, description="The state key that gets the list of result entries; the journal has them anyway."
    )
    dry_run: bool | str = Field(
        default=False, description="Whether they only describe what they would change; or an `=` expression."
    )
    input_timeout_seconds: Seconds | None = Field(
        default=None, description="How long a plugin's question waits for a person; none: for ever."
    )


Skill: TypeAlias = Annotated[
    Responsive | Supervisor | Monitor | ToolStep | AskStep | TimerStep | ComputeStep | PluginPass,
    Field(discriminator="kind"),
]
