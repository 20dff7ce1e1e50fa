"""Turn what the plugin `ruff` wrote into findings on changed lines. Pure.

Which rules it runs is in the plugin; which of their remarks are grave is decided here.
"""

from collections.abc import Collection, Sequence
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from .findings import Finding, Severity

_ERRORS: Final = ("F5", "F6", "F7", "F82", "PLE", "E9")
_NOT_ERRORS: Final = ("F541", "F632")
_INFOS: Final = ("F401", "F541", "F841", "B007", "B009", "B010")
#: The file is not UTF-8: an encoding is its author's choice.
_UNREADABLE: Final = "E902"


class Remark(BaseModel):
    """One remark of ruff's on one file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    code: str | None
    message: Annotated[str, Field(max_length=10_000)]
    row: int


def find_in_remarks(path: str, remarks: Sequence[Remark], changed: Collection[int] | None) -> list[Finding]:
    """Return the findings on changed lines (None: all); a syntax error counts wherever it is."""
    return [
        _finding(path, remark)
        for remark in remarks
        if remark.code != _UNREADABLE and (changed is None or _is_syntax_error(remark) or remark.row in changed)
    ]


def _is_syntax_error(remark: Remark) -> bool:
    return remark.code in (None, "invalid-syntax", "syntax-error")


def _finding(path: str, remark: Remark) -> Finding:
    syntax = _is_syntax_error(remark)
    code = "invalid-syntax" if syntax else remark.code or ""
    return Finding(
        file=path,
        line=max(remark.row, 1),
        severity="error" if syntax else _severity(code),
        category="syntax" if syntax else "correctness",
        message=f"Not valid Python: {remark.message}"[:600] if syntax else f"{remark.message} ({code})"[:600],
        rule=code,
    )


def _severity(code: str) -> Severity:
    if code in _INFOS:
        return "info"
    return "error" if code.startswith(_ERRORS) and code not in _NOT_ERRORS else "warning"
