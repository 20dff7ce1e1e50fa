"""The names of the events that hooks see.

`ALL_EVENTS` is the published list, in its order. Two names stand outside it on purpose: the session's
configuration is an event for those who look after the runtime, and a module that could not be
loaded is told of by its own name. Who emits an event, and with what in it, is not decided here.

    session       start, resume, fork, end
    prompt        submit, complete             execution  start, end
    plan          start, end                   orchestrator  complete
    provider      request, response, retry, error, throttle, tool_sequence_repaired, resolve
    llm           request, response            content_block, thinking  what a model streams
    tool          pre, post, error             context  pre_compact, post_compact, compaction, include
    user          notification                 artifact  write, read
    policy        violation                    approval  required, granted, denied
    cancel        requested, completed         module  on_session_ready_failed

A hook may also be registered for any other name: names are free text, and these are the known ones.
"""

from types import MappingProxyType
from typing import Final

SESSION_START: Final = "session:start"
SESSION_END: Final = "session:end"
SESSION_FORK: Final = "session:fork"
SESSION_RESUME: Final = "session:resume"
PROMPT_SUBMIT: Final = "prompt:submit"
PROMPT_COMPLETE: Final = "prompt:complete"
PLAN_START: Final = "plan:start"
PLAN_END: Final = "plan:end"
PROVIDER_REQUEST: Final = "provider:request"
PROVIDER_RESPONSE: Final = "provider:response"
PROVIDER_RETRY: Final = "provider:retry"
PROVIDER_ERROR: Final = "provider:error"
PROVIDER_THROTTLE: Final = "provider:throttle"
PROVIDER_TOOL_SEQUENCE_REPAIRED: Final = "provider:tool_sequence_repaired"
PROVIDER_RESOLVE: Final = "provider:resolve"
LLM_REQUEST: Final = "llm:request"
LLM_RESPONSE: Final = "llm:response"
CONTENT_BLOCK_START: Final = "content_block:start"
CONTENT_BLOCK_DELTA: Final = "content_block:delta"
CONTENT_BLOCK_END: Final = "content_block:end"
THINKING_DELTA: Final = "thinking:delta"
THINKING_FINAL: Final = "thinking:final"
TOOL_PRE: Final = "tool:pre"
TOOL_POST: Final = "tool:post"
TOOL_ERROR: Final = "tool:error"
CONTEXT_PRE_COMPACT: Final = "context:pre_compact"
CONTEXT_POST_COMPACT: Final = "context:post_compact"
CONTEXT_COMPACTION: Final = "context:compaction"
CONTEXT_INCLUDE: Final = "context:include"
ORCHESTRATOR_COMPLETE: Final = "orchestrator:complete"
EXECUTION_START: Final = "execution:start"
EXECUTION_END: Final = "execution:end"
USER_NOTIFICATION: Final = "user:notification"
ARTIFACT_WRITE: Final = "artifact:write"
ARTIFACT_READ: Final = "artifact:read"
POLICY_VIOLATION: Final = "policy:violation"
APPROVAL_REQUIRED: Final = "approval:required"
APPROVAL_GRANTED: Final = "approval:granted"
APPROVAL_DENIED: Final = "approval:denied"
CANCEL_REQUESTED: Final = "cancel:requested"
CANCEL_COMPLETED: Final = "cancel:completed"
MODULE_ON_SESSION_READY_FAILED: Final = "module:on_session_ready_failed"

ALL_EVENTS: Final = (
    SESSION_START,
    SESSION_END,
    SESSION_FORK,
    SESSION_RESUME,
    PROMPT_SUBMIT,
    PROMPT_COMPLETE,
    PLAN_START,
    PLAN_END,
    PROVIDER_REQUEST,
    PROVIDER_RESPONSE,
    PROVIDER_RETRY,
    PROVIDER_ERROR,
    PROVIDER_THROTTLE,
    PROVIDER_TOOL_SEQUENCE_REPAIRED,
    PROVIDER_RESOLVE,
    LLM_REQUEST,
    LLM_RESPONSE,
    CONTENT_BLOCK_START,
    CONTENT_BLOCK_DELTA,
    CONTENT_BLOCK_END,
    THINKING_DELTA,
    THINKING_FINAL,
    TOOL_PRE,
    TOOL_POST,
    TOOL_ERROR,
    CONTEXT_PRE_COMPACT,
    CONTEXT_POST_COMPACT,
    CONTEXT_COMPACTION,
    CONTEXT_INCLUDE,
    ORCHESTRATOR_COMPLETE,
    EXECUTION_START,
    EXECUTION_END,
    USER_NOTIFICATION,
    ARTIFACT_WRITE,
    ARTIFACT_READ,
    POLICY_VIOLATION,
    APPROVAL_REQUIRED,
    APPROVAL_GRANTED,
    APPROVAL_DENIED,
    CANCEL_REQUESTED,
    CANCEL_COMPLETED,
    MODULE_ON_SESSION_READY_FAILED,
)

#: A session's configuration, redacted; outside the list.
SESSION_CONFIG: Final = "session:config"
#: A module that is declared and could not be loaded; outside the list.
MODULE_LOAD_FAILED: Final = "module:load_failed"

#: Names that an older table of events has and no code ever sent → the names that are sent.
OLDER_NAMES: Final = MappingProxyType(
    {
        "turn:start": EXECUTION_START,
        "turn:end": EXECUTION_END,
        "llm:pre": LLM_REQUEST,
        "llm:post": LLM_RESPONSE,
    }
)


def canonical_event(name: str) -> str:
    """Return the name under which an event is sent: an older name's successor, every other name itself.

    >>> canonical_event("turn:start"), canonical_event("tool:pre"), canonical_event("my:own")
    ('execution:start', 'tool:pre', 'my:own')
    """
    return OLDER_NAMES.get(name, name)
