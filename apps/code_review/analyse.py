"""Analyse one commit: read its changed files, run every analyser over them, keep the findings.

The one place that joins the repository (effects) and the analysers in `analysis/`. Bounded: so
many files, so many bytes a file, so much time, so many findings; what was left out is told.
"""

import time
from dataclasses import dataclass, field
from typing import Final

from .analysis.change import is_generated, is_test, judge_change
from .analysis.findings import Finding, cap_findings
from .analysis.python_ast import Unparseable, find_in_python
from .analysis.ruff import RuffUnavailable, run_ruff
from .analysis.secrets import find_secrets
from .analysis.text import find_conflict_markers
from .repository import Change, ChangedFile, Repository

_PYTHON: Final = (".py", ".pyi")
#: git's own rule: a file with a zero byte among its first is binary.
_SNIFFED_BYTES: Final = 8_000
_MAX_SKIPS_TOLD: Final = 50
_MAX_NOTES: Final = 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one analysis may cost at most."""

    max_files: int = 200
    max_file_bytes: int = 1024 * 1024
    max_findings: int = 50
    max_seconds: float = 60.0


@dataclass(slots=True)
class Analysis:
    """What was found, in what, and what was not looked at: pairs of path and reason."""

    findings: list[Finding] = field(default_factory=list)
    left_out: int = 0
    analysed: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def skip(self, path: str, reason: str) -> None:
        """Remember a file that was not looked at."""
        if len(self.skipped) < _MAX_SKIPS_TOLD:
            self.skipped.append((path, reason))
        elif len(self.skipped) == _MAX_SKIPS_TOLD:
            self.skipped.append(("…", "more files were left out"))

    def note(self, text: str) -> None:
        """Remember once what a reader of the findings should know."""
        if text not in self.notes and len(self.notes) < _MAX_NOTES:
            self.notes.append(text)


def analyse_change(repository: Repository, change: Change, limits: Limits) -> Analysis:
    """Return the analysis of one change; raise RepositoryError."""
    analysis = Analysis()
    present = [file for file in change.files if file.content_id is not None]
    sizes = repository.sizes([file.content_id for file in present if file.content_id is not None])
    deadline = time.monotonic() + limits.max_seconds
    found = judge_change(change.title, change.files, sizes)
    for file in present:
        if analysis.analysed >= limits.max_files:
            analysis.skip(file.path, f"more than {limits.max_files} files")
        elif time.monotonic() > deadline:
            analysis.skip(file.path, f"over {limits.max_seconds:g} s")
        else:
            found += _analyse_file(repository, file, sizes, limits, analysis)
    analysis.findings, analysis.left_out = cap_findings(found, limit=limits.max_findings)
    return analysis


def _analyse_file(
    repository: Repository, file: ChangedFile, sizes: dict[str, int], limits: Limits, analysis: Analysis
) -> list[Finding]:
    if file.content_id is None or sizes.get(file.content_id, 0) > limits.max_file_bytes:
        analysis.skip(file.path, f"over {limits.max_file_bytes} bytes")
        return []
    content = repository.content(file.content_id, max_bytes=limits.max_file_bytes)
    if content is not None and b"\0" in content[:_SNIFFED_BYTES] and not file.path.endswith(_PYTHON):
        # Judged by the content: attributes of the repository may call anything binary.
        analysis.skip(file.path, "binary")
        return []
    changed = repository.changed_lines(file)
    analysis.analysed += 1
    if content is None or changed == frozenset():  # only renamed, or lines only removed
        return []
    text, test = content.decode("utf-8", "replace"), is_test(file.path)
    found = find_secrets(file.path, text, changed, is_test=test, tokens_only=is_generated(file.path))
    found += find_conflict_markers(file.path, text, changed)
    if file.path.endswith(_PYTHON):
        found += _analyse_python(file.path, content, changed, analysis, test=test)
    return found


def _analyse_python(
    path: str, content: bytes, changed: frozenset[int] | None, analysis: Analysis, *, test: bool
) -> list[Finding]:
    findings: list[Finding] = []
    linted = False
    try:
        findings = run_ruff(path, content, changed)
        linted = True
    except RuffUnavailable as error:
        analysis.note(str(error))
    try:
        findings += find_in_python(path, content.decode("utf-8", "replace"), changed, is_test=test)
    except Unparseable as error:
        if linted and not any(finding.rule == "invalid-syntax" for finding in findings):
            # Ruff reads it: the file is of a newer Python than the one that runs this.
            analysis.note(f"{path}: not parsed by this interpreter ({error.reason}); only ruff looked at it")
        elif not linted:
            findings.append(
                Finding(
                    file=path,
                    line=error.line,
                    severity="error",
                    category="syntax",
                    message=f"Not valid Python: {error.reason}"[:600],
                    rule="invalid-syntax",
                )
            )
    return findings
