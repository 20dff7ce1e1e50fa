"""What plugins are given, and how their life inside goes, run here in this very process: nothing of it is confined."""

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox.api import FileChange, Log, Plugin, PluginContext, PluginError, PluginInputRequired
from plugin_sandbox.inner import runner
from plugin_sandbox.protocol import parse_result

Live = Callable[..., tuple[dict[str, Any], int]]

FILES = ("a.txt", "b.bin")
HEAD = """
from pathlib import Path
from plugin_sandbox.api import FileChange, PluginError, PluginInputRequired
from plugin_sandbox.api import Plugin as Base

class Plugin(Base):
    required_variables = ("unit",)

    def can_handle(self, path, variables):
        return path.suffix == ".txt"

    def transform(self, path, ctx):
        path.write_text(path.read_text() + variables_of(ctx))

def variables_of(ctx):
    return ctx.variables["unit"]
"""


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    """Let a plugin with this code live over two files; return its frame and exit code."""
    (tmp_path / "work").mkdir()
    for name in FILES:
        (tmp_path / "work" / name).write_text("1")
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    def run(
        code: str = "", *, answers: Any = None, dry_run: bool = False, unit: str = "mm", files: Sequence[str] = FILES
    ) -> Any:
        package = tmp_path / f"probe{len(list(tmp_path.iterdir()))}"
        package.mkdir()
        (package / "__init__.py").write_text(HEAD + code)
        context = {
            "variables": {"unit": unit}, "dry_run": dry_run, "template_name": "", "template_version": "", "run_kind": "",
            "equipment_id": "", "project": "", "answers_file": "answers.json",
        }  # fmt: skip
        request = {
            "context": context, "work": str(tmp_path / "work"), "answers": answers, "package": str(package),
            "files": list(files),
        }  # fmt: skip
        return runner._live(request)

    yield run
    for name in set(sys.modules) - before:
        if name.startswith("probe"):
            del sys.modules[name]


def test_each_file_is_handed_to_the_plugin_that_wants_it(live: Live, tmp_path: Path) -> None:
    """The others are skipped, and stay as they are."""
    frame, code = live()

    assert (frame["result"], code) == ("success", 0)
    assert [(one["path"], one["status"]) for one in frame["per_file"]] == [("a.txt", "modified"), ("b.bin", "skipped")]
    assert [(tmp_path / "work" / name).read_text() for name in ("a.txt", "b.bin")] == ["1mm", "1"]


def test_a_file_whose_name_is_no_text_is_told_in_letters(live: Live, tmp_path: Path) -> None:
    """Half of a surrogate pair is refused by every reader of a frame: one such file in a workspace would end every run over it."""
    name = os.fsdecode(b"\xff.txt")
    (tmp_path / "work" / name).write_text("1")

    modified, described = (
        parse_result(runner._encode(live(files=[name], dry_run=is_dry)[0])).per_file[0] for is_dry in (False, True)
    )

    assert (modified.path, modified.status) == ("\\udcff.txt", "modified")
    assert (described.path, (described.changes or [{}])[0]["path"]) == ("\\udcff.txt", "?.txt")


def test_a_dry_run_describes_and_does_nothing(live: Live, tmp_path: Path) -> None:
    """What is told lies below the workspace, wherever that lies inside."""
    said = "    def describe_changes(self, path, ctx):\n        return [FileChange(path, 'modify', 's', {'n': 1}), FileChange('/x', 'create')]\n"
    frame, _ = live(HEAD_TAIL + said, dry_run=True)

    assert (tmp_path / "work" / "a.txt").read_text() == "1"
    assert frame["per_file"][0]["changes"] == [
        {"path": "a.txt", "kind": "modify", "summary": "s", "detail": {"n": 1}},
        {"path": "/x", "kind": "create", "summary": "", "detail": {}},
    ]
    assert live("", dry_run=True)[0]["per_file"][0] == {
        "path": "a.txt", "status": "described", "changes": [{"path": "a.txt", "kind": "modify", "summary": "", "detail": {}}],
    }  # fmt: skip


