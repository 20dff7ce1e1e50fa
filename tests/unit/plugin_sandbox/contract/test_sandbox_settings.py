"""config/sandbox.yaml: every line is the built-in default but what is granted, and what is wrong in one is said with its line."""

import shutil
import sys
from pathlib import Path

import pytest

from plugin_sandbox.policy import is_protected
from plugin_sandbox.settings import SandboxSettings, SettingsInvalid, load_settings

SHIPPED = Path(__file__).parents[4] / "config" / "sandbox.yaml"


def test_the_shipped_file_is_the_defaults() -> None:
    """Who reads the file must read what holds."""
    assert load_settings(None) == SandboxSettings()
    assert load_settings(SHIPPED) == SandboxSettings(programs={"ruff": "ruff"})


@pytest.mark.parametrize("path", [".git/hooks/pre-commit", ".git/config", ".git", ".GIT/index"])
def test_what_git_would_execute_is_protected_without_a_word(path: str) -> None:
    """Whoever asks git about a workspace next does it outside, with rights of their own."""
    assert is_protected(path, SandboxSettings().protected)


def test_a_program_by_its_bare_name_is_beside_the_interpreter_or_on_path() -> None:
    """A file of settings that is shipped cannot know where an environment lies."""
    granted = SandboxSettings(
        programs={"ruff": "ruff", "sh": "sh", "own": "/opt/own", "none": "no-such-program"}
    ).programs

    beside = Path(sys.executable).parent / "ruff"
    assert granted["ruff"] == (str(beside) if beside.exists() else shutil.which("ruff"))
    assert granted["sh"] == shutil.which("sh")
    assert granted["own"] == "/opt/own"
    assert granted["none"] == str(Path(sys.executable).parent / "no-such-program")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sandbox:\n  teir: strict\n", ":2: teir: unknown; did you mean 'tier'?"),
        ("sandbox:\n  tier: loose\n", ":2: tier: "),
        (
            "sandbox:\n  slots: 1\n  ceilings:\n    memory: 5\n",
            ":4: ceilings.memory: unknown; did you mean 'memory_mb'?",
        ),
        ("sandbox:\n  slots: 0\n", ":2: slots: "),
        ("sandbox:\n  allow_degraded: [seccmp]\n", "did you mean 'seccomp'?"),
        ("tier: strict\n", ":1: everything belongs under the one key 'sandbox'"),
        ("sandbox: [", "no YAML"),
        ("- a\n", ":1: everything belongs under the one key 'sandbox'"),
        ("sandbox: 5\n", ":1: everything belongs under the one key 'sandbox'"),
        ("sandbox: {}\nmore: 1\n", ":1: everything belongs under the one key 'sandbox'"),
        ("sandbox:\n  slots: 1\n  ceilings: 5\n", ":3: ceilings: "),
        ("sandbox:\n  ceilings:\n    zzz: 5\n", ":3: ceilings.zzz: unknown; known: timeout_seconds, "),
        ("sandbox:\n  slots: 1\n  hosts: [1]\n", ":3: hosts.0: "),
        ("sandbox:\n  <<: {slots: 0}\n", ":1: slots: "),  # a key that is merged in has no line of its own
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    """An operator mends it without reading our code."""
    path = tmp_path / "sandbox.yaml"
    path.write_text(text)

    with pytest.raises(SettingsInvalid) as error:
        load_settings(path)

    assert str(error.value).startswith(str(path))
    assert told in str(error.value)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    """Not a traceback."""
    with pytest.raises(SettingsInvalid, match=r"nothing\.yaml: cannot be read"):
        load_settings(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("text", ["", "# nothing\n", "sandbox:\n", "{}\n", "sandbox: null\n"])
def test_a_file_that_says_nothing_changes_nothing(tmp_path: Path, text: str) -> None:
    """As none at all."""
    path = tmp_path / "sandbox.yaml"
    path.write_text(text)

    assert load_settings(path) == SandboxSettings()


def test_a_state_folder_is_a_path(tmp_path: Path) -> None:
    """YAML has no word for one."""
    path = tmp_path / "sandbox.yaml"
    path.write_text(f"sandbox:\n  state_dir: {tmp_path}\n  preload: [json]\n")

    assert load_settings(path) == SandboxSettings(state_dir=tmp_path, preload=("json",))
