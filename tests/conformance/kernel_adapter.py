"""Translate the vectors of the kernel into the kernel's own calls, and what they return back.

`SECTIONS` maps the name of a vector file to a function from a case's `in` to what must equal its
`out` as parsed JSON, every timestamp replaced by "<ts>". It only translates: a rule found here is
a defect. Importable by its path alone, with the project's root on sys.path.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from orchestrator.contracts import chat, content, modules
from orchestrator.contracts.approvals import ApprovalRequest, ApprovalResponse
from orchestrator.contracts.errors import ApprovalTimeoutError
from orchestrator.contracts.hook_result import HookResult
from orchestrator.contracts.provider_errors import ERROR_CLASSES, LLMError
from orchestrator.contracts.tool_result import ToolResult
from orchestrator.kernel.backoff import RetryConfig, compute_delay
from orchestrator.kernel.classification import classify_error_category, classify_error_message
from orchestrator.kernel.live.cancellation import CancellationToken
from orchestrator.kernel.live.hooks import HookRegistry
from orchestrator.kernel.live.processing import process_hook_result
from orchestrator.kernel.redaction import redact_secrets, truncate_values
from orchestrator.kernel.sanitise import sanitise_for_model
from orchestrator.kernel.tool_output import serialise_output

Section: TypeAlias = Callable[[Any], Any]

#: Vector file without its ending → what computes a case.
SECTIONS: dict[str, Section] = {}


def section(name: str) -> Callable[[Section], Section]:
    """Name the vector file that a function answers for."""

    def register(function: Section) -> Section:
        SECTIONS[name] = function
        return function

    return register


# --- hooks: emit, collect, process, redact, truncate, sanitize ---------------------------------


def _registry(handlers: list[Any], called: list[int]) -> HookRegistry:
    """Return a registry in which handler i listens to "e" with priority i and answers as its case says."""
    registry = HookRegistry()
    for position, answer in enumerate(handlers):

        async def handle(event: str, data: Any, position: int = position, answer: Any = answer) -> Any:
            called.append(position)
            if answer == "RAISE":
                raise RuntimeError(answer)
            return answer

        registry.register("e", handle, position)
    return registry


def _hide_time(data: Any) -> Any:
    """Replace the time of an event, or of a message's origin, as the vectors do."""
    return {**data, "timestamp": "<ts>"} if isinstance(data, dict) and "timestamp" in data else data


@section("emit")
def emit(case: Any) -> Any:
    """Emit "e"."""
    called: list[int] = []
    registry = _registry(case["handlers"], called)
    registry.set_default_fields(**(case["defaults"] or {}))
    result = asyncio.run(registry.emit("e", case["data"])).model_dump(mode="json")
    return {"called": called, "result": {**result, "data": _hide_time(result["data"])}}


@section("collect")
def collect(case: Any) -> Any:
    """Collect what the handlers of "e" answer."""
    called: list[int] = []
    result = asyncio.run(_registry(case["handlers"], called).emit_and_collect("e", case["data"]))
    return {"called": called, "result": result}


class _Host:
    """What a case says of the world around a hook's answer, and what was done to it."""

    def __init__(self, case: Any) -> None:
        self.injection_size_limit = case["config"].get("injection_size_limit")
        self.injection_budget_per_turn = case["config"].get("injection_budget_per_turn")
        self.current_turn_injections = case.get("before", 0)
        self.messages: list[Any] = []
        self.shown: list[Any] = []
        self.asked: list[Any] = []
        self.reply = case.get("approval_reply")
        self.has_context = case.get("context", True)
        self.display_system = self if case.get("display", True) else None
        self.approval_system = None if self.reply is None else self

    def get(self, mount_point: str, name: str | None = None) -> Any:
        return self if mount_point == "context" and self.has_context else None

    async def add_message(self, message: Any) -> None:
        self.messages.append({**message, "metadata": _hide_time(message["metadata"])})

    def show_message(self, *shown: Any) -> None:
        self.shown.append(list(shown))

    async def request_approval(self, *asked: Any) -> Any:
        self.asked.append(list(asked))
        if self.reply == "TIMEOUT":
            raise ApprovalTimeoutError(self.reply)
        if self.reply == "ERROR":
            raise RuntimeError("appr")
        return self.reply


