"""How `./baton` makes, keeps and mends its environment."""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

Checkout = Any  # the class of conftest.py, which test folders without __init__.py cannot import


def test_a_first_start_makes_the_environment_and_runs(checkout: Checkout) -> None:
    """A fresh machine with python3 and this repository is all that is asked for."""
    checkout.add_uv()

    done = checkout.start("list", "-o", "json")

    assert done.returncode == 0
    assert re.fullmatch(r"baton: installing .* with uv and Python 3\.11\.9 \(.*\) \.\.\. \d+\.\d s\n", done.stderr)
    assert checkout.calls == [
        f"uv sync --frozen --no-install-project --all-extras --compile-bytecode --python {checkout.bin / 'python3'}"
    ]


def test_a_second_start_does_nothing_but_run(checkout: Checkout) -> None:
    """Whoever starts Baton a hundred times a day waits for it once."""
    checkout.add_uv()
    checkout.start()

    done = checkout.start()

    assert done.stderr == ""
    assert len(checkout.calls) == 1


def test_a_changed_lock_is_synced_in_place(checkout: Checkout) -> None:
    """After a pull that moves a dependency, the next start has it."""
    checkout.add_uv()
    checkout.start()
    inode = (checkout.root / ".venv").stat().st_ino
    with (checkout.root / "uv.lock").open("a") as file:
        file.write("\n")

    checkout.start()

    assert checkout.calls[1:] == ["uv sync --frozen --no-install-project --all-extras --compile-bytecode"]
    assert (checkout.root / ".venv").stat().st_ino == inode


def test_pip_makes_the_same_environment_where_uv_is_missing(checkout: Checkout) -> None:
    """uv is faster, not required; every file is checked by its hash either way."""
    done = checkout.start()

    assert done.returncode == 0, done.stderr
    venv, pip = checkout.calls
    assert venv == f"venv {checkout.bin / 'python3'}"
    assert pip.endswith(f"--no-deps --require-hashes -r {checkout.root / 'requirements.lock'}")
    assert [line.split(" ... ")[0] for line in done.stderr.splitlines()] == [
        f"baton: making .venv with Python 3.11.9 ({checkout.bin / 'python3'})",
        "baton: installing the locked packages into .venv with pip",
    ]


def test_pip_is_tried_where_uv_fails(checkout: Checkout) -> None:
    """A uv that is too old for the lock, or knows no mirror, does not stop a start that pip can make."""
    checkout.add_uv(fails=True)

    done = checkout.start()

    assert done.returncode == 0, done.stderr
    assert "    error: the index does not answer\nbaton: trying pip instead\n" in done.stderr


def test_a_killed_start_leaves_nothing_that_counts(checkout: Checkout) -> None:
    """Half an environment fails later and elsewhere, where nobody looks for the cause."""
    checkout.add_uv(hangs=True)
    process = checkout.open()
    assert checkout.fifo.read_text() == "started"
    uv = find_child(process.pid)
    process.kill()
    process.communicate()
    (checkout.root / ".venv").mkdir()
    (checkout.root / ".venv" / "half").touch()
    uv_is_gone(uv)
    checkout.add_uv()

    done = checkout.start()

    assert done.returncode == 0
    assert done.stderr.startswith("baton: making .venv again: an earlier start did not finish\n")
    assert not (checkout.root / ".venv" / "half").exists()


def find_child(pid: int) -> int:
    """Return the process that the launcher runs."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def uv_is_gone(pid: int) -> None:
    """End the orphaned stub and wait until it is no more: it holds the lock as long as it lives."""
    handle = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([handle], [], [], 10)
    os.close(handle)


def test_two_first_starts_install_once(checkout: Checkout) -> None:
    """Two terminals, or a demo and a test run in CI, must not write into one folder at once."""
    checkout.add_uv(waits=True)
    first, second = checkout.open(), checkout.open()
    waiting = read_until_one_waits(first, second)

    checkout.fifo.write_text("go on")

    assert [process.wait() for process in (first, second)] == [0, 0]
    assert waiting == "baton: another start is setting up .venv; waiting for it\n"
    assert len(checkout.calls) == 1
    for process in (first, second):
        process.communicate()


def read_until_one_waits(*processes: Any) -> str:
    """Return what the process says that waits for the other; the other one's line is not finished yet."""
    texts = {process.stderr.fileno(): "" for process in processes}
    while not any("waiting" in text for text in texts.values()):
        ready, _, _ = select.select(list(texts), [], [])
        for number in ready:
            texts[number] += os.read(number, 4096).decode()
    return next(text for text in texts.values() if "waiting" in text)


