"""`./baton chaos`: break a real stack from a seed, and prove what it kept.

Exits with 0 if every promise was kept, 1 if one was broken, 2 for arguments that mean nothing. A seed draws the same faults
at the same times again; what the processes do meanwhile is theirs, so that a rare race may need its seed more than once.
"""

import argparse
import json
import sys
from pathlib import Path

from orchestrator.embedded_binary import bundled_path
from tests.chaos.plan import ASKED, KINDS, STORES, kinds_of
from tests.chaos.report import describe, render
from tests.chaos.run import Options, run


def parse(words: list[str]) -> tuple[argparse.Namespace, Options]:
    """Read the command line."""
    reader = argparse.ArgumentParser(
        prog="baton chaos", description="Break a real stack from a seed; prove what it kept."
    )
    reader.add_argument("--seconds", type=float, default=60, help="how long things go wrong (60)")
    reader.add_argument("--seed", type=int, default=1, help="what is drawn from it goes wrong again (1)")
    reader.add_argument("--sessions", type=int, default=40, help="how many sessions are driven (40)")
    reader.add_argument(
        "--store",
        choices=STORES,
        default="server",
        help="what the stack stands on: the bundled server, a primary with a replica under three Sentinels,"
        " or a cluster of three masters with a replica each; over the latter two masters fail over, and are split off (server)",
    )
    reader.add_argument(
        "--durability", choices=["server", "wait"], default="server", help="store.durability of the stack (server)"
    )
    reader.add_argument("--fsync", choices=["always", "everysec"], default="everysec", help="of each server (everysec)")
    reader.add_argument("--only", default="", help=f"kinds of faults, with commas between: {', '.join(KINDS)}")
    reader.add_argument(
        "--with",
        dest="also",
        default="",
        help="beside what the seed draws: upgrade (every process becomes one of a newer Baton, one after another),"
        " downgrade (it is begun, taken back, and then done)",
    )
    reader.add_argument("--power-cuts", type=int, help="how often the one server loses its power (once a minute)")
    reader.add_argument("--json", nargs="?", const="-", help="write one object to this file, or print it")
    found = reader.parse_args(words)
    only = frozenset(word for word in found.only.split(",") if word)
    if unknown := only - set(KINDS):
        reader.error(f"--only: no fault {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}")
    also = frozenset(word for word in found.also.split(",") if word)
    if unknown := also - ASKED:
        reader.error(f"--with: {', '.join(sorted(unknown))} is not drawn on request; known: {', '.join(sorted(ASKED))}")
    possible = kinds_of(found.store)
    if never := only - set(possible):
        reader.error(
            f"--only: {', '.join(sorted(never))} cannot happen over --store {found.store}; {', '.join(possible)} can"
        )
    if found.power_cuts and found.store != "server":
        reader.error(f"--power-cuts: no power is cut over --store {found.store}; masters fail over there instead")
    if found.seconds < 5 or found.sessions < 1:
        reader.error("--seconds: at least 5, with one session or more; shorter proves nothing")
    options = Options(
        seed=found.seed,
        seconds=found.seconds,
        sessions=found.sessions,
        durability=found.durability,
        fsync=found.fsync,
        only=only,
        also=also,
        power_cuts=found.power_cuts,
        store=found.store,
    )
    return found, options


def main(words: list[str]) -> int:
    """Run once, and say what came of it."""
    found, options = parse(words)
    if bundled_path() is None:
        sys.stderr.write("baton chaos: no server is bundled for this platform; run it on Linux or macOS\n")
        return 2
    outcome = run(options)
    told = describe(outcome)
    if found.json == "-":
        print(json.dumps(told))
    else:
        print(f"chaos\n{render(told)}")
        if found.json:
            Path(found.json).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    if outcome.wrong:
        sys.stderr.write(outcome.logs + "\n")
    for line in outcome.slow[:3]:
        sys.stderr.write(f"a slow recovery: {line}\n")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
