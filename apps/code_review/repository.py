"""Read one commit of a git repository: what changed, and the changed files' content.

Everything goes through the real `git`, started without a shell, with bounded time and output. A
repository and a revision are untrusted: a revision must resolve to a commit and cannot be an
option, nothing outside the repository is read, and no program that the repository's own
configuration names is started (no hook, pager, filter, textconv, external diff, or transport).
Contents are read by object id, so that no path is ever passed back to git. Read only.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from .process import Finished, ProgramMissing, ProgramTimeout, run_bounded

Status: TypeAlias = Literal["added", "modified", "deleted", "renamed", "copied", "type_changed"]

_STATUS: Final[dict[str, Status]] = {
    "A": "added",
    "M": "modified",
    "D": "deleted",
    "R": "renamed",
    "C": "copied",
    "T": "type_changed",
}
_OBJECT_ID: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REVISION: Final = re.compile(r"[^\s\x00-\x1f\x7f:?*\[\\-][^\s\x00-\x1f\x7f:?*\[\\]{0,199}")
_HUNK: Final = re.compile(rb"^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@", re.MULTILINE)
_REGULAR: Final = ("100644", "100755", "100664")
_COMMAND_SECONDS: Final = 20.0
_LIST_BYTES: Final = 16 * 1024 * 1024
#: git's own empty tree, by the length of the repository's object ids.
_EMPTY_TREE: Final = {
    40: "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    64: "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}
_CONFIG: Final = (
    # Some versions of git read the attributes of a bare repository from its HEAD.
    f"attr.tree={_EMPTY_TREE[40]}",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.pager=cat",
    "core.quotePath=false",
    "diff.renameLimit=400",
    "diff.suppressBlankEmpty=false",
    "i18n.logOutputEncoding=UTF-8",
    "log.showSignature=false",
    "protocol.allow=never",
)
#: For the two forms of `diff`; plumbing ignores most settings, these end the rest.
_DIFF: Final = ("--no-color", "--no-ext-diff", "--no-textconv", "--inter-hunk-context=0", "--submodule=short")


class RepositoryError(Exception):
    """The repository, revision or commit cannot be read; the message may be shown to a model."""


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """One file of a change. Paths are for show: bytes that are no UTF-8 appear as `\\xNN`.

    `additions` and `deletions` are 0 for binary files. `content_id` names the file's content at
    the commit, None for a deleted file, a link, or a submodule; `old_content_id` the one before.
    """

    path: str
    status: Status
    old_path: str | None
    additions: int
    deletions: int
    binary: bool
    content_id: str | None
    old_content_id: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """What one commit changed against its base: its first parent unless another base was given."""

    commit: str
    base: str | None
    title: str
    message: str
    committed_at: str
    parents: int
    files: tuple[ChangedFile, ...]

    @property
    def additions(self) -> int:
        """Return the number of added lines over all files."""
        return sum(file.additions for file in self.files)

    @property
    def deletions(self) -> int:
        """Return the number of removed lines over all files."""
        return sum(file.deletions for file in self.files)


def show_path(raw: bytes) -> str:
    """Return a path as text that any terminal and any JSON reader can take.

    >>> show_path(b"src/a.py"), show_path(bytes([0x66, 0xFF, 0x0A]))
    ('src/a.py', 'f\\\\xff\\\\x0a')
    """
    text = raw.decode("utf-8", "backslashreplace")
    return "".join(f"\\x{ord(char):02x}" if ord(char) < 0x20 or ord(char) == 0x7F else char for char in text)


class Repository:
    """One repository on this machine, opened by the path of its work tree's top or its bare folder."""

    def __init__(self, path: str, *, allowed_root: str | None = None) -> None:
        """Open the repository; raise RepositoryError where it is none, or lies outside `allowed_root`."""
        if not path or "\x00" in path:
            raise RepositoryError("repository: no path given; give the folder of a git repository")
        self.path = os.path.realpath(path)
        self._root = os.path.realpath(allowed_root) if allowed_root else None
        self._refuse_outside(self.path, path)
        if not Path(self.path).is_dir():
            raise RepositoryError(f"repository {path}: no such folder; give the folder of a git repository")
        self._folder = self.path
        found = self._git("rev-parse", "--absolute-git-dir", "--git-common-dir", check=False)
        lines = found.stdout.decode("utf-8", "surrogateescape").splitlines()
        if found.returncode != 0 or len(lines) != 2:
            raise RepositoryError(
                f"repository {path}: not a git repository; give the top folder of a work tree, or a bare one"
            )
        for line in lines:  # a `.git` file or link may point anywhere
            self._refuse_outside(os.path.realpath(Path(self.path) / line), path)
        # From here on git runs inside its own folder. In a work tree it would read files and attributes from
        # there: a file in place of the commit's content, or a `.gitattributes` that calls source code binary.
        self._folder = os.path.realpath(lines[0])
        self._refuse_borrowed_objects(Path(self.path) / lines[1], path)

    def resolve(self, revision: str) -> str:
        """Return the full id of the commit that a revision names; raise RepositoryError."""
        if not _REVISION.fullmatch(revision) or any(sign in revision for sign in ("..", "^{", "@{")):
            raise RepositoryError(f"revision {revision[:80]!r}: not allowed; give a commit id, branch or tag")
        found = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}", check=False)
        commit = found.stdout.decode("ascii", "replace").strip()
        if found.returncode != 0 or not _OBJECT_ID.fullmatch(commit):
            raise RepositoryError(f"revision {revision[:80]!r}: names no commit of {self.path}; see `git log`")
        return commit

    def commits(self, *, newest: str, excluding: str | None = None, count: int | None = None) -> list[str]:
        """Return the ids of commits that `newest` reaches and `excluding` does not, oldest first."""
        limit = () if count is None else (f"--max-count={int(count)}",)
        without = () if excluding is None else (f"^{self.resolve(excluding)}",)
        found = self._git("rev-list", *limit, self.resolve(newest), *without, "--")
        return found.stdout.decode("ascii").split()[::-1]

    def is_empty(self) -> bool:
        """Say whether HEAD names no commit yet."""
        return self._git("rev-parse", "--verify", "--quiet", "HEAD^{commit}", check=False).returncode != 0

    def title(self, commit: str) -> str:
        """Return the first line of a commit's message."""
        return self._log(commit, "%s")[0]

    def change(self, commit: str, *, base: str | None = None) -> Change:
        """Return what a commit changed against `base`, or against its first parent."""
        commit = self.resolve(commit)
        parents_text, committed_at, title, message = self._log(commit, "%P%x00%cI%x00%s%x00%b")
        parents = parents_text.split()
        before = self.resolve(base) if base else (parents[0] if parents else None)
        listed = self._diff_tree("--raw", "--no-abbrev", "-z", before=before, commit=commit)
        counted = self._diff_tree("--numstat", "-z", before=before, commit=commit)
        if listed.truncated or counted.truncated:
            raise RepositoryError(f"commit {commit}: changes more files than can be listed; review it in parts")
        files = _parse_files(listed.stdout, counted.stdout)
        return Change(commit, before, title, message.strip(), committed_at, len(parents), files)

    def patch(self, change: Change, *, max_bytes: int) -> tuple[str, bool]:
        """Return the change as a unified diff, cut at a line's end where it is over `max_bytes`."""
        found = self._diff_tree("-p", before=change.base, commit=change.commit, max_bytes=max_bytes)
        text = found.stdout
        if found.truncated:
            text = text[: text.rfind(b"\n") + 1]
        return text.decode("utf-8", "replace"), found.truncated

    def content(self, content_id: str, *, max_bytes: int) -> bytes | None:
        """Return a file's content by its object id, None where it is over `max_bytes`."""
        found = self._git("cat-file", "blob", _object_id(content_id), max_bytes=max_bytes)
        return None if found.truncated else found.stdout

    def sizes(self, content_ids: Sequence[str]) -> dict[str, int]:
        """Return the size in bytes of each content."""
        lines = "".join(f"{_object_id(content_id)}\n" for content_id in content_ids).encode()
        found = self._git("cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=lines)
        pairs = (line.split() for line in found.stdout.decode("ascii").splitlines())
        return {name: int(size) for name, size in pairs if size.isdigit()}

    def changed_lines(self, file: ChangedFile) -> frozenset[int] | None:
        """Return the numbers of the lines that a change added or altered, None for all lines."""
        if file.content_id is None or file.old_content_id is None:
            return None
        ids = (_object_id(file.old_content_id), _object_id(file.content_id))
        found = self._git("diff", "-U0", "--text", "--no-renames", *_DIFF, *ids, "--")
        if found.truncated:  # what was removed is so much that not all is known of what was added
            return None
        lines: set[int] = set()
        for start, count in _HUNK.findall(found.stdout):
            lines.update(range(int(start), int(start) + int(count or b"1")))
        return frozenset(lines)

    def _log(self, commit: str, template: str) -> list[str]:
        found = self._git(
            "log", "-1", "--no-color", "--no-notes", f"--format={template}", _object_id(commit), "--", max_bytes=65_536
        )
        fields = found.stdout.decode("utf-8", "replace").removesuffix("\n").split("\x00")
        return [*fields, *[""] * (template.count("%x00") + 1 - len(fields))]

    def _diff_tree(self, *form: str, before: str | None, commit: str, max_bytes: int = _LIST_BYTES) -> Finished:
        start = before or _EMPTY_TREE[len(commit)]
        options = ("-r", "--no-commit-id", "--find-renames", *_DIFF)
        return self._git("diff-tree", *options, *form, start, commit, "--", max_bytes=max_bytes)

    def _git(self, *args: str, stdin: bytes = b"", max_bytes: int = _LIST_BYTES, check: bool = True) -> Finished:
        trusted = (f"safe.directory={folder}" for folder in dict.fromkeys((self.path, self._folder)))
        settings = [part for setting in (*_CONFIG, *trusted) for part in ("-c", setting)]
        argv = ("git", "--no-pager", "--literal-pathspecs", "--no-replace-objects", *settings, *args)
        try:
            done = run_bounded(
                argv,
                cwd=self._folder,
                env=_environment(self._folder),
                stdin=stdin,
                timeout_seconds=_COMMAND_SECONDS,
                max_bytes=max_bytes,
            )
        except ProgramMissing as error:
            raise RepositoryError(f"git: {error}; install git where the workers run") from error
        except ProgramTimeout as error:
            raise RepositoryError(
                f"repository {self.path}: `git {args[0]}` took over {_COMMAND_SECONDS:g} s; review it in parts"
            ) from error
        if check and done.returncode != 0 and not done.truncated:
            reason = done.stderr.strip().splitlines()[:1]
            raise RepositoryError(f"repository {self.path}: `git {args[0]}` failed: {' '.join(reason)[:300]}")
        return done

    def _refuse_outside(self, real: str, given: str) -> None:
        if self._root and Path(real) != Path(self._root) and Path(self._root) not in Path(real).parents:
            raise RepositoryError(f"repository {given}: outside the allowed folder {self._root}; choose one inside it")

    def _refuse_borrowed_objects(self, common: Path, given: str) -> None:
        """Refuse objects that lie outside: git itself is asked where it takes them from, because stores may borrow in turn."""
        if self._root is None:
            return
        told = self._git("count-objects", "-v", check=False)
        lines = told.stdout.decode("utf-8", "surrogateescape").split("\n")
        borrowed = [line.removeprefix("alternate: ") for line in lines if line.startswith("alternate: ")]
        if told.returncode != 0 or any(not place.startswith("/") for place in borrowed):  # quoted: no plain name
            raise RepositoryError(f"repository {given}: where its objects lie cannot be told; clone it anew")
        for store in (str(common / "objects"), *borrowed):
            self._refuse_outside(os.path.realpath(store), given)
            for folder, folders, files in os.walk(store):
                for name in (*folders, *files):
                    place = Path(folder) / name
                    if place.is_symlink():
                        self._refuse_outside(os.path.realpath(place), given)


def _object_id(text: str) -> str:
    if not _OBJECT_ID.fullmatch(text):
        raise RepositoryError(f"object id {text[:80]!r}: not one; give 40 or 64 hex digits")
    return text


def _environment(path: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.devnull,
        "LC_ALL": "C",
        # What is checked out is not what is reviewed: an index would give its `.gitattributes` to every commit.
        "GIT_INDEX_FILE": f"{os.devnull}.none",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(Path(path).parent),
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
    }


def _parse_files(listed: bytes, counted: bytes) -> tuple[ChangedFile, ...]:
    counts = _parse_counts(counted)
    fields = iter(listed.split(b"\x00"))
    files: list[ChangedFile] = []
    for head in fields:
        if not head:
            break
        old_mode, new_mode, old_id, new_id, letter = head.decode("ascii").lstrip(":").split(" ")
        first = next(fields)
        second = next(fields) if letter[0] in "RC" else first
        additions, deletions, binary = counts.get(second, (0, 0, False))
        files.append(
            ChangedFile(
                path=show_path(second),
                status=_STATUS.get(letter[0], "modified"),
                old_path=show_path(first) if second != first else None,
                additions=additions,
                deletions=deletions,
                binary=binary,
                content_id=new_id if new_mode in _REGULAR else None,
                old_content_id=old_id if old_mode in _REGULAR else None,
            )
        )
    return tuple(files)


def _parse_counts(counted: bytes) -> dict[bytes, tuple[int, int, bool]]:
    counts: dict[bytes, tuple[int, int, bool]] = {}
    fields = iter(counted.split(b"\x00"))
    for head in fields:
        if not head:
            break
        added, removed, path = head.split(b"\t", 2)
        if not path:  # a rename: the old and the new path follow
            next(fields)
            path = next(fields)
        binary = added == b"-"
        counts[path] = (0, 0, True) if binary else (int(added), int(removed), False)
    return counts
