"""Every error that Baton raises, by what the one who catches it must do.

    BatonError
    ├── ConfigError            an operator mends a file or a setting, then starts again
    │   ├── AppInvalid         one app.yaml, all of its problems at once
    │   ├── SourceInvalid      one YAML source, all of its problems at once
    │   ├── AppCodeInvalid     a reference to an app's code leads nowhere
    │   ├── AppCodeFailed      an app's own function misbehaved
    │   ├── MountPlanInvalid   a mount plan does not say what a session needs · MountPlanMistyped
    │   ├── ModuleMissing      no source has the module, or only another one than was asked for
    │   ├── ModuleInvalid      the module was found and cannot be used
    │   └── StoreUnfit         the server's settings would lose or evict data
    ├── InputError             the caller mends the request; nothing was changed
    │   ├── InvalidSessionId · UnknownApp · InvalidOverrides · PayloadTooLarge
    │   ├── KeyConflict        the same idempotency key came with another request
    │   ├── NotWaiting         there is no such question, or it was answered
    │   ├── NotPermitted       the actor is not on the roster
    │   ├── PhaseRefused       the session's phase does not allow this
    │   ├── MountRefused       there is no such mount point, or no name for what is mounted there
    │   ├── SessionNotReady    a live session cannot do this now: initialise it first, or let its turn end
    │   ├── HookResultInvalid  a hook's answer cannot be read: deny
    │   ├── EventDataInvalid   an event's data is not JSON: no hook has seen it
    │   └── InjectionRefused   a hook's text may not be shown to the model: it was not added
    ├── ApprovalTimeoutError   nobody answered in time: the question's own default decides
    ├── SessionNotFound        the id has the right form and names nothing
    ├── StoreError             the store did not do it
    │   ├── StoreUnreachable   try again later: exit code 5
    │   │   ├── StoreUntrusted       its TLS is not what it must be: later may be too early
    │   │   └── ArchiveUnreachable   the same of the archive's database
    │   ├── LeaseLost          stop this step and drop what it made: another holder goes on
    │   └── Unreadable         what is stored cannot be read: bury the session, never loop
    ├── ProviderError          a model service failed
    │   └── LLMError           its tree, drawn in provider_errors.py, says how and whether it may pass
    └── ToolError              a tool call failed; the model is told
        ├── ToolTimeout        its time ran out: whether it acted may be unknown
        ├── StateInvalid       it acted, but the state that it leaves is refused by the app's state_schema
        ├── StateUpdateRefused it acted, but what it gave does not fit the declared state update
        └── ToolUnavailable    its server cannot be reached: try again later

A message reads `where: what; what to do`.
"""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches


def suggest(word: str, known: Collection[str]) -> str:
    """Return the hint that ends a message about an unknown word.

    >>> suggest("dnoe", ["done", "unclear"])
    "did you mean 'done'?"
    >>> suggest("zzz", ["b", "a"])
    'known: a, b'
    """
    near = get_close_matches(word, list(known), n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(sorted(known))}" if known else "none is declared"


class BatonError(Exception):
    """The root. Never raised itself."""


class ConfigError(BatonError):
    """An operator must mend a file or a setting."""


class AppInvalid(ConfigError):
    """One app's declaration is wrong; `problems` are lines `file:line:col: path: message`."""

    def __init__(self, app: str, problems: Sequence[str]) -> None:
        self.app, self.problems = app, tuple(problems)
        super().__init__("\n".join(self.problems))


class SourceInvalid(ConfigError):
    """A YAML source is wrong; `problems` are lines `file:line:col: path: message`, in its order."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class AppCodeInvalid(ConfigError):
    """A reference to an app's code leads nowhere, or the code cannot be imported."""


class AppCodeFailed(ConfigError):
    """The app's own code, or what it returned, is wrong; trying again would fail again."""


class MountPlanInvalid(ConfigError, ValueError):
    """A mount plan does not say what a session needs."""


class MountPlanMistyped(MountPlanInvalid, TypeError):
    """A part of a mount plan has the wrong type."""


class ModuleMissing(ConfigError, ValueError):
    """No source has the module. Raised by a resolver too, which makes the loader look further."""


class ModuleInvalid(ConfigError):
    """The module was found and cannot be used: `problems` are all that is wrong with it."""

    def __init__(self, module_id: str, problems: Sequence[str]) -> None:
        self.module_id, self.problems = module_id, tuple(problems)
        super().__init__(f"module {module_id!r}: {'; '.join(self.problems)}")


class StoreUnfit(ConfigError):
    """The server's settings would lose or evict what Baton must keep."""


class InputError(BatonError):
    """The request is wrong and nothing was changed."""


