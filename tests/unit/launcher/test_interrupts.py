"""Ctrl-C while Python still starts or reads modules: no traceback, and the exit code of a process that was interrupted."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LAUNCHER = [sys.executable, str(ROOT / "baton"), "--version"]
SCRIPT = [
    sys.executable,
    "-P",
    "-c",
    "import sys; from orchestrator.interfaces.cli.start import main; sys.exit(main())",
]
#: The signal comes in the middle of an import: of the first library that the command line reads, or of what Python runs before anything.
INTERRUPT = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
OF_THE_COMMAND_LINE = "import sys\nif 'orchestrator.interfaces.cli.start' in sys.orig_argv:\n    exec({code!r})\n"


def run(command: list[str], folder: Path, *, is_ignored: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command that finds the folder's modules before all others, and starts with SIGINT ignored or not, however pytest did."""
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "BATON_NO_BOOTSTRAP": "1",
        "BATON_PYTHON": sys.executable,
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
    }
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if is_ignored else signal.default_int_handler)
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("command", [LAUNCHER, SCRIPT], ids=["launcher", "console script"])
def test_an_interrupt_among_the_imports_is_no_traceback(tmp_path: Path, command: list[str]) -> None:
    """The person has changed their mind, and knows it."""
    (tmp_path / "click.py").write_text(INTERRUPT, encoding="utf-8")

    done = run(command, tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_interrupt_while_python_itself_starts_is_no_traceback(tmp_path: Path) -> None:
    """The launcher holds it back over the start of the Python that runs the command."""
    (tmp_path / "sitecustomize.py").write_text(OF_THE_COMMAND_LINE.format(code=INTERRUPT), encoding="utf-8")

    done = run(LAUNCHER, tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("command", [LAUNCHER, SCRIPT], ids=["launcher", "console script"])
def test_without_an_interrupt_the_command_hears_them_as_ever(tmp_path: Path, command: list[str]) -> None:
    """Nothing is left held back or ended at once, and what was ignored stays so: `baton COMMAND &` in a script."""
    look = (
        "import signal, sys\n"
        "def show(*_):\n"
        "    print(signal.getsignal(signal.SIGINT).__class__.__name__, signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
        "    return 0\n"
        "sys.modules['orchestrator.interfaces.cli.main'] = type(sys)('main')\n"
        "sys.modules['orchestrator.interfaces.cli.main'].main = show\n"
    )
    (tmp_path / "sitecustomize.py").write_text(look, encoding="utf-8")

    heard, ignored = run(command, tmp_path), run(command, tmp_path, is_ignored=True)

    assert (heard.stdout, ignored.stdout) == ("builtin_function_or_method set()\n", "Handlers set()\n")
