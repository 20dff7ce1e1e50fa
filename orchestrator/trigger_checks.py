"""Check an app's triggers: names, skills, schedules, time zones, how senders say who they are, and their code."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from orchestrator.app_check import Check
from orchestrator.app_code import accepts, load_function, load_object
from orchestrator.contracts.errors import AppCodeInvalid
from orchestrator.contracts.triggers import ScheduleTrigger, WebhookTrigger
from orchestrator.kernel.cron import cron_problem
from orchestrator.yaml_document import Where


def check_triggers(check: Check) -> None:
    """Each trigger can be understood without its code."""
    check.is_unique(("triggers",), [trigger.name for trigger in check.spec.triggers])
    for index, trigger in enumerate(check.spec.triggers):
        at: Where = ("triggers", index)
        if trigger.skill is not None and check.knows("skills"):
            check.is_among((*at, "skill"), trigger.skill, check.skills, "skill")
        match trigger:
            case ScheduleTrigger():
                _check_schedule(check, at, trigger)
            case WebhookTrigger():
                _check_webhook(check, at, trigger)


def _check_schedule(check: Check, at: Where, trigger: ScheduleTrigger) -> None:
    problem = cron_problem(trigger.schedule)
    if problem is not None:
        check.say((*at, "schedule"), problem)
    try:
        ZoneInfo(trigger.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        check.say((*at, "timezone"), f"{trigger.timezone!r} is no time zone; write e.g. UTC or Europe/Berlin")


def _check_webhook(check: Check, at: Where, trigger: WebhookTrigger) -> None:
    needs_secret = trigger.auth in {"bearer", "signature"}
    if needs_secret and not trigger.secret_env:
        check.say((*at, "secret_env"), f"auth: {trigger.auth} needs the name of the variable that holds the secret")
    if not needs_secret and trigger.secret_env:
        check.say((*at, "secret_env"), f"is not read with auth: {trigger.auth}; remove it", key=True)


def check_trigger_code(check: Check) -> None:
    """What triggers name of the app's code is there."""
    for index, trigger in enumerate(check.spec.triggers):
        at: Where = ("triggers", index)
        if trigger.transform is not None:
            try:
                if not accepts(load_function(check.spec, trigger.transform), "payload"):
                    message = f"{trigger.transform!r} does not take one argument; it is called with the payload"
                    check.say((*at, "transform"), message)
            except AppCodeInvalid as error:
                check.say((*at, "transform"), str(error))
        if isinstance(trigger, WebhookTrigger) and trigger.payload_schema is not None:
            try:
                found = load_object(check.spec, trigger.payload_schema)
                if not hasattr(found, "model_validate"):
                    check.say((*at, "payload_schema"), f"{trigger.payload_schema!r} is no pydantic model; make it one")
            except AppCodeInvalid as error:
                check.say((*at, "payload_schema"), str(error))
