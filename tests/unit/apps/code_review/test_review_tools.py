"""The review server's tools over the MCP protocol, on real repositories."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fastmcp.exceptions import ToolError

from apps.code_review.mcp_servers import review
from apps.code_review.steps import collect
from tests.unit.apps.code_review.conftest import Analyse, RunPlugins
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
        call("export_files", repo=str(repo.path), commit="HEAD", session_id="S")


def test_the_changed_files_are_analysed_at_that_commit(repo: GitRepo, serve: Serve, analyse: Analyse) -> None:
    """Not the work tree, which may be anything by now."""
    commit = repo.commit("Bad", src__a_dot_py=BAD)
    repo.commit("Mended", src__a_dot_py="x = 1\n")
    call = serve(review)

    result = analyse(call, repo=str(repo.path), commit=commit)

    assert [it["rule"] for it in result["findings"]] == ["shell", "bare-except", "mutable-default", "untested-change"]
    assert result["counts"] == {"critical": 0, "error": 2, "warning": 1, "info": 1}
    assert result["recommendation"] == "request_changes"


def test_a_clean_tested_change_has_no_findings(repo: GitRepo, serve: Serve, analyse: Analyse) -> None:
    """Approval must be possible."""
    repo.commit("First", src__a_dot_py=BAD)
    commit = repo.commit(
        "Second", src__a_dot_py=BAD + "\n\nZ = 1\n", tests__test_a_dot_py="def test_z():\n    assert 1\n"
    )
    call = serve(review)

    result = analyse(call, repo=str(repo.path), commit=commit)

    assert result["findings"] == []
    assert result["recommendation"] == "approve"


def test_odd_files_are_skipped_or_told_and_never_break_the_analysis(
    repo: GitRepo, serve: Serve, analyse: Analyse
) -> None:
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

    result = analyse(call, repo=str(repo.path), commit=commit)

    assert {skip["path"] for skip in result["skipped"]} == {"blob.bin", "large.txt"}
    assert {(it["file"], it["rule"]) for it in result["findings"]} >= {("caf\\xe9.py", "invalid-syntax")}


@pytest.mark.parametrize("where", [".gitattributes", ".git/info/attributes"])
def test_attributes_that_call_source_code_binary_hide_nothing(
    repo: GitRepo, serve: Serve, analyse: Analyse, where: str
) -> None:
    """One line in a file of the commit itself must not switch the review off."""
    repo.commit("First", src__a_dot_py="x = 1\n")
    repo.write(where, "* -diff\n*.py binary\n")
    commit = repo.commit("Bad", src__a_dot_py="x = 1\n" + BAD)

    result = analyse(serve(review), repo=str(repo.path), commit=commit)

    assert {"shell", "bare-except"} <= {it["rule"] for it in result["findings"]}


def test_a_newer_pythons_syntax_is_no_error(repo: GitRepo, serve: Serve, analyse: Analyse) -> None:
    """The interpreter that reviews may be older than the one that will run the code."""
    commit = repo.commit("New", src__a_dot_py="type Alias = list[int]\n\n\ndef f[T](x: T) -> T:\n    return x\n")
    call = serve(review)

    result = analyse(call, repo=str(repo.path), commit=commit)

    assert [it["rule"] for it in result["findings"]] == ["untested-change"]


def test_a_huge_commit_stays_bounded(repo: GitRepo, serve: Serve, analyse: Analyse) -> None:
    """Files, findings and time have limits, and what was left out is told."""
    for n in range(30):
        repo.write(f"src/m{n}.py", "import os\n" + "try:\n    f()\nexcept:\n    pass\n" * 20)
    commit = repo.commit("Huge")
    call = serve(review, max_files=5, max_findings=10)

    result = analyse(call, repo=str(repo.path), commit=commit)

    assert result["files_analysed"] == 5
    assert len(result["findings"]) == 10
    assert result["left_out"] > 0
    assert len(result["skipped"]) == 25


def test_without_ruff_the_own_checks_still_run(repo: GitRepo, serve: Serve, analyse: Analyse) -> None:
    """A missing program is told, not hidden, and takes nothing else down."""
    commit = repo.commit("Bad", src__a_dot_py=BAD, src__b_dot_py="def f(:\n")

    missing = {"ruff": "no-such-program"}
    result = analyse(serve(review), programs=missing, repo=str(repo.path), commit=commit)

    (note,) = result["notes"]
    assert note.startswith("ruff: sandbox_unavailable: isolation.programs: ")
    assert {"shell", "bare-except", "invalid-syntax"} <= {it["rule"] for it in result["findings"]}


def test_without_the_own_checks_no_file_is_approved_unseen(
    repo: GitRepo, serve: Serve, run_plugins: RunPlugins, tmp_path: Path
) -> None:
    """A plugin that was stopped, or broke a rule, has looked at nothing: a person is told to look."""
    repo.commit("First", tests__test_a_dot_py="def test_a():\n    assert 1\n", a_dot_py="x = 1\n")
    call = serve(review, scratch=str(tmp_path))
    tmp_path.chmod(0o700)
    export = call("export_files", repo=str(repo.path), commit="HEAD", session_id="S")
    entries = [*run_plugins(Path(export["workspace"]), "ruff"), {"plugin": "python_checks", "status": "timeout"}]
    state = {"export": export, "workspace": export["workspace"], "entries": entries}
    result = call("analyse_files", commit="HEAD", analysis=collect(state)["analysis"])

    assert [it["rule"] for it in result["findings"]] == ["not-checked", "not-checked"]
    assert (result["notes"], result["recommendation"]) == (["python_checks: timeout"], "comment")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("python_checks.json", "[]"),
        ("python_checks.json", '{"files/0001/module.py": {"remarks": [{"severity": "fine"}]}}'),
        ("python_checks.json", '{"files/0001/module.py": {"remarks": [{"file": "other.py"}], "x": 1}}'),
        ("ruff.json", '{"files/0001/module.py": [{"code": 1, "message": "m", "row": 1}]}'),
        ("ruff.json", "{"),
        ("ruff.json", "[" * 100_000),
    ],
)
def test_what_a_plugin_wrote_is_read_like_a_strangers_word(
    repo: GitRepo, serve: Serve, tmp_path: Path, name: str, content: str
) -> None:
    """It read files that anybody may have written. What is not understood is no analysis."""
    repo.commit("First", a_dot_py="x = 1\n")
    tmp_path.chmod(0o700)
    call = serve(review, scratch=str(tmp_path))
    export = call("export_files", repo=str(repo.path), commit="HEAD", session_id="S")
    (Path(export["workspace"]) / "findings" / name).write_text(content)
    entries = [{"plugin": plugin, "status": "success"} for plugin in ("ruff", "python_checks")]
    analysis = collect({"export": export, "workspace": export["workspace"], "entries": entries})["analysis"]

    with pytest.raises(ToolError, match="see the journal"):
        call("analyse_files", commit="HEAD", analysis=analysis)


def test_a_plugin_speaks_of_no_file_but_those_that_were_exported(repo: GitRepo, serve: Serve, tmp_path: Path) -> None:
    """Its remarks are read by where the files lie; a path that it makes up is nobody's."""
    repo.commit("First", tests__test_a_dot_py="x = 1\n")
    tmp_path.chmod(0o700)
    call = serve(review, scratch=str(tmp_path))
    export = call("export_files", repo=str(repo.path), commit="HEAD", session_id="S")
    findings = Path(export["workspace"]) / "findings"
    (findings / "ruff.json").write_text('{"/etc/passwd": [{"code": "F401", "message": "m", "row": 1}]}')
    (findings / "python_checks.json").write_text('{"files/0001/module.py": {"remarks": []}}')
    entries = [{"plugin": plugin, "status": "success"} for plugin in ("ruff", "python_checks")]
    analysis = collect({"export": export, "workspace": export["workspace"], "entries": entries})["analysis"]

    assert call("analyse_files", commit="HEAD", analysis=analysis)["findings"] == []


