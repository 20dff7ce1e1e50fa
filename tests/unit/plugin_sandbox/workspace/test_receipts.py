"""A run that was published under its name is told again, and not done again."""

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugin_sandbox import publishing, receipts
from plugin_sandbox.host import Sandbox
from plugin_sandbox.manifest import digest_of, read_manifest
from plugin_sandbox.model import Call, Outcome, PluginRecord
from plugin_sandbox.receipts import keep_receipt, read_receipt
from plugin_sandbox.settings import SandboxSettings

_MANIFEST = 'name: add\nversion: "1"\napi_version: "1"\nsupported_extensions: [".txt"]\n'
_CODE = """
from plugin_sandbox.api import Plugin as Base

class Plugin(Base):
    def can_handle(self, path, variables):
        return True

    def transform(self, path, ctx):
        with path.open("a") as file:
            file.write("more\\n")
"""


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """A run with a name, of a plugin that adds a line."""
    package, workspace = tmp_path / "add", tmp_path / "work"
    package.mkdir()
    workspace.mkdir()
    (package / "manifest.yml").write_text(_MANIFEST)
    (package / "__init__.py").write_text(_CODE)
    (workspace / "a.txt").write_text("one\n")
    record = PluginRecord(
        manifest=read_manifest(package, SandboxSettings()), path=package, digest=digest_of(package), root="bundled"
    )
    return Call(plugin=record, workspace=workspace, files=("a.txt",), run="s/1")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox with a state folder of its own."""
    made = Sandbox(SandboxSettings(state_dir=tmp_path / "state", preload=("json",)))
    yield made
    made.close()


def run(sandbox: Sandbox, call: Call) -> Outcome:
    """Run a call on a loop of its own."""
    return asyncio.run(sandbox.run(call))


def test_the_same_run_adds_its_line_once_and_another_run_another(sandbox: Sandbox, call: Call) -> None:
    """A caller that died before it could note the outcome asks again: at least once becomes once."""
    first = run(sandbox, call)
    again = run(sandbox, call)
    other = run(sandbox, call.model_copy(update={"run": "s/2"}))

    assert first.entry is not None
    assert again.entry is not None
    assert (again.entry.per_file, again.changes) == (first.entry.per_file, first.changes)
    assert (first.entry.status, first.entry.files_affected) == ("success", ("a.txt",))
    assert other.changes == first.changes
    assert (call.workspace / "a.txt").read_text() == "one\nmore\nmore\n"


def test_a_publisher_that_died_before_its_renames_is_finished_and_told(
    sandbox: Sandbox, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receipt is part of the intent: who finishes the one leaves the other, and the plugin does not run again."""

    def die(*_: object) -> None:
        raise KeyError("as if the process had died here")

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_carry_out", die)
        with pytest.raises(KeyError):
            run(sandbox, call)
    outcome = run(sandbox, call)

    assert outcome.entry is not None
    assert outcome.entry.status == "success"
    assert (call.workspace / "a.txt").read_text() == "one\nmore\n"


def test_another_plugin_under_the_same_name_is_run(sandbox: Sandbox, call: Call) -> None:
    """A session goes on with its app's next version, which names another plugin in this place: the first one's outcome is not its own."""
    package = call.plugin.path
    run(sandbox, call)
    (package / "manifest.yml").write_text(_MANIFEST.replace("name: add", "name: other"))
    other = PluginRecord(manifest=read_manifest(package, SandboxSettings()), path=package, digest=digest_of(package))

    entries = [run(sandbox, call.model_copy(update={"plugin": other})).entry for _ in range(2)]

    assert [one.plugin for one in entries if one is not None] == ["other", "other"]
    assert (call.workspace / "a.txt").read_text() == "one\nmore\nmore\n"


def test_old_receipts_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept for as long as somebody may ask again, not for ever."""
    monkeypatch.setattr("plugin_sandbox.receipts._EVERY", 1)
    keep_receipt(tmp_path, "old", "{}")
    eldest = next((tmp_path / "receipts").iterdir())
    os.utime(eldest, (time.time() - 8 * 86_400,) * 2)
    keep_receipt(tmp_path, "new", "[]")

    assert (read_receipt(tmp_path, "old"), read_receipt(tmp_path, "new")) == (None, "[]")


def test_a_receipt_that_another_process_takes_away_first_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All workers of a host tidy up the same folder."""
    monkeypatch.setattr(receipts, "_EVERY", 1)
    keep_receipt(tmp_path, "old", "{}")
    (eldest,) = (tmp_path / "receipts").iterdir()

    @contextlib.contextmanager
    def look_slowly(folder: Path) -> Iterator[list[os.DirEntry[str]]]:
        with real(folder) as entries:
            found = list(entries)
        eldest.unlink()
        yield found

    real = os.scandir
    with monkeypatch.context() as patch:
        patch.setattr(receipts.os, "scandir", look_slowly)
        keep_receipt(tmp_path, "new", "[]")

    assert (read_receipt(tmp_path, "old"), read_receipt(tmp_path, "new")) == (None, "[]")
