"""What an event costs where 0, 1 or 10 hooks listen, with 1 KiB of data: ours, the bare floor, and the peer.

    none_0, none_1, none_10    handlers that only watch
    answer_1, answer_10        handlers that answer with a mapping, which is read strictly

Handlers do nothing, so that what is measured is the calling of them. The floor copies the event for each handler and awaits
it. The peer is amplifier-core 1.6.0, whose semantics ours follow, in an environment of the bench's own; without one only ours
and the floor are measured. It is made once, and named by BENCH_HOOKS_PEER where it lies elsewhere:

    uv venv bench/out/hooks-peer
    uv pip install --python bench/out/hooks-peer amplifier-core==1.6.0

Each contender runs in a process of its own; they take turns, so that what disturbs the machine disturbs all of them.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench._harness import ROOT, STOP_SECONDS, Report, Target, paired_ratio, parse_options, say

TARGETS = (
    Target("none_0_ours_us", 10.0, "at_most"),
    Target("none_10_ours_to_floor", 2.0, "at_most"),
    Target("answer_10_ours_to_floor", 4.0, "at_most"),
    Target("none_1_peer_to_ours", 2.0, "at_least"),
    Target("answer_10_peer_to_ours", 2.0, "at_least"),
)
CASES = (("none", 0), ("none", 1), ("none", 10), ("answer", 1), ("answer", 10))
PEER = Path(os.environ.get("BENCH_HOOKS_PEER") or ROOT / "bench" / "out" / "hooks-peer") / "bin" / "python"


class Contender:
    """One side, in a process of its own."""

    def __init__(self, python: str, module: str) -> None:
        path = {} if python != sys.executable else {"PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [python, str(ROOT / "bench" / "_hook_loop.py"), module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **path},
            text=True,
        )

    def take_us(self, answer: str, handlers: int, emits: int) -> float:
        """Emit so often; return microseconds for each."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{handlers} {answer} {emits}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("bench: a contender ended early; see its error above")
        return float(line) / emits * 1e6

    def close(self) -> None:
        """End the process: it ends with its input."""
        self._process.communicate(timeout=STOP_SECONDS)


@contextmanager
def contenders() -> Iterator[dict[str, Contender]]:
    """Start every side there is."""
    sides = {
        "ours": Contender(sys.executable, "orchestrator.kernel.live.hooks"),
        "floor": Contender(sys.executable, "floor"),
    }
    if PEER.exists():
        sides["peer"] = Contender(str(PEER), "amplifier_core")
    else:
        say(f"no peer: {PEER} is not there; `python bench/hooks.py --help` says how to make it")
    try:
        yield sides
    finally:
        for side in sides.values():
            side.close()


def measure(report: Report, *, quick: bool) -> None:
    """Fill the report."""
    rounds, emits = (5, 500) if quick else (21, 4000)
    with contenders() as sides:
        for answer, handlers in CASES:
            case = f"{answer}_{handlers}"
            say(f"{case}: {', '.join(sides)} in turns")
            taken: dict[str, list[float]] = {name: [] for name in sides}
            for side in sides.values():
                side.take_us(answer, handlers, emits // 10)  # warm
            for _ in range(rounds):
                for name, side in sides.items():
                    taken[name].append(side.take_us(answer, handlers, emits))
            for name, values in taken.items():
                report.put_rounds("emit_us", f"{case}_{name}_us", values)
            if handlers:
                report.put("ratios", f"{case}_ours_to_floor", paired_ratio(taken["ours"], taken["floor"]))
            if "peer" in taken:
                report.put("ratios", f"{case}_peer_to_ours", paired_ratio(taken["peer"], taken["ours"]))


def main() -> None:
    """Run the bench."""
    options = parse_options(__doc__ or "")
    report = Report("hooks", options.quick, TARGETS)
    report.method = {"payload_bytes": 1024, "handlers": "do nothing", "counted": "one emit, awaited to its answer"}
    measure(report, quick=options.quick)
    report.write(options)


if __name__ == "__main__":
    main()
