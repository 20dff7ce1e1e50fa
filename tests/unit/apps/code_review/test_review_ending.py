"""What a review leaves when it ends: nothing of its own, and everything of others."""

from pathlib import Path

import pytest

from apps.code_review.ending import remove_workspace

SESSION = "REVIEW-20260102-001"


def end(**state: str) -> None:
    """Tell the hook that the session has ended."""
    remove_workspace("session:end", {"session_id": SESSION, "status": "unreviewed", "state": state})


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A scratch folder with the session's own folder, and another's."""
    folder = tmp_path / "scratch"
    folder.mkdir(mode=0o700)
    for name in (SESSION, "REVIEW-20260102-002"):
        (folder / name / "files").mkdir(parents=True)
    return folder


def names(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("known", ["workspace", "scratch", "variable"])
def test_only_the_sessions_own_folder_goes(scratch: Path, monkeypatch: pytest.MonkeyPatch, known: str) -> None:
    """Also where the export was stopped before its folder was known: it follows from the scratch folder."""
    if known == "variable":
        monkeypatch.setenv("BATON_REVIEW_SCRATCH", str(scratch))

    end(**{"workspace": {"workspace": str(scratch / SESSION)}, "scratch": {"scratch": str(scratch)}}.get(known, {}))

    assert names(scratch) == ["REVIEW-20260102-002"]


def test_a_state_that_names_another_folder_removes_nothing(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever submits may write into the state."""
    monkeypatch.setenv("BATON_REVIEW_SCRATCH", str(scratch.parent / "none"))

    end(workspace=str(scratch / "REVIEW-20260102-002"))
    end(workspace=str(scratch))
    end(scratch="relative")

    assert names(scratch) == [SESSION, "REVIEW-20260102-002"]


def test_ending_twice_is_ending_once(scratch: Path) -> None:
    """A worker that dies before its commit has called the hook that another one calls again."""
    end(scratch=str(scratch))
    end(scratch=str(scratch))

    assert names(scratch) == ["REVIEW-20260102-002"]
