"""A plugin's run as sessions see it: what it asks, what it came to, and where a pass is.

The sandbox has shapes of its own; between it and a session only these JSON values cross. What follows from an outcome is
decided by kernel/plugin_pass.py.
"""

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from orchestrator.contracts.base import Frozen, JsonObject

#: Where a session in line is sent: to any worker, or to one with a sandbox.
Queue: TypeAlias = Literal["steps", "plugins"]

#: Statuses of a result entry that do not make its pass a failed one.
PASSED: Final = frozenset({"success", "skipped"})

#: The signals that a plugin pass leaves by, whatever else its app declares.
PASS_SIGNALS: Final = ("success", "failed", "aborted")


class PromptField(Frozen):
    """One field that a plugin asks for."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
    label: Annotated[str, Field(max_length=200)] = ""
    type: Literal["string", "integer", "number", "boolean", "choice"] = "string"
    choices: tuple[str, ...] = ()
    required: bool = True
    default: str | int | float | bool | None = None


class PluginPrompt(Frozen):
    """What a plugin asks before it can go on; `prompt_id` is the same for the same question of the same run."""

    prompt_id: Annotated[str, Field(min_length=1, max_length=64)]
    plugin: str
    reason: str = ""
    fields: tuple[PromptField, ...] = ()


class PluginOutcome(Frozen):
    """What one plugin's run came to: a result entry, or a prompt in its place. `logs` are the newest lines."""

    entry: JsonObject | None = None
    prompt: PluginPrompt | None = None
    changes: tuple[JsonObject, ...] = ()
    logs: tuple[JsonObject, ...] = ()


class PassPlace(Frozen):
    """Where a plugin pass is: `plugin` is the index of the one that comes next, `began` the serial of its first step.

    `answers` are those to the questions of that plugin, by prompt id; `failed` names plugins that did not end well;
    `aborted` says why a person's answer does not come.
    """

    began: int = 0
    plugin: int = 0
    answers: dict[str, JsonObject] = {}
    failed: tuple[str, ...] = ()
    aborted: str = ""
