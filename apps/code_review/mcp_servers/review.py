"""The review tools: fetch a commit's diff, export its files for the plugins, tell what was found, record findings, recommend.

Thin: git is read in `repository.py`, judgements are made in `analyse.py`. No tool writes anywhere but into the session's own
workspace; what a call changes in the session's state is declared in app.yaml. `repo`, `commit`, `base`, and
the counts are filled in by the runtime, so that a model reviews its own session's commit alone.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Literal

from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from pydantic import BaseModel, Field, JsonValue, ValidationError

from ..analyse import Analysis, Limits, export_change
from ..analysis.findings import (
    Finding,
    Recommendation,
    Severity,
    blocking_points,
    choose_recommendation,
    count_severities,
)
from ..analysis.secrets import mask_secrets
from ..repository import Repository, RepositoryError
from ..workspace import WorkspaceError, remove, workspace_folder

_MAX_FILES_TOLD = 300
_MAX_RECORDED = 100


class Settings(BaseModel):
    """The server's `config` in app.yaml."""

    #: Repositories outside this folder are refused; "" allows any that the worker can read.
    allowed_root: str = ""
    max_diff_bytes: Annotated[int, Field(ge=1_000, le=400_000)] = 60_000
    max_files: Annotated[int, Field(ge=1, le=2_000)] = 200
    max_file_bytes: Annotated[int, Field(ge=1_000)] = 1_048_576
    max_findings: Annotated[int, Field(ge=1, le=_MAX_RECORDED)] = 50
    max_seconds: Annotated[float, Field(gt=0, le=300)] = 60.0
    #: Where Python files are exported to for the plugins; "" a folder of this user's among the temporary ones.
    scratch: str = ""


class FileInDiff(BaseModel):
    """One changed file."""

    path: str
    status: str
    old_path: str | None
    additions: int
    deletions: int
    binary: bool


class DiffStats(BaseModel):
    """How large a change is."""

    files: int
    additions: int
    deletions: int


class Diff(BaseModel):
    """What `fetch_diff` returns. `diff` is cut where `truncated`; secrets in it are masked."""

    commit: str
    base: str | None
    title: str
    message: str
    committed_at: str
    parents: int
    files: list[FileInDiff]
    additions: int
    deletions: int
    stats: DiffStats
    diff: str
    truncated: bool


class Skipped(BaseModel):
    """A file that was not looked at, and why."""

    path: str
    reason: str


class AnalysisResult(BaseModel):
    """What `analyse_files` returns: the gravest findings first."""

    commit: str
    findings: list[Finding]
    counts: dict[str, int]
    left_out: int
    files_analysed: int
    skipped: list[Skipped]
    notes: list[str]
    recommendation: Recommendation


class Export(BaseModel):
    """What `export_files` returns: where the files lie, and how many there are."""

    workspace: str
    python_files: int
    max_findings: int


class Cleared(BaseModel):
    """What `clear_files` returns."""

    ok: Literal[True] = True


class Recorded(BaseModel):
    """What `add_review_finding` returns; the last three are what app.yaml adds to the state's counts."""

    ok: Literal[True] = True
    findings_count: int
    finding: Finding
    added: Literal[1] = 1
    blocking_points: int
    warnings: int


class Recommended(BaseModel):
    """What `set_recommendation` returns."""

    ok: Literal[True] = True
    recommendation: Recommendation
    summary: str


@lru_cache(maxsize=128)
def _changed_paths(repo: str, root: str, commit: str, base: str | None) -> frozenset[str]:
    files = Repository(repo, allowed_root=root or None).change(commit, base=base).files
    return frozenset(path for file in files for path in (file.path, file.old_path) if path)


def register(mcp_app: FastMCP, cfg: Mapping[str, JsonValue]) -> None:
    """Add the tools to `mcp_app`; raise pydantic's ValidationError for a bad `config`."""
    settings = Settings.model_validate({key: cfg[key] for key in Settings.model_fields if key in cfg})
    _register_reading(mcp_app, settings)
    _register_recording(mcp_app, settings)


