"""What the command line refuses before it connects: one line, the remedy, the exit code of its kind."""

import json
from pathlib import Path

import pytest

from orchestrator.contracts.errors import (
    AppInvalid,
    BatonError,
    InvalidOverrides,
    KeyConflict,
    NotPermitted,
    NotWaiting,
    PhaseRefused,
    SessionNotFound,
    StoreUnfit,
    StoreUnreachable,
    UnknownApp,
)
from orchestrator.interfaces.cli import connect
from orchestrator.interfaces.cli.main import exit_code_of, main
from orchestrator.telemetry import hide


@pytest.fixture(autouse=True)
def settings_are_read_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test is a process of its own as far as settings go; none finds a server."""
    monkeypatch.setenv("BATON_STATE_DIR", str(tmp_path / "state"))
    connect.settings.cache_clear()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nosuch"], "no such command 'nosuch'; known: "),
        (["lst"], "no such command 'lst'; did you mean 'list'? see `baton --help`"),
        (["show"], "Missing argument 'ID'; see `baton show --help`"),
        (
            ["tokens", "new", "ada"],
            "Missing option '--role'. Choose from: viewer, submitter, approver, operator; see `baton tokens new --help`",
        ),
        (["apps", "check", "/nowhere"], "apps check: /nowhere is no folder; name an app's folder, or a folder of them"),
        (["runbook", "show", "no_worker"], "runbook 'no_worker': there is none; did you mean 'no_workers'?"),
        (["show", "x"], "session id 'x': not an id; expected PREFIX-YYYYMMDD-NNN"),
        (["approve", "SES-20260101-01"], "session id 'SES-20260101-01': not an id"),
        (["dead", "replay", "SES-20260101-001", "y"], "session id 'y': not an id"),
        (["dead", "replay"], "dead replay: give ids, or --all"),
        (["dead", "replay", "SES-20260101-001", "--reason", "x"], "option --reason: it goes with --all"),
        (["list", "--since", "soon"], "'soon' is no time; write 15m, 2h, 3d, or 2026-11-20T08:00"),
        (["list", "--since", f"{'9' * 30}w"], "is over a hundred years; write less"),
        (["tokens", "new", "ada", "--role", "viewer", "--expires", "99999999d"], "is over a hundred years; write less"),
        (["archive", "purge", "--older-than", f"{'9' * 20}d", "--yes"], "is over a hundred years; write less"),
        (["scale", "simulate", "--rate", "nan"], "nan is no number; write e.g. 20"),
        (["scale", "simulate", "--rate", "inf"], "inf is no number; write e.g. 20"),
        (["list", "--phase", "dead", "--status", "x"], "only an ended session has one"),
        (
            ["answer", "SES-20260101-001"],
            "answer: nothing is said; give TEXT, --value, --field, --verdict, --escalate or --stop",
        ),
        (["answer", "SES-20260101-001", "--stop", "--escalate"], "they exclude each other"),
        (["answer", "SES-20260101-001", "a", "--value", "1"], "they exclude each other"),
        (["answer", "SES-20260101-001", "a", "--team", "t"], "option --team: it goes with --escalate"),
        (["approve", "SES-20260101-001", "--as", " "], "actor: a name has 1 to 200 printable characters"),
        (["signal", "SES-20260101-001", ""], "a signal's name has 1 to 200 characters"),
        (["drain"], "drain: name workers, or give --all"),
        (["submit", "nosuch"], "app 'nosuch': not loaded; known: "),
        (["submit", "--text", "x", "--repo", "y"], "argument '--repo': the app comes first"),
        (["submit", "code_review", "-x"], "argument '-x': not understood"),
        (["submit", "code_review", "extra"], "argument 'extra': not understood; an option begins with --"),
        (["submit", "code_review", "--set", "a"], "option --set 'a': no `=` in it; write KEY=VALUE"),
        (["submit", "code_review", "--state", "{"], "option --state: not JSON"),
        (["submit", "code_review", "--state", "[1]"], "option --state: not an object"),
        (["submit", "code_review", "--state", "@/nonexistent/x"], "cannot be read (No such file or directory)"),
        (["submit", "code_review", "-f", "/nonexistent/x"], "/nonexistent/x: cannot be read"),
        (["submit", "code_review", "-f", "x", "--text", "y"], "options --file and --text: each line of the file says"),
        (["submit", "code_review", "-f", "x", "--repo", "y"], "options --file and --repo: each line of the file says"),
        (["submit", "code_review", "--repo", "a", "--repo", "b"], "option --repo: given twice"),
        (["submit", "code_review", "--timeout", "long"], "'long' is no duration; write seconds, or 500ms, 15m, 2h, 3d"),
        (
            ["submit", "code_review", "--set", "repo=x", "--set", "commit=y", "--key", "monitor/disk/2026-11-21"],
            "keys of this form are Baton's own",
        ),
        (["fork", "SES-20260101-001", "--key", "trigger/alerts/17"], "keys of this form are Baton's own"),
        (["worker", "--queues", "stps"], "option --queues 'stps': no such queue; did you mean 'steps'?"),
        (["worker", "--queues", ","], "option --queues: it names none"),
        (["demo", "--app", "nosuch"], "app 'nosuch': not loaded"),
        (["demo", "--rep", "x"], "option --rep: no demo has it; did you mean '--repo'?"),
        (["config", "show", "scheduller"], "config show 'scheduller': no such setting; did you mean 'scheduler'?"),
        (["apps", "new", "My-App"], "app name 'My-App': use up to 64 lower-case letters"),
        (["list", "-o", "xml"], "'xml' is not one of 'table', 'json'"),
    ],
    ids=lambda value: "-".join(value)[:50] if isinstance(value, list) else None,
)
def test_a_wrong_request_is_refused_with_code_2(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is connected, so nothing can have changed; the line says what to do."""
    monkeypatch.setenv("BATON_REDIS_URL", "redis://127.0.0.1:1/0")

    code = main(args)

    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("baton: ")
    assert message in err


