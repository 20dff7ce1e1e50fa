"""Reading commits with the real git, from repositories that mean no good."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from apps.code_review import repository as module
from apps.code_review.repository import Repository, RepositoryError
from tests.unit.apps.conftest import GitRepo

MakeRepo = Callable[..., GitRepo]


def opened(repo: GitRepo) -> Repository:
    """Return the reader of a repository."""
    return Repository(str(repo.path))


def test_a_root_commit_is_all_additions(repo: GitRepo) -> None:
    """The first commit has no parent, and is reviewed all the same."""
    commit = repo.commit("First", a_dot_py="x = 1\ny = 2\n")

    change = opened(repo).change(commit)

    assert (change.base, change.parents, change.additions, change.deletions) == (None, 0, 2, 0)
    assert [(file.path, file.status) for file in change.files] == [("a.py", "added")]


def test_renames_deletions_and_binary_files_are_told_apart(repo: GitRepo) -> None:
    """Each needs other treatment: a rename has old content, a deletion none, a binary no lines."""
    repo.commit("First", old_dot_py="a = 1\n" * 20, gone_dot_py="b = 2\n", blob_dot_bin=b"\x00\x01" * 50)
    repo.git("mv", "old.py", "new.py")
    repo.git("rm", "--quiet", "gone.py")
    commit = repo.commit("Second", blob_dot_bin=b"\x00\x02" * 60)

    files = {file.path: file for file in opened(repo).change(commit).files}

    assert (files["new.py"].status, files["new.py"].old_path) == ("renamed", "old.py")
    assert (files["gone.py"].status, files["gone.py"].content_id, files["gone.py"].deletions) == ("deleted", None, 1)
    assert (files["blob.bin"].binary, files["blob.bin"].additions) == (True, 0)


def test_a_merge_is_reviewed_against_its_first_parent(repo: GitRepo) -> None:
    """What a merge brings to the branch is the branch's change."""
    repo.commit("First", a_dot_txt="a\n")
    repo.git("checkout", "--quiet", "-b", "side")
    repo.commit("Side", b_dot_txt="b\n")
    repo.git("checkout", "--quiet", "main")
    main = repo.commit("Main", c_dot_txt="c\n")
    repo.git("merge", "--quiet", "--no-ff", "-m", "Merge side", "side")

    change = opened(repo).change("HEAD")

    assert (change.base, change.parents, [file.path for file in change.files]) == (main, 2, ["b.txt"])


def test_names_that_are_no_utf8_or_look_like_options_are_only_text(repo: GitRepo) -> None:
    """A file's name is chosen by whoever commits; it must never be an argument of git."""
    repo.write(b"caf\xe9\n.py", "x = 1\n")
    repo.write("--output=pwned", "y\n")
    repo.write("-c core.pager=x", "z\n")
    commit = repo.commit("Hostile")
    reader = opened(repo)

    files = reader.change(commit).files

    assert sorted(file.path for file in files) == ["--output=pwned", "-c core.pager=x", "caf\\xe9\\x0a.py"]
    assert all(reader.content(file.content_id or "", max_bytes=100) for file in files)
    assert not (repo.path / "pwned").exists()


def test_only_added_and_altered_lines_count_as_changed(repo: GitRepo) -> None:
    """Findings on lines that the commit did not touch are another commit's."""
    repo.commit("First", a_dot_py="".join(f"line{n}\n" for n in range(1, 11)))
    text = "".join(f"line{n}\n" for n in range(1, 11)).replace("line3\n", "LINE3\n").replace("line7\n", "")
    commit = repo.commit("Second", a_dot_py=text + "line11\n@@ -1 +500 @@\n")
    reader = opened(repo)
    (file,) = reader.change(commit).files

    assert reader.changed_lines(file) == frozenset({3, 10, 11})


@pytest.mark.parametrize(
    "revision",
    [
        *("-x", "--upload-pack=touch pwned", "--output=pwned", "--", "--end-of-options", "HEAD -x", "HEAD\n", "\x00"),
        *("HEAD:a.py", ":/First", "HEAD^{/First}", "HEAD..HEAD", "HEAD^!", "HEAD^@", "^HEAD", "@{u}", "", "a" * 300),
        *(
            "nope",
            "0" * 40,
            "HEAD~99",
            "refs/../../etc/passwd",
            "../../etc/passwd",
            "/etc/passwd",
            "*",
            "$(id)",
            "`id`",
        ),
    ],
)
def test_what_names_no_single_commit_is_refused(repo: GitRepo, revision: str) -> None:
    """A revision comes from outside: it may neither be an option nor a program nor a range."""
    repo.commit("First", a_dot_py="x = 1\n")

    with pytest.raises(RepositoryError, match=r"^revision .*: .*; "):
        opened(repo).resolve(revision)

    assert not (repo.path / "pwned").exists()


