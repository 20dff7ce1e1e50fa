"""What a person has allowed for good: remembered for one session, and never wider than what was asked.

"Allow always" grants calls of the same tool with exactly the same arguments, asked for by the same asker - the gateway, or
one hook by its name - and rated as the shown one was. Another argument, another hook or a higher risk asks again. A call's
own idempotency key is no argument that a person decides about, and does not count.

Pure. What a question is, and who may answer it, is decided in approval.py and hook_questions.py.
"""

from typing import Final

from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.contracts.hooks import MOST_GRANTS, Grant, HookMemory, memory_of
from orchestrator.contracts.session import PendingCall, Record, Wait, args_digest
from orchestrator.kernel.redaction import truncate_for_log
from orchestrator.kernel.turns import KEY_ARGUMENT

#: The word that asks to be remembered, in any case.
ALWAYS: Final = "allow always"
#: Who asks for the approvals that an app's gateway demands.
GATEWAY: Final = "gateway"
#: Characters of the arguments that people are shown of a grant.
SHOWN_CHARS: Final = 300


def is_always(verdict: str | None) -> bool:
    """Say whether an answer is to hold from now on.

    >>> is_always("Allow always"), is_always("allow")
    (True, False)
    """
    return verdict is not None and verdict.lower() == ALWAYS


def asker_of(wait: Wait) -> str:
    """Return who asks: the gateway, or a hook."""
    return hook_asker(wait.hook, wait.reason) if wait.hook else GATEWAY


def hook_asker(hook: str, event: str) -> str:
    """Return the name under which a hook asks at an event.

    >>> hook_asker("guard", "tool:pre")
    'hook:guard@tool:pre'
    """
    return f"hook:{hook}@{event}"


def pattern_of(call: PendingCall) -> str:
    """Return the digest of a call's tool and arguments, which is the same for every call like it."""
    return args_digest(call.tool, _pattern(call))


def find_grant(hooks: HookMemory, asked_by: str, call: PendingCall) -> Grant | None:
    """Return what allows a call for good, if anything does."""
    if not hooks.grants:
        return None
    digest = pattern_of(call)
    for grant in hooks.grants:
        if (grant.asked_by, grant.tool, grant.digest, grant.risk) == (asked_by, call.tool, digest, call.risk):
            return grant
    return None


def remember(hooks: HookMemory | None, wait: Wait, actor: str, at: int) -> tuple[HookMemory | None, str]:
    """Return the memory with the call that `wait` asks about allowed for good, and what the journal says of it.

    What is no call cannot come again as the same one, and is not remembered; nor is one more than MOST_GRANTS.
    """
    call, asked_by = wait.call, asker_of(wait)
    if call is None:
        return hooks, "allowed once: it is no call that could come again"
    memory = memory_of(hooks)
    if find_grant(memory, asked_by, call) is not None:
        return hooks, "allowed always before"
    if len(memory.grants) >= MOST_GRANTS:
        return hooks, f"allowed once: the session remembers {MOST_GRANTS} grants already"
    grant = Grant(
        asked_by=asked_by,
        tool=call.tool,
        digest=pattern_of(call),
        risk=call.risk,
        shown=truncate_for_log(dump_json(_pattern(call)), SHOWN_CHARS),
        actor=actor,
        at=at,
    )
    return memory.model_copy(update={"grants": (*memory.grants, grant)}), "allowed always"


def apply_grants(record: Record) -> Record:
    """Return the record with the calls approved that the gateway asks about and that were allowed for good."""
    hooks = record.hooks
    if hooks is None or not hooks.grants:
        return record
    calls = tuple(_granted(hooks, call) for call in record.cursor.calls)
    if all(new is old for new, old in zip(calls, record.cursor.calls, strict=True)):
        return record
    return record.model_copy(update={"cursor": record.cursor.model_copy(update={"calls": calls})})


def _granted(hooks: HookMemory, call: PendingCall) -> PendingCall:
    if call.action != "approve" or call.verdict is not None:
        return call
    grant = find_grant(hooks, GATEWAY, call)
    if grant is None:
        return call
    return call.model_copy(update={"verdict": "approved", "approver": grant.actor, "rationale": "allowed always"})


def _pattern(call: PendingCall) -> JsonObject:
    return {name: value for name, value in call.args.items() if name != KEY_ARGUMENT}