@pytest.mark.parametrize("session", ["", "../x", "a/b", ".."])
def test_a_workspace_is_the_sessions_own(repo: GitRepo, serve: Serve, tmp_path: Path, session: str) -> None:
    """Its name comes from the session's id, and leads nowhere else."""
    repo.commit("First")
    tmp_path.chmod(0o700)

    with pytest.raises(ToolError, match="scratch folder"):
        serve(review, scratch=str(tmp_path))("export_files", repo=str(repo.path), commit="HEAD", session_id=session)


def test_a_scratch_folder_that_others_can_write_is_refused(repo: GitRepo, serve: Serve, tmp_path: Path) -> None:
    """Whoever could exchange a file there would decide what is reviewed."""
    repo.commit("First")
    tmp_path.chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path)

    for scratch in (str(tmp_path), str(tmp_path / "link"), "relative"):
        with pytest.raises(ToolError, match="scratch folder"):
            serve(review)("export_files", repo=str(repo.path), commit="HEAD", session_id="S", scratch=scratch)


def test_without_an_export_there_is_no_analysis(serve: Serve) -> None:
    """A session whose files could not be exported is unreviewed, and not approved."""
    with pytest.raises(ToolError, match="were not exported"):
        serve(review)("analyse_files", commit="HEAD")
    analysis = collect({"export": {}, "workspace": "/nowhere", "entries": []})["analysis"]
    with pytest.raises(ToolError, match="is it on another machine"):
        serve(review)("analyse_files", commit="HEAD", analysis=analysis)


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