def test_a_blob_or_tree_is_no_commit(repo: GitRepo) -> None:
    """An id may name any object; only commits are reviewed."""
    repo.commit("First", a_dot_py="x = 1\n")
    blob = repo.git("rev-parse", "HEAD:a.py")

    with pytest.raises(RepositoryError, match="names no commit"):
        opened(repo).resolve(blob)


def test_tags_and_branches_resolve_to_full_ids(repo: GitRepo) -> None:
    """People name commits in many ways; a session is about one id."""
    commit = repo.commit("First", a_dot_py="x = 1\n")
    repo.git("tag", "-a", "-m", "one", "v1.0")
    repo.git("branch", "fix/#12-ümlaut")
    reader = opened(repo)

    assert {reader.resolve(name) for name in ("v1.0", "fix/#12-ümlaut", "HEAD", commit[:8], "main~0")} == {commit}


def test_a_folder_inside_a_repository_is_no_repository(repo: GitRepo) -> None:
    """Looking upwards would review a repository that nobody named."""
    repo.commit("First", sub__a_dot_py="x = 1\n")

    with pytest.raises(RepositoryError, match="not a git repository"):
        Repository(str(repo.path / "sub"))


@pytest.mark.parametrize("path", ["", "/nonexistent", "/etc/passwd", "a\x00b"])
def test_what_is_no_repository_is_refused(path: str) -> None:
    """A clear sentence, not a stack."""
    with pytest.raises(RepositoryError, match=r"repository.*: .*; give"):
        Repository(path)


def test_a_bare_repository_is_read(repo: GitRepo, tmp_path: Path) -> None:
    """Servers hold bare ones."""
    commit = repo.commit("First", a_dot_py="x = 1\n")
    repo.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))

    assert Repository(str(tmp_path / "bare.git")).change("HEAD").commit == commit


def test_nothing_outside_the_allowed_folder_is_read(repo: GitRepo, make_repo: MakeRepo, tmp_path: Path) -> None:
    """Links, `.git` files and borrowed object stores are the ways around a check of the path alone."""
    repo.commit("First", a_dot_py="x = 1\n")
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "link").symlink_to(repo.path)
    pointing = allowed / "pointing"
    pointing.mkdir()
    (pointing / ".git").write_text(f"gitdir: {repo.path}/.git\n")
    borrowing = make_repo("allowed/borrowing")
    (borrowing.path / ".git/objects/info/alternates").write_text(f"{repo.path}/.git/objects\n")

    for path in (repo.path, allowed / "link", pointing, borrowing.path, allowed / ".." / "repo"):
        with pytest.raises(RepositoryError, match="outside the allowed folder"):
            Repository(str(path), allowed_root=str(allowed))


def test_a_repository_inside_the_allowed_folder_is_read(repo: GitRepo, tmp_path: Path) -> None:
    """The refusal is for those outside only."""
    commit = repo.commit("First", a_dot_py="x = 1\n")

    assert Repository(str(repo.path), allowed_root=str(tmp_path)).title(commit) == "First"


def test_no_program_of_the_repository_is_started(repo: GitRepo, tmp_path: Path) -> None:
    """A repository's own configuration and attributes may name programs for diffs, filters and monitors."""
    marker = tmp_path / "started"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {marker}\ncat\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    repo.commit("First", a_dot_py="x = 1\n", _dot_gitattributes="*.py diff=evil filter=evil\n")
    commit = repo.commit("Second", a_dot_py="x = 2\n")
    for name in ("diff.external", "diff.evil.command", "diff.evil.textconv", "core.pager", "core.fsmonitor"):
        repo.git("config", name, str(program))
    repo.git("config", "filter.evil.smudge", str(program))
    repo.git("config", "gpg.program", str(program))
    repo.git("config", "log.showSignature", "true")
    repo.git("config", "core.hooksPath", str(tmp_path))
    reader = opened(repo)

    change = reader.change(commit)
    patch, _ = reader.patch(change, max_bytes=10_000)

    assert "+x = 2" in patch
    assert reader.changed_lines(change.files[0]) == frozenset({1})
    assert not marker.exists()


