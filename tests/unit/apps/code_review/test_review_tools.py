"""The review server's tools over the MCP protocol, on real repositories."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fastmcp.exceptions import ToolError

from apps.code_review.analysis import ruff
from apps.code_review.mcp_servers import review
from tests.unit.apps.conftest import CallTool, GitRepo

Serve = Callable[..., CallTool]
BAD = "import subprocess\n\n\ndef f(x, y=[]):\n    try:\n        subprocess.run(x, shell=True)\n    except:\n        pass\n"


def test_a_diff_names_its_files_and_masks_secrets(repo: GitRepo, serve: Serve) -> None:
    """What is fetched is stored with the session: it is complete, except for what nobody should store."""
    commit = repo.commit("Add a", a_dot_py='api_key = "9fK2qLx8Zr4TvB7nWm3s"\n')
    call = serve(review)

    diff = call("fetch_diff", repo=str(repo.path), commit="main")

    assert (diff["commit"], diff["title"], diff["truncated"]) == (commit, "Add a", False)
    assert diff["stats"] == {"files": 1, "additions": 1, "deletions": 0}
    assert '+api_key = "[masked]"' in diff["diff"]


def test_a_diff_is_bounded(repo: GitRepo, serve: Serve) -> None:
    """A commit of any size fits into a context."""
    commit = repo.commit("Large", a_dot_txt="line\n" * 50_000)
    call = serve(review, max_diff_bytes=2_000)

    diff = call("fetch_diff", repo=str(repo.path), commit=commit)

    assert diff["truncated"]
    assert len(diff["diff"]) <= 2_000


@pytest.mark.parametrize("commit", ["--upload-pack=x", "-x", "nope"])
def test_a_bad_revision_is_told_to_the_model(repo: GitRepo, serve: Serve, commit: str) -> None:
    """A clear sentence that a model can act on, and nothing of the machine."""
    repo.commit("First")
    call = serve(review)

    with pytest.raises(ToolError, match=r"^revision"):
        call("fetch_diff", repo=str(repo.path), commit=commit)


def test_a_repository_outside_the_allowed_folder_is_refused(repo: GitRepo, serve: Serve, tmp_path: Path) -> None:
    """The operator says which repositories a worker may read."""
    repo.commit("First")
    call = serve(review, allowed_root=str(tmp_path / "elsewhere"))

    with pytest.raises(ToolError, match="outside the allowed folder"):
        call("analyse_files", repo=str(repo.path), commit="HEAD")


def test_the_changed_files_are_analysed_at_that_commit(repo: GitRepo, serve: Serve) -> None:
    """Not the work tree, which may be anything by now."""
    commit = repo.commit("Bad", src__a_dot_py=BAD)
    repo.commit("Mended", src__a_dot_py="x = 1\n")
    call = serve(review)

    result = call("analyse_files", repo=str(repo.path), commit=commit)

    assert [it["rule"] for it in result["findings"]] == ["shell", "bare-except", "mutable-default", "untested-change"]
    assert result["counts"] == {"critical": 0, "error": 2, "warning": 1, "info": 1}
    assert result["recommendation"] == "request_changes"


def test_a_clean_tested_change_has_no_findings(repo: GitRepo, serve: Serve) -> None:
    """Approval must be possible."""
    repo.commit("First", src__a_dot_py=BAD)
    commit = repo.commit(
        "Second", src__a_dot_py=BAD + "\n\nZ = 1\n", tests__test_a_dot_py="def test_z():\n    assert 1\n"
    )
    call = serve(review)

    result = call("analyse_files", repo=str(repo.path), commit=commit)

    assert result["findings"] == []
    assert result["recommendation"] == "approve"


def test_odd_files_are_skipped_or_told_and_never_break_the_analysis(repo: GitRepo, serve: Serve) -> None:
    """A commit may hold anything."""
    repo.write(b"caf\xe9.py", "def f(:\n")
    commit = repo.commit(
        "Odd",
        blob_dot_bin=b"\x00" * 100,
        large_dot_txt="x" * 3_000_000,
        latin_dot_py=b"# caf\xe9\nx = 1\n",
        empty_dot_py="",
    )
    call = serve(review)

    result = call("analyse_files", repo=str(repo.path), commit=commit)

    assert {skip["path"] for skip in result["skipped"]} == {"blob.bin", "large.txt"}
    assert {(it["file"], it["rule"]) for it in result["findings"]} >= {("caf\\xe9.py", "invalid-syntax")}


@pytest.mark.parametrize("where", [".gitattributes", ".git/info/attributes"])
def test_attributes_that_call_source_code_binary_hide_nothing(repo: GitRepo, serve: Serve, where: str) -> None:
    """One line in a file of the commit itself must not switch the review off."""
    repo.commit("First", src__a_dot_py="x = 1\n")
    repo.write(where, "* -diff\n*.py binary\n")
    commit = repo.commit("Bad", src__a_dot_py="x = 1\n" + BAD)

    result = serve(review)("analyse_files", repo=str(repo.path), commit=commit)

    assert {"shell", "bare-except"} <= {it["rule"] for it in result["findings"]}


def test_a_newer_pythons_syntax_is_no_error(repo: GitRepo, serve: Serve) -> None:
    """The interpreter that reviews may be older than the one that will run the code."""
    commit = repo.commit("New", src__a_dot_py="type Alias = list[int]\n\n\ndef f[T](x: T) -> T:\n    return x\n")
    call = serve(review)

    result = call("analyse_files", repo=str(repo.path), commit=commit)

    assert [it["rule"] for it in result["findings"]] == ["untested-change"]


def test_a_huge_commit_stays_bounded(repo: GitRepo, serve: Serve) -> None:
    """Files, findings and time have limits, and what was left out is told."""
    for n in range(30):
        repo.write(f"src/m{n}.py", "import os\n" + "try:\n    f()\nexcept:\n    pass\n" * 20)
    commit = repo.commit("Huge")
    call = serve(review, max_files=5, max_findings=10)

    result = call("analyse_files", repo=str(repo.path), commit=commit)

    assert result["files_analysed"] == 5
    assert len(result["findings"]) == 10
    assert result["left_out"] > 0
    assert len(result["skipped"]) == 25


def test_without_ruff_the_own_checks_still_run(repo: GitRepo, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing program is told, not hidden, and takes nothing else down."""
    commit = repo.commit("Bad", src__a_dot_py=BAD, src__b_dot_py="def f(:\n")

    def missing() -> str:
        raise ruff.RuffUnavailable("ruff: not installed")

    monkeypatch.setattr(ruff, "find_ruff", missing)
    result = serve(review)("analyse_files", repo=str(repo.path), commit=commit)

    assert result["notes"] == ["ruff: not installed"]
    assert {"shell", "bare-except", "invalid-syntax"} <= {it["rule"] for it in result["findings"]}


