"""What every bench shares: its options, its arithmetic, processes that end with it, and the report.

A bench measures contenders in turns on one machine, takes medians, and divides: only the ratios
travel to other machines. The report is a table for people, or with `--json` one object whose
names stay. What is measured, and how a contender is started, is not decided here.
"""

import argparse
import ctypes
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from statistics import median
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 10.0
LOOP_TURNS, LOOP_ROUNDS = 100_000, 15
_PR_SET_PDEATHSIG = 1
_STARTED = time.monotonic()


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller asked for; `json` is where the object goes, "-" for standard output."""

    quick: bool
    json: str | None
    flags: frozenset[str] = frozenset()


def parse_options(
    description: str, args: Sequence[str] | None = None, *, flags: Mapping[str, str] | None = None
) -> Options:
    """Read the options that every bench has, and a bench's own `flags`, by name with their help."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller numbers; under 45 s")
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="PATH", help="write one JSON object, to standard output by default"
    )
    for name, text in (flags or {}).items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    options = parser.parse_args(args)
    return Options(options.quick, options.json, frozenset(name for name in flags or {} if getattr(options, name)))


def say(text: str) -> None:
    """Tell how far it is; standard output belongs to the result."""
    sys.stderr.write(f"bench: {elapsed():5.1f} s  {text}\n")
    sys.stderr.flush()


def elapsed() -> float:
    """Return the seconds since this process began to measure."""
    return time.monotonic() - _STARTED


# --- arithmetic


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed.

    >>> percentile([4, 1, 3, 2], 0.5), percentile([4, 1, 3, 2], 0.99)
    (2, 4)
    """
    if not values:
        raise ValueError("percentile: no values; measure something first")
    ordered = sorted(values)
    place = -(-len(ordered) * share // 1)  # rounded up: the nearest rank
    return ordered[min(max(int(place), 1), len(ordered)) - 1]


def ratio(ours: float, theirs: float) -> float:
    """Return how many times theirs ours is; infinite where theirs is nothing.

    >>> ratio(30, 2), ratio(1, 0)
    (15.0, inf)
    """
    return ours / theirs if theirs else float("inf")


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the ratios of neighbours: what slows one round slows the one beside it too.

    Rounds without a partner do not count.

    >>> paired_ratio([10, 20, 99], [1, 10])
    6.0
    """
    return median(ratio(one, other) for one, other in zip(ours, theirs, strict=False))


def fitting(rate: float, *, seconds: float, length: int, least: int, most: int) -> int:
    """Return how many chains of this length take about so long at this rate, within bounds.

    >>> fitting(700.0, seconds=2.0, length=10, least=20, most=100), fitting(50.0, seconds=2.0, length=10, least=20, most=100)
    (100, 20)
    """
    return min(max(int(rate * seconds / length), least), most)


# --- processes


class Children:
    """Processes that this bench started; all of them end with the block, by their ids."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, args: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a Python process that finds the checkout; what it says goes to `log`."""
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
        with log.open("ab") as out:
            child = subprocess.Popen(
                [sys.executable, "-P", *args],
                env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(env or {})},
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                process_group=0,  # a pool forks: its processes are ended by their group
            )
        self._started.append(child)
        return child

    def end(self, *children: subprocess.Popen[bytes], by: int = signal.SIGTERM) -> None:
        """End these, or all: ask by this signal, then kill."""
        ending = children or tuple(self._started)
        for child in ending:
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                child.send_signal(by)
        deadline = time.monotonic() + STOP_SECONDS
        for child in ending:
            try:
                child.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            with suppress(ProcessLookupError, PermissionError):  # what it left behind; mostly nothing
                os.killpg(child.pid, signal.SIGKILL)
            if child.stdin is not None:
                child.stdin.close()
            if child in self._started:
                self._started.remove(child)


@contextmanager
def children() -> Iterator[Children]:
    """Lend a place to start processes from."""
    own = Children()
    try:
        yield own
    finally:
        own.end()