def test_the_error_object_names_type_message_and_code(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the options themselves could not be parsed."""
    codes = [main(["show", "x", "-o", "json"]), main(["list", "--nosuch", "--output=json"])]

    out, _ = capsys.readouterr()
    decoder = json.JSONDecoder()
    first, end = decoder.raw_decode(out)
    second, _ = decoder.raw_decode(out[end:].lstrip())
    assert codes == [2, 2]
    assert first["error"] == {
        "type": "InvalidSessionId",
        "message": "session id 'x': not an id; expected PREFIX-YYYYMMDD-NNN",
        "exit_code": 2,
    }
    assert second["error"]["type"] == "UsageError"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownApp("x", []), 2),
        (InvalidOverrides("x"), 2),
        (SessionNotFound("SES-20260101-001"), 3),
        (StoreUnreachable("x"), 5),
        (StoreUnfit("x"), 1),
        (AppInvalid("x", ["y"]), 1),
        (KeyConflict("k", "SES-20260101-001"), 1),
        (NotWaiting("x"), 1),
        (NotPermitted("x"), 1),
        (PhaseRefused("x"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BatonError) else None,
)
def test_an_errors_class_decides_its_exit_code(error: BatonError, code: int) -> None:
    """Scripts branch on the code; it must not depend on a message."""
    assert exit_code_of(error) == code


def test_broken_settings_are_told_with_their_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistyped variable is named, not ignored."""
    monkeypatch.setenv("BATON_LEASE_SECONDS", "often")

    code = main(["list"])

    assert code == 1
    assert "environment BATON_LEASE_SECONDS" in capsys.readouterr().err


def test_without_a_server_the_remedy_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The first thing that goes wrong for a new user."""
    code = main(["list"])

    assert code == 5
    assert "no server runs on" in (err := capsys.readouterr().err)
    assert "`baton up`, or set BATON_REDIS_URL" in err


def test_an_interrupt_is_130_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C is an answer, not an accident."""

    def interrupted(**_: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(connect, "find_store", interrupted)

    assert main(["list"]) == 130
    assert capsys.readouterr().err.strip() == "baton: interrupted"


def test_a_refusal_shows_no_secret_that_was_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither on the terminal nor in the object that a program keeps."""
    hide("loaded_and_hidden_2")

    assert main(["submit", "loaded_and_hidden_2", "-o", "json"]) == 2
    said = capsys.readouterr()
    assert "loaded_and_hidden_2" not in said.out + said.err
    assert "app '[hidden]': not loaded" in said.err
