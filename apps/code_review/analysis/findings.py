"""What a finding is, how many a review keeps, and what the findings recommend.

Pure. Which findings there are is the work of the analysers beside this module.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Severity: TypeAlias = Literal["info", "warning", "error", "critical"]
Recommendation: TypeAlias = Literal["approve", "request_changes", "comment"]

#: From the gravest to the lightest.
SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "error", "warning", "info")

#: A finding of one rule in one file is told so often; the rest is told as a number.
_REPEATS: Final = 5
_TEXT = 600


class Finding(BaseModel):
    """One remark on a change. `line` is a line of the file as the commit leaves it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[str, Field(min_length=1, max_length=4096)]
    line: Annotated[int, Field(ge=1)] | None = None
    severity: Severity
    category: Annotated[str, Field(min_length=1, max_length=64)]
    message: Annotated[str, Field(min_length=1, max_length=_TEXT)]
    suggestion: Annotated[str, Field(max_length=_TEXT)] | None = None
    rule: Annotated[str, Field(max_length=64)] = ""


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings without doubles, the gravest first, then by file and line."""
    order = {severity: place for place, severity in enumerate(SEVERITIES)}
    return sorted(dict.fromkeys(findings), key=lambda it: (order[it.severity], it.file, it.line or 0, it.rule))


def cap_findings(findings: Iterable[Finding], *, limit: int) -> tuple[list[Finding], int]:
    """Return at most `limit` findings, the gravest first, and how many were left out.

    Repetitions of one rule in one file are folded into the last one that is told, so that a
    thousand lines of one kind do not hide the one of another.
    """
    ordered = sort_findings(findings)
    seen = Counter((it.file, it.rule, it.severity) for it in ordered)
    told: Counter[tuple[str, str, str]] = Counter()
    kept: list[Finding] = []
    for finding in ordered:
        group = (finding.file, finding.rule, finding.severity)
        told[group] += 1
        if told[group] > _REPEATS:
            continue
        rest = seen[group] - _REPEATS
        if told[group] == _REPEATS and rest > 0:
            message = f"{finding.message[: _TEXT - 60]} (and {rest} more of this kind in this file)"
            kept.append(finding.model_copy(update={"message": message}))
        else:
            kept.append(finding)
    return kept[:limit], len(ordered) - len(kept[:limit])


def count_severities(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many findings there are of each severity, zeros included."""
    counts = Counter(finding.severity for finding in findings)
    return {severity: counts[severity] for severity in SEVERITIES}


def blocking_points(severity: Severity) -> int:
    """Return what a finding weighs against a change: two points forbid it.

    >>> [blocking_points(severity) for severity in SEVERITIES]
    [2, 1, 0, 0]
    """
    return {"critical": 2, "error": 1, "warning": 0, "info": 0}[severity]


def choose_recommendation(severities: Sequence[Severity]) -> Recommendation:
    """Return what findings of these severities recommend.

    Any critical one, or two errors, ask for changes; an error or a warning is a comment.

    >>> choose_recommendation(["error", "error"]), choose_recommendation(["warning"]), choose_recommendation(["info"])
    ('request_changes', 'comment', 'approve')
    """
    if sum(blocking_points(severity) for severity in severities) >= 2:
        return "request_changes"
    return "comment" if {"error", "warning"} & set(severities) else "approve"
