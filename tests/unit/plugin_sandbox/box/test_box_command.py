"""The command line of the sandbox: what it refuses before it runs anything, and what it shows of a run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from plugin_sandbox.command import UNAVAILABLE, USAGE, main
from plugin_sandbox.model import Call

MakeCall = Callable[..., Call]

ASK = """
        from plugin_sandbox.api import PluginInputRequired
        given = ctx.variables.get("__extra_inputs__", {})
        if "unit" not in given:
            raise PluginInputRequired([{"id": "unit"}], "which unit?")
        path.write_text(given["unit"] + ctx.variables["mark"])
        ctx.log.warning("written")
"""
OUTSIDE = """
        (ctx.dst_root / "notes.md").write_text("x")
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A file of settings with a state folder of its own."""
    path = tmp_path / "sandbox.yaml"
    path.write_text(f"sandbox:\n  state_dir: {tmp_path / 'state'}\n  preload: [json]\n")
    return str(path)


def words(call: Call, config: str, *more: str) -> list[str]:
    """Return the command that runs a plugin over its workspace."""
    return ["run", str(call.plugin.path), "--workspace", str(call.workspace), "--config", config, *more]


def test_a_run_is_shown_with_what_it_changed_and_used(
    make_call: MakeCall, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its logs go where they disturb no script."""
    call = make_call(ASK)
    (call.workspace / "other.bin").write_text("not the plugin's")
    (call.workspace / "link.txt").symlink_to("data.txt")

    asked = main(words(call, config, "--vars", '{"mark": "!"}'))
    question = capsys.readouterr().out
    done = main(words(call, config, "--vars", '{"mark": "!"}', "--answers", '{"unit": "mm"}', "--file", "data.txt"))
    shown = capsys.readouterr()

    assert (asked, done) == (0, 0)
    assert question == "probe asks: which unit?\nanswer with --answers: unit (string)\n"
    assert shown.out.splitlines()[:2] == ["probe 1.0: success", "  modify data.txt"]
    assert shown.out.splitlines()[-1].startswith("  tier strict, ")
    assert "WARNING  written" in shown.err
    assert (call.workspace / "data.txt").read_text() == "mm!"


def test_a_run_is_told_to_programs_as_json(
    make_call: MakeCall, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A question in the place of an entry; a dry run publishes nothing."""
    call = make_call(ASK)
    main(words(call, config, "-o", "json"))
    prompt = json.loads(capsys.readouterr().out)
    main(words(call, config, "-o", "json", "--dry-run"))
    entry = json.loads(capsys.readouterr().out)

    assert (prompt["reason"], [one["id"] for one in prompt["fields"]]) == ("which unit?", ["unit"])
    assert (entry["status"], entry["per_file"][0]["status"]) == ("skipped", "described")
    assert (call.workspace / "data.txt").read_text() == "initial\n"


def test_a_failure_says_why_and_which_limit(
    make_call: MakeCall, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what it may not change; the command itself has done what it was asked."""
    codes = [
        main(words(make_call(body, timeout_seconds=limit), config))
        for body, limit in (("raise PluginError('no')", 5), ("while True: pass", 1))
    ]
    kept = make_call(OUTSIDE)
    (kept.plugin.path / "manifest.yml").write_text(
        (kept.plugin.path / "manifest.yml").read_text().replace("isolation:", "writes: ['*.txt']\nisolation:")
    )
    codes.append(main(words(kept, config)))
    shown = capsys.readouterr().out

    assert codes == [0, 0, 0]
    assert "probe 1.0: failed\n  error: no\n" in shown
    assert "probe 1.0: timeout (timeout_seconds)\n" in shown
    assert "probe 1.0: policy_violation\n  may not be changed: notes.md\n" in shown


def test_without_a_sandbox_nothing_is_run_and_its_code_says_so(
    make_call: MakeCall, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script must not take it for a plugin's failure."""
    config = tmp_path / "broken.yaml"
    config.write_text(f"sandbox:\n  state_dir: {tmp_path / 'state'}\n  python: /nowhere/python\n")

    assert main(words(make_call(""), str(config))) == UNAVAILABLE
    assert "sandbox_unavailable" in capsys.readouterr().out
    assert main(["doctor", "--config", str(config)]) == UNAVAILABLE
    assert "tier none: plugins are refused" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--file", "../sandbox.yaml"], "--file: ../sandbox.yaml is no file below "),
        (["--file", "gone.txt"], "--file: gone.txt is no file below "),
        (["--vars", "{"], "--vars: no JSON ("),
        (["--answers", "[1]"], "--answers: list is no object; give {...}"),
        (["--workspace", "/nowhere"], "--workspace: /nowhere is no folder; name one"),
        (["--config", "/nowhere.yaml"], "/nowhere.yaml: cannot be read ("),
        (["--allow-degraded", "seccmp"], "--allow-degraded: "),
        (["--tier", "standard", "--allow-degraded", "seccomp", "--vars", "5"], "--vars: int is no object; give {...}"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_run(
    make_call: MakeCall, config: str, change: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one sentence, with the code for bad usage."""
    assert main(words(make_call(""), config, *change)) == USAGE
    assert capsys.readouterr().err.startswith(f"baton: {said}")


def test_a_folder_that_is_no_plugin_is_refused(tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By the name that was given."""
    assert main(["run", str(tmp_path), "--workspace", str(tmp_path), "--config", config]) == USAGE
    assert capsys.readouterr().err == f"baton: {tmp_path}: missing manifest.yml\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required"),
        (["run"], "PLUGIN_DIR"),
        (["doctor", "--tier", "x"], "invalid choice"),
    ],
)
def test_a_command_that_is_none_says_where_help_is(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As argparse does, in one line."""
    with pytest.raises(SystemExit) as left:
        main(words)
    told = capsys.readouterr().err

    assert left.value.code == USAGE
    assert told.startswith("baton: ")
    assert said in told
    assert told.count("\n") == 1
    assert "--help" in told


def test_a_doctor_is_shown_and_told(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same findings to people and to programs."""
    assert main(["doctor", "--config", config, "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["doctor", "--config", config]) == 0
    shown = capsys.readouterr().out

    assert f"tier {found['tier']}" in shown.splitlines()[0]
    assert all(f"  {layer:18} " in shown for layer in found["layers"])
    assert all(f"  canary {name:18} stopped" in shown for name in found["canaries"])
    assert shown.count("  to do: ") == len(found["remedies"])


def test_the_schema_is_printed_and_attacks_are_handed_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither needs settings."""
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"]
    with pytest.raises(SystemExit):
        main(["attack", "--help"])
    assert "attack" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["zzz"], "baton: --only: no attack is called 'zzz'; known: "),
        (
            ["read_etc_passwd", "fork_bmob"],
            "baton: --only: no attack is called 'fork_bmob'; did you mean 'fork_bomb'?\n",
        ),
    ],
)
def test_an_attack_that_is_none_is_refused(names: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also beside one that is: a suite that leaves one out would look like one that was stopped."""
    assert main(["attack", *(f"--only={name}" for name in names)]) == USAGE
    assert capsys.readouterr().err.startswith(said)