#: Goes on with the class of HEAD, which ends in a function of its own.
HEAD_TAIL = "\nclass Plugin(Plugin):\n"


@pytest.mark.parametrize(
    ("body", "result", "code", "said", "kind"),
    [
        ("transform(self, path, ctx):\n        raise PluginError('no')", "failed", 1, "no", None),
        ("post_transform_all(self, ctx):\n        raise PluginError('late')", "failed", 1, "late", None),
        (
            "transform(self, path, ctx):\n        raise PluginError('disk') from OSError(28, 'full')",
            "failed", 1, "disk", "disk",
        ),
        ("pre_transform_all(self, ctx):\n        raise PluginInputRequired([{'id': 'a'}], 'why')", "input_required", 2, None, None),
    ],
)  # fmt: skip
def test_a_plugin_that_cannot_go_on_says_why(
    live: Live, body: str, result: str, code: int, said: str | None, kind: str | None
) -> None:
    """Its own words, and which limit was behind them."""
    frame, exit_code = live(HEAD_TAIL + "    def " + body + "\n")

    assert (frame["result"], exit_code, frame["error_message"], frame["error_kind"]) == (result, code, said, kind)
    if code == 2:
        assert frame["input_required"] == {"fields": [{"id": "a"}], "reason": "why"}


def test_a_question_after_the_last_file_comes_too_late(live: Live, tmp_path: Path) -> None:
    """All is done by then: nobody is asked, and the plugin is not told of a question that it may not ask."""
    body = "    def post_transform_all(self, ctx):\n        raise PluginInputRequired([{'id': 'a'}])\n"
    with pytest.raises(RuntimeError, match="ask in pre_transform_all or transform"):
        live(HEAD_TAIL + body + "    def on_plugin_failure(self, exc, ctx):\n        (ctx.dst_root / 'told').touch()\n")

    assert not (tmp_path / "work" / "told").exists()


def test_a_question_names_the_file_at_which_it_was_asked(live: Live) -> None:
    """What was done to those before it is not published."""
    frame, code = live(
        HEAD_TAIL + "    def transform(self, path, ctx):\n        raise PluginInputRequired([{'id': 'a'}])\n"
    )

    assert code == 2
    assert frame["per_file"] == [{"path": "a.txt", "status": "input_required", "changes": None}]


def test_answers_are_among_the_variables(live: Live, tmp_path: Path) -> None:
    """Under one name that no manifest declares."""
    live(HEAD_TAIL + "    def transform(self, path, ctx):\n        path.write_text(ctx.variables['__extra_inputs__']['q']['a'])\n",
         answers={"q": {"a": "yes"}})  # fmt: skip

    assert (tmp_path / "work" / "a.txt").read_text() == "yes"


def test_a_missing_variable_ends_the_run_before_it_begins(live: Live, tmp_path: Path) -> None:
    """An empty one is missing too."""
    frame, code = live(unit="")

    assert (code, frame["error_message"]) == (1, "required variable 'unit' is missing or empty")
    assert (tmp_path / "work" / "a.txt").read_text() == "1"


def test_a_file_that_cannot_be_judged_fails_alone(live: Live) -> None:
    """The others go on; whoever leaves by SystemExit leaves altogether."""
    frame, code = live(
        HEAD_TAIL
        + "    def can_handle(self, path, variables):\n        if path.suffix == '.txt': raise KeyError(path.name)\n"
    )

    assert code == 0
    assert frame["per_file"] == [
        {"path": "a.txt", "status": "failed", "changes": None, "error": "KeyError: 'a.txt'"},
        {"path": "b.bin", "status": "skipped", "changes": None},
    ]
    with pytest.raises(SystemExit):
        live(HEAD_TAIL + "    def can_handle(self, path, variables):\n        raise SystemExit(0)\n")


