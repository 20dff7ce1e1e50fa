"""`python -m tests.mutation.warm delivery live/session …`: every mutant of these modules of the kernel, in forks of one collected test run.

The tests are collected once. A fork runs them under coverage, to learn which test reaches which line and how long it takes; each mutant is
then planted into a fork as the code of the functions that are there already, and only the tests that reach its line run, quick ones first.
So a mutant that is noticed costs a fraction of a second. What a function made while modules were imported stays as it was: whether
somebody survives only because of that is found by reading.
"""

import argparse
import gc
import json
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from select import select
from types import CodeType, FunctionType

import coverage
import psutil
import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.mutants import Mutant, of_python

ROOT = Path(__file__).parents[2]
KERNEL = ROOT / "orchestrator" / "kernel"
#: What says the kernel's rules, examples in docstrings included; none of them needs a server.
TESTS = (
    "tests/unit/orchestrator/kernel",
    "tests/conformance/test_kernel_rows.py",
    "tests/conformance/test_kernel_vectors.py",
    "tests/property/test_rebuild.py",
    "tests/property/test_transcripts.py",
    "orchestrator/kernel",
)
#: Seconds of processor time for a mutant beyond what its tests need: who loops for ever is ended.
SPARE_SECONDS = 5
#: Who does nothing for so long is ended, too; how often a fork is looked at.
IDLE_SECONDS = 5.0
LOOK_SECONDS = 0.5
MOST_BYTES = 6 << 30


def codes_of(code: CodeType) -> Iterator[CodeType]:
    """Yield the functions of a module's code, inner ones after outer ones, in the order in which they are written."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            yield from codes_of(inner)


def plant(mutant: Mutant, path: Path) -> None:
    """Give every function that was made from this module the code, and the defaults, that it has with the fault."""
    was = list(codes_of(compile(path.read_text(encoding="utf-8"), str(path), "exec")))
    faulty = compile(mutant.source, f"{path}+fault", "exec")
    now = list(codes_of(faulty))
    places = {(code.co_qualname, code.co_firstlineno): place for place, code in enumerate(was)}
    living = [
        (made, places[key])
        for made in gc.get_objects()
        if isinstance(made, FunctionType)
        and made.__code__.co_filename == str(path)
        and (key := (made.__code__.co_qualname, made.__code__.co_firstlineno)) in places
    ]
    if mutant.in_default:
        made_anew: dict[str, object] = {"__name__": f"orchestrator.kernel.{dotted(mutant.file)}"}
        exec(faulty, made_anew)  # noqa: S102 - it is ours, with one fault
        defaults = {
            made.__code__: (made.__defaults__, made.__kwdefaults__)
            for made in gc.get_objects()
            if isinstance(made, FunctionType) and made.__code__.co_filename == f"{path}+fault"
        }
        for made, place in living:
            if now[place] in defaults:
                made.__defaults__, made.__kwdefaults__ = defaults[now[place]]
    for made, place in living:
        made.__code__ = now[place]


class Warm:
    """Takes the place of pytest's loop over the tests."""

    def __init__(self, names: Sequence[str], known: Path, again: frozenset[str]) -> None:
        self.names, self.known, self.again = names, known, again
        self.found: Counter[str] = Counter()

    def pytest_configure(self) -> None:
        """Let hypothesis neither shrink what it finds nor keep it: the first failure is enough."""
        from hypothesis import Phase, settings

        settings.register_profile("mutants", database=None, deadline=None, phases=[Phase.explicit, Phase.generate])
        settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Take away what hypothesis tests say of time: on a busy machine a slow run would read as a fault noticed."""
        from hypothesis import settings

        for item in items:
            test = getattr(item, "obj", None)
            own = getattr(test, "_hypothesis_internal_use_settings", None)
            if isinstance(test, FunctionType) and isinstance(own, settings):
                test._hypothesis_internal_use_settings = settings(own, deadline=None)  # type: ignore[attr-defined]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Learn what the tests reach, then try every mutant."""
        reached, seconds = self.learn(session.items)
        new = {item.nodeid for item in session.items} - seconds.keys()
        seconds |= dict.fromkeys(new, 0.0)
        by_id = {item.nodeid: item for item in session.items}
        for name in self.names:
            path = KERNEL / f"{name}.py"
            lines = {int(line): ids for line, ids in reached.get(str(path), {}).items()}
            naming = {item.path for item in session.items if f"kernel.{dotted(name)} import" in text_of(item.path)}
            here: Counter[str] = Counter()
            for mutant in of_python(name, path.read_text(encoding="utf-8")):
                if self.again and mutant.label not in self.again:
                    continue
                span = lines_of(mutant, lines) & by_id.keys() | {one for one in new if by_id[one].path in naming}
                ids = sorted(span, key=lambda nodeid: (by_id[nodeid].path not in naming, seconds[nodeid]))
                verdict = self.attempt(
                    mutant, path, [by_id[nodeid] for nodeid in ids], sum(seconds[one] for one in ids)
                )
                here[verdict] += 1
                if verdict != "noticed":
                    print(f"{verdict}: {mutant.label} ({len(ids)} tests)", file=sys.__stderr__, flush=True)
            self.found += here
            print(f"{name}: {here.total()} mutants: {dict(here)}", file=sys.__stderr__, flush=True)
        print(f"all: {self.found.total()} mutants: {dict(self.found)}", file=sys.__stderr__, flush=True)
        return True

    def learn(self, items: list[pytest.Item]) -> tuple[dict[str, dict[str, list[str]]], dict[str, float]]:
        """Run all tests in a fork; return which of them reach which line of which file, and their processor seconds."""
        if self.known.exists():
            known = json.loads(self.known.read_text(encoding="utf-8"))
            return known["reached"], known["seconds"]
        child = os.fork()
        if child == 0:
            quiet()
            cov = coverage.Coverage(data_file=None, include=[f"{KERNEL}/*"], config_file=False)
            cov.start()
            seconds: dict[str, float] = {}
            bad = []
            for item, following in zip(items, [*items[1:], None], strict=True):
                cov.switch_context(item.nodeid)
                since = time.process_time()
                if any(report.failed for report in runtestprotocol(item, log=False, nextitem=following)):
                    bad.append(item.nodeid)
                seconds[item.nodeid] = time.process_time() - since
            cov.stop()
            data = cov.get_data()
            reached = {file: data.contexts_by_lineno(file) for file in data.measured_files()}
            self.known.write_text(json.dumps({"reached": reached, "seconds": seconds, "bad": bad}), encoding="utf-8")
            os._exit(0)
        os.waitpid(child, 0)
        known = json.loads(self.known.read_text(encoding="utf-8"))
        if known["bad"]:
            sys.exit(f"without any fault these fail; mend that first: {known['bad']}")
        return known["reached"], known["seconds"]

    def attempt(self, mutant: Mutant, path: Path, items: list[pytest.Item], usual: float) -> str:
        """Run these tests in a fork that has the fault."""
        child = os.fork()
        if child == 0:
            quiet()
            most = int(usual + SPARE_SECONDS)
            resource.setrlimit(resource.RLIMIT_CPU, (most, most + 5))
            resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
            plant(mutant, path)
            for item, following in zip(items, [*items[1:], None], strict=True):
                if any(report.failed for report in runtestprotocol(item, log=False, nextitem=following)):
                    os._exit(1)
            os._exit(0)
        return {0: "survived", 1: "noticed"}.get(wait_for(child), "timed out")