@contextmanager
def halted(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let a process stand still, so that a whole load is in line before the clock starts."""
    child.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        child.send_signal(signal.SIGCONT)


def die_with_parent() -> None:
    """End this process when the bench that started it is gone, however that ended; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


# --- the report


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure must come to."""

    name: str
    limit: float
    side: Literal["at_least", "at_most"]

    def is_met(self, value: float) -> bool:
        """Say whether a value meets it."""
        return value >= self.limit if self.side == "at_least" else value <= self.limit


@dataclass(slots=True)
class Report:
    """What one run measured. Names stay; groups are `rates`, `ratios` and whatever else a bench has."""

    bench: str
    quick: bool
    targets: tuple[Target, ...]
    method: dict[str, object] = field(default_factory=dict)
    groups: dict[str, dict[str, float]] = field(default_factory=dict)
    rounds: dict[str, list[float]] = field(default_factory=dict)
    #: Lines in words that stand under the figures.
    notes: list[str] = field(default_factory=list)

    def put(self, group: str, name: str, value: float) -> float:
        """Keep one figure."""
        self.groups.setdefault(group, {})[name] = value
        return value

    def put_rounds(self, group: str, name: str, values: Sequence[float]) -> float:
        """Keep the rounds of one figure, and their median as the figure."""
        self.rounds[name] = [round(value, 3) for value in values]
        return self.put(group, name, median(values))

    def judged(self) -> list[tuple[Target, float, bool]]:
        """Return each target whose figure was measured, the figure, and whether it is met."""
        figures = {name: value for group in self.groups.values() for name, value in group.items()}
        return [
            (target, figures[target.name], target.is_met(figures[target.name]))
            for target in self.targets
            if target.name in figures
        ]

    def to_object(self) -> dict[str, object]:
        """Return the JSON object."""
        return {
            "bench": self.bench,
            "quick": self.quick,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": describe_machine(),
            "method": self.method,
            **{group: {name: _rounded(value) for name, value in rows.items()} for group, rows in self.groups.items()},
            "targets": {
                target.name: {target.side: target.limit, "measured": _rounded(value), "met": met}
                for target, value, met in self.judged()
            },
            "rounds": self.rounds,
            **({"notes": self.notes} if self.notes else {}),
        }

    def to_table(self) -> str:
        """Return the table for people: every figure, then every target."""
        wide = max((len(name) for rows in self.groups.values() for name in rows), default=0) + 2
        lines = [f"bench {self.bench}{' (quick)' if self.quick else ''}", ""]
        for group, rows in self.groups.items():
            lines.append(group)
            lines.extend(f"  {name:<{wide}}{_shown(value):>14}" for name, value in rows.items())
            lines.append("")
        lines.extend([*self.notes, ""] if self.notes else [])
        lines.extend([tell_machine(describe_machine()), "", "targets"])
        for target, value, met in self.judged():
            sign = ">=" if target.side == "at_least" else "<="
            lines.append(
                f"  {target.name:<{wide}}{_shown(value):>14}  {sign} {target.limit:g}  {'met' if met else 'MISSED'}"
            )
        return "\n".join(lines)

    def write(self, options: Options) -> None:
        """Print the table, or the object where it was asked for."""
        if options.json is None:
            print(self.to_table())
            return
        text = json.dumps(self.to_object(), indent=2)
        if options.json == "-":
            print(text)
        else:
            Path(options.json).write_text(f"{text}\n", encoding="utf-8")
            print(self.to_table())


def describe_machine() -> dict[str, object]:
    """Say what the figures were taken on, without naming the machine."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        **time_a_loop(),
    }


@cache
def time_a_loop() -> dict[str, float]:
    """Return what a plain loop of this interpreter takes here and now, in ms of processor time: best and median.

    Absolute figures of two runs can be compared by it: a shared machine, or an interpreter that was built without
    optimisation, may take twice as long. A median far above the best says that the machine had other work.
    """
    took = []
    for _ in range(LOOP_ROUNDS):
        began, total = time.process_time(), 0
        for number in range(LOOP_TURNS):
            total += number * number
        took.append((time.process_time() - began) * 1000)
    return {"loop_best_ms": round(min(took), 2), "loop_median_ms": round(median(took), 2)}


def tell_machine(machine: Mapping[str, object]) -> str:
    """Return the line about the machine.

    >>> told = {"cores": 2, "python": "3.11.7", "loop_best_ms": 4.1, "loop_median_ms": 4.4}
    >>> tell_machine(told)
    'machine: 2 cores, Python 3.11.7; 100,000 turns of a plain loop take 4.1 ms at best, 4.4 ms in the median'
    """
    return (
        f"machine: {machine['cores']} cores, Python {machine['python']}; {LOOP_TURNS:,} turns of a plain loop take "
        f"{machine['loop_best_ms']} ms at best, {machine['loop_median_ms']} ms in the median"
    )


def _rounded(value: float) -> float:
    return round(value, 4 if abs(value) < 10 else 1)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.1f}" if abs(value) >= 100 else f"{value:,.2f}"