def _builtin_name(error: BaseException) -> str:
    """Name the built-in error that an error is: the vectors know no classes of ours."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins")


@section("process")
def process(case: Any) -> Any:
    """Process an answer to "tool:pre"."""
    host = _Host(case)
    name = [] if case["hook_name"] is None else [case["hook_name"]]
    try:
        result = asyncio.run(process_hook_result(host, HookResult(**case["hook_result"]), "tool:pre", *name))
        outcome = {"result": result.model_dump(mode="json")}
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        outcome = {"error": _builtin_name(error), "message": str(error)}
    done = {"messages": host.messages, "display": host.shown, "approval_calls": host.asked}
    return {**outcome, **done, "counter": host.current_turn_injections}


SECTIONS["redact"] = redact_secrets
SECTIONS["truncate"] = truncate_values


@section("sanitize")
def sanitize(code_point: Any) -> Any:
    """Say whether a code point survives between two letters."""
    return chr(code_point) in sanitise_for_model(f"a{chr(code_point)}b")[1:-1]


# --- errors: cancellation, compute_delay, classify, classify_category, errors, models, tool_result

MODELS: dict[str, type[BaseModel]] = {
    model.__name__: model
    for model in (
        *(content.TextBlock, content.ThinkingBlock, content.RedactedThinkingBlock, content.ToolCallBlock),
        *(content.ToolResultBlock, content.ImageBlock, content.ReasoningBlock),
        *(chat.Message, chat.ToolSpec, chat.ToolCall, chat.ChatRequest, chat.ChatResponse, chat.Usage),
        *(chat.Degradation, chat.ResponseFormatText, chat.ResponseFormatJson, chat.ResponseFormatJsonSchema),
        *(modules.ModelInfo, modules.ConfigField, modules.ProviderInfo, modules.ModuleInfo, modules.SessionStatus),
        *(ToolResult, HookResult, ApprovalRequest, ApprovalResponse),
    )
}


@section("cancellation")
def cancellation(operations: list[str]) -> dict[str, Any]:
    """Play the operations on a token with one child."""
    parent, child, late = CancellationToken(), CancellationToken(), CancellationToken()
    parent.register_child(child)
    methods = {"graceful": parent.request_graceful, "immediate": parent.request_immediate, "reset": parent.reset}
    trace = [[methods[operation](), parent.state, child.state] for operation in operations]
    parent.register_child(late)
    return {"trace": trace, "late_child": late.state}


@section("compute_delay")
def delay(case: dict[str, Any]) -> float:
    """Compute one delay."""
    return compute_delay(RetryConfig(**case["config"]), case["attempt"], case["retry_after"], case["delay_multiplier"])


@section("classify")
def classify(case: dict[str, Any]) -> str:
    """Name the class of an error message."""
    return classify_error_message(case["message"], status_code=case["status_code"]).__name__


@section("classify_category")
def classify_category(message: str) -> str:
    """Name the category of an error message."""
    return classify_error_category(message)


@section("errors")
def describe_error(name: str) -> dict[str, Any]:
    """Describe an error class by an instance with defaults."""
    error = ERROR_CLASSES[name]("msg")
    return {
        "bases": [base.__name__ for base in type(error).__mro__[1:] if issubclass(base, LLMError)],
        "retryable": error.retryable,
        "status_code": error.status_code,
        "retry_after": error.retry_after,
        "delay_multiplier": error.delay_multiplier,
        "repr": repr(error),
    }


@section("models")
def dump_model(case: dict[str, Any]) -> dict[str, Any]:
    """Build a model, and dump it whole and as it is sent; a time that nobody gave is hidden as the vectors do."""
    try:
        value = MODELS[case["model"]](**case["fields"])
    except ValidationError as error:
        return {"error": type(error).__name__}
    full, wire = value.model_dump(mode="json"), value.model_dump(mode="json", exclude_none=True, by_alias=True)
    hidden: dict[str, Any] = (
        {"started_at": "<ts>"} if "started_at" in full and "started_at" not in case["fields"] else {}
    )
    return {"full": {**full, **hidden}, "wire": {**wire, **hidden}}


@section("tool_result")
def describe_result(fields: dict[str, Any]) -> dict[str, Any]:
    """Write a tool result in its three forms."""
    result = ToolResult(**fields)
    return {"str": str(result), "serialized": serialise_output(result), "json": result.model_dump(mode="json")}
