"""Read confidence, rationale and signal from a turn's tool calls.

Agents say how sure they are in the arguments of their tools: in those that end their work, and in
the `patch` argument of those that change data as they go. This module reads them; where the signal
leads is the work of routes.py, whether the confidence suffices that of risk.py. Pure.
"""

import math
from collections.abc import Collection, Sequence
from typing import Self

from pydantic import JsonValue

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import Frozen
from orchestrator.contracts.session import SUCCESSFUL, Cursor, ToolCall
from orchestrator.kernel.lookup import names_match

_WORDS = {"high": 0.9, "medium": 0.6, "low": 0.3}
#: What a call that ends an agent's work signals, if the app's vocabulary has the word.
_DONE_SIGNAL = "success"


class Harvest(Frozen):
    """What is known of a turn: confidence from 0 to 1, why, and the signal for the route.

    `locked` is set by a call that ended the agent's work: from then on patches give signals only.
    The fields are named as in Cursor: `cursor.model_copy(update=harvest.model_dump())`.
    """

    confidence: float | None = None
    rationale: str | None = None
    signal: str | None = None
    locked: bool = False

    @classmethod
    def of(cls, cursor: Cursor) -> Self:
        """Return what the cursor knows so far."""
        return cls(confidence=cursor.confidence, rationale=cursor.rationale, signal=cursor.signal, locked=cursor.locked)


def coerce_confidence(value: JsonValue) -> float | None:
    """Return a confidence from 0 to 1, or None for what is none.

    Numbers are clamped; "high", "medium" and "low" are .9, .6 and .3. Any other text is none, even
    one with digits in it: a model that writes "0.9" has not followed its schema.

    >>> [coerce_confidence(v) for v in (0.42, 7, -1, " High ", "low", "0.9", True, None)]
    [0.42, 1.0, 0.0, 0.9, 0.3, None, None, None]
    """
    if isinstance(value, str):
        return _WORDS.get(value.strip().lower())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and math.isnan(value):
        return None
    return float(min(max(value, 0), 1))  # clamped first: an int may be too large for a float


def coerce_signal(value: JsonValue, vocabulary: Collection[str]) -> str | None:
    """Return the word of the vocabulary that `value` is, by any case and with any space around.

    >>> coerce_signal(" Failed ", ("success", "failed")), coerce_signal("maybe", ("failed",))
    ('failed', None)
    """
    if not isinstance(value, str):
        return None
    said = value.strip().lower()
    return next((word for word in vocabulary if word.lower() == said), None)


def coerce_rationale(value: JsonValue) -> str | None:
    """Return text that says something, or None."""
    return value if isinstance(value, str) and value.strip() else None


def harvest(before: Harvest, calls: Sequence[ToolCall], spec: AppSpec) -> Harvest:
    """Return what is known after these calls, in the order in which they were asked for.

    Only calls that succeeded are read: one that failed, or that a person rejected, has said
    nothing about how the work went.
    """
    enders = {rule.tool_name for rule in spec.terminal_tools} | set(spec.harvest_terminal_tools)
    for call in calls:
        if call.outcome not in SUCCESSFUL:
            continue
        if any(names_match(name, call.tool) for name in enders):
            before = _read_ender(before, call, spec.signals)
        elif any(names_match(name, call.tool) for name in spec.patch_tools):
            before = _read_patch(before, call, spec.signals)
    return before


def _read_ender(before: Harvest, call: ToolCall, signals: Collection[str]) -> Harvest:
    """Take what the call declares; what it leaves out stays as it was."""
    confidence = coerce_confidence(call.args.get("confidence"))
    rationale = coerce_rationale(call.args.get("confidence_rationale"))
    return Harvest(
        confidence=before.confidence if confidence is None else confidence,
        rationale=before.rationale if rationale is None else rationale,
        signal=_DONE_SIGNAL if _DONE_SIGNAL in signals else before.signal,
        locked=True,
    )


def _read_patch(before: Harvest, call: ToolCall, signals: Collection[str]) -> Harvest:
    """Overwrite with each key that is there; one that is there and means nothing clears the value."""
    patch = call.args.get("patch")
    if not isinstance(patch, dict):
        return before
    after = before.model_dump()
    if "confidence" in patch and not before.locked:
        after["confidence"] = coerce_confidence(patch["confidence"])
    if "confidence_rationale" in patch and not before.locked:
        after["rationale"] = coerce_rationale(patch["confidence_rationale"])
    if "signal" in patch:
        after["signal"] = coerce_signal(patch["signal"], signals)
    return Harvest(**after)