def wait_for(child: int) -> int:
    """Return the exit code of a fork, once it has ended or been ended: because it waits for what never comes."""
    fork, idle_since, seconds = psutil.Process(child), time.monotonic(), 0.0
    end = os.pidfd_open(child)
    while not select([end], [], [], LOOK_SECONDS)[0]:
        used = sum(fork.cpu_times()[:2])
        if used > seconds or fork.status() != psutil.STATUS_SLEEPING:
            idle_since, seconds = time.monotonic(), used
        elif time.monotonic() - idle_since > IDLE_SECONDS:
            fork.kill()
    os.close(end)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def lines_of(mutant: Mutant, lines: dict[int, list[str]]) -> set[str]:
    """Return the tests that reach the mutant's line; all that reach the module where none is told for it."""
    found = {nodeid for line in range(mutant.line, mutant.last + 1) for nodeid in lines.get(line, []) if nodeid}
    if mutant.in_default or not found:
        found = {nodeid for ids in lines.values() for nodeid in ids if nodeid}
    return found


def dotted(name: str) -> str:
    """Return a module's name below the kernel as it is imported."""
    return name.replace("/", ".")


@cache
def text_of(path: Path) -> str:
    """Return a test file's text."""
    return path.read_text(encoding="utf-8")


def quiet() -> None:
    """Let a fork print nothing."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(null, stream)


def survivors_of(files: Sequence[Path]) -> frozenset[str]:
    """Return the labels of the mutants that earlier runs printed as survivors."""
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return frozenset(
        line.removeprefix("survived: ").rsplit(" (", 1)[0] for line in lines if line.startswith("survived: ")
    )


def main() -> int:
    """Run every mutant of the named modules, and print those that survived and, for each module, how many there were."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.warm", description=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--known", type=Path, help="a file that keeps what tests reach; newer tests always run")
    parser.add_argument(
        "--again", type=Path, nargs="*", default=[], help="outputs of earlier runs: only their survivors"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        warm = Warm(given.names, given.known or Path(folder) / "known.json", survivors_of(given.again))
        pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-s", *TESTS], plugins=[warm])
    return 0


if __name__ == "__main__":
    sys.exit(main())
