"""What `./baton` says where it cannot start: one sentence, the remedy, exit code 2."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

Checkout = Any  # the class of conftest.py, which test folders without __init__.py cannot import
ROOT = Path(__file__).resolve().parents[3]


def last_line(done: "subprocess.CompletedProcess[str]") -> str:
    """Return the sentence; a refusal exits with 2, prints nothing else to read and no traceback."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_python_that_is_too_old(checkout: Checkout) -> None:
    """A SyntaxError three imports deep tells nobody what to install."""
    checkout.add_python("python3", "3.8.10")

    assert last_line(checkout.start()) == (
        "baton: Python 3.8 is too old and PATH has no other; install 3.11 or later, or name one in BATON_PYTHON"
    )


def test_the_launcher_parses_under_python_3_8() -> None:
    """It can refuse an old Python only if that Python can read it."""
    assert ast.parse((ROOT / "baton").read_text(encoding="utf-8"), feature_version=(3, 8))


def test_a_python_without_venv(checkout: Checkout) -> None:
    """Debian and Ubuntu split the module off; the line to type is known."""
    checkout.add_python("python3", "3.11.2", has_venv=False)

    sentence = last_line(checkout.start())

    assert "has no venv module; `apt install python3-venv` brings it" in sentence
    assert "python3.11-venv" in sentence


def test_no_network(checkout: Checkout) -> None:
    """The end of pip's own words, then what to do; not two hundred lines of retries."""
    checkout.add_python("python3", "3.11.2", pip_fails=True)

    done = checkout.start()

    assert (
        last_line(done)
        == "baton: the packages could not be installed; the lines above say why: check the network, then start again"
    )
    shown = [line for line in done.stderr.splitlines() if line.startswith("    ")]
    assert len(shown) == 6
    assert shown[-1] == "    ERROR: Could not find a version that satisfies the requirement"


def test_a_start_after_a_failed_one_begins_anew(checkout: Checkout) -> None:
    """The network comes back; nothing needs to be cleaned up by hand."""
    checkout.add_python("python3", "3.11.2", pip_fails=True)
    checkout.start()
    checkout.add_python("python3", "3.11.2")

    assert checkout.start().returncode == 0


@pytest.mark.parametrize(
    ("version", "reason"), [("3.9.1", "it is Python 3.9.1"), (None, "it does not run")], ids=["too old", "missing"]
)
def test_the_python_that_was_asked_for_does_not_fit(checkout: Checkout, version: str | None, reason: str) -> None:
    """Another one is not taken in silence when one was named."""
    if version:
        checkout.add_python("mine", version)
    mine = str(checkout.bin / "mine")

    assert (
        last_line(checkout.start(BATON_PYTHON=mine))
        == f"baton: BATON_PYTHON={mine}: {reason}; name a Python 3.11 or later"
    )


def test_an_active_environment_that_lacks_something(checkout: Checkout, tmp_path: Path) -> None:
    """Nothing is installed into somebody else's environment; the command to do so is given."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "theirs"], check=True)

    sentence = last_line(checkout.start(VIRTUAL_ENV=str(tmp_path / "theirs")))

    python = tmp_path / "theirs" / "bin" / "python"
    lock = checkout.root / "requirements.lock"
    assert sentence.startswith(f"baton: {python} lacks packaging")
    assert f"run `uv pip install --python {python} --require-hashes -r {lock}`, or `deactivate`" in sentence
    assert not (checkout.root / ".venv").exists()


def test_an_active_environment_with_another_version(checkout: Checkout) -> None:
    """Too old a package is as bad as none, and both versions are named."""
    project = checkout.root / "pyproject.toml"
    project.write_text(project.read_text().replace('"celery>=5.7,<6"', '"celery>=99"'))

    assert "lacks celery>=99 (it has 5." in last_line(checkout.start(VIRTUAL_ENV=sys.prefix))


def test_an_active_environment_that_is_gone(checkout: Checkout, tmp_path: Path) -> None:
    """A shell remembers an environment whose folder was deleted."""
    sentence = last_line(checkout.start(VIRTUAL_ENV=str(tmp_path / "gone")))

    assert (
        sentence
        == f"baton: {tmp_path}/gone/bin/python: No such file or directory; `deactivate`, or unset BATON_PYTHON, and start again"
    )


def test_an_active_environment_that_is_too_old(checkout: Checkout, tmp_path: Path) -> None:
    """An environment of another project may well be of another Python."""
    (tmp_path / "old" / "bin").mkdir(parents=True)
    checkout.add_python("python", "3.9.1")
    (checkout.bin / "python").rename(tmp_path / "old" / "bin" / "python")

    assert "is Python 3.9, too old" in last_line(checkout.start(VIRTUAL_ENV=str(tmp_path / "old")))


def test_a_checkout_that_cannot_be_written(checkout: Checkout) -> None:
    """A read-only image gets a sentence that names the way out."""
    (checkout.root / ".runtime").touch()

    assert "make the checkout whole and writable, or set BATON_NO_BOOTSTRAP=1" in last_line(checkout.start())


def test_a_checkout_without_its_lock(checkout: Checkout) -> None:
    """What cannot be checked by its hash is not installed."""
    checkout.add_uv()
    checkout.start()
    (checkout.root / "requirements.lock").unlink()

    assert "requirements.lock: No such file or directory" in last_line(checkout.start())


def test_an_unknown_bench(checkout: Checkout) -> None:
    """A slip of the finger costs a second, not an environment."""
    (checkout.root / "bench").mkdir()
    for name in ("steps.py", "idle.py", "_tools.py"):
        (checkout.root / "bench" / name).touch()

    assert last_line(checkout.start("bench", "step")) == (
        "baton: bench 'step': there is none; did you mean 'steps'? known: idle, steps"
    )
    assert (
        last_line(checkout.start("bench"))
        == "baton: bench: which one? known: idle, steps; run `baton bench NAME --quick`"
    )
    assert checkout.calls == []
