"""A checkout of its own for the launcher, with stubs where it would reach for the network.

The launcher runs for real, as a process. What it finds on PATH are stand-ins that keep to the same interface:
`uv` makes a .venv without packages, a Python's `-m venv` puts a stub of pip into it, and both write down how they
were called. The CLI is a file that prints where and how it runs.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
BASE = os.path.realpath(getattr(sys, "_base_executable", sys.executable))

CLI = """
import json, os, signal, sys
if sys.argv[1:2] == ["exit"]:
    sys.exit(int(sys.argv[2]))
print(json.dumps({"args": sys.argv[1:], "cwd": os.getcwd(), "path": sys.path, "pid": os.getpid(), "file": __file__,
                  "python": sys.executable, "prefix": sys.prefix}))
"""

#: What a venv is at its least: a link to a Python beside a pyvenv.cfg. `python -m venv` takes ten times as long.
MAKE_VENV = """
def make_venv(folder):
    site = os.path.join(folder, "lib", "python%d.%d" % sys.implementation.version[:2], "site-packages")
    os.makedirs(site)
    os.mkdir(os.path.join(folder, "bin"))
    os.symlink({base!r}, os.path.join(folder, "bin", "python"))
    with open(os.path.join(folder, "pyvenv.cfg"), "w") as file:
        file.write("home = " + os.path.dirname({base!r}))
    return site
"""

UV = """#!{base}
import os, sys
{make_venv}
def log(line):
    with open({log!r}, "a") as file:
        file.write(line + "\\n")
log("uv " + " ".join(sys.argv[1:]))
if {hangs!r}:
    with open({fifo!r}, "w") as file:
        file.write("started")
    import signal
    signal.pause()
if {fails!r}:
    sys.exit("error: the index does not answer")
venv = os.environ["UV_PROJECT_ENVIRONMENT"]
if not os.path.exists(venv):
    make_venv(venv)
if {waits!r}:
    open({fifo!r}).read()
"""

PYTHON = """#!{base}
import os, sys
{make_venv}
def log(line):
    with open({log!r}, "a") as file:
        file.write(line + "\\n")
args = sys.argv[1:]
if args[:2] == ["-I", "-c"]:
    print({version!r}, {path!r}, {has_venv!r}, False, sep="\\n")
elif args[:3] == ["-I", "-m", "venv"]:
    log("venv " + {path!r})
    site = make_venv(args[3])
    os.mkdir(os.path.join(site, "pip"))
    open(os.path.join(site, "pip", "__init__.py"), "w").close()
    with open(os.path.join(site, "pip", "__main__.py"), "w") as file:
        file.write({pip!r})
else:
    import runpy
    sys.version_info = tuple(map(int, {version!r}.split("."))) + ("final", 0)
    sys._base_executable = sys.executable = {path!r}
    sys.argv = args
    runpy.run_path(args[0], run_name="__main__")
"""

PIP = """
import sys
with open({log!r}, "a") as file:
    file.write("pip " + " ".join(sys.argv[1:]) + "\\n")
if {fails!r}:
    print("\\n".join("WARNING: retry %d" % number for number in range(20)), flush=True)
    sys.exit("ERROR: Could not find a version that satisfies the requirement")
"""


@dataclass
class Checkout:
    """A copy of what the launcher needs, a PATH of its own, and the ways to start it."""

    root: Path
    bin: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """Where the stubs write down how they were called."""
        return self.bin.parent / "calls.log"

    @property
    def fifo(self) -> Path:
        """A pipe by which a stub says that it has begun, or waits for leave to end."""
        return self.bin.parent / "fifo"

    @property
    def calls(self) -> list[str]:
        """Return how the stubs were called so far."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def add(self, name: str, text: str) -> None:
        """Put an executable on PATH."""
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def add_uv(self, *, fails: bool = False, hangs: bool = False, waits: bool = False) -> None:
        """Put a stub of uv on PATH: it makes .venv, fails, hangs, or waits for leave after its work."""
        self.add(
            "uv",
            UV.format(
                base=BASE,
                make_venv=MAKE_VENV.format(base=BASE),
                log=str(self.log),
                fifo=str(self.fifo),
                fails=fails,
                hangs=hangs,
                waits=waits,
            ),
        )

    def add_python(self, name: str, version: str, *, has_venv: bool = True, pip_fails: bool = False) -> None:
        """Put a stub of that Python version on PATH."""
        pip = PIP.format(log=str(self.log), fails=pip_fails)
        path = str(self.bin / name)
        self.add(
            name,
            PYTHON.format(
                base=BASE,
                make_venv=MAKE_VENV.format(base=BASE),
                log=str(self.log),
                version=version,
                path=path,
                has_venv=has_venv,
                pip=pip,
            ),
        )

    def command(self, *args: str) -> dict[str, Any]:
        """Return what Popen needs to start the launcher from a folder of the caller's."""
        cwd = self.bin.parent / "elsewhere"
        cwd.mkdir(exist_ok=True)
        environment = {"PATH": str(self.bin), "HOME": str(self.bin.parent), "CI": "true", **self.environment}
        return {"args": [str(self.root / "baton"), *args], "cwd": cwd, "env": environment}

    def start(self, *args: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run the launcher to its end, without a terminal and without input."""
        self.environment |= environment
        return subprocess.run(
            **self.command(*args), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def open(self, *args: str) -> "subprocess.Popen[str]":
        """Start the launcher and return at once."""
        return subprocess.Popen(**self.command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def seen(self, *args: str, **environment: str) -> dict[str, Any]:
        """Start the CLI and return what it saw."""
        done = self.start(*args, **environment)
        assert done.returncode == 0, done.stderr
        seen: dict[str, Any] = json.loads(done.stdout)
        return seen


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Return a checkout without an environment; PATH holds a python3 and nothing else."""
    root = tmp_path / "checkout"
    (root / "orchestrator" / "interfaces" / "cli").mkdir(parents=True)
    for folder in ("orchestrator", "orchestrator/interfaces", "orchestrator/interfaces/cli"):
        (root / folder / "__init__.py").touch()
    for name in ("baton", "pyproject.toml", "uv.lock", "requirements.lock"):
        shutil.copy(ROOT / name, root)
    (root / "orchestrator" / "interfaces" / "cli" / "start.py").write_text(CLI)
    (tmp_path / "bin").mkdir()
    os.mkfifo(tmp_path / "fifo")
    made = Checkout(root, tmp_path / "bin")
    made.add_python("python3", "3.11.9")
    return made
