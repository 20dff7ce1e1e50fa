"""Triggers: what starts a session of an app without a person - a webhook that comes in, or a schedule.

A trigger names what the session is asked by a payload, or by a function of the app that makes a
request of the payload. The same key of the same trigger starts one session for as long as its key is known.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue

from orchestrator.contracts.base import Frozen, JsonObject

#: As contracts.session has it, which stands on the app that holds triggers.
_Priority: TypeAlias = Literal["high", "normal", "low"]
TRIGGER_PATTERN = r"[A-Za-z0-9_-]{1,128}"
TriggerName: TypeAlias = Annotated[str, Field(pattern=f"^{TRIGGER_PATTERN}$")]
Variable: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]
Reference: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]


class _Trigger(Frozen):
    name: TriggerName = Field(description="What it is called: among all apps' triggers the only one of its name.")
    transform: Reference | None = Field(
        default=None,
        description="A function of the app, `file.py:name`: payload in, {text, state, priority, skill} out.",
        examples=["triggers.py:read_alert"],
    )
    skill: str | None = Field(default=None, description="The skill that its sessions enter; else `entry_skill`.")
    priority: _Priority = Field(default="normal", description="The priority of its sessions.")


class WebhookTrigger(_Trigger):
    """Others send a payload to /v1/triggers/NAME.

    `bearer`: the secret of a variable as a bearer token. `signature`: signed as Standard Webhooks are, with a secret
    of a variable. `token`: one of Baton's own tokens that may submit. `none`: anybody who reaches the port.
    """

    kind: Literal["webhook"]
    auth: Literal["bearer", "signature", "token", "none"] = Field(
        default="bearer", description="How a sender says who it is."
    )
    secret_env: tuple[Variable, ...] = Field(
        default=(),
        max_length=2,
        description="The variables that hold the secret; two while one is being changed. Read by `baton api` alone.",
        examples=[["ALERTS_SECRET"]],
    )
    payload_schema: Reference | None = Field(
        default=None,
        description="A pydantic class of the app, `file.py:Class`: a payload that does not fit is refused.",
        examples=["triggers.py:Alert"],
    )
    idempotency_ttl_hours: Annotated[int, Field(ge=1, le=720)] = Field(
        default=24, description="How long a key (header `Idempotency-Key` or `webhook-id`) means the same session."
    )


class ScheduleTrigger(_Trigger):
    """The clock starts a session. A time that passed while no scheduler ran is made up for once."""

    kind: Literal["schedule"]
    schedule: Annotated[str, Field(max_length=200)] = Field(
        description="Cron with five fields.", examples=["0 6 * * 1-5"]
    )
    timezone: Annotated[str, Field(max_length=64)] = Field(
        default="UTC", description="The time zone that the schedule is read in.", examples=["Europe/Berlin"]
    )
    payload: dict[str, JsonValue] = Field(default={}, description="What each of its sessions is made of.")
    catch_up_seconds: Annotated[int, Field(ge=0, le=604_800)] = Field(
        default=3_600, description="A time that was missed by more than this is left out."
    )


Trigger: TypeAlias = Annotated[WebhookTrigger | ScheduleTrigger, Field(discriminator="kind")]


class TriggerRequest(Frozen):
    """What a payload comes to: the session to submit. A transform returns these fields; so does a payload without one."""

    text: str = ""
    state: JsonObject = {}
    priority: _Priority | None = None
    skill: str | None = None