def test_what_is_no_plugin_is_not_run(live: Live, tmp_path: Path) -> None:
    """Neither another class of that name, nor a folder without code."""
    with pytest.raises(TypeError, match=r"Plugin is not a subclass of plugin_sandbox\.api\.Plugin"):
        live("\nclass Plugin:\n    pass\n")
    with pytest.raises(TypeError, match="not a subclass"):
        live("\nPlugin = 5\n")
    with pytest.raises(FileNotFoundError):
        runner._load(str(tmp_path / "none"))


def test_a_hook_for_failures_that_fails_hides_nothing(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    """The first failure is the one that counts; the second is told in the log."""
    body = "    def transform(self, path, ctx):\n        raise PluginError('first')\n    def on_plugin_failure(self, exc, ctx):\n        raise ValueError('second')\n"
    frame, _ = live(HEAD_TAIL + body)
    line = json.loads(capsys.readouterr().err.splitlines()[-1])

    assert frame["error_message"] == "first"
    assert (line["level"], line["message"]) == ("ERROR", "ValueError: second")
    assert "Traceback" in line["context"]["traceback"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "memory"),
        *((OSError(number, "x"), kind) for number, kind in runner._ERRORS.items()),
        (OSError(errno.ENOENT, "x"), None),
        (OSError("no number"), None),
        (RuntimeError("can't start new thread"), "threads"),
        (RuntimeError("else"), None),
        (None, None),
    ],
    ids=repr,
)
def test_an_exception_is_about_the_limit_that_it_ran_into(error: BaseException | None, kind: str | None) -> None:
    """The host names it to the plugin's author; it is believed for no more than that."""
    assert runner._kind(error) == kind


def answer_of(request: bytes) -> tuple[dict[str, Any], int]:
    """Run a request in a child as inside, and return its frame and exit code."""
    asked, told = os.pipe(), os.pipe()
    os.write(asked[1], request)
    os.close(asked[1])
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        runner.run(asked[0], told[1])
    os.close(told[1])
    frame = json.loads(runner._read(told[0]))
    return frame, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_whatever_is_raised_is_answered_with_a_frame_and_its_own_code() -> None:
    """The host never waits for an answer that does not come."""
    frame, code = answer_of(b"no JSON")

    assert code == 3
    assert (frame["result"], frame["error_message"], frame["error_kind"]) == ("failed", None, None)


def test_what_a_plugin_logs_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error; what JSON does not know is written as text."""
    log = Log()
    for level in ("debug", "info", "warning", "error"):
        getattr(log, level)("a\nb", path=Path("/x")) if level == "error" else getattr(log, level)(level)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    assert [line["level"] for line in lines] == ["DEBUG", "INFO", "WARNING", "ERROR"]
    assert lines[0] == {"level": "DEBUG", "message": "debug"}
    assert lines[3] == {"level": "ERROR", "message": "a\nb", "context": {"path": "/x"}}


def test_a_question_carries_its_fields_and_reason() -> None:
    """Without a reason it has an empty one."""
    assert PluginInputRequired([{"id": "a"}], "why").reason == "why"
    assert (PluginInputRequired([]).reason, PluginInputRequired([{"id": "a"}]).fields) == ("", [{"id": "a"}])


def test_a_plugin_without_more_says_that_it_would_modify_the_file(tmp_path: Path) -> None:
    """And needs none of the hooks."""

    class Bare(Plugin):
        """The least that there can be."""

        def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
            return True

        def transform(self, path: Path, ctx: PluginContext) -> None:
            raise PluginError("no")

    ctx = PluginContext(variables={}, dst_root=tmp_path, answers_file=tmp_path / "answers.json")
    bare = Bare()

    assert bare.describe_changes(tmp_path / "a", ctx) == [FileChange(tmp_path / "a", "modify")]
    assert bare.validate_variables({}) == []
    with pytest.raises(PluginError, match="host"):
        ctx.fetch("https://example.org")
