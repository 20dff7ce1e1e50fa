"""`python -m tests.mutation.of_scripts claim lib/index …`: every mutant of these scripts of the store, in forks of one collected test run.

The tests are collected once. A fork runs them without a fault, to learn which test calls which scripts and how long it takes (`--known FILE`
keeps that for the next run); each mutant then has a fork of its own, in which only tests run that call its script: those first that noticed
a mutant of the same file before, then the quick ones. All share one server, which every test empties as it begins. Tests on a cluster are
left out: a script is the same there. Nothing on disk is changed. Survivors are judged by people, in docs/explanation/mutants.md.
"""

import argparse
import gc
import importlib
import json
import math
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Literal, TypeAlias, TypedDict, get_args

import pytest

from orchestrator.embedded import RunningServer, temporary
from orchestrator.embedded_wire import ask
from orchestrator.store import scripts
from tests.mutation.mutants import Mutant, of_lua

#: What calls scripts and is quick.
POOL = (
    "tests/unit/orchestrator/store",
    "tests/property/test_cancels_in_any_order.py",
    "tests/property/test_listing_pages.py",
    "tests/unit/orchestrator/test_search.py",
    "tests/unit/orchestrator/test_schedules.py",
    "tests/unit/orchestrator/test_webhooks.py",
    "tests/unit/orchestrator/interfaces/http/test_http_forks_streams.py",
    "tests/unit/orchestrator/interfaces/http/test_http_sessions.py",
    "tests/integration/test_forks.py",
    "tests/integration/test_streaming.py",
    "tests/integration/test_model_limits.py",
    "tests/integration/test_archive.py",
)
#: One mutant's time: who loops for ever is noticed, too; on a busy machine it may only have been slow, so that it is told apart.
MOST_SECONDS = 120

#: Whose modules are imported before the first fork.
OURS = ("orchestrator", "workers", "plugin_sandbox")

Verdict: TypeAlias = Literal["noticed", "survived", "timed out"]
#: Of each test: how long it takes in seconds, and which scripts it calls.
Cover: TypeAlias = dict[str, tuple[float, list[str]]]


class Known(TypedDict):
    """What a run without a fault tells: the cover, and which of our modules the tests import as they go."""

    cover: Cover
    modules: list[str]


class Warm:
    """A pytest plugin that runs mutants in place of the collected tests."""

    def __init__(self, mutants: Sequence[Mutant], seconds: float, kept: Path | None) -> None:
        self.mutants, self.seconds, self.kept = mutants, seconds, kept
        self.cover: Cover = {}
        self.found: Counter[Verdict] = Counter()
        self.servers = ExitStack()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Note what covers what, then try one mutant after another until the time is over."""
        items = {item.nodeid: item for item in session.items if "[cluster" not in item.nodeid}
        self.cover = self._note_cover(session, items)
        from hypothesis.internal.conjecture import engine  # only now: pytest wants to be the first to import it

        engine.MAX_SHRINKS = 0  # the first example that fails is enough
        gc.freeze()
        until = time.monotonic() + self.seconds
        self.server = lend_server(self.servers)
        killers: Counter[tuple[str, str]] = Counter()
        for mutant in self.mutants:
            if time.monotonic() > until:
                break
            names = _calling(mutant.file)
            covering = [name for name, (_, called) in self.cover.items() if name in items and names & set(called)]
            tests = [items[name] for name in self.order(covering, mutant.file, killers)]
            verdict, by = _in_child(lambda: _first_failing(session, tests, mutant))  # noqa: B023
            if not answers(self.server):  # a script that never ends may run there still, and all that follow would fail
                self.server = lend_server(self.servers)
            self.found[verdict] += 1
            killers[mutant.file, by] += 1
            told = f" ({by})" if by else ""
            print(f"{verdict}: {mutant.label}{told}", flush=True)
        return True

    def order(self, names: list[str], file: str, killers: Counter[tuple[str, str]]) -> list[str]:
        """Return a file's tests, the likeliest to notice a fault in it first."""
        return sorted(names, key=lambda name: (-killers[file, name], self.cover[name][0]))

    def _note_cover(self, session: pytest.Session, items: dict[str, pytest.Item]) -> Cover:
        known: Known = {"cover": {}, "modules": []}
        if self.kept and self.kept.exists():
            known = json.loads(self.kept.read_text())
        new = {name: item for name, item in items.items() if name not in known["cover"]}
        if new:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "known.json"
                _in_child(lambda: _write_known(session, new, file), seconds=1_800)
                learnt: Known = json.loads(file.read_text())
            modules = sorted({*known["modules"], *learnt["modules"]})
            known = {"cover": known["cover"] | learnt["cover"], "modules": modules}
            if self.kept:
                self.kept.write_text(json.dumps(known))
        for module in known["modules"]:  # once here, and not in every fork
            importlib.import_module(module)
        return known["cover"]


