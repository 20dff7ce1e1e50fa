"""One answer of many: what the results of an event's hooks come to, in the order in which they ran.

deny > ask_user > inject_context > modify > continue. A denial ends it at once and is passed on as it
is; so is the first question, and whatever would be injected or changed beside it is lost. One
injection is passed on as it is, several become one. Changed data replaces the event's data as a
whole, later over earlier, and the answer is then continue: what comes out is never `modify`.

Pure: whether handlers run in one process or one after another in several, the same results in the
same order come to the same answer. What the answer then does is decided in `hook_effects.py`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from orchestrator.contracts.hook_result import CONTINUE, HookResult

#: Between the texts of injections that become one.
JOINT: Final = "\n\n"


class Collected(NamedTuple):
    """What the results so far have brought; `data` is None until a hook changes it."""

    denied: HookResult | None = None
    asked: HookResult | None = None
    injections: tuple[HookResult, ...] = ()
    data: dict[str, Any] | None = None


NOTHING: Final = Collected()


def fold_result(so_far: Collected, result: HookResult) -> Collected:
    """Return what one more result makes of it; after a denial nothing counts any more."""
    if so_far.denied is not None:
        return so_far
    match result.action:
        case "deny":
            return so_far._replace(denied=result)
        case "ask_user" if so_far.asked is None:
            return so_far._replace(asked=result)
        case "inject_context" if result.context_injection is not None:
            return so_far._replace(injections=(*so_far.injections, result))
        case "modify" if result.data is not None:
            return so_far._replace(data=result.data)
        case _:  # the hook only watched, or its action lacks what it would need
            return so_far


def merge_injections(results: Sequence[HookResult]) -> HookResult:
    """Return one injection for these, of which there is at least one; one alone stays as it is.

    Role, lifetime and silence are the first one's; a place at the last tool result is taken if any
    asks for it; messages and reasons are lost. Merging merged ones comes to the same.
    """
    first, *others = results
    if not others:
        return first
    return HookResult(
        action="inject_context",
        context_injection=JOINT.join(result.context_injection or "" for result in results),
        context_injection_role=first.context_injection_role,
        ephemeral=first.ephemeral,
        suppress_output=first.suppress_output,
        append_to_last_tool_result=any(result.append_to_last_tool_result for result in results),
    )


def choose_result(collected: Collected, data: dict[str, Any]) -> HookResult:
    """Return the answer; `data` is the event's own, for when no hook changed it."""
    if collected.denied is not None:
        return collected.denied
    if collected.asked is not None:
        return collected.asked
    if collected.injections:
        return merge_injections(collected.injections)
    return CONTINUE.model_copy(update={"data": data if collected.data is None else collected.data})


def fold_results(results: Iterable[HookResult], data: dict[str, Any]) -> HookResult:
    """Return the answer to an event whose hooks gave these results, in the order in which they ran.

    >>> asks = HookResult(action="ask_user", approval_prompt="May it?")
    >>> fold_results([HookResult(action="modify", data={"a": 2}), asks], {"a": 1}).action
    'ask_user'
    """
    collected = NOTHING
    for result in results:
        collected = fold_result(collected, result)
    return choose_result(collected, data)
