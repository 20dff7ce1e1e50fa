"""The app's own options of `submit`, and its demo."""

from pathlib import Path

import pytest

from apps.code_review.demo import demo
from apps.code_review.submit import submissions
from orchestrator.contracts.errors import InputError
from tests.unit.apps.conftest import GitRepo


def test_a_range_gives_one_submission_a_commit(repo: GitRepo) -> None:
    """Each is about one fixed commit, whatever branches do later."""
    ids = [repo.commit(f"Commit {n}") for n in range(4)]

    made = submissions({"repo": str(repo.path), "range": f"{ids[0]}..main"})

    assert [it.overrides["commit"] for it in made] == ids[1:]
    assert {it.overrides["repo"] for it in made} == {str(repo.path)}
    assert made[0].title == f"{ids[1][:10]} Commit 1"


def test_one_revision_is_one_commit_and_no_range_the_last_ones(repo: GitRepo) -> None:
    """The short forms."""
    ids = [repo.commit(f"Commit {n}") for n in range(25)]

    assert [it.overrides["commit"] for it in submissions({"repo": str(repo.path), "range": "HEAD~1"})] == ids[-2:-1]
    assert [it.overrides["commit"] for it in submissions({"repo": str(repo.path)})] == ids[-20:]
    assert len(submissions({"repo": str(repo.path), "count": "3"})) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"range": "HEAD..HEAD"}, "no commit lies in it"),
        ({"range": "a...b"}, "three dots"),
        ({"range": "--output=x..HEAD"}, "not allowed"),
        ({"range": "nope"}, "names no commit"),
        ({"range": "HEAD~1..HEAD", "count": "2"}, "exclude each other"),
        ({"count": "0"}, "not a number"),
        ({"count": "²"}, "not a number"),
        ({"rnage": "a..b"}, "did you mean 'range'"),
    ],
)
def test_bad_options_get_a_clear_error(repo: GitRepo, options: dict[str, str], message: str) -> None:
    """Before any session exists."""
    repo.commit("First")
    repo.commit("Second")

    with pytest.raises(InputError, match=message):
        submissions({"repo": str(repo.path), **options})


def test_what_is_no_repository_or_has_no_commit_is_refused(repo: GitRepo, tmp_path: Path) -> None:
    """With one clear sentence."""
    with pytest.raises(InputError, match="not a git repository"):
        submissions({"repo": str(tmp_path)})
    with pytest.raises(InputError, match="no commit yet"):
        submissions({"repo": str(repo.path)})


def test_the_demo_reviews_the_last_twenty_commits_or_what_there_is(repo: GitRepo, tmp_path: Path) -> None:
    """A young repository is no error."""
    ids = [repo.commit(f"Commit {n}") for n in range(3)]
    scene = demo()

    made = scene.prepare(tmp_path / "demo", {"repo": str(repo.path), "yes": "yes"})
    scene.stop()

    assert [it.overrides["commit"] for it in made] == ids


def test_the_demo_says_what_is_no_repository(tmp_path: Path) -> None:
    """A wrong --repo is the caller's to mend."""
    with pytest.raises(InputError, match="not a git repository"):
        demo().check({"repo": str(tmp_path)})
    with pytest.raises(InputError, match="not a number from 1"):
        demo().check({"count": "many"})


def test_a_secret_in_a_title_is_masked(repo: GitRepo) -> None:
    """Titles are shown in lists and stored with the session."""
    repo.commit("Use AKIA" + "QWERTYUIOPASDF7H")

    (made,) = submissions({"repo": str(repo.path)})

    assert "QWERTY" not in made.text + made.title
