"""Translate the vectors of the kernel into the kernel's own calls, and what they return back.

`SECTIONS` maps the name of a vector file to a function from a case's `in` to what must equal its
`out` as parsed JSON, every timestamp replaced by "<ts>". It only translates: a rule found here is
a defect. Importable by its path alone, with the project's root on sys.path.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from orchestrator.contracts import chat, content, modules
from orchestrator.contracts.approvals import ApprovalRequest, ApprovalResponse
from orchestrator.contracts.provider_errors import ERROR_CLASSES, LLMError
from orchestrator.contracts.tool_result import ToolResult
from orchestrator.kernel.backoff import RetryConfig, compute_delay
from orchestrator.kernel.classification import classify_error_category, classify_error_message
from orchestrator.kernel.live.cancellation import CancellationToken
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

# --- errors: cancellation, compute_delay, classify, classify_category, errors, models, tool_result

MODELS: dict[str, type[BaseModel]] = {
    model.__name__: model
    for model in (
        *(content.TextBlock, content.ThinkingBlock, content.RedactedThinkingBlock, content.ToolCallBlock),
        *(content.ToolResultBlock, content.ImageBlock, content.ReasoningBlock),
        *(chat.Message, chat.ToolSpec, chat.ToolCall, chat.ChatRequest, chat.ChatResponse, chat.Usage),
        *(chat.Degradation, chat.ResponseFormatText, chat.ResponseFormatJson, chat.ResponseFormatJsonSchema),
        *(modules.ModelInfo, modules.ConfigField, modules.ProviderInfo, modules.ModuleInfo, modules.SessionStatus),
        *(ToolResult, ApprovalRequest, ApprovalResponse),
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
    """Build a model, and dump it whole and as it is sent."""
    try:
        value = MODELS[case["model"]](**case["fields"])
    except ValidationError as error:
        return {"error": type(error).__name__}
    wire = value.model_dump(mode="json", exclude_none=True, by_alias=True)
    return {"full": value.model_dump(mode="json"), "wire": wire}


@section("tool_result")
def describe_result(fields: dict[str, Any]) -> dict[str, Any]:
    """Write a tool result in its three forms."""
    result = ToolResult(**fields)
    return {"str": str(result), "serialized": serialise_output(result), "json": result.model_dump(mode="json")}