class InvalidSessionId(InputError):
    """The text cannot be a session id."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(f"session id {text[:80]!r}: not an id; expected PREFIX-YYYYMMDD-NNN")


class UnknownApp(InputError):
    """No app of that name is loaded."""

    def __init__(self, app: str, known: Collection[str]) -> None:
        self.app = app
        super().__init__(f"app {app!r}: not loaded; {suggest(app, known)}")


class InvalidOverrides(InputError):
    """The overrides do not fit the app's state_schema."""


class PayloadTooLarge(InputError):
    """A value is over its limit."""

    def __init__(self, what: str, size: int, limit: int, *, unit: str = "bytes") -> None:
        self.what, self.size, self.limit = what, size, limit
        super().__init__(
            f"{what}: {size} {unit}, over the limit of {limit}; make it smaller or raise the limit in config/runtime.yaml"
        )


class KeyConflict(InputError):
    """The idempotency key belongs to another request."""

    def __init__(self, key: str, session_id: str) -> None:
        self.key, self.session_id = key, session_id
        super().__init__(
            f"idempotency key {key!r}: already used by {session_id} for a different request; use a new key"
        )


class NotWaiting(InputError):
    """The session does not wait for this answer, or has it already."""


class NotPermitted(InputError):
    """The actor is not on the roster of those who may answer."""


class PhaseRefused(InputError):
    """The session's phase does not allow the request."""


class MountRefused(InputError, ValueError):
    """There is no such mount point, or no name for what is mounted there."""


class SessionNotReady(InputError, RuntimeError):
    """A live session cannot do this now."""


class HookResultInvalid(InputError):
    """What a hook's handler returned is no answer; whoever reads it denies."""

    def __init__(self, what: str) -> None:
        super().__init__(f"hook result: {what}; return None, a mapping of HookResult's fields, or a HookResult")


class EventDataInvalid(InputError):
    """The data of an event cannot be written as JSON, which every handler is given."""

    def __init__(self, event: str, error: BaseException) -> None:
        self.event = event
        super().__init__(
            f"event {event!r}: data is not JSON ({error}); give finite numbers, whole texts, and texts as keys"
        )


class InjectionRefused(InputError, ValueError):
    """The text that a hook wants to show to a model is over its limit, or could not be sanitised.

    The messages are those that hooks know from elsewhere; a ValueError for the same reason.
    """


class ApprovalTimeoutError(BatonError):
    """Nobody answered a question in time. An ApprovalSystem raises it; no other timeout counts as one."""


class SessionNotFound(BatonError):
    """The id has the right form and names nothing."""

    def __init__(self, session_id: str, near: Sequence[str] = ()) -> None:
        self.session_id, self.near = session_id, tuple(near)
        hint = f"did you mean {near[0]}?" if near else "see `baton list`"
        super().__init__(f"session {session_id}: not found; {hint}")


class StoreError(BatonError):
    """The store did not do what it was asked."""


class StoreUnreachable(StoreError):
    """The server does not answer."""


class StoreUntrusted(StoreUnreachable):
    """What answers is not to be trusted, or does not trust us: certificates, or no TLS where it is wanted."""


class ArchiveUnreachable(StoreUnreachable):
    """The archive's database does not answer, or did not do it."""


class LeaseLost(StoreError):
    """Another holder has the session, or it was rescued: drop this step's work."""

    def __init__(self, session_id: str, fence: int) -> None:
        self.session_id, self.fence = session_id, fence
        super().__init__(f"session {session_id}: the lease with fence {fence} is lost; another holder goes on")


class Unsettled(StoreError):
    """Somebody has spoken to a session since its holder looked: its last step and its settling are two commits then."""


class Unreadable(StoreError):
    """What is stored cannot be read."""


class ProviderError(BatonError):
    """A model service failed; what is raised is one of contracts/provider_errors.py."""


class ToolError(BatonError):
    """A tool call failed in a way that the model may be told."""


class ToolTimeout(ToolError):
    """The tool's time ran out."""


class ToolNeedsInput(ToolError):
    """The tool asks for input before it acts; nothing has been done yet.

    `requests` are the MCP input requests by the server's own keys; `request_state` goes back to it with the answers.
    """

    def __init__(self, message: str, *, requests: Mapping[str, object], request_state: str | None = None) -> None:
        self.requests, self.request_state = dict(requests), request_state
        super().__init__(message)


class ToolUnavailable(ToolError):
    """The tool's server cannot be reached.

    `is_sent`: the call may have left before the connection broke, so whether the tool acted is unknown.
    """

    def __init__(self, message: str, *, is_sent: bool = False) -> None:
        self.is_sent = is_sent
        super().__init__(message)


class StateInvalid(ToolError):
    """A step of the app leaves a state that the app's own state_schema refuses."""


class StateUpdateRefused(ToolError):
    """The tool acted, but its result does not fit an update that the app declares for it."""

    def __init__(self, into: str, op: str, what: str) -> None:
        self.into, self.op = into, op
        super().__init__(
            f"state update {op} into {into!r}: {what}; mend the tool's `updates` in app.yaml or its result"
        )
