"""`python -m tests.mutation scripts|NAME …`: put small faults into a source, one at a time, and list those that no test notices.

    scripts             the store's Lua files, against the store's own tests
    scripts/claim …     only these
    delivery …          modules of orchestrator/kernel, against the tests of the kernel that name them

Mutants are drawn in an order that `--seed` gives, until `--seconds` are over, so that a run is bounded; `--skip` goes on where
one with the same seed and names has ended. Each one runs in a forked process; nothing on disk is changed. Not part of any suite: survivors are
judged by people, in docs/explanation/mutants.md.
"""

import argparse
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Literal, TypeAlias, get_args

import pytest

from tests.mutation.mutants import Mutant, of_lua, of_python

ROOT = Path(__file__).parents[2]
KERNEL = ROOT / "orchestrator" / "kernel"
SCRIPTS = ROOT / "orchestrator" / "store" / "scripts"
#: What must notice a fault in a script: quick to run; whoever survives is tried against test_store_machine.py by hand.
STORE_TESTS = ("tests/unit/orchestrator/store", "tests/property/test_cancels_in_any_order.py")
#: One mutant's time: who loops for ever is noticed, too; on a busy machine it may only have been slow, so that it is told apart.
MOST_SECONDS = 180

Verdict: TypeAlias = Literal["noticed", "survived", "timed out"]


class Planted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module another source."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self.name, self.path, self.source = name, path, source

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self, origin=str(self.path)) if name == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = str(self.path)
        exec(compile(self.source, str(self.path), "exec"), module.__dict__)  # noqa: S102 - it is ours, with one fault


def plant_python(mutant: Mutant) -> None:
    """Let the module be imported with the fault."""
    path = KERNEL / f"{mutant.file}.py"
    sys.meta_path.insert(0, Planted(f"orchestrator.kernel.{mutant.file}", path, mutant.source))


def plant_lua(mutant: Mutant) -> None:
    """Let the scripts be read from a copy with the fault."""
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))
    for path in SCRIPTS.rglob("*.lua"):
        copy = folder / path.relative_to(SCRIPTS)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (folder / mutant.file).write_text(mutant.source, encoding="utf-8")
    from orchestrator.store import scripts

    scripts.FOLDER = folder


def try_mutant(mutant: Mutant, plant: Callable[[Mutant], None], tests: Sequence[str]) -> Verdict:
    """Run the tests in a process of their own that has the fault; say whether one failed."""
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(null, stream)
        plant(mutant)
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header"]
        code = pytest.main([*options, *tests])
        os._exit(int(code))
    deadline = time.monotonic() + MOST_SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return "noticed" if os.waitstatus_to_exitcode(status) != 0 else "survived"
        signal.sigtimedwait([signal.SIGCHLD], 0.2)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timed out"


def tests_of(module: str) -> list[str]:
    """Return the kernel's tests that import a module, the fuzzers' seeds with them."""
    found = [
        str(path.relative_to(ROOT))
        for folder in ("tests/unit/orchestrator/kernel", "tests/property", "tests/conformance")
        for path in sorted((ROOT / folder).glob("test_*.py"))
        if f"kernel.{module} import" in path.read_text(encoding="utf-8")
    ]
    return found or [str((ROOT / "tests/unit/orchestrator/kernel").relative_to(ROOT))]


def collect(names: Sequence[str]) -> list[tuple[Mutant, Callable[[Mutant], None], Sequence[str]]]:
    """Return every mutant of these sources with how it is planted and what must notice it."""
    found: list[tuple[Mutant, Callable[[Mutant], None], Sequence[str]]] = []
    for name in names:
        if name.startswith("scripts"):
            for path in sorted(SCRIPTS.rglob(f"{name.removeprefix('scripts').strip('/') or '*'}.lua")):
                told = str(path.relative_to(SCRIPTS))
                found += [(one, plant_lua, STORE_TESTS) for one in of_lua(told, path.read_text(encoding="utf-8"))]
        else:
            source = (KERNEL / f"{name}.py").read_text(encoding="utf-8")
            found += [(one, plant_python, tests_of(name)) for one in of_python(name, source)]
    return found


def _without_fault(
    mutant: Mutant, plant: Callable[[Mutant], None], tests: Sequence[str]
) -> tuple[Mutant, Callable[[Mutant], None], Sequence[str]]:
    folder, suffix = (SCRIPTS, "") if plant is plant_lua else (KERNEL, ".py")
    return replace(mutant, source=(folder / f"{mutant.file}{suffix}").read_text(encoding="utf-8")), plant, tests


def main() -> int:
    """Run mutants until the time is over, and print those that survived as a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skip", type=int, default=0, help="how many of this order have been run already")
    given = parser.parse_args()
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    mutants = collect(given.names)
    random.Random(given.seed).shuffle(mutants)
    whole, mutants = len(mutants), mutants[given.skip :]
    until = time.monotonic() + given.seconds
    if mutants and (bare := try_mutant(*_without_fault(*mutants[0]))) != "survived":
        print(f"without any fault the tests are {bare}; mend that first")
        return 1
    found: Counter[Verdict] = Counter()
    for mutant, plant, tests in mutants:
        if time.monotonic() > until:
            break
        verdict = try_mutant(mutant, plant, tests)
        found[verdict] += 1
        if verdict != "noticed":
            print(f"{verdict}: {mutant.label}", flush=True)
    told = f"after {given.skip}: " if given.skip else ""
    counts = ", ".join(f"{found[verdict]} {verdict}" for verdict in get_args(Verdict))
    print(f"{told}{found.total()} of {whole} mutants run: {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
