"""What a hook answers: one value of fifteen fields, and the strict reading of whatever a handler returned.

A handler returns None, an empty mapping, a mapping or a model; everything else, and everything that
does not fit strictly, is refused, and whoever refuses it denies. What an answer does is not decided
here: `kernel/hook_merge.py` makes one answer of several, `kernel/hook_effects.py` says what it means.
"""

import json
import math
from typing import Any, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ValidationError, ValidationInfo, field_validator

from orchestrator.contracts.base import Lenient
from orchestrator.contracts.errors import HookResultInvalid

HookAction: TypeAlias = Literal["continue", "deny", "modify", "inject_context", "ask_user"]
InjectionRole: TypeAlias = Literal["system", "user", "assistant"]
ApprovalDefault: TypeAlias = Literal["allow", "deny"]
MessageLevel: TypeAlias = Literal["info", "warning", "error"]

#: Seconds that a question waits for its answer where a hook does not say.
APPROVAL_TIMEOUT_SECONDS: Final = 300.0


class HookResult(Lenient):
    """A hook's answer to one event.

    continue: go on. deny: stop what is about to happen, for `reason`. modify: go on with `data`
    instead. inject_context: show `context_injection` to the model under `context_injection_role`;
    `ephemeral` keeps it out of the stored context, `append_to_last_tool_result` asks for it at the
    end of the last tool result. ask_user: ask `approval_prompt` with `approval_options`, wait
    `approval_timeout` seconds (not bounded here), and take `approval_default` for silence.

    With every action but ask_user, `user_message` is shown to the user at `user_message_level`, as from
    `user_message_source` or else the hook's name, and `suppress_output` asks to hide the hook's output.

    Built in Python the fields are converted as pydantic converts; what a handler returned is read by
    `parse_hook_result`, strictly. Unknown fields are ignored and not kept. JSON has all fifteen keys.
    """

    action: HookAction = "continue"
    data: dict[str, Any] | None = None
    reason: str | None = None
    context_injection: str | None = None
    context_injection_role: InjectionRole = "system"
    ephemeral: bool = False
    approval_prompt: str | None = None
    approval_options: list[str] | None = None
    approval_timeout: float = APPROVAL_TIMEOUT_SECONDS
    approval_default: ApprovalDefault = "deny"
    suppress_output: bool = False
    user_message: str | None = None
    user_message_level: MessageLevel = "info"
    user_message_source: str | None = None
    append_to_last_tool_result: bool = False

    @field_validator("approval_timeout")
    @classmethod
    def _is_finite(cls, seconds: float, info: ValidationInfo) -> float:
        """In JSON 1e999 is a number, and read it is an infinity, which nobody could write down again."""
        if info.mode == "json" and not math.isfinite(seconds):
            raise ValueError("it is no finite number")
        return seconds

    def to_json(self) -> str:
        """Return JSON with all fifteen keys, nulls included: the form on every boundary."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read JSON strictly: no number for a boolean, no text for a number, no null where one is needed."""
        return cls.model_validate_json(text, strict=True)


CONTINUE: Final = HookResult()
#: What stands for an answer that cannot be read: it denies.
INVALID_RESPONSE: Final = HookResult(action="deny", reason="Hook handler returned invalid response")

_ENCODER = json.JSONEncoder(default=str, allow_nan=False)


def parse_hook_result(returned: object) -> HookResult:
    """Read what a handler returned; raise HookResultInvalid for what is no answer.

    None and an empty mapping are the default answer. What JSON cannot hold is taken as its text,
    which only a field that takes text accepts; NaN and infinities are refused. A model is read
    again as well, because a value that was built without validation can hold anything.

    >>> parse_hook_result({"action": "deny", "reason": "no", "more": 1}).reason
    'no'
    >>> parse_hook_result({"ephemeral": 1})
    Traceback (most recent call last):
        ...
    orchestrator.contracts.errors.HookResultInvalid: hook result: ephemeral: Input should be a valid boolean; ...
    """
    if returned is None or (isinstance(returned, dict) and not returned):
        return CONTINUE
    if not isinstance(returned, dict | BaseModel):
        raise HookResultInvalid(f"{type(returned).__name__} is neither None nor a mapping nor a model")
    try:
        text = (
            returned.model_dump_json(warnings="none") if isinstance(returned, BaseModel) else _ENCODER.encode(returned)
        )
        return HookResult.from_json(text)
    except ValidationError as error:
        # The values themselves are left out: they may be secret, and this text goes to a log.
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        places = (f"{'.'.join(map(str, item['loc'])) or 'it'}: {item['msg']}" for item in wrong)
        raise HookResultInvalid("; ".join(places)) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise HookResultInvalid(f"it is not JSON: {type(error).__name__}") from error
