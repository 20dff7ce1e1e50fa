"""Weigh what was observed: which cause it speaks for, and how sure one may be.

Pure: values in, a hypothesis out. Confidence grows with independent signs that agree (the service's
own answers, its log, its process) and falls where a restart was tried of late and did not last.
Thin evidence gives a confidence below any sensible gate.
"""

from typing import Final, Literal, TypeAlias

from pydantic import BaseModel

Cause: TypeAlias = Literal["process_fault", "process_down", "process_hung", "intermittent", "no_fault_seen"]

_MOST: Final = 0.95
_LEAST: Final = 0.05
#: What each restart of the last hour takes away: it was tried, and here we are again.
_PER_RESTART: Final = 0.25


class Evidence(BaseModel):
    """What was observed. `log_error_share` is that of error lines among all lines."""

    healthy: bool
    answers: bool
    status: int | None
    error_rate: float
    log_lines: int
    log_errors: int
    log_error_share: float
    process_alive: bool
    restarts_last_hour: int
    leading_error: str | None = None


class Hypothesis(BaseModel):
    """A cause with its confidence from 0 to 1, and what speaks for and against it."""

    cause: Cause
    statement: str
    restart_would_help: bool
    confidence: float
    rationale: str


def weigh_evidence(seen: Evidence) -> Hypothesis:
    """Return the hypothesis that the evidence speaks for.

    >>> quiet = Evidence(healthy=True, answers=True, status=200, error_rate=0, log_lines=4, log_errors=0,
    ...     log_error_share=0, process_alive=True, restarts_last_hour=0)
    >>> weigh_evidence(quiet).cause, weigh_evidence(quiet).confidence
    ('no_fault_seen', 0.3)
    """
    cause = _choose_cause(seen)
    signs = _weigh(cause, seen)
    confidence = round(min(_MOST, max(_LEAST, sum(weight for weight, _ in signs))), 2)
    lead = f": {seen.leading_error}" if seen.leading_error and cause in ("process_fault", "intermittent") else ""
    return Hypothesis(
        cause=cause,
        statement=(_STATEMENTS[cause] + lead)[:600],
        restart_would_help=cause in ("process_fault", "process_down", "process_hung"),
        confidence=confidence,
        rationale="; ".join(f"{text} ({weight:+.2f})" for weight, text in signs),
    )


_STATEMENTS: Final[dict[Cause, str]] = {
    "process_fault": "The process runs but its own memory is at fault: it fails every request until it is restarted",
    "process_down": "The process is gone and nothing listens on its address",
    "process_hung": "The process runs but does not answer",
    "intermittent": "Some requests fail, and nothing observed says which",
    "no_fault_seen": "No fault is to be seen now",
}


def _choose_cause(seen: Evidence) -> Cause:
    if not seen.process_alive and not seen.answers:
        return "process_down"
    if not seen.answers:
        return "process_hung"
    if seen.healthy:
        return "no_fault_seen"
    return "process_fault" if seen.error_rate >= 0.5 else "intermittent"


def _weigh(cause: Cause, seen: Evidence) -> list[tuple[float, str]]:
    if cause == "no_fault_seen":
        signs = [(0.3, f"health is good and {seen.log_errors} errors are in the log")]
    elif cause == "process_down":
        signs = [(0.6, "no process with the service's pid, start time and command"), (0.3, "nothing answers")]
    elif cause == "process_hung":
        signs = [(0.45, "the process is alive"), (0.35, "its health path gives no answer")]
    else:
        signs = [(0.45 * seen.error_rate, f"{seen.error_rate:.0%} of the requests failed")]
        if seen.status is not None and seen.status >= 500:
            signs.append((0.15, f"health answers {seen.status}"))
        if seen.log_errors >= 3:
            signs.append((0.2, f"{seen.log_errors} errors in the log"))
        elif seen.log_errors == 0:
            signs.append((-0.1, "the log shows no error"))
        if seen.log_error_share >= 0.2:
            signs.append((0.1, f"{seen.log_error_share:.0%} of the log's lines are errors"))
        if seen.process_alive:
            signs.append((0.05, "the process itself is alive"))
    if seen.restarts_last_hour:
        signs.append((-_PER_RESTART * seen.restarts_last_hour, f"{seen.restarts_last_hour} restarts in the last hour"))
    return signs