def test_a_copied_checkout_makes_an_environment_of_its_own(checkout: Checkout, tmp_path: Path) -> None:
    """A copied .venv still points at the folder it came from, and would run the code there."""
    checkout.add_uv()
    checkout.start()
    shutil.copytree(checkout.root, tmp_path / "copy", symlinks=True)
    checkout.root = tmp_path / "copy"

    seen = checkout.seen()

    assert len(checkout.calls) == 2
    assert seen["file"].startswith(str(tmp_path / "copy"))


def test_a_vanished_interpreter_is_replaced(checkout: Checkout) -> None:
    """An upgrade of the system's Python leaves a .venv whose links lead nowhere."""
    checkout.add_uv()
    checkout.start()
    for link in (checkout.root / ".venv" / "bin").glob("python*"):
        link.unlink()
        link.symlink_to("/nowhere/python")

    done = checkout.start()

    assert done.returncode == 0
    assert "making .venv again: its Python does not run, or is too old" in done.stderr


def test_another_python_can_be_asked_for(checkout: Checkout) -> None:
    """Who has three Pythons wants to say which."""
    checkout.add_python("mine", "3.12.4")

    done = checkout.start(BATON_PYTHON=str(checkout.bin / "mine"))
    again = checkout.start()
    without = checkout.start(BATON_PYTHON="")

    assert "making .venv with Python 3.12.4" in done.stderr
    assert (again.stderr, without.stderr) == ("", "")


def test_asking_for_another_python_makes_the_environment_again(checkout: Checkout) -> None:
    """The answer to "does it run on 3.13" must not come from 3.11."""
    checkout.start()
    checkout.add_python("mine", "3.13.1")

    done = checkout.start(BATON_PYTHON=str(checkout.bin / "mine"))

    assert "making .venv again: BATON_PYTHON asks for Python 3.13.1" in done.stderr


def test_an_old_python_finds_a_newer_one(checkout: Checkout) -> None:
    """`python3` is often the oldest Python of a machine, not the only one."""
    checkout.add_python("python3", "3.8.10")
    checkout.add_python("python3.12", "3.12.4")

    done = checkout.start()

    assert done.returncode == 0, done.stderr
    assert "making .venv with Python 3.12.4" in done.stderr


def test_a_python_with_venv_is_preferred_to_one_without(checkout: Checkout) -> None:
    """Before anybody is asked to install something, what is there is looked through."""
    checkout.add_python("python3", "3.11.2", has_venv=False)
    checkout.add_python("python3.13", "3.13.1")

    assert "making .venv with Python 3.13.1" in checkout.start().stderr


def test_an_active_environment_that_has_everything_is_used(checkout: Checkout) -> None:
    """Whoever activated an environment meant it; nothing is made or changed."""
    seen = checkout.seen("list", VIRTUAL_ENV=sys.prefix)

    assert seen["prefix"] == sys.prefix
    assert seen["file"].startswith(str(checkout.root))
    assert not (checkout.root / ".venv").exists()


def test_bootstrap_can_be_switched_off(checkout: Checkout) -> None:
    """An image that brings its own environment must never begin to install at start."""
    seen = checkout.seen(BATON_NO_BOOTSTRAP="1", BATON_PYTHON=sys.executable)

    assert seen["prefix"] == sys.prefix
    assert not (checkout.root / ".venv").exists()


def test_our_own_environment_may_be_the_active_one(checkout: Checkout) -> None:
    """After `. .venv/bin/activate` everything goes on as before, a changed lock included."""
    checkout.add_uv()
    checkout.start()
    with (checkout.root / "uv.lock").open("a") as file:
        file.write("\n")

    done = checkout.start(VIRTUAL_ENV=str(checkout.root / ".venv"))

    assert done.returncode == 0
    assert len(checkout.calls) == 2


def test_the_environment_has_a_baton_command(checkout: Checkout) -> None:
    """Inside an activated .venv `baton list` works from any folder."""
    checkout.add_uv()
    checkout.start()
    command = checkout.command()

    done = subprocess.run(
        [checkout.root / ".venv" / "bin" / "baton", "list"],
        cwd=command["cwd"],
        env=command["env"],
        capture_output=True,
        check=False,
    )

    assert b'"args": ["list"]' in done.stdout
