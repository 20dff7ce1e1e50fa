"""Turn `baton submit code_review --repo PATH --range A..B` into one submission a commit.

The options are this app's own; the form is that of `orchestrator.contracts.demo`. Revisions are
resolved here, once, so that every session is about one fixed commit whatever branches do later.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.demo import Submission
from orchestrator.contracts.errors import InputError, suggest

from .analysis.secrets import mask_secrets
from .repository import Repository, RepositoryError

OPTIONS: Final = {
    "repo": "the repository's folder (default: the current one)",
    "range": "A..B: the commits that B has and A has not; one revision: that commit",
    "count": "without a range: how many of the last commits (default: 20)",
}
DEFAULT_COUNT: Final = 20
_MAX_COMMITS: Final = 10_000


def submissions(options: Mapping[str, str]) -> list[Submission]:
    """Return one submission for each commit, oldest first; raise InputError."""
    for name in options:
        if name not in OPTIONS:
            raise InputError(f"option --{name.replace('_', '-')}: not one of this app's; {suggest(name, OPTIONS)}")
    repository = open_repository(options.get("repo") or ".")
    try:
        commits = _choose_commits(repository, options)
        span = options.get("range")
        return [submission(repository, commit, span=span) for commit in commits]
    except RepositoryError as error:
        raise InputError(str(error)) from error


def open_repository(path: str) -> Repository:
    """Open a repository that has a commit; raise InputError."""
    try:
        repository = Repository(str(Path(path).expanduser()))
        empty = repository.is_empty()
    except RepositoryError as error:
        raise InputError(str(error)) from error
    if empty:
        raise InputError(f"repository {repository.path}: has no commit yet; commit something first")
    return repository


def submission(
    repository: Repository, commit: str, *, span: str | None = None, scratch: str | None = None
) -> Submission:
    """Return the submission that has one commit reviewed."""
    title = mask_secrets(repository.title(commit))[:200] or "(no title)"
    overrides: JsonObject = {"repo": repository.path, "commit": commit, **({"range": span} if span else {})}
    if scratch:
        overrides["scratch"] = scratch
    return Submission(text=f"Review commit {commit[:12]}: {title}", overrides=overrides, title=f"{commit[:10]} {title}")


def count_of(options: Mapping[str, str]) -> int:
    """Return how many commits are asked for; raise InputError."""
    text = options.get("count") or str(DEFAULT_COUNT)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_COMMITS):
        raise InputError(f"option --count {text[:20]!r}: not a number from 1 to {_MAX_COMMITS}; say how many commits")
    return int(text)


def _choose_commits(repository: Repository, options: Mapping[str, str]) -> Sequence[str]:
    span = options.get("range")
    if not span:
        return repository.commits(newest="HEAD", count=count_of(options))
    if options.get("count"):
        raise InputError("options --range and --count: they exclude each other; give one of them")
    if "..." in span:
        raise InputError(f"option --range {span[:80]!r}: three dots compare two branches; write A..B")
    if ".." not in span:
        return [repository.resolve(span)]
    start, _, end = span.partition("..")
    commits = repository.commits(newest=end or "HEAD", excluding=start or "HEAD", count=_MAX_COMMITS)
    if not commits:
        raise InputError(f"option --range {span[:80]!r}: no commit lies in it; try {end or 'HEAD'}..{start or 'HEAD'}")
    return commits
