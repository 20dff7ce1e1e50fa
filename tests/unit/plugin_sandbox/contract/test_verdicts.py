"""How the host judges a run: what it saw itself counts before what the plugin says of itself."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox.inner.box import Ended
from plugin_sandbox.model import Call, Isolation, Manifest, PluginRecord
from plugin_sandbox.outcome import TIMEOUT_EXIT, _described, _exit_code, _judge, settle
from plugin_sandbox.protocol import Frame, ProtocolError, parse_result

FINE = Ended(exit_code=0, signal=0, bit=None, peak_memory_bytes=0, cpu_seconds=0.0)
FAILED = replace(FINE, exit_code=1)
BROKEN = ProtocolError("result: it is no object")


def says(result: str, message: str = "", kind: str | None = None) -> Frame:
    """Return what a plugin says of itself."""
    asked = b'{"fields":[{"id":"a"}],"reason":""}' if result == "input_required" else b"null"
    told = b"null" if kind is None else f'"{kind}"'.encode()
    head = f'{{"result":"{result}","per_file":[],"error_message":"{message}","input_required":'.encode()
    return parse_result(head + asked + b',"error_kind":' + told + b"}")


@pytest.mark.parametrize(
    ("frame", "ended", "violations", "verdict"),
    [
        (says("success"), FINE, (), ("success", "", "")),
        (says("failed", "no"), FAILED, (), ("failed", "", "no")),
        (says("failed", "no"), replace(FAILED, exit_code=3), (), ("failed", "", "no")),
        (says("input_required"), replace(FINE, exit_code=2), (), ("ask", "", "")),
        (None, None, (), ("cancelled", "", "")),
        (says("success"), replace(FINE, bit="cancelled"), ("a",), ("cancelled", "", "")),
        (says("success"), replace(FINE, bit="wall", detail="x"), (), ("timeout", "timeout_seconds", "timeout")),
        (None, replace(FINE, bit="wall"), ("a",), ("policy_violation", "timeout_seconds", "timeout")),
        (None, replace(FAILED, bit="memory", detail="why"), (), ("memory_limit", "memory_mb", "why")),
        (None, replace(FAILED, bit="output", limit="stderr_kb"), (), ("output_limit", "stderr_kb", "")),
        (says("success"), FINE, ("a",), ("policy_violation", "", "")),
        (says("failed", "no"), replace(FAILED, bit="cpu"), ("a",), ("policy_violation", "", "no")),
        (says("failed", "no"), replace(FAILED, bit="cpu", detail="d"), (), ("cpu_limit", "cpu_seconds", "d")),
        (None, replace(FAILED, bit="processes", limit="x"), (), ("process_limit", "x", "")),
        (says("failed", "no", "memory"), FAILED, (), ("memory_limit", "memory_mb", "no")),
        (says("failed", "no", "disk"), replace(FAILED, limit="inodes"), (), ("disk_limit", "inodes", "no")),
        (says("failed", "no", "files"), replace(FAILED, limit="inodes"), (), ("failed", "open_files", "no")),
        (says("success", "", "memory"), FINE, (), ("success", "", "")),
        (says("failed", "no"), replace(FAILED, disk_full=True), (), ("disk_limit", "disk_mb", "no")),
        (None, replace(FAILED, disk_full=True, limit="inodes"), (), ("disk_limit", "inodes", "")),
        (says("success"), replace(FINE, disk_full=True), (), ("success", "", "")),
        (None, replace(FAILED, signal=signal.SIGXFSZ), (), ("disk_limit", "file_mb", "")),
        (None, replace(FAILED, processes_refused=True), (), ("process_limit", "processes", "")),
        (None, replace(FAILED, signal=11, exit_code=-11), (), ("failed", "", "it was ended by signal 11")),
        (None, FINE, (), ("protocol_error", "", "the plugin ended without an answer")),
        (BROKEN, FINE, (), ("protocol_error", "", "result: it is no object")),
        (BROKEN, FAILED, (), ("protocol_error", "", "result: it is no object")),
        (BROKEN, replace(FAILED, exit_code=3), (), ("failed", "", "")),
        (None, FAILED, (), ("failed", "", "")),
        (says("success"), FAILED, (), ("protocol_error", "", "it says success and exits with 1")),
        (says("failed"), FINE, (), ("protocol_error", "", "it says failed and exits with 0")),
        (says("input_required"), FINE, (), ("protocol_error", "", "it says input_required and exits with 0")),
    ],
)
def test_what_was_seen_counts_before_what_is_said(
    frame: Any, ended: Ended | None, violations: tuple[str, ...], verdict: tuple[str, str, str]
) -> None:
    """A plugin can write any frame and end with any code; it cannot talk itself out of a limit."""
    assert _judge(frame, ended, "", violations) == verdict


def test_a_refusal_is_the_whole_verdict() -> None:
    """Nothing of the plugin has run."""
    assert _judge(None, None, "seccomp: missing", ("a",)) == ("sandbox_unavailable", "", "seccomp: missing")


def test_an_exit_code_says_that_time_ran_out_or_that_nothing_was_run() -> None:
    """Whoever reads an entry by a script goes by it."""
    assert _exit_code("timeout", replace(FINE, exit_code=-9)) == TIMEOUT_EXIT
    assert _exit_code("policy_violation", replace(FINE, exit_code=-9, bit="wall")) == TIMEOUT_EXIT
    assert _exit_code("success", FINE) == 0
    assert _exit_code("sandbox_unavailable", None) == 3


def test_a_description_that_cannot_be_read_describes_nothing() -> None:
    """The others still do."""
    fine = {"path": "a", "kind": "modify"}
    told = ({"changes": [fine, {"path": 5}, "x"]}, {"changes": None}, {"changes": [{**fine, "path": "b"}]})

    assert [one.path for one in _described(told)] == ["a", "b"]


@pytest.mark.parametrize(("answers", "is_asked"), [(0, True), (1, True), (2, False)])
def test_a_plugin_asks_as_often_as_its_manifest_says(answers: int, *, is_asked: bool) -> None:
    """One that asks again and again would keep a person, and the session that waits for the person, for ever."""
    manifest = Manifest(name="p", version="1", api_version="1", supported_extensions=(), isolation=Isolation(prompts=2))
    call = Call(
        plugin=PluginRecord(manifest=manifest, path=Path("/nowhere"), digest=""),
        workspace=Path("/nowhere"),
        files=(),
        answers={str(number): {"a": "x"} for number in range(answers)},
    )

    found = settle(call, frame=says("input_required"), ended=replace(FINE, exit_code=2))

    assert (found.prompt is not None) is is_asked
    if not is_asked:
        assert found.entry is not None
        assert (found.entry.status, found.entry.limit) == ("failed", "prompts")
        assert found.entry.error == "it asked more than 2 times"


def test_a_broken_rule_is_told_of_a_plugin_whose_time_ran_out_as_well() -> None:
    """Row 9 of the contract: it says of the one what it says of the other, in status, files, code and error."""
    manifest = Manifest(name="p", version="1", api_version="1", supported_extensions=())
    call = Call(plugin=PluginRecord(manifest=manifest, path=Path("/p"), digest=""), workspace=Path("/w"), files=("a",))

    entry = settle(call, frame=None, ended=replace(FINE, bit="wall", exit_code=-9), violations=("README.md",)).entry

    assert entry is not None
    assert (entry.status, entry.isolation.exit_code, entry.error) == ("policy_violation", TIMEOUT_EXIT, "timeout")
    assert (entry.files_affected, entry.violations, entry.limit) == (("README.md",),) * 2 + ("timeout_seconds",)


def test_what_a_plugin_says_of_its_files_is_shown_as_text() -> None:
    """Paths and errors of its own making go to terminals and journals."""
    told = {"path": "a\x1b[2J", "status": "failed", "error": "b\n"}
    change = {"path": "c\r", "kind": "modify", "summary": "d\u2028"}
    frame = Frame.model_validate(
        {"result": "success", "per_file": [told, {"path": "x", "status": "described", "changes": [change]}]}
    )

    manifest = Manifest(name="p", version="1", api_version="1", supported_extensions=())
    plugin = PluginRecord(manifest=manifest, path=Path("/p"), digest="")

    call = Call(plugin=plugin, workspace=Path("/w"), files=("a",), dry_run=True)
    outcome = settle(call, frame=frame, ended=FINE)

    assert outcome.entry is not None
    assert outcome.entry.per_file[0] == {"path": "a\\x1b[2J", "status": "failed", "error": "b\\n"}
    assert [(one.path, one.summary) for one in outcome.changes] == [("c\\r", "d\\u2028")]