def _calling(file: str) -> set[str]:
    """Return the scripts that have a file in them: itself, or all that use the shared piece."""
    path = scripts.FOLDER / file
    if path.parent == scripts.FOLDER:
        return {path.stem}
    piece = path.read_text(encoding="utf-8")
    return {name for name, script in scripts.load_scripts().items() if piece in script.source}


def answers(server: RunningServer) -> bool:
    """Say whether a server does what it is asked."""
    return ask(server.socket, "FLUSHALL", seconds=2) == b"+OK"


def lend_server(servers: ExitStack) -> RunningServer:
    """Start one server for all that follow, which each test empties as it begins; end the one before."""
    from tests import fixtures_server  # only now: pytest wants to be the first to import it

    servers.close()
    server = servers.enter_context(temporary())
    vars(fixtures_server)["temporary"] = lambda: nullcontext(server)
    return server


def _in_child(act: Callable[[], str], seconds: float = MOST_SECONDS) -> tuple[Verdict, str]:
    """Do it in a process of its own, whose answer names the test that failed, if one did."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(null, stream)
        os.write(writing, act().encode())
        os._exit(0)
    os.close(writing)
    deadline = time.monotonic() + seconds
    status: int | None = None
    while status is None and time.monotonic() < deadline:
        ended, code = os.waitpid(child, os.WNOHANG)
        status = code if ended else None
        if status is None:
            signal.sigtimedwait([signal.SIGCHLD], 0.1)
    if status is None:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with os.fdopen(reading) as answer:
        by = answer.read() if status is not None else ""
    if status is None:
        return "timed out", ""
    return ("noticed" if by or status else "survived"), by or ("the process ended" if status else "")


def _first_failing(session: pytest.Session, items: Sequence[pytest.Item], mutant: Mutant) -> str:
    plant(mutant)
    with _failures(session) as failed:
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if failed:
                session._setupstate.teardown_exact(None)
                return failed[0]
    return ""


def _write_known(session: pytest.Session, items: dict[str, pytest.Item], file: Path) -> str:
    called: set[str] = set()

    class Noted(scripts.Script):
        """A script that says when it is called by its digest."""

        def __getattribute__(self, name: str) -> object:
            if name == "sha":
                called.add(object.__getattribute__(self, "name"))
            return object.__getattribute__(self, name)

    scripts.Script = Noted  # type: ignore[misc]
    scripts.load_scripts.cache_clear()
    cover: Cover = {}
    every = list(items.values())
    with _failures(session) as failed:
        for item, following in zip(every, [*every[1:], None], strict=True):
            called.clear()
            begun = time.monotonic()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if item.nodeid not in failed:  # what fails without a fault says nothing
                cover[item.nodeid] = (time.monotonic() - begun, sorted(called))
    ours = [name for name in sys.modules if name.partition(".")[0] in OURS]
    known: Known = {"cover": cover, "modules": ours}
    file.write_text(json.dumps(known))
    return ""


@contextmanager
def _failures(session: pytest.Session) -> Iterator[list[str]]:
    failed: list[str] = []

    class Listener:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed:
                failed.append(report.nodeid)

    listener = Listener()
    session.config.pluginmanager.register(listener)
    yield failed
    session.config.pluginmanager.unregister(listener)


def plant(mutant: Mutant) -> None:
    """Let the scripts be read from a copy with the fault."""
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))
    for path in scripts.FOLDER.rglob("*.lua"):
        copy = folder / path.relative_to(scripts.FOLDER)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (folder / mutant.file).write_text(mutant.source, encoding="utf-8")
    scripts.FOLDER = folder
    scripts.load_scripts.cache_clear()


def main() -> int:
    """Run the mutants until the time is over; print each with its verdict, and the test that noticed it."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.of_scripts", description=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--seconds", type=float, default=math.inf, help="end after so many (never)")
    parser.add_argument("--skip", type=int, default=0, help="how many of these have been run already")
    parser.add_argument("--known", type=Path, help="where to keep what a run without a fault tells")
    given = parser.parse_args()
    files = [f"{name}.lua" for name in given.names]
    mutants = [one for file in files for one in of_lua(file, (scripts.FOLDER / file).read_text(encoding="utf-8"))]
    found = run(mutants[given.skip :], given.seconds, given.known)
    counts = ", ".join(f"{found[verdict]} {verdict}" for verdict in get_args(Verdict))
    print(f"{found.total()} of {len(mutants)} mutants run: {counts}")
    return 0


def run(mutants: Sequence[Mutant], seconds: float, kept: Path | None) -> Counter[Verdict]:
    """Run them until the time is over."""
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    warm = Warm(mutants, seconds, kept)
    options = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header"]
    with warm.servers:
        pytest.main([*options, *POOL], plugins=[warm])
    return warm.found


if __name__ == "__main__":
    sys.exit(main())
