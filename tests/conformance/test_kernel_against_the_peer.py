"""Models, errors, delays, classes, tool results and cancellation: invented cases come to the same as amplifier-core's.

The hooks have `test_hooks_against_the_peer.py`; this one runs, and is skipped, as that one does. Every field of every model is given
every value here; what else is invented comes from a seed.
"""

import json
import os
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import pytest

from orchestrator.contracts.provider_errors import ERROR_CLASSES
from tests.conformance.kernel_adapter import MODELS, SECTIONS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEER = Path(os.environ.get("BENCH_HOOKS_PEER") or ROOT / "bench" / "out" / "hooks-peer") / "bin" / "python"
CASES = 1_000

TEXT = {"type": "text", "text": "a"}
BLOCKS: list[Any] = [
    TEXT,
    {**TEXT, "visibility": "user", "more": None},
    {"type": "thinking", "thinking": "t", "content": [1, None]},
    {"type": "tool_call", "id": "1", "name": "n", "input": {"a": [1, 1.0, None, True]}},
    {"type": "tool_result", "tool_call_id": "1", "output": None},
    {"type": "tool_result", "tool_call_id": "1"},
    {"type": "zzz"},
    {},
    {"text": "a"},
    5,
]
CALL = {"id": "1", "name": "n", "arguments": {"a": None}, "x": 1}
USAGE = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 4, "cost_usd": "0.0470"}
FIELD = {"id": "i", "display_name": "d", "prompt": "p"}
MESSAGE = {"role": "tool", "content": [TEXT], "tool_call_id": "1", "metadata": {"a": 1}}
#: What each model needs at least.
NEEDED: dict[str, dict[str, Any]] = {
    "TextBlock": {"text": "a"},
    "ThinkingBlock": {"thinking": "t"},
    "RedactedThinkingBlock": {"data": "d"},
    "ToolCallBlock": {"id": "1", "name": "n", "input": {}},
    "ToolResultBlock": {"tool_call_id": "1", "output": "x"},
    "ImageBlock": {"source": {}},
    "ReasoningBlock": {"content": [], "summary": []},
    "Message": {"role": "user", "content": "a"},
    "ToolSpec": {"name": "n", "parameters": {}},
    "ToolCall": {"id": "1", "name": "n", "arguments": {}},
    "ChatRequest": {"messages": []},
    "ChatResponse": {"content": []},
    "Usage": {name: USAGE[name] for name in ("input_tokens", "output_tokens", "total_tokens")},
    "Degradation": {"requested": "a", "actual": "b", "reason": "c"},
    "ResponseFormatJsonSchema": {"json_schema": {"a": 1}},
    "ModelInfo": {"id": "i", "display_name": "d", "context_window": 1, "max_output_tokens": 2},
    "ConfigField": FIELD,
    "ProviderInfo": {"id": "i", "display_name": "d"},
    "ModuleInfo": {"id": "i", "name": "n", "version": "1", "type": "tool", "mount_point": "tools", "description": "d"},
    "SessionStatus": {"session_id": "s"},
    "ApprovalRequest": {"tool_name": "t", "action": "a", "risk_level": "low"},
    "ApprovalResponse": {"approved": True},
}
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 1.0, 1.5, -0.0, 1e300, 10**20, 2**63),
    *("", "a", "1", " 1 ", "1.0", "1.5", "true", "off", "+5", "1_000", "1e3", "NaN", "\x00", "漢😀", "0.10", "1E+2"),
    *("2020-01-01T00:00:00", "2020-01-01T00:00:00Z", "2020-01-01", "2020-13-01T00:00:00", 1577836800, 1577836800000.5),
    *(
        [],
        [1],
        ["a", "b"],
        [None],
        [[]],
        [{}],
        {},
        {"a": 1},
        {"a": None},
        {"a": "b"},
        {"a": {"b": [1, 1.0, None, True]}},
    ),
    *("low", "secret", "tool", "approval", "user", "assistant", "running", "json", "deny", "info", "error"),
    *(
        {"type": kind, "json_schema": {"a": 1}, "strict": True, "more": 1}
        for kind in ("text", "json", "json_schema", "x")
    ),
    *({"type": "json_schema"}, BLOCKS[:5], *([block] for block in BLOCKS), [CALL], [MESSAGE], [FIELD], USAGE),
    *({**USAGE, "cost_usd": cost} for cost in (0.1, 1, None, "x")),
    *({**MESSAGE, "content": None}, NEEDED["Degradation"], [NEEDED["ToolSpec"]]),
]
TEXTS = ["", "a", "true", '{"a": 1}', "a\x00b\x1b[0m\tc", "é\u2028", "漢😀", "x" * 300]
PHRASES = [
    *("context length", "too many tokens", "maximum context", "token limit", "too long", "rate limit", "rate_limit"),
    *(
        "too many requests",
        "429",
        "timeout",
        "timed out",
        "authentication",
        "api key",
        "unauthorized",
        "401",
        "404",
        "İ",
    ),
    *(
        "content filter",
        "content_filter",
        "safety",
        "blocked",
        "not found",
        "overloaded",
        "503",
        "502",
        "unavailable",
        "ſafety",
    ),
]
STATUSES = [None, 0, 200, 400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 499, 500, 503, 529, 600]
NUMBERS = [0, 1, 2, 0.5, 1.0, 2.0, 3.0, 0.1, 60.0, -1.0, -2, 1e308, 1e-308, 5e-324, 500.0, float("inf"), float("nan")]