def test_a_finding_is_returned_with_what_it_adds(repo: GitRepo, serve: Serve) -> None:
    """The tool stores nothing: the runtime applies the declared updates to the state."""
    commit = repo.commit("First", a_dot_py="x = 1\n")
    call = serve(review)

    result = call(
        "add_review_finding",
        repo=str(repo.path),
        commit=commit,
        file="a.py",
        line=1,
        severity="critical",
        category="security",
        message='Key "AKIA' + 'QWERTYUIOPASDF7H" is in it.',
        findings_count=3,
    )

    assert (result["ok"], result["findings_count"], result["added"]) == (True, 4, 1)
    assert (result["blocking_points"], result["warnings"]) == (2, 0)
    assert result["finding"]["message"] == 'Key "[masked]" is in it.'


@pytest.mark.parametrize(
    "wrong",
    [
        {"severity": "blocker"},
        {"file": "other.py"},
        {"file": "../a.py"},
        {"file": " "},
        {"line": 0},
        {"line": "x"},
        {"message": "  "},
        {"message": "m" * 601},
        {"category": ""},
        {"unknown": 1},
        {"findings_count": 100},
    ],
)
def test_a_bad_finding_is_refused(repo: GitRepo, serve: Serve, wrong: dict[str, object]) -> None:
    """Nothing is stored, and the model is told why."""
    commit = repo.commit("First", a_dot_py="x = 1\n")
    call = serve(review)
    good = {"file": "a.py", "line": 1, "severity": "info", "category": "style", "message": "m"}

    with pytest.raises(ToolError):
        call("add_review_finding", repo=str(repo.path), commit=commit, **{**good, **wrong})


@pytest.mark.parametrize("recommendation", ["approve", "request_changes", "comment"])
def test_a_recommendation_is_returned_as_it_was_given(serve: Serve, recommendation: str) -> None:
    """Its argument decides how the session ends."""
    result = serve(review)("set_recommendation", recommendation=recommendation, summary="Fine.")

    assert result == {"ok": True, "recommendation": recommendation, "summary": "Fine."}


@pytest.mark.parametrize(
    "args",
    [
        {"recommendation": "abstain", "summary": "s"},
        {"recommendation": "approve", "summary": " "},
        {"recommendation": "approve"},
        {"recommendation": "approve", "summary": "s", "blocking_points": 1},
        {"recommendation": "approve", "summary": "s", "warnings": 1},
        {"recommendation": "comment", "summary": "s", "blocking_points": 2},
    ],
)
def test_a_recommendation_milder_than_the_findings_is_refused(serve: Serve, args: dict[str, object]) -> None:
    """Text in a diff may talk a model into approving; the recorded findings do not let it."""
    with pytest.raises(ToolError):
        serve(review)("set_recommendation", **args)


def test_a_bad_setting_stops_the_start() -> None:
    """Wrong limits are found at boot, not in the first review."""
    with pytest.raises(ValueError, match="max_files"):
        review.register(None, {"max_files": 0})  # type: ignore[arg-type]