def _register_reading(mcp_app: FastMCP, settings: Settings) -> None:
    def opened(repo: str) -> Repository:
        return Repository(repo, allowed_root=settings.allowed_root or None)

    @mcp_app.tool
    def fetch_diff(repo: str, commit: str, base: str | None = None) -> Diff:
        """Fetch the commit under review: its title, its changed files, and its diff."""
        try:
            repository = opened(repo)
            change = repository.change(commit, base=base)
            diff, truncated = repository.patch(change, max_bytes=settings.max_diff_bytes)
        except RepositoryError as error:
            raise ToolError(str(error)) from error
        return Diff(
            commit=change.commit,
            base=change.base,
            title=mask_secrets(change.title)[:300],
            message=mask_secrets(change.message)[:4_000],
            committed_at=change.committed_at,
            parents=change.parents,
            files=[
                FileInDiff(
                    path=file.path,
                    status=file.status,
                    old_path=file.old_path,
                    additions=file.additions,
                    deletions=file.deletions,
                    binary=file.binary,
                )
                for file in change.files[:_MAX_FILES_TOLD]
            ],
            additions=change.additions,
            deletions=change.deletions,
            stats=DiffStats(files=len(change.files), additions=change.additions, deletions=change.deletions),
            diff=mask_secrets(diff),
            truncated=truncated or len(change.files) > _MAX_FILES_TOLD,
        )

    @mcp_app.tool
    def analyse_files(commit: str, analysis: dict[str, JsonValue] | None = None) -> AnalysisResult:
        """Tell what the analysers (ruff, syntax tree, secrets, size, tests) found on the commit's changed lines."""
        return _read_analysis(commit, analysis or {})

    @mcp_app.tool
    def export_files(
        repo: str,
        commit: str,
        session_id: str,
        base: str | None = None,
        scratch: str = "",
        idempotency_key: str = "",
    ) -> Export:
        """Analyse what needs no plugin, and export the changed Python files for the plugins."""
        del idempotency_key  # the session's id is one: an export begins anew
        limits = Limits(
            max_files=settings.max_files,
            max_file_bytes=settings.max_file_bytes,
            max_findings=settings.max_findings,
            max_seconds=settings.max_seconds,
        )
        try:
            folder = workspace_folder(scratch or settings.scratch, session_id)
            repository = opened(repo)
            count = export_change(repository, repository.change(commit, base=base), limits, folder)
        except (RepositoryError, WorkspaceError) as error:
            raise ToolError(str(error)) from error
        return Export(workspace=str(folder), python_files=count, max_findings=settings.max_findings)

    @mcp_app.tool
    def clear_files(session_id: str, scratch: str = "", idempotency_key: str = "") -> Cleared:
        """Remove what was exported."""
        del idempotency_key
        try:
            remove(workspace_folder(scratch or settings.scratch, session_id))
        except (OSError, WorkspaceError) as error:
            raise ToolError(f"workspace: cannot be removed ({error}); remove it") from error
        return Cleared()


def _read_analysis(commit: str, found: Mapping[str, JsonValue]) -> AnalysisResult:
    if "analysed" not in found:
        why = found.get("problem") or "the changed files were not exported; see the journal"
        raise ToolError(f"analysis: {why}")
    analysis = Analysis.model_validate(found)
    return AnalysisResult(
        commit=commit,
        findings=analysis.findings,
        counts=count_severities(analysis.findings),
        left_out=analysis.left_out,
        files_analysed=analysis.analysed,
        skipped=[Skipped(path=path, reason=reason) for path, reason in analysis.skipped],
        notes=analysis.notes,
        recommendation=choose_recommendation([finding.severity for finding in analysis.findings]),
    )


def _register_recording(mcp_app: FastMCP, settings: Settings) -> None:
    @mcp_app.tool
    def add_review_finding(
        repo: str,
        commit: str,
        file: str,
        severity: Severity,
        category: str,
        message: str,
        line: int | None = None,
        suggestion: str | None = None,
        rule: str = "",
        base: str | None = None,
        findings_count: Annotated[int, Field(ge=0)] = 0,
    ) -> Recorded:
        """Record one finding on a file of this commit.

        `severity` is info, warning, error or critical. `line` is a line of the file as the commit
        leaves it. `category` is one word: correctness, security, tests, style, size.
        """
        if findings_count >= _MAX_RECORDED:
            raise ToolError(f"findings: {_MAX_RECORDED} are recorded already; say the rest in the summary")
        try:
            finding = Finding(
                file=file.strip(),
                line=line,
                severity=severity,
                category=category.strip(),
                message=mask_secrets(message.strip()),
                suggestion=mask_secrets(suggestion.strip()) if suggestion and suggestion.strip() else None,
                rule=rule,
            )
            known = _changed_paths(repo, settings.allowed_root, commit, base)
        except ValidationError as error:
            raise ToolError(_tell(error)) from error
        except RepositoryError as error:
            raise ToolError(str(error)) from error
        if finding.file not in known:
            raise ToolError(
                f"file {finding.file[:200]!r}: not changed by this commit; name one that `fetch_diff` lists"
            )
        return Recorded(
            findings_count=findings_count + 1,
            finding=finding,
            blocking_points=blocking_points(finding.severity),
            warnings=int(finding.severity == "warning"),
        )

    @mcp_app.tool
    def set_recommendation(
        recommendation: Recommendation, summary: str, blocking_points: int = 0, warnings: int = 0
    ) -> Recommended:
        """End the review: approve, request_changes or comment, with a summary for its author.

        It may be stricter than the recorded findings ask for, never milder.
        """
        text = mask_secrets(summary.strip())
        if not text:
            raise ToolError("summary: empty; say in one or two sentences what was found")
        if recommendation == "approve" and (blocking_points or warnings):
            raise ToolError("recommendation 'approve': warnings or errors are recorded; say comment or request_changes")
        if recommendation == "comment" and blocking_points >= 2:
            raise ToolError("recommendation 'comment': a critical or two errors are recorded; say request_changes")
        return Recommended(recommendation=recommendation, summary=text[:4_000])


def _tell(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"finding: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}; nothing was recorded"
