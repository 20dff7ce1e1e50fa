"""The demo: review the last commits of a real repository, one session a commit.

Options: `repo` (default: the checkout that this file lies in) and `count` (default 20; a shorter
history gives what there is). Reads only, starts nothing, so there is nothing to stop.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from orchestrator.contracts.demo import Submission
from orchestrator.contracts.errors import InputError

from .repository import Repository, RepositoryError
from .submit import count_of, open_repository, submission

OPTIONS: Final = {
    "repo": "the repository's folder (default: this checkout)",
    "count": "how many of its last commits (default: 20)",
}


class ReviewDemo:
    """One submission for each of a repository's last commits."""

    def check(self, options: Mapping[str, str]) -> None:
        """Raise InputError where there is no such repository, or the count is none."""
        _open(options)
        count_of(options)

    def prepare(self, folder: Path, options: Mapping[str, str]) -> list[Submission]:
        """Return the submissions, oldest commit first; `folder` is where files are exported to. Raise InputError."""
        repository = _open(options)
        try:
            commits = repository.commits(newest="HEAD", count=count_of(options))
            return [submission(repository, commit, scratch=str(folder.resolve())) for commit in commits]
        except RepositoryError as error:
            raise InputError(str(error)) from error

    def stop(self) -> None:
        """Do nothing: the demo started nothing."""


def _open(options: Mapping[str, str]) -> Repository:
    try:
        return open_repository(options.get("repo") or str(Path(__file__).resolve().parents[2]))
    except InputError as error:
        if options.get("repo"):
            raise
        raise InputError(f"{error}; Baton does not run from a checkout here: give one with --repo PATH") from error


def demo() -> ReviewDemo:
    """Return the app's demo."""
    return ReviewDemo()
