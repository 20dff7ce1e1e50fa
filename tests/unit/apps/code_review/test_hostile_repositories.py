"""What a repository, or a commit in it, would hide, and what it would have read that lies elsewhere."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apps.code_review.analyse import Analysis, Limits, export_change
from apps.code_review.analysis.findings import choose_recommendation
from apps.code_review.analysis.text import read_lines
from apps.code_review.plugins.python_checks.checks import find_in_python
from apps.code_review.repository import Repository, RepositoryError
from apps.code_review.workspace import read_index
from tests.unit.apps.conftest import GitRepo

MakeRepo = Callable[..., GitRepo]


@pytest.mark.parametrize("way", ["through another", "quoted", "behind many", "a link", "a linked pack"])
def test_objects_are_not_borrowed_from_outside_on_any_way(
    repo: GitRepo, make_repo: MakeRepo, tmp_path: Path, way: str
) -> None:
    """Git follows what a borrowed store borrows in turn, reads quoted names, and any number of lines."""
    commit = repo.commit("First", a_dot_py="x = 1\n")
    repo.git("repack", "-a", "-d", "-q")
    outside = repo.path / ".git/objects"
    borrowing = make_repo("allowed/borrowing").path / ".git/objects"
    between = make_repo("allowed/between").path / ".git/objects"
    alternates = borrowing / "info/alternates"
    match way:
        case "through another":
            alternates.write_text(f"{between}\n")
            (between / "info/alternates").write_text(f"{outside}\n")
        case "quoted":
            alternates.write_text(f'"\\057{str(outside)[1:]}"\n')
        case "behind many":
            alternates.write_text(f"{between}\n" * 200 + f"{outside}\n")
        case "a link":
            shutil.rmtree(borrowing)
            borrowing.symlink_to(outside)
        case _:
            for pack in (outside / "pack").iterdir():
                (borrowing / "pack" / pack.name).symlink_to(pack)
    assert Repository(str(borrowing.parents[1])).title(commit) == "First"

    with pytest.raises(RepositoryError, match="outside the allowed folder"):
        Repository(str(borrowing.parents[1]), allowed_root=str(tmp_path / "allowed"))


@pytest.mark.parametrize("name", ["{store}", "../../../between/.git/objects"])
def test_objects_may_be_borrowed_inside_the_allowed_folder(make_repo: MakeRepo, tmp_path: Path, name: str) -> None:
    """Clones that share their objects are reviewed there."""
    between = make_repo("allowed/between")
    commit = between.commit("First", a_dot_py="x = 1\n")
    borrowing = make_repo("allowed/borrowing")
    store = between.path / ".git/objects"
    (borrowing.path / ".git/objects/info/alternates").write_text(f"{name.format(store=store)}\n")

    assert Repository(str(borrowing.path), allowed_root=str(tmp_path / "allowed")).title(commit) == "First"


def test_attributes_that_are_checked_out_hide_nothing(repo: GitRepo, tmp_path: Path) -> None:
    """A commit may call source code binary: its change would have no lines, and a model would be shown none of it."""
    repo.commit("First", a_dot_py="x = 1\n", _dot_gitattributes="*.py -diff\n")
    commit = repo.commit("Second", a_dot_py="x = 1\nevil()\n")
    repo.git("clone", "-q", "--bare", ".", str(tmp_path / "bare"))

    for path in (repo.path, tmp_path / "bare"):
        reader = Repository(str(path))
        change = reader.change(commit)
        assert (change.additions, change.files[0].binary) == (1, False)
        assert "+evil()" in reader.patch(change, max_bytes=10_000)[0]


def test_where_not_all_changed_lines_are_known_all_count(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is removed comes first, and may be more than is read."""
    repo.commit("First", a_dot_txt="gone\n" * 1_000 + "kept\n")
    commit = repo.commit("Second", a_dot_txt="kept\nnew\n")
    reader = Repository(str(repo.path))
    file = reader.change(commit).files[0]
    assert reader.changed_lines(file) == {2}
    plain = reader._git

    def short(*args: str, **more: Any) -> Any:
        return plain(*args, **{**more, "max_bytes": 1_000})

    monkeypatch.setattr(reader, "_git", short)

    assert reader.changed_lines(file) is None


def test_a_line_that_only_git_calls_one_hides_nothing(repo: GitRepo, tmp_path: Path) -> None:
    """Python ends a line at a carriage return alone: the rows of what it parses are not the lines of the diff."""
    repo.commit("First", a_dot_py=b"x = 1\ny = 2\n")
    secret = b"AKIA" + b"QWERTYUIOPASDF7H"
    hidden = b"#" * 5_000 + b"\rx = '" + secret + b"'\reval(x)\ry = 3\n"
    commit = repo.commit("Second", a_dot_py=b"x = 1\n" + hidden + b"eval(y)\n")
    reader = Repository(str(repo.path))
    folder = tmp_path / "workspace"

    export_change(reader, reader.change(commit), Limits(), folder)

    index, partial = read_index(folder)
    [(name, file)] = index.files.items()
    remarks = find_in_python((folder / name).read_text("utf-8"), file.changed)
    assert [remark.line for remark in remarks] == [4, 6]
    assert '"line":3,"severity":"critical"' in partial


@pytest.mark.parametrize("limits", [Limits(max_file_bytes=1_000), Limits(max_files=1), Limits(max_seconds=-1)])
def test_what_nobody_has_looked_at_is_not_approved(repo: GitRepo, tmp_path: Path, limits: Limits) -> None:
    """A long comment must not switch the review off. One finding tells of all files; what nobody writes is no reason."""
    commit = repo.commit("Padded", a_dot_py="#" * 2_000 + "\neval(x)\n", b_dot_py="#" * 2_000, z_dot_lock="#" * 2_000)
    reader = Repository(str(repo.path))

    export_change(reader, reader.change(commit), limits, tmp_path / "workspace")

    analysis = Analysis.model_validate_json(read_index(tmp_path / "workspace")[1])
    assert [finding.severity for finding in analysis.findings if finding.rule == "not-looked-at"] == ["warning"]
    assert choose_recommendation([finding.severity for finding in analysis.findings]) == "comment"


def test_a_generated_file_over_the_limit_is_only_told(repo: GitRepo, tmp_path: Path) -> None:
    """Every commit of a lock file would ask for a look otherwise."""
    commit = repo.commit("Locked", uv_dot_lock="#" * 2_000)
    reader = Repository(str(repo.path))

    export_change(reader, reader.change(commit), Limits(max_file_bytes=1_000), tmp_path / "workspace")

    analysis = Analysis.model_validate_json(read_index(tmp_path / "workspace")[1])
    assert (analysis.findings, [path for path, _ in analysis.skipped]) == ([], ["uv.lock"])


@pytest.mark.parametrize(
    "text", [b"", b"a", b"a\n", b"a\rb\rc", b"a\r\nb\r\r\nc\r", b"a\nb\r\rc\nd", b"\r\n\r", b"\n\r\n"]
)
def test_the_rows_of_a_line_are_those_that_a_reader_sees(text: bytes) -> None:
    """However lines end, all lines of a file are all of its rows, and none is two lines'."""
    lines = text.split(b"\n")

    rows = [read_lines(text, {number})[1] or frozenset() for number in range(1, len(lines) + 1)]

    assert sum(map(len, rows)) == len(frozenset().union(*rows)) == max(frozenset().union(*rows))
    assert len(text.splitlines()) <= max(frozenset().union(*rows)) <= len(text.splitlines()) + 1