def value(rng: Random, depth: int = 0) -> Any:
    """Invent a value of JSON."""
    if depth > 2 or rng.random() < 0.5:
        return rng.choice([None, True, False, 0, 7, 1.5, 1e300, 10**20, *TEXTS])
    if rng.random() < 0.5:
        return [value(rng, depth + 1) for _ in range(rng.randrange(3))]
    return {rng.choice(["a", "message", ""]): value(rng, depth + 1) for _ in range(rng.randrange(3))}


def every_field() -> list[Any]:
    """Give every field of every model every value, and leave out each that is needed."""
    cases = []
    for name, model in MODELS.items():
        needed = NEEDED.get(name, {})
        cases += [{"model": name, "fields": {k: v for k, v in needed.items() if k != out}} for out in [None, *needed]]
        fields = [*model.model_fields, "more"]
        cases += [{"model": name, "fields": {**needed, field: given}} for field in fields for given in VALUES]
    return cases


def fields(rng: Random) -> dict[str, Any]:
    """Invent several fields of a model at once."""
    name = rng.choice(list(MODELS))
    chosen = rng.choices([*MODELS[name].model_fields, "more"], k=rng.randrange(5))
    return {"model": name, "fields": {**NEEDED.get(name, {}), **{field: rng.choice(VALUES) for field in chosen}}}


def delay(rng: Random) -> dict[str, Any]:
    """Invent a delay's input."""
    names = ("initial_delay", "max_delay", "backoff_factor")
    config = {name: rng.choice([*NUMBERS, rng.uniform(-3, 100)]) for name in names if rng.random() < 0.5}
    return {
        "config": {**config, "jitter": False, "honor_retry_after": rng.random() < 0.8},
        "attempt": rng.choice([0, 1, 2, 5, 6, 31, 50, 63, 64, 500, 1023, 1024, 5000]),
        "retry_after": rng.choice([None, *NUMBERS]),
        "delay_multiplier": rng.choice([None, *NUMBERS]),
    }


def message(rng: Random) -> str:
    """Invent what a service says."""
    said = rng.choice([" ", "", "\n"]).join(rng.choices(PHRASES, k=rng.randrange(4)))
    return rng.choice([said, said.upper(), said.title()])


def result(rng: Random) -> dict[str, Any]:
    """Invent a tool result."""
    made = {"success": rng.choice([True, False]), "output": rng.choice([None, value(rng)])}
    error = rng.choice([None, {}, {"code": 1}, {"message": value(rng)}])
    return {**made, "error": error}


def invent(seed: int) -> dict[str, list[Any]]:
    """Invent cases for every section."""
    rng = Random(seed)
    acts = ["graceful", "immediate", "reset"]
    return {
        "models": [*every_field(), *(fields(rng) for _ in range(CASES))],
        "errors": [name for name in ERROR_CLASSES if name != "CircuitOpenError"],  # that one is ours
        "sanitize": [*range(0x300), *range(0x2000, 0x2100), *range(0xD7F0, 0xE010), 0xFEFF, 0xFFFE, 0xFFFF, 0x10FFFF],
        "cancellation": [rng.choices(acts, k=rng.randrange(9)) for _ in range(CASES)],
        "compute_delay": [delay(rng) for _ in range(CASES)],
        "classify": [{"message": message(rng), "status_code": rng.choice(STATUSES)} for _ in range(CASES)],
        "classify_category": [message(rng) for _ in range(CASES)],
        "tool_result": [result(rng) for _ in range(CASES)],
    }


@pytest.mark.skipif(not PEER.exists(), reason="needs the environment of the hooks bench")
@pytest.mark.parametrize("seed", range(2))
def test_an_invented_case_comes_to_the_same(seed: int) -> None:
    """A rule that only fits the recorded sample would show here."""
    cases = invent(seed)
    run = subprocess.run(
        [str(PEER), str(HERE / "kernel_peer.py")], input=json.dumps(cases), capture_output=True, text=True, check=True
    )
    theirs = json.loads(run.stdout)

    differing = [
        (name, case, expected, ours)
        for name in cases
        for case, expected in zip(cases[name], theirs[name], strict=True)
        if as_text(ours := SECTIONS[name](case)) != as_text(expected)
    ]

    assert differing == []


def as_text(outcome: Any) -> str:
    """Write an outcome as JSON; a zero has no sign there."""
    return json.dumps(0.0 if outcome == 0 and isinstance(outcome, float) else outcome, sort_keys=True)


def test_a_time_that_nobody_gave_is_hidden() -> None:
    """The vectors say "<ts>" for a time of the moment; one that was given stays."""
    given = "2020-01-01T00:00:00"
    now, then = (
        SECTIONS["models"]({"model": "SessionStatus", "fields": {"session_id": "s", **more}})
        for more in ({}, {"started_at": given})
    )

    assert (now["full"]["started_at"], now["wire"]["started_at"]) == ("<ts>", "<ts>")
    assert (then["full"]["started_at"], then["wire"]["started_at"]) == (given, given)