def test_a_missing_object_is_not_fetched_from_a_remote(repo: GitRepo, tmp_path: Path) -> None:
    """A partial clone fetches what it lacks, by a transport that may be any program."""
    commit = repo.commit("First", a_dot_py="x = 1\n")
    marker = tmp_path / "started"
    repo.git("config", "remote.origin.url", f"ext::sh -c 'touch {marker}'")
    repo.git("config", "remote.origin.promisor", "true")
    repo.git("config", "extensions.partialClone", "origin")
    repo.git("config", "core.repositoryFormatVersion", "1")
    repo.git("config", "protocol.ext.allow", "always")
    blob = repo.git("rev-parse", "HEAD:a.py")
    (repo.path / ".git/objects" / blob[:2] / blob[2:]).unlink()
    reader = opened(repo)

    with pytest.raises(RepositoryError):
        _ = reader.change(commit)

    assert not marker.exists()


def test_what_lies_in_the_work_tree_does_not_stand_for_the_commit(repo: GitRepo) -> None:
    """Git reads a file of the work tree in place of its content, where the index says that they are the same."""
    repo.git("config", "core.trustctime", "false")
    repo.git("config", "core.checkStat", "minimal")
    path = repo.path / "a.py"
    path.write_text("evil()\n")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    commit = repo.commit("First")
    path.write_text("nice()\n")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    reader = opened(repo)

    patch, _ = reader.patch(reader.change(commit), max_bytes=10_000)

    assert "+evil()" in patch


def test_a_large_diff_is_cut_at_a_lines_end(repo: GitRepo) -> None:
    """What a model is shown is bounded, and a half line would mislead it."""
    commit = repo.commit("Large", a_dot_txt="".join(f"line {n}\n" for n in range(5_000)))
    reader = opened(repo)

    text, truncated = reader.patch(reader.change(commit), max_bytes=1_000)

    assert truncated
    assert len(text) <= 1_000
    assert text.endswith("\n")


def test_content_over_its_limit_is_not_read(repo: GitRepo) -> None:
    """A file of any size may be committed."""
    commit = repo.commit("Large", a_dot_txt="x" * 10_000)
    reader = opened(repo)

    content = reader.content(reader.change(commit).files[0].content_id or "", max_bytes=1_000)

    assert content is None


def test_a_git_that_hangs_is_killed(repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's thread must come back."""
    repo.commit("First", a_dot_py="x = 1\n")
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent))
    monkeypatch.setattr(module, "_COMMAND_SECONDS", 0.2)

    with pytest.raises(RepositoryError, match=r"took over 0.2 s"):
        opened(repo)


def test_without_git_the_message_says_so(repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's image may lack it."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))

    with pytest.raises(RepositoryError, match="install git"):
        opened(repo)


def test_links_and_submodules_have_no_content_to_analyse(repo: GitRepo) -> None:
    """A link's content is a path, a submodule's a commit of another repository."""
    commit = repo.commit("First", a_dot_py="x = 1\n")
    (repo.path / "link.py").symlink_to("/etc/passwd")
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{commit},sub")
    repo.git("add", "link.py")
    repo.git("commit", "--quiet", "-m", "Second")

    files = {file.path: file for file in opened(repo).change("HEAD").files}

    assert files["link.py"].content_id is None
    assert files["sub"].content_id is None


def test_a_repository_with_sha256_ids_is_read(make_repo: MakeRepo) -> None:
    """Its empty tree has another id."""
    repo = make_repo("wide", "--object-format=sha256")
    commit = repo.commit("First", a_dot_py="x = 1\n")

    change = opened(repo).change(commit)

    assert len(change.commit) == 64
    assert change.additions == 1


def test_a_commit_message_that_is_no_utf8_is_shown(repo: GitRepo) -> None:
    """Old repositories have them."""
    repo.git("commit", "--quiet", "--allow-empty", "-F", "-", stdin=b"caf\xe9 fixed\n\nbody\n")

    change = opened(repo).change("HEAD")

    assert change.title.endswith("fixed")
    assert change.message == "body"


def test_commits_come_oldest_first_and_a_short_history_gives_what_there_is(repo: GitRepo) -> None:
    """A review goes in the order in which the work was done."""
    ids = [repo.commit(f"Commit {n}") for n in range(3)]
    reader = opened(repo)

    assert reader.commits(newest="HEAD", count=20) == ids
    assert reader.commits(newest="HEAD", count=2) == ids[1:]
    assert reader.commits(newest="HEAD", excluding=ids[0]) == ids[1:]
