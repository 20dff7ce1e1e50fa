"""Analyse one commit: look at its changed files, export those in Python for the plugins, keep the findings of both.

The one place that joins the repository (effects), the analysers in `analysis/`, and what the plugins left in the workspace.
Bounded: so many files, so many bytes a file, so much time, so many findings; what was left out is told.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from . import workspace
from .analysis.change import is_generated, is_test, judge_change
from .analysis.findings import Finding, cap_findings
from .analysis.ruff import find_in_remarks
from .analysis.secrets import find_secrets
from .analysis.text import find_conflict_markers, read_lines
from .repository import Change, ChangedFile, Repository
from .workspace import Checked, Exported, WorkspaceError

_PYTHON: Final = (".py", ".pyi")
#: git's own rule: a file with a zero byte among its first is binary.
_SNIFFED_BYTES: Final = 8_000
_MAX_SKIPS_TOLD: Final = 50
_MAX_NOTES: Final = 20
#: The rule of the finding that something was left out.
_UNSEEN: Final = "not-looked-at"
_MOST_CHARS: Final = 131_072


class Limits(BaseModel):
    """What one analysis may cost at most."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_files: int = 200
    max_file_bytes: int = 1024 * 1024
    max_findings: int = 50
    max_seconds: float = 60.0


class Analysis(BaseModel):
    """What was found, in what, and what was not looked at: pairs of path and reason."""

    model_config = ConfigDict(extra="forbid")

    findings: list[Finding] = []
    left_out: int = 0
    analysed: int = 0
    skipped: list[tuple[str, str]] = []
    notes: list[Annotated[str, Field(max_length=2_000)]] = []

    def skip_over_limit(self, path: str, reason: str) -> None:
        """Remember a file that would cost too much: nothing may be approved unseen, so the first one is a finding."""
        self.skip(path, reason)
        if is_generated(path) or any(finding.rule == _UNSEEN for finding in self.findings):
            return
        message = f"Not looked at: {reason}. Files that are told as skipped were not, either; look at them yourself."
        self.findings.append(Finding(file=path, severity="warning", category="analysis", message=message, rule=_UNSEEN))

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


def export_change(repository: Repository, change: Change, limits: Limits, folder: Path) -> int:
    """Analyse what needs no plugin, export the Python files into `folder`; return how many they are.

    Raises RepositoryError, WorkspaceError.
    """
    workspace.begin(folder)
    analysis, exported = Analysis(), dict[str, Exported]()
    present = [file for file in change.files if file.content_id is not None]
    sizes = repository.sizes([file.content_id for file in present if file.content_id is not None])
    deadline = time.monotonic() + limits.max_seconds
    analysis.findings = judge_change(change.title, change.files, sizes)
    for file in present:
        if analysis.analysed >= limits.max_files:
            analysis.skip_over_limit(file.path, f"more than {limits.max_files} files")
        elif time.monotonic() > deadline:
            analysis.skip_over_limit(file.path, f"over {limits.max_seconds:g} s")
        else:
            analysis.findings += _analyse_file(repository, file, sizes, limits, analysis, folder, exported)
    try:
        workspace.write_index(folder, exported, analysis.model_dump_json())
    except OSError as error:
        raise WorkspaceError(f"workspace {folder}: {error.strerror}; make room for it") from error
    return len(exported)


def collect_analysis(folder: Path, entries: Sequence[Mapping[str, Any]], max_findings: int) -> Analysis:
    """Return everything that was found, by us and by the plugins whose result entries these are; raise WorkspaceError.

    What a plugin wrote is read as strictly as what a stranger sends. One that did not end well is told: without ruff the own checks
    are enough, without those nothing may be approved unseen.
    """
    index, partial = workspace.read_index(folder)
    try:
        analysis = Analysis.model_validate_json(partial)
        ended = {str(entry["plugin"]): entry for entry in entries}
        linted = workspace.read_linted(folder) if _is_well(ended, "ruff") else None
        checked = workspace.read_checked(folder) if _is_well(ended, "python_checks") else None
        found = list(analysis.findings)
        if index.files:
            for name in ("ruff", "python_checks"):
                if not _is_well(ended, name):
                    analysis.note(_tell(name, ended.get(name)))
        for place, file in index.files.items():
            changed = None if file.changed is None else frozenset(file.changed)
            lint = find_in_remarks(file.path, linted.get(place, []), changed) if linted is not None else None
            found += lint or []
            found += _read_checked(file, checked, place, lint, analysis)
    except ValidationError as error:
        raise WorkspaceError(f"workspace {folder}: what a plugin wrote is not understood; see the journal") from error
    analysis.findings, analysis.left_out = cap_findings(found, limit=max_findings)
    while len(analysis.model_dump_json()) > _MOST_CHARS and analysis.findings:
        analysis.findings.pop()  # the lightest: it becomes a part of the state
        analysis.left_out += 1
    return analysis


def _read_checked(
    file: Exported, checked: dict[str, Checked] | None, place: str, lint: list[Finding] | None, analysis: Analysis
) -> list[Finding]:
    """Return what the own checks found in one file, or that they could not look at it."""
    told = checked.get(place) if checked is not None else None
    if told is None:
        about: dict[str, Any] = {"severity": "warning", "category": "analysis", "rule": "not-checked"}
        return [
            Finding(file=file.path, message="This file's syntax tree was not checked; look at it yourself.", **about)
        ]
    if not told.reason:
        return [Finding.model_validate({**remark, "file": file.path}) for remark in told.remarks]
    if lint is not None and not any(finding.rule == "invalid-syntax" for finding in lint):
        # Ruff reads it: the file is of a newer Python than the one that runs this.
        analysis.note(f"{file.path}: not parsed by this interpreter ({told.reason}); only ruff looked at it"[:2_000])
    elif lint is None:
        message = f"Not valid Python: {told.reason}"[:600]
        syntax: dict[str, Any] = {"severity": "error", "category": "syntax", "rule": "invalid-syntax"}
        return [Finding(file=file.path, line=max(told.line, 1), message=message, **syntax)]
    return []


def _is_well(ended: Mapping[str, Mapping[str, Any]], plugin: str) -> bool:
    return ended.get(plugin, {}).get("status") in {"success", "skipped"}


def _tell(plugin: str, entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return f"{plugin}: was not run"
    return f"{plugin}: {entry['status']}{f': {why}' if (why := entry.get('error')) else ''}"[:600]


def _analyse_file(
    repository: Repository,
    file: ChangedFile,
    sizes: dict[str, int],
    limits: Limits,
    analysis: Analysis,
    folder: Path,
    exported: dict[str, Exported],
) -> list[Finding]:
    if file.content_id is None or sizes.get(file.content_id, 0) > limits.max_file_bytes:
        analysis.skip_over_limit(file.path, f"over {limits.max_file_bytes} bytes")
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
    (text, changed), test = read_lines(content, changed), is_test(file.path)
    if file.path.endswith(_PYTHON):
        lines = None if changed is None else sorted(changed)
        name = workspace.add_file(folder, len(exported) + 1, file.path, content)
        exported[name] = Exported(path=file.path, changed=lines, is_test=test)
    found = find_secrets(file.path, text, changed, is_test=test, tokens_only=is_generated(file.path))
    return found + find_conflict_markers(file.path, text, changed)
