"""The plugin contract, row by row, through the real sandbox: what a package that was written for the upstream host may go on relying on.

Each row is a plugin's code with the entry that it comes to. A deliberate difference from upstream stands beside its row.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox.host import Sandbox
from plugin_sandbox.model import Json, Outcome
from plugin_sandbox.settings import SandboxSettings
from tests.plugin_runs import make_call

HEAD = """
import os, signal, sys, time
from pathlib import Path
from plugin_sandbox.api import Plugin as Base, PluginError, PluginInputRequired, FileChange
class Plugin(Base):
    def can_handle(self, path, variables): return True
    def transform(self, path, ctx): pass
"""
HELLO = HEAD + "    def transform(self, path, ctx): path.write_text(path.read_text() + 'hello\\n')\n"


@dataclass(frozen=True)
class Row:
    """A plugin, and what its entry says. `differs`: what upstream does instead, and why we do not."""

    code: str
    status: str
    exit_code: int
    files: tuple[str, ...] = ()
    error: str | None = None
    data: str = "initial\n"
    isolation: str = ""
    variables: Json = field(default_factory=dict)
    answers: dict[str, Json] = field(default_factory=dict)
    dry_run: bool = False
    differs: str = ""


def does(body: str, method: str = "transform(self, path, ctx)") -> str:
    """Return a plugin whose method does this."""
    return HEAD + f"    def {method}:\n        {body}\n"


ROWS: dict[str, Row] = {
    "1 hello": Row(HELLO, "success", 0, ("data.txt",), data="initial\nhello\n"),
    "2 timeout": Row(does("signal.pause()"), "timeout", 124, (), "timeout", isolation="timeout_seconds: 1"),
    "2 timeout, deaf": Row(
        does("signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"),
        "timeout",
        124,
        (),
        "timeout",
        isolation="timeout_seconds: 1",
        differs="upstream sends SIGTERM and waits a second more; here the time is the time",
    ),
    "3 error": Row(does("raise PluginError('always fails by design')"), "failed", 1, (), "always fails by design"),
    "4 answered": Row(
        does(
            "extra = ctx.variables.get('__extra_inputs__', {})\n"
            "        if 'color' not in extra: raise PluginInputRequired([{'id': 'color'}], 'Need user color preference')\n"
            "        path.write_text(path.read_text() + 'color=' + extra['color'])"
        ),
        "success",
        0,
        ("data.txt",),
        data="initial\ncolor=blue",
        answers={"one": {"color": "blue"}},
    ),
    "6 crash": Row(does("os._exit(139)"), "failed", 139),
    "7 policy": Row(does("(ctx.dst_root / 'README.md').write_text('x')"), "policy_violation", 0, ("README.md",)),
    "8 policy and honest work": Row(
        does("(ctx.dst_root / 'README.md').write_text('x'); path.write_text('y')"),
        "policy_violation",
        0,
        ("README.md",),
    ),
    "9 policy and error": Row(
        does("(ctx.dst_root / 'README.md').write_text('x'); raise PluginError('no')"),
        "policy_violation",
        1,
        ("README.md",),
        "no",
    ),
    "10 partial write": Row(
        does("path.write_text('half'); raise PluginError('no')"),
        "failed",
        1,
        (),
        "no",
        differs="upstream keeps the half of a failed plugin's work in the workspace; here a failure publishes nothing",
    ),
    "11 can_handle False": Row(does("return False", "can_handle(self, path, variables)"), "skipped", 0),
    "11 can_handle raises": Row(does("raise PluginError('x')", "can_handle(self, path, variables)"), "skipped", 0),
    "12 pre and post": Row(
        does("(ctx.dst_root / 'pre').touch()", "pre_transform_all(self, ctx)")
        + "    def post_transform_all(self, ctx): (ctx.dst_root / 'post').touch()\n",
        "success",
        0,
        ("post", "pre"),
    ),
    "16 ValueError": Row(does("raise ValueError('x')"), "failed", 3),
    "16 import error": Row("import nothing_of_that_name\n", "failed", 3),
    "16 no Plugin": Row("x = 1\n", "failed", 3),
    "16 not a subclass": Row("class Plugin: pass\n", "failed", 3),
    "16 abstract": Row("from plugin_sandbox.api import Plugin as Base\nclass Plugin(Base): pass\n", "failed", 3),
    "16 recursion": Row(does("self.transform(path, ctx)"), "failed", 3),
    "16 MemoryError": Row(
        does("raise MemoryError"),
        "memory_limit",
        3,
        differs="upstream calls every such end failed; here the limit is named",
    ),
    "17 segfault": Row(
        does("import ctypes; ctypes.string_at(0)"),
        "failed",
        -11,
        (),
        "it was ended by signal 11",
        differs="the error says which signal",
    ),
    "17 SIGKILL self": Row(
        does("os.kill(os.getpid(), signal.SIGKILL)"),
        "skipped",
        0,
        differs="upstream -9: here a plugin is the first process of its own, which no signal from inside ends",
    ),
    "17 interrupt at import": Row(
        "raise KeyboardInterrupt\n", "failed", 3, differs="upstream -2: here it is one more exception"
    ),
    "18 sys.exit(0)": Row(
        does("path.write_text('x'); sys.exit(0)"),
        "failed",
        3,
        differs="upstream takes exit 0 for success; a status cannot be claimed by leaving",
    ),
    "18 os._exit(0)": Row(
        does("path.write_text('x'); os._exit(0)"),
        "protocol_error",
        0,
        (),
        "result: the plugin ended without an answer",
        differs="upstream takes exit 0 for success; a success needs an answer, too",
    ),
    "19 os._exit(124)": Row(
        does("os._exit(124)"), "failed", 124, differs="upstream calls it a timeout; a timeout is the host's word alone"
    ),
    "20 input from pre": Row(
        does(
            "if 'k' not in ctx.variables.get('__extra_inputs__', {}): raise PluginInputRequired([{'id': 'k'}], 'which')\n"
            "        (ctx.dst_root / 'pre').touch()",
            "pre_transform_all(self, ctx)",
        ),
        "success",
        0,
        ("pre",),
        answers={"one": {"k": "v"}},
    ),
    "20 input from post": Row(
        does("raise PluginInputRequired([{'id': 'k'}], 'which')", "post_transform_all(self, ctx)"), "failed", 3
    ),
    "21 failing failure handler": Row(
        does("raise PluginError('first')")
        + "    def on_plugin_failure(self, exc, ctx): raise RuntimeError('second')\n"
        + "    def post_transform_all(self, ctx): (ctx.dst_root / 'post').touch()\n",
        "failed",
        1,
        (),
        "first",
    ),
    "23 two prompts": Row(
        does("path.write_text(' '.join(sorted(ctx.variables['__extra_inputs__'])))"),
        "success",
        0,
        ("data.txt",),
        data="k1 k2",
        answers={"one": {"k1": "a"}, "two": {"k2": "b"}},
        differs="upstream sends the latest answer alone; here all of them, because the run begins anew",
    ),
    "24 dry run": Row(HELLO, "skipped", 0, dry_run=True),
    "25 frozen context": Row(does("ctx.dry_run = True"), "failed", 3),
    "25 mutable variables": Row(does("ctx.variables['x'] = 1"), "skipped", 0),
    "30 delete": Row(
        does("path.unlink()"),
        "success",
        0,
        ("data.txt",),
        data="",
        differs="upstream does not see that a file was deleted, and says skipped",
    ),
    "30 rename": Row(
        does("path.rename(path.with_name('new.txt'))"),
        "success",
        0,
        ("data.txt", "new.txt"),
        data="",
        differs="upstream names the new file alone",
    ),
    "31 answers file": Row(
        does("(ctx.dst_root / '.exlab-answers.yml').write_text('x')"), "policy_violation", 0, (".exlab-answers.yml",)
    ),
    "validation": Row(
        "from plugin_sandbox.api import Plugin as B\nclass Plugin(B):\n    required_variables = ['owner']\n"
        "    def can_handle(self, path, variables): return True\n    def transform(self, path, ctx): pass\n",
        "failed",
        1,
        (),
        "required variable 'owner' is missing or empty",
        differs="upstream's host never asks validate_variables",
    ),
    "D3 noise": Row(
        does("print('{}'); os.write(1, b'noise'); path.write_text('x')"), "success", 0, ("data.txt",), data="x"
    ),
    "E15 module in the workspace": Row(
        does("(ctx.dst_root / 'traceback.py').write_text('raise SystemExit')"), "success", 0, ("traceback.py",)
    ),
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> SandboxSettings:
    """The defaults, with a state folder of the tests' own."""
    return SandboxSettings(state_dir=tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def sandbox(settings: SandboxSettings) -> Iterator[Sandbox]:
    """One warm sandbox."""
    made = Sandbox(settings)
    yield made
    made.close()


def perform(sandbox: Sandbox, settings: SandboxSettings, home: Path, row: Row) -> tuple[Outcome, Path]:
    """Run a row's plugin over `data.txt`."""
    package, workspace = home / "plugin", home / "workspace"
    package.mkdir()
    workspace.mkdir()
    (package / "manifest.yml").write_text(
        'name: plugin\nversion: "1"\napi_version: "1"\nsupported_extensions: [.txt]\n'
        + (f"isolation: {{{row.isolation}}}\n" if row.isolation else "")
    )
    (package / "__init__.py").write_text(row.code)
    (workspace / "data.txt").write_text("initial\n")
    asked = {"variables": row.variables, "answers": row.answers, "dry_run": row.dry_run}
    return sandbox.run_blocking(make_call(package, workspace, settings, **asked)), workspace


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_a_row_of_the_contract(sandbox: Sandbox, settings: SandboxSettings, tmp_path: Path, row: Row) -> None:
    """Status, exit code, files, error, and what is in the workspace afterwards."""
    outcome, workspace = perform(sandbox, settings, tmp_path, row)

    entry = outcome.entry
    assert entry is not None
    said = (entry.status, entry.isolation.exit_code, entry.files_affected, entry.error)
    assert said == (row.status, row.exit_code, row.files, row.error)
    assert (entry.violations is not None) is (row.status == "policy_violation")
    data = workspace / "data.txt"
    assert (data.read_text() if data.exists() else "") == row.data
    assert not (workspace / "README.md").exists()
    assert entry.isolation.tier == "strict"


def test_a_question_is_a_prompt_with_the_same_id_each_time(
    sandbox: Sandbox, settings: SandboxSettings, tmp_path: Path
) -> None:
    """Row 4, first half; asked again it is the same question, so that an answer given twice counts once."""
    row = Row(
        does("raise PluginInputRequired([{'id': 'unit', 'type': 'choice', 'choices': ['C', 'K']}], 'Which?')"), "", 0
    )
    prompts: list[Any] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        outcome, _ = perform(sandbox, settings, tmp_path / name, row)
        assert outcome.entry is None
        prompts.append(outcome.prompt)

    assert prompts[0] == prompts[1]
    assert (prompts[0].reason, prompts[0].fields[0].choices) == ("Which?", ("C", "K"))


def test_a_question_after_the_last_allowed_one_fails(
    sandbox: Sandbox, settings: SandboxSettings, tmp_path: Path
) -> None:
    """D14: upstream asks for ever."""
    row = Row(
        does("raise PluginInputRequired([{'id': 'x'}], 'again')"),
        "failed",
        2,
        isolation="prompts: 1",
        answers={"one": {"x": "1"}},
    )

    outcome, _ = perform(sandbox, settings, tmp_path, row)

    assert outcome.entry is not None
    assert (outcome.entry.status, outcome.entry.limit) == ("failed", "prompts")


def test_a_package_that_changed_since_it_was_accepted_is_not_run(
    sandbox: Sandbox, settings: SandboxSettings, tmp_path: Path
) -> None:
    """The digest is pinned at registration, and checked at the call."""
    outcome, workspace = perform(sandbox, settings, tmp_path, ROWS["1 hello"])
    assert outcome.entry is not None
    package = tmp_path / "plugin"
    call = make_call(package, workspace, settings)
    (package / "__init__.py").write_text(HELLO + "\n# more\n")

    again = sandbox.run_blocking(call)

    assert again.entry is not None
    assert again.entry.status == "sandbox_unavailable"
    assert "changed since it was accepted" in (again.entry.error or "")
