"""What `./baton` becomes once it has an environment: the CLI, the tests or a bench, as the very same process."""

import fcntl
import json
import signal
import sys
from typing import Any

import pytest

Checkout = Any  # the class of conftest.py, which test folders without __init__.py cannot import


@pytest.fixture(autouse=True)
def ready(checkout: Checkout) -> None:
    """Make the environment, so that each test sees a second start."""
    checkout.add_uv()
    checkout.start()


def test_arguments_and_folder_reach_the_command_line(checkout: Checkout) -> None:
    """`../baton submit -f in.json` must find in.json where the caller stands."""
    seen = checkout.seen("submit", "code_review", "--", "a b", "")

    assert seen["args"] == ["submit", "code_review", "--", "a b", ""]
    assert seen["cwd"] == str(checkout.command()["cwd"])
    assert seen["prefix"] == str(checkout.root / ".venv")


def test_the_callers_folder_shadows_nothing(checkout: Checkout) -> None:
    """Baton's packages have plain names; a caller with a `workers` folder must not start his own code."""
    command = checkout.command()
    (command["cwd"] / "orchestrator").mkdir()
    (command["cwd"] / "orchestrator" / "__init__.py").write_text("raise SystemExit('theirs')")

    seen = checkout.seen(PYTHONPATH=str(command["cwd"]))

    assert seen["file"].startswith(str(checkout.root))
    assert "" not in seen["path"]
    assert seen["path"].index(str(checkout.root)) < seen["path"].index(str(command["cwd"]))


@pytest.mark.parametrize("code", [0, 1, 4, 5])
def test_exit_codes_pass_through(checkout: Checkout, code: int) -> None:
    """Scripts tell "waits for a person" from "failed" by the code."""
    assert checkout.start("exit", str(code)).returncode == code


def test_it_becomes_the_command(checkout: Checkout) -> None:
    """A supervisor's SIGTERM must reach the worker, not a launcher in front of it."""
    process = checkout.open()

    out, _ = process.communicate()

    assert json.loads(out)["pid"] == process.pid


def test_a_bench_gets_its_arguments(checkout: Checkout) -> None:
    """`./baton bench steps --quick` is the one way to run a bench."""
    (checkout.root / "bench").mkdir()
    (checkout.root / "bench" / "_tools.py").write_text("WORD = 'tools'")
    (checkout.root / "bench" / "steps.py").write_text(
        "import sys, _tools, bench._tools\nprint(_tools.WORD, sys.argv[1:])"
    )

    assert checkout.start("bench", "steps", "--quick").stdout == "tools ['--quick']\n"


def test_chaos_gets_its_arguments(checkout: Checkout) -> None:
    """It runs where the caller stands, so that `--json out.json` lands there."""
    (checkout.root / "tests" / "chaos").mkdir(parents=True)
    (checkout.root / "tests" / "chaos" / "__main__.py").write_text("import os, sys\nprint(os.getcwd(), sys.argv[1:])")

    out = checkout.start("chaos", "--seed", "3").stdout

    assert out == f"{checkout.command()['cwd']} ['--seed', '3']\n"


def test_the_tests_run_in_the_checkout(checkout: Checkout) -> None:
    """`./baton test` means this checkout's tests, wherever it is typed; its arguments are pytest's."""
    (checkout.root / "tests").mkdir()
    (checkout.root / "tests" / "test_one.py").write_text("import os\ndef test_one(): print(os.getcwd())")

    done = checkout.start("test", "-q", "-s", "-p", "no:cacheprovider", "tests/test_one.py", VIRTUAL_ENV=sys.prefix)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0].startswith(str(checkout.root))
    assert done.stdout.splitlines()[-1].startswith("1 passed in ")


def test_a_failing_test_fails_the_command(checkout: Checkout) -> None:
    """Continuous integration looks at nothing but this code."""
    (checkout.root / "tests").mkdir()
    (checkout.root / "tests" / "test_one.py").write_text("def test_one(): assert 0")

    assert checkout.start("test", "-p", "no:cacheprovider", "tests/test_one.py", VIRTUAL_ENV=sys.prefix).returncode == 1


def test_an_interrupt_during_the_first_start_is_no_traceback(checkout: Checkout) -> None:
    """Ctrl-C in an install is an everyday act."""
    (checkout.root / "uv.lock").write_text("")
    checkout.add_uv(hangs=True)
    process = checkout.open()
    assert checkout.fifo.read_text() == "started"

    process.send_signal(signal.SIGINT)

    _, err = process.communicate()
    assert process.returncode == 130
    assert err.endswith("baton: interrupted; the next start makes .venv anew\n")


def test_an_interrupt_where_nothing_is_made_threatens_nobody(checkout: Checkout) -> None:
    """Who stops a command in its first moment has an environment that is whole, and is not told otherwise."""
    (checkout.root / "uv.lock").write_text("")
    with (checkout.root / ".runtime" / "environment.lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = checkout.open()
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()

    assert first == "baton: another start is setting up .venv; waiting for it\n"
    assert (process.returncode, err) == (130, "\nbaton: interrupted\n")
