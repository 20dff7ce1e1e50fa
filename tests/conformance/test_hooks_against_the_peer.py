"""Invented cases, done by ours and by amplifier-core, come to the same: the vectors are only a sample.

Runs where the environment of the hooks bench is there (`bench/hooks.py --help` says how to make it), and is
skipped elsewhere. The cases come from a seed, so that a difference is found again.
"""

import json
import logging
import os
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.conformance.kernel_adapter import SECTIONS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEER = Path(os.environ.get("BENCH_HOOKS_PEER") or ROOT / "bench" / "out" / "hooks-peer") / "bin" / "python"
TEXTS = ["", "a", "abcd", "x" * 40, "x" * 41, "hé\x00\x07\t\r\n\x7f\x85z", "漢😀\u200b\u2028", "12\x0034", "p" * 250]
#: Field → what fits, what does not.
FIELDS: dict[str, tuple[list[Any], list[Any]]] = {
    "action": (["continue", "deny", "modify", "inject_context", "ask_user"], ["Deny", "", None, 5, "allow"]),
    "data": ([None, {}, {"a": 1}, {"n": {"x": [1, None, True, 1.5]}}], [[], "x", 5]),
    "reason": ([None, "", "r"], [5, []]),
    "context_injection": ([None, *TEXTS], [5, ["a"]]),
    "context_injection_role": (["system", "user", "assistant"], ["developer", None, "System"]),
    "ephemeral": ([True, False], [1, 0, "true", None]),
    "approval_prompt": ([None, *TEXTS], [5]),
    "approval_options": ([None, [], ["Allow", "Deny"], ["x"]], ["x", [1], {"a": 1}, [None]]),
    "approval_timeout": ([5, 0, -5, 1.5, 10**12], ["5", None, True, []]),
    "approval_default": (["allow", "deny"], ["Allow", None, "continue"]),
    "suppress_output": ([True, False], [1, None]),
    "user_message": ([None, *TEXTS], [5]),
    "user_message_level": (["info", "warning", "error"], ["debug", None]),
    "user_message_source": ([None, "", "src"], [5]),
    "append_to_last_tool_result": ([True, False], [1, None]),
    "more": ([1, None], [{}]),
}
REPLIES = [None, "allow", "ALLOW ONCE", "Allow always", "allow ", "deny", "DENY", "no", "", "TIMEOUT", "ERROR"]
KEYS = [
    "api_key",
    "API-KEY",
    "secret",
    "Password",
    "token",
    "tokens",
    "my_token",
    "auth",
    "credential",
    "privatekey",
    "x",
]


def answer(rng: Random, *, wrong: float) -> dict[str, Any]:
    """Invent a mapping; each of its fields is wrong with this likelihood."""
    chosen = [name for name in FIELDS if rng.random() < 0.35]
    return {name: rng.choice(FIELDS[name][rng.random() < wrong]) for name in chosen}


def handlers(rng: Random) -> list[Any]:
    """Invent what up to six handlers return."""
    odd = [None, None, "RAISE", {}, 5, "x", "", True, False, [], [1], 0, 1.5]
    return [
        rng.choice(odd) if rng.random() < 0.2 else answer(rng, wrong=rng.choice([0.0, 0.0, 0.05]))
        for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 4, 6]))
    ]


def data(rng: Random) -> Any:
    """Invent what is emitted."""
    return rng.choice(
        [
            {},
            {"a": 1},
            {"timestamp": "mine", "n": {"a": [1, None]}},
            {"session_id": "mine"},
            [1],
            None,
            "s",
            5,
            {"x": 1.5},
        ]
    )


def processed(rng: Random) -> dict[str, Any]:
    """Invent an answer and the world that it acts on."""
    result = answer(rng, wrong=0.0)
    result["action"] = rng.choice(["inject_context", "inject_context", "ask_user", *FIELDS["action"][0]])
    case: dict[str, Any] = {"hook_result": result, "config": {}, "hook_name": rng.choice([None, "hk", ""])}
    choices: dict[str, list[Any]] = {
        "before": [0, 3, 10],
        "context": [False],
        "display": [False],
        "approval_reply": REPLIES,
    }
    case |= {name: rng.choice(values) for name, values in choices.items() if rng.random() < 0.4}
    for name in ("injection_size_limit", "injection_budget_per_turn"):
        if rng.random() < 0.5:
            case["config"][name] = rng.choice([None, 0, 1, 4, 10, 11, 40, 41, 1000, "4", 4.5])
    return case


def value(rng: Random, depth: int = 0) -> Any:
    """Invent something to write down."""
    if depth > 3 or rng.random() < 0.4:
        return rng.choice([None, 1, 1.5, True, "x" * rng.choice([0, 179, 180, 181, 500]), "😀" * 181])
    if rng.random() < 0.5:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(KEYS): value(rng, depth + 1) for _ in range(rng.randrange(4))}


def invent(seed: int) -> dict[str, list[Any]]:
    """Invent cases for every section."""
    rng = Random(seed)
    defaults = [None, {}, {"session_id": "S", "parent_id": None}, {"timestamp": "d", "a": 0}]
    return {
        "emit": [{"handlers": handlers(rng), "data": data(rng), "defaults": rng.choice(defaults)} for _ in range(400)],
        "collect": [{"handlers": handlers(rng), "data": data(rng)} for _ in range(100)],
        "process": [processed(rng) for _ in range(400)],
        "redact": [value(rng) for _ in range(100)],
        "truncate": [value(rng) for _ in range(100)],
    }


@pytest.mark.skipif(not PEER.exists(), reason="needs the environment of the hooks bench")
@pytest.mark.parametrize("seed", range(3))
def test_an_invented_case_comes_to_the_same(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """A rule that only fits the recorded sample would show here."""
    caplog.set_level(logging.CRITICAL)
    cases = invent(seed)
    run = subprocess.run(
        [str(PEER), str(HERE / "hooks_peer.py")], input=json.dumps(cases), capture_output=True, text=True, check=True
    )
    theirs = json.loads(run.stdout)

    differing = [
        (name, case, expected, ours)
        for name in cases
        for case, expected in zip(cases[name], theirs[name], strict=True)
        if json.dumps(ours := SECTIONS[name](case), sort_keys=True) != json.dumps(expected, sort_keys=True)
    ]

    assert differing == []
