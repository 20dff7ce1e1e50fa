"""The other side of `test_kernel_against_the_peer.py`: the same cases, done by amplifier-core, in its own environment.

    python kernel_peer.py < cases.json > outcomes.json

Reads `{section: [case, …]}` and writes `{section: [outcome, …]}`, both in the form of the vectors. Needs amplifier-core 1.6.0 and the standard library; imports nothing of ours, and no test imports it.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from amplifier_core import CancellationToken, RetryConfig, _engine, interfaces, llm_errors, message_models, models
from amplifier_core.utils import classify_error_message

HOMES = (message_models, models, interfaces)


def cancellation(operations: list[str]) -> Any:
    """Play the operations on a token with one child."""
    parent, child, late = CancellationToken(), CancellationToken(), CancellationToken()
    parent.register_child(child)
    acts = {"graceful": parent.request_graceful, "immediate": parent.request_immediate, "reset": parent.reset}
    trace = [[acts[operation](), parent.state, child.state] for operation in operations]
    parent.register_child(late)
    return {"trace": trace, "late_child": late.state}


def compute_delay(case: Any) -> Any:
    """Compute one delay."""
    config = RetryConfig(**case["config"])
    return _engine.compute_delay(config, case["attempt"], case["retry_after"], case["delay_multiplier"])


def classify(case: Any) -> Any:
    """Name the class of an error message."""
    return classify_error_message(case["message"], status_code=case["status_code"]).__name__


def describe_error(name: str) -> Any:
    """Describe an error class by an instance with defaults."""
    error = getattr(llm_errors, name)("msg")
    told = ("retryable", "status_code", "retry_after", "delay_multiplier")
    bases = [base.__name__ for base in type(error).__mro__[1:] if issubclass(base, llm_errors.LLMError)]
    return {"bases": bases, "repr": repr(error), **{field: getattr(error, field) for field in told}}


def dump_model(case: Any) -> Any:
    """Build a model, and dump it whole and as it is sent; a time that nobody gave is its default's."""
    kind = next(getattr(home, case["model"]) for home in HOMES if hasattr(home, case["model"]))
    try:
        value = kind(**case["fields"])
    except ValueError as error:
        return {"error": type(error).__name__}
    full, wire = value.model_dump(mode="json"), value.model_dump(mode="json", exclude_none=True, by_alias=True)
    hidden = {"started_at": "<ts>"} if "started_at" in full and "started_at" not in case["fields"] else {}
    return {"full": {**full, **hidden}, "wire": {**wire, **hidden}}


def describe_result(fields: Any) -> Any:
    """Write a tool result in its three forms."""
    result = models.ToolResult(**fields)
    return {"str": str(result), "serialized": result.get_serialized_output(), "json": result.model_dump(mode="json")}


def sanitize(code_point: int) -> Any:
    """Say whether a code point survives between two letters."""
    return chr(code_point) in models._sanitize_for_llm(f"a{chr(code_point)}b")[1:-1]


SECTIONS: dict[str, Callable[[Any], Any]] = {
    "cancellation": cancellation,
    "compute_delay": compute_delay,
    "classify": classify,
    "classify_category": _engine.classify_error_message,
    "errors": describe_error,
    "models": dump_model,
    "tool_result": describe_result,
    "sanitize": sanitize,
}

if __name__ == "__main__":
    asked = json.load(sys.stdin)
    json.dump({name: [SECTIONS[name](case) for case in cases] for name, cases in asked.items()}, sys.stdout)
