"""Check an app's hooks: each listens to an event that is sent, has a name of its own, and is a function that can be called so.

An app whose hook cannot be imported does not boot: a policy that is silently missing would let everything pass.
"""

from orchestrator.app_check import Check
from orchestrator.app_code import accepts, load_function
from orchestrator.contracts.errors import AppCodeInvalid
from orchestrator.contracts.event_names import (
    ALL_EVENTS,
    MODULE_LOAD_FAILED,
    OLDER_NAMES,
    SESSION_CONFIG,
    canonical_event,
)
from orchestrator.yaml_document import Where

#: Every name that a hook may listen to.
KNOWN_EVENTS = (*ALL_EVENTS, SESSION_CONFIG, MODULE_LOAD_FAILED, *OLDER_NAMES)


def check_hook_words(check: Check) -> None:
    """Events exist, and no two hooks of one event share a name: the journal and what is allowed for good go by it."""
    seen: dict[tuple[str, str], int] = {}
    for index, hook in enumerate(check.spec.hooks):
        at: Where = ("hooks", index)
        check.is_among((*at, "event"), hook.event, KNOWN_EVENTS, "event")
        key = (canonical_event(hook.event), hook.label)
        if key in seen:
            check.say(
                at, f"{hook.label!r} listens to {hook.event} already, as hooks[{seen[key]}]; give it another name"
            )
        seen.setdefault(key, index)
        check.is_unique((*at, "approvers"), hook.approvers)


def check_hook_functions(check: Check) -> None:
    """Each hook can be imported, and takes an event's name and its data."""
    for index, hook in enumerate(check.spec.hooks):
        at: Where = ("hooks", index, "call")
        try:
            if not accepts(load_function(check.spec, hook.call), "event", "data"):
                check.say(
                    at, f"{hook.call!r} does not take two arguments; it is called with the event's name and its data"
                )
        except AppCodeInvalid as error:
            check.say(at, str(error))
